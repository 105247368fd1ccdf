//! The stand-in for systemd, as systemd's own clients see it.

use std::pin::Pin;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tests::bus::Bus;
use tests::bus::systemd::{Systemd, Unit};
use tokio::process::Command;
use tokio::time::timeout;
use zbus::MessageStream;
use zbus::export::futures_core::Stream as _;

const UNIT: &str = "kubelet.service";

/// The real systemctl on this bus. It wants to see a host that was booted by systemd, and gets one in a /run of its own.
async fn systemctl(bus: &Bus, words: &[&str]) -> Result<Output> {
    let script = "mount -t tmpfs none /run && mkdir -p /run/systemd/system && exec systemctl \"$@\"";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .args(words)
        .env("DBUS_SYSTEM_BUS_ADDRESS", bus.address())
        // Root would take systemd's private socket.
        .env("SYSTEMCTL_FORCE_BUS", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    timeout(Duration::from_secs(20), output).await.context("systemctl hangs")?.context("systemctl")
}

#[tokio::test]
async fn systemctl_cannot_tell_it_from_systemd() -> Result<()> {
    let bus = Bus::start().await?;
    let systemd = Systemd::start(&bus).await?;
    systemd.set(UNIT, Unit::running(7)).await?;
    systemd.set("masked.service", Unit::masked()).await?;
    let stopped = Unit::stopped;
    for (name, words, code, part, want) in [
        ("running", ["is-active", UNIT], 0, "active\n", Unit::running(7)),
        ("stopped", ["stop", UNIT], 0, "", stopped()),
        ("not running", ["is-active", UNIT], 3, "inactive\n", stopped()),
        ("started", ["start", UNIT], 0, "", Unit::running(4_194_306)),
        ("restarted", ["restart", UNIT], 0, "", Unit::running(4_194_307)),
        ("nothing to restart", ["restart", "no-such.service"], 5, "Unit no-such.service not found.", Unit::not_found()),
        ("nothing to stop", ["stop", "no-such.service"], 5, "Unit no-such.service not loaded.", Unit::not_found()),
        ("masked", ["restart", "masked.service"], 1, "Unit masked.service is masked.", Unit::masked()),
    ] {
        let output = systemctl(&bus, &words).await?;
        let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{name}: {told}");
        assert!(told.contains(part), "{name}: {told}");
        assert_eq!(systemd.unit(words[1]).unwrap_or(Unit::not_found()), want, "{name}");
    }
    Ok(())
}

/// `busctl call` on the manager: the exit code and what it says.
async fn busctl(bus: &Bus, words: &[&str]) -> Result<(bool, String)> {
    let output = Command::new("busctl")
        .arg(format!("--address={}", bus.address()))
        .args(["--timeout=1", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1"])
        .arg("org.freedesktop.systemd1.Manager")
        .args(words)
        .output()
        .await?;
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok((output.status.success(), told))
}

#[tokio::test]
async fn errors_absence_and_silence_are_the_real_ones() -> Result<()> {
    let mut bus = Bus::start().await?;
    let mut systemd = Systemd::start(&bus).await?;
    systemd.set("9p-a.service", Unit::stopped()).await?;
    for (name, words, is_good, part) in [
        (
            "an object path",
            &["GetUnit", "s", "9p-a.service"][..],
            true,
            "o \"/org/freedesktop/systemd1/unit/_39p_2da_2eservice\"",
        ),
        ("not loaded", &["GetUnit", "s", UNIT], false, "Unit kubelet.service not loaded."),
        ("loaded all the same", &["LoadUnit", "s", UNIT], true, "unit/kubelet_2eservice"),
        ("no unit's name", &["LoadUnit", "s", "kubelet"], false, "Unit name kubelet is not valid."),
        ("no mode", &["RestartUnit", "ss", "9p-a.service", "now"], false, "Job mode now invalid"),
        ("not subscribed", &["Unsubscribe"], false, "Client is not subscribed."),
    ] {
        let (good, told) = busctl(&bus, words).await?;
        assert!(good == is_good && told.contains(part), "{name}: {told}");
    }
    systemd.hang(true);
    let (_, told) = busctl(&bus, &["Subscribe"]).await?;
    assert!(told.contains("timed out"), "{told}");
    systemd.hang(false);
    assert!(busctl(&bus, &["Subscribe"]).await?.0);

    systemd.go_away().await?;
    let (_, told) = busctl(&bus, &["Subscribe"]).await?;
    assert!(told.contains("was not provided by any .service files"), "{told}");
    bus.go_away().await?;
    assert!(!busctl(&bus, &["Subscribe"]).await?.0);
    bus.come_back().await?;
    systemd.come_back().await?;
    let (good, told) = busctl(&bus, &["GetUnit", "s", "9p-a.service"]).await?;
    assert!(good, "the units are as they were: {told}");
    Ok(())
}

/// The next signal about the unit, as text.
async fn signal(signals: &mut MessageStream) -> Option<String> {
    let next = std::future::poll_fn(|context| Pin::new(&mut *signals).poll_next(context));
    let message = timeout(Duration::from_millis(300), next).await.ok()??.ok()?;
    message.body().deserialize::<zbus::wire::Structure<'_>>().ok().map(|body| format!("{body:?}"))
}

#[tokio::test]
async fn signals_are_for_subscribers() -> Result<()> {
    let bus = Bus::start().await?;
    let systemd = Systemd::start(&bus).await?;
    systemd.set(UNIT, Unit::running(7)).await?;
    let listener = bus.connect().await?;
    let rule = "type='signal',path='/org/freedesktop/systemd1/unit/kubelet_2eservice',member='PropertiesChanged'";
    let mut signals = MessageStream::for_match_rule(rule, &listener, None).await?;
    systemd.set(UNIT, Unit::failed()).await?;
    assert_eq!(signal(&mut signals).await, None, "nobody has subscribed");

    let client = bus.connect().await?;
    let manager = ("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager");
    client.call_method(Some("org.freedesktop.systemd1"), manager.0, Some(manager.1), "Subscribe", &()).await?;
    systemd.set(UNIT, Unit::running(8)).await?;
    for part in ["MainPID", "ActiveState"] {
        let told = signal(&mut signals).await.context(part)?;
        assert!(told.contains(part), "{told}");
    }
    client.close().await?;
    // Soon the bus has told systemd that the only one left.
    for _ in 0..20 {
        systemd.set(UNIT, Unit::failed()).await?;
        if signal(&mut signals).await.is_none() {
            return Ok(());
        }
    }
    anyhow::bail!("nobody is subscribed any more, and systemd goes on telling");
}
