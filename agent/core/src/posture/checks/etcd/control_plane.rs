//! The control plane of a controller: how its API server is started, how it treats a stranger, and when the admin kubeconfig ends.

use std::time::Duration;

use super::{BASE, NOTICE, is_worker, worker};
use crate::posture::checks::kubelet::certificate;
use crate::posture::checks::span::{limit, until};
use crate::posture::claim;
use crate::posture::read::argv::Argv;
use crate::posture::read::probe::HttpAnswer;
use crate::posture::read::{manifest, public};
use crate::posture::{Accepts, Check, Grade, Judged, Seen, Severity, Source, Unseen, Worth, needs};
use crate::time::human;

/// The API server's manifest: its containers' command lines.
pub const API_SERVER: Source =
    Source::rewritten("file:/etc/kubernetes/manifests/kube-apiserver.yaml", public::command_lines);
/// [`HttpAnswer`] of the API server to `GET /api` without any credential.
pub const API_ANONYMOUS: Source = Source::record("probe:apiserver-anonymous");
/// The certificate of the admin kubeconfig.
pub const ADMIN: Source = Source::rewritten("file:/etc/kubernetes/pki/admin.conf", public::client_certificate);

/// Typhoon's are made for 8760 hours.
const YEAR: Duration = Duration::from_secs(366 * 86_400);

/// The family's part.
pub const CHECKS: &[Check] = &[
    Check {
        id: "apiserver-node-restriction",
        title: "The API server of this controller has NodeRestriction on",
        claim: &claim::NODE_RESTRICTION,
        reads: &[needs(&API_SERVER)],
        judge: node_restriction,
        worth: Worth::Reports("The manifest on this controller enables the plugin, and the Node authorizer."),
        not: "That the API servers of other controllers do, or that this one runs with the manifest as it is now.",
        ..BASE
    },
    Check {
        id: "apiserver-rbac",
        title: "The API server of this controller authorizes by RBAC, and lets nobody pass by",
        claim: &claim::RBAC,
        reads: &[needs(&API_SERVER)],
        judge: rbac,
        worth: Worth::Reports(
            "The manifest on this controller lists RBAC, not AlwaysAllow, and turns anonymous requests away.",
        ),
        not: "Which roles are bound to whom.",
        ..BASE
    },
    Check {
        id: "apiserver-refuses-anonymous",
        title: "The API server turns away who does not say who it is",
        claim: &claim::RBAC,
        reads: &[needs(&API_ANONYMOUS)],
        judge: anonymous,
        worth: Worth::Proves(
            "The API server that this node talks to answered a request without a credential with 401.",
        ),
        not: "What it lets those do who say who they are.",
        ..BASE
    },
    Check {
        id: "admin-kubeconfig-end",
        title: "The admin kubeconfig's certificate is of a year's life, and does not end soon",
        claim: &claim::ADMIN_KUBECONFIG,
        severity: Severity::Medium,
        reads: &[needs(&ADMIN)],
        judge: admin,
        worth: Worth::Reports(
            "The copy on this controller has a certificate of at most a year, valid for longer than the notice.",
        ),
        not: "Who holds copies of it. Nobody can take such a certificate back.",
        expects: Accepts::Span("how long before its end this is told"),
        ..BASE
    },
];

fn api_server(seen: &Seen<'_>) -> Result<Argv, Unseen> {
    let item = seen.one(&API_SERVER)?;
    manifest::argv_of(item.text()?, "kube-apiserver").map_err(|fault| item.malformed(fault.sentence()))
}

/// A list in a flag; of several the last counts.
fn list<'a>(argv: &'a Argv, flag: &str) -> Vec<&'a str> {
    argv.value(flag).unwrap_or_default().split(',').map(str::trim).filter(|word| !word.is_empty()).collect()
}

