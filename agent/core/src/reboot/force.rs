//! The glass is broken: whatever window, hold, slot, health and certificate say, the host reboots by the drain's deadline. What can be done
//! properly until then is done: a slot is taken if one is free, the node cordoned and drained.

use super::cycle;
use super::decision::{Decision, RebootState as State, Step};
use super::policy::{FORCE_AGAIN, FORCE_PATIENCE, Policy, is_over, may_go};
use super::seen::{Cause, Drain, Entry, Force, Seen, Slot};
use super::wanted;
use crate::status::Reason;
use crate::time::Time;

pub(super) fn decide(now: Time, seen: &Seen, policy: &Policy, force: &Force) -> Decision {
    let reason = Reason::new("forced", format!("uid {} forces a reboot: {}", force.uid, force.why));
    if let Some((at, why)) = &seen.given_up
        && !is_over(now, *at, FORCE_AGAIN)
    {
        let message = format!("the forced reboot did not come: {}", why.message);
        return pause(now, seen, Reason::new("given-up", message), Time(at.0 + FORCE_AGAIN));
    }
    let cause = wanted::wanted(seen).ok().flatten().unwrap_or(Cause::Request);
    if !is_over(now, force.since, policy.drain_timeout)
        && let Some(decision) = properly(now, seen, policy, force, &cause, &reason)
    {
        return decision;
    }
    Decision::going(State::LettingGo, reason, "the block lock is dropped and the host reboots", Step::LetGo(cause))
}

/// What is left to do properly.
fn properly(
    now: Time,
    seen: &Seen,
    policy: &Policy,
    force: &Force,
    cause: &Cause,
    reason: &Reason,
) -> Option<Decision> {
    let going = |state, next, step| Some(Decision::going(state, reason.clone(), next, step));
    if let Slot::Seen { mine, others, limit, refused } = &seen.slot {
        let is_free = others.len() < usize::try_from(*limit).unwrap_or(usize::MAX) && refused.is_none();
        match mine {
            None if is_free => {
                return going(State::Waiting, "a slot is taken", Step::Take(wanted::entry(now, seen, cause)));
            }
            Some(entry) if entry.boot_id != seen.boot || !wanted::is_for(entry, cause) => {
                let entry = wanted::entry(now, seen, cause);
                return going(State::Granted, "the slot says what it is for now", Step::Amend(entry));
            }
            _ => {}
        }
    }
    let deadline = Time(force.since.0 + policy.drain_timeout);
    match &seen.node {
        Ok(node) if !node.unschedulable => return going(State::Cordoning, "the node is cordoned", Step::Cordon),
        Ok(_) => match &seen.drain {
            Drain::NotBegun => return going(State::Draining, "its pods are evicted", Step::Drain { until: deadline }),
            Drain::Running { .. } => {
                let next = "the last pod is gone, or the host reboots all the same";
                return Some(Decision::idle(now, State::Draining, reason.clone(), next, Some(deadline)));
            }
            Drain::Done | Drain::Failed { .. } => {}
        },
        Err(_) if !is_over(now, force.since, FORCE_PATIENCE) => {
            let next = "the host reboots without a drain";
            let at = Time(force.since.0 + FORCE_PATIENCE);
            return Some(Decision::idle(now, State::Granted, reason.clone(), next, Some(at)));
        }
        Err(_) => {}
    }
    if let Slot::Seen { mine: Some(entry), .. } = &seen.slot
        && !may_go(now, entry)
    {
        let entry = Entry { let_go: Some(now), ..entry.clone() };
        return going(State::LettingGo, "the slot says that the host is let go", Step::Amend(entry));
    }
    None
}

/// Until it is tried again the node works as before.
fn pause(now: Time, seen: &Seen, reason: Reason, until: Time) -> Decision {
    let undone = cycle::undo(now, seen, None, reason.clone());
    match undone.step {
        Step::StopDrain | Step::Uncordon => undone,
        _ => Decision::idle(now, State::Waiting, reason, "it is tried again", Some(until)),
    }
}
