//! The own Node and the pods on it, as the API server tells them to the node's certificate. Only what is judged is kept:
//! no annotation, no environment, no volume.

use serde::{Deserialize, Serialize};

use super::ReadFault;
use super::fault::json;

/// A Node with 50 images in its status is about 20 KiB.
pub const LARGEST_NODE: usize = 1024 * 1024;
/// 110 pods of 20 KiB each, twice.
pub const LARGEST_PODS: usize = 4 * 1024 * 1024;
/// The kubelet takes 110 unless told otherwise; its bound is 250 on big nodes.
const MOST_PODS: usize = 1_000;

/// The own Node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// Its taints.
    pub taints: Vec<Taint>,
    /// The keys of its labels.
    pub labels: Vec<String>,
    /// `status.nodeInfo.kubeletVersion`: what the running kubelet says of itself.
    pub kubelet_version: Option<String>,
    /// `status.nodeInfo.containerRuntimeVersion`.
    pub runtime_version: Option<String>,
}

/// A taint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value.
    #[serde(default)]
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// A toleration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toleration {
    /// Empty: every key, if the operator is `Exists`.
    #[serde(default)]
    pub key: String,
    /// `Equal` (also where it is empty) or `Exists`.
    #[serde(default)]
    pub operator: String,
    /// Empty: compared like any other.
    #[serde(default)]
    pub value: String,
    /// Empty: every effect.
    #[serde(default)]
    pub effect: String,
}

impl Toleration {
    /// Does it tolerate `taint`? (`k8s.io/api/core/v1`, `Toleration.ToleratesTaint`.) An operator that is not known tolerates nothing.
    pub fn tolerates(&self, taint: &Taint) -> bool {
        let effect = self.effect.is_empty() || self.effect == taint.effect;
        let key = if self.key.is_empty() { self.operator == "Exists" } else { self.key == taint.key };
        let value = match self.operator.as_str() {
            "Exists" => true,
            "" | "Equal" => self.value == taint.value,
            _ => false,
        };
        effect && key && value
    }
}

/// A pod on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodView {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid; the name of its control group has it too.
    pub uid: String,
    /// `Pending`, `Running`, ...
    pub phase: String,
    /// A static pod's mirror.
    pub mirror: bool,
    /// Uses the host's network.
    pub host_network: bool,
    /// Sees the host's processes.
    pub host_pid: bool,
    /// Has a privileged container.
    pub privileged: bool,
    /// The host ports of its containers.
    pub host_ports: Vec<u16>,
    /// Its tolerations.
    pub tolerations: Vec<Toleration>,
}

/// The pods on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pods {
    /// All of them, those that have ended too.
    pub pods: Vec<PodView>,
}

impl PodView {
    /// Has it ended? Then it runs nothing.
    pub fn is_over(&self) -> bool {
        matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }

