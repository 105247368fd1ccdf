//! Golden screens: `EYEWALL_WRITE_GOLDEN=1 cargo test -p eyewall-core screen` writes them again; read the diff.

use std::path::Path;

use super::*;
use crate::cert::CertView;
use crate::config::Certificates;
use crate::posture::Severity;
use crate::posture::report::Counts;
use crate::posture::summary::{PostureStatus, Short};
use crate::rotation::forecast::{Facts, Thresholds, forecasts, may_stay_off_until};
use crate::rotation::schedule;
use crate::status::{AuthorityView, CertificateView, ClockView, ConfigStatus, NodeStatus, RecoveryView, RequestView};

const HOUR: u64 = 3_600;
/// 2026-11-24T02:15:08Z.
const NOW: u64 = 1_795_486_508;

fn ago(seconds: u64) -> Time {
    Time::from_unix(NOW - seconds)
}

fn current(lived: u64) -> CertificateView {
    let start = NOW - lived;
    CertificateView {
        subject: "O=system:nodes, CN=system:node:node-a".to_owned(),
        issuer: "CN=kubernetes-ca".to_owned(),
        serial: "1f0e9d8c7b6a59483726150403020100".to_owned(),
        not_before: Time::from_unix(start),
        not_after: Time::from_unix(start + 72 * HOUR),
        renew_at: Time::from_unix(start + 45 * HOUR),
        sha256: "00".repeat(32),
        file: "/var/lib/kubelet/pki/kubelet-client-2026-11-23-14-10-08.pem".to_owned(),
    }
}

/// The forecasts that follow from the rest of `part`.
fn foresee(part: &mut CertificatesStatus) {
    let leaf = part.current.as_ref().map(|current| {
        let leaf = CertView {
            common_name: String::new(),
            organizations: Vec::new(),
            subject: String::new(),
            issuer: String::new(),
            serial: String::new(),
            not_before: current.not_before,
            not_after: current.not_after,
            client_auth: true,
            is_ca: false,
            alternative_names: 0,
            sha256: String::new(),
            public_key: Vec::new(),
        };
        let schedule = schedule(&leaf, current.not_before, [0.6, 0.67]);
        (leaf, schedule)
    });
    let facts = Facts {
        certificate: leaf.as_ref().map(|(leaf, schedule)| (leaf, *schedule)),
        authority: part.ca.as_ref().and_then(|ca| Some((ca.not_before?, ca.not_after))),
        tested: part.recovery.as_ref().and_then(|recovery| recovery.good_at),
        watched_for: Duration::from_secs(13 * HOUR),
        doubt: Some(&part.clock.reason).filter(|_| !part.clock.trusted),
    };
    let now = Time::from_unix(NOW);
    part.may_be_off_until =
        leaf.as_ref().map(|(leaf, schedule)| may_stay_off_until(leaf, schedule)).filter(|until| *until > now);
    part.forecasts = forecasts(now.0, &facts, &Thresholds::from(&Certificates::default()));
}

fn good() -> Status {
    let mut status = unforeseen();
    foresee(&mut status.certificates);
    status
}

fn unforeseen() -> Status {
    Status {
        health: Health::Good,
        posture: None,
        reboot: None,
        node: NodeStatus {
            name: Some("node-a".to_owned()),
            role: "worker".to_owned(),
            os: "fcos".to_owned(),
            boot_id: None,
        },
        agent: AgentStatus {
            version: "0.1.0".to_owned(),
            pid: 812,
            started_at: ago(13 * HOUR),
            config: ConfigStatus {
                files: vec!["/etc/eyewall/eyewall.toml".to_owned()],
                loaded_at: ago(13 * HOUR),
                refused: None,
            },
            limits: Vec::new(),
        },
        certificates: CertificatesStatus {
            owner: "eyewall".to_owned(),
            health: Health::Good,
            state: CertificateState::Valid,
            since: ago(12 * HOUR),
            reason: Reason::new("proved", "The API server knows this certificate as node-a's, and it is in force."),
            next: "A renewal begins at its point.".to_owned(),
            next_at: Some(Time::from_unix(NOW + 33 * HOUR)),
            current: Some(current(12 * HOUR)),
            request: None,
            ca: Some(AuthorityView {
                subject: "CN=kubernetes-ca".to_owned(),
                not_after: Time::from_unix(NOW + 3_650 * 24 * HOUR),
                not_before: Some(Time::from_unix(NOW)),
            }),
            may_be_off_until: None,
            recovery: Some(RecoveryView {
                health: Health::Good,
                tested_at: ago(2 * HOUR),
                reason: Reason::new("recovery-credential-good", "The API server knows the bootstrap credential."),
                good_at: Some(ago(2 * HOUR)),
            }),
            forecasts: Vec::new(),
            clock: ClockView {
                trusted: true,
                reason: Reason::new("synchronized", "The kernel says that it is synchronized."),
                skew_seconds: None,
            },
            installed_total: 1,
            failures_total: 0,
            renew_errors_total: 0,
            serving: None,
            take_over: Vec::new(),
        },
        kubelet: KubeletStatus {
            unit: "kubelet.service".to_owned(),
            active_state: Some("active".to_owned()),
            health: Health::Good,
            since: ago(12 * HOUR),
            reason: Reason::new("healthy", "The unit is active and port 10250 answers."),
            runtime: Some("podman".to_owned()),
            image: Some(ImageView {
                reference: "quay.io/poseidon/kubelet:v1.36.2".to_owned(),
                position: 0,
                passed_over: Vec::new(),
                chosen_at: ago(12 * HOUR),
                digest: None,
            }),
            main_pid: Some(977),
            restarts_total: 0,
        },
    }
}

