//! The real daemon watches the kubelet's unit over a real bus, and asks its port.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use eyewall_core::status::{Health, KubeletStatus, Status};
use tests::apiserver::{ApiServer, Options};
use tests::bus::Bus;
use tests::bus::systemd::{Systemd, Unit};
use tests::container::Runtimes;
use tests::node::{Node, binary};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

const SOON: Duration = Duration::from_secs(10);
const UNIT: &str = "kubelet.service";

/// A node with a bus and a systemd on it; nothing is started.
struct Bench {
    bus: Bus,
    systemd: Systemd,
    node: Node,
    port: SocketAddr,
}

impl Bench {
    async fn new() -> Result<Self> {
        let bus = Bus::start().await?;
        let systemd = Systemd::start(&bus).await?;
        let mut node = Node::new("node-a")?;
        let port = own_port();
        node.configure(&format!("[kubelet]\nhealth = \"https://{port}/healthz\"\n"))?;
        node.environment("DBUS_SYSTEM_BUS_ADDRESS", &bus.address());
        // The record of the kubelet's start has one place on a host: below /run. The daemon gets a /run of its own.
        let record = node.path("host/run/eyewall");
        std::fs::create_dir_all(&record)?;
        let script = format!(
            "mount -t tmpfs none /run && mkdir /run/eyewall && mount --bind {record:?} /run/eyewall && exec \"$0\" \"$@\""
        );
        node.wrapper(&["unshare", "--mount", "sh", "-c", &script]);
        Ok(Self { bus, systemd, node, port })
    }

    /// Waits for the kubelet's state to be of this kind.
    async fn until(&self, kind: &str) -> Result<KubeletStatus> {
        let status = self.node.wait(SOON, |status| status.kubelet.reason.kind == kind).await;
        Ok(status
            .with_context(|| format!("waiting for {kind}; systemd was asked {:#?}", self.systemd.calls()))?
            .kubelet)
    }

    /// The port's answer to strangers, by the stand-in for a kubelet with the kubeconfig that the daemon wrote.
    async fn kubelet(&self) -> Result<Child> {
        let child = Command::new(env!("CARGO_BIN_EXE_kubelet-standin"))
            .arg(format!("--kubeconfig={}", self.node.path("kubelet.kubeconfig").display()))
            .arg("--hostname-override=node-a")
            .env("KUBELET_STANDIN_LISTEN", self.port.to_string())
            .env("KUBELET_STANDIN_WEDGE", self.wedge())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let listening = async {
            while TcpStream::connect(self.port).await.is_err() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, listening).await.context("the kubelet stand-in does not listen")?;
        Ok(child)
    }

    /// While this file is there the port takes connections and says nothing.
    fn wedge(&self) -> PathBuf {
        self.node.path("wedge")
    }

    /// What was told about the kubelet: event and kind.
    async fn story(&self) -> Result<Vec<(String, String)>> {
        let mut events = self.node.events().await?;
        events.retain(|event| event.fields.get("unit").is_some_and(|unit| unit == UNIT));
        let told = events.into_iter().map(|mut event| (event.event, event.fields.remove("kind").unwrap_or_default()));
        Ok(told.collect())
    }

    /// What `eyewall status` ends with.
    async fn exit_code(&self) -> Result<Option<i32>> {
        Ok(self.node.command(&["status"])?.output().await?.status.code())
    }

    /// Whether the node is ready, to the socket and to the command line alike.
    async fn is_ready(&self) -> Result<bool> {
        let (healthy, _) = self.node.request("GET", "/healthz").await?;
        assert_eq!(healthy, 200, "the daemon is well, whatever the kubelet is");
        let (ready, body) = self.node.request("GET", "/readyz").await?;
        let code = self.exit_code().await?;
        match (ready, code) {
            (200, Some(0)) => Ok(true),
            (503, Some(1)) => Ok(false),
            other => anyhow::bail!("/readyz and eyewall status: {other:?}: {body}"),
        }
    }
}

/// The kubelet's own port, on an address of the loopback network that nobody else has.
fn own_port() -> SocketAddr {
    static COUNT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, 64 + COUNT.fetch_add(1, Ordering::Relaxed), high, low.clamp(1, 254));
    SocketAddr::new(IpAddr::V4(address), 10_250)
}

fn pairs(story: &[(&str, &str)]) -> Vec<(String, String)> {
    story.iter().map(|&(event, kind)| (event.to_owned(), kind.to_owned())).collect()
}

