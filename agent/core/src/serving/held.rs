//! A certificate on disk: its schedule, and why it should be replaced now, if it should.

use std::time::Duration;

use super::{Current, Decision, Leaf, Names, Policy, Seen, Step, going, idle, node};
use crate::rotation::{Schedule, schedule};
use crate::status::{CertificateState as State, Reason};
use crate::time::Time;

/// How far before the CA's end a certificate may end and still be one that was cut short by it (see `rotation/held.rs`).
const SIGNERS_TAIL: Duration = Duration::from_secs(301);

/// A certificate on disk.
pub(super) struct Held<'a> {
    pub leaf: &'a Leaf,
    pub schedule: Schedule,
    /// Still in its life.
    pub alive: bool,
    /// Why it should be replaced now, if it should.
    pub due: Option<Reason>,
    /// It ends with the cluster CA, so that a renewal could not make it last longer.
    last: bool,
    /// It is of another node name or another CA: better than a self-signed one is all that it is.
    pub past: bool,
    pub linked: bool,
}

impl<'a> Held<'a> {
    pub fn of(now: Time, seen: &'a Seen, policy: &Policy) -> Option<Self> {
        let Current::Usable { leaf, installed_at, anchored, linked } = &seen.current else {
            return None;
        };
        let cert = &leaf.cert;
        let schedule = schedule(cert, *installed_at, policy.renew_at);
        let alive = now < cert.not_after;
        let last = alive
            && seen.bootstrap.as_ref().is_ok_and(|ca_end| cert.not_after.0 + SIGNERS_TAIL >= ca_end.0 && *ca_end > now);
        let mut held = Self { leaf, schedule, alive, due: None, last, past: false, linked: *linked };
        let missing = seen.addresses.as_ref().map(|wanted| wanted.beyond(&leaf.names));
        held.due = if !alive {
            Some(Reason::new("certificate-expired", format!("the serving certificate ended at {}", cert.not_after)))
        } else if let Ok(node) = &seen.node
            && cert.common_name != node.common_name()
        {
            held.past = true;
            Some(Reason::new(
                "node-name-changed",
                format!(
                    "the serving certificate is for {:?} and this node is {:?}",
                    cert.common_name,
                    node.common_name()
                ),
            ))
        } else if *anchored == Some(false) {
            held.past = true;
            Some(Reason::new(
                "authority-changed",
                "the serving certificate is not of the cluster CA that the bootstrap kubeconfig has now",
            ))
        } else if let Some(missing) = missing.filter(|missing| *missing != Names::default()) {
            Some(Reason::new(
                "addresses-changed",
                format!("the Node has addresses that the serving certificate is not for: {missing}"),
            ))
        } else if last {
            None
        } else if now >= schedule.overdue_at {
            Some(Reason::new(
                "renewal-overdue",
                format!("renewal began at {} and has not succeeded", schedule.renew_at),
            ))
        } else if now >= schedule.renew_at {
            Some(Reason::new("renewal-due", format!("its renewal point was {}", schedule.renew_at)))
        } else {
            None
        };
        Some(held)
    }

    /// The answer while nothing is due: rest, or tidy up.
    pub fn rest(&self, now: Time, seen: &Seen) -> Option<Decision> {
        let reason = || self.due.clone().unwrap_or_else(|| self.valid());
        let state = if self.due.is_some() { self.state(now) } else { State::Valid };
        if let Some(request) = &seen.request {
            let finished = request.public_key == self.leaf.cert.public_key;
            if finished || self.due.is_none() {
                let why = if finished { "its certificate is in force" } else { "nothing is due any more" };
                return Some(going(state, reason(), "the request is tidied away", Step::Forget(why)));
            }
        }
        if self.due.is_some() {
            return None;
        }
        if seen.client.is_ok() && seen.node.is_ok() && seen.bootstrap.is_ok() && node::is_to_be_read(now, seen) {
            return Some(going(state, reason(), "the addresses of the Node are read", Step::ReadNode));
        }
        if self.last && now >= self.schedule.renew_at {
            let reason = Reason::new(
                "certificate-ends-with-authority",
                format!(
                    "valid until {}, when the cluster CA ends: no renewal can last longer; give the cluster a new CA",
                    self.leaf.cert.not_after
                ),
            );
            return Some(idle(now, state, reason, "the certificate and its CA end", Some(self.leaf.cert.not_after)));
        }
        Some(idle(now, state, reason(), "it is renewed", Some(self.schedule.renew_at)))
    }

    pub fn state(&self, now: Time) -> State {
        if !self.alive {
            State::ExpiredRecovering
        } else if now >= self.schedule.overdue_at {
            State::RenewalOverdue
        } else {
            State::RenewalDue
        }
    }

    pub fn valid(&self) -> Reason {
        Reason::new("certificate-valid", format!("valid until {} for {}", self.leaf.cert.not_after, self.leaf.names))
    }
}
