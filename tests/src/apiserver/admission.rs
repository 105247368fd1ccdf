//! The admission plug-in NodeRestriction (`plugin/pkg/admission/noderestriction/admission.go`): what a node may write
//! of what its identity is authorized for.

use std::collections::BTreeSet;

use serde_json::Value;

use super::csr::{CLIENT_KUBELET, KUBELET_SERVING, Request};
use super::refusal::Refusal;
use super::resources::{CSRS, LEASES, NODES, PODS, Resource};
use super::store::Store;

/// A write, as admission sees it.
pub(super) struct Write<'a> {
    pub(super) resource: &'static Resource,
    pub(super) subresource: &'a str,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    /// What is there; `None` for a create.
    pub(super) before: Option<&'a Value>,
    /// What is to be; `None` for a delete.
    pub(super) after: Option<&'a Value>,
}

impl Write<'_> {
    fn refused(&self, why: &str) -> Refusal {
        Refusal::forbidden(self.resource.group, self.resource.plural, self.name, why)
    }
}

/// Judges a write by `node`. Reads never come here, and neither do writes by anybody else.
pub(super) fn node_restriction(node: &str, user: &str, write: &Write<'_>, store: &Store) -> Result<(), Refusal> {
    match write.resource.plural {
        plural if plural == NODES.plural => on_node(node, write),
        plural if plural == PODS.plural => on_pod(node, write, store),
        plural if plural == LEASES.plural => on_lease(node, write),
        plural if plural == CSRS.plural => on_csr(user, write),
        _ => Ok(()),
    }
}

fn on_node(node: &str, write: &Write<'_>) -> Result<(), Refusal> {
    if let (None, Some(after)) = (write.before, write.after) {
        let forbidden = forbidden_labels(&labels(None), &labels(Some(after)));
        if !forbidden.is_empty() {
            return Err(write.refused(&format!("is not allowed to set the following labels: {}", forbidden.join(", "))));
        }
    }
    if write.name != node {
        return Err(write.refused(&format!("node {node:?} is not allowed to modify node {:?}", write.name)));
    }
    if let (Some(before), Some(after)) = (write.before, write.after) {
        if list(&before["spec"]["taints"]) != list(&after["spec"]["taints"]) {
            return Err(write.refused(&format!("node {node:?} is not allowed to modify taints")));
        }
        let forbidden = forbidden_labels(&labels(Some(before)), &labels(Some(after)));
        if !forbidden.is_empty() {
            return Err(write.refused(&format!("is not allowed to modify labels: {}", forbidden.join(", "))));
        }
    }
    Ok(())
}

