//! The v1 wire types: what the socket serves, what `eyewall status` draws, what tests read.
//!
//! Fields are only ever added. Times are RFC 3339, ids are kebab-case. No secret has a field here.

mod reboot;
mod serving;

use serde::{Deserialize, Serialize};

pub use reboot::{BootView, DrainView, HostLockView, LockView, PendingView, RebootStatus, WindowView};
pub use serving::ServingStatus;

use crate::time::Time;

/// Good, bad, or not known. Not being able to look is `Unknown`, never `Good`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// Looked at and as it should be.
    Good,
    /// Looked at and not as it should be.
    Bad,
    /// Could not be looked at; the reason says why.
    Unknown,
}

/// A reason: a word for machines and a sentence that tells a person what is so and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// kebab-case; equal in socket, journal and documentation.
    pub kind: String,
    /// One sentence.
    pub message: String,
}

impl Reason {
    /// A reason of this kind.
    pub fn new(kind: &str, message: impl Into<String>) -> Self {
        Self { kind: kind.to_owned(), message: message.into() }
    }
}

/// `GET /v1/status`: everything on one page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Good only if every part is; `Unknown` if none is bad but one is unknown.
    pub health: Health,
    /// Which node this is.
    pub node: NodeStatus,
    /// The agent itself.
    pub agent: AgentStatus,
    /// The kubelet's client certificate.
    pub certificates: CertificatesStatus,
    /// The kubelet in its container.
    pub kubelet: KubeletStatus,
    /// The claims of the security page; none before the first look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub posture: Option<crate::posture::PostureStatus>,
    /// May this host reboot, and why (not); none before the first look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reboot: Option<RebootStatus>,
}

impl Status {
    /// The fold of the parts: bad beats unknown beats good.
    pub fn fold(parts: &[Health]) -> Health {
        if parts.contains(&Health::Bad) {
            Health::Bad
        } else if parts.contains(&Health::Unknown) || parts.is_empty() {
            Health::Unknown
        } else {
            Health::Good
        }
    }
}

/// Which node, and what kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The Node object's name; none while the hostname is not one a node may have (`localhost`).
    pub name: Option<String>,
    /// `worker` or `controller`.
    pub role: String,
    /// `fcos`, `flatcar` or `generic`.
    pub os: String,
    /// `/proc/sys/kernel/random/boot_id`, so that two readings can be told apart.
    pub boot_id: Option<String>,
}

/// The agent itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// The version of the binary.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// When it started.
    pub started_at: Time,
    /// Is the configuration in force the one on disk?
    pub config: ConfigStatus,
    /// What the agent wants to look at or do on this host and cannot, each with its reason (`not-root`, `no-system-bus`, `no-inotify`,
    /// `no-clock-watcher`, `no-journal`, ...), as long as it is so. Empty on a node as Ignition makes it.
    pub limits: Vec<Reason>,
}

/// The configuration in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// The files it was read from, in the order they were merged. Empty: defaults.
    pub files: Vec<String>,
    /// When it came into force.
    pub loaded_at: Time,
    /// Why the files on disk now were refused, if they were: the configuration before them is in force.
    pub refused: Option<Reason>,
}

/// The states of the kubelet's client certificate (DESIGN 5.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateState {
    /// There is none, and none is being asked for (the reason says why not).
    Absent,
    /// A request is being made.
    Requesting,
    /// The request is on the API server and waits for its approver or signer.
    PendingApproval,
    /// In force, and not due.
    Valid,
    /// In force; the renewal point has passed and a renewal is under way.
    RenewalDue,
    /// In force, but a renewal should have succeeded long ago.
    RenewalOverdue,
    /// Past its end; a new one is asked for with the bootstrap credential.
    ExpiredRecovering,
    /// The API server does not know the bootstrap token (401).
    TokenRejected,
    /// The request was denied, or the signer refused it.
    Denied,
    /// The cluster CA has ended; nothing on this host can help.
    CaExpired,
    /// The clock of this host cannot be right.
    ClockSuspect,
    /// The API server does not answer.
    ServerUnreachable,
}

impl CertificateState {
    /// Every state, for tables and documentation.
    pub const ALL: [Self; 12] = [
        Self::Absent,
        Self::Requesting,
        Self::PendingApproval,
        Self::Valid,
        Self::RenewalDue,
        Self::RenewalOverdue,
        Self::ExpiredRecovering,
        Self::TokenRejected,
        Self::Denied,
        Self::CaExpired,
        Self::ClockSuspect,
        Self::ServerUnreachable,
    ];

