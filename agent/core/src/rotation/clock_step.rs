//! A clock that is set: how that is seen, what it makes void, and how often it is worth a look.

use std::time::Duration;

use jiff::SignedDuration;

use super::{Attempt, Outcome};
use crate::time::Time;

/// Smaller steps move no date that a certificate has.
const WORTH_A_LOOK: Duration = Duration::from_secs(1);
/// So many steps in a row are looked at, at once; an honest host has one, when its time service first answers.
const AT_ONCE: u32 = 6;
/// After that one in this time: a clock that two services fight over must not become a flood of questions.
const ONE_IN: Duration = Duration::from_secs(10);

/// Two clocks read together: the one that people set, and the one that nobody can. They run at the same speed, also while the
/// kernel slews them, so only a step moves them against each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// CLOCK_REALTIME.
    pub wall: Time,
    /// CLOCK_BOOTTIME: since the boot, suspension included.
    pub since_boot: Duration,
}

impl Reading {
    /// How far the clock was set ahead between `before` and this (back, if negative).
    pub fn set_since(&self, before: &Self) -> SignedDuration {
        let elapsed = SignedDuration::try_from(self.since_boot.saturating_sub(before.since_boot));
        self.wall.since(before.wall).saturating_sub(elapsed.unwrap_or(SignedDuration::MAX))
    }
}

/// Is a clock that was set so far another clock?
pub fn is_worth_a_look(set: SignedDuration) -> bool {
    set.unsigned_abs() >= WORTH_A_LOOK
}

/// Spares those who look from a clock that is set all the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepBudget {
    /// When the budget is whole again.
    whole_at: Duration,
}

impl StepBudget {
    /// How long to wait before a step that is seen at `now` (since the boot) is looked at; the look is taken off the budget.
    pub fn wait(&mut self, now: Duration) -> Duration {
        let whole_at = self.whole_at.max(now);
        self.whole_at = whole_at + ONE_IN;
        whole_at.saturating_sub(now + ONE_IN * (AT_ONCE - 1))
    }
}

/// An instant of the past by the clock before it was set `set` ahead, by the clock that says `now`. It stays in the past: what was
/// noted by the new clock before the step was noticed must not be moved into the future.
pub fn after_step(at: Time, set: SignedDuration, now: Time) -> Time {
    at.moved(set).min(now)
}

impl Attempt {
    /// The attempt as it stands after the clock was set `set` ahead: its wait goes on for as long as it was to last, so a
    /// `Retry-After` is neither cut short nor drawn out. `None` where the clock itself may have been the trouble. `now` is by the new
    /// clock.
    #[must_use]
    pub fn after_step(mut self, set: SignedDuration, now: Time) -> Option<Self> {
        match self.outcome {
            Outcome::OutOfTime(_) | Outcome::ServerExpired(_) | Outcome::NotYet(_) => None,
            _ => {
                self.at = after_step(self.at, set, now);
                Some(self)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Identity;
    use super::super::tests::{T0, attempt};
    use super::*;

    fn reading(wall: u64, since_boot: u64) -> Reading {
        Reading { wall: Time::from_unix(wall), since_boot: Duration::from_secs(since_boot) }
    }

    #[test]
    fn a_step_is_what_the_two_clocks_differ_by() {
        for (name, before, after, want) in [
            ("time goes by", reading(T0, 10), reading(T0 + 60, 70), 0),
            ("set ahead", reading(T0, 10), reading(T0 + 660, 70), 600),
            ("set back", reading(T0, 10), reading(T0 - 540, 70), -600),
            ("suspended for a day", reading(T0, 10), reading(T0 + 86_400, 86_410), 0),
            ("from 1970", reading(5, 5), reading(T0, 10), T0 as i64 - 10),
        ] {
            assert_eq!(after.set_since(&before).as_secs(), want, "{name}");
        }
        for (name, milliseconds, want) in
            [("nothing", 0, false), ("little", 999, false), ("a second", 1_000, true), ("a second back", -1_000, true)]
        {
            assert_eq!(is_worth_a_look(SignedDuration::from_millis(milliseconds)), want, "{name}");
        }
    }

    #[test]
    fn the_first_steps_are_free_and_a_fight_is_not() {
        let mut budget = StepBudget::default();
        let mut looks = Vec::new();
        // A step every second, each looked at when the budget allows; those that come meanwhile are the same look.
        let (mut step, mut now) = (100, Duration::ZERO);
        while step < 220 {
            now = now.max(Duration::from_secs(step));
            now += budget.wait(now);
            looks.push(now.as_secs());
            step = now.as_secs() + 1;
        }
        assert_eq!(looks[..6], [100, 101, 102, 103, 104, 105], "the first ones at once");
        assert!(looks[6..].windows(2).all(|pair| pair[1] - pair[0] == 10), "{looks:?}");
        assert_eq!(looks.len(), 6 + 12, "{looks:?}");
        let later = Duration::from_secs(1_000);
        let free = (0..6).filter(|_| budget.wait(later).is_zero()).count();
        assert_eq!(free, 6, "whole again");
        assert_eq!(budget.wait(later), Duration::from_secs(10));
    }

    #[test]
    fn what_was_stays_in_the_past() {
        let now = Time::from_unix(T0);
        for (name, at, set, want) in [
            ("a minute before the clock was set ahead", T0 - 660, 600, T0 - 60),
            ("a minute before it was set back", T0 + 540, -600, T0 - 60),
            ("after it, and before that was noticed", T0 - 1, 600, T0),
        ] {
            let got = after_step(Time::from_unix(at), SignedDuration::from_secs(set), now);
            assert_eq!(got, Time::from_unix(want), "{name}");
        }
    }

    #[test]
    fn a_wait_is_as_long_as_it_was_to_be() {
        let words = String::new;
        for (name, outcome, survives) in [
            ("asked to wait", Outcome::Throttled(Duration::from_secs(60)), true),
            ("denied", Outcome::Denied(words()), true),
            ("away", Outcome::Unreachable(words()), true),
            ("out of time", Outcome::OutOfTime(words()), false),
            ("the server's own fault by that clock", Outcome::ServerExpired(words()), false),
            ("begins later", Outcome::NotYet(Time::from_unix(T0 + 90)), false),
        ] {
            for set in [600, -600, 700_000_000] {
                let set = SignedDuration::from_secs(set);
                let before = attempt(T0, outcome.clone(), Identity::Bootstrap, 1);
                let (now, later) = (Time::from_unix(T0 + 1), Time::from_unix(T0 + 1).moved(set));
                let left = |attempt: &Attempt, now: Time| attempt.wait(now).map(|(_, until)| until.since(now));
                let after = before.clone().after_step(set, later);
                assert_eq!(after.is_some(), survives, "{name}, {set}");
                if let Some(after) = after {
                    assert_eq!(left(&after, later), left(&before, now), "{name}, {set}");
                }
            }
        }
    }
}
