//! An instant as it is told to people and machines: RFC 3339, UTC, whole seconds.

use std::fmt;
use std::time::{Duration, SystemTime};

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A wall-clock instant. Reading the clock is the daemon's business; this only carries and prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub SystemTime);

impl Time {
    /// `seconds` after 1970-01-01T00:00:00Z; what X.509 and Kubernetes count in.
    pub fn from_unix(seconds: u64) -> Self {
        Self(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    /// Seconds since 1970; 0 for anything earlier, which a clock without a battery may say.
    pub fn unix(self) -> u64 {
        self.0.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs())
    }

    /// Reads RFC 3339 (`2026-11-24T02:15:08Z`).
    ///
    /// # Errors
    /// What is wrong with the text, in one sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let stamp: jiff::Timestamp =
            text.parse().map_err(|error| format!("{text:?} is not an RFC 3339 time: {error}"))?;
        // Before 1970 there is neither a certificate nor a Kubernetes object.
        Ok(Self::from_unix(u64::try_from(stamp.as_second()).unwrap_or(0)))
    }

    /// How far this is after `other`; negative if it is before.
    pub fn since(self, other: Self) -> SignedDuration {
        // It fails only for spans that no clock can have: some 300 thousand million years.
        SignedDuration::system_until(other.0, self.0).unwrap_or(SignedDuration::MAX)
    }

    /// The instant that far after this one (before it, if negative); this one itself where the system can hold no such instant.
    #[must_use]
    pub fn moved(self, by: SignedDuration) -> Self {
        let span = by.unsigned_abs();
        let moved = if by.is_negative() { self.0.checked_sub(span) } else { self.0.checked_add(span) };
        Self(moved.unwrap_or(self.0))
    }
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Self {
        Self(time)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = i64::try_from(self.unix()).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_second(seconds) {
            Ok(stamp) => write!(f, "{stamp}"),
            // Past year 9999: no certificate and no sane clock gets here, but it must not fail.
            Err(_) => f.write_str("9999-12-31T23:59:59Z"),
        }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// A span as people say it: `71h55m`, `4m30s`, `12s`; two units at most, rounded down.
pub fn human(span: Duration) -> String {
    let seconds = span.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600, seconds / 60);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{minutes}m{:02}s", seconds % 60),
        3_600..345_600 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_reads_rfc_3339() {
        for (seconds, text) in [(0, "1970-01-01T00:00:00Z"), (1_795_486_508, "2026-11-24T02:15:08Z")] {
            let time = Time::from_unix(seconds);
            assert_eq!(time.to_string(), text);
            assert_eq!(Time::parse(text), Ok(time));
        }
        assert!(Time::parse("yesterday").is_err());
    }

    #[test]
    fn instants_are_moved_and_compared_both_ways() {
        let time = Time::from_unix(1_795_486_508);
        for (name, seconds) in [("ahead", 600), ("not", 0), ("back", -600), ("before 1970", -1_800_000_000)] {
            let by = SignedDuration::from_secs(seconds);
            assert_eq!(time.moved(by).since(time), by, "{name}");
            assert_eq!(time.since(time.moved(by)), -by, "{name}");
        }
        assert_eq!(time.moved(SignedDuration::MAX), time, "no system has such an instant");
    }

    #[test]
    fn spans_are_said_with_two_units() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m00s"),
            (3_599, "59m59s"),
            (258_900, "71h55m"),
            (345_600, "4d00h"),
            (31_536_000, "365d00h"),
        ] {
            assert_eq!(human(Duration::from_secs(seconds)), text, "{seconds}");
        }
    }
}
