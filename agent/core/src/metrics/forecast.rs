//! The forecasts' series: how much is left, from when on it is a warning, and whether it is one.

use super::{Kind, Page};
use crate::status::{CertificatesStatus, ForecastKind, Health};
use crate::time::Time;

/// Appends them. What cannot be judged has no sample.
pub(super) fn append(page: &mut Page, certificates: &CertificatesStatus, now: Time) {
    let seconds = |time: Time| time.unix() as f64;
    let of = |kind: ForecastKind| certificates.forecasts.iter().find(|forecast| forecast.kind == kind);
    let at = |kind| of(kind).and_then(|forecast| forecast.at).map(seconds);
    let threshold =
        |kind| of(kind).filter(|forecast| forecast.threshold_seconds > 0).map(|f| f.threshold_seconds as f64);
    page.one(
        "eyewall_may_stay_off_seconds",
        Kind::Gauge,
        "For how long this host may stay off from now and come back by its certificate alone; negative if it may no more.",
        at(ForecastKind::Off).map(|until| until - seconds(now)),
    );
    page.one(
        "eyewall_may_stay_off_threshold_seconds",
        Kind::Gauge,
        "Less than this is a warning.",
        threshold(ForecastKind::Off),
    );
    page.one(
        "eyewall_recovery_tested_age_seconds",
        Kind::Gauge,
        "How long ago the bootstrap credential was last found good.",
        at(ForecastKind::Recovery).map(|tested| seconds(now) - tested),
    );
    page.one(
        "eyewall_recovery_tested_threshold_seconds",
        Kind::Gauge,
        "More than this is a warning.",
        threshold(ForecastKind::Recovery),
    );
    page.one(
        "eyewall_cluster_ca_left_seconds",
        Kind::Gauge,
        "How much of the cluster CA's life is left; negative if it has ended.",
        at(ForecastKind::Authority).map(|end| end - seconds(now)),
    );
    page.one(
        "eyewall_cluster_ca_threshold_seconds",
        Kind::Gauge,
        "Less than this is a warning.",
        threshold(ForecastKind::Authority),
    );
    let judged: Vec<_> = certificates.forecasts.iter().filter(|forecast| forecast.health != Health::Unknown).collect();
    if judged.is_empty() {
        return;
    }
    page.family(
        "eyewall_forecast_alert",
        Kind::Gauge,
        "1 while a forecast is past its threshold; absent while it cannot be judged.",
    );
    for forecast in judged {
        let alert = f64::from(u8::from(forecast.health == Health::Bad));
        page.sample("eyewall_forecast_alert", &[("forecast", forecast.kind.as_str())], alert);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::status;
    use super::super::{Format, render};
    use super::*;
    use crate::status::{Forecast, Reason};

    #[test]
    fn what_is_known_is_told_and_what_is_not_is_absent() {
        let forecast = |kind, health, at: Option<u64>, threshold_seconds| Forecast {
            kind,
            health,
            at: at.map(Time::from_unix),
            threshold_seconds,
            reason: Reason::new("x", ""),
        };
        let mut status = status();
        status.certificates.forecasts = vec![
            forecast(ForecastKind::Off, Health::Bad, Some(1_900), 600),
            forecast(ForecastKind::Recovery, Health::Unknown, None, 900),
            forecast(ForecastKind::Authority, Health::Good, Some(9_000), 800),
        ];
        let text = render(&status, Time::from_unix(1_500), Format::Text);
        for line in [
            "eyewall_may_stay_off_seconds 400",
            "eyewall_may_stay_off_threshold_seconds 600",
            "eyewall_recovery_tested_threshold_seconds 900",
            "eyewall_cluster_ca_left_seconds 7500",
            "eyewall_cluster_ca_threshold_seconds 800",
            "eyewall_forecast_alert{forecast=\"off\"} 1",
            "eyewall_forecast_alert{forecast=\"authority\"} 0",
        ] {
            assert!(text.lines().any(|told| told == line), "{line}:\n{text}");
        }
        for absent in ["eyewall_recovery_tested_age_seconds", "forecast=\"recovery\""] {
            assert!(!text.contains(absent), "{absent} is not known:\n{text}");
        }
    }
}
