//! What is to come, and from when on it is a warning: until when the host may stay off, how old the proof of the bootstrap
//! credential is, and when the cluster's CA ends.
//!
//! Each forecast is judged at every look from instants alone, and told with instants alone, so that it changes only when there is news.

use std::time::{Duration, SystemTime};

use super::Schedule;
use crate::cert::CertView;
use crate::config::Certificates;
use crate::status::{Forecast, ForecastKind, Health, Reason};
use crate::time::{Time, human};

/// What a host needs after it is on again: it boots, trusts its clock, and its certificate is renewed and picked up by the kubelet
/// (which takes five minutes at most).
const RETURN: Duration = Duration::from_secs(900);
/// Of a certificate that lives for minutes it is at most this share.
const RETURN_SHARE: f64 = 0.05;

/// From when on there is a warning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// The host could stay off for less than this; `None`: a renewal is overdue, whatever the certificate's life is.
    pub off: Option<Duration>,
    /// The last good test of the bootstrap credential is older than this.
    pub recovery: Duration,
    /// The CA has lived this share of its life. A share and not a time, so that it fits a CA of ten years as well as one of a week.
    pub authority: f64,
}

impl From<&Certificates> for Thresholds {
    fn from(settings: &Certificates) -> Self {
        Self { off: settings.warn_off, recovery: settings.warn_recovery, authority: settings.warn_authority }
    }
}

/// What they follow from.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The certificate in force.
    pub certificate: Option<(&'a CertView, Schedule)>,
    /// Start and end of the CA of the bootstrap kubeconfig.
    pub authority: Option<(Time, Time)>,
    /// When the bootstrap credential was last found good, by this run of the agent.
    pub tested: Option<Time>,
    /// How long this run has been looking, by a clock that does not jump.
    pub watched_for: Duration,
    /// Why this host's clock cannot be trusted, if something says so.
    pub doubt: Option<&'a Reason>,
}

/// Until when a host with this certificate may stay off and still come back by it alone.
pub fn may_stay_off_until(leaf: &CertView, schedule: &Schedule) -> Time {
    let life = leaf.not_after.0.duration_since(schedule.starts_at.0).unwrap_or_default();
    Time(leaf.not_after.0 - RETURN.min(life.mul_f64(RETURN_SHARE)))
}

/// All of them, always the same ones in the same order. By a clock in doubt none is judged.
pub fn forecasts(now: SystemTime, facts: &Facts<'_>, thresholds: &Thresholds) -> Vec<Forecast> {
    let now = Time(now);
    let mut all = vec![
        off(now, facts, thresholds.off),
        recovery(now, facts, thresholds.recovery),
        authority(now, facts, thresholds.authority),
    ];
    if let Some(doubt) = facts.doubt {
        for forecast in &mut all {
            forecast.health = Health::Unknown;
            forecast.reason = doubt.clone();
        }
    }
    all
}

fn off(now: Time, facts: &Facts<'_>, threshold: Option<Duration>) -> Forecast {
    let Some((leaf, schedule)) = &facts.certificate else {
        return Forecast {
            kind: ForecastKind::Off,
            health: Health::Unknown,
            at: None,
            threshold_seconds: threshold.map_or(0, |threshold| threshold.as_secs()),
            reason: Reason::new(
                "certificate-absent",
                "there is no certificate in force: this host needs the bootstrap credential as it is",
            ),
        };
    };
    let until = may_stay_off_until(leaf, schedule);
    let threshold = threshold.unwrap_or_else(|| span(schedule.overdue_at, until));
    let (health, reason) = if span(now, until) > threshold {
        let words = format!("this host may stay off until {until} and comes back by itself with its certificate");
        (Health::Good, Reason::new("may-stay-off", words))
    } else if now < until {
        let words = format!(
            "this host may stay off until {until} only, which is less than {}: after that it needs the bootstrap credential to come back",
            human(threshold)
        );
        (Health::Bad, Reason::new("off-time-short", words))
    } else {
        let words =
            format!("since {until} this host cannot come back by its certificate: it needs the bootstrap credential");
        (Health::Bad, Reason::new("off-time-over", words))
    };
    Forecast { kind: ForecastKind::Off, health, at: Some(until), threshold_seconds: threshold.as_secs(), reason }
}

