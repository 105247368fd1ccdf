//! With a slot of an earlier boot: the reboot is proved, the host stays good for a while, and the slot goes on to the next. Where that is
//! not so the slot is kept, so that a bad release stops at one node.

use super::decision::{Decision, RebootState as State, Step};
use super::gates::{self, Blocked};
use super::policy::{BAD_FOR, LET_GO_LASTS, Policy, REBOOT_COMES, TRY_AGAIN, is_over, may_go};
use super::seen::{Cause, Entry, Release, Seen};
use super::wanted;
use crate::status::Reason;
use crate::time::{Time, human};

/// What came up.
enum Came<'a> {
    /// The release of the entry, or a boot that was for none.
    Wanted,
    /// Neither the wanted nor the one before: somebody else chose it, and it is judged like the wanted one.
    Another(&'a Release),
    /// The one before, though the host was let go for the wanted one.
    Before(&'a Release),
    /// The host went down before it was let go: nothing is said about the wanted release.
    Interrupted,
}

pub(super) fn decide(now: Time, seen: &Seen, policy: &Policy, entry: &Entry) -> Decision {
    if seen.orders.free.as_ref() == Some(&seen.boot) {
        let reason = Reason::new("slot-released", "an operator frees the slot");
        return Decision::going(State::Undoing, reason, "the slot is given back", Step::Free);
    }
    match came(seen, entry) {
        Err(reason) => {
            Decision::idle(now, State::Proving, reason.clone(), "the OS is asked again which release runs", None)
        }
        Ok(Came::Before(wanted)) => held_back(now, seen, policy, entry, wanted),
        Ok(came) => prove(now, seen, policy, entry, &came),
    }
}

fn came<'a>(seen: &'a Seen, entry: &'a Entry) -> Result<Came<'a>, &'a Reason> {
    let Some(wanted) = &entry.wanted else { return Ok(Came::Wanted) };
    let booted = seen.booted.as_ref()?;
    Ok(if booted.is(wanted) {
        Came::Wanted
    } else if seen.bad.iter().any(|bad| bad.is(wanted)) {
        // Rolled back; on an OS that takes a release with any reboot it may never have been let go for.
        Came::Before(wanted)
    } else if entry.let_go.is_none() {
        Came::Interrupted
    } else if entry.from.as_ref().is_none_or(|from| booted.is(from)) {
        Came::Before(wanted)
    } else {
        Came::Another(booted)
    })
}

/// All has been good for the time that the gate asks for; otherwise what is missing.
pub(super) fn gate(now: Time, seen: &Seen, policy: &Policy) -> Result<(), Blocked> {
    if let Some(blocked) = gates::health(seen).or_else(|| gates::node(seen)) {
        return Err(blocked);
    }
    let next = "the node has been good long enough";
    match seen.good_since.map(|since| (since, Time(since.0 + policy.health_gate))) {
        Some((_, at)) if at <= now => Ok(()),
        Some((since, at)) => {
            let message = format!("the node is good since {since} and must be so for {}", human(policy.health_gate));
            Err(Blocked { reason: Reason::new("gate", message), next, at: Some(at) })
        }
        None => {
            let reason = Reason::new("gate", "since when the node is good is not known yet");
            Err(Blocked { reason, next, at: None })
        }
    }
}

/// The gate is behind us.
pub(super) fn passed(policy: &Policy) -> Reason {
    Reason::new("gate-passed", format!("the node has been good for {} after its boot", human(policy.health_gate)))
}

fn prove(now: Time, seen: &Seen, policy: &Policy, entry: &Entry, came: &Came<'_>) -> Decision {
    let blocked = match gate(now, seen, policy) {
        Ok(()) => return finish(now, seen, policy, entry, came),
        Err(blocked) => blocked,
    };
    let is_late = now >= policy.good_by(seen.booted_at);
    if seen.lacking.is_empty() || !is_late {
        return Decision::idle(now, State::Gate, blocked.reason, blocked.next, blocked.at);
    }
    if let Some(bad) = to_leave(now, seen, policy, entry) {
        let message = format!(
            "release {} has not got good within {} of its boot",
            bad.version,
            human(now.since(seen.booted_at).unsigned_abs())
        );
        let reason = Reason::new("rolling-back", message);
        return if !seen.bad.iter().any(|known| known.is(bad)) {
            let next = "it is remembered as bad, and the host boots the release before";
            Decision::going(State::RollingBack, reason, next, Step::RememberBad(bad.clone()))
        } else if !may_go(now, entry) {
            let entry = Entry { let_go: Some(now), ..entry.clone() };
            Decision::going(State::RollingBack, reason, "the slot is proved once more", Step::Amend(entry))
        } else {
            Decision::going(
                State::RollingBack,
                reason,
                "the host boots the release before",
                Step::Rollback(bad.clone()),
            )
        };
    }
    Decision::idle(now, State::HeldBack, blocked.reason, "it is good again, or an operator frees the slot", None)
}

