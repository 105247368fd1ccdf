//! The stand-ins for logind, rpm-ostreed and update_engine, as systemd's own clients see them, and as a program.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::bus::Bus;
use tests::bus::logind::{Kind, Logind};
use tests::bus::rpm_ostree::State;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// A real client on this bus and on no other: it has a /run of its own, and could not end this machine if it wanted.
async fn client(bus: &Bus, words: &[&str]) -> Result<Output> {
    let script =
        "mount -t tmpfs none /run && mkdir -p /run/systemd/system && exec setpriv --bounding-set=-sys_boot \"$@\"";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .args(words)
        .env("DBUS_SYSTEM_BUS_ADDRESS", bus.address())
        .env("SYSTEMCTL_FORCE_BUS", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    timeout(Duration::from_secs(20), output).await.context("it hangs")?.context("unshare")
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn inhibit(bus: &Bus, mode: &str) -> Result<Child> {
    Ok(Command::new("systemd-inhibit")
        .args(["--what=shutdown", "--who=backup", "--why=it runs"])
        .args([&format!("--mode={mode}"), "sleep", "60"])
        .env("DBUS_SYSTEM_BUS_ADDRESS", bus.address())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()?)
}

#[tokio::test]
async fn systemd_inhibit_cannot_tell_it_from_logind() -> Result<()> {
    let bus = Bus::start().await?;
    let logind = Logind::start(&bus, Kind::default()).await?;
    let mut holder = inhibit(&bus, "block")?;
    logind.until(|rows| rows.len() == 1).await?;
    let row = &logind.inhibitors()[0];
    assert_eq!((row.who.as_str(), row.why.as_str(), row.mode.as_str()), ("backup", "it runs", "block"));
    assert_eq!(Some(row.pid), holder.id());
    let output = client(&bus, &["systemd-inhibit", "--list", "--no-pager"]).await?;
    let list = told(&output);
    assert!(list.contains("backup") && list.contains("it runs") && list.contains("1 inhibitors"), "{list}");
    // `sleep` has a copy of the descriptor.
    let children = format!("/proc/{0}/task/{0}/children", holder.id().context("it runs")?);
    let sleeper: i32 = std::fs::read_to_string(children)?.trim().parse()?;
    holder.kill().await?;
    kill(Pid::from_raw(sleeper), Signal::SIGKILL)?;
    logind.until(<[_]>::is_empty).await
}

#[tokio::test]
async fn systemctl_reboot_is_refused_from_257_on() -> Result<()> {
    for (version, mode, code, part) in [
        (257, None, 0, ""),
        (256, Some("block"), 0, ""),
        (257, Some("block"), 1, "Access denied"),
        (258, Some("block"), 1, "Operation denied due to active block inhibitor"),
        (257, Some("delay"), 0, ""),
    ] {
        let bus = Bus::start().await?;
        let logind =
            Logind::start(&bus, Kind { version, delay_max: Duration::from_millis(500), ..Kind::default() }).await?;
        let _holder = mode.map(|mode| inhibit(&bus, mode)).transpose()?;
        if mode.is_some() {
            logind.until(|rows| rows.len() == 1).await?;
        }
        let output = client(&bus, &["systemctl", "reboot"]).await?;
        let said = told(&output);
        assert!(said.contains(part), "{version} {mode:?}: {said}");
        assert_eq!(output.status.code(), Some(code), "{version} {mode:?}: {said}");
        assert_eq!(logind.is_preparing(), code == 0, "{version} {mode:?}");
        if code == 0 {
            logind.until_down().await?;
        }
    }
    Ok(())
}

/// `os-standin` on this bus.
struct Program {
    child: Child,
    root: PathBuf,
}

impl Program {
    async fn start(bus: &Bus, root: &Path, verb: &str, name: &str) -> Result<Self> {
        let program = env!("CARGO_BIN_EXE_os-standin");
        let child = Command::new(program)
            .args([verb, "--bus", &bus.address(), "--reboot", "logind", "--booted", "44.1"])
            .arg("--root")
            .arg(root)
            .arg("--state")
            .arg(root.join("state"))
            .arg("--os-release")
            .arg(root.join("os-release"))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let this = Self { child, root: root.to_owned() };
        for _ in 0..500 {
            let (good, _) = busctl(bus, &["status", name]).await?;
            if good {
                return Ok(this);
            }
            sleep(Duration::from_millis(10)).await;
        }
        anyhow::bail!("{name} never comes")
    }

    async fn end(mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id().context("it runs")?)?;
        kill(Pid::from_raw(pid), Signal::SIGTERM)?;
        let status = timeout(Duration::from_secs(10), self.child.wait()).await.context("it does not end")??;
        anyhow::ensure!(status.success(), "{status}");
        Ok(())
    }

    fn is_staged(&self) -> bool {
        self.root.join("run/ostree/staged-deployment").exists()
    }
}

async fn busctl(bus: &Bus, words: &[&str]) -> Result<(bool, String)> {
    let address = format!("--address={}", bus.address());
    let output = Command::new("busctl").arg(address).arg("--timeout=5").args(words).output().await?;
    Ok((output.status.success(), told(&output)))
}

const RPM_OSTREE: &str = "org.projectatomic.rpmostree1";
const SYSROOT: &str = "/org/projectatomic/rpmostree1/Sysroot";

#[tokio::test]
async fn what_is_staged_outlives_the_program_and_is_written_by_an_orderly_shutdown() -> Result<()> {
    let bus = Bus::start().await?;
    let logind = Logind::start(&bus, Kind::default()).await?;
    let root = tempfile::tempdir()?;
    let program = Program::start(&bus, root.path(), "rpm-ostree", RPM_OSTREE).await?;
    let release = || std::fs::read_to_string(root.path().join("os-release"));
    assert_eq!(release()?, "OSTREE_VERSION='44.1'\n");
    let stage = ["call", RPM_OSTREE, SYSROOT, "io.eyewall.Standin", "Stage", "sb", "44.2", "true"];
    assert!(busctl(&bus, &stage).await?.0);
    assert!(program.is_staged());
    let deployments = ["get-property", RPM_OSTREE, SYSROOT, "org.projectatomic.rpmostree1.Sysroot", "Deployments"];
    let (_, rows) = busctl(&bus, &deployments).await?;
    assert!(rows.contains("\"finalization-locked\" b true") && rows.contains("\"44.2\""), "{rows}");

    // It is ended by something else than a shutdown: nothing is written.
    program.end().await?;
    let program = Program::start(&bus, root.path(), "rpm-ostree", RPM_OSTREE).await?;
    let unlock = ["call", RPM_OSTREE, SYSROOT, "io.eyewall.Standin", "Unlock"];
    assert!(busctl(&bus, &unlock).await?.0);
    assert!(program.is_staged());

    // Now by a shutdown.
    assert_eq!(client(&bus, &["systemctl", "reboot"]).await?.status.code(), Some(0));
    logind.until_down().await?;
    program.end().await?;
    let after = |boot_id: &str| State::load(&root.path().join("state"), "44.1", boot_id);
    assert_eq!(after("the next boot")?.booted(), Some("44.2"));
    Ok(())
}

#[test]
fn a_power_cut_takes_nothing_that_was_only_staged() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let staged = |locked: bool| {
        format!(
            r#"{{"boot_id": "1", "deployments": [
                {{"osname": "x", "version": "44.2", "checksum": "b", "booted": false, "staged": true, "locked": {locked}}},
                {{"osname": "x", "version": "44.1", "checksum": "a", "booted": true, "staged": false, "locked": false}}]}}"#
        )
    };
    for (name, locked, orderly, boot_id, want) in [
        ("power cut", false, false, "2", "44.1"),
        ("orderly, unlocked", false, true, "2", "44.2"),
        ("orderly, locked", true, true, "2", "44.1"),
        ("the same boot", false, false, "1", "44.1"),
    ] {
        std::fs::write(directory.path().join("deployments.json"), staged(locked))?;
        if orderly {
            let mut state = State::load(directory.path(), "x", "1")?;
            state.finalize();
            state.save(directory.path())?;
        }
        let state = State::load(directory.path(), "x", boot_id)?;
        assert_eq!(state.booted(), Some(want), "{name}");
        assert_eq!(
            state.deployments.iter().any(|row| row.staged),
            boot_id == "1",
            "{name}: /run is gone with the boot"
        );
    }
    Ok(())
}

