//! Which event a change of the certificate's state is. Pure: a table.

use eyewall_core::event::{self, Event};
use eyewall_core::status::CertificateState as State;

/// The event that tells that the state is now `state` for `kind`; `None` where another event tells it already
/// (an installation, a request, the certificate's end).
pub fn event(state: State, kind: &str) -> Option<&'static Event> {
    Some(match (state, kind) {
        (_, "hostname-is-localhost" | "hostname-is-empty" | "hostname-is-invalid" | "node-name-is-invalid") => {
            &event::NODE_NAME_MISSING
        }
        (_, "credential-rejected") => &event::BOOTSTRAP_TOKEN_REJECTED,
        (_, "request-denied" | "request-failed") => &event::CERTIFICATE_DENIED,
        (_, "authority-expired") => &event::CA_EXPIRED,
        (_, "approval-pending" | "signature-pending") => &event::CERTIFICATE_PENDING,
        (State::ClockSuspect, _) => &event::CLOCK_SUSPECT,
        (_, kind) if is_of_the_clock(kind) => &event::CLOCK_SUSPECT,
        (State::Valid, _)
        | (State::Requesting, "certificate-absent" | "certificate-not-yet-valid")
        | (State::ExpiredRecovering, "certificate-expired") => return None,
        (
            State::RenewalDue,
            "renewal-due" | "renewal-asked" | "less-left-than-asked" | "node-name-changed" | "authority-changed",
        ) => &event::CERTIFICATE_RENEWAL_DUE,
        (State::RenewalOverdue, "renewal-overdue") => &event::CERTIFICATE_RENEWAL_OVERDUE,
        (State::Absent, "certificate-absent") => &event::CERTIFICATE_STATE_CHANGED,
        _ => &event::CERTIFICATE_FAILED,
    })
}

/// Is the clock what stands in the way?
pub fn is_of_the_clock(kind: &str) -> bool {
    matches!(
        kind,
        "clock-impossible" | "clock-differs-from-server" | "clock-unchecked" | "server-certificate-out-of-time"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_story_of_each_change() {
        for (state, kind, want) in [
            (State::Valid, "certificate-valid", None),
            (State::Requesting, "certificate-absent", None),
            (State::Requesting, "request-deleted", Some("certificate-failed")),
            (State::Requesting, "request-of-another", Some("certificate-failed")),
            (State::PendingApproval, "approval-pending", Some("certificate-pending")),
            (State::RenewalDue, "renewal-due", Some("certificate-renewal-due")),
            (State::RenewalDue, "server-unreachable", Some("certificate-failed")),
            (State::RenewalDue, "credential-rejected", Some("bootstrap-token-rejected")),
            (State::ServerUnreachable, "server-untrusted", Some("certificate-failed")),
            (State::ClockSuspect, "clock-differs-from-server", Some("clock-suspect")),
            (State::RenewalDue, "clock-impossible", Some("clock-suspect")),
            (State::RenewalDue, "server-certificate-out-of-time", Some("clock-suspect")),
            (State::ServerUnreachable, "server-certificate-expired", Some("certificate-failed")),
            (State::Absent, "hostname-is-localhost", Some("node-name-missing")),
            (State::Absent, "bootstrap-kubeconfig-missing", Some("certificate-failed")),
            (State::CaExpired, "authority-expired", Some("ca-expired")),
            (State::Denied, "request-denied", Some("certificate-denied")),
            (State::Denied, "request-failed", Some("certificate-denied")),
            (State::Denied, "request-forbidden", Some("certificate-failed")),
            (State::ExpiredRecovering, "certificate-expired", None),
            (State::ExpiredRecovering, "request-deleted", Some("certificate-failed")),
        ] {
            assert_eq!(event(state, kind).map(|event| event.name), want, "{state:?} {kind}");
        }
    }
}