fn finish(now: Time, seen: &Seen, policy: &Policy, entry: &Entry, came: &Came<'_>) -> Decision {
    let reason = match came {
        Came::Wanted | Came::Before(_) => passed(policy),
        Came::Another(booted) => Reason::new(
            "gate-passed",
            format!("another release than the wanted one runs, {}, and it is good", booted.version),
        ),
        Came::Interrupted => {
            Reason::new("interrupted", "the host went down before it was let go, and is good; its turn comes again")
        }
    };
    // It was about to go back when it came good, and the agent may have been killed right after it let the host go.
    if let Some(at) = entry.let_go.filter(|at| *at >= seen.booted_at)
        && !is_over(now, at, LET_GO_LASTS + REBOOT_COMES)
    {
        let until = Time(at.0 + LET_GO_LASTS + REBOOT_COMES);
        return Decision::idle(now, State::Gate, reason, "no reboot can come any more", Some(until));
    }
    if seen.node.as_ref().is_ok_and(|node| node.cordoned_by_us.is_some()) {
        return Decision::going(State::Gate, reason, "the node is uncordoned", Step::Uncordon);
    }
    Decision::going(State::Gate, reason, "the slot is given back", Step::Free)
}

/// The release that is to be left, where the configuration says so: it was booted for this slot, and has been bad for long enough, as far as it
/// could be looked at. A hold keeps the host up whatever runs on it.
fn to_leave<'a>(now: Time, seen: &Seen, policy: &Policy, entry: &'a Entry) -> Option<&'a Release> {
    let wanted = entry.wanted.as_ref()?;
    let runs = seen.booted.as_ref().is_ok_and(|booted| booted.is(wanted));
    let has_before = entry.from.as_ref().is_some_and(|from| !from.is(wanted));
    let bad = seen.bad_since.is_some_and(|since| is_over(now, since, BAD_FOR));
    let tried = seen.given_up.as_ref().is_some_and(|(at, _)| !is_over(now, *at, TRY_AGAIN));
    (policy.coordinate && policy.rollback && seen.orders.hold.is_none() && runs && has_before && bad && !tried)
        .then_some(wanted)
}

/// The release before runs: by a rollback of ours, or because the wanted one did not come up. The slot stays, so that the next node does not
/// try the same; another release that is wanted here goes on with it.
fn held_back(now: Time, seen: &Seen, policy: &Policy, entry: &Entry, wanted: &Release) -> Decision {
    let is_bad = seen.bad.iter().any(|bad| bad.is(wanted));
    let reason = if is_bad {
        let message = format!("release {} never got good here, and the one before runs again", wanted.version);
        Reason::new("rolled-back", message)
    } else {
        let message = format!("release {} was wanted and did not come up: the one before runs", wanted.version);
        Reason::new("not-booted", message)
    };
    let next = "another release is staged, or an operator frees the slot";
    if gate(now, seen, policy).is_ok() {
        if seen.node.as_ref().is_ok_and(|node| node.cordoned_by_us.is_some()) {
            return Decision::going(
                State::HeldBack,
                reason,
                "the node is uncordoned; its slot is kept",
                Step::Uncordon,
            );
        }
        if let Ok(Some(cause @ Cause::Update(release))) = &wanted::wanted(seen)
            && policy.coordinate
            && !release.is(wanted)
        {
            return match gates::blocked(now, seen, policy) {
                None => {
                    let entry = Entry { cordoned: entry.cordoned, ..wanted::entry(now, seen, cause) };
                    let reason = wanted::reason(seen, cause);
                    Decision::going(State::Granted, reason, "the slot is used for this release", Step::Amend(entry))
                }
                Some(blocked) => {
                    let next = format!(
                        "release {} is taken up when nothing is in its way: {}",
                        release.version, blocked.reason.message
                    );
                    Decision::idle(now, State::HeldBack, reason, &next, blocked.at)
                }
            };
        }
    }
    Decision::idle(now, State::HeldBack, reason, next, None)
}
