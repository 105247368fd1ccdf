//! Is this host good enough to let another one go, or to go itself: the kubelet, its certificate, its Node, and a posture that is no worse than it was
//! before the reboot.

use std::collections::BTreeSet;

use super::NodeSeen;
use crate::posture::Report;
use crate::status::{Health, Reason};

/// The parts that make a host good, as they were last seen.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// The certificate's health and its reason; none before the first look.
    pub certificate: Option<(Health, &'a Reason)>,
    /// The kubelet's.
    pub kubelet: Option<(Health, &'a Reason)>,
    /// The checks that [`failing`] finds now; none before the first look.
    pub failed_now: Option<&'a BTreeSet<String>>,
    /// The checks that failed before the reboot; none: there is no reboot to compare with, so the posture is not asked for more than a look.
    pub failed_before: Option<&'a BTreeSet<String>>,
    /// The own Node.
    pub node: &'a Result<NodeSeen, Reason>,
}

/// What is not good, each with its reason; empty: all is. What could not be looked at is not good.
pub fn lacking(parts: &Parts<'_>) -> Vec<Reason> {
    let mut lacking = Vec::new();
    let unlooked = |what: &str| Reason::new("not-looked-yet", format!("{what} has not been looked at yet"));
    for (what, part) in [("the certificate", parts.certificate), ("the kubelet", parts.kubelet)] {
        match part {
            None => lacking.push(unlooked(what)),
            Some((health, reason)) if health != Health::Good => lacking.push(reason.clone()),
            Some(_) => {}
        }
    }
    match parts.node {
        Err(reason) => lacking.push(reason.clone()),
        Ok(node) if !node.ready => {
            lacking.push(Reason::new("node-not-ready", "the Node's condition Ready is not True"));
        }
        Ok(_) => {}
    }
    match (parts.failed_now, parts.failed_before) {
        (None, _) => lacking.push(unlooked("the posture")),
        (Some(now), Some(before)) => {
            let worse: Vec<String> = now.difference(before).cloned().collect();
            if !worse.is_empty() {
                lacking.push(Reason::new(
                    "posture-worse",
                    format!("checks fail that did not before the reboot: {}", worse.join(", ")),
                ));
            }
        }
        (Some(_), None) => {}
    }
    lacking
}

/// The checks that fail, of those that count.
pub fn failing(report: &Report) -> BTreeSet<String> {
    report
        .findings
        .iter()
        .filter(|finding| finding.health(report.counts_from) == Health::Bad)
        .map(|finding| finding.check.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lacks() {
        let good = Reason::new("good", "");
        let bad = Reason::new("kubelet-wedged", "");
        let ready = Ok(NodeSeen { unschedulable: true, cordoned_by_us: None, ready: true });
        let unready = Ok(NodeSeen { unschedulable: false, cordoned_by_us: None, ready: false });
        let away = Err(Reason::new("server-unreachable", ""));
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let (none, one, two) = (names(&[]), names(&["a"]), names(&["a", "b"]));
        let all = Parts {
            certificate: Some((Health::Good, &good)),
            kubelet: Some((Health::Good, &good)),
            failed_now: Some(&one),
            failed_before: None,
            node: &ready,
        };
        for (name, parts, want) in [
            ("all is good; a cordon is no fault", all, vec![]),
            ("no look yet", Parts { certificate: None, ..all }, vec!["not-looked-yet"]),
            ("nobody looked at the posture", Parts { failed_now: None, ..all }, vec!["not-looked-yet"]),
            ("unknown is not good", Parts { kubelet: Some((Health::Unknown, &bad)), ..all }, vec!["kubelet-wedged"]),
            ("not ready", Parts { node: &unready, ..all }, vec!["node-not-ready"]),
            (
                "everything at once",
                Parts { node: &away, kubelet: Some((Health::Bad, &bad)), ..all },
                vec!["kubelet-wedged", "server-unreachable"],
            ),
            ("the same findings as before", Parts { failed_before: Some(&one), ..all }, vec![]),
            ("fewer than before", Parts { failed_before: Some(&two), ..all }, vec![]),
            ("one more than before", Parts { failed_before: Some(&none), ..all }, vec!["posture-worse"]),
        ] {
            let kinds: Vec<String> = lacking(&parts).into_iter().map(|reason| reason.kind).collect();
            assert_eq!(kinds, want, "{name}");
        }
    }
}
