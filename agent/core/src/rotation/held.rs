//! A certificate in force: its schedule, and why it should be replaced now, if it should.

use std::time::Duration;

use super::clock::AGREEMENT;
use super::{Anchor, Current, Decision, Policy, Schedule, Seen, Step, idle, wish};
use crate::cert::CertView;
use crate::config::Owner;
use crate::status::{CertificateState as State, Reason};
use crate::time::Time;

/// How far before the CA's own end a certificate may end and still be one that was cut short by it. The signer never lets a
/// certificate outlive its CA, and pulls the end of a long one in by its five minutes (kube-controller-manager
/// `signer/ca_provider.go`, `authority/policies.go`): in the CA's last days each renewal would be shorter than the one before
/// it, and come faster and faster.
const SIGNERS_TAIL: Duration = Duration::from_secs(301);

/// A certificate in force and its schedule.
pub(super) struct Held<'a> {
    pub leaf: &'a CertView,
    pub schedule: Schedule,
    pub anchor: Anchor,
    /// Still in its life.
    pub alive: bool,
    /// Why it should be replaced now, if it should.
    pub due: Option<Reason>,
    /// It ends with the cluster CA, so that a renewal could not make it last longer.
    pub last: bool,
    /// It is of another node name, or of a CA that the bootstrap kubeconfig no longer has: in its life, and no good for what comes.
    pub is_of_the_past: bool,
}

impl<'a> Held<'a> {
    pub fn of(now: Time, seen: &'a Seen, policy: &Policy) -> Option<Self> {
        let Current::Usable { leaf, installed_at, anchor } = &seen.current else {
            return None;
        };
        let schedule = policy.schedule(leaf, *installed_at);
        let begun = now.0 + AGREEMENT >= leaf.not_before.0;
        let alive = begun && now < leaf.not_after;
        let last = alive
            && seen.bootstrap.as_ref().is_ok_and(|ca_end| leaf.not_after.0 + SIGNERS_TAIL >= ca_end.0 && *ca_end > now);
        let mut held = Self {
            leaf,
            schedule,
            anchor: *anchor,
            alive,
            due: None,
            last,
            is_of_the_past: *anchor == Anchor::Installed,
        };
        held.due = if !begun {
            // It was proved when it was installed, so one of the two is wrong now.
            Some(Reason::new(
                "certificate-not-yet-valid",
                format!("by this host's clock ({now}) the certificate begins only at {}", leaf.not_before),
            ))
        } else if !alive {
            Some(Reason::new("certificate-expired", format!("the certificate ended at {}", leaf.not_after)))
        } else if let Ok(node) = &seen.node
            && leaf.common_name != node.common_name()
        {
            held.is_of_the_past = true;
            Some(Reason::new(
                "node-name-changed",
                format!("the certificate is for {:?} and this node is {:?}", leaf.common_name, node.common_name()),
            ))
        } else if *anchor == Anchor::Installed {
            Some(Reason::new(
                "authority-changed",
                "the bootstrap kubeconfig has a new cluster CA; the certificate in force is of the one before it",
            ))
        } else if policy.owner == Owner::Eyewall
            && let Some(reason) = seen.wish.and_then(|wish| wish::due(now, &held, wish))
        {
            Some(reason)
        } else if last {
            None
        } else if now >= schedule.overdue_at {
            Some(Reason::new(
                "renewal-overdue",
                format!("renewal began at {} and has not succeeded", schedule.renew_at),
            ))
        } else if now >= schedule.renew_at {
            Some(Reason::new("renewal-due", format!("its renewal point was {}", schedule.renew_at)))
        } else if policy.owner == Owner::Eyewall
            && seen.request.as_ref().is_some_and(|request| request.public_key != leaf.public_key)
        {
            // Its request is open on the API server, and there is to be only one.
            Some(Reason::new("renewal-cut-short", "a renewal was begun and cut short; it goes on"))
        } else {
            None
        };
        Some(held)
    }

    /// The answer while nothing is due: rest, or tidy up.
    pub fn rest(&self, now: Time, seen: &Seen) -> Option<Decision> {
        if seen.request.as_ref().is_some_and(|request| request.public_key == self.leaf.public_key) {
            let due = self.due.clone();
            return Some(Decision {
                state: if due.is_some() { self.state(now) } else { State::Valid },
                reason: due.unwrap_or_else(|| valid(self.leaf)),
                next: "the finished request is tidied away".to_owned(),
                next_at: None,
                step: Step::Forget("its certificate is in force"),
            });
        }
        match self.due {
            Some(_) => None,
            None if self.last && now >= self.schedule.renew_at => Some(idle(
                now,
                State::Valid,
                ends_with_authority(self.leaf),
                "the certificate and its CA end",
                Some(self.leaf.not_after),
            )),
            None if seen.bootstrap.is_ok() && seen.recovery.is_none_or(|tested| tested.is_due(now)) => Some(Decision {
                state: State::Valid,
                reason: valid(self.leaf),
                next: "the bootstrap credential is tested".to_owned(),
                next_at: None,
                step: Step::TestRecovery,
            }),
            None => Some(idle(now, State::Valid, valid(self.leaf), "it is renewed", Some(self.schedule.renew_at))),
        }
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
}

/// Said past the renewal point of a certificate that ends with the CA.
pub(super) fn ends_with_authority(leaf: &CertView) -> Reason {
    Reason::new(
        "certificate-ends-with-authority",
        format!(
            "valid until {}, when the cluster CA ends: no renewal can last longer; give the cluster a new CA",
            leaf.not_after
        ),
    )
}

pub(super) fn valid(leaf: &CertView) -> Reason {
    Reason::new("certificate-valid", format!("valid until {}", leaf.not_after))
}
