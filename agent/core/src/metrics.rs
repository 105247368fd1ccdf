//! The status as metrics: the agent's own series, and the kubelet's that go silent when it no longer rotates by itself.
//!
//! Typhoon's Prometheus rules alert on `kubelet_certificate_manager_client_ttl_seconds` and
//! `kubelet_certificate_manager_client_expiration_renew_errors`; a kubelet with `rotateCertificates: false` has neither. They are told
//! here under the same names, so the alerts go on working (kubelet `pkg/kubelet/certificate/kubelet.go`).

mod forecast;
mod reboot;
mod serving;

use std::fmt::Write as _;

use crate::status::{CertificateState, Health, Status};
use crate::time::Time;

/// Which text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4: what node_exporter's textfile collector and `promtool check metrics` read.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The format that an `Accept` header asks for; text where it names none.
    pub fn accepted(accept: Option<&str>) -> Self {
        if accept.is_some_and(|accept| accept.contains("application/openmetrics-text")) {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }

    /// The media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Gauge,
    /// The name ends in `_total`.
    Counter,
    /// A counter whose name does not end in `_total`, which OpenMetrics knows no type for.
    OldCounter,
}

struct Page {
    text: String,
    format: Format,
}

impl Page {
    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let (family, kind) = match (self.format, kind) {
            (_, Kind::Gauge) => (name, "gauge"),
            (Format::Text, Kind::Counter | Kind::OldCounter) => (name, "counter"),
            (Format::OpenMetrics, Kind::Counter) => (name.strip_suffix("_total").unwrap_or(name), "counter"),
            (Format::OpenMetrics, Kind::OldCounter) => (name, "unknown"),
        };
        let _ = writeln!(self.text, "# HELP {family} {help}\n# TYPE {family} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(name);
        for (index, (label, content)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            let escaped = content.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{label}=\"{escaped}\"");
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        if value == f64::INFINITY {
            self.text.push_str(" +Inf\n");
        } else {
            let _ = writeln!(self.text, " {value}");
        }
    }

    fn one(&mut self, name: &str, kind: Kind, help: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.family(name, kind, help);
            self.sample(name, &[], value);
        }
    }
}

