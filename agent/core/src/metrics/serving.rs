//! The serving certificate's series: the agent's own, and the two that a kubelet with `serverTLSBootstrap` has.

use super::{Kind, Page};
use crate::status::{CertificateState, ServingStatus};
use crate::time::Time;

/// Appends them. Nothing is told where there is no serving part.
pub(super) fn append(page: &mut Page, serving: Option<&ServingStatus>, now: Time) {
    let Some(serving) = serving else { return };
    let instant = |time: Time| time.unix() as f64;
    page.family(
        "eyewall_serving_certificate_state",
        Kind::Gauge,
        "1 for the state the kubelet's serving certificate is in.",
    );
    for state in CertificateState::ALL {
        let is = f64::from(u8::from(state == serving.state));
        page.sample("eyewall_serving_certificate_state", &[("state", state.as_str())], is);
    }
    let current = serving.current.as_ref();
    page.one(
        "eyewall_serving_certificate_not_after_timestamp_seconds",
        Kind::Gauge,
        "End of the serving certificate on disk.",
        current.map(|current| instant(current.not_after)),
    );
    page.one(
        "eyewall_serving_certificate_renew_timestamp_seconds",
        Kind::Gauge,
        "When its renewal begins.",
        current.map(|current| instant(current.renew_at)),
    );
    page.one(
        "eyewall_serving_certificate_in_force",
        Kind::Gauge,
        "1 if the kubelet serves from it, 0 if it serves with what it signed itself.",
        Some(f64::from(u8::from(serving.in_force))),
    );
    page.one(
        "eyewall_serving_certificates_installed_total",
        Kind::Counter,
        "Serving certificates installed since the agent started.",
        Some(serving.installed_total as f64),
    );
    // A kubelet that rotates by itself tells these.
    if serving.keeper != "eyewall" {
        return;
    }
    // +Inf is the kubelet's own word for "invalid or unused" (`pkg/kubelet/metrics`), and keeps alerts on a short rest quiet.
    let left = current.map_or(f64::INFINITY, |current| instant(current.not_after) - instant(now));
    page.one(
        "kubelet_certificate_manager_server_ttl_seconds",
        Kind::Gauge,
        "Seconds until the kubelet's serving certificate ends; negative if it has, +Inf if there is none. Told by eyewall in the kubelet's stead.",
        Some(left),
    );
    page.one(
        "kubelet_server_expiration_renew_errors",
        Kind::OldCounter,
        "Counter of serving certificate renewal errors. Told by eyewall in the kubelet's stead.",
        Some(serving.failures_total as f64),
    );
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::*;
    use crate::status::{CertificateView, Health, Reason};

    fn serving(keeper: &str, current: bool) -> ServingStatus {
        let at = Time::from_unix;
        ServingStatus {
            keeper: keeper.to_owned(),
            health: Health::Good,
            state: CertificateState::Valid,
            since: at(5),
            reason: Reason::new("certificate-valid", ""),
            next: String::new(),
            next_at: None,
            current: current.then(|| CertificateView {
                subject: String::new(),
                issuer: String::new(),
                serial: "01".to_owned(),
                not_before: at(1_000),
                not_after: at(2_000),
                renew_at: at(1_600),
                sha256: String::new(),
                file: String::new(),
            }),
            names: Vec::new(),
            in_force: current,
            addresses: None,
            request: None,
            installed_total: 3,
            failures_total: 2,
        }
    }

    fn told(serving: Option<&ServingStatus>, now: u64) -> String {
        let mut page = Page { text: String::new(), format: Format::Text };
        append(&mut page, serving, Time::from_unix(now));
        page.text
    }

    #[test]
    fn the_kubelets_series_go_on() {
        let (kept, none) = (serving("eyewall", true), serving("eyewall", false));
        for (name, text, line) in [
            ("left", told(Some(&kept), 1_500), "kubelet_certificate_manager_server_ttl_seconds 500"),
            ("ended", told(Some(&kept), 2_500), "kubelet_certificate_manager_server_ttl_seconds -500"),
            ("none", told(Some(&none), 1_500), "kubelet_certificate_manager_server_ttl_seconds +Inf"),
            ("errors", told(Some(&kept), 1_500), "kubelet_server_expiration_renew_errors 2"),
            ("own", told(Some(&kept), 1_500), "eyewall_serving_certificate_state{state=\"valid\"} 1"),
            ("in force", told(Some(&none), 1_500), "eyewall_serving_certificate_in_force 0"),
        ] {
            assert!(text.lines().any(|told| told == line), "{name}: {line}:\n{text}");
        }
        assert!(!told(Some(&serving("kubelet", true)), 1_500).contains("kubelet_"), "the kubelet tells them itself");
        assert!(!told(Some(&serving("nobody", true)), 1_500).contains("kubelet_"), "nobody renews it");
        assert_eq!(told(None, 1_500), "");
    }
}
