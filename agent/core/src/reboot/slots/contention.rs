//! When to try for a slot. A slot that is freed is seen by every waiting node within milliseconds; if all of them asked at once, all but one
//! would ask in vain. So each waits a drawn part of a window first, and lets be if another was faster. How many wait is not known (a node
//! cannot write that it waits), but it shows: in how soon a freed slot is taken, and in being refused.

use std::time::Duration;

/// Few wait: the mean wait is half of this.
const LEAST: Duration = Duration::from_millis(100);
/// Many wait. A thousand nodes spread over this are 4 ms apart, less than what one PATCH takes; wider, and the last few would wait long.
const MOST: Duration = Duration::from_secs(4);
/// A slot that is taken within this is taken soon enough, however wide the window.
const SOON: Duration = Duration::from_millis(250);

/// How wide the window is, learned from the hand-overs that this node saw. Nothing depends on it but the number of requests and the time to a
/// grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contention {
    window: Duration,
    /// Asked in vain since the last hand-over.
    refused: bool,
}

impl Default for Contention {
    fn default() -> Self {
        Self { window: LEAST, refused: false }
    }
}

impl Contention {
    /// How long to wait before the try; `draw` in 0..1.
    pub fn wait(&self, draw: f64) -> Duration {
        self.window.mul_f64(if (0.0..=1.0).contains(&draw) { draw } else { 0.5 })
    }

    /// Asked in vain: others were nearer than a request takes.
    pub fn refused(&mut self) {
        self.window = self.window.saturating_mul(2).min(MOST);
        self.refused = true;
    }

    /// Another node took the slot that was freed `after` before. With `n` nodes in a window the first one comes after about 1/(n+1) of it: early
    /// in it means many, late means few. But late it is too when a thousand requests in vain keep the API server busy, and a window that then
    /// shrank as fast as it grows would stay narrow for ever (measured with `fleet`: 700 requests for a grant). So a refusal of the own tells
    /// more, and it shrinks slowly.
    pub fn taken_by_another(&mut self, after: Duration) {
        if std::mem::take(&mut self.refused) {
            return;
        }
        if after < self.window / 32 {
            self.window = self.window.saturating_mul(2).min(MOST);
        } else if after > SOON {
            self.window = (self.window * 3 / 4).max(LEAST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_grows_with_refusals_and_shrinks_when_slots_stay_free() {
        let mut contention = Contention::default();
        assert_eq!(contention.wait(0.0), Duration::ZERO);
        assert_eq!(contention.wait(1.0), LEAST);
        for broken in [f64::NAN, -1.0, 2.0, f64::INFINITY] {
            assert_eq!(contention.wait(broken), LEAST / 2, "{broken}");
        }
        for _ in 0..20 {
            contention.refused();
        }
        assert_eq!(contention.wait(1.0), MOST);
        contention.taken_by_another(MOST / 2);
        assert_eq!(contention.wait(1.0), MOST, "late, and it was refused itself");
        contention.taken_by_another(SOON);
        assert_eq!(contention.wait(1.0), MOST, "neither early nor late");
        contention.taken_by_another(MOST / 2);
        assert_eq!(contention.wait(1.0), MOST * 3 / 4, "late");
        contention.taken_by_another(Duration::from_millis(1));
        assert_eq!(contention.wait(1.0), MOST, "early");
        for _ in 0..20 {
            contention.taken_by_another(MOST);
        }
        assert_eq!(contention.wait(1.0), LEAST);
    }

    /// A thousand nodes and one slot, each hand-over played out: a PATCH takes `TAKES`, and all see its result that much later.
    #[test]
    fn a_thousand_nodes_neither_storm_nor_sleep() {
        const TAKES: Duration = Duration::from_millis(10);
        let mut state = 1_u64;
        let mut draw = || {
            // xorshift64: any spread will do, the same one in every run.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            f64::from(u32::try_from(state >> 32).unwrap()) / f64::from(u32::MAX)
        };
        let mut waiting = vec![Contention::default(); 1_000];
        let (mut grants, mut asked) = (Vec::new(), 0_usize);
        while !waiting.is_empty() {
            let waits: Vec<Duration> = waiting.iter().map(|contention| contention.wait(draw())).collect();
            let first = (0..waits.len()).min_by_key(|&index| waits[index]).unwrap();
            let (at, seen) = (waits[first], waits[first] + TAKES + TAKES);
            for (index, contention) in waiting.iter_mut().enumerate() {
                if index != first && waits[index] < seen {
                    asked += 1;
                    contention.refused();
                } else if index != first {
                    contention.taken_by_another(seen);
                }
            }
            asked += 1;
            grants.push(at + TAKES);
            waiting.swap_remove(first);
        }
        grants.sort();
        let (median, worst) = (grants[500], grants[999]);
        assert!(median <= Duration::from_millis(50), "median {median:?}");
        assert!(worst <= Duration::from_secs(1), "worst {worst:?}");
        assert!(asked <= 8_000, "{asked} requests for 1000 grants");
    }
}