fn recovery(now: Time, facts: &Facts<'_>, threshold: Duration) -> Forecast {
    let (age, last) = match facts.tested {
        Some(at) => (span(at, now), format!("was last found good at {at}")),
        None => (facts.watched_for, "was not found good since the agent started".to_owned()),
    };
    let (health, reason) = if age > threshold {
        let words = format!(
            "the bootstrap credential {last}, longer ago than {}: should this host lose its certificate, it may not come back",
            human(threshold)
        );
        (Health::Bad, Reason::new("recovery-untested", words))
    } else if facts.tested.is_some() {
        (Health::Good, Reason::new("recovery-tested", format!("the bootstrap credential {last}")))
    } else {
        let words = "the bootstrap credential has not been tested yet";
        (Health::Unknown, Reason::new("recovery-not-tested-yet", words))
    };
    let kind = ForecastKind::Recovery;
    Forecast { kind, health, at: facts.tested, threshold_seconds: threshold.as_secs(), reason }
}

fn authority(now: Time, facts: &Facts<'_>, share: f64) -> Forecast {
    let kind = ForecastKind::Authority;
    let Some((start, end)) = facts.authority else {
        let reason = Reason::new("authority-unknown", "the CA of the bootstrap kubeconfig cannot be read");
        return Forecast { kind, health: Health::Unknown, at: None, threshold_seconds: 0, reason };
    };
    let life = span(start, end);
    // Whole seconds, as they are told.
    let threshold = Duration::from_secs(life.mul_f64((1.0 - share).clamp(0.0, 1.0)).as_secs());
    let warned = Time(end.0 - threshold);
    let (health, reason) = if now >= end {
        let words = format!("the cluster CA ended at {end}: no node gets a certificate; give the cluster a new CA");
        (Health::Bad, Reason::new("authority-expired", words))
    } else if now >= warned {
        let words = format!(
            "the cluster CA ends at {end}, and every node is cut off then: give the cluster a new CA, or replace the cluster"
        );
        (Health::Bad, Reason::new("authority-ends", words))
    } else {
        (
            Health::Good,
            Reason::new("authority-lasts", format!("the cluster CA ends at {end}; a warning comes at {warned}")),
        )
    };
    Forecast { kind, health, at: Some(end), threshold_seconds: threshold.as_secs(), reason }
}

fn span(from: Time, to: Time) -> Duration {
    to.0.duration_since(from.0).unwrap_or_default()
}

/// One threshold that was crossed, and which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crossing {
    /// A warning begins.
    Warned,
    /// It is good again.
    Good,
}

/// What to tell of a forecast that was `before` and is `now`: each crossing once. Not being able to judge is no crossing, and what
/// was good at first is no news. Returns what is to be remembered as well.
pub fn crossed(before: Option<Health>, now: Health) -> (Option<Health>, Option<Crossing>) {
    match (before, now) {
        (before, Health::Unknown) => (before, None),
        (Some(Health::Bad), Health::Good) => (Some(now), Some(Crossing::Good)),
        (Some(Health::Good | Health::Unknown) | None, Health::Bad) => (Some(now), Some(Crossing::Warned)),
        _ => (Some(now), None),
    }
}

#[cfg(test)]
mod tests {
    use super::super::schedule;
    use super::super::tests::{HOUR, POLICY, T0, leaf};
    use super::*;

    const H: Duration = Duration::from_secs(HOUR);
    const DAY: u64 = 24 * HOUR;

    fn of(settings: &Certificates) -> Thresholds {
        Thresholds::from(settings)
    }

