//! May this host's clock be trusted? Certificates are judged and asked for by it, so that comes first.
//!
//! [`judge`] weighs what the witnesses say: the host's time service, the API server's `Date`, the dates of the server's own
//! certificate, and the instants before which it cannot be now. What it decides, and why:
//!
//! * Before the release of this program or the start of the cluster's CA no clock is right, whoever vouches for it.
//! * A clock that agrees with the server's is good for certificates, whoever keeps it: the cluster issues and checks by its own.
//! * A time service that says "synchronised" outweighs a server that is up to an hour away: nothing breaks by that (a certificate
//!   of an hour later or earlier serves), while a refusal would cut every node off whose control plane has lost its NTP. It is told.
//! * Further apart, or with a server whose certificate is out of time, one of the two witnesses is wrong, and a node cannot
//!   know which: a certificate issued by the other's clock would be no good, and asking for one the start of a flood.
//!
//! The kernel's own word (`adjtimex`) is not asked for directly: the unit's `ProtectClock=yes` forbids the call, and timedate1's
//! `NTPSynchronized` is that word.

use std::time::{Duration, SystemTime};

use jiff::SignedDuration;

use crate::backoff::Backoff;
use crate::status::Reason;
use crate::time::{Time, human};

/// How far the API server's clock may be away. Its signer sets certificates back by five minutes for clocks that lag; half of
/// that leaves room for the other half to be somebody else's.
pub const AGREEMENT: Duration = Duration::from_secs(150);
/// How far the API server's clock may be away from one that a time service keeps.
pub const ENDURED: Duration = Duration::from_secs(3_600);
/// 2026-01-01T00:00:00Z: it was later than this when this program was written.
const RELEASE: u64 = 1_767_225_600;
/// systemd-timesyncd asks at least every 2048 s (PollIntervalMaxSec=, timesyncd.conf(5)) and then touches its mark; twice that
/// without a touch is a service that has lost its server.
const MARK_LASTS: Duration = Duration::from_secs(4_096);
/// How long an answer about the clock counts.
pub const CLOCK_FRESH: Duration = Duration::from_secs(900);
/// When a doubted clock is looked at again, if nobody sets it: that is noticed at once.
const AGAIN: Backoff = Backoff::seconds(5, 60);

/// The verdict where nobody says anything.
const UNCHECKED: &str = "clock-unchecked";

/// What the host's time service says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// It keeps the clock.
    Synchronised,
    /// It does not, or not yet.
    NotSynchronised,
    /// There is nobody to ask, or no answer came.
    Silent,
}

/// What the API server shows of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// Not asked, or it does not answer.
    Silent,
    /// It answers, and its certificate is in its life by our clock. An answer may lack its date.
    Answers {
        /// The `Date` header.
        date: Option<Time>,
    },
    /// By our clock its certificate is not valid, so nothing can be asked of it.
    OutOfTime {
        /// Which end of its certificate's life is in the way.
        end: End,
        /// The `Date` that it gave to somebody who believes that certificate for the moment and hands over no credential.
        date: Option<Time>,
    },
}

/// An end of a certificate's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It begins then, later than now.
    Begins(Time),
    /// It ended then.
    Ended(Time),
    /// The verifier did not say.
    Unknown,
}

/// It cannot be earlier than this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    at: Time,
    what: &'static str,
}

impl Floor {
    /// The later of this program's release and the start of the cluster's CA (the earliest of a bundle), if there is one.
    pub fn new(authority_begins: Option<Time>) -> Self {
        let release = Self { at: Time::from_unix(RELEASE), what: "this program was written after" };
        match authority_begins {
            Some(at) if at > release.at => Self { at, what: "the cluster CA begins at" },
            _ => release,
        }
    }
}

/// All that is known when the clock is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockEvidence {
    /// What this host's clock says.
    pub now: Time,
    /// It cannot be earlier.
    pub floor: Floor,
    /// What the time service says.
    pub service: Service,
    /// What the API server shows.
    pub server: Server,
}

impl ClockEvidence {
    /// The clock stands where it cannot: nobody needs to be asked. A CA made by a clock that is ahead must not stop a good one,
    /// so what counts as agreement is allowed for.
    pub fn is_impossible(&self) -> bool {
        self.now.0 + AGREEMENT < self.floor.at.0
    }

    /// The server's word alone does not settle it.
    pub fn needs_service(&self) -> bool {
        !self.is_impossible() && !self.skew().is_some_and(|skew| is_within(skew, AGREEMENT))
    }

    /// The clock is right and the server's certificate is out of time all the same.
    pub fn is_servers_fault(&self) -> bool {
        matches!(self.server, Server::OutOfTime { .. }) && judge(self).trusted
    }

    fn skew(&self) -> Option<SignedDuration> {
        self.server.date().map(|date| self.now.since(date))
    }
}

impl Server {
    fn date(self) -> Option<Time> {
        match self {
            Self::Silent => None,
            Self::Answers { date } | Self::OutOfTime { date, .. } => date,
        }
    }
}

