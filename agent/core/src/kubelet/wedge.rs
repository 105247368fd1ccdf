//! When a kubelet that runs but does not answer is restarted. systemd restarts one that ends; nobody else restarts one that hangs.
//!
//! All instants are spans since some fixed moment of a monotonic clock, so that a jump of the wall clock restarts nothing.

use std::time::Duration;

/// How patient to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long it may be silent before it counts as wedged.
    pub silent_for: Duration,
    /// How long a container that was just run may take to answer.
    pub grace: Duration,
    /// How long a unit may take of which no start was recorded: another's unit, which pulls its image while it is active.
    pub grace_unrecorded: Duration,
    /// How many restarts there may be within [`Self::window`].
    pub budget: usize,
    /// The time over which restarts are counted.
    pub window: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            silent_for: Duration::from_secs(90),
            grace: Duration::from_secs(300),
            grace_unrecorded: Duration::from_secs(900),
            budget: 3,
            window: Duration::from_secs(3_600),
        }
    }
}

/// How far the start of an active unit has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// `eyewall kubelet` still fetches the image or waits for the kubeconfig; it has its own deadlines.
    Preparing,
    /// The container was run then.
    Recorded(Duration),
    /// Nobody wrote down a start; the unit is active since then.
    Unrecorded(Duration),
}

/// What is known of the kubelet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen<'a> {
    /// `None`: the unit is not active, and systemd's business.
    pub start: Option<Start>,
    /// Since when it does not answer; `None` if it does, or was not asked.
    pub silent_since: Option<Duration>,
    /// When it was restarted before.
    pub restarts: &'a [Duration],
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Nothing: it answers, or is not for us to judge.
    Leave,
    /// Nothing yet: it is on its way up, at most until then.
    Starting(Duration),
    /// Nothing yet: it is silent, and is wedged at this instant.
    Silent(Duration),
    /// Restart it.
    Restart,
    /// It should be restarted and must not be; the next one is allowed then.
    Spent(Duration),
}

/// Decides.
pub fn decide(now: Duration, seen: &Seen<'_>, policy: &Policy) -> Step {
    let (Some(start), Some(silent_since)) = (seen.start, seen.silent_since) else {
        return Step::Leave;
    };
    let (begun, grace) = match start {
        Start::Preparing => return Step::Starting(now + policy.grace),
        Start::Recorded(at) => (at, policy.grace),
        Start::Unrecorded(at) => (at, policy.grace_unrecorded),
    };
    // Grace ends with the first answer: silence that began after it is not the silence of a start.
    if silent_since <= begun && now < begun + grace {
        return Step::Starting(begun + grace);
    }
    let wedged_at = silent_since.max(begun) + policy.silent_for;
    if now < wedged_at {
        return Step::Silent(wedged_at);
    }
    let mut recent: Vec<Duration> = seen.restarts.iter().copied().filter(|&at| at + policy.window > now).collect();
    recent.sort_unstable();
    if recent.len() < policy.budget {
        return Step::Restart;
    }
    // With the budget full, the one that frees a place is the newest but (budget - 1).
    let frees = recent.len().saturating_sub(policy.budget.max(1));
    Step::Spent(recent.get(frees).map_or(now, |&at| at) + policy.window)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_silent_kubelet_is_restarted_in_time_and_within_the_budget() {
        let started = Some(Start::Recorded(s(100)));
        let foreign = Some(Start::Unrecorded(s(100)));
        for (name, now, start, silent, restarts, want) in [
            ("not active", 9_999, None, Some(0), &[][..], Step::Leave),
            ("answers", 9_999, started, None, &[], Step::Leave),
            ("answers, budget spent", 9_999, started, None, &[1, 2, 3], Step::Leave),
            ("pulls its image", 9_999, Some(Start::Preparing), Some(0), &[], Step::Starting(s(10_299))),
            ("just run", 399, started, Some(50), &[], Step::Starting(s(400))),
            ("never answered", 400, started, Some(50), &[], Step::Restart),
            ("foreign, just run", 999, foreign, Some(50), &[], Step::Starting(s(1_000))),
            ("foreign, never answered", 1_000, foreign, Some(50), &[], Step::Restart),
            ("answered, then silent", 240, started, Some(160), &[], Step::Silent(s(250))),
            ("answered, then silent too long", 250, started, Some(160), &[], Step::Restart),
            ("two restarts", 4_000, started, Some(3_000), &[1_000, 2_000], Step::Restart),
            ("three restarts", 4_000, started, Some(3_000), &[1_000, 2_000, 2_500], Step::Spent(s(4_600))),
            ("unsorted", 4_000, started, Some(3_000), &[2_500, 1_000, 2_000], Step::Spent(s(4_600))),
            ("more than the budget", 4_000, started, Some(3_000), &[1_000, 2_000, 2_500, 2_600], Step::Spent(s(5_600))),
            ("the oldest is out of the window", 4_600, started, Some(3_000), &[1_000, 2_000, 2_500], Step::Restart),
        ] {
            let restarts: Vec<Duration> = restarts.iter().copied().map(s).collect();
            let seen = Seen { start, silent_since: silent.map(s), restarts: &restarts };
            let got = decide(s(now), &seen, &Policy::default());
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn no_budget_is_no_restart() {
        let policy = Policy { budget: 0, ..Policy::default() };
        let seen = Seen { start: Some(Start::Recorded(s(0))), silent_since: Some(s(0)), restarts: &[] };
        assert_eq!(decide(s(9_999), &seen, &policy), Step::Spent(s(9_999 + 3_600)));
    }

    proptest::proptest! {
        /// Over any hour of a kubelet that never answers, asked every second or every ten minutes, the budget holds.
        #[test]
        fn the_budget_holds_over_every_window(step in 1_u64..600, hours in 1_u64..6) {
            let policy = Policy::default();
            let mut restarts: Vec<Duration> = Vec::new();
            let mut begun = s(0);
            let mut now = s(0);
            while now < s(hours * 3_600) {
                let seen = Seen { start: Some(Start::Recorded(begun)), silent_since: Some(begun), restarts: &restarts };
                if decide(now, &seen, &policy) == Step::Restart {
                    restarts.push(now);
                    begun = now;
                }
                now += s(step);
            }
            for window in restarts.windows(policy.budget + 1) {
                proptest::prop_assert!(window[policy.budget] - window[0] >= policy.window);
            }
            proptest::prop_assert!(!restarts.is_empty());
        }
    }
}
