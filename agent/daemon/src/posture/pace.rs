//! How often sshd is asked because something changed: soon, but neither in quick succession nor without end. Each round of questions leaves lines
//! in sshd's log and costs half a second of CPU, so a host on which something flaps must not be asked all the time.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Two rounds are at least so far apart. sshd's penalties (OpenSSH 9.8 and later: a second for each connection without a login, counted by
/// address, and without effect below fifteen) then never add up.
const APART: Duration = Duration::from_secs(10);
/// In the time of [`WINDOW`] there are no more rounds than this.
const MOST: usize = 20;
const WINDOW: Duration = Duration::from_secs(600);

/// The rounds that were.
#[derive(Debug, Default)]
pub struct Pace(VecDeque<Instant>);

impl Pace {
    /// A round was at `now`.
    pub fn note(&mut self, now: Instant) {
        self.0.push_back(now);
        while self.0.len() > MOST {
            self.0.pop_front();
        }
    }

    /// When the next may be that is wished for at `wish`.
    pub fn next(&self, wish: Instant) -> Instant {
        let after_last = self.0.back().map(|last| *last + APART);
        let after_most = if self.0.len() == MOST { self.0.front().map(|first| *first + WINDOW) } else { None };
        [Some(wish), after_last, after_most].into_iter().flatten().max().unwrap_or(wish)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_apart_and_not_without_end() {
        let start = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(pace.next(start), start, "the first is not held up");
        pace.note(start);
        assert_eq!(pace.next(start), start + APART);
        let later = start + Duration::from_secs(30);
        assert_eq!(pace.next(later), later);
        // Something changes every second, for an hour: what is asked is bounded.
        let (mut wish, mut rounds) = (start, 0_u32);
        while wish < start + Duration::from_secs(3_600) {
            let at = pace.next(wish);
            pace.note(at);
            rounds += 1;
            wish = at + Duration::from_secs(1);
        }
        assert!((100..=140).contains(&rounds), "{rounds} rounds an hour");
    }
}
