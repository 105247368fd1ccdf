//! The reboot's part of the status, from what was seen and decided.

use eyewall_core::config::{LockChoice, Reboot};
use eyewall_core::reboot::{Decision, Drain, Policy, RebootState, Seen, Slot};
use eyewall_core::status::{
    BootView, DrainView, Health, HostLockView, LockView, PendingView, RebootStatus, WindowView,
};
use eyewall_core::time::Time;

/// Of this decision.
pub fn of(
    now: Time,
    since: Time,
    config: &Reboot,
    policy: &Policy,
    seen: &Seen,
    decision: &Decision,
    host_lock: HostLockView,
) -> RebootStatus {
    RebootStatus {
        health: health(decision, &host_lock),
        state: decision.state,
        since,
        reason: decision.reason.clone(),
        next: decision.next.clone(),
        next_at: decision.next_at,
        pending: seen
            .pending
            .as_ref()
            .ok()
            .and_then(Option::as_ref)
            .map(|pending| PendingView { cause: pending.cause.clone(), since: pending.since }),
        lock: lock(config, &seen.slot),
        host_lock,
        orders: seen.orders.clone(),
        window: window(now, config, policy),
        drain: drain(&seen.drain),
        boot: BootView { id: seen.boot.0.clone(), release: seen.booted.clone().ok() },
        bad: seen.bad.clone(),
    }
}

/// Waiting is good: nothing is wrong with a host whose turn has not come.
fn health(decision: &Decision, host_lock: &HostLockView) -> Health {
    match decision.state {
        RebootState::HeldBack | RebootState::RollingBack => Health::Bad,
        RebootState::Unknown => Health::Unknown,
        RebootState::Off => Health::Good,
        _ if !host_lock.held && host_lock.reason.is_some() => Health::Unknown,
        _ => Health::Good,
    }
}

fn lock(config: &Reboot, slot: &Slot) -> LockView {
    let kind = match config.lock {
        LockChoice::Slots => "slots",
        LockChoice::Fleetlock => "fleetlock",
        LockChoice::Local => "local",
    };
    let (limit, mine, others, reason) = match slot {
        Slot::Unknown(reason) => (None, None, Vec::new(), Some(reason.clone())),
        Slot::Seen { mine, others, limit, refused } => (Some(*limit), mine.clone(), others.clone(), refused.clone()),
    };
    LockView { kind: kind.to_owned(), group: config.group.clone(), limit, mine, others, reason }
}

fn window(now: Time, config: &Reboot, policy: &Policy) -> Option<WindowView> {
    if config.windows.is_empty() {
        return None;
    }
    let opening = policy.windows.at(now);
    Some(WindowView { open: opening.is_open(), until: opening.until() })
}

fn drain(drain: &Drain) -> Option<DrainView> {
    let view = |state: &str, left: &[_], reason| DrainView { state: state.to_owned(), left: left.to_vec(), reason };
    match drain {
        Drain::NotBegun => None,
        Drain::Running { left, .. } => Some(view("running", left, None)),
        Drain::Done => Some(view("done", &[], None)),
        Drain::Failed { left, reason, .. } => Some(view("failed", left, Some(reason.clone()))),
    }
}
