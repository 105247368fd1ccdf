//! How an attempt ended, as it is for a serving certificate: nobody approves it by itself, the only credential is the
//! kubelet's client certificate, and there is no hurry, since the kubelet serves with what it has.
//!
//! What is the same as with the client certificate comes from [`crate::rotation`], its waits too.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::rotation::{Attempt, Outcome};
use crate::status::{CertificateState as State, Reason};
use crate::time::Time;

/// Between two watches of a request that nobody has decided on. A watch lasts for minutes ([`WATCH`]) and sees the
/// approval at once, so this only spaces the watches.
const PENDING: Backoff = Backoff::seconds(5, 60);
/// After a decision against it, or without the right to ask: it takes a person.
const REFUSED: Backoff = Backoff::seconds(120, 3_600);
/// How long one attempt watches its request. An approver may take days; the kubelet's own watch takes a quarter of an hour.
pub const WATCH: Duration = Duration::from_secs(300);

/// What an attempt met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// The state while nothing is in force.
    pub state: State,
    pub reason: Reason,
    pub next: &'static str,
}

/// That the request `csr` waits for an approver, and which one is missing.
pub fn pending(csr: &str) -> Reason {
    Reason::new(
        Outcome::Pending.kind(),
        format!(
            "the request {csr} waits for an approver: kube-controller-manager never approves serving certificates; run an approver \
             for kubernetes.io/kubelet-serving in the cluster (kubelet-csr-approver, or the cloud's own), or approve by hand: \
             kubectl certificate approve {csr}"
        ),
    )
}

/// The trouble that the last attempt met, if it did not succeed. `csr` is the request's name.
pub(super) fn trouble(last: &Attempt, csr: &str) -> Option<Trouble> {
    let told =
        |state, message: String, next| Some(Trouble { state, reason: Reason::new(last.outcome.kind(), message), next });
    match &last.outcome {
        Outcome::Pending => Some(Trouble {
            state: State::PendingApproval,
            reason: pending(csr),
            next: "the request is watched on; until then the kubelet serves with the certificate it has",
        }),
        Outcome::Denied(words) => told(
            State::Denied,
            format!(
                "an approver denied the request {csr} ({words}); are the addresses of the Node right? Once they are, delete the CSR, \
                 and it is asked for again at the next look"
            ),
            "the request is looked at again",
        ),
        Outcome::Failed(words) => told(
            State::Denied,
            format!(
                "the signer refused the request {csr} ({words}); once kube-controller-manager would sign it, delete the CSR, and it is \
                 asked for again at the next look"
            ),
            "the request is looked at again",
        ),
        Outcome::Deleted => told(
            State::PendingApproval,
            "the request was deleted before it was approved (kube-controller-manager does that after 24 hours); is there an \
             approver for kubernetes.io/kubelet-serving in this cluster?"
                .to_owned(),
            "the same request is sent again",
        ),
        Outcome::Unauthorized => told(
            State::Absent,
            "the API server does not accept the kubelet's client certificate (401); that comes first".to_owned(),
            "it is tried again, and at once when there is a new client certificate",
        ),
        Outcome::Forbidden(words) => told(
            State::Denied,
            format!(
                "the API server forbids it (403): {words}; may nodes create CertificateSigningRequests (authorization mode Node, or \
                 the ClusterRole system:node)?"
            ),
            "it is tried again",
        ),
        _ => last.trouble().map(|trouble| Trouble { state: trouble.state, reason: trouble.reason, next: trouble.next }),
    }
}

/// Until when the last attempt has the server left alone, if that is still to come.
pub(super) fn wait(last: &Attempt, now: Time) -> Option<Time> {
    let own = match &last.outcome {
        Outcome::Pending | Outcome::NotSigned | Outcome::Deleted => PENDING,
        Outcome::Denied(_) | Outcome::Failed(_) | Outcome::Forbidden(_) => REFUSED,
        // As any refusal, but this line has no second credential to try.
        Outcome::Unauthorized => Backoff::seconds(10, 600),
        _ => return last.wait(now).map(|(_, until)| until),
    };
    let until = Time(last.at.0 + own.delay(last.streak, last.draw));
    // A clock set back would make a short wait a long one.
    (now < until && now >= last.at).then_some(until)
}
