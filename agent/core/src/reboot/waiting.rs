//! Without a slot of the own: what is left of an earlier cycle is undone, and when a reboot is wanted and nothing is in the way, a slot is
//! taken.

use super::decision::{Decision, RebootState as State, Step};
use super::gates;
use super::policy::Policy;
use super::seen::{Drain, Holder, Seen, Slot};
use super::wanted;
use super::{after, cycle};
use crate::status::Reason;
use crate::time::Time;

pub(super) fn decide(now: Time, seen: &Seen, policy: &Policy) -> Decision {
    if let Some(leftover) = leftover(now, seen, policy) {
        return leftover;
    }
    if let Slot::Unknown(reason) = &seen.slot
        && cycle::is_begun(seen)
    {
        return cycle::without_sight(now, seen, policy, reason);
    }
    let cause = match wanted::wanted(seen) {
        Ok(Some(cause)) => cause,
        Ok(None) => return nothing(now, seen),
        Err(reason) => return Decision::idle(now, State::Unknown, reason.clone(), "the OS is asked again", None),
    };
    if let Some(blocked) = gates::blocked(now, seen, policy) {
        return Decision::idle(now, State::Waiting, blocked.reason, blocked.next, blocked.at);
    }
    let (others, limit, refused) = match &seen.slot {
        Slot::Unknown(reason) => {
            return Decision::idle(now, State::Waiting, reason.clone(), "the group's lock is looked at again", None);
        }
        Slot::Seen { others, limit, refused, .. } => (others, *limit, refused.as_ref()),
    };
    let none_free = others.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    if let Some(reason) = refused.map(|reason| Reason::new("slot", reason.message.clone())) {
        return Decision::idle(now, State::Waiting, reason, "the lock is asked again", None);
    }
    if none_free {
        return Decision::idle(now, State::Waiting, full(others, limit), "a slot is freed", None);
    }
    let reason = wanted::reason(seen, &cause);
    Decision::going(State::Waiting, reason, "a slot is taken", Step::Take(wanted::entry(now, seen, &cause)))
}

/// What an earlier cycle left: a drain, a cordon of ours, an operator's word that has been kept.
pub(super) fn leftover(now: Time, seen: &Seen, policy: &Policy) -> Option<Decision> {
    if !matches!(seen.slot, Slot::Seen { mine: None, .. }) {
        return None;
    }
    let reason = || Reason::new("no-slot", "this node holds no slot, so nothing of a reboot is left standing");
    if seen.drain != Drain::NotBegun {
        return Some(Decision::going(State::Undoing, reason(), "the drain is stopped", Step::StopDrain));
    }
    if let Ok(node) = &seen.node
        && let Some(boot) = &node.cordoned_by_us
    {
        // Of this boot: no reboot followed. Of an earlier one: one did, and the node takes pods again when it has proved good.
        return Some(if *boot == seen.boot {
            Decision::going(State::Undoing, reason(), "the node is uncordoned", Step::Uncordon)
        } else {
            match after::gate(now, seen, policy) {
                Ok(()) => Decision::going(State::Gate, after::passed(policy), "the node is uncordoned", Step::Uncordon),
                Err(closed) => Decision::idle(now, State::Gate, closed.reason, closed.next, closed.at),
            }
        });
    }
    // Before another slot is taken in this boot: the word was not meant for that one.
    (seen.orders.free.as_ref() == Some(&seen.boot)).then(|| {
        let reason = Reason::new("slot-released", "the slot was freed on an operator's word");
        Decision::going(State::Idle, reason, "the word is kept", Step::ClearServed)
    })
}

fn nothing(now: Time, seen: &Seen) -> Decision {
    if let Slot::Unknown(reason) = &seen.slot
        && !seen.node.as_ref().is_ok_and(|node| node.cordoned_by_us.is_none())
    {
        // A slot of an earlier boot may be held.
        return Decision::idle(now, State::Unknown, reason.clone(), "the group's lock is looked at again", None);
    }
    let refused = seen.pending.as_ref().ok().and_then(Option::as_ref);
    let reason = refused.and_then(|pending| wanted::refusal(seen, &pending.cause));
    let reason = reason.unwrap_or_else(|| Reason::new("no-reboot-wanted", "no reboot is wanted"));
    Decision::idle(now, State::Idle, reason, "a release is staged, the OS asks for a reboot, or an operator does", None)
}

fn full(others: &[Holder], limit: u32) -> Reason {
    if limit == 0 {
        return Reason::new("slot", "the group has no slots: an operator has set their number to 0");
    }
    let holders: Vec<_> = others
        .iter()
        .take(3)
        .map(|holder| match &holder.entry {
            Some(entry) => format!("{} since {} ({})", holder.node, entry.since, entry.reason),
            None => holder.node.clone(),
        })
        .collect();
    let more = if others.len() > 3 { format!(" and {} more", others.len() - 3) } else { String::new() };
    let message = format!("{} of {limit} slots are taken, by {}{more}", others.len(), holders.join(", "));
    Reason::new("slot", message)
}
