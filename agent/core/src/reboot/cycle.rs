//! With a slot of this boot: on to letting go, or back.

use std::time::Duration;

use super::decision::{Decision, RebootState as State, Step};
use super::gates::{self, Blocked};
use super::policy::{GRANT_LASTS, LET_GO_LASTS, Policy, REBOOT_COMES, is_over, may_go};
use super::seen::{Drain, Entry, NodeSeen, Seen};
use super::wanted;
use crate::config::OnDrainTimeout;
use crate::status::Reason;
use crate::time::{Time, human};

pub(super) fn decide(now: Time, seen: &Seen, policy: &Policy, entry: &Entry) -> Decision {
    if let Some(reason) = turned(now, seen, policy) {
        return undo(now, seen, Some(entry), reason);
    }
    let cause = match wanted::wanted(seen) {
        Ok(Some(cause)) => cause,
        // `turned` has said so already.
        Ok(None) => return undo(now, seen, Some(entry), withdrawn()),
        Err(reason) => return stuck(now, policy, entry, Blocked::unasked(reason)),
    };
    if !wanted::is_for(entry, &cause) {
        let entry = Entry { since: entry.since, ..wanted::entry(now, seen, &cause) };
        let reason = wanted::reason(seen, &cause);
        return Decision::going(State::Granted, reason, "the slot says what it is for now", Step::Amend(entry));
    }
    // A drain that is over is judged before anything that may yet come good: its time is up.
    if let (Drain::Failed { reason, .. }, OnDrainTimeout::GiveUp) = (&seen.drain, policy.on_drain_timeout) {
        return give_up(reason.clone());
    }
    let begun = seen.drain != Drain::NotBegun;
    let needed = if begun { policy.certificate_at_the_end() } else { policy.certificate_at_the_grant() };
    if let Some(blocked) = gates::health(seen).or_else(|| gates::certificate(now, seen, needed)) {
        return stuck(now, policy, entry, blocked);
    }
    let node = match &seen.node {
        Ok(node) => node,
        Err(reason) => return stuck(now, policy, entry, Blocked::unasked(reason)),
    };
    if is_over(now, entry.since, policy.drain_timeout + GRANT_LASTS) {
        return out_of_time(policy, &wanted::reason(seen, &cause));
    }
    if seen.certificate_until.is_some_and(|until| gates::is_short(now, until, needed)) {
        let at_least = policy.certificate_at_the_grant();
        let message =
            format!("less than {} of the kubelet's certificate are left, too few for a reboot", human(at_least));
        let reason = Reason::new("certificate-short", message);
        return Decision::going(State::RenewingCertificate, reason, "it is renewed", Step::Renew { at_least });
    }
    if let Some(decision) = empty(now, seen, policy, node, &wanted::reason(seen, &cause)) {
        return decision;
    }
    let reason = wanted::reason(seen, &cause);
    if !may_go(now, entry) {
        let entry = Entry { let_go: Some(now), ..entry.clone() };
        return Decision::going(State::LettingGo, reason, "the slot is proved once more", Step::Amend(entry));
    }
    Decision::going(State::LettingGo, reason, "the block lock is dropped and the host reboots", Step::LetGo(cause))
}

impl Blocked {
    fn unasked(reason: &Reason) -> Self {
        Self { reason: reason.clone(), next: "it is looked at again", at: None }
    }
}

/// Cordon and drain; none: that is done.
fn empty(now: Time, seen: &Seen, policy: &Policy, node: &NodeSeen, why: &Reason) -> Option<Decision> {
    if !node.unschedulable {
        return Some(Decision::going(State::Cordoning, why.clone(), "the node is cordoned", Step::Cordon));
    }
    match &seen.drain {
        Drain::NotBegun => {
            let until = Time(now.0 + policy.drain_timeout);
            Some(Decision::going(State::Draining, why.clone(), "its pods are evicted", Step::Drain { until }))
        }
        Drain::Running { since, left } if !is_over(now, *since, policy.drain_timeout) => {
            let reason = match left.first() {
                None => Reason::new("draining", "the pods are evicted"),
                Some(pod) => {
                    let message = format!("{} pods are left; {}: {}", left.len(), pod.pod, pod.reason.message);
                    Reason::new("draining", message)
                }
            };
            let until = Time(since.0 + policy.drain_timeout);
            Some(Decision::idle(now, State::Draining, reason, "the last pod is gone", Some(until)))
        }
        // Whoever drains should have said so by now.
        Drain::Running { left, .. } if policy.on_drain_timeout == OnDrainTimeout::GiveUp => {
            let message = format!("{} pods were left after {}", left.len(), human(policy.drain_timeout));
            Some(give_up(Reason::new("drain-timeout", message)))
        }
        Drain::Running { .. } | Drain::Done | Drain::Failed { .. } => None,
    }
}

