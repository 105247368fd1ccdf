//! The objects, their resource versions, and the history a watch is served from: what etcd and the watch cache are together.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use super::resources::Resource;

/// Entries of history kept over all resources; a watch from before them gets 410, as from a real watch cache.
const HISTORY: usize = 8192;

/// What happened to an object.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) plural: &'static str,
    /// The object before; `None` when it was made.
    pub(super) before: Option<Value>,
    /// The object after; `None` when it was removed.
    pub(super) after: Option<Value>,
}

type Key = (&'static str, String, String);

/// All objects of the cluster, in memory.
#[derive(Debug)]
pub(super) struct Store {
    version: u64,
    objects: BTreeMap<Key, Value>,
    history: VecDeque<Change>,
    /// Per resource: the history up to here is forgotten.
    floors: BTreeMap<&'static str, u64>,
    /// The floor of every resource that has none of its own: where this server's caches were filled.
    floor: u64,
}

impl Store {
    /// An empty store at version 1, as a new etcd.
    pub(super) fn new() -> Self {
        Self { version: 1, objects: BTreeMap::new(), history: VecDeque::new(), floors: BTreeMap::new(), floor: 0 }
    }

    /// The version of the last write.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Lets the version run ahead, as the writes of other clients do in a cluster. Never goes back.
    pub(super) fn advance_to(&mut self, version: u64) {
        self.version = self.version.max(version);
    }

    /// The version before which `resource` has no history.
    pub(super) fn floor(&self, resource: &Resource) -> u64 {
        self.floors.get(resource.plural).copied().unwrap_or(self.floor)
    }

    /// Forgets the history of one resource up to and including `version`.
    pub(super) fn compact(&mut self, resource: &'static Resource, version: u64) {
        let floor = self.floor(resource).max(version);
        self.floors.insert(resource.plural, floor);
    }

    /// Forgets all history, as an API server that was started again has none.
    pub(super) fn restarted(&mut self) {
        self.history.clear();
        self.floors.clear();
        self.floor = self.version;
    }

    pub(super) fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(&(resource.plural, namespace.to_owned(), name.to_owned()))
    }

    /// The objects of one resource in one namespace, in all of them when it is empty; by namespace and name.
    pub(super) fn list(&self, resource: &Resource, namespace: &str) -> impl Iterator<Item = &Value> {
        let from = (resource.plural, namespace.to_owned(), String::new());
        let (plural, namespace) = (resource.plural, namespace.to_owned());
        self.objects
            .range(from..)
            .take_while(move |((p, n, _), _)| *p == plural && (namespace.is_empty() || *n == namespace))
            .map(|(_, object)| object)
    }

    /// Writes an object under the next version and returns it as stored.
    pub(super) fn put(&mut self, resource: &'static Resource, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = Value::from(self.version.to_string());
        let before = self.objects.insert(key(resource, &object), object.clone());
        self.remember(Change { version: self.version, plural: resource.plural, before, after: Some(object.clone()) });
        object
    }

    /// Removes an object under the next version.
    pub(super) fn remove(&mut self, resource: &'static Resource, namespace: &str, name: &str) -> Option<Value> {
        let mut gone = self.objects.remove(&(resource.plural, namespace.to_owned(), name.to_owned()))?;
        self.version += 1;
        gone["metadata"]["resourceVersion"] = Value::from(self.version.to_string());
        self.remember(Change {
            version: self.version,
            plural: resource.plural,
            before: Some(gone.clone()),
            after: None,
        });
        Some(gone)
    }

    /// What happened to a resource after `version`, oldest first.
    pub(super) fn since(&self, resource: &Resource, version: u64) -> impl Iterator<Item = &Change> {
        let start = self.history.partition_point(|change| change.version <= version);
        let plural = resource.plural;
        self.history.range(start..).filter(move |change| change.plural == plural)
    }

    fn remember(&mut self, change: Change) {
        if self.history.len() == HISTORY
            && let Some(forgotten) = self.history.pop_front()
        {
            let floor = self.floors.entry(forgotten.plural).or_insert(self.floor);
            *floor = (*floor).max(forgotten.version);
        }
        self.history.push_back(change);
    }
}

fn key(resource: &Resource, object: &Value) -> Key {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    (resource.plural, text("namespace"), text("name"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::resources::{CONFIG_MAPS, CSRS, LEASES};
    use super::*;

    fn object(namespace: &str, name: &str) -> Value {
        json!({"metadata": {"namespace": namespace, "name": name}})
    }

    #[test]
    fn versions_only_grow_and_history_is_in_their_order() {
        let mut store = Store::new();
        store.put(&LEASES, object("a", "one"));
        store.advance_to(50);
        store.put(&CONFIG_MAPS, object("a", "other"));
        store.put(&LEASES, object("b", "two"));
        store.advance_to(10);
        store.remove(&LEASES, "a", "one");
        let seen: Vec<u64> = store.since(&LEASES, 0).map(|c| c.version).collect();
        assert_eq!(seen, [2, 52, 53]);
        assert_eq!(store.since(&LEASES, 52).count(), 1);
        assert_eq!(store.list(&LEASES, "").count(), 1);
        assert_eq!(store.list(&LEASES, "a").count(), 0);
    }

    #[test]
    fn a_namespace_does_not_run_into_the_next() {
        let mut store = Store::new();
        for (namespace, name) in [("a", "z"), ("ab", "a"), ("b", "a")] {
            store.put(&LEASES, object(namespace, name));
        }
        for (namespace, want) in [("a", 1), ("ab", 1), ("b", 1), ("c", 0), ("", 3)] {
            assert_eq!(store.list(&LEASES, namespace).count(), want, "namespace {namespace:?}");
        }
    }

    #[test]
    fn forgetting_raises_the_floor_of_what_was_forgotten_only() {
        let mut store = Store::new();
        store.put(&CSRS, object("", "first"));
        for n in 0..HISTORY {
            store.put(&LEASES, object("a", &n.to_string()));
        }
        assert_eq!(store.floor(&CSRS), 2);
        assert_eq!(store.floor(&LEASES), 0);
        store.compact(&LEASES, 100);
        assert_eq!(store.floor(&LEASES), 100);
        store.restarted();
        assert_eq!(store.floor(&CSRS), store.version());
        assert_eq!(store.since(&LEASES, 0).count(), 0);
    }
}
