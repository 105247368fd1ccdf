//! The part of the status that tells of the kubelet's serving certificate.

use serde::{Deserialize, Serialize};

use super::{CertificateState, CertificateView, Health, Reason, RequestView};
use crate::time::Time;

/// `serving` in `GET /v1/certificates`; absent where nobody keeps a serving certificate and none is there.
///
/// It does not count for the health of the node: until a certificate is approved the kubelet serves with a self-signed one,
/// which is all that Typhoon's API server asks for (it has no `--kubelet-certificate-authority`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServingStatus {
    /// `eyewall` (we keep it), `kubelet` (we only watch) or `nobody` (it was kept once, and is left as it is).
    pub keeper: String,
    /// Good: a certificate is in force and no renewal is overdue. Unknown: there is none yet, and nothing is wrong.
    pub health: Health,
    /// The state; the same words as the client certificate's.
    pub state: CertificateState,
    /// Since when it is in this state.
    pub since: Time,
    /// Why it is in this state.
    pub reason: Reason,
    /// What happens next, in one sentence.
    pub next: String,
    /// When that happens, if it is a matter of time.
    pub next_at: Option<Time>,
    /// The certificate on disk.
    pub current: Option<CertificateView>,
    /// The DNS names and IP addresses that it is for.
    pub names: Vec<String>,
    /// `kubelet.crt` and `kubelet.key` lead to it.
    pub in_force: bool,
    /// The DNS names and IP addresses that the Node has; none before they were read.
    pub addresses: Option<Vec<String>>,
    /// The one open request.
    pub request: Option<RequestView>,
    /// Certificates installed since the agent started.
    pub installed_total: u64,
    /// Attempts that failed since the agent started.
    pub failures_total: u64,
}