/// A drain or a cordon of this boot is there.
pub(super) fn is_begun(seen: &Seen) -> bool {
    let cordoned = seen.node.as_ref().is_ok_and(|node| node.cordoned_by_us.as_ref() == Some(&seen.boot));
    cordoned || seen.drain != Drain::NotBegun
}

/// In the middle of it the lock of the group cannot be looked at: no host is let go on what was seen before, and the node is not kept
/// empty for ever.
pub(super) fn without_sight(now: Time, seen: &Seen, policy: &Policy, why: &Reason) -> Decision {
    if let Some(reason) = turned(now, seen, policy) {
        let undone = undo(now, seen, None, reason);
        return match undone.step {
            Step::StopDrain | Step::Uncordon => undone,
            _ => Decision::idle(now, State::Undoing, why.clone(), "the group's lock is looked at again", None),
        };
    }
    match seen.slot_unknown_since {
        Some(since) if is_over(now, since, GRANT_LASTS) => give_up(why.clone()),
        _ => Decision::idle(now, State::Waiting, why.clone(), "the group's lock is looked at again", None),
    }
}

/// Something changed that was so when the slot was taken, or the cycle was given up.
fn turned(now: Time, seen: &Seen, policy: &Policy) -> Option<Reason> {
    if !policy.coordinate {
        return Some(Reason::new("off", "reboots are not coordinated any more"));
    }
    if let Some((_, reason)) = &seen.given_up {
        return Some(reason.clone());
    }
    if let Some(hold) = &seen.orders.hold {
        return Some(gates::held(hold));
    }
    if wanted::wanted(seen).is_ok_and(|cause| cause.is_none()) {
        return Some(withdrawn());
    }
    gates::window(now, policy, Duration::ZERO).map(|blocked| blocked.reason)
}

fn withdrawn() -> Reason {
    Reason::new("withdrawn", "the reboot is not wanted any more")
}

/// It does not go on: for a while it may come good with the slot in hand, and then others have their turn.
fn stuck(now: Time, policy: &Policy, entry: &Entry, blocked: Blocked) -> Decision {
    if is_over(now, entry.since, policy.drain_timeout + GRANT_LASTS) {
        return out_of_time(policy, &blocked.reason);
    }
    let until = blocked.at.unwrap_or(policy.cycle_ends(entry.since));
    Decision::idle(now, State::Waiting, blocked.reason, blocked.next, Some(until))
}

fn out_of_time(policy: &Policy, why: &Reason) -> Decision {
    let held = human(policy.drain_timeout + GRANT_LASTS);
    give_up(Reason::new(
        "out-of-time",
        format!("the slot was held for {held} and the host could not be let go: {}", why.message),
    ))
}

fn give_up(reason: Reason) -> Decision {
    let next = "the drain is undone, the slot given back, and it is tried again later";
    Decision::going(State::Undoing, reason.clone(), next, Step::GiveUp(reason))
}

/// No reboot follows: what was done for it is undone, and the slot given back by a host that is good.
pub(super) fn undo(now: Time, seen: &Seen, entry: Option<&Entry>, reason: Reason) -> Decision {
    // The agent may have been killed right after it let the host go.
    if let Some(at) = entry.and_then(|entry| entry.let_go)
        && !is_over(now, at, LET_GO_LASTS + REBOOT_COMES)
    {
        let until = Time(at.0 + LET_GO_LASTS + REBOOT_COMES);
        return Decision::idle(
            now,
            State::Undoing,
            reason,
            "no reboot can come any more, and all is undone",
            Some(until),
        );
    }
    if seen.drain != Drain::NotBegun {
        return Decision::going(State::Undoing, reason, "the drain is stopped", Step::StopDrain);
    }
    let node = match &seen.node {
        Ok(node) => node,
        // Whether it is cordoned is not known, and after the slot is gone nobody would ask.
        Err(trouble) => return Decision::idle(now, State::Undoing, trouble.clone(), "the Node is read again", None),
    };
    if node.cordoned_by_us.is_some() {
        return Decision::going(State::Undoing, reason, "the node is uncordoned", Step::Uncordon);
    }
    match gates::lacking(seen) {
        Some(lacking) if seen.orders.free.as_ref() != Some(&seen.boot) => {
            let next = "it is good again, or an operator frees the slot";
            Decision::idle(now, State::HeldBack, lacking, next, None)
        }
        _ => Decision::going(State::Undoing, reason, "the slot is given back", Step::Free),
    }
}
