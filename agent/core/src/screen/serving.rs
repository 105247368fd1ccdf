//! The serving certificate's lines, below the client certificate's.

use super::paint::{Page, Style, clean};
use super::{bar, health, moment, reason, since};
use crate::status::{CertificateState, ServingStatus};
use crate::time::Time;

pub(super) fn part(page: &mut Page, part: &ServingStatus, now: Time) {
    let (plain, symbol, _) = health(part.health);
    let style = match part.state {
        CertificateState::Valid => Style::Good,
        CertificateState::Absent
        | CertificateState::Requesting
        | CertificateState::PendingApproval
        | CertificateState::RenewalDue => Style::Warn,
        _ => plain,
    };
    let label = format!("{symbol} {}", part.state.as_str());
    page.heading("Serving", style, &label, &format!("for {}", since(part.since, now)));
    if let Some(current) = &part.current {
        let life = bar::Life { start: current.not_before, renew_at: current.renew_at, end: current.not_after, now };
        page.item("life", &life.sentence());
    }
    page.item("why", &reason(&part.reason));
    let next = match part.next_at {
        Some(at) => format!("{} ({})", clean(&part.next), moment(at, now)),
        None => clean(&part.next),
    };
    page.item("next", &next);
    if let Some(request) = &part.request {
        page.item("request", &format!("{}, for {}", clean(&request.name), since(request.since, now)));
    }
    if let Some(current) = &part.current {
        page.item("for", &clean(&part.names.join(", ")));
        page.item("serial", &clean(&current.serial));
        page.item("file", &clean(&current.file));
    }
    if let Some(addresses) = part.addresses.as_ref().filter(|addresses| **addresses != part.names) {
        page.item("node", &format!("has {}", clean(&addresses.join(", "))));
    }
    let keeper = match part.keeper.as_str() {
        "eyewall" => "eyewall renews it",
        "kubelet" => "the kubelet renews it and eyewall only watches",
        _ => "nobody renews it",
    };
    let force =
        if part.in_force { "the kubelet serves from it" } else { "the kubelet serves with what it signed itself" };
    page.item(
        "owner",
        &format!(
            "{keeper}; {force}; {} installed and {} failed since the agent started",
            part.installed_total, part.failures_total
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{CertificateView, Health, Reason, RequestView};

    fn shown(serving: &ServingStatus) -> String {
        let mut page = Page::new(100, false);
        part(&mut page, serving, Time::from_unix(1_795_500_000));
        page.finish()
    }

    #[test]
    fn a_person_sees_what_is_missing() {
        let at = Time::from_unix;
        let pending = ServingStatus {
            keeper: "eyewall".to_owned(),
            health: Health::Unknown,
            state: CertificateState::PendingApproval,
            since: at(1_795_496_400),
            reason: Reason::new("approval-pending", "the request waits for an approver"),
            next: "the request is watched on".to_owned(),
            next_at: Some(at(1_795_500_030)),
            current: None,
            names: Vec::new(),
            in_force: false,
            addresses: Some(vec!["node-a".to_owned(), "10.0.0.1".to_owned()]),
            request: Some(RequestView {
                name: "node-csr-1".to_owned(),
                credential: "node".to_owned(),
                since: at(1_795_496_400),
                attempts: 12,
            }),
            installed_total: 0,
            failures_total: 0,
        };
        let want = "\
Serving     ? pending-approval for 1h00m
  why       the request waits for an approver [approval-pending]
  next      the request is watched on (2026-11-24T06:00:30Z, in 30s)
  request   node-csr-1, for 1h00m
  node      has node-a, 10.0.0.1
  owner     eyewall renews it; the kubelet serves with what it signed itself; 0 installed and 0
            failed since the agent started
";
        assert_eq!(shown(&pending), want, "{}", shown(&pending));
        let names = vec!["node-a".to_owned(), "10.0.0.1".to_owned()];
        let valid = ServingStatus {
            health: Health::Good,
            state: CertificateState::Valid,
            reason: Reason::new("certificate-valid", "valid until 2026-11-27T02:15:08Z"),
            next: "it is renewed".to_owned(),
            next_at: Some(at(1_795_650_000)),
            current: Some(CertificateView {
                subject: "O=system:nodes, CN=system:node:node-a".to_owned(),
                issuer: "CN=kubernetes-ca".to_owned(),
                serial: "0abc".to_owned(),
                not_before: at(1_795_486_508),
                not_after: at(1_795_745_708),
                renew_at: at(1_795_650_000),
                sha256: String::new(),
                file: "/var/lib/kubelet/pki/kubelet-server-2026-11-24-02-15-08.pem".to_owned(),
            }),
            names: names.clone(),
            in_force: true,
            addresses: Some(names),
            request: None,
            installed_total: 1,
            ..pending
        };
        let text = shown(&valid);
        for line in [
            "Serving     ● valid for 1h00m",
            "  for       node-a, 10.0.0.1",
            "  file      /var/lib/kubelet/pki/kubelet-server-2026-11-24-02-15-08.pem",
            "  owner     eyewall renews it; the kubelet serves from it; 1 installed and 0 failed since the agent",
        ] {
            assert!(text.lines().any(|told| told == line), "{line}:\n{text}");
        }
        assert!(!text.contains("  node "), "the addresses are told once:\n{text}");
    }
}
