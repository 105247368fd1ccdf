//! From a kubelet that somebody else's unit runs to the configuration with which `eyewall kubelet` runs the same one.
//!
//! What is read is the running container's own flags: variables of the unit, of its environment files and of its drop-ins
//! are all in them as they came out.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Container;
use super::flags::{CONTAINERD, role};
use crate::config::{Config, Owner, Role};

/// `units/take-over.conf`: the drop-in that makes Typhoon's kubelet.service run `eyewall kubelet`.
pub const DROP_IN: &str = include_str!("../../../../units/take-over.conf");
/// Where it goes.
pub const DROP_IN_PATH: &str = "/etc/systemd/system/kubelet.service.d/50-eyewall.conf";
/// Where the configuration that goes with it goes.
pub const FRAGMENT_PATH: &str = "/etc/eyewall/eyewall.toml.d/50-take-over.toml";

/// What undoes the first door of the broken glass, by its documented name.
const BREAK_GLASS: &str = "break-glass.toml";

/// How an operator hands the certificate over to eyewall, as shell commands, in this order; none while eyewall owns it.
/// `files` are those that the configuration was read from.
pub fn commands(owner: Owner, files: &[String]) -> Vec<String> {
    if owner == Owner::Eyewall {
        return Vec::new();
    }
    match files.iter().find(|file| file.ends_with(BREAK_GLASS)) {
        // `eyewall kubelet` is in the unit already.
        Some(file) => vec![format!("rm {file}"), "systemctl restart kubelet".to_owned()],
        None => vec![
            "/opt/bin/eyewall kubelet take-over --write".to_owned(),
            "systemctl daemon-reload && systemctl restart kubelet".to_owned(),
        ],
    }
}

/// Why a container's flags cannot be taken over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TakeOverFault {
    /// They could not be read.
    #[error("the flags of the container {0} cannot be read: is this root?")]
    Unknown(String),
    /// One that is no flag.
    #[error("the kubelet is given {0:?}, which is no flag of the form --name=value: write the configuration by hand")]
    NotAFlag(String),
}

impl TakeOverFault {
    /// The word for machines.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "container-flags-unreadable",
            Self::NotAFlag(_) => "not-a-flag",
        }
    }
}

/// What the flags say, where it is not what eyewall does anyway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Said {
    controller: bool,
    name: Option<String>,
    bootstrap_kubeconfig: Option<String>,
    directory: Option<String>,
    kubeconfig: Option<String>,
    config: Option<String>,
    labels: BTreeMap<String, String>,
    taints: Vec<String>,
    extra: Vec<String>,
}

/// The drop-in for eyewall.toml: the owner, and all that the container's flags say beyond the defaults.
///
/// # Errors
/// [`TakeOverFault`]
pub fn fragment(container: &Container) -> Result<String, TakeOverFault> {
    let flags = container.arguments.as_ref().ok_or_else(|| TakeOverFault::Unknown(container.id.clone()))?;
    let said = said(flags)?;
    let mut text = format!(
        "# Made by `eyewall kubelet take-over` from the running container {id:.12}. It goes with 50-eyewall.conf of kubelet.service.\n",
        id = container.id
    );
    let mut table = |name: &str, keys: &[(&str, Option<String>)]| {
        if keys.iter().any(|(_, value)| value.is_some()) {
            let _ = writeln!(text, "[{name}]");
        }
        for (key, value) in keys {
            if let Some(value) = value {
                let _ = writeln!(text, "{key} = {value}");
            }
        }
    };
    let defaults = Config::default();
    let quoted = |text: Option<String>| text.as_deref().map(quote);
    table("node", &[("name", quoted(said.name)), ("role", said.controller.then(|| quote("controller")))]);
    table("cluster", &[("bootstrap_kubeconfig", quoted(said.bootstrap_kubeconfig))]);
    table(
        "certificates",
        &[
            ("owner", Some(quote("eyewall"))),
            ("directory", quoted(said.directory)),
            ("kubeconfig", quoted(said.kubeconfig)),
        ],
    );
    let list = |items: &[String]| {
        let items: Vec<String> = items.iter().map(|item| quote(item)).collect();
        (!items.is_empty()).then(|| format!("[{}]", items.join(", ")))
    };
    let labels: Vec<String> =
        said.labels.iter().map(|(key, value)| format!("{} = {}", quote(key), quote(value))).collect();
    let image = (defaults.kubelet.images.first() != Some(&container.reference)).then(|| container.reference.clone());
    table(
        "kubelet",
        &[
            // Always: on a host that has both, the kubelet is stopped and started by the runtime that it runs in.
            ("runtime", Some(quote(container.runtime.id))),
            ("images", image.and_then(|image| list(&[image]))),
            ("config", quoted(said.config)),
            ("labels", (!labels.is_empty()).then(|| format!("{{ {} }}", labels.join(", ")))),
            ("taints", list(&said.taints)),
            ("extra_args", list(&said.extra)),
        ],
    );
    Ok(text)
}

