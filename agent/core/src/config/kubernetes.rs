//! What Kubernetes wants of labels, taints and kubelet flags. The kubelet checks the same at its start, and exits;
//! here it is told before anything is stopped.

use super::Owner;
use crate::hostname::subdomain_fault;

/// The longest name part of a key, and the longest value, in bytes (`validation.LabelValueMaxLength`, `qualifiedNameMaxLength`).
const NAME_MAX: usize = 63;

/// The labels of the `kubernetes.io` and `k8s.io` domains that a kubelet may give its own node
/// (`k8s.io/kubelet/pkg/apis.kubeletLabels`); with any other there it refuses to start.
const KUBELET_LABELS: [&str; 11] = [
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
];

/// The domains, with all below them, in which a kubelet may set any label (`kubeletLabelNamespaces`).
const KUBELET_LABEL_DOMAINS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

/// The three effects of a taint.
const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// What keeps `key=value` from being a label that the kubelet may give its node.
pub(super) fn label_fault(key: &str, value: &str) -> Option<&'static str> {
    if let Some(why) = qualified_name_fault(key) {
        return Some(why);
    }
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    let within = |above: &str| domain == above || domain.strip_suffix(above).is_some_and(|sub| sub.ends_with('.'));
    if (within("kubernetes.io") || within("k8s.io"))
        && !KUBELET_LABELS.contains(&key)
        && !KUBELET_LABEL_DOMAINS.into_iter().any(within)
    {
        return Some(
            "no kubelet may set it on its own node (it would refuse to start): \
             use node.kubernetes.io/… or a domain of your own, or kubectl label",
        );
    }
    value_fault(value)
}

/// What keeps `taint` from being `key=value:Effect` or `key:Effect`.
pub(super) fn taint_fault(taint: &str) -> Option<&'static str> {
    let Some((pair, effect)) = taint.rsplit_once(':') else {
        return Some("it has no effect: write key=value:NoSchedule, :PreferNoSchedule or :NoExecute");
    };
    if !EFFECTS.contains(&effect) {
        return Some("its effect must be NoSchedule, PreferNoSchedule or NoExecute");
    }
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    qualified_name_fault(key).or_else(|| value_fault(value))
}

/// What keeps `argument` from being a flag that may be added to the kubelet's own.
///
/// One entry is one flag with its value, so that nothing of it can become a flag of podman or a second owner of what the agent decides.
pub(crate) fn extra_arg_fault(argument: &str, owner: Owner) -> Option<String> {
    let Some(flag) = argument.strip_prefix("--").filter(|flag| !flag.is_empty()) else {
        return Some("a kubelet flag begins with --, and its value stands in the same entry: \"--v=2\"".to_owned());
    };
    if argument.chars().any(char::is_control) {
        return Some("there is a control character in it".to_owned());
    }
    let name = flag.split('=').next().unwrap_or(flag);
    let instead = match name {
        "hostname-override" => "set node.name: the certificate must carry the same name",
        "kubeconfig" => "set certificates.kubeconfig",
        "bootstrap-kubeconfig" if owner == Owner::Eyewall => {
            "the certificate has one owner; with certificates.owner = \"kubelet\" it is set"
        }
        "bootstrap-kubeconfig" => "set cluster.bootstrap_kubeconfig",
        "rotate-certificates" => "set certificates.owner",
        "cert-dir" => "set certificates.directory",
        "config" => "set kubelet.config",
        _ => return None,
    };
    Some(format!("--{name} is decided elsewhere: {instead}"))
}

/// `[prefix/]name` (`validation.IsQualifiedName`).
fn qualified_name_fault(key: &str) -> Option<&'static str> {
    let name = match key.split_once('/') {
        Some((prefix, name)) => {
            if subdomain_fault(prefix).is_some() {
                return Some("what stands before the '/' of its key must be a lower-case DNS name");
            }
            name
        }
        None => key,
    };
    if name.is_empty() {
        return Some("its key is empty");
    }
    word_fault(name)
        .then_some("its key must be up to 63 letters, digits and - _ . between a letter or digit at both ends")
}

