//! The settings in force: typed, complete, every default right for Typhoon. An empty file is a working worker.
//!
//! Reading TOML into this, with all faults at once, is the submodules' business; the rest of the program sees only [`Config`].

mod document;
mod endpoint;
mod fault;
mod image;
mod keys;
mod kubernetes;
pub(crate) mod nearest;
mod read;
mod table;
mod value;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use endpoint::Endpoint;
pub use fault::{Fault, Faults};
pub use image::Image;
pub(crate) use kubernetes::extra_arg_fault;
pub use read::{Source, read};
pub use value::{parse_duration, spell};

/// Everything `/etc/eyewall/eyewall.toml` can say (DESIGN 4).
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Config {
    /// `[node]`
    pub node: Node,
    /// `[cluster]`
    pub cluster: Cluster,
    /// `[certificates]`
    pub certificates: Certificates,
    /// `[kubelet]`
    pub kubelet: Kubelet,
    /// `[posture]`
    pub posture: Posture,
    /// `[reboot]`
    pub reboot: Reboot,
    /// `[socket]`
    pub socket: Socket,
    /// `[metrics]`
    pub metrics: Metrics,
}

/// What the node is for; it decides the kubelet's label and taint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Role {
    /// `worker`
    #[default]
    Worker,
    /// `controller`
    Controller,
}

/// `os = "auto"` or a fixed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OsChoice {
    /// By `/etc/os-release`.
    #[default]
    Auto,
    /// `fcos`
    Fcos,
    /// `flatcar`
    Flatcar,
    /// `generic`: any systemd host.
    Generic,
}

/// `[node]`
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Node {
    /// The Node object's name; `None` is the lower-cased hostname.
    pub name: Option<String>,
    /// `role`
    pub role: Role,
    /// `os`
    pub os: OsChoice,
}

/// `[cluster]`
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// The kubeconfig with the bootstrap token.
    pub bootstrap_kubeconfig: PathBuf,
    /// Make that file root's own, 0600, before each start of the kubelet; never with `owner = "kubelet"`. On by default: the token
    /// in it gets a certificate for any node name, Typhoon delivers it as 0644 (and where it is copied by ssh it stays the login
    /// user's), and nobody but root has a use for it: kubelet, agent and Terraform's next copy (`sudo mv`) are all root.
    pub bootstrap_kubeconfig_root_only: bool,
    /// The cluster's DNS service: the 10th address of the service network. Only for a KubeletConfiguration that the agent writes.
    pub dns: Vec<IpAddr>,
    /// The cluster's DNS domain. Only for a KubeletConfiguration that the agent writes.
    pub domain: String,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            bootstrap_kubeconfig: "/etc/kubernetes/kubeconfig".into(),
            bootstrap_kubeconfig_root_only: true,
            dns: vec![IpAddr::from([10, 3, 0, 10])],
            domain: "cluster.local".to_owned(),
        }
    }
}

/// Who renews the kubelet's client certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Owner {
    /// The agent does.
    #[default]
    Eyewall,
    /// The kubelet does; the agent never writes and reports the same.
    Kubelet,
}

/// `[certificates]`
#[derive(Clone, Debug, PartialEq)]
pub struct Certificates {
    /// `owner`
    pub owner: Owner,
    /// Where the PEM files live.
    pub directory: PathBuf,
    /// The kubelet's kubeconfig, written once, with file references.
    pub kubeconfig: PathBuf,
    /// The renewal point is drawn between these fractions of the lifetime; 0 < a <= b < 1.
    pub renew_at: [f64; 2],
    /// Also own the serving pair.
    pub serving: bool,
    /// How many PEM files to keep, the one in force included; at least 1.
    pub keep: u32,
    /// Warn when the host could stay off for less than this; `None` is `auto`: when a renewal is overdue.
    pub warn_off: Option<Duration>,
    /// Warn when the bootstrap credential was last found good longer ago than this.
    pub warn_recovery: Duration,
    /// Warn when the cluster CA has lived this share of its life; 0 < share < 1.
    pub warn_authority: f64,
}

impl Default for Certificates {
    fn default() -> Self {
        Self {
            owner: Owner::Eyewall,
            directory: "/var/lib/kubelet/pki".into(),
            kubeconfig: "/var/lib/kubelet/kubeconfig".into(),
            renew_at: [0.60, 0.67],
            serving: false,
            keep: 3,
            warn_off: None,
            // As long as a certificate of Typhoon lives: three daily tests in a row.
            warn_recovery: Duration::from_secs(3 * 86_400),
            // Of 365 days, which a CA of Typhoon lives, a month is left to replace it.
            warn_authority: 335.0 / 365.0,
        }
    }
}

