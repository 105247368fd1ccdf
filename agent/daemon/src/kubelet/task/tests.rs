//! The task against a systemd that speaks the real protocol over a socket pair, and a port that answers or does not.

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

use eyewall_core::config::Image;
use eyewall_core::kubelet::PODMAN;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use zbus::connection::Builder;
use zbus::wire::Variant;
use zbus::{Connection, Guid, ObjectPath, OwnedObjectPath};

use super::*;
use crate::supervisor::Heartbeats;

const UNIT_PATH: &str = "/org/freedesktop/systemd1/unit/kubelet_2eservice";

/// What systemd knows and was asked.
#[derive(Clone, Debug, Default)]
struct World {
    load: String,
    active: String,
    sub: String,
    pid: u32,
    subscribed: bool,
    loaded: Vec<String>,
    restarts: Vec<String>,
    refuses: bool,
}

type Shared = Arc<Mutex<World>>;

fn lock(world: &Shared) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Manager(Shared);

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    fn subscribe(&self) {
        lock(&self.0).subscribed = true;
    }

    fn load_unit(&self, name: &str) -> OwnedObjectPath {
        lock(&self.0).loaded.push(name.to_owned());
        ObjectPath::try_from(UNIT_PATH).expect("a path").into()
    }

    async fn restart_unit(
        &self,
        name: &str,
        mode: &str,
        #[zbus(connection)] connection: &Connection,
    ) -> zbus::fdo::Result<OwnedObjectPath> {
        {
            let mut world = lock(&self.0);
            world.restarts.push(format!("{name} {mode}"));
            if world.refuses {
                return Err(zbus::fdo::Error::AccessDenied("not you".to_owned()));
            }
            world.pid += 1;
        }
        changed(connection).await;
        Ok(ObjectPath::try_from("/org/freedesktop/systemd1/job/1").expect("a path").into())
    }
}

struct UnitInterface(Shared);

#[zbus::interface(name = "org.freedesktop.systemd1.Unit")]
impl UnitInterface {
    #[zbus(property)]
    fn load_state(&self) -> String {
        lock(&self.0).load.clone()
    }

    #[zbus(property)]
    fn active_state(&self) -> String {
        lock(&self.0).active.clone()
    }

    #[zbus(property)]
    fn sub_state(&self) -> String {
        lock(&self.0).sub.clone()
    }
}

struct ServiceInterface(Shared);

#[zbus::interface(name = "org.freedesktop.systemd1.Service")]
impl ServiceInterface {
    #[zbus(property, name = "MainPID")]
    fn main_pid(&self) -> u32 {
        lock(&self.0).pid
    }
}

async fn changed(connection: &Connection) {
    let changes: HashMap<&str, Variant<'_>> = HashMap::new();
    let body = ("org.freedesktop.systemd1.Unit", changes, vec!["ActiveState"]);
    let interface = "org.freedesktop.DBus.Properties";
    connection.emit_signal(None::<&str>, UNIT_PATH, interface, "PropertiesChanged", &body).await.expect("sent");
}

/// A port that answers 401 while it is up and closes every connection while it is not.
struct Port {
    url: String,
    up: watch::Sender<bool>,
}

