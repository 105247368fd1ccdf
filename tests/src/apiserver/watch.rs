//! Watches: where they start, what they let through, and the stream of lines that a client reads.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::refusal::Refusal;
use super::resources::{CSRS, EVENTS, NODES, PODS, Resource};
use super::route::Query;
use super::store::{Change, Store};
use super::world::Shared;

/// How long a watch lasts whose client sets no limit; the real one draws 30 to 60 minutes.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// A last bookmark is sent this long before the end, so that the next watch need not start from an old version.
const BEFORE_END: Duration = Duration::from_secs(2);

/// What a list or watch selects.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    namespace: String,
    fields: Vec<(String, String)>,
    labels: Vec<(String, String)>,
}

impl Filter {
    /// # Errors
    /// When a field may not be selected by.
    pub(super) fn new(resource: &Resource, namespace: &str, query: &Query) -> Result<Self, Refusal> {
        for (field, _) in &query.field_selector {
            if !selectable(resource, field) {
                return Err(Refusal::bad_request(format!("field label not supported: {field}")));
            }
        }
        Ok(Self {
            namespace: namespace.to_owned(),
            fields: query.field_selector.clone(),
            labels: query.label_selector.clone(),
        })
    }

    pub(super) fn takes(&self, object: &Value) -> bool {
        (self.namespace.is_empty() || object["metadata"]["namespace"] == self.namespace.as_str())
            && self.fields.iter().all(|(path, value)| {
                let found = path.split('.').fold(object, |at, field| &at[field]);
                found.as_str().unwrap_or_default() == value
            })
            && self.labels.iter().all(|(key, value)| object["metadata"]["labels"][key] == value.as_str())
    }

    /// What a change looks like to somebody who sees only what the filter takes.
    fn line(&self, change: &Change) -> Option<Value> {
        let taken = |object: &Option<Value>| object.as_ref().filter(|object| self.takes(object)).cloned();
        let (kind, object) = match (taken(&change.before), taken(&change.after)) {
            (None, Some(after)) => ("ADDED", after),
            (Some(_), Some(after)) => ("MODIFIED", after),
            (Some(mut before), None) => {
                before["metadata"]["resourceVersion"] = Value::from(change.version.to_string());
                ("DELETED", before)
            }
            (None, None) => return None,
        };
        Some(json!({"type": kind, "object": object}))
    }
}

fn selectable(resource: &Resource, field: &str) -> bool {
    let own: &[&str] = if *resource == PODS {
        &["spec.nodeName", "status.phase", "spec.restartPolicy", "spec.serviceAccountName"]
    } else if *resource == CSRS {
        &["spec.signerName"]
    } else if *resource == NODES {
        &["spec.unschedulable"]
    } else if *resource == EVENTS {
        &[
            "involvedObject.kind",
            "involvedObject.name",
            "involvedObject.namespace",
            "involvedObject.uid",
            "reason",
            "type",
        ]
    } else {
        &[]
    };
    field == "metadata.name" || (field == "metadata.namespace" && resource.namespaced) || own.contains(&field)
}

/// A watch as it was asked for, with the lines it begins with.
#[derive(Debug)]
pub(super) struct Start {
    resource: &'static Resource,
    filter: Filter,
    first: Vec<Value>,
    /// Changes after this version are sent; `None` ends the stream after the first lines.
    after: Option<u64>,
    bookmarks: bool,
    timeout: Duration,
}

