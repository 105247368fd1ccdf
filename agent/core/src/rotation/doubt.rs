//! What the clock's verdict lets the decision do: go on, look at the clock first, or leave everything as it is.

use super::{Clock, Decision, Seen, Step, idle};
use crate::status::{CertificateState as State, Reason};
use crate::time::Time;

/// How the clock stands.
pub(super) enum Standing<'a> {
    /// It was trusted lately.
    Trusted,
    /// Nobody has looked lately.
    Unknown,
    /// It was not to be trusted when it was looked at last.
    Doubted(&'a Clock),
}

/// How the clock stands at `now`. Trust grows old, and a doubt stands until it is settled.
pub(super) fn standing(now: Time, seen: &Seen) -> Standing<'_> {
    match &seen.clock {
        Some(clock) if !clock.trusted => Standing::Doubted(clock),
        Some(clock) if clock.is_fresh(now) => Standing::Trusted,
        _ => Standing::Unknown,
    }
}

/// By a clock in doubt nothing is asked for and nothing thrown away. `state` is what the certificate's state is meanwhile.
pub(super) fn wait(now: Time, state: State, clock: &Clock) -> Decision {
    let next = "nothing is asked for by a doubtful clock; it is looked at again, and at once when it is set";
    if clock.is_fresh(now) && now < clock.again_at {
        return idle(now, state, clock.reason.clone(), next, Some(clock.again_at));
    }
    Decision { state, reason: clock.reason.clone(), next: next.to_owned(), next_at: None, step: Step::CheckClock }
}

/// The clock is looked at before anybody says that a certificate has ended or not begun.
pub(super) fn look_first(state: State) -> Decision {
    Decision {
        state,
        reason: Reason::new(
            "clock-unchecked",
            "by this host's clock the certificate is not in its life; whether that clock is right is found out first",
        ),
        next: "the clock is checked".to_owned(),
        next_at: None,
        step: Step::CheckClock,
    }
}
