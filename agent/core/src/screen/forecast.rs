//! What is to come, on the screen: the CA's end, how long the host may stay off, and the proof of the bootstrap credential.

use super::paint::{Page, clean};
use super::{health, moment, reason, since};
use crate::status::{CertificatesStatus, Forecast, ForecastKind, Health};
use crate::time::Time;

/// The lines of it. A forecast that is a warning says so in a line of its own.
pub(super) fn part(page: &mut Page, part: &CertificatesStatus, now: Time) {
    let of = |kind: ForecastKind| part.forecasts.iter().find(|forecast| forecast.kind == kind);
    let symbol = |forecast: Option<&Forecast>| forecast.map_or("", |forecast| health(forecast.health).1);
    if let Some(ca) = &part.ca {
        let forecast = of(ForecastKind::Authority);
        let words = format!("{} {}, ends {}", symbol(forecast), clean(&ca.subject), moment(ca.not_after, now));
        page.item("ca", words.trim_start());
        warning(page, forecast);
    }
    let off = of(ForecastKind::Off);
    if let Some(off) = off.filter(|off| off.health == Health::Bad) {
        page.item("off", &format!("{} {}", health(off.health).1, reason(&off.reason)));
    } else if let Some(until) = part.may_be_off_until {
        let words = format!("{} may stay off until {}", symbol(off), moment(until, now));
        page.item("off", words.trim_start());
    }
    if let Some(recovery) = &part.recovery {
        let words = format!(
            "{} {}, tested {} ago",
            health(recovery.health).1,
            clean(&recovery.reason.message),
            since(recovery.tested_at, now)
        );
        page.item("recovery", &words);
        warning(page, of(ForecastKind::Recovery));
    }
}

fn warning(page: &mut Page, forecast: Option<&Forecast>) {
    if let Some(forecast) = forecast.filter(|forecast| forecast.health == Health::Bad) {
        page.item("", &reason(&forecast.reason));
    }
}
