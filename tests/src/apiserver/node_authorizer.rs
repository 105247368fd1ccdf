//! The Node authorizer (`plugin/pkg/auth/authorizer/node/node_authorizer.go`): what a kubelet's identity may do
//! by itself, and the words with which it has no opinion on the rest.

use serde_json::Value;

use super::authn::Identity;
use super::resources::PODS;
use super::route::Attributes;
use super::store::Store;

const NO_RELATIONSHIP: &str = "no relationship found between node";

/// `Ok` allows; `Err` has no opinion, and a reason where the real one gives one.
pub(super) fn decide(who: &Identity, what: &Attributes, store: &Store) -> Result<(), String> {
    let Some(node) = who.node() else { return Err(String::new()) };
    match (what.group.as_str(), what.resource.as_str()) {
        ("", "nodes") => on_nodes(node, what),
        ("", "pods") => on_pods(node, what, store),
        ("", "configmaps" | "secrets") => on_referenced(node, what, store),
        ("coordination.k8s.io", "leases") => on_leases(node, what),
        _ if by_node_rules(what) => Ok(()),
        _ => Err(String::new()),
    }
}

fn on_nodes(node: &str, what: &Attributes) -> Result<(), String> {
    match (what.subresource.as_str(), what.verb.as_str()) {
        // Which node it is, is the admission plug-in's business.
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Ok(()),
        ("", "get" | "list" | "watch") if what.name == node => Ok(()),
        ("", "get" | "list" | "watch") if what.name.is_empty() => {
            Err(format!("node '{node}' cannot read all nodes, only its own Node object"))
        }
        ("", "get" | "list" | "watch") => {
            Err(format!("node '{node}' cannot read '{}', only its own Node object", what.name))
        }
        _ => Err(String::new()),
    }
}

fn on_pods(node: &str, what: &Attributes, store: &Store) -> Result<(), String> {
    match (what.subresource.as_str(), what.verb.as_str()) {
        ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => Ok(()),
        ("", "get") => {
            let pod = store.get(&PODS, &what.namespace, &what.name);
            if pod.is_some_and(|pod| pod["spec"]["nodeName"] == node) { Ok(()) } else { Err(unrelated(node)) }
        }
        ("", "list" | "watch") => {
            if what.field_selector.iter().any(|(field, value)| field == "spec.nodeName" && value == node) {
                Ok(())
            } else {
                Err("can only list/watch pods with spec.nodeName field selector".to_owned())
            }
        }
        _ => Err(String::new()),
    }
}

fn on_referenced(node: &str, what: &Attributes, store: &Store) -> Result<(), String> {
    if !matches!(what.verb.as_str(), "get" | "list" | "watch") {
        return Err("can only read resources of this type".to_owned());
    }
    if !what.subresource.is_empty() {
        return Err("cannot read subresource".to_owned());
    }
    if what.namespace.is_empty() {
        return Err("can only read namespaced object of this type".to_owned());
    }
    if what.name.is_empty() {
        return Err("No Object name found".to_owned());
    }
    let kind = what.resource.trim_end_matches('s');
    let related = store
        .list(&PODS, &what.namespace)
        .filter(|pod| pod["spec"]["nodeName"] == node)
        .any(|pod| refers_to(&pod["spec"], kind, &what.name));
    if related { Ok(()) } else { Err(unrelated(node)) }
}

fn on_leases(node: &str, what: &Attributes) -> Result<(), String> {
    if !matches!(what.verb.as_str(), "get" | "create" | "update" | "patch" | "delete") {
        return Err("can only get, create, update, patch, or delete a node lease".to_owned());
    }
    if what.namespace != "kube-node-lease" {
        return Err("can only access leases in the \"kube-node-lease\" system namespace".to_owned());
    }
    if what.verb != "create" && what.name != node {
        return Err("can only access node lease with the same name as the requesting node".to_owned());
    }
    Ok(())
}

/// `NodeRules` of `bootstrappolicy`, for what has no rule of its own above.
fn by_node_rules(what: &Attributes) -> bool {
    let resource = (what.group.as_str(), what.resource.as_str(), what.subresource.as_str());
    match resource {
        ("certificates.k8s.io", "certificatesigningrequests", "") => {
            matches!(what.verb.as_str(), "create" | "get" | "list" | "watch")
        }
        ("", "events", "") => matches!(what.verb.as_str(), "create" | "update" | "patch"),
        ("", "services", "") | ("node.k8s.io", "runtimeclasses", "") => {
            matches!(what.verb.as_str(), "get" | "list" | "watch")
        }
        ("authentication.k8s.io", "tokenreviews", "") | ("authorization.k8s.io", "subjectaccessreviews", "") => {
            what.verb == "create"
        }
        _ => false,
    }
}

fn unrelated(node: &str) -> String {
    format!("{NO_RELATIONSHIP} '{node}' and this object")
}

/// Whether a pod's spec names the config map or secret anywhere: as a volume, in a projection, in its environment.
fn refers_to(spec: &Value, kind: &str, name: &str) -> bool {
    let own = if kind == "configmap" {
        ["configMap", "configMapRef", "configMapKeyRef"]
    } else {
        ["secret", "secretRef", "secretKeyRef"]
    };
    match spec {
        Value::Object(fields) => fields.iter().any(|(field, value)| {
            let named = value["name"] == name || value["secretName"] == name;
            (own.contains(&field.as_str()) && named) || refers_to(value, kind, name)
        }),
        Value::Array(items) => items.iter().any(|item| refers_to(item, kind, name)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reference_is_found_wherever_it_stands() {
        for (name, spec, kind, want) in [
            ("volume", json!({"volumes": [{"configMap": {"name": "x"}}]}), "configmap", true),
            (
                "projected",
                json!({"volumes": [{"projected": {"sources": [{"configMap": {"name": "x"}}]}}]}),
                "configmap",
                true,
            ),
            ("environment", json!({"containers": [{"envFrom": [{"configMapRef": {"name": "x"}}]}]}), "configmap", true),
            ("secret volume", json!({"volumes": [{"secret": {"secretName": "x"}}]}), "secret", true),
            ("other kind", json!({"volumes": [{"secret": {"secretName": "x"}}]}), "configmap", false),
            ("other name", json!({"volumes": [{"configMap": {"name": "y"}}]}), "configmap", false),
            ("container of that name", json!({"containers": [{"name": "x"}]}), "configmap", false),
        ] {
            assert_eq!(refers_to(&spec, kind, "x"), want, "{name}");
        }
    }
}
