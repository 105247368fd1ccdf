//! How an attempt ended, what that means, and how long to leave the server alone.

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
    /// What was issued is good and begins a moment later by this host's clock, which lags; the same request is proved again then.
    NotYet(Time),
    /// What was issued failed its proof; the request is dropped.
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
    /// Attempts in a row that ended in the same kind of trouble, this one included.
    pub streak: u32,
    /// In 0..1; the jitter's draw.
    pub draw: f64,
}

/// What an attempt's end means.
struct Meaning {
    state: State,
    /// The state says more than "expired": it is told even when the certificate has ended.
    specific: bool,
    backoff: Backoff,
    next: &'static str,
}

/// Trouble that an attempt met.
pub(super) struct Trouble {
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

    /// The word for machines; the same kind twice is a streak.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::Pending => "approval-pending",
            Self::NotSigned => "signature-pending",
            Self::Denied(_) => "request-denied",
            Self::Failed(_) => "request-failed",
            Self::Unauthorized => "credential-rejected",
            Self::Forbidden(_) => "request-forbidden",
            Self::Invalid(_) => "request-invalid",
            Self::Throttled(_) => "server-throttled",
            Self::ServerError(_) => "server-error",
            Self::Unreachable(_) => "server-unreachable",
            Self::Untrusted(_) => "server-untrusted",
            Self::OutOfTime(_) => "server-certificate-out-of-time",
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
            Self::Denied(words) => format!("the request was denied ({words}); delete the CSR to have it asked for again"),
            Self::Failed(words) => format!("the signer refused the request ({words})"),
            Self::Unauthorized => match identity {
                Identity::Bootstrap => "the API server does not know the bootstrap token (401); was it revoked? Put a fresh \
                                        bootstrap kubeconfig in its place"
                    .to_owned(),
                Identity::Node => "the API server does not accept the certificate in force (401); the bootstrap credential is \
                                   used next"
                    .to_owned(),
            },
            Self::Forbidden(words) => format!("the API server forbids the request (403): {words}"),
            Self::Invalid(words) => format!("the API server finds the request invalid: {words}"),
            Self::Throttled(wait) => {
                format!("the API server is busy and asks to wait {}s", wait.as_secs())
            }
            Self::ServerError(words) => format!("the API server failed: {words}"),
            Self::Unreachable(words) => format!("the API server does not answer: {words}"),
            Self::Untrusted(words) => format!(
                "the server at the API server's address has a certificate that the cluster CA does not vouch for ({words}); is the \
                 bootstrap kubeconfig of this cluster?"
            ),
            Self::OutOfTime(words) => {
                format!("by this host's clock the API server's certificate is not valid ({words})")
            }
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
                mean(State::Denied, true, Backoff::seconds(900, 3_600), "the request is looked at again")
            }
            Self::Unauthorized => mean(State::TokenRejected, true, Backoff::seconds(10, 600), "it is tried again"),
            Self::Forbidden(_) | Self::Invalid(_) => {
                mean(State::Denied, true, Backoff::seconds(10, 600), "it is tried again")
            }
            Self::Throttled(_) | Self::ServerError(_) | Self::Unreachable(_) => {
                mean(State::ServerUnreachable, true, Backoff::seconds(1, 60), "it is tried again")
            }
            Self::Untrusted(_) => mean(State::ServerUnreachable, true, Backoff::seconds(5, 300), "it is tried again"),
            Self::OutOfTime(_) => mean(State::ClockSuspect, true, Backoff::seconds(1, 30), "it is tried again"),
            Self::NotYet(_) => mean(State::Requesting, false, Backoff::seconds(1, 30), "it is proved again"),
            Self::Unproved(_) => {
                mean(State::Requesting, false, Backoff::seconds(30, 600), "a new key is made and asked for")
            }
            Self::Disk(_) => mean(State::Absent, false, Backoff::seconds(2, 60), "it is tried again"),
        }
    }
}

impl Attempt {
    /// The trouble that this attempt met, if it did not succeed.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        let meaning = self.outcome.meaning()?;
        Some(Trouble {
            state: meaning.state,
            specific: meaning.specific,
            reason: self.outcome.reason(self.identity),
            next: meaning.next,
        })
    }

    /// The wait that this attempt imposes, while it is on, and its end.
    pub(super) fn wait(&self, now: Time) -> Option<(Trouble, Time)> {
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
