//! What must be so before a slot is taken, in this order: no hold, window, the wait after a cycle that was given up, health, Node, certificate. Whether
//! a slot is free is asked last, so that nobody holds one up who cannot use it.

use std::time::Duration;

use super::policy::{Policy, TRY_AGAIN, is_over};
use super::seen::{Hold, Seen};
use super::window::Opening;
use crate::status::Reason;
use crate::time::{Time, human};

/// Something is in the way.
pub(super) struct Blocked {
    pub(super) reason: Reason,
    pub(super) next: &'static str,
    pub(super) at: Option<Time>,
}

impl Blocked {
    fn new(reason: Reason, next: &'static str, at: Option<Time>) -> Self {
        Self { reason, next, at }
    }
}

/// What is in the way of taking a slot, if anything; the slot itself aside.
pub(super) fn blocked(now: Time, seen: &Seen, policy: &Policy) -> Option<Blocked> {
    if let Some(hold) = &seen.orders.hold {
        return Some(Blocked::new(held(hold), "an operator releases the hold", None));
    }
    if let Some(closed) = window(now, policy, policy.window_left()) {
        return Some(closed);
    }
    if let Some((at, why)) = &seen.given_up {
        let again = Time(at.0 + TRY_AGAIN.mul_f64(1.0 + 0.2 * policy.draw(*at)));
        if now < again && !is_over(now, *at, TRY_AGAIN * 2) {
            let reason = Reason::new("given-up", format!("the last try was given up at {at}: {}", why.message));
            return Some(Blocked::new(reason, "it is tried again", Some(again)));
        }
    }
    health(seen).or_else(|| node(seen)).or_else(|| certificate(now, seen, policy.certificate_at_the_grant()))
}

/// A hold as a reason.
pub(super) fn held(hold: &Hold) -> Reason {
    Reason::new("hold", format!("uid {} keeps this host up since {}: {}", hold.uid, hold.since, hold.why))
}

/// No window is open, or not for so long.
pub(super) fn window(now: Time, policy: &Policy, left: Duration) -> Option<Blocked> {
    let opening = policy.windows.at(now);
    if opening.lasts(now, left) {
        return None;
    }
    let next = "the window opens";
    Some(match opening {
        Opening::Open { until } => {
            let reason = Reason::new("window", "the maintenance window ends too soon to begin in it");
            Blocked::new(reason, "the window closes, and the next one opens", until)
        }
        Opening::Closed { until: Some(until) } => {
            let reason = Reason::new("window", format!("no maintenance window is open before {until}"));
            Blocked::new(reason, next, Some(until))
        }
        Opening::Closed { until: None } => {
            let reason = Reason::new("window", "no maintenance window is in sight: look at reboot.windows");
            Blocked::new(reason, next, None)
        }
    })
}

/// Something of the host is not good.
pub(super) fn health(seen: &Seen) -> Option<Blocked> {
    lacking(seen).map(|reason| Blocked::new(reason, "it is good again", None))
}

/// What is lacking, as one reason.
pub(super) fn lacking(seen: &Seen) -> Option<Reason> {
    let first = seen.lacking.first()?;
    let more = match seen.lacking.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    Some(Reason::new("health", format!("this host is not good: {}: {}{more}", first.kind, first.message)))
}

/// The own Node is not known.
pub(super) fn node(seen: &Seen) -> Option<Blocked> {
    let reason = seen.node.as_ref().err()?;
    Some(Blocked::new(reason.clone(), "the Node is read again", None))
}

/// The certificate is not known, or ends too soon and cannot be renewed. One that can is renewed with the slot in hand.
pub(super) fn certificate(now: Time, seen: &Seen, wanted: Duration) -> Option<Blocked> {
    let Some(until) = seen.certificate_until else {
        let reason = Reason::new("certificate", "the end of the kubelet's certificate is not known");
        return Some(Blocked::new(reason, "the kubelet has a certificate", None));
    };
    if !is_short(now, until, wanted) {
        return None;
    }
    let (_, why) = seen.renewal_refused.as_ref()?;
    let message = format!(
        "the kubelet's certificate ends at {until}, {} must be left for a reboot, and it cannot be renewed: {}",
        human(wanted),
        why.message
    );
    Some(Blocked::new(Reason::new("certificate", message), "the certificate is renewed", None))
}

/// Less than `wanted` is left.
pub(super) fn is_short(now: Time, until: Time, wanted: Duration) -> bool {
    until.0 < now.0 + wanted
}