    /// `namespace/name`.
    pub fn path(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

#[derive(Deserialize)]
struct Meta {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    uid: String,
    labels: Option<std::collections::BTreeMap<String, String>>,
    annotations: Option<std::collections::BTreeMap<String, serde::de::IgnoredAny>>,
}

#[derive(Deserialize)]
struct RawNode {
    kind: String,
    metadata: Meta,
    #[serde(default)]
    spec: NodeSpec,
    #[serde(default)]
    status: NodeStatus,
}

#[derive(Deserialize, Default)]
struct NodeSpec {
    taints: Option<Vec<Taint>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct NodeStatus {
    #[serde(default)]
    node_info: NodeInfo,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct NodeInfo {
    kubelet_version: Option<String>,
    container_runtime_version: Option<String>,
}

/// Reads a Node object, JSON.
///
/// # Errors
/// [`ReadFault`]; an object of another kind is one.
pub fn node(text: &str) -> Result<NodeView, ReadFault> {
    let raw: RawNode = json(text, LARGEST_NODE)?;
    if raw.kind != "Node" {
        return Err(ReadFault::Missing("that it is a Node"));
    }
    Ok(NodeView {
        name: raw.metadata.name,
        taints: raw.spec.taints.unwrap_or_default(),
        labels: raw.metadata.labels.unwrap_or_default().into_keys().collect(),
        kubelet_version: raw.status.node_info.kubelet_version,
        runtime_version: raw.status.node_info.container_runtime_version,
    })
}

#[derive(Deserialize)]
struct RawPods {
    kind: String,
    metadata: ListMeta,
    items: Vec<RawPod>,
}

#[derive(Deserialize)]
struct ListMeta {
    #[serde(default, rename = "continue")]
    more: String,
}

#[derive(Deserialize)]
struct RawPod {
    metadata: Meta,
    spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Deserialize, Default)]
struct PodStatus {
    #[serde(default)]
    phase: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    #[serde(default)]
    host_network: bool,
    #[serde(default, rename = "hostPID")]
    host_pid: bool,
    tolerations: Option<Vec<Toleration>>,
    containers: Vec<Container>,
    init_containers: Option<Vec<Container>>,
    ephemeral_containers: Option<Vec<Container>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    security_context: Option<SecurityContext>,
    ports: Option<Vec<Port>>,
}

#[derive(Deserialize)]
struct SecurityContext {
    privileged: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    host_port: Option<u16>,
}

/// Reads a PodList, JSON.
///
/// # Errors
/// [`ReadFault`]; another kind, or a list that goes on elsewhere, is one.
pub fn pods(text: &str) -> Result<Pods, ReadFault> {
    let raw: RawPods = json(text, LARGEST_PODS)?;
    if raw.kind != "PodList" {
        return Err(ReadFault::Missing("that it is a PodList"));
    }
    if !raw.metadata.more.is_empty() {
        return Err(ReadFault::CutShort);
    }
    if raw.items.len() > MOST_PODS {
        return Err(ReadFault::TooMany { what: "pods", limit: MOST_PODS });
    }
    Ok(Pods { pods: raw.items.into_iter().map(pod).collect() })
}

fn pod(raw: RawPod) -> PodView {
    let spec = raw.spec;
    let optional = [spec.init_containers, spec.ephemeral_containers].into_iter().flatten().flatten();
    let containers: Vec<Container> = spec.containers.into_iter().chain(optional).collect();
    let privileged =
        |container: &Container| container.security_context.as_ref().and_then(|c| c.privileged).unwrap_or(false);
    let ports = containers.iter().flat_map(|container| container.ports.iter().flatten());
    let mut host_ports: Vec<u16> = ports.filter_map(|port| port.host_port).filter(|port| *port != 0).collect();
    host_ports.sort_unstable();
    host_ports.dedup();
    let annotations = raw.metadata.annotations.unwrap_or_default();
    PodView {
        mirror: annotations.contains_key("kubernetes.io/config.mirror"),
        namespace: raw.metadata.namespace,
        name: raw.metadata.name,
        uid: raw.metadata.uid,
        phase: raw.status.phase,
        host_network: spec.host_network,
        host_pid: spec.host_pid,
        privileged: containers.iter().any(privileged),
        host_ports,
        tolerations: spec.tolerations.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_node_is_read_without_what_is_not_judged() {
        let view = node(
            r#"{"kind":"Node","apiVersion":"v1","metadata":{"name":"node-a","labels":{"node.kubernetes.io/controller":"true"},
                "annotations":{"secret":"abcdef.0123456789abcdef"}},
                "spec":{"taints":[{"key":"node-role.kubernetes.io/controller","effect":"NoSchedule"}]},
                "status":{"nodeInfo":{"kubeletVersion":"v1.36.2","containerRuntimeVersion":"containerd://2.1.4"}}}"#,
        )
        .expect("a node");
        assert_eq!(view.taints.len(), 1);
        assert_eq!(view.kubelet_version.as_deref(), Some("v1.36.2"));
        assert!(!serde_json::to_string(&view).expect("plain").contains("abcdef"));
        assert_eq!(node(r#"{"kind":"Node","metadata":{"name":"a"}}"#).expect("bare").taints, []);
        assert_eq!(node(r#"{"kind":"Status","metadata":{"name":"a"}}"#).map_err(|f| f.kind()), Err("incomplete"));
    }

    #[test]
    fn pods_are_read() {
        let list = pods(
            r#"{"kind":"PodList","metadata":{"resourceVersion":"1"},"items":[
                {"metadata":{"name":"a","namespace":"b","uid":"u-1","annotations":{"kubernetes.io/config.mirror":"x"}},
                 "spec":{"hostNetwork":true,"containers":[{"name":"c","ports":[{"containerPort":80,"hostPort":80},{"containerPort":81}]}],
                         "initContainers":[{"name":"i","securityContext":{"privileged":true}}],
                         "tolerations":[{"operator":"Exists"}]},"status":{"phase":"Running"}},
                {"metadata":{"name":"d","namespace":"b"},"spec":{"hostPID":true,"containers":[{"name":"c"}]},"status":{"phase":"Succeeded"}}]}"#,
        )
        .expect("pods")
        .pods;
        assert!(
            list[0].mirror && list[0].host_network && list[0].privileged && !list[0].host_pid && !list[0].is_over()
        );
        assert_eq!(list[0].host_ports, [80]);
        assert!(list[1].is_over() && list[1].host_pid && !list[1].mirror);
        for (name, text, want) in [
            ("goes on", r#"{"kind":"PodList","metadata":{"continue":"x"},"items":[]}"#, "cut-short"),
            ("another kind", r#"{"kind":"Status","metadata":{},"items":[]}"#, "incomplete"),
            ("a status", r#"{"kind":"Status","metadata":{},"code":403}"#, "malformed"),
        ] {
            assert_eq!(pods(text).map_err(|fault| fault.kind()), Err(want), "{name}");
        }
    }

    #[test]
    fn tolerations_are_matched_as_the_scheduler_does() {
        let taint = Taint {
            key: "node-role.kubernetes.io/controller".to_owned(),
            value: String::new(),
            effect: "NoSchedule".to_owned(),
        };
        let of = |key: &str, operator: &str, value: &str, effect: &str| Toleration {
            key: key.to_owned(),
            operator: operator.to_owned(),
            value: value.to_owned(),
            effect: effect.to_owned(),
        };
        let key = taint.key.as_str();
        for (name, toleration, want) in [
            ("by key", of(key, "Exists", "", ""), true),
            ("by key and effect", of(key, "Exists", "", "NoSchedule"), true),
            ("equal, empty value", of(key, "", "", "NoSchedule"), true),
            ("everything", of("", "Exists", "", ""), true),
            ("everything of an effect", of("", "Exists", "", "NoSchedule"), true),
            ("another effect", of(key, "Exists", "", "NoExecute"), false),
            ("another value", of(key, "Equal", "x", ""), false),
            ("another key", of("node-role.kubernetes.io/master", "Exists", "", ""), false),
            ("no key, equal", of("", "Equal", "", ""), false),
            ("an operator nobody knows", of(key, "Lt", "", ""), false),
        ] {
            assert_eq!(toleration.tolerates(&taint), want, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_object_or_a_fault(text in "(?s).{0,300}") {
            let _ = (node(&text), pods(&text));
        }
    }
}