fn node_restriction(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    if is_worker(seen) {
        return Ok(worker());
    }
    let argv = api_server(seen)?;
    let (enabled, disabled, modes) = (
        list(&argv, "enable-admission-plugins"),
        list(&argv, "disable-admission-plugins"),
        list(&argv, "authorization-mode"),
    );
    let judged = if !enabled.contains(&"NodeRestriction") || disabled.contains(&"NodeRestriction") {
        Judged::fail(
            "off",
            "The API server's manifest does not enable NodeRestriction: a kubelet's certificate can change other nodes and their pods.",
        )
    } else if argv.value("authorization-config").is_some() {
        Judged::unknown(
            "authorization-config",
            "The authorizers are in a file (--authorization-config), which is not looked into.",
        )
    } else if !modes.contains(&"Node") {
        Judged::fail(
            "no-node-authorizer",
            "NodeRestriction is on, but --authorization-mode lacks Node: kubelets have their rights from somewhere else.",
        )
    } else {
        Judged::pass(
            Grade::Configured,
            "on",
            "The API server's manifest enables NodeRestriction, and the Node authorizer.",
        )
    };
    Ok(judged.fact("enable-admission-plugins", enabled.join(",")).fact("authorization-mode", modes.join(",")))
}

fn rbac(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    if is_worker(seen) {
        return Ok(worker());
    }
    let argv = api_server(seen)?;
    let modes = list(&argv, "authorization-mode");
    // The API server's own default is to let anonymous requests in.
    let anonymous = argv.value("anonymous-auth").unwrap_or("true");
    let judged = if modes.contains(&"AlwaysAllow") {
        Judged::fail(
            "always-allow",
            "The API server's --authorization-mode has AlwaysAllow: everybody may do everything.",
        )
        .raised_to(Severity::Critical)
    } else if argv.value("authorization-config").is_some() {
        Judged::unknown(
            "authorization-config",
            "The authorizers are in a file (--authorization-config), which is not looked into.",
        )
    } else if !modes.contains(&"RBAC") {
        Judged::fail("off", "The API server's --authorization-mode lacks RBAC.")
    } else if anonymous != "false" {
        Judged::fail("anonymous", "The API server lets anonymous requests in: set --anonymous-auth=false.")
    } else {
        Judged::pass(
            Grade::Configured,
            "on",
            "The API server's manifest authorizes by RBAC, and turns anonymous requests away.",
        )
    };
    Ok(judged.fact("authorization-mode", modes.join(",")).fact("anonymous-auth", anonymous))
}

fn anonymous(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let item = seen.one(&API_ANONYMOUS)?;
    let status = item.record::<HttpAnswer>()?.status;
    Ok(match status {
        401 => Judged::pass(Grade::ProvedByBehaviour, "refused", "A request without a credential is answered with 401."),
        403 | 200..=299 => Judged::fail("anonymous-known", format!("A request without a credential is answered with {status}: the API server knows anonymous callers. Set --anonymous-auth=false.")),
        100..=599 => Judged::unknown("another-answer", format!("A request without a credential is answered with {status}, which says nothing.")),
        _ => return Err(item.malformed("That is no status of HTTP.")),
    }
    .fact("status", status.to_string()))
}

fn admin(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    if is_worker(seen) {
        return Ok(worker());
    }
    let certificate = certificate(seen.one(&ADMIN)?)?;
    let lifetime = certificate.not_after.0.duration_since(certificate.not_before.0).unwrap_or_default();
    let judged = match until(seen.now(), certificate.not_after) {
        None => Judged::fail(
            "ended",
            "The admin kubeconfig's certificate has ended: nobody gets into the cluster with it any more.",
        ),
        Some(_) if lifetime > YEAR => Judged::fail(
            "long-lived",
            format!("The admin kubeconfig's certificate was made for {}, and a year is claimed.", human(lifetime)),
        ),
        Some(left) if left < limit(seen, NOTICE) => Judged::fail(
            "ends-soon",
            format!(
                "The admin kubeconfig's certificate ends in {}: make a new one (`terraform apply` after a taint), or replace the cluster.",
                human(left)
            ),
        ),
        Some(left) => Judged::pass(
            Grade::Configured,
            "valid",
            format!("The admin kubeconfig's certificate ends in {}.", human(left)),
        ),
    };
    Ok(judged.fact("subject", &certificate.subject).fact("not-after", certificate.not_after.to_string()))
}
