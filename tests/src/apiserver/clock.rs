//! The clock of the stand-in: the machine's own, moved by an offset a test may change at any time.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

/// A wall clock that may be wrong on purpose.
#[derive(Debug, Default)]
pub(super) struct Clock {
    offset_ms: AtomicI64,
}

impl Clock {
    /// How far this clock is ahead of the machine's, in milliseconds; negative is behind.
    pub(super) fn set_offset_ms(&self, offset_ms: i64) {
        self.offset_ms.store(offset_ms, Ordering::Relaxed);
    }

    /// The time as this server sees it.
    pub(super) fn now(&self) -> SystemTime {
        let offset = self.offset_ms.load(Ordering::Relaxed);
        let span = Duration::from_millis(offset.unsigned_abs());
        if offset < 0 {
            machine_time().checked_sub(span).unwrap_or(SystemTime::UNIX_EPOCH)
        } else {
            machine_time() + span
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place where the stand-in reads the machine's clock")]
fn machine_time() -> SystemTime {
    SystemTime::now()
}

/// Seconds since 1970; 0 for anything earlier.
pub(super) fn unix(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// As the API server writes times in objects: `2026-11-24T02:15:08Z`.
pub fn rfc3339(time: SystemTime) -> String {
    eyewall_core::time::Time(time).to_string()
}

/// As HTTP writes times in `Date`: `Tue, 24 Nov 2026 02:15:08 GMT` (RFC 9110, 5.6.7).
pub(super) fn http_date(time: SystemTime) -> String {
    let seconds = i64::try_from(unix(time)).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds)
        .map(|stamp| stamp.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_recorded() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_486_508);
        assert_eq!(http_date(time), "Tue, 24 Nov 2026 02:15:08 GMT");
        assert_eq!(rfc3339(time), "2026-11-24T02:15:08Z");
    }

    #[test]
    fn an_offset_moves_the_clock_both_ways() {
        let clock = Clock::default();
        for (name, offset_ms) in [("ahead", 3_600_000), ("behind", -3_600_000)] {
            clock.set_offset_ms(offset_ms);
            let seen = i64::try_from(unix(clock.now())).unwrap();
            let real = i64::try_from(unix(machine_time())).unwrap();
            assert!((seen - real - offset_ms / 1000).abs() <= 1, "{name}: {seen} against {real}");
        }
    }
}