fn on_pod(node: &str, write: &Write<'_>, store: &Store) -> Result<(), Refusal> {
    if write.before.is_none() && write.subresource.is_empty() {
        let mirror =
            write.after.is_some_and(|pod| !pod["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_null());
        return if mirror {
            Ok(())
        } else {
            let why = format!(
                "pod does not have \"kubernetes.io/config.mirror\" annotation, node {node:?} can only create mirror pods"
            );
            Err(write.refused(&why))
        };
    }
    // The plug-in looks in its own informer, and its error names the resource in the singular.
    let pod =
        store.get(&PODS, write.namespace, write.name).ok_or_else(|| Refusal::not_found_named("", "pod", write.name))?;
    if pod["spec"]["nodeName"] == node {
        return Ok(());
    }
    let why = match (write.subresource, write.after) {
        ("eviction", _) => format!("node {node} can only evict pods with spec.nodeName set to itself"),
        ("status", _) => format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself"),
        (_, None) => format!("node {node:?} can only delete pods with spec.nodeName set to itself"),
        _ => format!("unexpected operation by node {node:?}"),
    };
    Err(write.refused(&why))
}

fn on_lease(node: &str, write: &Write<'_>) -> Result<(), Refusal> {
    if write.namespace != "kube-node-lease" {
        return Err(write.refused("can only access leases in the \"kube-node-lease\" system namespace"));
    }
    if write.name != node {
        return Err(write.refused("can only access node lease with the same name as the requesting node"));
    }
    Ok(())
}

fn on_csr(user: &str, write: &Write<'_>) -> Result<(), Refusal> {
    let (None, Some(csr)) = (write.before, write.after) else { return Ok(()) };
    let signer = csr["spec"]["signerName"].as_str().unwrap_or_default();
    if signer != CLIENT_KUBELET && signer != KUBELET_SERVING {
        return Ok(());
    }
    let request = Request::of(csr).map_err(|why| write.refused(&format!("unable to parse csr: {why}")))?;
    if request.common_name == user {
        Ok(())
    } else {
        Err(write.refused(&format!("can only create a node CSR with CN={user}")))
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn labels(object: Option<&Value>) -> Vec<(&str, &Value)> {
    let labels = object.and_then(|object| object["metadata"]["labels"].as_object());
    labels.into_iter().flatten().map(|(key, value)| (key.as_str(), value)).collect()
}

/// The labels that differ and that a kubelet may not touch, sorted.
fn forbidden_labels(before: &[(&str, &Value)], after: &[(&str, &Value)]) -> Vec<String> {
    let changed = before.iter().filter(|b| !after.contains(b)).chain(after.iter().filter(|a| !before.contains(a)));
    let keys: BTreeSet<&str> = changed.map(|(key, _)| *key).filter(|key| !kubelet_may_set(key)).collect();
    keys.into_iter().map(str::to_owned).collect()
}

/// `getForbiddenLabels` and `IsKubeletLabel`: free prefixes, the well-known labels of a node, and two namespaces.
fn kubelet_may_set(key: &str) -> bool {
    let prefix = key.split_once('/').map_or("", |(prefix, _)| prefix);
    let within = |domain: &str| prefix == domain || prefix.strip_suffix(domain).is_some_and(|head| head.ends_with('.'));
    if within("node-restriction.kubernetes.io") {
        return false;
    }
    if !within("kubernetes.io") && !within("k8s.io") {
        return true;
    }
    let well_known = [
        "kubernetes.io/hostname",
        "kubernetes.io/arch",
        "kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
    ];
    well_known.contains(&key) || within("kubelet.kubernetes.io") || within("node.kubernetes.io")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_a_kubelet_may_set() {
        for (key, want) in [
            ("example.org/posture", true),
            ("plain", true),
            ("kubernetes.io/hostname", true),
            ("node.kubernetes.io/controller", true),
            ("sub.kubelet.kubernetes.io/x", true),
            ("node-restriction.kubernetes.io/x", false),
            ("a.node-restriction.kubernetes.io/x", false),
            ("kubernetes.io/role", false),
            ("node-role.kubernetes.io/controller", false),
            ("x.k8s.io/y", false),
            ("notk8s.io/y", true),
        ] {
            assert_eq!(kubelet_may_set(key), want, "{key}");
        }
    }

    fn judged(write: &Write<'_>, store: &Store) -> String {
        match node_restriction("a", "system:node:a", write, store) {
            Ok(()) => "allowed".to_owned(),
            Err(refusal) => refusal.status()["message"].as_str().unwrap().to_owned(),
        }
    }

    #[test]
    fn nodes_write_what_is_theirs() {
        let mut store = Store::new();
        for (name, node) in [("mine", "a"), ("theirs", "b")] {
            store.put(&PODS, json!({"metadata": {"namespace": "default", "name": name}, "spec": {"nodeName": node}}));
        }
        let plain = json!({"metadata": {"name": "a"}});
        let labelled = json!({"metadata": {"name": "a", "labels": {"kubernetes.io/role": "x"}}});
        let tainted = json!({"metadata": {"name": "a"}, "spec": {"taints": [{"key": "k"}]}});
        let mirror = json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "h"}}});
        let write = |resource, subresource, namespace, name, before, after| Write {
            resource,
            subresource,
            namespace,
            name,
            before,
            after,
        };
        for (name, write, want) in [
            ("create own node", write(&NODES, "", "", "a", None, Some(&plain)), "allowed"),
            ("create own node with taints", write(&NODES, "", "", "a", None, Some(&tainted)), "allowed"),
            (
                "create another node",
                write(&NODES, "", "", "b", None, Some(&plain)),
                "nodes \"b\" is forbidden: node \"a\" is not allowed to modify node \"b\"",
            ),
            (
                "create with a foreign label",
                write(&NODES, "", "", "a", None, Some(&labelled)),
                "nodes \"a\" is forbidden: is not allowed to set the following labels: kubernetes.io/role",
            ),
            (
                "take a label away",
                write(&NODES, "", "", "a", Some(&labelled), Some(&plain)),
                "nodes \"a\" is forbidden: is not allowed to modify labels: kubernetes.io/role",
            ),
            (
                "take a taint away",
                write(&NODES, "", "", "a", Some(&tainted), Some(&plain)),
                "nodes \"a\" is forbidden: node \"a\" is not allowed to modify taints",
            ),
            ("delete own node", write(&NODES, "", "", "a", Some(&plain), None), "allowed"),
            ("mirror pod", write(&PODS, "", "default", "m", None, Some(&mirror)), "allowed"),
            (
                "ordinary pod",
                write(&PODS, "", "default", "m", None, Some(&plain)),
                "pods \"m\" is forbidden: pod does not have \"kubernetes.io/config.mirror\" annotation, node \"a\" can only create mirror pods",
            ),
            ("delete own pod", write(&PODS, "", "default", "mine", Some(&plain), None), "allowed"),
            (
                "delete another's pod",
                write(&PODS, "", "default", "theirs", Some(&plain), None),
                "pods \"theirs\" is forbidden: node \"a\" can only delete pods with spec.nodeName set to itself",
            ),
            ("own lease", write(&LEASES, "", "kube-node-lease", "a", None, Some(&plain)), "allowed"),
            (
                "another's lease",
                write(&LEASES, "", "kube-node-lease", "b", None, Some(&plain)),
                "leases.coordination.k8s.io \"b\" is forbidden: can only access node lease with the same name as the requesting node",
            ),
        ] {
            assert_eq!(judged(&write, &store), want, "{name}");
        }
    }
}