impl Start {
    pub(super) fn new(
        store: &Store,
        resource: &'static Resource,
        filter: Filter,
        from: Option<u64>,
        query: &Query,
        progress: bool,
    ) -> Self {
        let mut start = Self {
            resource,
            filter,
            first: Vec::new(),
            after: Some(from.unwrap_or(0)),
            bookmarks: query.bookmarks,
            timeout: query.timeout_seconds.map_or(DEFAULT_TIMEOUT, Duration::from_secs),
        };
        let floor = store.floor(resource);
        // Bookmarks and no version is a watch-list in disguise, and that needs etcd to report its progress.
        let watch_list = query.initial_events || (query.bookmarks && from.is_none());
        match from {
            _ if watch_list && !progress => {
                let why = "a watch stream was requested by the client but the required storage feature \
                           RequestWatchProgress is disabled";
                start.fail(&Refusal::internal(why, Some("InternalError")));
            }
            Some(version) if version > 0 && version < floor => start.fail(&Refusal::expired(version, floor)),
            Some(version) if version > 0 && !query.initial_events => {}
            _ => {
                let version = store.version();
                let existing = store.list(resource, &start.filter.namespace).filter(|o| start.filter.takes(o));
                start.first = existing.map(|object| json!({"type": "ADDED", "object": object})).collect();
                start.after = Some(version);
                if query.initial_events {
                    let mut bookmark = bookmark(resource, version);
                    bookmark["object"]["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
                    start.first.push(bookmark);
                }
            }
        }
        start
    }

    fn fail(&mut self, refusal: &Refusal) {
        self.first = vec![json!({"type": "ERROR", "object": refusal.status()})];
        self.after = None;
    }
}

/// A bookmark names a version and nothing else: its object has no name.
fn bookmark(resource: &Resource, version: u64) -> Value {
    json!({
        "type": "BOOKMARK",
        "object": {
            "kind": resource.kind, "apiVersion": resource.api_version(),
            "metadata": {"resourceVersion": version.to_string(), "creationTimestamp": null},
        },
    })
}

/// The sending half of a stream: whole lines, or the cut that a fault wants.
pub(super) type Lines = mpsc::Sender<Result<Bytes, std::io::Error>>;

/// Sends lines until the time is over, the client is gone, or `cut_after` lines went out.
pub(super) async fn run(shared: Arc<Shared>, start: Start, lines: Lines, cut_after: Option<usize>) {
    let mut ticks = shared.ticks();
    let end = Instant::now() + start.timeout;
    let before_end = end.checked_sub(BEFORE_END).filter(|_| start.timeout > BEFORE_END);
    let mut last_words = before_end;
    let mut next_bookmark = Instant::now() + shared.options.bookmark_every;
    let mut pending = start.first.clone();
    let mut at = start.after;
    let mut sent = 0;
    loop {
        ticks.mark_unchanged();
        if let Some(from) = at {
            let (new, now_at) = shared.look(|world| {
                let new: Vec<Value> =
                    world.store.since(start.resource, from).filter_map(|change| start.filter.line(change)).collect();
                (new, world.store.version().max(from))
            });
            pending.extend(new);
            at = Some(now_at);
        }
        let now = Instant::now();
        let bookmark_due = now >= next_bookmark || last_words.is_some_and(|due| now >= due);
        if let (true, Some(version)) = (start.bookmarks && bookmark_due, at) {
            pending.push(bookmark(start.resource, version));
        }
        if now >= next_bookmark {
            next_bookmark = now + shared.options.bookmark_every;
        }
        last_words = last_words.filter(|due| now < *due);
        for line in pending.drain(..) {
            if cut_after.is_some_and(|limit| sent >= limit) {
                return cut(&lines).await;
            }
            sent += 1;
            if lines.send(Ok(Bytes::from(format!("{line}\n")))).await.is_err() {
                return;
            }
        }
        if cut_after.is_some_and(|limit| sent >= limit) {
            return cut(&lines).await;
        }
        if at.is_none() || now >= end {
            return;
        }
        let wake = last_words.unwrap_or(end).min(end).min(next_bookmark);
        tokio::select! {
            result = ticks.changed() => if result.is_err() { return },
            () = tokio::time::sleep_until(wake) => {}
            () = lines.closed() => return,
        }
    }
}

/// Ends a stream in the middle: an error in the body makes hyper drop the connection. Before it does, what was sent must
/// be on its way, for hyper does not flush what it holds when the error comes at once.
pub(super) async fn cut(lines: &Lines) {
    tokio::time::sleep(Duration::from_millis(20)).await;
    let _ = lines.send(Err(std::io::Error::other("the test cuts this body"))).await;
}

#[cfg(test)]
mod tests {
    use super::super::resources::LEASES;
    use super::*;