impl Port {
    async fn open(up: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/healthz", listener.local_addr().expect("an address"));
        let (sender, receiver) = watch::channel(up);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let up = receiver.clone();
                tokio::spawn(async move {
                    let mut buffer = [0_u8; 1024];
                    while let Ok(1..) = stream.read(&mut buffer).await {
                        let answer = b"HTTP/1.1 401 x\r\nContent-Length: 0\r\n\r\n";
                        if !*up.borrow() || stream.write_all(answer).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { url, up: sender }
    }
}

struct Bench {
    world: Shared,
    systemd: Option<Connection>,
    port: Port,
    root: tempfile::TempDir,
    config: watch::Sender<Arc<Config>>,
    status: watch::Receiver<Option<KubeletStatus>>,
    events: Events,
    task: JoinHandle<()>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Quick enough for a test: a kubelet has 0.3 s to start and is wedged after 0.3 s of silence.
const QUICK: Policy = Policy {
    silent_for: Duration::from_millis(300),
    grace: Duration::from_millis(300),
    grace_unrecorded: Duration::from_millis(300),
    budget: 2,
    window: Duration::from_secs(600),
};

impl Bench {
    async fn start(states: &str, up: bool, policy: Policy, process_name: fn(u32) -> Option<String>) -> Self {
        let world = Shared::default();
        set(&world, states);
        let (near, far) = UnixStream::pair().expect("a pair");
        let systemd = Builder::unix_stream(far)
            .server(Guid::generate())
            .p2p()
            .serve_at("/org/freedesktop/systemd1", Manager(Arc::clone(&world)))
            .serve_at(UNIT_PATH, UnitInterface(Arc::clone(&world)))
            .serve_at(UNIT_PATH, ServiceInterface(Arc::clone(&world)));
        let (systemd, bus) = tokio::join!(systemd.build(), Builder::unix_stream(near).p2p().build());
        let port = Port::open(up).await;
        let root = tempfile::tempdir().expect("a directory");
        let mut config = Config::default();
        config.kubelet.health.clone_from(&port.url);
        let (config_tx, config) = watch::channel(Arc::new(config));
        let (status_tx, status) = watch::channel(None);
        let events = Events::new();
        let task = tokio::spawn(run(Deps {
            config,
            status: status_tx,
            events: events.clone(),
            heartbeat: Heartbeats::new(events.clone()).register("kubelet", ROUND),
            clock: crate::clock::now,
            bus: Bus::Given(bus.expect("the near end")),
            record: root.path().join("kubelet.json"),
            process_name,
            runtime: |_| Some("docker".to_owned()),
            container: || None,
            policy,
        }));
        Self {
            world,
            systemd: Some(systemd.expect("the far end")),
            port,
            root,
            config: config_tx,
            status,
            events,
            task,
        }
    }

    /// systemd's state becomes another, and it says so.
    async fn become_now(&self, states: &str) {
        set(&self.world, states);
        changed(self.systemd.as_ref().expect("not closed")).await;
    }

    /// Waits for a status of this kind.
    async fn until(&mut self, kind: &str) -> KubeletStatus {
        let mut seen = Vec::new();
        let found = timeout(Duration::from_secs(20), async {
            loop {
                let status = self.status.borrow_and_update().clone();
                if let Some(status) = status {
                    if status.reason.kind == kind {
                        return status;
                    }
                    seen.push(status.reason.kind);
                }
                self.status.changed().await.expect("the task lives");
            }
        });
        match found.await {
            Ok(status) => status,
            Err(_) => panic!("never {kind}; it was {seen:?}"),
        }
    }

    fn story(&self) -> Vec<String> {
        self.events.recent().iter().map(|record| record.event.clone()).collect()
    }
}

/// `load active sub pid`
fn set(world: &Shared, states: &str) {
    let mut words = states.split(' ');
    let mut next = || words.next().unwrap_or_default().to_owned();
    let mut world = lock(world);
    world.load = next();
    world.active = next();
    world.sub = next();
    world.pid = next().parse().unwrap_or(0);
}

fn nobody(_: u32) -> Option<String> {
    None
}

#[tokio::test]
async fn the_status_follows_systemd_and_the_port() {
    let mut bench = Bench::start("loaded active running 7", true, Policy::default(), nobody).await;
    let good = bench.until("kubelet-healthy").await;
    assert_eq!((good.health, good.main_pid, good.active_state.as_deref()), (Health::Good, Some(7), Some("active")));
    assert_eq!((good.runtime.as_deref(), good.image), (Some("docker"), None), "nothing was recorded yet");
    assert!(lock(&bench.world).subscribed, "or systemd would send no signal");
    assert_eq!(lock(&bench.world).loaded, ["kubelet.service"]);

    bench.become_now("loaded failed failed").await;
    let failed = bench.until("kubelet-not-active").await;
    assert_eq!((failed.health, failed.main_pid), (Health::Bad, None));

    bench.become_now("loaded activating start 8").await;
    assert_eq!(bench.until("kubelet-starting").await.health, Health::Unknown);
    let image = Image::parse("quay.io/a/b:1").expect("an image");
    let started = Started::new(PODMAN, &image, Vec::new(), Time::from_unix(1));
    let record = serde_json::to_string(&started).expect("JSON");
    std::fs::write(bench.root.path().join("kubelet.json"), record).expect("written");
    bench.become_now("loaded active running 8").await;
    let good = bench.until("kubelet-healthy").await;
    assert_eq!(good.runtime.as_deref(), Some("podman"));
    assert_eq!(good.image.map(|image| image.reference).as_deref(), Some("quay.io/a/b:1"));
    assert!(good.reason.message.contains("no longer configured"), "{}", good.reason.message);
    assert_eq!(bench.story(), ["kubelet-healthy", "kubelet-unhealthy", "kubelet-healthy"]);
    assert_eq!(lock(&bench.world).restarts, [""; 0], "systemd restarts what ended, not we");
}

#[tokio::test]
async fn a_wedged_kubelet_is_restarted_within_the_budget() {
    let mut bench = Bench::start("loaded active running 7", false, QUICK, nobody).await;
    let spent = bench.until("kubelet-restart-budget-spent").await;
    assert_eq!((spent.health, spent.restarts_total, spent.main_pid), (Health::Bad, 2, Some(9)));
    assert_eq!(lock(&bench.world).restarts, ["kubelet.service replace"; 2]);
    bench.port.up.send_replace(true);
    assert_eq!(bench.until("kubelet-healthy").await.restarts_total, 2);
    let mut story = bench.story();
    story.retain(|event| event != "kubelet-unhealthy");
    assert_eq!(story, ["kubelet-restarted", "kubelet-restarted", "kubelet-restart-budget-spent", "kubelet-healthy"]);
}

#[tokio::test]
async fn a_refused_restart_is_not_tried_for_ever() {
    let mut bench = Bench::start("loaded active running 7", false, QUICK, nobody).await;
    lock(&bench.world).refuses = true;
    let spent = bench.until("kubelet-restart-budget-spent").await;
    assert_eq!(spent.restarts_total, 0, "none was done");
    assert_eq!(lock(&bench.world).restarts.len(), 2);
}

#[tokio::test]
async fn a_start_that_is_still_being_prepared_is_left_alone() {
    let preparing = |_| Some("eyewall".to_owned());
    let mut bench = Bench::start("loaded active running 7", false, QUICK, preparing).await;
    assert_eq!(bench.until("kubelet-starting").await.health, Health::Unknown);
    sleep(Duration::from_millis(2_500)).await;
    assert_eq!(lock(&bench.world).restarts, [""; 0]);
    assert_eq!(
        bench.status.borrow().as_ref().map(|status| status.reason.kind.clone()).as_deref(),
        Some("kubelet-starting")
    );
}

#[tokio::test]
async fn one_lost_answer_is_no_news() {
    let mut bench = Bench::start("loaded active running 7", true, Policy::default(), nobody).await;
    bench.until("kubelet-healthy").await;
    bench.port.up.send_replace(false);
    // A hint makes it ask at once.
    bench.become_now("loaded active running 7").await;
    sleep(Duration::from_millis(500)).await;
    bench.port.up.send_replace(true);
    sleep(Duration::from_millis(1_500)).await;
    assert_eq!(bench.story(), ["kubelet-healthy"]);
    bench.port.up.send_replace(false);
    bench.become_now("loaded active running 7").await;
    assert_eq!(bench.until("kubelet-not-answering").await.health, Health::Bad);
    assert_eq!(bench.story(), ["kubelet-healthy", "kubelet-unhealthy"]);
}

#[tokio::test]
async fn a_crash_loop_is_told_once() {
    let mut bench = Bench::start("loaded activating auto-restart", false, QUICK, nobody).await;
    for pid in 0..3 {
        bench.until("kubelet-restarting").await;
        bench.become_now(&format!("loaded active running {}", pid + 7)).await;
        bench.until("kubelet-starting").await;
        bench.become_now("loaded activating auto-restart").await;
    }
    bench.until("kubelet-restarting").await;
    assert_eq!(bench.story(), ["kubelet-unhealthy"]);
}

#[tokio::test]
async fn what_cannot_be_seen_is_unknown() {
    let mut bench = Bench::start("not-found inactive dead", true, Policy::default(), nobody).await;
    assert_eq!(bench.until("no-kubelet-unit").await.health, Health::Unknown);

    let mut bench = Bench::start("loaded active running 7", true, Policy::default(), nobody).await;
    bench.until("kubelet-healthy").await;
    let systemd = bench.systemd.take().expect("open");
    systemd.close().await.expect("closed");
    let unknown = bench.until("systemd-silent").await;
    assert_eq!((unknown.health, unknown.active_state), (Health::Unknown, None));
    assert!(unknown.reason.message.contains("answers (401)"), "{}", unknown.reason.message);
}

#[tokio::test]
async fn another_unit_and_another_port_are_taken_over() {
    let mut bench = Bench::start("loaded active running 7", true, Policy::default(), nobody).await;
    bench.until("kubelet-healthy").await;
    let other = Port::open(false).await;
    bench.config.send_modify(|config| {
        let config = Arc::make_mut(config);
        config.kubelet.unit = "other.service".to_owned();
        config.kubelet.health.clone_from(&other.url);
    });
    let status = bench.until("kubelet-starting").await;
    assert_eq!(status.unit, "other.service");
    assert_eq!(lock(&bench.world).loaded, ["kubelet.service", "other.service"]);
    other.up.send_replace(true);
    assert_eq!(bench.until("kubelet-healthy").await.unit, "other.service");
}

#[test]
fn systemd_is_left_alone_while_all_is_well() {
    let minute = Duration::from_secs(60);
    for (name, hinted, is_well, last, want) in [
        ("at the start", false, false, None, true),
        ("all is well", false, true, Some(minute), false),
        ("it said something", true, true, Some(minute), true),
        ("all is not well", false, false, Some(minute), true),
        ("a signal may have been lost", false, true, Some(10 * minute), true),
    ] {
        assert_eq!(is_look_due(hinted, is_well, last), want, "{name}");
    }
}
