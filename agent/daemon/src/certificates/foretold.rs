//! The forecasts of each look, and one event for each threshold that is crossed.

use std::collections::BTreeMap;
use std::time::SystemTime;

use eyewall_core::event;
use eyewall_core::rotation::forecast::{Crossing, Facts, Thresholds, crossed, forecasts};
use eyewall_core::rotation::{Current, Policy};
use eyewall_core::status::{Forecast, ForecastKind, Health};
use eyewall_core::time::Time;
use tokio::time::Instant;

use super::Memory;
use super::observe::World;
use crate::events::Events;

/// What was told of each forecast.
#[derive(Debug)]
pub struct Foretold {
    /// Its health, with the instant that it was about.
    told: BTreeMap<ForecastKind, (Option<Health>, Option<Time>)>,
    /// For how long this run has been looking is counted from here.
    started: Instant,
}

impl Foretold {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { told: BTreeMap::new(), started: Instant::now() }
    }

    /// The forecasts of this look.
    pub fn foresee(
        &self,
        now: SystemTime,
        policy: &Policy,
        thresholds: &Thresholds,
        world: &World,
        memory: &Memory,
    ) -> Vec<Forecast> {
        let facts = Facts {
            certificate: match &world.current {
                Current::Usable { leaf, installed_at, .. } => Some((leaf, policy.schedule(leaf, *installed_at))),
                Current::Nothing | Current::Unreadable(_) | Current::Unusable(_) => None,
            },
            authority: world
                .bootstrap
                .as_ref()
                .ok()
                .and_then(|joined| Some((joined.authority.not_before?, joined.authority.not_after))),
            tested: memory.recovery.as_ref().and_then(|recovery| recovery.good_at),
            watched_for: memory.recovery_since.unwrap_or(self.started).elapsed(),
            doubt: memory.clock.as_ref().filter(|clock| !clock.trusted).map(|clock| &clock.reason),
        };
        forecasts(now, &facts, thresholds)
    }

    /// Tells each crossing, either way.
    pub fn tell(&mut self, forecasts: &[Forecast], events: &Events) {
        for Forecast { kind, health, at, reason, .. } in forecasts {
            let (before, about) = self.told.get(kind).copied().unwrap_or_default();
            // Another CA that ends soon is another warning.
            let another = *kind == ForecastKind::Authority && about.is_some() && about != *at;
            let before = if another && *health == Health::Bad { None } else { before };
            let (kept, crossing) = crossed(before, *health);
            self.told.insert(*kind, (kept, at.or(about)));
            let event = match (crossing, kind) {
                (None, _) => continue,
                // Its end itself has an event of its own.
                (Some(_), ForecastKind::Authority) if reason.kind == "authority-expired" => continue,
                (Some(Crossing::Warned), ForecastKind::Off) => &event::OFF_TIME_SHORT,
                (Some(Crossing::Good), ForecastKind::Off) => &event::OFF_TIME_GOOD,
                (Some(Crossing::Warned), ForecastKind::Recovery) => &event::RECOVERY_UNTESTED,
                (Some(Crossing::Good), ForecastKind::Recovery) => &event::RECOVERY_TESTED,
                (Some(Crossing::Warned), ForecastKind::Authority) => &event::CA_ENDING,
                (Some(Crossing::Good), ForecastKind::Authority) => &event::CA_LASTING,
            };
            let at = at.map(|at| at.to_string());
            let mut fields = vec![("kind", reason.kind.as_str())];
            match kind {
                ForecastKind::Off => fields.extend(at.as_deref().map(|at| ("until", at))),
                ForecastKind::Authority => fields.extend(at.as_deref().map(|at| ("not_after", at))),
                ForecastKind::Recovery => {}
            }
            events.emit(event, reason.message.clone(), &fields);
        }
    }
}

#[cfg(test)]
mod tests {
    use eyewall_core::status::Reason;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_crossing_is_an_event_and_another_ca_is_another_warning() {
        use Health::{Bad, Good, Unknown};
        let forecast = |kind, health, at, reason| Forecast {
            kind,
            health,
            at: Some(Time::from_unix(at)),
            threshold_seconds: 1,
            reason: Reason::new(reason, "words"),
        };
        let off = |health| forecast(ForecastKind::Off, health, 1, "x");
        let recovery = |health| forecast(ForecastKind::Recovery, health, 1, "x");
        let ca = |health, end| forecast(ForecastKind::Authority, health, end, "x");
        let ended = || forecast(ForecastKind::Authority, Bad, 7, "authority-expired");
        let events = Events::new();
        let mut foretold = Foretold::new();
        for look in [
            vec![off(Good), recovery(Unknown), ca(Good, 5)],
            vec![off(Bad), recovery(Bad), ca(Bad, 5)],
            vec![off(Bad), recovery(Bad), ca(Bad, 5)],
            vec![off(Unknown), recovery(Unknown), ca(Unknown, 5)],
            vec![off(Good), recovery(Good), ca(Bad, 6)],
            vec![ca(Good, 99)],
            vec![ended()],
        ] {
            foretold.tell(&look, &events);
        }
        let told: Vec<_> = events.recent().iter().map(|record| record.event.clone()).collect();
        let want = [
            "off-time-short",
            "recovery-untested",
            "ca-ending",
            "off-time-good",
            "recovery-tested",
            "ca-ending",
            "ca-lasting",
        ];
        assert_eq!(told, want);
    }
}
