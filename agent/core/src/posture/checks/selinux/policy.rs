//! The policy that the kernel holds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CONTEXTS, Contexts, mode_promised, nothing_to_judge, permissive_by_design};
use crate::os;
use crate::posture::read::selinux::Context;
use crate::posture::read::selinux_policy::{HEAD, Policy};
use crate::posture::{Grade, Judged, Seen, Source, Unseen};

/// The beginning of the loaded policy. Reading it needs `security { read_policy }`; one reader at a time, and each copies the whole policy
/// in the kernel, so it is read at the start and after a policy load only.
pub const POLICY: Source = Source::head("bytes:/sys/fs/selinux/policy", HEAD);
/// The policy file that is booted with, and the one that the OS ships: a [`PolicyFiles`].
pub const POLICY_FILES: Source = Source::record("node:selinux-policy-files");

/// The names of the permissive types: a [`PermissiveTypes`]. They stand megabytes into the policy, so this is made only where there are some.
pub const PERMISSIVE_TYPES: Source = Source::record("node:selinux-permissive-types");

/// What [`type_names`](crate::posture::read::selinux_policy::type_names) finds in the whole policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PermissiveTypes {
    /// By the type's number in this policy.
    pub names: BTreeMap<u32, String>,
}

/// The policy files by their hashes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyFiles {
    /// `/etc/selinux/TYPE/policy/policy.N`, the highest N.
    pub in_force: FileHash,
    /// The same under `/usr/etc` (ostree keeps there what `/etc` began as); `None` if there is no such file.
    pub shipped: Option<FileHash>,
}

/// A file by its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileHash {
    /// Its path.
    pub path: String,
    /// SHA-256 in lower-case hex.
    pub sha256: String,
}

fn policy(seen: &Seen<'_>) -> Result<Policy, Unseen> {
    let item = seen.one(&POLICY)?;
    Policy::parse(item.bytes()?).map_err(|fault| item.malformed(fault.to_string()))
}

pub(super) fn loaded(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    if mode_promised(seen).is_none() {
        return Ok(nothing_to_judge());
    }
    let contexts: Contexts = seen.record(&CONTEXTS)?;
    let (Some(agent), Some(init)) = (Context::parse(&contexts.agent), Context::parse(&contexts.init)) else {
        return Err(seen.one(&CONTEXTS)?.malformed("The agent's or systemd's context is none."));
    };
    let unlabelled = ["kernel", "kernel_t", "unlabeled_t"];
    if let Some(context) = [agent, init].iter().find(|context| unlabelled.contains(&context.domain)) {
        return Ok(Judged::fail(
            "no-policy",
            format!(
                "A process of user space runs as {:?}: no policy was loaded at boot, so SELinux confines nothing. Look at /etc/selinux and at \
                 the journal of the boot.",
                context.domain
            ),
        )
        .fact("agent", &contexts.agent)
        .fact("init", &contexts.init));
    }
    let policy = policy(seen)?;
    Ok(Judged::pass(Grade::ProvedByBehaviour, "loaded", "A policy is loaded, and processes are labelled by it.")
        .fact("version", policy.version.to_string())
        .fact("mls", policy.mls.to_string())
        .fact("unknown", format!("{:?}", policy.unknown).to_lowercase())
        .fact("init", &contexts.init))
}

pub(super) fn permissive_domains(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    match mode_promised(seen) {
        None => return Ok(nothing_to_judge()),
        Some("permissive") => return Ok(permissive_by_design()),
        Some(_) => {}
    }
    let policy = policy(seen)?;
    let allowed: Vec<&str> = seen.allowed().collect();
    // Without the names the numbers must do: they change with every policy, so a list of names then allows nothing.
    let names = seen.record::<PermissiveTypes>(&PERMISSIVE_TYPES).map(|types| types.names).unwrap_or_default();
    let name = |number: &u32| names.get(number).cloned().unwrap_or_else(|| number.to_string());
    let (known, strange): (Vec<String>, Vec<String>) =
        policy.permissive.iter().map(name).partition(|name| allowed.contains(&name.as_str()));
    let judged = if strange.is_empty() {
        let message = match known.len() {
            0 => "The loaded policy has no permissive domain.".to_owned(),
            n => format!("The loaded policy has {n} permissive domains, all of them known to be so."),
        };
        Judged::pass(Grade::ProvedByBehaviour, "none-permissive", message)
    } else {
        Judged::fail(
            "permissive-domains",
            format!(
                "{} of the policy's domains are permissive: for them nothing is enforced, though SELinux says enforcing. List them with \
                 `semanage permissive --list`, and remove the modules that make them so, or allow them in [posture] expect.",
                strange.len()
            ),
        )
    };
    Ok(judged
        .fact("permissive", policy.permissive.len().to_string())
        .facts("type", &strange)
        .facts("allowed-type", &known)
        .fact("version", policy.version.to_string()))
}

pub(super) fn origin(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    if mode_promised(seen).is_none() {
        return Ok(nothing_to_judge());
    }
    if seen.expect.os.id != os::FCOS.id {
        return Ok(Judged::not_applicable(
            "no-original",
            "Only Fedora CoreOS keeps the original of its policy beside the one in force.",
        ));
    }
    let item = seen.one(&POLICY_FILES)?;
    let files: PolicyFiles = item.record()?;
    let is_hash = |hash: &str| hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
    let Some(shipped) = files.shipped else { return Err(item.malformed("The OS's own policy file is not there.")) };
    if !is_hash(&files.in_force.sha256) || !is_hash(&shipped.sha256) {
        return Err(item.malformed("A SHA-256 is not one."));
    }
    let judged = if files.in_force.sha256 == shipped.sha256 {
        Judged::pass(Grade::Configured, "as-shipped", "The policy that is booted with is the one that the OS ships.")
    } else {
        Judged::fail(
            "policy-changed",
            "The policy in /etc differs from the one that the OS ships: a module was added or a boolean set. It will not follow updates of \
             the OS. See `semodule --list=full` and `ostree admin config-diff`.",
        )
    };
    Ok(judged.fact(&files.in_force.path, &files.in_force.sha256).fact(&shipped.path, &shipped.sha256))
}
