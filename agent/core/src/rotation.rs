//! The one decision about the kubelet's client certificate: what is the state, why, and what is the next step (DESIGN 5).
//!
//! [`decide`] sees the store, the open request, the clock and how the last attempt ended, and returns a [`Decision`]. It is
//! asked again after every step, at every hint and at least every [`LOOK_AGAIN`], so it holds no memory of its own: a
//! restart finds the same files and comes to the same step.

mod attempt;
pub mod clock;
pub mod clock_step;
mod doubt;
pub mod forecast;
mod held;
mod schedule;
mod watching;
pub mod wish;

use std::time::{Duration, SystemTime};

pub use attempt::{Attempt, Outcome, Streaks};
pub use clock::{CLOCK_FRESH, Clock};
pub use schedule::{Schedule, schedule};
pub use wish::Wish;

use crate::cert::CertView;
use crate::config::Owner;
use crate::hostname::{NodeName, NodeNameFault};
use crate::status::{CertificateState as State, Reason};
use crate::time::Time;
use doubt::{Standing, standing};
use held::Held;

/// Nothing is ever slept over longer: the wall clock may jump and the sleep does not notice.
pub const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// As good as never: [`Policy::look_again`] comes first.
const FAR: Duration = Duration::from_secs(86_400);
/// How often the bootstrap credential is tested while it is not needed.
pub const RECOVERY_EVERY: Duration = Duration::from_secs(86_400);
/// How soon again, if the server could not be asked.
const RECOVERY_AGAIN: Duration = Duration::from_secs(3_600);

/// What the shell saw.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The node's name, or why there is none.
    pub node: Result<NodeName, NodeNameFault>,
    /// The cluster CA of the bootstrap kubeconfig (the earliest end, if it is a bundle), or why it cannot be used.
    pub bootstrap: Result<Time, Reason>,
    /// What stands at `kubelet-client-current.pem`.
    pub current: Current,
    /// The key and request on disk, if an attempt is open.
    pub request: Option<Request>,
    /// What is known of this host's clock; `None`: nobody has looked lately.
    pub clock: Option<Clock>,
    /// How the last attempt ended, while nothing it depended on has changed since.
    pub last: Option<Attempt>,
    /// What is wanted of the certificate beyond its schedule.
    pub wish: Option<Wish>,
    /// When the bootstrap credential was last tested with this kubeconfig, and whether the server gave an answer.
    pub recovery: Option<Tested>,
    /// What that test met, if the credential was not found good.
    pub recovery_trouble: Option<Reason>,
}

/// A test of the bootstrap credential while it was not needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tested {
    /// When.
    pub at: Time,
    /// The server said yes or no; otherwise it is tried again sooner.
    pub answered: bool,
}

impl Tested {
    fn is_due(self, now: Time) -> bool {
        let every = if self.answered { RECOVERY_EVERY } else { RECOVERY_AGAIN };
        // A test of the future was made before the clock was set back.
        now.0.duration_since(self.at.0).map_or(true, |age| age >= every)
    }
}

/// The PEM in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Current {
    /// No file, or the empty placeholder.
    Nothing,
    /// It is there and cannot be read (permissions, IO): nothing is done to it.
    Unreadable(Reason),
    /// Corrupt, half, without its key, or no kubelet identity of this cluster: to be put aside.
    Unusable(Reason),
    /// A kubelet identity with its key.
    Usable {
        /// The leaf.
        leaf: Box<CertView>,
        /// When it was installed, by the file's own time; the start of its life if unknown.
        installed_at: Time,
        /// Which CA vouches for it.
        anchor: Anchor,
    },
}

/// Which CA a certificate chains to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// The bootstrap kubeconfig's.
    Bootstrap,
    /// Only the one that the kubelet trusts now: the bootstrap kubeconfig has a new one.
    Installed,
    /// There is no CA to check with.
    Unchecked,
}

/// A key and request on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The CSR object's name.
    pub name: String,
    /// The CN it asks for.
    pub common_name: String,
    /// DER of its public key.
    pub public_key: Vec<u8>,
    /// When it was made.
    pub since: Time,
}

