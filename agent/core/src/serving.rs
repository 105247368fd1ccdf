//! The decision about the kubelet's serving certificate (`certificates.serving`): state, reason and next step, as
//! [`crate::rotation`] decides about the client certificate.
//!
//! It differs in what it needs: it is asked for with the client certificate, for the addresses that the Node has, and nobody
//! approves it by itself (kube-controller-manager signs `kubernetes.io/kubelet-serving` and never approves it). So
//! waiting is its normal state where no approver is, and must hurt nothing: the kubelet serves with its self-signed pair.

mod attempt;
mod held;
mod leaf;
mod names;
mod node;
pub mod pair;
pub mod proof;

use std::time::{Duration, SystemTime};

pub use attempt::{WATCH, pending};
pub use leaf::{Leaf, read_names};
pub use names::{Address, Names};
pub use node::{ADDRESSES_EVERY, Found, NodeRead};

use crate::hostname::{NodeName, NodeNameFault};
use crate::rotation::{Attempt, Clock, LOOK_AGAIN};
use crate::status::{CertificateState as State, Reason};
use crate::time::Time;
use held::Held;
use pair::Pair;

/// Who keeps the serving certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// The agent: `serving = true`.
    Eyewall,
    /// The kubelet: `owner = "kubelet"`, and the kubelet has `serverTLSBootstrap`. The agent only looks.
    Kubelet,
    /// Nobody: `serving = false` or `owner = "kubelet"`, and there is a certificate from when it was otherwise.
    Nobody,
}

/// What the configuration says about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// Who keeps it.
    pub keeper: Keeper,
    /// Fractions of the lifetime between which the renewal point is drawn.
    pub renew_at: [f64; 2],
}

/// What the shell saw.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The node's name, or why there is none.
    pub node: Result<NodeName, NodeNameFault>,
    /// The end of the cluster CA of the bootstrap kubeconfig, or why that cannot be used.
    pub bootstrap: Result<Time, Reason>,
    /// Whether the kubelet's client certificate can be asked with, or why not.
    pub client: Result<(), Reason>,
    /// What was last read of the Node, if anything.
    pub node_read: Option<NodeRead>,
    /// The addresses that the Node had when they were last seen.
    pub addresses: Option<Names>,
    /// The serving certificate on disk.
    pub current: Current,
    /// What the kubelet serves from.
    pub pair: Pair,
    /// PEM files of before that nothing leads to any more.
    pub stale: bool,
    /// The key and request on disk, if an attempt is open.
    pub request: Option<Request>,
    /// What is known of this host's clock; `None`: nobody has looked lately.
    pub clock: Option<Clock>,
    /// How the last attempt ended, while nothing it depended on has changed since.
    pub last: Option<Attempt>,
}

/// The serving certificate on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Current {
    /// None, or only what the kubelet made itself.
    Nothing,
    /// There is one, and it cannot be read (permissions, IO): nothing is done to it.
    Unreadable(Reason),
    /// Corrupt, half or without its key: to be put aside.
    Unusable(Reason),
    /// A serving certificate of a kubelet, with its key.
    Usable {
        /// The leaf.
        leaf: Box<Leaf>,
        /// When it was installed, by the file's own time.
        installed_at: Time,
        /// Whether it chains to the CA of the bootstrap kubeconfig; none while there is no CA to check with.
        anchored: Option<bool>,
        /// `kubelet-server-current.pem` leads to it.
        linked: bool,
    },
}

/// A key and request on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The CSR object's name.
    pub name: String,
    /// The CN it asks for.
    pub common_name: String,
    /// What it asks to serve.
    pub names: Names,
    /// DER of its public key.
    pub public_key: Vec<u8>,
    /// When it was made.
    pub since: Time,
}

