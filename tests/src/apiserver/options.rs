//! How a stand-in is started: everything has the default of a Typhoon cluster.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::pki::Authority;
use super::requests::RequestRecord;

/// A bootstrap token as its Secret in kube-system describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The public part, six characters; the user name is `system:bootstrap:<id>`.
    pub id: String,
    /// The secret part, sixteen characters.
    pub secret: String,
    /// `expiration`; Typhoon sets none, so its tokens live for ever.
    pub expires: Option<SystemTime>,
    /// `auth-extra-groups`.
    pub extra_groups: Vec<String>,
    /// The Secret was deleted.
    pub revoked: bool,
}

impl Token {
    /// A token from `<id>.<secret>` with the extra group that the recorded cluster gave it. Never expires.
    pub fn new(text: &str) -> Self {
        let (id, secret) = text.split_once('.').unwrap_or((text, ""));
        Self {
            id: id.to_owned(),
            secret: secret.to_owned(),
            expires: None,
            extra_groups: vec!["system:bootstrappers:default-worker".to_owned()],
            revoked: false,
        }
    }

    /// As a client sends it: `<id>.<secret>`.
    pub fn text(&self) -> String {
        format!("{}.{}", self.id, self.secret)
    }
}

/// What happens to a kubelet's request for a client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApprovalMode {
    /// As the controller-manager: recognised requests of requesters who may have them are approved, others stay pending.
    Auto,
    /// Nobody approves; a test does it with [`super::ApiServer::approve`].
    Manual,
    /// What `Auto` would approve is denied with these words.
    Deny {
        /// The condition's reason, one CamelCase word.
        reason: String,
        /// The condition's message, for people.
        message: String,
    },
    /// What `Auto` would approve is approved, and then the signer fails with these words.
    Fail {
        /// The condition's reason; the controller-manager's own is `SignerValidationFailure`.
        reason: String,
        /// The condition's message, for people.
        message: String,
    },
}

/// The controller-manager's approver and signer.
#[derive(Clone, Debug)]
pub struct Signing {
    /// Who approves.
    pub approval: ApprovalMode,
    /// Who approves serving certificates: by default nobody, since the controller-manager never does. With `Auto` there is an approver
    /// as clusters run one: it approves what a node asks for itself, for addresses that its Node has, and denies the rest.
    pub serving: ApprovalMode,
    /// `--cluster-signing-duration`; any length, also seconds. Typhoon has 72 h.
    pub duration: Duration,
    /// How far `notBefore` lies before the signing. The controller-manager has five minutes and no option for it;
    /// a test that renews every few seconds sets zero, or most of a short life would be over at once.
    pub backdate: Duration,
    /// Time between the creation of a request and its approval or denial.
    pub approval_delay: Duration,
    /// Time between the approval and the signature.
    pub delay: Duration,
}

impl Default for Signing {
    fn default() -> Self {
        Self {
            approval: ApprovalMode::Auto,
            serving: ApprovalMode::Manual,
            duration: Duration::from_secs(72 * 3600),
            backdate: Duration::from_secs(5 * 60),
            approval_delay: Duration::ZERO,
            delay: Duration::ZERO,
        }
    }
}

/// Called with every answered request, from the server's own thread: it must not block.
pub type OnRequest = Arc<dyn Fn(&RequestRecord) + Send + Sync>;

/// How a stand-in is started.
#[derive(Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// DNS names and IP addresses in the serving certificate. `10.0.2.2` is the host as QEMU's user network shows it.
    pub names: Vec<String>,
    /// The host part of [`super::ApiServer::url`] and of the kubeconfigs; the first of `names` when `None`.
    pub advertise: Option<String>,
    /// The bootstrap tokens the cluster knows; the first is the one in [`super::ApiServer::bootstrap_kubeconfig`].
    pub tokens: Vec<Token>,
    /// The cluster's CA; a new one of `authority_lifetime` when `None`.
    pub authority: Option<Arc<Authority>>,
    /// How long a CA made here still lives; Typhoon's has 365 days. It is thirty days old.
    pub authority_lifetime: Duration,
    /// Approver and signer.
    pub signing: Signing,
    /// How far the server's clock is ahead of the machine's, in milliseconds; negative is behind. It is the `Date` header,
    /// the dates in objects and certificates, and the time at which credentials are judged. The serving certificate is
    /// thirty days old by it, so up to that a client that is behind can still connect.
    pub clock_offset_ms: i64,
    /// `--anonymous-auth`. The recorded server had it on, Typhoon has it off: then a request without credentials gets 401.
    pub anonymous: bool,
    /// etcd's progress notification. The recorded server's etcd had none, so a watch-list is refused with an `ERROR` line.
    pub watch_progress: bool,
    /// How often a watch that asked for bookmarks gets one.
    pub bookmark_every: Duration,
    /// How long a pod takes to end after it was told to, if its own grace period is not shorter.
    pub pod_stop: Duration,
    /// Sees every answered request.
    pub on_request: Option<OnRequest>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            names: ["127.0.0.1", "localhost", "10.0.2.2"].map(str::to_owned).to_vec(),
            advertise: None,
            tokens: vec![Token::new("abcdef.0123456789abcdef")],
            authority: None,
            authority_lifetime: Duration::from_secs(365 * 24 * 3600),
            signing: Signing::default(),
            clock_offset_ms: 0,
            anonymous: true,
            watch_progress: false,
            bookmark_every: Duration::from_secs(60),
            pod_stop: Duration::from_millis(100),
            on_request: None,
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("listen", &self.listen)
            .field("names", &self.names)
            .field("signing", &self.signing)
            .finish_non_exhaustive()
    }
}
