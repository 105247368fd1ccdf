//! The kubelet's flags: those that Typhoon and the agent pass, and those that people add. Unknown ones are refused, as the
//! real one does.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{ArgAction, Parser};

/// The kubelet's flags. Those without a use here are taken and forgotten.
#[derive(Debug, Parser)]
#[command(name = "kubelet", about = "A stand-in for the kubelet that runs no pods", version = "v1.36.1-standin")]
pub(super) struct Flags {
    /// Where server, CA and credentials stand.
    #[arg(long)]
    pub(super) kubeconfig: Option<PathBuf>,
    /// KubeletConfiguration; it must be readable.
    #[arg(long)]
    pub(super) config: Option<PathBuf>,
    /// The node's name, if not the host's.
    #[arg(long)]
    pub(super) hostname_override: Option<String>,
    /// `key=value,…`; may be given more than once.
    #[arg(long, action = ArgAction::Append, default_value = "")]
    pub(super) node_labels: Vec<String>,
    /// `key=value:Effect,…`; may be given more than once.
    #[arg(long, action = ArgAction::Append, default_value = "")]
    pub(super) register_with_taints: Vec<String>,
    /// The provider's name for this machine.
    #[arg(long)]
    pub(super) provider_id: Option<String>,
    /// Where a kubelet that rotates finds its first credential.
    #[arg(long)]
    pub(super) bootstrap_kubeconfig: Option<PathBuf>,
    /// Where a kubelet that rotates keeps its certificates.
    #[arg(long, default_value = "/var/lib/kubelet/pki")]
    pub(super) cert_dir: PathBuf,
    /// Whether it renews its client certificate itself; over what the configuration says.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) rotate_certificates: Option<bool>,
    /// The node's address, if not that of its default route.
    #[arg(long)]
    pub(super) node_ip: Option<std::net::IpAddr>,
    #[command(flatten)]
    _forgotten: Forgotten,
}

/// Flags that are taken and forgotten.
#[derive(Debug, Parser)]
struct Forgotten {
    #[arg(long)]
    root_dir: Option<String>,
    #[arg(long)]
    client_ca_file: Option<String>,
    #[arg(long)]
    container_runtime_endpoint: Option<String>,
    #[arg(long)]
    cloud_provider: Option<String>,
    #[arg(long)]
    authorization_mode: Option<String>,
    #[arg(long, num_args = 0..=1, require_equals = true)]
    anonymous_auth: Option<Option<String>>,
    #[arg(long, num_args = 0..=1, require_equals = true)]
    authentication_token_webhook: Option<Option<String>>,
    #[arg(long, num_args = 0..=1, require_equals = true)]
    rotate_server_certificates: Option<Option<String>>,
    #[arg(long, num_args = 0..=1, require_equals = true)]
    register_node: Option<Option<String>>,
    #[arg(long, num_args = 0..=1, require_equals = true)]
    fail_swap_on: Option<Option<String>>,
    #[arg(long)]
    cluster_dns: Option<String>,
    #[arg(long)]
    cluster_domain: Option<String>,
    #[arg(long)]
    pod_manifest_path: Option<String>,
    #[arg(long)]
    max_pods: Option<String>,
    #[arg(long)]
    feature_gates: Option<String>,
    #[arg(short, long = "v")]
    v: Option<String>,
}

impl Flags {
    /// The name this kubelet registers as: the flag's, else the host's in lower case.
    pub(super) fn node_name(&self) -> Result<String> {
        if let Some(name) = &self.hostname_override {
            return Ok(name.clone());
        }
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").context("reading the host's name")?;
        Ok(host.trim().to_lowercase())
    }

    /// Does it renew its client certificate itself? The flag wins over `rotateCertificates` of the configuration's text.
    pub(super) fn rotates(&self, configuration: &str) -> bool {
        let configured = || configuration.lines().any(|line| line.trim_end() == "rotateCertificates: true");
        self.rotate_certificates.unwrap_or_else(configured)
    }

    /// The labels to register with; a key alone has an empty value.
    pub(super) fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        parts(&self.node_labels).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    /// The taints to register with: key, value, effect.
    pub(super) fn taints(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        parts(&self.register_with_taints).filter_map(|taint| {
            let (pair, effect) = taint.rsplit_once(':')?;
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((key, value, effect))
        })
    }
}

/// Typhoon passes empty lists as empty flags; they mean nothing.
fn parts(list: &[String]) -> impl Iterator<Item = &str> {
    list.iter().flat_map(|text| text.split(',')).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_of_typhoon_are_taken_and_others_refused() {
        let typhoon = "kubelet --bootstrap-kubeconfig=/etc/kubernetes/kubeconfig --config=/etc/kubernetes/kubelet.yaml \
            --container-runtime-endpoint=unix:///run/containerd/containerd.sock --hostname-override=Node-A \
            --kubeconfig=/var/lib/kubelet/kubeconfig --node-labels=node.kubernetes.io/node --node-labels=a=b,c=d \
            --node-labels= --register-with-taints=node-role.kubernetes.io/controller=:NoSchedule --register-with-taints= \
            --anonymous-auth=false --authentication-token-webhook --authorization-mode=Webhook \
            --rotate-certificates=false --provider-id=aws:///z/i --v=4";
        let flags = Flags::try_parse_from(typhoon.split_whitespace()).unwrap();
        assert_eq!(flags.node_name().unwrap(), "Node-A");
        let labels: Vec<_> = flags.labels().collect();
        assert_eq!(labels, [("node.kubernetes.io/node", ""), ("a", "b"), ("c", "d")]);
        assert_eq!(flags.taints().collect::<Vec<_>>(), [("node-role.kubernetes.io/controller", "", "NoSchedule")]);
        assert!(!flags.rotates("rotateCertificates: true\n"), "the flag wins");
        for (name, line, configuration, want) in [
            ("nothing said", "kubelet", "kind: KubeletConfiguration\n", false),
            ("configured", "kubelet", "a: 1\nrotateCertificates: true\n", true),
            ("configured off", "kubelet", "rotateCertificates: false\n", false),
            ("a flag alone", "kubelet --rotate-certificates", "", true),
            ("a flag with a value", "kubelet --rotate-certificates=true", "rotateCertificates: false\n", true),
        ] {
            let flags = Flags::try_parse_from(line.split_whitespace()).unwrap();
            assert_eq!(flags.rotates(configuration), want, "{name}");
            assert_eq!(flags.cert_dir, PathBuf::from("/var/lib/kubelet/pki"), "{name}");
        }
        for (name, line) in [
            ("unknown flag", "kubelet --no-such-flag"),
            ("unknown flag with a value", "kubelet --runtime=remote"),
            ("an argument", "kubelet start"),
        ] {
            let error = Flags::try_parse_from(line.split_whitespace()).unwrap_err();
            assert!(error.use_stderr(), "{name}");
        }
    }
}
