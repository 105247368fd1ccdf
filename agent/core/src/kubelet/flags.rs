//! The kubelet's own flags. What is not here is in the KubeletConfiguration, which a flag overrides.

use std::path::Path;

use super::PlanFault;
use crate::config::{Config, Owner, Role, extra_arg_fault};
use crate::hostname::NodeName;

/// The kubelet's default for `--cert-dir`.
const CERTIFICATES: &str = "/var/lib/kubelet/pki";
/// containerd's socket, where every OS has it; `/run` is mounted.
pub(super) const CONTAINERD: &str = "unix:///run/containerd/containerd.sock";

/// The label and the taint of a role: Typhoon's.
pub(super) fn role(role: Role) -> (&'static str, Option<&'static str>) {
    match role {
        Role::Worker => ("node.kubernetes.io/node", None),
        Role::Controller => {
            ("node.kubernetes.io/controller=true", Some("node-role.kubernetes.io/controller=:NoSchedule"))
        }
    }
}

/// The flags, in Typhoon's order; `named` and `extra` as for [`super::plan`].
pub(super) fn flags(config: &Config, named: Option<&NodeName>, extra: &[String]) -> Result<Vec<String>, PlanFault> {
    let owner = config.certificates.owner;
    for argument in extra {
        if let Some(why) = extra_arg_fault(argument, owner) {
            return Err(PlanFault::ExtraArg { argument: argument.clone(), why });
        }
    }
    let mut flags = Vec::new();
    let path = |name: &str, path: &Path| format!("--{name}={}", path.display());
    if owner == Owner::Kubelet {
        flags.push(path("bootstrap-kubeconfig", &config.cluster.bootstrap_kubeconfig));
    }
    if config.certificates.directory != Path::new(CERTIFICATES) {
        flags.push(path("cert-dir", &config.certificates.directory));
    }
    flags.push(path("config", &config.kubelet.config));
    flags.push(format!("--container-runtime-endpoint={CONTAINERD}"));
    if let Some(name) = named {
        flags.push(format!("--hostname-override={name}"));
    }
    flags.push(path("kubeconfig", &config.certificates.kubeconfig));
    let (label, taint) = role(config.node.role);
    flags.push(format!("--node-labels={label}"));
    for (key, value) in &config.kubelet.labels {
        let pair = if value.is_empty() { key.clone() } else { format!("{key}={value}") };
        flags.push(format!("--node-labels={pair}"));
    }
    let taints = config.kubelet.taints.iter().map(String::as_str);
    for taint in taint.into_iter().chain(taints) {
        flags.push(format!("--register-with-taints={taint}"));
    }
    // The configuration file on disk may say otherwise: Typhoon's says true, one of ours says false after the owner was
    // changed back. Two owners of the certificate, or none, would be the worst of both; the flag decides.
    flags.push(format!("--rotate-certificates={}", owner == Owner::Kubelet));
    if config.certificates.serving && owner == Owner::Eyewall {
        // The same of the serving certificate: with it a kubelet would ask for one of its own, and serve from no file of ours.
        flags.push("--rotate-server-certificates=false".to_owned());
    }
    flags.extend(config.kubelet.extra_args.iter().chain(extra).cloned());
    Ok(flags)
}