fn value_fault(value: &str) -> Option<&'static str> {
    word_fault(value).then_some(
        "its value must be up to 63 letters, digits and - _ . between a letter or digit at both ends, or empty",
    )
}

/// `(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?`, at most 63 bytes.
fn word_fault(word: &str) -> bool {
    let edge = |b: &u8| b.is_ascii_alphanumeric();
    let bytes = word.as_bytes();
    bytes.len() > NAME_MAX
        || !bytes.first().is_none_or(edge)
        || !bytes.last().is_none_or(edge)
        || !bytes.iter().all(|b| edge(b) || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_a_kubelet_may_set() {
        let long = "a".repeat(64);
        for (key, value, want) in [
            ("node.kubernetes.io/node", "", None),
            ("node.kubernetes.io/controller", "true", None),
            ("sub.node.kubernetes.io/x", "y", None),
            ("topology.kubernetes.io/zone", "eu-1a", None),
            ("example.com/Rack_1", "R.2-b", None),
            ("plain", "x", None),
            ("xkubernetes.io/a", "b", None),
            ("node-role.kubernetes.io/worker", "", Some("refuse to start")),
            ("kubernetes.io/role", "node", Some("refuse to start")),
            ("x.k8s.io/role", "node", Some("refuse to start")),
            ("", "x", Some("key is empty")),
            ("example.com/", "x", Some("key is empty")),
            ("Example.com/a", "x", Some("before the '/'")),
            ("/a", "x", Some("before the '/'")),
            ("a/b/c", "x", Some("its key must")),
            ("-a", "x", Some("its key must")),
            (&long, "x", Some("its key must")),
            ("a", "b c", Some("its value must")),
            ("a", "b,c=d", Some("its value must")),
            ("a", &long, Some("its value must")),
        ] {
            let got = label_fault(key, value);
            match (got, want) {
                (None, None) => {}
                (Some(got), Some(want)) => assert!(got.contains(want), "{key}={value}: {got}"),
                _ => assert_eq!(got, want, "{key}={value}"),
            }
        }
    }

    #[test]
    fn taints_have_an_effect() {
        for (taint, good) in [
            ("node-role.kubernetes.io/controller=:NoSchedule", true),
            ("arch=arm64:NoSchedule", true),
            ("dedicated:NoExecute", true),
            ("a=b:PreferNoSchedule", true),
            ("a=b", false),
            ("a=b:Never", false),
            ("a=b:noschedule", false),
            ("=b:NoSchedule", false),
            (":NoSchedule", false),
            ("a=b c:NoSchedule", false),
            ("a=b:NoSchedule-", false),
            ("a=b:NoSchedule,c=d:NoSchedule", false),
            ("", false),
        ] {
            assert_eq!(taint_fault(taint).is_none(), good, "{taint:?}");
        }
    }

    #[test]
    fn extra_flags_do_not_make_a_second_owner() {
        for (argument, owner, want) in [
            ("--v=2", Owner::Eyewall, None),
            ("--cloud-provider=external", Owner::Eyewall, None),
            ("--fail-swap-on", Owner::Kubelet, None),
            ("-v=2", Owner::Eyewall, Some("begins with --")),
            ("2", Owner::Eyewall, Some("begins with --")),
            ("--", Owner::Eyewall, Some("begins with --")),
            ("", Owner::Eyewall, Some("begins with --")),
            ("--v=2\n", Owner::Eyewall, Some("control character")),
            ("--hostname-override=x", Owner::Eyewall, Some("node.name")),
            ("--rotate-certificates", Owner::Eyewall, Some("certificates.owner")),
            ("--bootstrap-kubeconfig=/x", Owner::Eyewall, Some("one owner")),
            ("--bootstrap-kubeconfig=/x", Owner::Kubelet, Some("cluster.bootstrap_kubeconfig")),
            ("--cert-dir=/x", Owner::Kubelet, Some("certificates.directory")),
        ] {
            let got = extra_arg_fault(argument, owner);
            match (&got, want) {
                (None, None) => {}
                (Some(got), Some(want)) => assert!(got.contains(want), "{argument:?}: {got}"),
                _ => assert_eq!(got.as_deref(), want, "{argument:?}"),
            }
        }
    }
}