/// With which identity to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The bootstrap kubeconfig's.
    Bootstrap,
    /// The certificate in force.
    Node,
}

/// What to do next.
#[must_use = "a step that is not taken is a node without its keeper"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing before this instant.
    Idle {
        /// When to look again; never more than [`Policy::look_again`] ahead.
        until: SystemTime,
    },
    /// Put the PEM in force aside and a usable older one, or the placeholder, in its place.
    Quarantine(Reason),
    /// Drop the key and request on disk: they can lead to nothing.
    Forget(&'static str),
    /// Make a key and request on disk.
    Prepare,
    /// Find out whether the clock can be trusted.
    CheckClock,
    /// Find out whether the bootstrap credential would work, while it is not needed.
    TestRecovery,
    /// Send the request (or find it again), wait for it, prove what comes, install it.
    Ask(Identity),
}

/// State, reason and step.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The state.
    pub state: State,
    /// Why.
    pub reason: Reason,
    /// What happens next, for people.
    pub next: String,
    /// When, if it is a matter of time.
    pub next_at: Option<Time>,
    /// What the shell does.
    pub step: Step,
}

/// What the configuration says about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// Who renews.
    pub owner: Owner,
    /// Fractions of the lifetime between which the renewal point is drawn.
    pub renew_at: [f64; 2],
    /// The longest time between two looks: [`LOOK_AGAIN`] on a node. What is a matter of time has its own instant, so it
    /// bounds only how late something is seen that comes from outside without a hint.
    pub look_again: Duration,
}

/// Decides. Pure: the same input gives the same answer.
pub fn decide(now: SystemTime, seen: &Seen, policy: &Policy) -> Decision {
    let mut decision = judge(Time(now), seen, policy);
    if let Step::Idle { until } = &mut decision.step {
        // A moment that has just passed must not become a busy loop.
        *until = (*until).min(now + policy.look_again).max(now + Duration::from_millis(10));
    }
    decision
}

fn judge(now: Time, seen: &Seen, policy: &Policy) -> Decision {
    match &seen.current {
        Current::Unreadable(reason) => {
            return idle(now, State::Absent, reason.clone(), "the file is read again", Some(after(now, LOOK_AGAIN)));
        }
        Current::Unusable(reason) if policy.owner == Owner::Kubelet => {
            // The kubelet would crash on it for ever (kubernetes#131111 and its family), but this mode never writes.
            return idle(
                now,
                State::Absent,
                reason.clone(),
                "nothing by the agent, which only looks; remove the file, and the kubelet bootstraps at its next start",
                None,
            );
        }
        Current::Unusable(reason) => {
            return Decision {
                state: State::Absent,
                reason: reason.clone(),
                next: "the file is put aside and a certificate is asked for".to_owned(),
                next_at: None,
                step: Step::Quarantine(reason.clone()),
            };
        }
        Current::Nothing | Current::Usable { .. } => {}
    }
    let held = Held::of(now, seen, policy);
    if policy.owner == Owner::Kubelet {
        return watching::watch(now, seen, held.as_ref());
    }
    if let Some(held) = &held
        && let Some(rest) = held.rest(now, seen)
    {
        return rest;
    }
    acquire(now, seen, held.as_ref())
}