    /// The kebab-case name, equal to the JSON one.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Requesting => "requesting",
            Self::PendingApproval => "pending-approval",
            Self::Valid => "valid",
            Self::RenewalDue => "renewal-due",
            Self::RenewalOverdue => "renewal-overdue",
            Self::ExpiredRecovering => "expired-recovering",
            Self::TokenRejected => "token-rejected",
            Self::Denied => "denied",
            Self::CaExpired => "ca-expired",
            Self::ClockSuspect => "clock-suspect",
            Self::ServerUnreachable => "server-unreachable",
        }
    }
}

/// `GET /v1/certificates`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CertificatesStatus {
    /// `eyewall` (we renew) or `kubelet` (we only watch).
    pub owner: String,
    /// Good: a certificate is in force and no renewal is overdue.
    pub health: Health,
    /// The state.
    pub state: CertificateState,
    /// Since when it is in this state.
    pub since: Time,
    /// Why it is in this state.
    pub reason: Reason,
    /// What happens next, in one sentence.
    pub next: String,
    /// When that happens, if it is a matter of time.
    pub next_at: Option<Time>,
    /// The certificate in force.
    pub current: Option<CertificateView>,
    /// The one open request.
    pub request: Option<RequestView>,
    /// The cluster CA of the bootstrap kubeconfig.
    pub ca: Option<AuthorityView>,
    /// Until when this host may stay off and still come back without the bootstrap credential: the end of the certificate, less the
    /// time that the return takes.
    #[serde(default)]
    pub may_be_off_until: Option<Time>,
    /// Whether the bootstrap credential would work, tested while it is not needed; none before the first test.
    #[serde(default)]
    pub recovery: Option<RecoveryView>,
    /// What is to come, each with the threshold at which it is a warning; always the same ones, in the same order.
    #[serde(default)]
    pub forecasts: Vec<Forecast>,
    /// Can this host's clock be trusted, and by what evidence?
    pub clock: ClockView,
    /// Certificates installed since the agent started.
    pub installed_total: u64,
    /// Attempts that failed since the agent started.
    pub failures_total: u64,
    /// Renewal errors as the kubelet would count them, which tries every 32 s: attempts that failed, and each minute in which a
    /// renewal goes on failing, since the agent started. Alerts on it want it to rise at least every five minutes.
    #[serde(default)]
    pub renew_errors_total: u64,
    /// The kubelet's serving certificate, where somebody keeps one (`certificates.serving`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<ServingStatus>,
    /// While the kubelet owns the certificate: the commands that hand it over to eyewall, in order, as root on this node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub take_over: Vec<String>,
}

/// A certificate as told to people. Nothing here is secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateView {
    /// `CN=system:node:<name>,O=system:nodes`.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Lower-case hex.
    pub serial: String,
    /// Start of its life.
    pub not_before: Time,
    /// End of its life.
    pub not_after: Time,
    /// When its renewal begins (drawn between `renew_at[0]` and `renew_at[1]` of its life from the serial).
    pub renew_at: Time,
    /// SHA-256 of the DER, lower-case hex; the API server's `credential-id` names the same.
    pub sha256: String,
    /// The file it was read from (the dated one, not the link).
    pub file: String,
}

/// The open certificate signing request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestView {
    /// The CSR object's name.
    pub name: String,
    /// With which identity it is asked for: `bootstrap` or `node`.
    pub credential: String,
    /// When its key was made.
    pub since: Time,
    /// Attempts so far with this request.
    pub attempts: u32,
}

/// The cluster CA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityView {
    /// Its subject.
    pub subject: String,
    /// Its end; every node certificate ends no later.
    pub not_after: Time,
    /// Its start; none if another version of the agent told this.
    #[serde(default)]
    pub not_before: Option<Time>,
}

/// What a forecast is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForecastKind {
    /// Until when the host may stay off and come back by its certificate alone (`at`). The threshold is the least that should be left.
    Off,
    /// When the bootstrap credential was last found good (`at`). The threshold is the age that this may have.
    Recovery,
    /// When the cluster CA ends (`at`). The threshold is the least that should be left.
    Authority,
}

impl ForecastKind {
    /// The kebab-case name, equal to the JSON one.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Recovery => "recovery",
            Self::Authority => "authority",
        }
    }
}

