//! Whether a reboot is wanted, and what for.

use super::seen::{Cause, Entry, Release, Seen};
use crate::status::Reason;
use crate::time::Time;

/// What a reboot is wanted for; `None`: none is wanted. What the OS wants goes first, and an operator's request is served by the same reboot.
///
/// # Errors
/// Nobody could be asked for what the OS wants, and no operator wants one.
pub(super) fn wanted(seen: &Seen) -> Result<Option<Cause>, &Reason> {
    let requested = seen.orders.request.as_ref().is_some_and(|request| request.boot_id == seen.boot);
    let request = requested.then_some(Cause::Request);
    match &seen.pending {
        Ok(Some(pending)) if refusal(seen, &pending.cause).is_none() => Ok(Some(pending.cause.clone())),
        Ok(_) => Ok(request),
        Err(_) if requested => Ok(request),
        Err(reason) => Err(reason),
    }
}

/// Why what the OS wants is not taken.
pub(super) fn refusal(seen: &Seen, cause: &Cause) -> Option<Reason> {
    let Cause::Update(release) = cause else { return None };
    if seen.bad.iter().any(|bad| bad.is(release)) {
        let message = format!("release {} never got good on this node and is not taken again", release.version);
        return Some(Reason::new("release-bad", message));
    }
    // To reboot for what runs already would be to reboot for ever.
    if seen.booted.as_ref().is_ok_and(|booted| booted.is(release)) {
        let message = format!("release {} is staged and is the one that runs already", release.version);
        return Some(Reason::new("release-runs", message));
    }
    None
}

/// The release of a cause, if it has one.
pub(super) fn release(cause: &Cause) -> Option<&Release> {
    match cause {
        Cause::Update(release) => Some(release),
        Cause::Required(_) | Cause::Request => None,
    }
}

/// A cause as a reason.
pub(super) fn reason(seen: &Seen, cause: &Cause) -> Reason {
    match cause {
        Cause::Update(release) => Reason::new(
            "update-staged",
            format!("release {} is staged and takes effect with a reboot", release.version),
        ),
        Cause::Required(packages) if packages.is_empty() => Reason::new("reboot-required", "the OS asks for a reboot"),
        Cause::Required(packages) => {
            Reason::new("reboot-required", format!("the OS asks for a reboot, for {}", packages.join(", ")))
        }
        Cause::Request => {
            let why = seen.orders.force.as_ref().filter(|force| force.boot_id == seen.boot).map(|force| &force.why);
            let why = why.or(seen.orders.request.as_ref().map(|request| &request.why));
            let message = why.map_or_else(
                || "an operator asked for a reboot".to_owned(),
                |why| format!("an operator asked for a reboot: {why}"),
            );
            Reason::new("reboot-requested", message)
        }
    }
}

/// The entry of a slot that is taken now, for this.
pub(super) fn entry(now: Time, seen: &Seen, cause: &Cause) -> Entry {
    Entry {
        boot_id: seen.boot.clone(),
        reason: reason(seen, cause).message,
        since: now,
        // A cordon with our annotation is ours, whichever boot it is of.
        cordoned: seen.node.as_ref().is_ok_and(|node| !node.unschedulable || node.cordoned_by_us.is_some()),
        wanted: release(cause).cloned(),
        from: seen.booted.as_ref().ok().cloned(),
        let_go: None,
    }
}

/// The entry is for this.
pub(super) fn is_for(entry: &Entry, cause: &Cause) -> bool {
    match (&entry.wanted, release(cause)) {
        (Some(one), Some(two)) => one.is(two),
        (None, None) => true,
        _ => false,
    }
}
