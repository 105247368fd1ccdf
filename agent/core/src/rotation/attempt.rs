//! How an attempt ended, what that means, and how long to leave the server alone.
//!
//! An attempt is one request, or one look and one watch where there is something to watch. After it comes a wait, so the
//! traffic of any trouble is bounded by this table, however long the trouble lasts (`tests/tests/bounded.rs` holds the
//! binary against it). Waits double from the first to the longest, with a fifth of jitter:
//!
//! | trouble | first wait | longest |
//! |---|---|---|
//! | the server is away, busy or failing | 1 s | 1 min; never before its `Retry-After` |
//! | the server is not of the cluster's CA, or its certificate has ended | 5 s | 5 min |
//! | the server's certificate is out of time by a clock that nobody has vouched for | 1 s | 30 s; the clock is checked first |
//! | the request waits for approval or signature (it is watched in between) | 1 s | 30 s |
//! | the request was deleted | 10 s | 10 min |
//! | the credential or the request is refused (401, 403, 422) | 10 s | 10 min |
//! | an approver or the signer has decided against it | 2 min | 1 h |
//! | what was issued cannot be proved, or the name is taken | 30 s | 1 h |
//! | this host's disk | 2 s | 1 min |

use std::collections::BTreeMap;
use std::time::Duration;

use super::Identity;
use crate::backoff::Backoff;
use crate::status::{CertificateState as State, Reason};
use crate::time::Time;

/// How one attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A proved certificate is in force.
    Installed,
    /// The request is there, and nobody decided within the watch.
    Pending,
    /// Approved, and the signer did not sign within the watch.
    NotSigned,
    /// An approver refused, with their reason and words.
    Denied(String),
    /// The signer refused.
    Failed(String),
    /// Somebody deleted the request before anything came of it.
    Deleted,
    /// 401.
    Unauthorized,
    /// 403, with the server's sentence.
    Forbidden(String),
    /// 422 or another answer that says that the request itself is wrong.
    Invalid(String),
    /// 429 or 503 with `Retry-After`.
    Throttled(Duration),
    /// 5xx or an answer that makes no sense.
    ServerError(String),
    /// No connection, or it broke.
    Unreachable(String),
    /// The server's certificate is not of the cluster CA, or not for this name.
    Untrusted(String),
    /// The server's certificate is not valid at this host's time.
    OutOfTime(String),
    /// The same, and this host's clock is right.
    ServerExpired(String),
    /// What was issued is good and begins a moment later by this host's clock, which lags; the same request is proved again then.
    NotYet(Time),
    /// What was issued failed its proof, or what stands under the request's name is not ours.
    Unproved(Reason),
    /// This host's disk: full, read-only, no permission.
    Disk(Reason),
}

/// The last attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// When it ended.
    pub at: Time,
    /// How it ended.
    pub outcome: Outcome,
    /// With which identity.
    pub identity: Identity,
    /// How often this kind of trouble was met since the last success, this time included (see [`Streaks`]).
    pub streak: u32,
    /// In 0..1; the jitter's draw.
    pub draw: f64,
}

/// Counts each kind of trouble since the last success. Not only what came in a row: a server that fails now this way and now
/// that would be asked every second for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Streaks(BTreeMap<&'static str, u32>);

impl Streaks {
    /// How often this outcome's kind has been met now. A success begins anew.
    pub fn count(&mut self, outcome: &Outcome) -> u32 {
        if *outcome == Outcome::Installed {
            self.0.clear();
        }
        let count = self.0.entry(outcome.kind()).or_default();
        *count = count.saturating_add(1);
        *count
    }
}

/// Proofs that are tried with one key before another is made, when the fault is the cluster's and not the key's. In a cluster
/// whose signer is set up wrongly each node so has one object, which kube-controller-manager collects an hour after it was
/// issued, and not one more for each try.
const PROOFS_OF_ONE_KEY: u32 = 8;

/// What an attempt's end means.
struct Meaning {
    state: State,
    /// The state says more than "expired": it is told even when the certificate has ended.
    specific: bool,
    backoff: Backoff,
    next: &'static str,
}

/// Trouble that an attempt met.
pub(crate) struct Trouble {
    pub state: State,
    /// See [`Meaning::specific`].
    pub specific: bool,
    pub reason: Reason,
    pub next: &'static str,
}