    #[test]
    fn each_threshold_on_both_sides() {
        // Issued at T0 for 71 h 55 min; the CA lives 365 days from T0.
        type Case = (&'static str, u64, fn(&mut Facts<'_>), fn(&mut Certificates), ForecastKind, Health, &'static str);
        let cases: &[Case] = &[
            ("fresh", 0, |_| {}, |_| {}, ForecastKind::Off, Health::Good, "may-stay-off"),
            ("at its renewal point", 48 * HOUR, |_| {}, |_| {}, ForecastKind::Off, Health::Good, "may-stay-off"),
            ("overdue", 58 * HOUR, |_| {}, |_| {}, ForecastKind::Off, Health::Bad, "off-time-short"),
            ("in the margin", 71 * HOUR + 2_700, |_| {}, |_| {}, ForecastKind::Off, Health::Bad, "off-time-over"),
            ("ended", 80 * HOUR, |_| {}, |_| {}, ForecastKind::Off, Health::Bad, "off-time-over"),
            (
                "less than was wanted",
                10 * HOUR,
                |_| {},
                |c| c.warn_off = Some(H * 62),
                ForecastKind::Off,
                Health::Bad,
                "off-time-short",
            ),
            (
                "as much as was wanted",
                10 * HOUR,
                |_| {},
                |c| c.warn_off = Some(H * 61),
                ForecastKind::Off,
                Health::Good,
                "may-stay-off",
            ),
            (
                "none in force",
                0,
                |f| f.certificate = None,
                |_| {},
                ForecastKind::Off,
                Health::Unknown,
                "certificate-absent",
            ),
            ("tested", 70 * HOUR, |_| {}, |_| {}, ForecastKind::Recovery, Health::Good, "recovery-tested"),
            ("tested long ago", 73 * HOUR, |_| {}, |_| {}, ForecastKind::Recovery, Health::Bad, "recovery-untested"),
            (
                "a day is too long",
                25 * HOUR,
                |_| {},
                |c| c.warn_recovery = H * 24,
                ForecastKind::Recovery,
                Health::Bad,
                "recovery-untested",
            ),
            (
                "tested by a clock ahead",
                0,
                |f| f.tested = Some(Time::from_unix(T0 + DAY)),
                |_| {},
                ForecastKind::Recovery,
                Health::Good,
                "recovery-tested",
            ),
            (
                "not tested yet",
                0,
                |f| {
                    f.tested = None;
                    f.watched_for = H;
                },
                |_| {},
                ForecastKind::Recovery,
                Health::Unknown,
                "recovery-not-tested-yet",
            ),
            (
                "never tested",
                0,
                |f| {
                    f.tested = None;
                    f.watched_for = H * 73;
                },
                |_| {},
                ForecastKind::Recovery,
                Health::Bad,
                "recovery-untested",
            ),
            ("day 334", 334 * DAY, |_| {}, |_| {}, ForecastKind::Authority, Health::Good, "authority-lasts"),
            ("day 335", 335 * DAY, |_| {}, |_| {}, ForecastKind::Authority, Health::Bad, "authority-ends"),
            ("day 365", 365 * DAY, |_| {}, |_| {}, ForecastKind::Authority, Health::Bad, "authority-expired"),
            (
                "half of it",
                183 * DAY,
                |_| {},
                |c| c.warn_authority = 0.5,
                ForecastKind::Authority,
                Health::Bad,
                "authority-ends",
            ),
            (
                "no kubeconfig",
                0,
                |f| f.authority = None,
                |_| {},
                ForecastKind::Authority,
                Health::Unknown,
                "authority-unknown",
            ),
        ];
        let leaf = leaf("node-a");
        for (name, after, change, set, kind, health, reason) in cases {
            let mut facts = Facts {
                certificate: Some((&leaf, schedule(&leaf, Time::from_unix(T0), POLICY.renew_at))),
                authority: Some((Time::from_unix(T0), Time::from_unix(T0 + 365 * DAY))),
                tested: Some(Time::from_unix(T0)),
                watched_for: Duration::from_secs(*after),
                doubt: None,
            };
            change(&mut facts);
            let mut settings = Certificates::default();
            set(&mut settings);
            let now = Time::from_unix(T0 + after).0;
            let all = forecasts(now, &facts, &of(&settings));
            let got = all.iter().find(|forecast| forecast.kind == *kind).expect(name);
            assert_eq!((got.health, got.reason.kind.as_str()), (*health, *reason), "{name}: {got:?}");
            let doubt = Reason::new("clock-differs-from-server", "");
            facts.doubt = Some(&doubt);
            assert!(
                forecasts(now, &facts, &of(&settings)).iter().all(|f| f.health == Health::Unknown && f.reason == doubt),
                "{name}: judged by a clock in doubt"
            );
        }
    }

    #[test]
    fn a_ca_of_any_length_is_warned_of_in_its_last_twelfth() {
        let settings = of(&Certificates::default());
        for (days, warned) in [(7, 6), (60, 55), (365, 335), (3_650, 3_350)] {
            let end = Time::from_unix(T0 + days * DAY);
            let facts = Facts {
                certificate: None,
                authority: Some((Time::from_unix(T0), end)),
                tested: None,
                watched_for: Duration::ZERO,
                doubt: None,
            };
            let first = (0..days * 24).find(|hour| {
                let now = Time::from_unix(T0 + hour * HOUR).0;
                forecasts(now, &facts, &settings)[2].health == Health::Bad
            });
            assert!(
                first.is_some_and(|hour| (hour / 24).abs_diff(warned) <= 1),
                "{days} days: warned of in hour {first:?}"
            );
        }
    }

    #[test]
    fn each_crossing_is_told_once() {
        use Health::{Bad, Good, Unknown};
        let mut before = None;
        let days = [Unknown, Good, Good, Bad, Bad, Unknown, Bad, Good, Unknown, Good, Bad, Unknown, Good];
        let told: Vec<_> = days
            .into_iter()
            .map(|now| {
                let (kept, told) = crossed(before, now);
                before = kept;
                told
            })
            .collect();
        let (warned, good) = (Some(Crossing::Warned), Some(Crossing::Good));
        assert_eq!(told, [None, None, None, warned, None, None, None, good, None, None, warned, None, good]);
        assert_eq!(crossed(None, Bad), (Some(Bad), warned), "what is bad from the start is told");
    }
}