/// A certificate is to be had: everything that must be right first, and then the request.
fn acquire(now: Time, seen: &Seen, held: Option<&Held<'_>>) -> Decision {
    let alive = held.filter(|held| held.alive);
    // Trouble is told as a state of its own only while there is nothing in force; a renewal that has trouble is still a
    // renewal, with the trouble for its reason.
    let state = |trouble: State| alive.map_or(trouble, |held| held.state(now));
    let node = match &seen.node {
        Ok(node) => node,
        Err(fault) => {
            return idle(
                now,
                state(State::Absent),
                Reason::new(fault.kind(), fault.to_string()),
                "nothing is asked for before the node has a name; the hostname is read again",
                Some(after(now, Duration::from_secs(5))),
            );
        }
    };
    let ca_end = match &seen.bootstrap {
        Ok(ca_end) => *ca_end,
        Err(reason) => {
            return idle(
                now,
                state(if held.is_some() { State::ExpiredRecovering } else { State::Absent }),
                reason.clone(),
                "the bootstrap kubeconfig is read again as soon as it changes",
                None,
            );
        }
    };
    // Once it has ended it stays so; what a clock that was trusted said does not grow old, and is void when the clock is set.
    if now >= ca_end && seen.clock.as_ref().is_some_and(|clock| clock.trusted) {
        return idle(
            now,
            state(State::CaExpired),
            Reason::new(
                "authority-expired",
                format!(
                    "the cluster CA of the bootstrap kubeconfig ended at {ca_end}: no certificate can be issued; the cluster needs a new CA"
                ),
            ),
            "the bootstrap kubeconfig is read again as soon as it changes",
            None,
        );
    }
    if let Some(request) = &seen.request
        && request.common_name != node.common_name()
    {
        return Decision {
            state: state(State::Requesting),
            reason: Reason::new("node-name-changed", "the request on disk is for another node name"),
            next: "a new key is made".to_owned(),
            next_at: None,
            step: Step::Forget("it asks for another node name"),
        };
    }
    if let Some((trouble, until)) = seen.last.as_ref().and_then(|last| last.wait(now)) {
        let begun = if held.is_some_and(|held| !held.alive) && !trouble.specific {
            State::ExpiredRecovering
        } else {
            state(trouble.state)
        };
        return idle(now, begun, trouble.reason, trouble.next, Some(until));
    }
    // A try after trouble is still that trouble until it succeeds: the state must not flap with every attempt.
    let trouble = seen.last.as_ref().and_then(Attempt::trouble);
    let going = |step, next: &str| Decision {
        state: match (&trouble, held) {
            (Some(trouble), Some(held)) if !held.alive && trouble.specific => trouble.state,
            (_, Some(held)) => held.state(now),
            (Some(trouble), None) => trouble.state,
            (None, None) => State::Requesting,
        },
        reason: match (&trouble, held.and_then(|held| held.due.clone())) {
            (Some(trouble), _) => trouble.reason.clone(),
            (None, Some(due)) => due,
            (None, None) => Reason::new("certificate-absent", "there is no certificate yet; one is being asked for"),
        },
        next: next.to_owned(),
        next_at: None,
        step,
    };
    // Before a key is made: one left behind by a clock that was wrong would be taken for a renewal cut short.
    match standing(now, seen) {
        Standing::Trusted => {}
        Standing::Doubted(clock) => return doubt::wait(now, state(State::ClockSuspect), clock),
        Standing::Unknown if trouble.is_none() && held.is_some_and(|held| !held.alive) => {
            return doubt::look_first(state(State::ExpiredRecovering));
        }
        Standing::Unknown => return going(Step::CheckClock, "the clock is checked"),
    }
    if seen.request.is_none() {
        return going(Step::Prepare, "a key is made");
    }
    let refused = seen.last.as_ref().is_some_and(|last| last.identity == Identity::Node && last.outcome.is_refusal());
    let same_name = held.is_some_and(|held| held.leaf.common_name == node.common_name());
    // NodeRestriction lets a node ask only for its own name, and a certificate of the CA before proves nothing to the new one.
    let identity = match alive {
        Some(held) if same_name && held.anchor != Anchor::Installed && !refused => Identity::Node,
        _ => Identity::Bootstrap,
    };
    going(Step::Ask(identity), "the request is sent, waited for, proved and installed")
}

impl Policy {
    /// When `leaf` is to be renewed by its owner; `installed_at` as for [`schedule()`].
    pub fn schedule(&self, leaf: &CertView, installed_at: Time) -> Schedule {
        match self.owner {
            Owner::Eyewall => schedule(leaf, installed_at, self.renew_at),
            Owner::Kubelet => watching::schedule(leaf),
        }
    }
}

fn after(time: Time, span: Duration) -> Time {
    Time(time.0 + span)
}

fn idle(now: Time, state: State, reason: Reason, next: &str, at: Option<Time>) -> Decision {
    let step = Step::Idle { until: at.unwrap_or(after(now, FAR)).0 };
    Decision { state, reason, next: next.to_owned(), next_at: at, step }
}

#[cfg(test)]
mod clock_cases;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod transitions;
#[cfg(test)]
mod year;