/// `good` in another certificate state, with what goes with it.
fn in_state(state: CertificateState) -> Status {
    let mut status = good();
    let part = &mut status.certificates;
    let request = |credential: &str, attempts| {
        Some(RequestView {
            name: "node-csr-n3Jx0VqkT9uWq5mYbW1P7fY2b1r5nq3k4Gm8yq0aXhM".to_owned(),
            credential: credential.to_owned(),
            since: ago(130),
            attempts,
        })
    };
    let (health, current, open, reason) = match state {
        CertificateState::Valid => return status,
        CertificateState::Absent => (
            Health::Bad,
            None,
            None,
            ("node-name-missing", "The hostname is localhost, which no node may have. Set the hostname."),
        ),
        CertificateState::Requesting => {
            (Health::Bad, None, request("bootstrap", 1), ("no-certificate", "There is no certificate yet."))
        }
        CertificateState::PendingApproval => (
            Health::Bad,
            None,
            request("bootstrap", 1),
            ("pending-approval", "The request is on the API server and waits for its approval."),
        ),
        CertificateState::RenewalDue => (
            Health::Good,
            Some(current(46 * HOUR)),
            request("node", 1),
            ("renewal-due", "The renewal point has passed."),
        ),
        CertificateState::RenewalOverdue => (
            Health::Bad,
            Some(current(66 * HOUR)),
            request("node", 31),
            ("server-unreachable", "The API server did not answer within 10 s."),
        ),
        CertificateState::ExpiredRecovering => (
            Health::Bad,
            Some(current(75 * HOUR)),
            request("bootstrap", 2),
            ("expired", "The certificate ended while this host was off."),
        ),
        CertificateState::TokenRejected => (
            Health::Bad,
            None,
            request("bootstrap", 4),
            (
                "token-rejected",
                "The API server does not know the bootstrap token (401). Put a new one into /etc/kubernetes/kubeconfig.",
            ),
        ),
        CertificateState::Denied => (
            Health::Bad,
            None,
            request("bootstrap", 1),
            ("denied", "The request was denied: \"not\x1b[2J one of ours\"."),
        ),
        CertificateState::CaExpired => (
            Health::Bad,
            None,
            None,
            ("ca-expired", "The cluster's certificate authority has ended. Nothing on this host can help."),
        ),
        CertificateState::ClockSuspect => (
            Health::Unknown,
            Some(current(12 * HOUR)),
            None,
            ("clock-suspect", "The clock stands before this certificate's start."),
        ),
        CertificateState::ServerUnreachable => (
            Health::Bad,
            None,
            request("bootstrap", 9),
            ("connection-refused", "https://10.0.0.1:6443 refused the connection."),
        ),
    };
    part.state = state;
    part.health = health;
    part.current = current;
    part.request = open;
    part.reason = Reason::new(reason.0, reason.1);
    part.since = ago(130);
    part.next = "The next attempt.".to_owned();
    part.next_at = Some(Time::from_unix(NOW + 14));
    part.failures_total = 3;
    if state == CertificateState::ClockSuspect {
        part.clock.trusted = false;
        part.clock.reason = Reason::new("not-synchronized", "Nothing has set it since the boot.");
    }
    if state == CertificateState::CaExpired {
        let not_before = Some(ago(365 * 24 * HOUR));
        part.ca = Some(AuthorityView { subject: "CN=kubernetes-ca".to_owned(), not_after: ago(HOUR), not_before });
    }
    foresee(part);
    status.health = Status::fold(&[health, status.kubelet.health]);
    status
}

/// A container without bus, kubelet and root: everything that can be unknown is.
fn anywhere() -> Status {
    let mut status = in_state(CertificateState::Absent);
    status.node.name = None;
    status.node.os = "generic".to_owned();
    status.agent.config.files.clear();
    status.agent.config.refused = Some(Reason::new(
        "config-refused",
        "/etc/eyewall/eyewall.toml:3:1: unknown key `kubelt`; did you mean `kubelet`?",
    ));
    status.agent.limits = vec![
        Reason::new("not-root", "The agent runs as uid 1000."),
        Reason::new(
            "no-system-bus",
            "There is no D-Bus socket at /run/dbus/system_bus_socket, so the kubelet's unit cannot be watched.",
        ),
    ];
    status.certificates.owner = "kubelet".to_owned();
    status.kubelet = KubeletStatus {
        active_state: None,
        health: Health::Unknown,
        reason: Reason::new("no-system-bus", "systemd could not be asked."),
        runtime: None,
        image: None,
        main_pid: None,
        ..status.kubelet
    };
    status
}

