//! The group's slots: one ConfigMap, whose key `slots` is the limit and whose key `holder.<node>` is one taken slot. The admission policy of
//! `reboot-slots.yaml` runs inside the API server's own compare-and-swap, so one merge PATCH takes a slot, and neither can the limit be
//! exceeded nor another node's slot be touched. What is read and written here is compared with answers of a real API server 1.36.

mod contention;
mod refusal;

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

pub use contention::Contention;
pub(crate) use refusal::words as refused_words;
pub use refusal::{Refusal, Then, Verb, refusal, rule_missing};

use super::{Entry, Holder, Slot};
use crate::status::Reason;

/// Where the ConfigMaps of all groups are.
pub const NAMESPACE: &str = "kube-system";
/// The manifest that makes them, as people know it.
pub const MANIFEST: &str = "reboot-slots.yaml";
/// What a taken slot's key begins with; the node's name follows.
const HOLDER: &str = "holder.";
/// The longest reason that is written into a slot, in characters: a ConfigMap holds 1 MiB for the whole group.
const REASON_MAX: usize = 300;
/// The shortest watch, in seconds: twelve an hour at most.
const WATCH_LEAST: f64 = 300.0;
/// How much longer it may be, in seconds; drawn, so that a group does not come back in step.
const WATCH_MORE: f64 = 300.0;

/// The group's ConfigMap.
pub fn config_map(group: &str) -> String {
    format!("reboot-{group}")
}

/// Its path.
pub fn path(group: &str) -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/configmaps/{}", config_map(group))
}

/// A LIST of it alone: what a Role with its name in `resourceNames` allows, and what a watch goes on from.
pub fn list_path(group: &str) -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/configmaps?fieldSelector=metadata.name%3D{}", config_map(group))
}

/// A WATCH of it from `version`, for so long. Without a version the API server would make a watch-list of it, which an etcd without progress
/// notify refuses.
pub fn watch_path(group: &str, version: &str, lasts: Duration) -> String {
    format!(
        "{}&watch=true&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds={}",
        list_path(group),
        lasts.as_secs().max(1)
    )
}

/// How long a watch lasts; `draw` in 0..1 spreads it over 5-10 minutes.
pub fn watch_lasts(draw: f64) -> Duration {
    Duration::from_secs_f64(WATCH_LEAST + WATCH_MORE * if (0.0..=1.0).contains(&draw) { draw } else { 0.5 })
}

/// The entry as it is written: with a reason of bounded length.
pub fn as_written(entry: &Entry) -> Entry {
    Entry { reason: entry.reason.chars().take(REASON_MAX).collect(), ..entry.clone() }
}

/// The merge PATCH that takes the own slot, or writes its entry anew.
pub fn take(node: &str, entry: &Entry) -> Value {
    let entry = as_written(entry);
    // An Entry is strings, a bool and whole seconds: there is nothing in it that JSON cannot hold.
    let text = serde_json::to_string(&entry).unwrap_or_default();
    json!({"data": {(format!("{HOLDER}{node}")): text}})
}

/// The merge PATCH that frees it; one that is free already stays so.
pub fn free(node: &str) -> Value {
    json!({"data": {(format!("{HOLDER}{node}")): null}})
}

/// The ConfigMap as it was at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// `resourceVersion`.
    pub version: String,
    /// What it says; never with a refusal, which is no part of it.
    pub slot: Slot,
}

impl View {
    /// Whether this is from before `other`. By number, as Kubernetes promises for one resource; versions that are none cannot be ordered,
    /// and then it is not.
    pub fn is_older_than(&self, other: &Self) -> bool {
        match (self.version.parse::<u64>(), other.version.parse::<u64>()) {
            (Ok(one), Ok(two)) => one < two,
            _ => false,
        }
    }

    /// How many slots are taken and how many there are, where that is known.
    pub fn taken(&self) -> Option<(usize, u32)> {
        match &self.slot {
            Slot::Unknown(_) => None,
            Slot::Seen { mine, others, limit, .. } => Some((others.len() + usize::from(mine.is_some()), *limit)),
        }
    }

    /// A slot is free for a node that has none.
    pub fn has_room(&self) -> bool {
        self.taken().is_some_and(|(taken, limit)| u32::try_from(taken).is_ok_and(|taken| taken < limit))
    }

    /// More are taken than there are, which the admission policy does not let happen by a node's hand.
    pub fn is_overfull(&self) -> bool {
        self.taken().is_some_and(|(taken, limit)| u32::try_from(taken).map_or(true, |taken| taken > limit))
    }

    /// The own entry.
    pub fn mine(&self) -> Option<&Entry> {
        match &self.slot {
            Slot::Seen { mine, .. } => mine.as_ref(),
            Slot::Unknown(_) => None,
        }
    }
}

#[derive(Deserialize)]
struct ConfigMap {
    metadata: Metadata,
    #[serde(default)]
    data: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: String,
    resource_version: String,
}

#[derive(Deserialize)]
struct List {
    metadata: Metadata,
    items: Vec<ConfigMap>,
}

/// Reads the ConfigMap of `group` for `node`.
///
/// # Errors
/// That it is none, in words for people. A map that says nothing usable is a view all the same: [`Slot::Unknown`].
pub fn read(object: &[u8], group: &str, node: &str) -> Result<View, String> {
    serde_json::from_slice(object).map(|map| view(map, group, node)).map_err(|error| no_map(&error))
}

