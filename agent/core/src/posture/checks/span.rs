//! Ages and their limits.

use std::time::Duration;

use crate::config::parse_duration;
use crate::posture::Seen;
use crate::time::Time;

/// A clock may be set; what lies further in the future than this is not an age of nothing.
const SLACK: Duration = Duration::from_secs(600);

pub(super) const HOUR: Duration = Duration::from_secs(3_600);

/// How long ago `then` was; `None` if it is yet to come.
pub(super) fn since(now: Time, then: Time) -> Option<Duration> {
    match now.0.duration_since(then.0) {
        Ok(age) => Some(age),
        Err(ahead) => (ahead.duration() <= SLACK).then_some(Duration::ZERO),
    }
}

/// How long until `then`; `None` if it has passed.
pub(super) fn until(now: Time, then: Time) -> Option<Duration> {
    then.0.duration_since(now.0).ok()
}

/// The limit that configuration sets for the check, or the check's own.
pub(super) fn limit(seen: &Seen<'_>, default: Duration) -> Duration {
    seen.expected().and_then(parse_duration).unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_yet_to_come_has_no_age() {
        let at = Time::from_unix;
        for (now, then, age, left) in [
            (100, 40, Some(60), None),
            (100, 100, Some(0), Some(0)),
            (100, 700, Some(0), Some(600)),
            (100, 701, None, Some(601)),
        ] {
            assert_eq!(since(at(now), at(then)), age.map(Duration::from_secs), "{now} {then}");
            assert_eq!(until(at(now), at(then)), left.map(Duration::from_secs), "{now} {then}");
        }
    }
}
