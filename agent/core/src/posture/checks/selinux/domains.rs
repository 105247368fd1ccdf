//! Who runs in which domain, and what was denied.

use serde::{Deserialize, Serialize};

use super::{mode_promised, nothing_to_judge, permissive_by_design};
use crate::posture::read::selinux::Context;
use crate::posture::{Grade, Item, Judged, Seen, Source, Unseen};
use crate::time::Time;

/// The contexts of the processes that matter: a [`Contexts`].
pub const CONTEXTS: Source = Source::record("proc:contexts");
/// The contexts of the pods' containers: a [`PodContexts`].
pub const POD_CONTEXTS: Source = Source::record("proc:pod-contexts");
/// Denials from the audit log or the audit netlink group: a [`Denials`].
pub const DENIALS: Source = Source::record("node:selinux-denials");

/// `/proc/PID/attr/current` of four processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contexts {
    /// The agent's own.
    pub agent: String,
    /// systemd's.
    pub init: String,
    /// containerd's; `None` if it does not run.
    pub containerd: Option<String>,
    /// The kubelet's; `None` if it does not run.
    pub kubelet: Option<String>,
}

/// Every container of a pod, by the cgroup of its first process and the names under `/var/log/pods`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PodContexts {
    /// In no order.
    pub containers: Vec<ContainerContext>,
}

/// One container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerContext {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The context of its first process.
    pub context: String,
}

/// What was denied lately.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Denials {
    /// `audit-log`, `journal`, `netlink`, or `none`.
    pub stream: String,
    /// Why there is no stream: the right that is lacking.
    pub lacks: Option<String>,
    /// Since when denials are counted.
    pub since: Time,
    /// How many, those that the agent itself causes left out.
    pub count: u64,
    /// Those that were let through because the mode or a domain is permissive.
    pub permissive: u64,
    /// The last ones; at most 16.
    pub recent: Vec<DenialView>,
}

/// One denial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenialView {
    /// When.
    pub at: Time,
    /// The domain that was denied.
    pub source: String,
    /// The type of what it wanted.
    pub target: String,
    /// `file { read }`.
    pub access: String,
    /// Let through.
    pub permissive: bool,
}

fn contexts(seen: &Seen<'_>) -> Result<Contexts, Unseen> {
    seen.record(&CONTEXTS)
}

fn domain<'t>(item: Item<'_>, context: &'t str) -> Result<&'t str, Unseen> {
    match Context::parse(context) {
        Some(context) => Ok(context.domain),
        None => Err(item.malformed(format!("{context:?} is no context."))),
    }
}

pub(super) fn own(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    if mode_promised(seen).is_none() {
        return Ok(nothing_to_judge());
    }
    let contexts = contexts(seen)?;
    let item = seen.one(&CONTEXTS)?;
    let (agent, init) = (domain(item, &contexts.agent)?, domain(item, &contexts.init)?);
    let stayed = agent == init || matches!(agent, "init_t" | "kernel_t" | "unlabeled_t");
    let judged = if stayed {
        Judged::fail(
            "not-transitioned",
            format!(
                "The agent runs as {agent}, a domain that is not for services: the label of its program is wrong, or the policy forbids the \
                 transition under NoNewPrivileges. Run `restorecon` on the program, and restart it."
            ),
        )
    } else {
        Judged::pass(Grade::ProvedByBehaviour, "own-domain", format!("systemd runs as {init}, the agent as {agent}."))
    };
    let judged = judged.fact("agent", &contexts.agent).fact("init", &contexts.init);
    let others = [("containerd", &contexts.containerd), ("kubelet", &contexts.kubelet)];
    Ok(others
        .iter()
        .fold(judged, |judged, (name, context)| judged.fact(name, context.as_deref().unwrap_or("not running"))))
}