/// What to do next.
#[must_use = "a step that is not taken is a kubelet without its keeper"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing before this instant.
    Idle {
        /// When to look again; never more than [`LOOK_AGAIN`] ahead.
        until: SystemTime,
    },
    /// Take the links away that lead to nothing usable, and put the bad PEM aside.
    Withdraw(Reason),
    /// Have `kubelet.crt` and `kubelet.key` lead to the certificate on disk.
    Link,
    /// Remove the PEM files that nothing leads to any more. This is also what tells the kubelet: it watches the file that it
    /// last read, not the links that led there.
    Tidy,
    /// Drop the key and request on disk: they can lead to nothing.
    Forget(&'static str),
    /// Read the own Node for its addresses.
    ReadNode,
    /// Make a key and request on disk, for the addresses as they are.
    Prepare,
    /// Send the request (or find it again), wait for it, prove what comes, install it.
    Ask,
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

/// Decides. Pure: the same input gives the same answer.
pub fn decide(now: SystemTime, seen: &Seen, policy: &Policy) -> Decision {
    let now = Time(now);
    if let Current::Unreadable(reason) = &seen.current {
        return idle(now, State::Absent, reason.clone(), "the file is read again", Some(after(now, LOOK_AGAIN)));
    }
    let held = Held::of(now, seen, policy);
    if policy.keeper != Keeper::Eyewall {
        return watch_only(now, seen, held.as_ref(), policy.keeper);
    }
    if let Some(repair) = repair(seen, held.as_ref()) {
        return repair;
    }
    if let Some(held) = &held
        && let Some(rest) = held.rest(now, seen)
    {
        return rest;
    }
    acquire(now, seen, held.as_ref())
}

/// What is on disk is put right before anything is asked.
fn repair(seen: &Seen, held: Option<&Held<'_>>) -> Option<Decision> {
    let next = "the kubelet makes a self-signed pair at its next start, and a certificate is asked for";
    match (&seen.current, held) {
        (Current::Unusable(reason), _) => {
            Some(going(State::Absent, reason.clone(), next, Step::Withdraw(reason.clone())))
        }
        (Current::Nothing, _) if seen.pair.has_ours() && !seen.pair.loads => {
            let reason = Reason::new(
                "certificate-gone",
                "the kubelet's serving pair leads to a file that is not there any more",
            );
            Some(going(State::Absent, reason.clone(), next, Step::Withdraw(reason)))
        }
        (_, Some(held)) if held.alive && !held.past => {
            let reason = held.due.clone().unwrap_or_else(|| held.valid());
            if !held.linked || !seen.pair.is_ours() {
                return Some(going(
                    State::Valid,
                    reason,
                    "it becomes the pair that the kubelet serves from",
                    Step::Link,
                ));
            }
            seen.stale.then(|| going(State::Valid, reason, "older files are removed", Step::Tidy))
        }
        _ => None,
    }
}

/// The agent keeps nothing: the same states, no step but looking.
fn watch_only(now: Time, seen: &Seen, held: Option<&Held<'_>>, keeper: Keeper) -> Decision {
    let next = match keeper {
        Keeper::Nobody => {
            "nobody renews it, since that was switched off; a kubelet that starts after its end makes a self-signed pair"
        }
        _ => "the kubelet renews it itself; the agent only looks",
    };
    match (held, &seen.current) {
        (None, Current::Unusable(reason)) => idle(now, State::Absent, reason.clone(), next, None),
        (None, _) => {
            idle(now, State::Absent, Reason::new("certificate-absent", "there is no serving certificate"), next, None)
        }
        (Some(held), _) => match &held.due {
            None => {
                let at = if keeper == Keeper::Nobody { held.leaf.cert.not_after } else { held.schedule.renew_at };
                idle(now, State::Valid, held.valid(), next, Some(at))
            }
            Some(due) => idle(now, held.state(now), due.clone(), next, None),
        },
    }
}

/// A certificate is to be had: everything that must be right first, and then the request.
fn acquire(now: Time, seen: &Seen, held: Option<&Held<'_>>) -> Decision {
    // Trouble is told as a state of its own only while nothing is in force; a renewal that has trouble is still a renewal, with
    // the trouble for its reason.
    let state = |trouble: State| held.map_or(trouble, |held| held.state(now));
    let node = match &seen.node {
        Ok(node) => node,
        Err(fault) => {
            let reason = Reason::new(fault.kind(), fault.to_string());
            return idle(now, state(State::Absent), reason, "the hostname is read again", None);
        }
    };
    match &seen.bootstrap {
        Err(reason) => {
            let next = "the bootstrap kubeconfig is read again as soon as it changes";
            return idle(now, state(State::Absent), reason.clone(), next, None);
        }
        Ok(ca_end) if now >= *ca_end && seen.clock.as_ref().is_none_or(|clock| clock.trusted) => {
            let reason = Reason::new(
                "authority-expired",
                format!("the cluster CA ended at {ca_end}: no certificate can be issued; the cluster needs a new CA"),
            );
            let next = "the bootstrap kubeconfig is read again as soon as it changes";
            return idle(now, state(State::CaExpired), reason, next, None);
        }
        Ok(_) => {}
    }
    if let Err(reason) = &seen.client {
        let next = "it is asked for as soon as the kubelet has a client certificate";
        return idle(now, state(State::Absent), reason.clone(), next, None);
    }
    if node::is_to_be_read(now, seen) {
        let reason = held.and_then(|held| held.due.clone()).or_else(|| node::unread(seen)).unwrap_or_else(absent);
        return going(state(State::Requesting), reason, "the addresses of the Node are read", Step::ReadNode);
    }
    let Some(wanted) = seen.addresses.as_ref().filter(|names| names.are_complete()) else {
        let until = seen.node_read.as_ref().map(|read| after(read.at, node::read_again(read)));
        let reason = node::unread(seen).unwrap_or_else(absent);
        return idle(now, state(State::Absent), reason, "the Node is read again", until);
    };
    match &seen.clock {
        Some(clock) if clock.trusted && node::is_fresh(now, clock) => {}
        Some(clock) if !clock.trusted => {
            let next = "nothing is asked for by a wrong clock; it is looked at again";
            return idle(now, state(State::ClockSuspect), clock.reason.clone(), next, None);
        }
        // The addresses are of an earlier reading, and so is what is known of the clock.
        _ => {
            let until = seen.node_read.as_ref().map(|read| after(read.at, node::read_again(read)));
            return idle(
                now,
                state(State::Absent),
                node::unread(seen).unwrap_or_else(absent),
                "the Node is read again",
                until,
            );
        }
    }
    if let Some(request) = &seen.request
        && (request.common_name != node.common_name() || request.names != *wanted)
    {
        let reason = Reason::new(
            "addresses-changed",
            format!("the request on disk is for {} ({}), wanted is {wanted}", request.common_name, request.names),
        );
        return going(state(State::Requesting), reason, "a new key is made", Step::Forget("it asks for other names"));
    }
    let csr = seen.request.as_ref().map_or("", |request| request.name.as_str());
    let trouble = seen.last.as_ref().and_then(|last| attempt::trouble(last, csr));
    if let Some(trouble) = &trouble
        && let Some(until) = seen.last.as_ref().and_then(|last| attempt::wait(last, now))
    {
        return idle(now, state(trouble.state), trouble.reason.clone(), trouble.next, Some(until));
    }
    // A try after trouble is still that trouble until it succeeds: the state must not flap with every attempt.
    let (trouble_state, trouble_reason) =
        trouble.map_or((State::Requesting, None), |trouble| (trouble.state, Some(trouble.reason)));
    let reason = trouble_reason.or_else(|| held.and_then(|held| held.due.clone())).unwrap_or_else(absent);
    let (next, step) = match seen.request {
        None => ("a key is made", Step::Prepare),
        Some(_) => ("the request is sent, waited for, proved and installed", Step::Ask),
    };
    going(state(trouble_state), reason, next, step)
}

fn absent() -> Reason {
    Reason::new(
        "certificate-absent",
        "there is no serving certificate yet, and the kubelet serves with a self-signed one; one is being asked for",
    )
}

fn after(time: Time, span: Duration) -> Time {
    Time(time.0 + span)
}

fn going(state: State, reason: Reason, next: &str, step: Step) -> Decision {
    Decision { state, reason, next: next.to_owned(), next_at: None, step }
}

fn idle(now: Time, state: State, reason: Reason, next: &str, at: Option<Time>) -> Decision {
    let soon = after(now, LOOK_AGAIN);
    let until = at.map_or(soon, |at| at.min(soon));
    Decision {
        state,
        reason,
        next: next.to_owned(),
        next_at: at,
        // A moment that has just passed must not become a busy loop.
        step: Step::Idle { until: until.max(after(now, Duration::from_millis(10))).0 },
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