/// Reads a LIST of it. A list without it is [`Slot::Unknown`], with the list's version, from which a watch sees it come.
///
/// # Errors
/// That it is no list, in words for people.
pub fn read_list(list: &[u8], group: &str, node: &str) -> Result<View, String> {
    let List { metadata, items } = serde_json::from_slice(list).map_err(|error| no_map(&error))?;
    let name = config_map(group);
    Ok(match items.into_iter().find(|map| map.metadata.name == name) {
        // Later changes of other maps count too: the watch goes on from the list's own version.
        Some(map) => View { version: metadata.resource_version, ..view(map, group, node) },
        None => View { version: metadata.resource_version, slot: Slot::Unknown(missing(group)) },
    })
}

fn no_map(error: &serde_json::Error) -> String {
    format!("the API server's answer is no ConfigMap ({error})")
}

/// There is no such group.
fn missing(group: &str) -> Reason {
    let map = config_map(group);
    Reason::new(
        "slots-group-missing",
        format!(
            "there is no ConfigMap {map} in {NAMESPACE}, so the group {group:?} has no slots: apply {MANIFEST} with a ConfigMap {map} in \
             it, or set reboot.group to a group that is there"
        ),
    )
}

/// All slots are taken.
pub fn full(group: &str) -> Reason {
    Reason::new(
        "no-free-slot",
        format!("all slots of the group {group:?} are taken; the next free one is tried for at once"),
    )
}

/// The limit is not enforced: the API server took a write that the policy forbids.
pub fn unguarded(group: &str) -> Reason {
    Reason::new(
        "slots-unguarded",
        format!(
            "nothing keeps the nodes of the group {group:?} to its limit: the ValidatingAdmissionPolicy eyewall-reboot-slots or its binding \
             is missing; apply {MANIFEST}"
        ),
    )
}

fn view(map: ConfigMap, group: &str, node: &str) -> View {
    let name = config_map(group);
    let data = map.data.unwrap_or_default();
    View { version: map.metadata.resource_version, slot: slot(&data, &name, node) }
}

fn slot(data: &std::collections::BTreeMap<String, String>, name: &str, node: &str) -> Slot {
    // As the policy reads it: `int(object.data['slots'])`. Less than none is none.
    let limit = match data.get("slots").map(|text| text.parse::<i64>()) {
        Some(Ok(limit)) => u32::try_from(limit.max(0)).unwrap_or(u32::MAX),
        found => {
            let what = if found.is_some() { "is no whole number" } else { "is missing" };
            return Slot::Unknown(Reason::new(
                "slots-limit-unreadable",
                format!(
                    "the key \"slots\" of the ConfigMap {name} in {NAMESPACE} {what}, so nobody can take a slot: kubectl -n {NAMESPACE} \
                     patch configmap {name} --type merge -p '{{\"data\":{{\"slots\":\"1\"}}}}'"
                ),
            ));
        }
    };
    let mut mine = None;
    let mut others = Vec::new();
    for (key, value) in data {
        let Some(holder) = key.strip_prefix(HOLDER) else { continue };
        let entry = serde_json::from_str::<Entry>(value);
        if holder != node {
            // Whatever another one wrote, its slot is taken.
            others.push(Holder { node: holder.to_owned(), entry: entry.ok() });
            continue;
        }
        match entry {
            Ok(entry) => mine = Some(entry),
            Err(error) => {
                return Slot::Unknown(Reason::new(
                    "own-slot-unreadable",
                    format!(
                        "the slot of this node in the ConfigMap {name} in {NAMESPACE} says nothing that the agent can read ({error}), so \
                         it cannot be told what it was taken for; if this node is good, free it: kubectl -n {NAMESPACE} patch configmap \
                         {name} --type merge -p '{{\"data\":{{\"{HOLDER}{node}\":null}}}}'"
                    ),
                ));
            }
        }
    }
    Slot::Seen { mine, others, limit, refused: None }
}

/// One line of the watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// The map as it is now.
    Map(View),
    /// Nothing new up to this version.
    Bookmark(String),
    /// The map was deleted.
    Gone(View),
    /// The version is too old, or the server ends the watch for a reason of its own: list again.
    Ended,
    /// Of a kind that is not known.
    Other,
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a serde_json::value::RawValue,
}

#[derive(Deserialize)]
struct Versioned {
    metadata: Metadata,
}

/// Reads one line of the watch.
///
/// # Errors
/// That it is none, in words for people.
pub fn line(line: &[u8], group: &str, node: &str) -> Result<Line, String> {
    let nonsense = |error: serde_json::Error| format!("a line of the watch is none ({error})");
    let raw: Raw<'_> = serde_json::from_slice(line).map_err(nonsense)?;
    let object = raw.object.get();
    let version = || serde_json::from_str::<Versioned>(object).map(|object| object.metadata.resource_version);
    Ok(match raw.kind {
        "ADDED" | "MODIFIED" => Line::Map(read(object.as_bytes(), group, node)?),
        "BOOKMARK" => Line::Bookmark(version().map_err(nonsense)?),
        "DELETED" => Line::Gone(View { version: version().map_err(nonsense)?, slot: Slot::Unknown(missing(group)) }),
        "ERROR" => Line::Ended,
        _ => Line::Other,
    })
}

#[cfg(test)]
mod tests;