impl Outcome {
    /// Did the server refuse who we are?
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Unauthorized | Self::Forbidden(_))
    }

    /// Has the API server the request?
    pub(super) fn is_sent(&self) -> bool {
        match self {
            Self::Pending
            | Self::NotSigned
            | Self::Denied(_)
            | Self::Failed(_)
            | Self::NotYet(_)
            | Self::Unproved(_) => true,
            Self::Installed
            | Self::Deleted
            | Self::Unauthorized
            | Self::Forbidden(_)
            | Self::Invalid(_)
            | Self::Throttled(_)
            | Self::ServerError(_)
            | Self::Unreachable(_)
            | Self::Untrusted(_)
            | Self::OutOfTime(_)
            | Self::ServerExpired(_)
            | Self::Disk(_) => false,
        }
    }

    /// The word for machines; the same kind twice is a streak.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::Pending => "approval-pending",
            Self::NotSigned => "signature-pending",
            Self::Denied(_) => "request-denied",
            Self::Failed(_) => "request-failed",
            Self::Deleted => "request-deleted",
            Self::Unauthorized => "credential-rejected",
            Self::Forbidden(_) => "request-forbidden",
            Self::Invalid(_) => "request-invalid",
            Self::Throttled(_) => "server-throttled",
            Self::ServerError(_) => "server-error",
            Self::Unreachable(_) => "server-unreachable",
            Self::Untrusted(_) => "server-untrusted",
            Self::OutOfTime(_) => "server-certificate-out-of-time",
            Self::ServerExpired(_) => "server-certificate-expired",
            Self::NotYet(_) => "certificate-not-yet-valid",
            Self::Unproved(_) => "certificate-unproved",
            Self::Disk(_) => "disk",
        }
    }

    /// The reason for people and machines, for an attempt with `identity`.
    pub fn reason(&self, identity: Identity) -> Reason {
        let message = match self {
            Self::Installed => "a proved certificate was installed".to_owned(),
            Self::Pending => {
                "the request waits for approval; see it with: kubectl get csr (Typhoon approves by itself: does the cluster have \
                 bootstrap-approve-new and bootstrap-approve-renew?)"
                    .to_owned()
            }
            Self::NotSigned => {
                "the request is approved and not signed; is kube-controller-manager running with its signing key?".to_owned()
            }
            Self::Denied(words) => format!(
                "an approver denied the request ({words}); if this node may join after all, delete the CSR, and it is asked for \
                 again at the next look, or at once by: eyewall certificates renew"
            ),
            Self::Failed(words) => format!(
                "the signer refused the request ({words}); once kube-controller-manager would sign it, delete the CSR, and it is \
                 asked for again at the next look, or at once by: eyewall certificates renew"
            ),
            Self::Deleted => "somebody deleted the request on the API server before anything came of it; if this node may join, \
                              approve the next one"
                .to_owned(),
            Self::Unauthorized => match identity {
                Identity::Bootstrap => "the API server does not know the bootstrap token (401); was it revoked? Put a fresh \
                                        bootstrap kubeconfig in its place"
                    .to_owned(),
                Identity::Node => "the API server does not accept the certificate in force (401); the bootstrap credential is \
                                   used next"
                    .to_owned(),
            },
            Self::Forbidden(words) => match identity {
                Identity::Bootstrap => format!(
                    "the API server knows the bootstrap credential and forbids the request (403): {words}; is it bound to the \
                     ClusterRole system:node-bootstrapper?"
                ),
                Identity::Node => format!(
                    "the API server forbids the request (403): {words}; the bootstrap credential is used next"
                ),
            },
            Self::Invalid(words) => format!(
                "the API server finds the request invalid: {words}; does the cluster serve certificates.k8s.io/v1 (Kubernetes 1.19), \
                 and does an admission webhook stand in the way?"
            ),
            Self::Throttled(wait) => {
                format!("the API server is busy and asks to be left alone for {}s; nothing has to be done here", wait.as_secs())
            }
            Self::ServerError(words) => {
                format!("the API server failed: {words}; see the log of kube-apiserver, and of what stands before it")
            }
            Self::Unreachable(words) => {
                format!("the API server does not answer: {words}; is it running, and does the network lead there?")
            }
            Self::Untrusted(words) => format!(
                "the server at the API server's address has a certificate that the cluster CA does not vouch for ({words}); is the \
                 bootstrap kubeconfig of this cluster?"
            ),
            Self::OutOfTime(words) => {
                format!(
                    "by this host's clock the API server's certificate is not valid ({words}); is the clock right (timedatectl), and \
                     if it is, did that certificate end?"
                )
            }
            Self::ServerExpired(words) => format!(
                "the API server's certificate is not valid ({words}), and this host's clock is right; renew that certificate on the \
                 control plane"
            ),
            Self::NotYet(begins) => {
                format!("the issued certificate begins at {begins}: this host's clock is a little behind the signer's")
            }
            Self::Unproved(reason) | Self::Disk(reason) => return reason.clone(),
        };
        Reason::new(self.kind(), message)
    }

    fn meaning(&self) -> Option<Meaning> {
        let mean = |state, specific, backoff, next| Some(Meaning { state, specific, backoff, next });
        match self {
            Self::Installed => None,
            Self::Pending | Self::NotSigned => {
                mean(State::PendingApproval, true, Backoff::seconds(1, 30), "the same request is watched on")
            }
            Self::Denied(_) | Self::Failed(_) => {
                mean(State::Denied, true, Backoff::seconds(120, 3_600), "the request is looked at again")
            }
            Self::Deleted => {
                mean(State::Requesting, false, Backoff::seconds(10, 600), "the same request is sent again")
            }
            Self::Unauthorized => mean(State::TokenRejected, true, Backoff::seconds(10, 600), "it is tried again"),
            Self::Forbidden(_) | Self::Invalid(_) => {
                mean(State::Denied, true, Backoff::seconds(10, 600), "it is tried again")
            }
            Self::Throttled(_) | Self::ServerError(_) | Self::Unreachable(_) => {
                mean(State::ServerUnreachable, true, Backoff::seconds(1, 60), "it is tried again")
            }
            Self::Untrusted(_) | Self::ServerExpired(_) => {
                mean(State::ServerUnreachable, true, Backoff::seconds(5, 300), "it is tried again")
            }
            Self::OutOfTime(_) => mean(State::ClockSuspect, true, Backoff::seconds(1, 30), "it is tried again"),
            Self::NotYet(_) => mean(State::Requesting, false, Backoff::seconds(1, 30), "it is proved again"),
            Self::Unproved(_) => mean(State::Requesting, false, Backoff::seconds(30, 3_600), "it is tried again"),
            Self::Disk(_) => mean(State::Absent, false, Backoff::seconds(2, 60), "it is tried again"),
        }
    }
}

