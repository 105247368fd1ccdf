//! A status for tests.

use eyewall_core::status::*;
use eyewall_core::time::Time;

/// A worker as it should be.
pub fn status() -> Status {
    let at = Time::from_unix(1_795_486_508);
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
            pid: 42,
            started_at: at,
            config: ConfigStatus { files: Vec::new(), loaded_at: at, refused: None },
            limits: Vec::new(),
        },
        certificates: CertificatesStatus {
            owner: "eyewall".to_owned(),
            health: Health::Good,
            state: CertificateState::Valid,
            since: at,
            reason: Reason::new("valid", "The certificate is in force."),
            next: "It is renewed.".to_owned(),
            next_at: None,
            current: None,
            request: None,
            ca: None,
            may_be_off_until: None,
            recovery: None,
            forecasts: Vec::new(),
            clock: ClockView {
                trusted: true,
                reason: Reason::new("synchronized", "The clock is synchronized."),
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
            since: at,
            reason: Reason::new("healthy", "It answers."),
            runtime: Some("podman".to_owned()),
            image: None,
            main_pid: Some(7),
            restarts_total: 0,
        },
    }
}
