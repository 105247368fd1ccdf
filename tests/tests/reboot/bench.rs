//! A host with a bus, systemd, logind and its OS's updater on it, and the real agent, which sees that host's boot id, uptime, os-release and
//! `/run` in place of this machine's. Its next boot is the agent started anew with others of them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eyewall_core::reboot::RebootState;
use eyewall_core::status::{EventRecord, RebootStatus};
use serde_json::{Value, json};
use tests::apiserver::{ApiServer, Options, RequestRecord};
use tests::bus::Bus;
use tests::bus::logind::{Inhibitor, Kind, Logind};
use tests::bus::systemd::{Systemd, Unit};
use tests::host_clock::HostClock;
use tests::node::{Node, binary};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

pub const SOON: Duration = Duration::from_secs(20);
const UNIT: &str = "kubelet.service";
/// Seconds. A reboot of ours cannot come after the boot that follows it, and only a fresh boot knows that.
pub const JUST_BOOTED: u64 = 0;

/// A cluster with the slots of the group `workers`.
pub async fn cluster(slots: u32) -> Result<Arc<ApiServer>> {
    let api = ApiServer::start(Options { pod_stop: Duration::from_millis(100), ..Options::default() }).await?;
    api.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}))?;
    api.apply_reboot_slots("workers", slots);
    Ok(Arc::new(api))
}

/// Writes or removes another node's slot, as that node would.
pub fn other_holder(api: &ApiServer, node: &str, holds: bool) -> Result<()> {
    let mut map = api.look(|view| view.object("configmaps", "kube-system", "reboot-workers")).context("the slots")?;
    let data = map["data"].as_object_mut().context("data")?;
    let key = format!("holder.{node}");
    if holds {
        let entry = json!({"boot_id": "elsewhere", "reason": "release 1 is staged", "since": "2026-11-24T02:15:00Z"});
        data.insert(key, Value::from(entry.to_string()));
    } else {
        data.remove(&key);
    }
    api.apply(map)?;
    Ok(())
}

/// The nodes that hold a slot.
pub fn holders(api: &ApiServer) -> Vec<String> {
    let map = api.look(|view| view.object("configmaps", "kube-system", "reboot-workers"));
    let data = map.as_ref().and_then(|map| map["data"].as_object());
    data.into_iter().flatten().filter_map(|(key, _)| key.strip_prefix("holder.").map(str::to_owned)).collect()
}

/// A pod that somebody manages, ready, on this node.
pub fn pod(api: &ApiServer, node: &str, name: &str) -> Result<()> {
    api.apply(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": name}, "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": "u-1", "controller": true},
        ]},
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }))?;
    Ok(())
}

/// A budget that lets no pod of this app go.
pub fn budget(api: &ApiServer, app: &str) -> Result<()> {
    api.apply(json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": app, "namespace": "default"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": app}}},
    }))?;
    Ok(())
}

/// The host.
pub struct Host {
    pub api: Arc<ApiServer>,
    pub bus: Bus,
    pub systemd: Systemd,
    pub logind: Logind,
    pub node: Node,
    name: String,
    port: SocketAddr,
    kubelet: Option<Child>,
    boots: u32,
    /// Of the boots to come; none: this machine's.
    pub clock: Option<HostClock>,
}

impl Host {
    /// Up, with its kubelet running and Ready; the agent is started when its certificate is there. `settings` is the table `[reboot]`.
    pub async fn start(api: &Arc<ApiServer>, name: &str, os_release: &str, settings: &str) -> Result<Self> {
        let mut host = Self::new(api, name, os_release, settings).await?;
        host.node.start()?;
        host.node.wait_for(SOON, "valid", "certificate-valid").await?;
        host.kubelet_runs().await?;
        Ok(host)
    }