#[tokio::test]
async fn update_engine_as_a_program() -> Result<()> {
    const NAME: &str = "com.coreos.update1";
    let bus = Bus::start().await?;
    let root = tempfile::tempdir()?;
    let program = Program::start(&bus, root.path(), "update-engine", NAME).await?;
    let path = "/com/coreos/update1";
    let status = ["call", NAME, path, "com.coreos.update1.Manager", "GetStatus"];
    let (_, idle) = busctl(&bus, &status).await?;
    assert!(idle.starts_with("xdssx ") && idle.contains("\"UPDATE_STATUS_IDLE\" \"0.0.0.0\""), "{idle}");
    assert!(busctl(&bus, &["call", NAME, path, "io.eyewall.Standin", "Write", "s", "4459.2.1"]).await?.0);
    let (_, written) = busctl(&bus, &status).await?;
    assert!(written.contains("\"UPDATE_STATUS_UPDATED_NEED_REBOOT\" \"4459.2.1\""), "{written}");
    for file in ["run/update_engine_autoupdate_completed", "run/reboot-required"] {
        assert!(root.path().join(file).exists(), "{file}");
    }
    program.end().await?;

    // The next boot: /run is empty, and the slot that was written runs.
    std::fs::remove_dir_all(root.path().join("run"))?;
    std::fs::write(root.path().join("state/boot-id"), "another boot")?;
    std::fs::write(root.path().join("os-release"), "ID=flatcar\nVERSION=4459.2.0\n")?;
    let program = Program::start(&bus, root.path(), "update-engine", NAME).await?;
    assert_eq!(std::fs::read_to_string(root.path().join("os-release"))?, "ID=flatcar\nVERSION='4459.2.1'\n");
    let (_, idle) = busctl(&bus, &status).await?;
    assert!(idle.contains("\"UPDATE_STATUS_IDLE\""), "{idle}");
    program.end().await
}