/// One forecast.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forecast {
    /// What it is about.
    pub kind: ForecastKind,
    /// Bad: the threshold is crossed. Unknown: it cannot be judged, as by a clock in doubt.
    pub health: Health,
    /// The instant that counts; see the kind.
    pub at: Option<Time>,
    /// The threshold (`certificates.warn_*`), in seconds.
    pub threshold_seconds: u64,
    /// What is so, and what to do.
    pub reason: Reason,
}

/// The bootstrap credential, tested once a day while the certificate in force is good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryView {
    /// Good: the API server knows it. Bad: it does not. Unknown: it could not be asked.
    pub health: Health,
    /// When that was found out.
    pub tested_at: Time,
    /// Whom it was taken for, or why not.
    pub reason: Reason,
    /// When it was last found good since the agent started.
    #[serde(default)]
    pub good_at: Option<Time>,
}

/// The answer to `POST /v1/certificates/renew?at_least=...`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewalAnswer {
    /// The certificate in force has at least as much left as was asked for.
    pub holds: bool,
    /// Its end; none while there is none in its life.
    pub until: Option<Time>,
    /// Why it holds or does not: what could be had, or what was in the way when the wait was over.
    pub reason: Reason,
}

/// The clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockView {
    /// May certificates be judged and asked for by it?
    pub trusted: bool,
    /// The evidence, or what is missing.
    pub reason: Reason,
    /// By how many seconds it was ahead of the API server's when that was asked last (behind, if negative).
    #[serde(default)]
    pub skew_seconds: Option<i64>,
}

/// `GET /v1/kubelet`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KubeletStatus {
    /// The systemd unit.
    pub unit: String,
    /// systemd's ActiveState (`active`, `failed`, ...); none if systemd could not be asked.
    pub active_state: Option<String>,
    /// Good: the unit is active and 10250 answers.
    pub health: Health,
    /// Since when the health is what it is.
    pub since: Time,
    /// Why.
    pub reason: Reason,
    /// `podman` or `docker`; none if there is none on the host.
    pub runtime: Option<String>,
    /// The image that it runs from: what `eyewall kubelet` last chose, or what the container runtime says of its container.
    pub image: Option<ImageView>,
    /// The unit's main process, if it runs.
    pub main_pid: Option<u32>,
    /// How often the agent restarted a wedged kubelet since it started.
    pub restarts_total: u64,
}

/// The image the kubelet was started from. Written by `eyewall kubelet` to `/run/eyewall/kubelet.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageView {
    /// As configured, digest included if there is one.
    pub reference: String,
    /// 0 is the first of `images`; more means a fallback is in use.
    pub position: u32,
    /// Why the ones before it were not used.
    pub passed_over: Vec<Reason>,
    /// When it was chosen; of a container that somebody else started, when that was made.
    pub chosen_at: Time,
    /// The digest of the manifest it runs from, `sha256:<hex>`, where the container runtime knows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// `GET /v1/events`. With `?follow=1` there is no frame: one [`EventRecord`] a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Story {
    /// The newest that are kept, oldest first.
    pub events: Vec<EventRecord>,
}

/// One event as it was told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventRecord {
    /// Counts up from 1 with each start of the agent; a gap means that records were dropped.
    pub sequence: u64,
    /// When.
    pub at: Time,
    /// The event's name (`certificate-installed`).
    pub event: String,
    /// Its journal MESSAGE_ID.
    pub message_id: String,
    /// The sentence, as in the journal.
    pub message: String,
    /// The `EYEWALL_*` fields of the journal entry, keys without the prefix, lower case.
    pub fields: std::collections::BTreeMap<String, String>,
}

/// The body of every error answer: `{"error": {"kind": "...", "message": "..."}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What was wrong.
    pub error: Reason,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_unknown_is_not_good() {
        use Health::{Bad, Good, Unknown};
        for (parts, want) in [
            (&[][..], Unknown),
            (&[Good, Good][..], Good),
            (&[Good, Unknown][..], Unknown),
            (&[Unknown, Bad, Good][..], Bad),
        ] {
            assert_eq!(Status::fold(parts), want, "{parts:?}");
        }
    }

    #[test]
    fn state_names_are_the_json_ones() {
        for state in CertificateState::ALL {
            let json = serde_json::to_string(&state).expect("a unit variant");
            assert_eq!(json, format!("\"{}\"", state.as_str()));
        }
    }
}
