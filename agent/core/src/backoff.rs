//! How long to wait after a failure. Pure: the count and the random draw come in.

use std::time::Duration;

/// Doubling from `first` to `cap`, with jitter so that a rack that lost its API server does not come back in step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// Never more than this, jitter included.
    pub cap: Duration,
}

impl Backoff {
    /// A backoff of seconds.
    pub const fn seconds(first: u64, cap: u64) -> Self {
        Self { first: Duration::from_secs(first), cap: Duration::from_secs(cap) }
    }

    /// The wait after `failures` failures in a row (1 is the first); `draw` in 0..1 spreads it over 80-120 %.
    pub fn delay(&self, failures: u32, draw: f64) -> Duration {
        let doubled = self.first.saturating_mul(1 << failures.saturating_sub(1).min(16));
        // A draw that is none (NaN, infinite) must not become a panic or a wait of nothing.
        let draw = if (0.0..=1.0).contains(&draw) { draw } else { 0.5 };
        let spread = 0.8 + 0.4 * draw;
        doubled.min(self.cap).mul_f64(spread).min(self.cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_its_cap() {
        let backoff = Backoff::seconds(1, 60);
        for (failures, draw, milliseconds) in [
            (0, 0.5, 1_000),
            (1, 0.5, 1_000),
            (2, 0.5, 2_000),
            (2, 0.0, 1_600),
            (2, 1.0, 2_400),
            (6, 0.5, 32_000),
            (7, 1.0, 60_000),
            (4_000_000, 0.0, 48_000),
        ] {
            let got = backoff.delay(failures, draw);
            assert_eq!(got.as_millis(), milliseconds, "{failures} failures, draw {draw}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_zero_and_never_over_the_cap(failures in proptest::num::u32::ANY, draw in proptest::num::f64::ANY) {
            let backoff = Backoff::seconds(2, 300);
            let got = backoff.delay(failures, draw);
            proptest::prop_assert!(got >= Duration::from_millis(1_600) && got <= backoff.cap);
        }
    }
}