    fn store() -> Store {
        let mut store = Store::new();
        store.advance_to(10);
        store.put(&CSRS, json!({"metadata": {"name": "old"}}));
        store.put(&CSRS, json!({"metadata": {"name": "x"}}));
        store.compact(&CSRS, 11);
        store
    }

    fn start(from: Option<u64>, query: &Query, progress: bool) -> Start {
        let filter = Filter::new(&CSRS, "", query).unwrap();
        Start::new(&store(), &CSRS, filter, from, query, progress)
    }

    fn told(lines: &[Value]) -> Vec<String> {
        let about = |line: &Value| line["object"]["metadata"]["name"].as_str().map(str::to_owned);
        lines
            .iter()
            .map(|line| {
                let what = about(line).or_else(|| line["object"]["reason"].as_str().map(str::to_owned));
                format!("{} {}", line["type"].as_str().unwrap(), what.unwrap_or_default())
            })
            .collect()
    }

    #[test]
    fn where_a_watch_starts() {
        let plain = Query { watch: true, ..Query::default() };
        let bookmarks = Query { bookmarks: true, ..plain.clone() };
        let initial = Query { initial_events: true, ..bookmarks.clone() };
        let only_x = Query { field_selector: vec![("metadata.name".into(), "x".into())], ..plain.clone() };
        let (all, none) = (vec!["ADDED old", "ADDED x"], Vec::<&str>::new());
        for (name, from, query, progress, first, after) in [
            ("from a version", Some(11), &plain, false, none.clone(), Some(11)),
            ("from a version that is gone", Some(10), &plain, false, vec!["ERROR Expired"], None),
            ("from nowhere", None, &plain, false, all.clone(), Some(12)),
            ("from zero", Some(0), &plain, false, all.clone(), Some(12)),
            ("one name", None, &only_x, false, vec!["ADDED x"], Some(12)),
            ("bookmarks from a version", Some(12), &bookmarks, false, none.clone(), Some(12)),
            ("bookmarks from nowhere", None, &bookmarks, false, vec!["ERROR InternalError"], None),
            ("bookmarks from nowhere, able etcd", None, &bookmarks, true, all.clone(), Some(12)),
            ("initial events", None, &initial, true, vec!["ADDED old", "ADDED x", "BOOKMARK "], Some(12)),
        ] {
            let start = start(from, query, progress);
            assert_eq!(told(&start.first), first, "{name}");
            assert_eq!(start.after, after, "{name}");
        }
    }

    #[test]
    fn changes_are_seen_through_the_filter() {
        let query = Query { field_selector: vec![("spec.nodeName".into(), "a".into())], ..Query::default() };
        let filter = Filter::new(&PODS, "", &query).unwrap();
        let on = |node: &str| Some(json!({"metadata": {"name": "p"}, "spec": {"nodeName": node}}));
        for (name, before, after, want) in [
            ("made here", None, on("a"), Some("ADDED")),
            ("made elsewhere", None, on("b"), None),
            ("bound to here", on(""), on("a"), Some("ADDED")),
            ("changed here", on("a"), on("a"), Some("MODIFIED")),
            ("moved away", on("a"), on("b"), Some("DELETED")),
            ("removed here", on("a"), None, Some("DELETED")),
            ("removed elsewhere", on("b"), None, None),
        ] {
            let line = filter.line(&Change { version: 7, plural: PODS.plural, before, after });
            let kind = line.as_ref().map(|line| line["type"].as_str().unwrap());
            assert_eq!(kind, want, "{name}");
            if kind == Some("DELETED") {
                assert_eq!(line.unwrap()["object"]["metadata"]["resourceVersion"], "7", "{name}");
            }
        }
    }

    #[test]
    fn fields_that_can_be_selected_by() {
        for (resource, field, want) in [
            (&PODS, "spec.nodeName", true),
            (&NODES, "spec.nodeName", false),
            (&NODES, "metadata.namespace", false),
            (&LEASES, "metadata.namespace", true),
            (&CSRS, "spec.signerName", true),
            (&CSRS, "metadata.uid", false),
        ] {
            assert_eq!(selectable(resource, field), want, "{} {field}", resource.plural);
        }
    }
}