    async fn new(api: &Arc<ApiServer>, name: &str, os_release: &str, settings: &str) -> Result<Self> {
        let bus = Bus::start().await?;
        let systemd = Systemd::start(&bus).await?;
        systemd.set(UNIT, Unit::stopped()).await?;
        let logind = Logind::start(&bus, Kind::default()).await?;
        let mut node = Node::new(name)?;
        let port = own_port();
        node.configure(&format!("[kubelet]\nhealth = \"https://{port}/healthz\"\n[reboot]\n{settings}"))?;
        node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
        node.environment("DBUS_SYSTEM_BUS_ADDRESS", &bus.address());
        let state = node.path("state");
        node.environment("STATE_DIRECTORY", &state.to_string_lossy());
        std::fs::create_dir(&state)?;
        std::fs::create_dir_all(node.path("host/run"))?;
        let mut host = Self {
            api: Arc::clone(api),
            bus,
            systemd,
            logind,
            node,
            name: name.to_owned(),
            port,
            kubelet: None,
            boots: 0,
            clock: None,
        };
        host.boots_with(os_release, JUST_BOOTED)?;
        Ok(host)
    }

    /// The directory that is this host's `/`, as far as it has one.
    pub fn root(&self) -> PathBuf {
        self.node.path("host")
    }

    /// The boot that runs.
    pub fn boot_id(&self) -> String {
        format!("{:08}-0000-4000-8000-000000000000", self.boots)
    }

    /// What the agent sees when it is started from now on: another boot, up for so many seconds.
    pub fn boots_with(&mut self, os_release: &str, up: u64) -> Result<()> {
        self.boots += 1;
        std::fs::write(self.root().join("boot-id"), format!("{}\n", self.boot_id()))?;
        std::fs::write(self.root().join("os-release"), os_release)?;
        self.same_boot_up_for(up)
    }

    /// The same boot, later.
    pub fn same_boot_up_for(&mut self, up: u64) -> Result<()> {
        let root = self.root();
        let script = format!(
            "cd {root:?} && mount --bind run /run && mount --bind boot-id /proc/sys/kernel/random/boot_id && \
             mount --bind os-release /etc/os-release && read -r now rest < /proc/uptime && \
             exec unshare --time --boottime $(({up} - ${{now%.*}})) \"$0\" \"$@\""
        );
        let mut words = ["unshare", "--mount", "sh", "-c", &script].map(str::to_owned).to_vec();
        if let Some(clock) = &self.clock {
            words.extend(clock.wrapper()?);
        }
        self.node.wrapper(&words.iter().map(String::as_str).collect::<Vec<_>>());
        Ok(())
    }

    /// The host went down and comes up with this release; whatever the OS's updater says then, the test has it say.
    pub async fn reboot(&mut self, os_release: &str, up: u64) -> Result<()> {
        self.node.kill().await?;
        self.logind.boot();
        // A host is never up within the second: boots are told from what was before by whole seconds.
        sleep(Duration::from_millis(1_100)).await;
        self.boots_with(os_release, up)?;
        self.node.start()
    }

    /// kill -9, and the agent is started anew.
    pub async fn restart_agent(&mut self) -> Result<()> {
        self.node.kill().await?;
        self.node.start()
    }

    /// The kubelet comes up.
    pub async fn kubelet_runs(&mut self) -> Result<()> {
        let child = Command::new(env!("CARGO_BIN_EXE_kubelet-standin"))
            .arg(format!("--kubeconfig={}", self.node.path("kubelet.kubeconfig").display()))
            .arg(format!("--hostname-override={}", self.name))
            .env("KUBELET_STANDIN_LISTEN", self.port.to_string())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let listening = async {
            while TcpStream::connect(self.port).await.is_err() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, listening).await.context("the kubelet stand-in does not listen")?;
        let pid = child.id().context("it runs")?;
        self.kubelet = Some(child);
        self.systemd.set(UNIT, Unit::running(pid)).await?;
        let ready = |node: &Value| {
            let conditions = node["status"]["conditions"].as_array().into_iter().flatten();
            conditions.into_iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
        };
        let name = self.name.clone();
        self.api.wait_until(SOON, |view| view.object("nodes", "", &name).is_some_and(|node| ready(&node))).await
    }

    /// The kubelet ends, and nobody starts it.
    pub async fn kubelet_fails(&mut self) -> Result<()> {
        self.kubelet.take().context("it runs")?.kill().await?;
        self.systemd.set(UNIT, Unit::failed()).await
    }