/// The page. A value that is not known is left out, never told as 0.
pub fn render(status: &Status, now: Time, format: Format) -> String {
    let mut page = Page { text: String::with_capacity(6_000), format };
    let certificates = &status.certificates;
    let current = certificates.current.as_ref();
    let instant = |time: Time| time.unix() as f64;
    let left = |end: Time| instant(end) - instant(now);
    let health = |health: Health| match health {
        Health::Good => Some(1.0),
        Health::Bad => Some(0.0),
        Health::Unknown => None,
    };

    page.family("eyewall_build_info", Kind::Gauge, "The version of the agent; always 1.");
    page.sample("eyewall_build_info", &[("version", &status.agent.version)], 1.0);
    page.one(
        "eyewall_node_good",
        Kind::Gauge,
        "1 if every part of the node is good; absent while one is unknown.",
        health(status.health),
    );
    page.one(
        "eyewall_start_time_seconds",
        Kind::Gauge,
        "When the agent started.",
        Some(instant(status.agent.started_at)),
    );
    let refused = f64::from(u8::from(status.agent.config.refused.is_some()));
    page.one(
        "eyewall_config_refused",
        Kind::Gauge,
        "1 while the configuration on disk is not the one in force.",
        Some(refused),
    );

    page.family("eyewall_certificate_state", Kind::Gauge, "1 for the state the kubelet's client certificate is in.");
    for state in CertificateState::ALL {
        let is = f64::from(u8::from(state == certificates.state));
        page.sample("eyewall_certificate_state", &[("state", state.as_str())], is);
    }
    page.one(
        "eyewall_certificate_not_before_timestamp_seconds",
        Kind::Gauge,
        "Start of the certificate in force.",
        current.map(|current| instant(current.not_before)),
    );
    page.one(
        "eyewall_certificate_not_after_timestamp_seconds",
        Kind::Gauge,
        "End of the certificate in force.",
        current.map(|current| instant(current.not_after)),
    );
    page.one(
        "eyewall_certificate_renew_timestamp_seconds",
        Kind::Gauge,
        "When its renewal begins.",
        current.map(|current| instant(current.renew_at)),
    );
    page.one(
        "eyewall_certificates_installed_total",
        Kind::Counter,
        "Certificates installed since the agent started.",
        Some(certificates.installed_total as f64),
    );
    page.one(
        "eyewall_certificate_attempts_failed_total",
        Kind::Counter,
        "Attempts that failed since the agent started.",
        Some(certificates.failures_total as f64),
    );
    forecast::append(&mut page, certificates, now);
    page.one(
        "eyewall_cluster_ca_not_after_timestamp_seconds",
        Kind::Gauge,
        "End of the cluster CA; no certificate lasts longer.",
        certificates.ca.as_ref().map(|ca| instant(ca.not_after)),
    );
    let trusted = f64::from(u8::from(certificates.clock.trusted));
    page.one("eyewall_clock_trusted", Kind::Gauge, "1 if something vouches for this host's clock.", Some(trusted));
    page.one(
        "eyewall_clock_skew_seconds",
        Kind::Gauge,
        "How far this host's clock was ahead of the API server's when that was asked last; negative is behind.",
        certificates.clock.skew_seconds.map(|seconds| seconds as f64),
    );

    page.one(
        "eyewall_kubelet_healthy",
        Kind::Gauge,
        "1 if the unit is active and its port answers.",
        health(status.kubelet.health),
    );
    page.one(
        "eyewall_kubelet_restarts_total",
        Kind::Counter,
        "Restarts of a wedged kubelet by the agent since it started.",
        Some(status.kubelet.restarts_total as f64),
    );
    page.one(
        "eyewall_kubelet_image_position",
        Kind::Gauge,
        "Which of the configured images runs; more than 0 is a fallback.",
        status.kubelet.image.as_ref().map(|image| f64::from(image.position)),
    );

    // A kubelet that rotates by itself tells these; twice would be a lie with another label.
    if certificates.owner == "eyewall" {
        page.one(
            "kubelet_certificate_manager_client_ttl_seconds",
            Kind::Gauge,
            "Seconds until the kubelet's client certificate ends; negative if it has, +Inf if there is none. Told by eyewall in the kubelet's stead.",
            Some(current.map_or(f64::INFINITY, |current| left(current.not_after))),
        );
        page.one(
            "kubelet_certificate_manager_client_expiration_renew_errors",
            Kind::OldCounter,
            "Counter of certificate renewal errors. Told by eyewall in the kubelet's stead.",
            Some(certificates.renew_errors_total as f64),
        );
    }
    serving::append(&mut page, certificates.serving.as_ref(), now);
    reboot::append(&mut page, status.reboot.as_ref());
    if format == Format::OpenMetrics {
        page.text.push_str("# EOF\n");
    }
    page.text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::*;

    pub(super) fn status() -> Status {
        let reason = Reason::new("x", "a \"quoted\" reason");
        let at = Time::from_unix;
        Status {
            health: Health::Unknown,
            posture: None,
            reboot: None,
            node: NodeStatus { name: None, role: "worker".to_owned(), os: "fcos".to_owned(), boot_id: None },
            agent: AgentStatus {
                version: "1.2.3\"\\".to_owned(),
                pid: 1,
                started_at: at(5),
                config: ConfigStatus { files: Vec::new(), loaded_at: at(5), refused: None },
                limits: Vec::new(),
            },
            certificates: CertificatesStatus {
                owner: "eyewall".to_owned(),
                health: Health::Good,
                state: CertificateState::Valid,
                since: at(5),
                reason: reason.clone(),
                next: String::new(),
                next_at: None,
                current: Some(CertificateView {
                    subject: String::new(),
                    issuer: String::new(),
                    serial: "01".to_owned(),
                    not_before: at(1_000),
                    not_after: at(2_000),
                    renew_at: at(1_600),
                    sha256: String::new(),
                    file: String::new(),
                }),
                request: None,
                ca: None,
                may_be_off_until: None,
                recovery: None,
                forecasts: Vec::new(),
                clock: ClockView { trusted: true, reason: reason.clone(), skew_seconds: Some(-600) },
                installed_total: 3,
                failures_total: 2,
                renew_errors_total: 4,
                serving: None,
                take_over: Vec::new(),
            },
            kubelet: KubeletStatus {
                unit: "kubelet.service".to_owned(),
                active_state: None,
                health: Health::Unknown,
                since: at(5),
                reason,
                runtime: None,
                image: None,
                main_pid: None,
                restarts_total: 1,
            },
        }
    }

    #[test]
    fn values_are_told_and_what_is_unknown_is_not() {
        let text = render(&status(), Time::from_unix(1_500), Format::Text);
        for line in [
            "eyewall_build_info{version=\"1.2.3\\\"\\\\\"} 1",
            "eyewall_certificate_state{state=\"valid\"} 1",
            "eyewall_certificate_state{state=\"expired-recovering\"} 0",
            "eyewall_certificate_renew_timestamp_seconds 1600",
            "eyewall_certificates_installed_total 3",
            "eyewall_clock_skew_seconds -600",
            "kubelet_certificate_manager_client_ttl_seconds 500",
            "kubelet_certificate_manager_client_expiration_renew_errors 4",
            "# TYPE kubelet_certificate_manager_client_expiration_renew_errors counter",
        ] {
            assert!(text.lines().any(|told| told == line), "{line}:\n{text}");
        }
        for absent in ["eyewall_node_good ", "eyewall_kubelet_healthy ", "eyewall_cluster_ca", "# EOF"] {
            assert!(!text.contains(absent), "{absent} is not known:\n{text}");
        }
    }

    #[test]
    fn open_metrics_names_its_counters_and_ends() {
        let text = render(&status(), Time::from_unix(2_500), Format::OpenMetrics);
        assert!(text.ends_with("# EOF\n"));
        for line in [
            "# TYPE eyewall_certificates_installed counter",
            "# TYPE kubelet_certificate_manager_client_expiration_renew_errors unknown",
            "kubelet_certificate_manager_client_ttl_seconds -500",
        ] {
            assert!(text.lines().any(|told| told == line), "{line}:\n{text}");
        }
        assert_eq!(Format::accepted(Some("application/openmetrics-text;version=1.0.0,*/*;q=0.1")), Format::OpenMetrics);
        assert_eq!(Format::accepted(Some("*/*")), Format::Text);
        assert_eq!(Format::accepted(None), Format::Text);
    }

    #[test]
    fn an_observer_does_not_tell_the_kubelets_series() {
        let mut status = status();
        status.certificates.owner = "kubelet".to_owned();
        let text = render(&status, Time::from_unix(1_500), Format::Text);
        assert!(!text.contains("kubelet_certificate_manager"), "{text}");
    }

    #[test]
    fn every_family_stands_once_before_its_samples() {
        for format in [Format::Text, Format::OpenMetrics] {
            let text = render(&status(), Time::from_unix(1_500), format);
            let mut seen = std::collections::BTreeSet::new();
            for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
                assert!(seen.insert(line.split(' ').nth(2)), "{line} twice");
            }
        }
    }
}
