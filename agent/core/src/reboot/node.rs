//! The own Node: read, cordoned and uncordoned. The kubelet's certificate may do all of it without any extra right (Node authorizer and
//! NodeRestriction, `plugin/pkg/admission/noderestriction/admission.go`); a taint it may not set.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::slots::refused_words;
use super::{BootId, NodeSeen};
use crate::status::Reason;

/// Says in which boot the agent cordoned the Node. Without it somebody else did, and the agent does not undo it.
pub const CORDONED_BY: &str = "eyewall.dev/cordoned-by-boot";

/// The path of a Node.
pub fn path(node: &str) -> String {
    format!("/api/v1/nodes/{node}")
}

/// A Node as it was at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// `resourceVersion`: a patch that carries it is refused if anybody wrote in between.
    pub version: String,
    /// What counts for a reboot.
    pub seen: NodeSeen,
    /// The status of the agent's own condition, if it is there.
    pub condition: Option<String>,
}

#[derive(Deserialize)]
struct Raw {
    kind: String,
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    resource_version: String,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    unschedulable: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    conditions: Option<Vec<Condition>>,
}

#[derive(Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

/// Reads a Node.
///
/// # Errors
/// That it is none, in words for people.
pub fn read(object: &[u8]) -> Result<Node, String> {
    let raw: Raw =
        serde_json::from_slice(object).map_err(|error| format!("the API server's answer is no Node ({error})"))?;
    if raw.kind != "Node" {
        return Err(format!("the API server's answer is no Node (but a {:?})", raw.kind));
    }
    let conditions = raw.status.conditions.unwrap_or_default();
    let status = |kind: &str| conditions.iter().find(|one| one.kind == kind).map(|one| one.status.clone());
    let mut annotations = raw.metadata.annotations.unwrap_or_default();
    Ok(Node {
        version: raw.metadata.resource_version,
        seen: NodeSeen {
            unschedulable: raw.spec.unschedulable.unwrap_or(false),
            cordoned_by_us: annotations.remove(CORDONED_BY).filter(|boot| !boot.is_empty()).map(BootId),
            ready: status("Ready").as_deref() == Some("True"),
        },
        condition: status(super::announce::CONDITION),
    })
}

/// The merge PATCH that cordons a Node as it was at `version`, and remembers who did it, in one write: there is no instant at which a cordon
/// of ours looks like an operator's.
pub fn cordon(version: &str, boot: &BootId) -> Value {
    json!({
        "metadata": {"resourceVersion": version, "annotations": {CORDONED_BY: boot}},
        "spec": {"unschedulable": true},
    })
}

/// The merge PATCH that undoes it.
pub fn uncordon(version: &str) -> Value {
    json!({
        "metadata": {"resourceVersion": version, "annotations": {CORDONED_BY: null}},
        "spec": {"unschedulable": null},
    })
}

/// The merge PATCH that takes only our mark away: somebody else has uncordoned the Node meanwhile.
pub fn forget_cordon(version: &str) -> Value {
    json!({"metadata": {"resourceVersion": version, "annotations": {CORDONED_BY: null}}})
}

