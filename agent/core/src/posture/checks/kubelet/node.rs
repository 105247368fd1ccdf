//! The node in its cluster: its taint, the pods on it, and its network.

use super::BASE;
use crate::config::Role;
use crate::posture::claim::CONTROLLER_TAINT;
use crate::posture::read::cluster::{NodeView, PodView, Pods, Taint};
use crate::posture::read::cni;
use crate::posture::{Check, Grade, Judged, Seen, Severity, Source, Unseen, Worth, needs};

/// [`NodeView`], the own Node as the API server tells it to the node's certificate.
pub const NODE: Source = Source::record("http:own-node");
/// [`Pods`]: those on the own node.
pub const PODS: Source = Source::record("http:own-pods");
/// The names of the network configurations.
pub const NETWORKS: Source = Source::listing("list:/etc/cni/net.d");
/// The network configurations: their names and plugins alone.
pub const NETWORK: Source = Source::rewritten("file:/etc/cni/net.d/*", cni::names_only);

/// The taint of a controller. Until Typhoon v1.18.4 it was called *master*.
const TAINT: &str = "node-role.kubernetes.io/controller";

/// The family's part.
pub const CHECKS: &[Check] = &[
    Check {
        id: "controller-taint",
        title: "The controller's Node has its taint",
        claim: &CONTROLLER_TAINT,
        reads: &[needs(&NODE)],
        judge: taint,
        worth: Worth::Proves(
            "The API server says that this Node has the taint node-role.kubernetes.io/controller:NoSchedule.",
        ),
        not: "That nobody takes it off and puts it on again.",
        ..BASE
    },
    Check {
        id: "controller-workloads",
        title: "Every pod on the controller tolerates its taint",
        claim: &CONTROLLER_TAINT,
        reads: &[needs(&PODS)],
        judge: workloads,
        worth: Worth::Proves("No pod runs here that does not say it may."),
        not: "That those which say so should.",
        ..BASE
    },
    Check {
        id: "cni-present",
        title: "There is a network configuration for pods",
        severity: Severity::Low,
        reads: &[needs(&NETWORKS), needs(&NETWORK)],
        judge: network,
        worth: Worth::Reports("containerd finds a network configuration, and this is the one it takes."),
        not: "That it enforces NetworkPolicy: that is the cluster's.",
        ..BASE
    },
];

fn worker() -> Judged {
    Judged::not_applicable("worker", "The taint is a controller's; this is a worker.")
}

fn taint(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    if seen.expect.role == Role::Worker {
        return Ok(worker());
    }
    let node: NodeView = seen.record(&NODE)?;
    let has = node
        .taints
        .iter()
        .any(|taint| taint.key == TAINT && matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"));
    let judged = if has {
        Judged::pass(Grade::ProvedByBehaviour, "tainted", "The Node has its taint.")
    } else if node.taints.iter().any(|taint| taint.key == "node-role.kubernetes.io/master") {
        Judged::fail(
            "old-taint",
            format!(
                "The Node has the taint of old, which pods of today do not know: `kubectl taint nodes {} {TAINT}=:NoSchedule`.",
                node.name
            ),
        )
    } else {
        Judged::fail(
            "no-taint",
            format!(
                "The Node has no taint of a controller, so any pod may land here: `kubectl taint nodes {} {TAINT}=:NoSchedule`. (A node cannot do that to itself.)",
                node.name
            ),
        )
    };
    Ok(judged.facts("taint", node.taints.iter().map(|taint| format!("{}={}:{}", taint.key, taint.value, taint.effect))))
}

fn workloads(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    if seen.expect.role == Role::Worker {
        return Ok(worker());
    }
    let Pods { pods } = seen.record(&PODS)?;
    let taint = Taint { key: TAINT.to_owned(), value: String::new(), effect: "NoSchedule".to_owned() };
    // Static pods come from a file on this host, not from the scheduler.
    let scheduled = || pods.iter().filter(|pod| !pod.mirror && !pod.is_over());
    let strange: Vec<String> = scheduled()
        .filter(|pod| !pod.tolerations.iter().any(|toleration| toleration.tolerates(&taint)))
        .map(PodView::path)
        .collect();
    let judged = if strange.is_empty() {
        Judged::pass(Grade::ProvedByBehaviour, "tolerated", "Every pod on this controller tolerates its taint.")
    } else {
        Judged::fail(
            "workload",
            "A pod runs on this controller that does not tolerate its taint: it was here before the taint, or was bound by hand. Delete it, and it goes elsewhere.",
        )
    };
    Ok(judged.facts("pod", strange).fact("pods", scheduled().count().to_string()))
}

fn network(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let mut names: Vec<&str> = seen
        .listing(&NETWORKS)?
        .iter()
        .map(|entry| entry.name.as_str())
        .filter(|name| cni::is_configuration(name))
        .collect();
    names.sort_unstable();
    let Some(first) = names.first() else {
        return Ok(Judged::fail(
            "none",
            "There is no network configuration in /etc/cni/net.d, so no pod can start: does the cluster's CNI run on this node?",
        ));
    };
    let mut networks = Vec::new();
    for name in &names {
        let item = seen.member(&NETWORK, name)?;
        let network = cni::network(item.text()?).map_err(|fault| item.malformed(fault.sentence()))?;
        networks.push(format!("{name}: {} ({})", network.name, network.plugins.join(", ")));
    }
    let sentence = format!("containerd takes {first}, the first of {} by name.", names.len());
    Ok(Judged::pass(Grade::Configured, "present", sentence).facts("network", networks))
}