#[tokio::test]
async fn a_node_is_good_when_its_unit_is_active_and_its_port_answers() -> Result<()> {
    let api = ApiServer::start(Options::default()).await?;
    let mut bench = Bench::new().await?;
    bench.node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    bench.systemd.set(UNIT, Unit::stopped()).await?;
    bench.node.start()?;
    bench.node.wait_for(SOON, "valid", "certificate-valid").await?;
    bench.until("kubelet-not-active").await?;
    assert!(!bench.is_ready().await?);

    let mut kubelet = bench.kubelet().await?;
    let pid = kubelet.id().context("it runs")?;
    bench.systemd.set(UNIT, Unit::running(pid)).await?;
    let status = bench.node.wait(SOON, |status| status.health == Health::Good).await?;
    let seen = &status.kubelet;
    assert_eq!((seen.health, seen.reason.kind.as_str()), (Health::Good, "kubelet-healthy"));
    assert_eq!((seen.main_pid, seen.active_state.as_deref()), (Some(pid), Some("active")));
    assert!(bench.is_ready().await?);
    let shown = bench.node.command(&["status", "--json"])?.output().await?;
    assert_eq!(serde_json::from_slice::<Status>(&shown.stdout)?.health, Health::Good);

    // One connection, one look at the start and one for the change, though systemd sends two signals for it; and while all
    // is well and it says nothing, it is left alone.
    sleep(Duration::from_millis(1_500)).await;
    let looks = bench.systemd.calls().iter().filter(|call| call.ends_with(" ActiveState")).count();
    assert_eq!(looks, 2, "{:#?}", bench.systemd.calls());

    // The next look of its own would be in a minute; the signal brings it at once.
    kubelet.kill().await?;
    let failed_at = Instant::now();
    bench.systemd.set(UNIT, Unit::failed()).await?;
    let failed = bench.until("kubelet-not-active").await?;
    let took = failed_at.elapsed();
    println!("from the signal to the status: {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!((failed.health, failed.main_pid), (Health::Bad, None));
    assert!(failed.reason.message.contains("kubelet.service is failed"), "{}", failed.reason.message);
    assert!(!bench.is_ready().await?);

    bench.systemd.set(UNIT, Unit::between_restarts()).await?;
    assert_eq!(bench.until("kubelet-restarting").await?.health, Health::Bad);
    // Again and again, and no news.
    for _ in 0..3 {
        bench.systemd.say_again(UNIT).await?;
        sleep(Duration::from_millis(100)).await;
    }
    let kubelet = bench.kubelet().await?;
    bench.systemd.set(UNIT, Unit::running(kubelet.id().context("it runs")?)).await?;
    bench.until("kubelet-healthy").await?;
    assert!(bench.is_ready().await?);
    let told = [
        ("kubelet-unhealthy", "kubelet-not-active"),
        ("kubelet-healthy", "kubelet-healthy"),
        ("kubelet-unhealthy", "kubelet-not-active"),
        ("kubelet-unhealthy", "kubelet-restarting"),
        ("kubelet-healthy", "kubelet-healthy"),
    ];
    assert_eq!(bench.story().await?, pairs(&told), "each change once");
    // Once for the kubelet's unit, and once for the posture, on a connection of its own.
    assert_eq!((bench.systemd.count("Subscribe"), bench.systemd.count("RestartUnit")), (2, 0));
    Ok(())
}

#[tokio::test]
async fn a_unit_that_does_not_exist_is_unknown_until_it_does() -> Result<()> {
    let mut bench = Bench::new().await?;
    bench.node.start()?;
    let unknown = bench.until("no-kubelet-unit").await?;
    assert_eq!((unknown.health, unknown.main_pid), (Health::Unknown, None));
    assert!(unknown.reason.message.contains("set kubelet.unit"), "{}", unknown.reason.message);
    assert!(!bench.is_ready().await?);

    bench.systemd.set(UNIT, Unit::masked()).await?;
    let masked = bench.until("kubelet-masked").await?;
    assert_eq!(masked.health, Health::Bad);
    assert!(masked.reason.message.contains("systemctl unmask"), "{}", masked.reason.message);

    bench.systemd.set(UNIT, Unit::running(std::process::id())).await?;
    let starting = bench.until("kubelet-starting").await?;
    assert_eq!((starting.health, starting.main_pid), (Health::Unknown, Some(std::process::id())));

    // Another unit by configuration: it is looked at at once, and the old one is forgotten.
    bench.systemd.set("other.service", Unit::failed()).await?;
    bench.node.drop_in("10-unit.toml", "[kubelet]\nunit = \"other.service\"\n")?;
    let other = bench.until("kubelet-not-active").await?;
    assert_eq!(other.unit, "other.service");
    assert_eq!(bench.story().await?, pairs(&[("kubelet-unhealthy", "kubelet-masked")]));
    Ok(())
}

#[tokio::test]
async fn a_bus_or_a_systemd_that_goes_away_is_unknown_and_found_again() -> Result<()> {
    let api = ApiServer::start(Options::default()).await?;
    let mut bench = Bench::new().await?;
    bench.node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    bench.systemd.set(UNIT, Unit::running(7)).await?;
    bench.systemd.go_away().await?;
    bench.node.start()?;
    bench.node.wait_for(SOON, "valid", "certificate-valid").await?;
    let absent = bench.until("no-systemd").await?;
    assert!(absent.reason.message.contains("org.freedesktop.systemd1 was not provided"), "{}", absent.reason.message);
    assert_eq!((absent.health, absent.active_state), (Health::Unknown, None));
    let kubelet = bench.kubelet().await?;
    bench.systemd.come_back().await?;
    bench.systemd.set(UNIT, Unit::running(kubelet.id().context("it runs")?)).await?;
    bench.until("kubelet-healthy").await?;
    assert!(bench.is_ready().await?);

    let went_at = Instant::now();
    bench.bus.go_away().await?;
    let unknown = bench.until("no-system-bus").await?;
    let took = went_at.elapsed();
    assert!(took < Duration::from_secs(1), "a connection that breaks is seen at once, not after {took:?}");
    assert_eq!(unknown.health, Health::Unknown, "the port answers, but that is not all");
    assert!(unknown.reason.message.contains("answers (401)"), "{}", unknown.reason.message);
    assert!(!bench.is_ready().await?);

    bench.bus.come_back().await?;
    bench.systemd.come_back().await?;
    let back_at = Instant::now();
    bench.until("kubelet-healthy").await?;
    println!("from systemd's return to the status: {:?}", back_at.elapsed());
    assert!(bench.is_ready().await?);
    assert_eq!(bench.story().await?, pairs(&[("kubelet-healthy", "kubelet-healthy")]), "not to see is no news");
    // The new connection hears as the old one did.
    bench.systemd.set(UNIT, Unit::failed()).await?;
    let failed_at = Instant::now();
    bench.until("kubelet-not-active").await?;
    assert!(failed_at.elapsed() < Duration::from_secs(1));
    Ok(())
}

#[tokio::test]
async fn a_systemd_that_hangs_does_not_hang_the_daemon() -> Result<()> {
    let mut bench = Bench::new().await?;
    bench.node.hurry(20)?;
    bench.systemd.set(UNIT, Unit::stopped()).await?;
    bench.node.start()?;
    bench.until("kubelet-not-active").await?;
    bench.systemd.hang(true);
    // It may look because of a signal, and then gets no answer for ten of its seconds.
    bench.systemd.say_again(UNIT).await?;
    let silent = bench.until("systemd-silent").await?;
    assert_eq!(silent.health, Health::Unknown);
    assert!(silent.reason.message.contains("within 10 s"), "{}", silent.reason.message);
    let (code, _) = bench.node.request("GET", "/healthz").await?;
    assert_eq!(code, 200, "waiting for systemd is not being stuck");
    bench.systemd.hang(false);
    bench.until("kubelet-not-active").await?;
    assert_eq!(bench.story().await?, pairs(&[("kubelet-unhealthy", "kubelet-not-active")]));
    Ok(())
}

#[tokio::test]
async fn a_kubelet_that_hangs_is_restarted_once() -> Result<()> {
    let api = ApiServer::start(Options::default()).await?;
    let mut bench = Bench::new().await?;
    bench.node.hurry(20)?;
    bench.node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    bench.systemd.set(UNIT, Unit::running(4)).await?;
    let wedge = bench.wedge();
    let mended = wedge.clone();
    bench.systemd.on_restart(move |_| {
        // Whatever held it is gone with the old process.
        let _ = std::fs::remove_file(&mended);
        Unit::running(5)
    });
    bench.node.start()?;
    bench.node.wait(SOON, |status| status.certificates.state.as_str() == "valid").await?;
    let _kubelet = bench.kubelet().await?;
    bench.until("kubelet-healthy").await?;

    std::fs::write(&wedge, "")?;
    let hung_at = Instant::now();
    let hung = bench.until("kubelet-not-answering").await?;
    println!("from silence to the status: {:?} at 20 times the pace", hung_at.elapsed());
    assert_eq!(hung.health, Health::Bad);
    assert!(hung.reason.message.contains("no answer within 5 s"), "{}", hung.reason.message);
    assert_eq!(bench.systemd.count("RestartUnit"), 0, "silence is not yet being stuck");

    let good =
        bench.node.wait(SOON, |status| status.kubelet.restarts_total > 0 && status.kubelet.health == Health::Good);
    let good = good.await.with_context(|| format!("{:#?}", bench.systemd.calls()))?.kubelet;
    let took = hung_at.elapsed();
    println!("from silence to a kubelet that answers: {took:?} at 20 times the pace");
    assert!(took > Duration::from_secs(90 / 20), "it had a minute and a half of its own time: {took:?}");
    assert_eq!((good.restarts_total, good.main_pid), (1, Some(5)));
    // Two more minutes: what answers is left alone.
    sleep(Duration::from_secs(120 / 20)).await;
    let restarts: Vec<String> =
        bench.systemd.calls().into_iter().filter(|call| call.starts_with("RestartUnit")).collect();
    assert_eq!(restarts, ["RestartUnit kubelet.service replace"]);
    let told = [
        ("kubelet-healthy", "kubelet-healthy"),
        ("kubelet-unhealthy", "kubelet-not-answering"),
        ("kubelet-restarted", "kubelet-not-answering"),
        ("kubelet-healthy", "kubelet-healthy"),
    ];
    assert_eq!(bench.story().await?, pairs(&told));
    Ok(())
}

#[tokio::test]
async fn a_kubelet_that_never_answers_is_restarted_within_the_budget() -> Result<()> {
    const PACE: u32 = 80;
    let mut bench = Bench::new().await?;
    bench.node.hurry(PACE)?;
    // A container of which it is known that it was run: it has five minutes to answer.
    let record = r#"{"runtime":"podman","reference":"quay.io/a/b:1","position":0,"passed_over":[],"chosen_at":"2026-11-24T00:00:00Z"}"#;
    std::fs::write(bench.node.path("host/run/eyewall/kubelet.json"), record)?;
    bench.systemd.set(UNIT, Unit::running(4)).await?;
    bench.node.start()?;
    let spent = |status: &Status| status.kubelet.reason.kind == "kubelet-restart-budget-spent";
    let spent = bench.node.wait(Duration::from_secs(40), spent).await?.kubelet;
    assert_eq!(spent.health, Health::Bad);
    assert!(spent.reason.message.contains("journalctl -u kubelet.service"), "{}", spent.reason.message);
    // Seven minutes more: it is left alone, and that is told once.
    sleep(Duration::from_secs(7 * 60) / PACE).await;
    assert_eq!(bench.systemd.count("RestartUnit"), 3, "{:#?}", bench.systemd.calls());
    let mut told = bench.story().await?;
    told.retain(|(event, _)| event != "kubelet-restarted");
    assert_eq!(told, pairs(&[("kubelet-restart-budget-spent", "kubelet-restart-budget-spent")]));
    Ok(())
}

#[tokio::test]
async fn a_start_is_seen_from_its_preparation_to_its_image() -> Result<()> {
    let api = ApiServer::start(Options::default()).await?;
    let mut bench = Bench::new().await?;
    let [first, second] = ["quay.io/poseidon/kubelet:v1.36.2", "docker.io/psdn/kubelet:v1.36.2"];
    bench.node.drop_in("10-images.toml", &format!("[kubelet]\nimages = [{first:?}, {second:?}]\n"))?;
    let runtimes = Runtimes::new(&["docker"])?;
    runtimes.put("present", &[second])?;
    // The verb's files lie below a directory; of what the daemon writes it sees the real ones there.
    let (root, own) = (bench.node.path("host"), bench.node.path(""));
    let link = root.join(own.strip_prefix("/")?);
    std::fs::create_dir_all(link.parent().context("a parent")?)?;
    std::os::unix::fs::symlink(&own, &link)?;
    std::fs::create_dir_all(root.join("etc/kubernetes"))?;
    std::fs::write(root.join("etc/kubernetes/ca.crt"), api.ca_pem())?;
    let mut verb = Command::new(binary()?)
        .arg("kubelet")
        .arg("--config")
        .arg(bench.node.config())
        .arg("--root")
        .arg(&root)
        .env("PATH", runtimes.path())
        .env_remove("JOURNAL_STREAM")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let pid = verb.id().context("it runs")?;
    bench.systemd.set(UNIT, Unit::running(pid)).await?;
    bench.node.start()?;
    // It waits for the kubeconfig, which the daemon cannot write yet.
    let starting = bench.until("kubelet-starting").await?;
    assert_eq!((starting.health, starting.main_pid, starting.image), (Health::Unknown, Some(pid), None));
    assert!(verb.try_wait()?.is_none() && runtimes.run().is_err(), "{:?}", runtimes.calls());

    bench.node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    bench.node.wait_for(SOON, "valid", "certificate-valid").await?;
    assert_eq!(runtimes.running().await?, pid, "the verb became the runtime");
    let _kubelet = bench.kubelet().await?;
    let status = bench.node.wait(SOON, |status| status.health == Health::Good).await?;
    assert_eq!((status.kubelet.main_pid, status.kubelet.runtime.as_deref()), (Some(pid), Some("docker")));
    let image = status.kubelet.image.context("an image")?;
    assert_eq!((image.reference.as_str(), image.position), (second, 1));
    assert_eq!(image.passed_over[0].kind, "image-pull-failed");
    let shown = bench.node.command(&["status"])?.output().await?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains(second), "{shown}");
    assert_eq!(bench.systemd.count("RestartUnit"), 0);
    Ok(())
}
