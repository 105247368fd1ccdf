//! The pods of a node, read page by page: only what a drain decides by.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::time::Time;

/// Pods on one page. A pod is some 10 kB, rarely 30; an answer is read up to 1 MiB.
const PAGE: usize = 25;

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid: a later pod of the same name has another.
    pub uid: String,
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: String,
    /// It mirrors a static pod.
    pub is_mirror: bool,
    /// The kind of its controller, if it has one.
    pub controller: Option<String>,
    /// When it should have ended, if it was told to: its `deletionTimestamp`, which has the grace period in it.
    pub ends: Option<Time>,
}

impl Pod {
    /// `namespace/name`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// Some of the pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The pods.
    pub pods: Vec<Pod>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

/// The path of a page of the pods on `node`. The Node authorizer allows it with exactly this field selector.
pub fn list_path(node: &str, next: Option<&str>) -> String {
    let mut path = format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{node}&limit={PAGE}");
    if let Some(next) = next {
        path.push_str("&continue=");
        for byte in next.bytes() {
            // The token is base64 or what the server likes; only what no query can misread goes as it is.
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
                path.push(char::from(byte));
            } else {
                path.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    path
}

#[derive(Deserialize)]
struct List {
    kind: String,
    #[serde(default)]
    metadata: ListMetadata,
    items: Option<Vec<Raw>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ListMetadata {
    #[serde(rename = "continue")]
    next: String,
}

#[derive(Deserialize)]
struct Raw {
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    namespace: String,
    name: String,
    uid: String,
    #[serde(default)]
    annotations: Option<BTreeMap<String, IgnoredAny>>,
    #[serde(default)]
    owner_references: Option<Vec<Owner>>,
    #[serde(default)]
    deletion_timestamp: Option<String>,
}

#[derive(Deserialize)]
struct Owner {
    kind: String,
    #[serde(default)]
    controller: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    phase: String,
}

/// Reads a page.
///
/// # Errors
/// That it is none, in words for people.
pub fn read(list: &[u8]) -> Result<Page, String> {
    let no_list = |why: String| format!("the API server's answer is no list of pods ({why})");
    let list: List = serde_json::from_slice(list).map_err(|error| no_list(error.to_string()))?;
    if list.kind != "PodList" {
        return Err(no_list(format!("but a {:?}", list.kind)));
    }
    let pods = list.items.unwrap_or_default().into_iter().map(pod).collect::<Result<_, _>>().map_err(no_list)?;
    Ok(Page { pods, next: Some(list.metadata.next).filter(|next| !next.is_empty()) })
}

fn pod(raw: Raw) -> Result<Pod, String> {
    let metadata = raw.metadata;
    let owners = metadata.owner_references.unwrap_or_default();
    Ok(Pod {
        is_mirror: metadata.annotations.is_some_and(|all| all.contains_key("kubernetes.io/config.mirror")),
        controller: owners.into_iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.kind),
        ends: metadata.deletion_timestamp.as_deref().map(Time::parse).transpose()?,
        namespace: metadata.namespace,
        name: metadata.name,
        uid: metadata.uid,
        phase: raw.status.phase,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::recorded::recorded;
    use super::*;

    #[test]
    fn a_real_list_is_read() {
        let Page { pods, next } = read(&recorded("pods: on own node").body).unwrap();
        assert_eq!(next, None);
        assert!(pods.len() >= 2, "{pods:?}");
        assert!(pods.iter().all(|pod| pod.namespace == "default" && !pod.uid.is_empty() && pod.controller.is_none()));
        assert!(pods.iter().any(|pod| pod.name == "free-1795486508" && pod.phase == "Running" && pod.ends.is_none()));
    }

    #[test]
    fn owners_and_ends() {
        let pod = |metadata: Value| {
            let mut all = json!({"namespace": "d", "name": "p", "uid": "u"});
            for (key, value) in metadata.as_object().unwrap() {
                all[key] = value.clone();
            }
            let list = json!({"kind": "PodList", "metadata": {"continue": "x=="}, "items": [{"metadata": all}]});
            read(list.to_string().as_bytes()).map(|page| (page.pods[0].clone(), page.next))
        };
        let owner =
            |kind: &str, controller: Value| json!({"ownerReferences": [{"kind": kind, "controller": controller}]});
        for (name, metadata, controller, mirror, ends) in [
            ("nobody's", json!({}), None, false, None),
            ("a controller's", owner("ReplicaSet", json!(true)), Some("ReplicaSet"), false, None),
            ("an owner that is no controller", owner("Thing", Value::Null), None, false, None),
            ("static", json!({"annotations": {"kubernetes.io/config.mirror": "hash"}}), None, true, None),
            ("ending", json!({"deletionTimestamp": "1970-01-01T00:01:00Z"}), None, false, Some(60)),
        ] {
            let (got, next) = pod(metadata).unwrap();
            assert_eq!(
                (got.controller.as_deref(), got.is_mirror, got.ends.map(Time::unix)),
                (controller, mirror, ends),
                "{name}"
            );
            assert_eq!(next.as_deref(), Some("x=="), "{name}");
        }
        assert!(pod(json!({"deletionTimestamp": "soon"})).is_err());
        for nonsense in ["", "{}", r#"{"kind":"NodeList","items":[]}"#, r#"{"kind":"PodList","items":[{}]}"#] {
            assert!(read(nonsense.as_bytes()).is_err(), "{nonsense}");
        }
        assert_eq!(read(br#"{"kind":"PodList","items":null}"#).unwrap().pods, []);
    }

    #[test]
    fn the_selector_is_the_one_that_is_allowed() {
        assert_eq!(list_path("node-a", None), "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-a&limit=25");
        assert!(list_path("node-a", Some("eyJ2=/+&x")).ends_with("&limit=25&continue=eyJ2%3D%2F%2B%26x"));
    }
}