/// `runtime = "auto"` or a fixed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RuntimeChoice {
    /// podman where there is one, else docker; the OS's own first.
    #[default]
    Auto,
    /// `podman`
    Podman,
    /// `docker`
    Docker,
}

/// `[kubelet]`
#[derive(Clone, Debug, PartialEq)]
pub struct Kubelet {
    /// The systemd unit.
    pub unit: String,
    /// `runtime`
    pub runtime: RuntimeChoice,
    /// In order: the first that can be had is used.
    pub images: Vec<String>,
    /// Refuse images without `@sha256:`.
    pub require_digest: bool,
    /// Where the kubelet's health is asked; 401 is alive.
    pub health: String,
    /// The KubeletConfiguration; written when absent.
    pub config: PathBuf,
    /// Appended to the kubelet's flags.
    pub extra_args: Vec<String>,
    /// `--node-labels` beside the role's own.
    pub labels: BTreeMap<String, String>,
    /// `--register-with-taints` beside the role's own, `key=value:Effect`.
    pub taints: Vec<String>,
}

impl Default for Kubelet {
    fn default() -> Self {
        Self {
            unit: "kubelet.service".to_owned(),
            runtime: RuntimeChoice::Auto,
            images: vec!["quay.io/poseidon/kubelet:v1.36.2".to_owned()],
            require_digest: false,
            health: "https://127.0.0.1:10250/healthz".to_owned(),
            config: "/etc/kubernetes/kubelet.yaml".into(),
            extra_args: Vec::new(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
        }
    }
}

/// `[[posture.waive]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiver {
    /// The check's id.
    pub check: String,
    /// Why it is waived.
    pub why: String,
    /// `YYYY-MM-DD`, the first day on which it counts again.
    pub until: String,
}

/// `[posture]`
#[derive(Clone, Debug, PartialEq)]
pub struct Posture {
    /// The slowest re-look.
    pub interval: Duration,
    /// Check id -> expected value.
    pub expect: BTreeMap<String, String>,
    /// `waive`
    pub waive: Vec<Waiver>,
}

impl Default for Posture {
    fn default() -> Self {
        Self { interval: Duration::from_secs(600), expect: BTreeMap::new(), waive: Vec::new() }
    }
}

/// `lock`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LockChoice {
    /// The slot table in the cluster.
    #[default]
    Slots,
    /// A FleetLock server.
    Fleetlock,
    /// A single host.
    Local,
}

/// `on_drain_timeout`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnDrainTimeout {
    /// Undo and try again later.
    #[default]
    GiveUp,
    /// Reboot all the same.
    Reboot,
}

/// One maintenance window, as Zincati writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// `Mon` .. `Sun`
    pub days: Vec<String>,
    /// `HH:MM`
    pub start: String,
    /// How long; at most a week.
    pub length: Duration,
}

/// `[reboot]`
#[derive(Clone, Debug, PartialEq)]
pub struct Reboot {
    /// Coordinate at all.
    pub coordinate: bool,
    /// `lock`
    pub lock: LockChoice,
    /// The group whose slots are counted.
    pub group: String,
    /// Empty unless `lock = "fleetlock"`.
    pub fleetlock_url: String,
    /// Empty: always.
    pub windows: Vec<Window>,
    /// IANA name, `UTC` by default.
    pub time_zone: String,
    /// `drain_timeout`
    pub drain_timeout: Duration,
    /// `on_drain_timeout`
    pub on_drain_timeout: OnDrainTimeout,
    /// All good this long after boot before the slot is freed.
    pub health_gate: Duration,
    /// A boot that never gets healthy goes back.
    pub rollback: bool,
}

impl Default for Reboot {
    fn default() -> Self {
        Self {
            coordinate: true,
            lock: LockChoice::Slots,
            group: "workers".to_owned(),
            fleetlock_url: String::new(),
            windows: Vec::new(),
            time_zone: "UTC".to_owned(),
            drain_timeout: Duration::from_secs(600),
            on_drain_timeout: OnDrainTimeout::GiveUp,
            health_gate: Duration::from_secs(300),
            rollback: false,
        }
    }
}

/// `[socket]`
#[derive(Clone, Debug, PartialEq)]
pub struct Socket {
    /// Where `eyewall.socket` listens; the daemon binds it itself where no systemd hands it over.
    pub path: PathBuf,
}

impl Default for Socket {
    fn default() -> Self {
        Self { path: "/run/eyewall/eyewall.sock".into() }
    }
}

/// `[metrics]`
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Metrics {
    /// For node_exporter's collector; `None` writes none.
    pub textfile: Option<PathBuf>,
}