impl Attempt {
    /// Has the API server the request of the key on disk? Then it is looked for before it is sent again.
    pub fn is_sent(&self) -> bool {
        self.outcome.is_sent() && !self.spends_the_key()
    }

    /// Can nothing come any more of the key and request on disk? Another key costs the cluster another object, so it is made
    /// only where the fault is with this one, or has lasted for an hour.
    pub fn spends_the_key(&self) -> bool {
        let Outcome::Unproved(reason) = &self.outcome else { return false };
        let of_this_request = matches!(
            reason.kind.as_str(),
            "request-of-another"
                | "certificate-unreadable"
                | "certificate-for-another-key"
                | "certificate-already-expired"
        );
        of_this_request || self.streak.is_multiple_of(PROOFS_OF_ONE_KEY)
    }

    /// The trouble that this attempt met, if it did not succeed.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        let meaning = self.outcome.meaning()?;
        Some(Trouble {
            state: meaning.state,
            specific: meaning.specific,
            reason: self.outcome.reason(self.identity),
            next: meaning.next,
        })
    }

    /// The wait that this attempt imposes, while it is on, and its end.
    pub(crate) fn wait(&self, now: Time) -> Option<(Trouble, Time)> {
        let meaning = self.outcome.meaning()?;
        // The certificate in force was refused: the bootstrap credential has not been tried yet.
        if self.identity == Identity::Node && self.outcome == Outcome::Unauthorized && self.streak == 1 {
            return None;
        }
        let mut span = meaning.backoff.delay(self.streak, self.draw);
        if let Outcome::Throttled(asked) = &self.outcome {
            span = span.max(*asked);
        }
        let until = match &self.outcome {
            Outcome::NotYet(begins) => (*begins).max(Time(self.at.0 + Duration::from_millis(200))),
            _ => Time(self.at.0 + span),
        };
        // A clock set back would make a short wait a long one.
        if now >= until || now < self.at {
            return None;
        }
        self.trouble().map(|trouble| (trouble, until))
    }
}

#[cfg(test)]
mod tests;