fn said(flags: &[String]) -> Result<Said, TakeOverFault> {
    let defaults = Config::default();
    let paths = [
        ("bootstrap-kubeconfig", &defaults.cluster.bootstrap_kubeconfig),
        ("cert-dir", &defaults.certificates.directory),
        ("kubeconfig", &defaults.certificates.kubeconfig),
        ("config", &defaults.kubelet.config),
    ];
    let mut said = Said::default();
    for flag in flags {
        let bare = flag.strip_prefix("--").filter(|bare| !bare.is_empty());
        let (name, value) = match bare {
            Some(bare) => bare.split_once('=').unwrap_or((bare, "")),
            None => return Err(TakeOverFault::NotAFlag(flag.clone())),
        };
        let is_default = |(known, path): &(&str, &std::path::PathBuf)| *known == name && path.as_os_str() == value;
        if paths.iter().any(is_default) {
            continue;
        }
        let value = value.to_owned();
        match name {
            "bootstrap-kubeconfig" => said.bootstrap_kubeconfig = Some(value),
            "cert-dir" => said.directory = Some(value),
            "kubeconfig" => said.kubeconfig = Some(value),
            "config" => said.config = Some(value),
            "hostname-override" => said.name = Some(value),
            "container-runtime-endpoint" if value == CONTAINERD => {}
            // Decided by the owner.
            "rotate-certificates" => {}
            "node-labels" => {
                for label in value.split(',').filter(|label| !label.is_empty()) {
                    let (key, value) = label.split_once('=').unwrap_or((label, ""));
                    said.labels.insert(key.to_owned(), value.trim_matches('"').to_owned());
                }
            }
            "register-with-taints" => {
                said.taints.extend(value.split(',').filter(|taint| !taint.is_empty()).map(str::to_owned));
            }
            _ => said.extra.push(flag.clone()),
        }
    }
    let key = |label: &str| label.split('=').next().unwrap_or(label).to_owned();
    let (worker, controller) = (role(Role::Worker), role(Role::Controller));
    said.controller = said.labels.contains_key(&key(controller.0));
    let (label, taint) = if said.controller { controller } else { worker };
    said.labels.remove(&key(label));
    said.taints.retain(|own| Some(own.as_str()) != taint);
    Ok(said)
}

/// How the flags change: what is no longer given, and what is new. The order does not count, nor what says nothing.
pub fn difference(before: &[String], after: &[String]) -> (Vec<String>, Vec<String>) {
    let plain = |flags: &[String]| -> Vec<String> {
        let flags = flags.iter().filter(|flag| !flag.ends_with('='));
        flags.map(|flag| flag.replace('"', "")).collect()
    };
    let (before, after) = (plain(before), plain(after));
    let without =
        |these: &[String], those: &[String]| these.iter().filter(|flag| !those.contains(flag)).cloned().collect();
    (without(&before, &after), without(&after, &before))
}

/// A JSON string is a TOML basic string.
fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