    /// What the socket says of reboots, once it is in this state for a reason of this kind (`*`: any).
    pub async fn until(&self, state: RebootState, kind: &str) -> Result<RebootStatus> {
        let wanted = |status: &RebootStatus| status.state == state && (kind == "*" || status.reason.kind == kind);
        self.when(&format!("{state} / {kind}"), wanted).await
    }

    /// What the socket says of reboots, once it is so.
    pub async fn when(&self, what: &str, wanted: impl Fn(&RebootStatus) -> bool) -> Result<RebootStatus> {
        let end = Instant::now() + SOON;
        let mut last = None;
        while Instant::now() < end {
            if let Ok(status) = self.node.status().await {
                last = status.reboot;
                if let Some(reboot) = last.as_ref().filter(|reboot| wanted(reboot)) {
                    return Ok(reboot.clone());
                }
            }
            sleep(Duration::from_millis(10)).await;
        }
        anyhow::bail!("waiting for {what}; last: {last:#?}\nlog:\n{}", self.node.log())
    }

    /// logind takes the host down.
    pub async fn until_down(&self) -> Result<()> {
        let Err(error) = self.logind.until_down().await else { return Ok(()) };
        let last = self.node.status().await?.reboot;
        Err(error.context(format!("last: {last:#?}\nlog:\n{}", self.node.log())))
    }

    /// The block lock of the agent.
    pub fn block(&self) -> Option<Inhibitor> {
        let blocks = |held: &Inhibitor| held.who == "eyewall" && held.mode == "block";
        self.logind.inhibitors().into_iter().rfind(blocks)
    }

    /// The own Node.
    pub fn object(&self) -> Value {
        self.api.look(|view| view.object("nodes", "", &self.name)).unwrap_or_default()
    }

    /// Whether it takes no pods, and the boot in which the agent made it so.
    pub fn cordon(&self) -> (bool, Option<String>) {
        let node = self.object();
        let by = node["metadata"]["annotations"]["eyewall.dev/cordoned-by-boot"].as_str().map(str::to_owned);
        (node["spec"]["unschedulable"] == true, by)
    }

    /// The events about reboots since the agent started.
    pub async fn events(&self) -> Result<Vec<EventRecord>> {
        let mut events = self.node.events().await?;
        events.retain(|event| event.event.starts_with("reboot-") || event.event.starts_with("host-lock"));
        Ok(events)
    }

    /// Their names.
    pub async fn story(&self) -> Result<Vec<String>> {
        Ok(self.events().await?.into_iter().map(|event| event.event).collect())
    }

    /// What reboots asked of the API server for this node.
    pub fn requests(&self) -> Vec<RequestRecord> {
        let user = format!("system:node:{}", self.name);
        let is_ours = |one: &RequestRecord| one.user_agent.starts_with("eyewall-reboot/") && one.user == user;
        self.api.requests().into_iter().filter(is_ours).collect()
    }

    /// A verb, as root.
    pub async fn verb(&self, words: &[&str]) -> Result<Output> {
        Ok(self.node.command(words)?.stdout(Stdio::piped()).stderr(Stdio::piped()).output().await?)
    }

    /// A verb that is done.
    pub async fn order(&self, words: &[&str]) -> Result<String> {
        let output = self.verb(words).await?;
        ensure!(output.status.success(), "{words:?}: {output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// A verb as somebody who may read the socket and is not root.
    pub async fn verb_as_nobody(&self, words: &[&str]) -> Result<Output> {
        for (path, mode) in [("", 0o755), ("run", 0o755), ("run/eyewall.sock", 0o666)] {
            std::fs::set_permissions(self.node.path(path), std::fs::Permissions::from_mode(mode))?;
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(binary()?).args(words);
        command.arg("--socket").arg(self.node.socket()).stdin(Stdio::null()).kill_on_drop(true);
        Ok(command.output().await?)
    }
}

/// The kubelet's own port, on an address of the loopback network that nobody else has.
fn own_port() -> SocketAddr {
    static COUNT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, 64 + COUNT.fetch_add(1, Ordering::Relaxed), high, low.clamp(1, 254));
    SocketAddr::new(IpAddr::V4(address), 10_250)
}
