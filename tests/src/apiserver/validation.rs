//! The rules of an object's kind, as far as nodes can break them.

use serde_json::Value;

use super::csr;
use super::refusal::{FieldFault, Refusal};
use super::resources::{CSRS, EVENTS, LEASES, NAMESPACES, Resource};
use super::store::Store;

/// Namespaces every cluster has.
const NAMESPACES_OF_OLD: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// What is wrong with an object that is to be stored.
pub(super) fn validate(resource: &Resource, object: &Value) -> Vec<FieldFault> {
    let mut faults = Vec::new();
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if *resource == CSRS {
        return csr::validate(object);
    }
    if !is_subdomain(name) {
        let why = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start \
                   and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
                   '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
        faults.push(FieldFault::invalid("metadata.name", &format!("{name:?}"), why));
    }
    if *resource == LEASES
        && let Some(seconds) = object["spec"]["leaseDurationSeconds"].as_i64()
        && seconds <= 0
    {
        let why = "must be greater than 0";
        faults.push(FieldFault::invalid("spec.leaseDurationSeconds", &seconds.to_string(), why));
    }
    if *resource == EVENTS {
        let about = object["involvedObject"]["namespace"].as_str().unwrap_or_default();
        let own = object["metadata"]["namespace"].as_str().unwrap_or_default();
        // An event about something without a namespace lives in "default".
        if (about.is_empty() && own != "default") || (!about.is_empty() && about != own) {
            let why = "does not match event.namespace";
            faults.push(FieldFault::invalid("involvedObject.namespace", &format!("{about:?}"), why));
        }
    }
    faults
}

fn is_subdomain(name: &str) -> bool {
    let label = |label: &str| {
        let bytes = label.as_bytes();
        let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
        !label.is_empty() && bytes.iter().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// The namespace of the path is written into the object; it must be there, and the object must not say another.
pub(super) fn check_namespace(store: &Store, namespace: &str, object: &mut Value) -> Result<(), Refusal> {
    let given = object["metadata"]["namespace"].as_str().unwrap_or_default();
    if !given.is_empty() && given != namespace {
        let why = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Refusal::bad_request(why.to_owned()));
    }
    if !NAMESPACES_OF_OLD.contains(&namespace) && store.get(&NAMESPACES, "", namespace).is_none() {
        return Err(Refusal::not_found(&NAMESPACES, namespace));
    }
    object["metadata"]["namespace"] = Value::from(namespace);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::resources::NODES;
    use super::*;

    #[test]
    fn objects_are_judged_by_their_kind() {
        let named = |name: &str| json!({"metadata": {"name": name}});
        let lease = |seconds: i64| json!({"metadata": {"name": "a"}, "spec": {"leaseDurationSeconds": seconds}});
        let event = |own: &str, about: Value| json!({"metadata": {"name": "a", "namespace": own}, "involvedObject": {"namespace": about}});
        for (name, resource, object, faults) in [
            ("a name", &NODES, named("node-a.example.org"), 0),
            ("upper case", &NODES, named("Node-A"), 1),
            ("ends in a dash", &NODES, named("node-"), 1),
            ("an empty label", &NODES, named("a..b"), 1),
            ("too long", &NODES, named(&"a".repeat(254)), 1),
            ("a lease", &LEASES, lease(40), 0),
            ("a lease of no time", &LEASES, lease(0), 1),
            ("about a node, in default", &EVENTS, event("default", Value::Null), 0),
            ("about a node, elsewhere", &EVENTS, event("kube-system", Value::Null), 1),
            ("about a pod, beside it", &EVENTS, event("kube-system", json!("kube-system")), 0),
            ("about a pod, elsewhere", &EVENTS, event("default", json!("kube-system")), 1),
        ] {
            assert_eq!(validate(resource, &object).len(), faults, "{name}");
        }
    }
}