pub(super) fn runtime(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    match mode_promised(seen) {
        None => return Ok(nothing_to_judge()),
        Some("permissive") => return Ok(permissive_by_design()),
        Some(_) => {}
    }
    let contexts = contexts(seen)?;
    let item = seen.one(&CONTEXTS)?;
    let Some(context) = &contexts.containerd else {
        return Ok(Judged::unknown(
            "not-running",
            "containerd does not run, so nothing can be told of its domain: start it.",
        ));
    };
    let domain = domain(item, context)?;
    let judged = if domain == "container_runtime_t" || seen.allowed().any(|allowed| allowed == domain) {
        Judged::pass(Grade::ProvedByBehaviour, "runtime-domain", format!("containerd runs as {domain}."))
    } else {
        Judged::fail(
            "another-domain",
            format!(
                "containerd runs as {domain} and not as container_runtime_t, so the containers it starts may not be confined: check the label of \
                 its program (`ls -Z`) and `enable_selinux` in its configuration."
            ),
        )
    };
    Ok(judged.fact("containerd", context))
}

pub(super) fn pods(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    match mode_promised(seen) {
        None => return Ok(nothing_to_judge()),
        Some("permissive") => return Ok(permissive_by_design()),
        Some(_) => {}
    }
    let item = seen.one(&POD_CONTEXTS)?;
    let contexts: PodContexts = item.record()?;
    let mut unconfined = Vec::new();
    let mut exempt = 0_usize;
    for container in &contexts.containers {
        let domain = domain(item, &container.context)?;
        let free =
            domain == "spc_t" || domain.starts_with("unconfined") || matches!(domain, "init_t" | "container_runtime_t");
        let allowed =
            container.namespace == "kube-system" || seen.allowed().any(|namespace| namespace == container.namespace);
        match (free, allowed) {
            (true, true) => exempt += 1,
            (true, false) => unconfined.push(format!("{}/{} as {domain}", container.namespace, container.pod)),
            (false, _) => {}
        }
    }
    let judged = if unconfined.is_empty() {
        Judged::pass(Grade::ProvedByBehaviour, "confined", "No pod outside of kube-system is unconfined.")
    } else {
        Judged::fail(
            "unconfined-pods",
            "Pods outside of kube-system run unconfined: find out who made them privileged, or allow their namespace in [posture] expect.",
        )
    };
    Ok(judged
        .facts("pod", &unconfined)
        .fact("containers", contexts.containers.len().to_string())
        .fact("exempt", exempt.to_string()))
}

pub(super) fn denials(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let Some(promised) = mode_promised(seen) else { return Ok(nothing_to_judge()) };
    let item = seen.one(&DENIALS)?;
    let denials: Denials = item.record()?;
    let judged = match denials.stream.as_str() {
        "none" => Judged::unknown(
            "stream-unavailable",
            format!(
                "Denials cannot be read ({}). On Fedora CoreOS they are in /var/log/audit/audit.log only.",
                denials.lacks.as_deref().unwrap_or("no audit log, no journal, no netlink group")
            ),
        ),
        "audit-log" | "journal" | "netlink" if denials.permissive > 0 && promised == "enforcing" => Judged::fail(
            "let-through",
            format!(
                "{} denials since {} were only warnings: the mode was permissive, or a domain is. See selinux-permissive-domains.",
                denials.permissive, denials.since
            ),
        ),
        "audit-log" | "journal" | "netlink" => Judged::pass(
            Grade::ProvedByBehaviour,
            "heard",
            format!(
                "{} denials since {}, each of them enforced where the mode enforces.",
                denials.count, denials.since
            ),
        ),
        _ => return Err(item.malformed("It names no stream of denials.")),
    };
    let judged = judged.fact("stream", &denials.stream).fact("count", denials.count.to_string());
    Ok(denials.recent.iter().fold(judged, |judged, denial| {
        let through = if denial.permissive { " (let through)" } else { "" };
        judged
            .fact(&denial.at.to_string(), format!("{} -> {} {}{through}", denial.source, denial.target, denial.access))
    }))
}
