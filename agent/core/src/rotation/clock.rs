//! May this host's clock be trusted? Certificates are judged and asked for by it, so that comes first.

use std::time::{Duration, SystemTime};

use super::Clock;
use crate::status::Reason;
use crate::time::{Time, human};

/// How far the API server's clock may be away. Its signer sets certificates back by five minutes for clocks that lag; half of
/// that leaves room for the other half to be somebody else's.
pub const AGREEMENT: Duration = Duration::from_secs(150);

/// Judges by what the host's time service says (`None`: nobody to ask) and by the `Date` of the API server.
pub fn judge(now: SystemTime, synchronised: Option<bool>, server: Option<SystemTime>) -> Clock {
    let verdict = |trusted, kind, message: String| Clock { at: Time(now), trusted, reason: Reason::new(kind, message) };
    if synchronised == Some(true) {
        return verdict(
            true,
            "clock-synchronised",
            "this host's time service says that the clock is synchronised".to_owned(),
        );
    }
    let Some(server) = server else {
        return verdict(
            false,
            "clock-unchecked",
            "nothing vouches for this host's clock: its time service does not, and the API server gave no date"
                .to_owned(),
        );
    };
    let (apart, direction) = match now.duration_since(server) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    if apart <= AGREEMENT {
        verdict(true, "clock-agrees-with-server", format!("within {} of the API server's clock", human(AGREEMENT)))
    } else {
        verdict(
            false,
            "clock-differs-from-server",
            format!(
                "this host's clock ({}) is {} {direction} the API server's, and no time service vouches for it; is NTP reachable?",
                Time(now),
                human(apart)
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_vouches_for_the_clock() {
        let at = |seconds| Time::from_unix(seconds).0;
        for (name, now, synchronised, server, want) in [
            ("time service", 0, Some(true), Some(1_000_000), "clock-synchronised"),
            ("server agrees", 1_000, None, Some(1_100), "clock-agrees-with-server"),
            ("server agrees, not yet synchronised", 1_000, Some(false), Some(1_000), "clock-agrees-with-server"),
            ("at the bound", 1_150, Some(false), Some(1_000), "clock-agrees-with-server"),
            ("ahead", 1_151, Some(false), Some(1_000), "clock-differs-from-server"),
            ("1970", 12, Some(false), Some(1_795_486_508), "clock-differs-from-server"),
            ("nobody", 1_000, None, None, "clock-unchecked"),
        ] {
            let got = judge(at(now), synchronised, server.map(at));
            assert_eq!(got.reason.kind, want, "{name}");
            assert_eq!(got.trusted, matches!(want, "clock-synchronised" | "clock-agrees-with-server"), "{name}");
        }
    }
}
