//! The one decision about reboots: which part of the line it is, and what holds for all of them.

use std::time::SystemTime;

use super::decision::{Decision, HostLock, RebootState as State, Step};
use super::policy::{Policy, REBOOT_COMES, is_over};
use super::seen::{LetGo, Seen, Slot};
use super::{after, cycle, force, waiting};
use crate::status::Reason;
use crate::time::Time;

/// Decides. Pure: the same input gives the same answer, and nothing is remembered but what `seen` says.
pub fn decide(now: SystemTime, seen: &Seen, policy: &Policy) -> Decision {
    let now = Time(now);
    let mut decision = judge(now, seen, policy);
    match &decision.step {
        Step::Idle { .. } if are_served(seen) => decision.step = Step::ClearServed,
        Step::Idle { .. } => {}
        // The same step again: what people want to know is why it has not worked.
        _ => {
            if let Some(trouble) = &seen.trouble {
                decision.reason = trouble.clone();
            }
        }
    }
    if !policy.coordinate {
        decision.lock = HostLock::Released;
    }
    decision
}

fn judge(now: Time, seen: &Seen, policy: &Policy) -> Decision {
    if seen.shutting_down {
        let reason = Reason::new("shutting-down", "the host is shutting down");
        return Decision::idle(now, State::Rebooting, reason, "this boot ends", None);
    }
    if let Some(let_go) = &seen.let_go {
        return follow(now, let_go);
    }
    if let Some(order) = seen.orders.force.as_ref().filter(|force| force.boot_id == seen.boot) {
        return force::decide(now, seen, policy, order);
    }
    match &seen.slot {
        Slot::Seen { mine: Some(entry), .. } if entry.boot_id == seen.boot => cycle::decide(now, seen, policy, entry),
        Slot::Seen { mine: Some(entry), .. } => after::decide(now, seen, policy, entry),
        _ if !policy.coordinate => off(now, seen, policy),
        _ => waiting::decide(now, seen, policy),
    }
}

/// The host was let go: the reboot comes, or it is given up. A refusal is waited out like a yes, because a reply that was lost looks like one:
/// a slot that was given back too early would have two hosts down.
fn follow(now: Time, let_go: &LetGo) -> Decision {
    let at = let_go.at;
    let refused = let_go.answer.as_ref().err();
    if !is_over(now, at, REBOOT_COMES) {
        let reason = match refused {
            None => Reason::new("let-go", format!("the host was let go at {at}, and its reboot was accepted")),
            Some(why) => Reason::new("let-go-refused", format!("the host was let go at {at}: {}", why.message)),
        };
        let by = Time(at.0 + REBOOT_COMES);
        return Decision::idle(now, State::Rebooting, reason, "the shutdown begins, or it is given up", Some(by));
    }
    let reason = match refused {
        None => Reason::new("reboot-did-not-come", format!("the reboot was accepted at {at} and no shutdown began")),
        Some(why) => Reason::new("let-go-refused", format!("the reboot was refused: {}", why.message)),
    };
    let next = "the drain is undone, the slot given back, and it is tried again later";
    Decision::going(State::Undoing, reason.clone(), next, Step::GiveUp(reason))
}

/// Reboots are nobody's business here; what is left of a time when they were is put right.
fn off(now: Time, seen: &Seen, policy: &Policy) -> Decision {
    let reason = Reason::new("off", "reboots are not coordinated: reboot.coordinate is false");
    let leftover = waiting::leftover(now, seen, policy);
    let blind = || match &seen.slot {
        Slot::Unknown(why) if cycle::is_begun(seen) => Some(cycle::without_sight(now, seen, policy, why)),
        _ => None,
    };
    let idle = || Decision::idle(now, State::Off, reason, "somebody switches it on", None);
    leftover.or_else(blind).unwrap_or_else(idle)
}

/// Some order is of an earlier boot, and so is done.
fn are_served(seen: &Seen) -> bool {
    let orders = &seen.orders;
    let boots = [
        orders.request.as_ref().map(|request| &request.boot_id),
        orders.force.as_ref().map(|force| &force.boot_id),
        orders.free.as_ref(),
    ];
    boots.into_iter().flatten().any(|boot| *boot != seen.boot)
}