fn fallback() -> Status {
    let mut status = good();
    status.kubelet.restarts_total = 1;
    status.kubelet.image = Some(ImageView {
        reference: format!("registry.example.com/kubelet:v1.36.2@sha256:{}", "ab".repeat(32)),
        position: 1,
        passed_over: vec![Reason::new(
            "image-not-found",
            "quay.io/poseidon/kubelet:v1.36.9 does not exist: manifest unknown.",
        )],
        chosen_at: ago(60),
        digest: None,
    });
    status
}

/// A Typhoon node of today, with the agent beside it.
fn watched() -> Status {
    let mut status = good();
    let part = &mut status.certificates;
    part.owner = "kubelet".to_owned();
    part.take_over = crate::kubelet::take_over::commands(crate::config::Owner::Kubelet, &[]);
    if let Some(image) = &mut status.kubelet.image {
        image.digest = Some(format!("sha256:{}", "ab".repeat(32)));
    }
    status
}

/// A node whose posture is not as the page says.
fn judged() -> Status {
    let mut status = fallback();
    let short = |check: &str, verdict: &str, severity, kind: &'static str, message: &str| Short {
        check: check.to_owned(),
        verdict: verdict.to_owned(),
        severity,
        reason: Reason::new(kind, message),
    };
    status.posture = Some(PostureStatus {
        health: Health::Bad,
        counts: Counts { pass: 80, fail: 2, unknown: 2, waived: 1, not_applicable: 13 },
        checked_at: Time::from_unix(NOW - 90),
        findings: vec![
            short(
                "selinux-mode",
                "fail",
                Severity::High,
                "permissive",
                "SELinux is permissive: find out who changed it.",
            ),
            short("accounts-shells", "fail", Severity::Medium, "another-shell", "An account beside core gets a shell."),
            short("ssh-keys", "unknown", Severity::High, "denied", "It may not be read.\u{1b}[2J"),
            short("second-sshd", "unknown", Severity::High, "denied", "It may not be read."),
        ],
    });
    status
}

fn check(name: &str, screen: &str, width: usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/screen/golden").join(format!("{name}.txt"));
    if std::env::var_os("EYEWALL_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, screen).expect("golden/ can be written");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(screen, golden, "{name} differs from {}", path.display());
    for line in screen.lines() {
        assert!(line.chars().count() <= width, "{name}: {line}");
        assert!(!line.chars().any(char::is_control), "{name}: {line:?}");
    }
}

#[test]
fn every_certificate_state_has_its_screen() {
    for state in CertificateState::ALL {
        let screen = render(&in_state(state), Time::from_unix(NOW), 80, false);
        let name = format!("certificate-{}", state.as_str());
        check(&name, &screen, 80);
        assert!(screen.contains(state.as_str()), "{name}");
    }
}

#[test]
fn hosts_of_other_kinds() {
    for (name, status, width) in [
        ("anywhere", anywhere(), 80),
        ("fallback-image", fallback(), 80),
        ("watched", watched(), 80),
        ("judged", judged(), 80),
        ("narrow", fallback(), NARROWEST),
        ("wide", fallback(), WIDEST),
    ] {
        check(name, &render(&status, Time::from_unix(NOW), width, false), width);
    }
}

#[test]
fn no_width_breaks_it() {
    for width in [0, 1, 39, 41, 79, 1_000] {
        let screen = render(&fallback(), Time::from_unix(NOW), width, false);
        let widest = width.clamp(NARROWEST, WIDEST);
        assert!(screen.lines().all(|l| l.chars().count() <= widest), "{width}");
    }
}

/// Colour adds escapes and changes no letter.
#[test]
fn colour_is_only_colour() {
    for status in [good(), anywhere()] {
        let now = Time::from_unix(NOW);
        let plain = render(&status, now, 80, false);
        let mut coloured = render(&status, now, 80, true);
        assert_ne!(coloured, plain);
        for code in ["0", "1", "2", "31", "32", "33"] {
            coloured = coloured.replace(&format!("\x1b[{code}m"), "");
        }
        assert_eq!(coloured, plain);
    }
}

#[test]
fn a_good_node_fits_a_small_terminal() {
    let screen = render(&good(), Time::from_unix(NOW), 80, false);
    assert!(screen.lines().count() <= 24, "{}", screen.lines().count());
}

#[test]
fn the_certificates_part_stands_alone() {
    let now = Time::from_unix(NOW);
    let bad = in_state(CertificateState::RenewalOverdue);
    let alone = render_certificates(&bad.certificates, now, 80, false);
    assert!(render(&bad, now, 80, false).contains(&alone));
    assert!(alone.starts_with("Certificate"));
    let good = good();
    let numbers = |screen: String| screen.contains("serial") && screen.contains("subject");
    assert!(numbers(render_certificates(&good.certificates, now, 80, false)), "whoever asks gets the numbers");
    assert!(!numbers(render(&good, now, 80, false)));
}