/// What is known of the clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    /// When that was found out, by the clock itself.
    pub at: Time,
    /// May it be trusted?
    pub trusted: bool,
    /// The evidence.
    pub reason: Reason,
    /// How far it is ahead of the API server's (behind, if negative), if that gave a date. Dates have whole seconds, and an
    /// answer takes its time: a second either way means nothing.
    pub skew: Option<SignedDuration>,
    /// Doubts in a row, this one included; 0 if it is trusted.
    pub doubts: u32,
    /// When it is looked at again while it is doubted.
    pub again_at: Time,
}

impl Clock {
    /// The verdict after the one `before` it, with the pause until the next look: doubts in a row are looked at less and
    /// less often. `draw` in 0..1 spreads them.
    #[must_use]
    pub fn following(mut self, before: Option<&Self>, draw: f64) -> Self {
        if !self.trusted {
            self.doubts = before.map_or(0, |before| before.doubts).saturating_add(1);
            self.again_at = Time(self.at.0 + AGAIN.delay(self.doubts, draw));
        }
        self
    }

    /// Not only does nobody vouch for it: a witness speaks against it.
    pub fn is_spoken_against(&self) -> bool {
        !self.trusted && self.reason.kind != UNCHECKED
    }

    /// A verdict for tests of what follows from one.
    #[cfg(test)]
    pub(crate) fn of(at: u64, trusted: bool, kind: &str) -> Self {
        let at = Time::from_unix(at);
        let doubts = u32::from(!trusted);
        Self { at, trusted, reason: Reason::new(kind, ""), skew: None, doubts, again_at: Time(at.0 + AGAIN.first) }
    }

    /// Does the verdict still count at `now`? One of the future was given before the clock was set back.
    pub fn is_fresh(&self, now: Time) -> bool {
        now.0.duration_since(self.at.0).is_ok_and(|age| age < CLOCK_FRESH)
    }
}

/// Whether systemd-timesyncd's mark, touched at `touched`, says that the clock is kept at `now`. One of the future was
/// touched before somebody set the clock back.
pub fn mark_counts(now: SystemTime, touched: SystemTime) -> bool {
    now.duration_since(touched).is_ok_and(|age| age <= MARK_LASTS)
}

/// Weighs the evidence. Pure; see the module's own words for what counts more than what.
pub fn judge(evidence: &ClockEvidence) -> Clock {
    let &ClockEvidence { now, floor, service, server } = evidence;
    let skew = evidence.skew();
    let verdict = |trusted, kind, message: String| Clock {
        at: now,
        trusted,
        reason: Reason::new(kind, message),
        skew,
        doubts: u32::from(!trusted),
        again_at: Time(now.0 + AGAIN.first),
    };
    let kept = service == Service::Synchronised;
    if evidence.is_impossible() {
        let set = if kept { "; its time service calls it synchronised, and is wrong" } else { "; is NTP reachable?" };
        return verdict(
            false,
            "clock-impossible",
            format!("this host's clock says {now}, and {} {}{set}", floor.what, floor.at),
        );
    }
    match (server, skew) {
        (_, Some(skew)) if is_within(skew, AGREEMENT) && kept => synchronised(verdict),
        (_, Some(skew)) if is_within(skew, AGREEMENT) => {
            verdict(true, "clock-agrees-with-server", format!("within {} of the API server's clock", human(AGREEMENT)))
        }
        (Server::Answers { .. }, Some(skew)) if kept && is_within(skew, ENDURED) => verdict(
            true,
            "clock-synchronised-server-differs",
            format!(
                "this host's time service says that the clock is synchronised, and the clock is {}; are both served by NTP?",
                sentence(skew)
            ),
        ),
        (_, Some(skew)) => {
            let service = if kept {
                "though its time service calls it synchronised: one of the two is wrong"
            } else {
                "and no time service vouches for it; is NTP reachable?"
            };
            verdict(
                false,
                "clock-differs-from-server",
                format!("this host's clock ({now}) is {}, {service}", sentence(skew)),
            )
        }
        (_, None) if kept => synchronised(verdict),
        (Server::OutOfTime { end, .. }, None) => {
            let end = match end {
                End::Begins(at) => format!("begins only at {at}"),
                End::Ended(at) => format!("ended at {at}"),
                End::Unknown => "is out of its time".to_owned(),
            };
            verdict(
                false,
                "server-certificate-out-of-time",
                format!(
                    "by this host's clock ({now}) the API server's certificate {end}, and no time service vouches for the clock; \
                     is NTP reachable?"
                ),
            )
        }
        (Server::Answers { .. } | Server::Silent, None) => verdict(
            false,
            UNCHECKED,
            "nothing vouches for this host's clock: its time service does not, and the API server gave no date"
                .to_owned(),
        ),
    }
}

fn is_within(skew: SignedDuration, limit: Duration) -> bool {
    skew.unsigned_abs() <= limit
}

/// `10m00s ahead of the API server's (+600 s)`
fn sentence(skew: SignedDuration) -> String {
    let direction = if skew.is_negative() { "behind" } else { "ahead of" };
    format!("{} {direction} the API server's ({:+} s)", human(skew.unsigned_abs()), skew.as_secs())
}

fn synchronised(verdict: impl Fn(bool, &'static str, String) -> Clock) -> Clock {
    verdict(true, "clock-synchronised", "this host's time service says that the clock is synchronised".to_owned())
}

#[cfg(test)]
mod tests;