/// Why the API server did not do what was asked of the Node; `doing` as in "to read it".
pub fn refusal(status: u16, body: &[u8], doing: &str) -> Reason {
    let words = refused_words(status, body);
    match status {
        401 => Reason::new(
            "credential-rejected",
            "the API server does not take the kubelet's certificate; see `eyewall certificates`",
        ),
        403 => Reason::new(
            "node-forbidden",
            format!(
                "the API server forbids this node {doing} ({words}): does it run with --authorization-mode=Node,RBAC, and does node.name \
                 name this node?"
            ),
        ),
        404 => Reason::new(
            "node-missing",
            "there is no Node of this name: has the kubelet registered, or was the Node deleted?",
        ),
        409 => Reason::new("node-conflict", "others wrote to the Node at the same time, again and again"),
        429 | 503 | 504 => {
            Reason::new("api-server-busy", format!("the API server is too busy to let this node {doing} ({words})"))
        }
        _ => Reason::new("api-server-refused", format!("the API server refuses {doing}: {words}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::recorded::recorded;
    use super::*;

    #[test]
    fn a_real_node_is_read() {
        for (name, unschedulable, ready) in
            [("node: get own", false, false), ("node: cordon own", true, false), ("node: uncordon own", false, false)]
        {
            let node = read(&recorded(name).body).unwrap();
            assert_eq!(node.seen, NodeSeen { unschedulable, cordoned_by_us: None, ready }, "{name}");
            assert!(!node.version.is_empty(), "{name}");
            assert_eq!(node.condition, None, "{name}");
        }
    }

    #[test]
    fn a_cordon_has_a_name() {
        let node = |metadata: Value, spec: Value, conditions: Value| {
            let mut node = json!({"kind": "Node", "metadata": {"resourceVersion": "1"}, "spec": spec, "status": {"conditions": conditions}});
            node["metadata"]["annotations"] = metadata;
            node.to_string().into_bytes()
        };
        let ours = json!({CORDONED_BY: "b-1"});
        for (name, object, unschedulable, by, ready, condition) in [
            ("by us", node(ours.clone(), json!({"unschedulable": true}), json!([])), true, Some("b-1"), false, None),
            ("by another", node(json!({"x": "y"}), json!({"unschedulable": true}), json!([])), true, None, false, None),
            (
                "ours, uncordoned by another",
                node(ours, json!({"unschedulable": false}), json!([])),
                false,
                Some("b-1"),
                false,
                None,
            ),
            ("an empty mark is none", node(json!({CORDONED_BY: ""}), json!({}), json!([])), false, None, false, None),
            (
                "ready",
                node(Value::Null, json!({}), json!([{"type": "Ready", "status": "True"}])),
                false,
                None,
                true,
                None,
            ),
            (
                "ready is not known",
                node(Value::Null, json!({}), json!([{"type": "Ready", "status": "Unknown"}])),
                false,
                None,
                false,
                None,
            ),
            (
                "our condition",
                node(Value::Null, json!({}), json!([{"type": "EyewallReboot", "status": "True"}])),
                false,
                None,
                false,
                Some("True"),
            ),
        ] {
            let want = NodeSeen { unschedulable, cordoned_by_us: by.map(|boot| BootId(boot.to_owned())), ready };
            let got = read(&object).unwrap();
            assert_eq!((got.seen, got.condition.as_deref()), (want, condition), "{name}");
        }
        for nonsense in ["", "{}", r#"{"kind":"NodeList","metadata":{"resourceVersion":"1"}}"#] {
            assert!(read(nonsense.as_bytes()).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn patches_change_what_was_recorded_and_the_mark() {
        let boot = BootId("b-1".to_owned());
        for (name, patch, mark) in
            [("node: cordon own", cordon("7", &boot), json!("b-1")), ("node: uncordon own", uncordon("7"), Value::Null)]
        {
            assert_eq!(patch["spec"], recorded(name).sent["spec"], "{name}");
            assert_eq!(
                patch["metadata"],
                json!({"resourceVersion": "7", "annotations": {CORDONED_BY: mark}}),
                "{name}"
            );
        }
        assert_eq!(forget_cordon("7").get("spec"), None);
    }

    #[test]
    fn refusals() {
        for (name, kind, says) in [
            ("node: get another", "node-forbidden", "only its own Node object"),
            ("node: cordon another", "node-forbidden", "is not allowed to modify node"),
            ("authn: expired client certificate", "credential-rejected", "eyewall certificates"),
            ("eviction: pod is gone", "node-missing", "registered"),
        ] {
            let answer = recorded(name);
            let got = refusal(answer.status, &answer.body, "to read its Node");
            assert_eq!(got.kind, kind, "{name}");
            assert!(got.message.contains(says), "{name}: {}", got.message);
        }
    }
}
