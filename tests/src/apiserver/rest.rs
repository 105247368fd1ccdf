//! The verbs on the objects: what the API server does between authorization and storage.

use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::admission::{Write, node_restriction};
use super::authn::Identity;
use super::clock::rfc3339;
use super::random::{name_end, uuid};
use super::refusal::{FieldFault, Refusal};
use super::resources::{CONFIG_MAPS, CSRS, EVENTS, PODS, Resource, find};
use super::route::{Attributes, Query};
use super::validation::{check_namespace, validate};
use super::watch::{Filter, Start};
use super::world::{Ending, World};
use super::{csr, patch, pods, preconditions, reviews, slots};

/// A request that passed authentication and authorization.
pub(super) struct Asked<'a> {
    pub(super) who: &'a Identity,
    pub(super) what: &'a Attributes,
    pub(super) query: &'a Query,
    pub(super) content_type: &'a str,
    pub(super) body: &'a [u8],
    pub(super) now: SystemTime,
    /// Upper bound of a pod's ending.
    pub(super) pod_stop: Duration,
    pub(super) watch_progress: bool,
}

/// What goes back.
#[derive(Debug)]
pub(super) enum Answer {
    Object(StatusCode, Value),
    Watch(Box<Start>),
}

impl Asked<'_> {
    /// Does it.
    pub(super) fn act(&self, world: &mut World) -> Result<Answer, Refusal> {
        let what = self.what;
        match (what.verb.as_str(), what.group.as_str(), what.resource.as_str()) {
            ("create", "authentication.k8s.io", "selfsubjectreviews") => {
                return Ok(Answer::Object(StatusCode::CREATED, reviews::self_subject(self.who, self.now)));
            }
            ("create", "authorization.k8s.io", "selfsubjectaccessreviews") => {
                let review = reviews::self_access(self.who, &self.sent()?, &world.rules, &world.store);
                return Ok(Answer::Object(StatusCode::CREATED, review));
            }
            _ => {}
        }
        let resource = find(&what.group, &what.version, &what.resource).ok_or_else(Refusal::no_such_path)?;
        match (what.verb.as_str(), what.subresource.as_str()) {
            ("get", "" | "status" | "approval") => self.get(world, resource),
            ("list", "") => self.list(world, resource),
            ("watch", "") => self.watch(world, resource),
            ("create", "") => self.create(world, resource),
            ("create", "eviction") if *resource == PODS => self.evict(world),
            ("update" | "patch", "" | "status") => self.update(world, resource),
            ("update", "approval") if *resource == CSRS => self.update(world, resource),
            ("delete", "") => self.delete(world, resource),
            (_, "" | "status") => Err(Refusal::method_not_allowed()),
            _ => Err(Refusal::no_such_path()),
        }
    }

    fn get(&self, world: &World, resource: &'static Resource) -> Result<Answer, Refusal> {
        let object = self.existing(world, resource)?;
        Ok(Answer::Object(StatusCode::OK, object))
    }

    fn list(&self, world: &World, resource: &'static Resource) -> Result<Answer, Refusal> {
        let filter = Filter::new(resource, &self.what.namespace, self.query)?;
        let current = world.store.version();
        if let Some(asked) = version_of(self.query)?
            && asked > current
        {
            return Err(Refusal::too_large_version(asked, current));
        }
        let items: Vec<Value> = world
            .store
            .list(resource, &self.what.namespace)
            .filter(|object| filter.takes(object))
            .map(|object| {
                // Items of a list carry neither; the list says it for them.
                let mut item = object.clone();
                if let Some(fields) = item.as_object_mut() {
                    fields.remove("kind");
                    fields.remove("apiVersion");
                }
                item
            })
            .collect();
        let list = json!({
            "kind": format!("{}List", resource.kind), "apiVersion": resource.api_version(),
            "metadata": {"resourceVersion": current.to_string()}, "items": items,
        });
        Ok(Answer::Object(StatusCode::OK, list))
    }

    fn watch(&self, world: &World, resource: &'static Resource) -> Result<Answer, Refusal> {
        let filter = Filter::new(resource, &self.what.namespace, self.query)?;
        let from = version_of(self.query)?;
        let start = Start::new(&world.store, resource, filter, from, self.query, self.watch_progress);
        Ok(Answer::Watch(Box::new(start)))
    }

    fn create(&self, world: &mut World, resource: &'static Resource) -> Result<Answer, Refusal> {
        let object = self.sent()?;
        self.create_object(world, resource, object)
    }

    fn create_object(
        &self,
        world: &mut World,
        resource: &'static Resource,
        mut object: Value,
    ) -> Result<Answer, Refusal> {
        let what = self.what;
        self.check_kind(resource, &object)?;
        if *resource == CSRS {
            csr::check_encoding(&object)?;
        }
        let name = self.name_for(resource, &mut object)?;
        if resource.namespaced {
            check_namespace(&world.store, &what.namespace, &mut object)?;
        }
        self.restrict(world, resource, &name, None, Some(&object))?;
        let metadata = &mut object["metadata"];
        metadata["uid"] = Value::from(uuid().map_err(no_randomness)?);
        metadata["creationTimestamp"] = Value::from(rfc3339(self.now));
        if *resource == CSRS {
            csr::prepare_for_create(&mut object, self.who);
        } else if *resource == PODS {
            object["metadata"]["generation"] = json!(1);
            object["status"] = json!({"phase": "Pending"});
        } else if *resource == EVENTS {
            // Fields of the newer events API that core/v1 always writes out.
            for (field, empty) in
                [("eventTime", Value::Null), ("reportingComponent", "".into()), ("reportingInstance", "".into())]
            {
                if object[field].is_null() {
                    object[field] = empty;
                }
            }
        }
        let faults = validate(resource, &object);
        if !faults.is_empty() {
            return Err(Refusal::invalid(resource, &name, &faults));
        }
        if world.store.get(resource, &what.namespace, &name).is_some() {
            return Err(Refusal::already_exists(resource, &name));
        }
        Ok(Answer::Object(StatusCode::CREATED, world.store.put(resource, object)))
    }

    /// PUT and PATCH, of the object itself and of its subresources.
    fn update(&self, world: &mut World, resource: &'static Resource) -> Result<Answer, Refusal> {
        let what = self.what;
        let existing = match self.existing(world, resource) {
            Ok(existing) => existing,
            Err(_) if what.verb == "update" && what.subresource.is_empty() && resource.create_on_update => {
                let object = self.sent()?;
                return self.create_object(world, resource, object);
            }
            Err(refusal) => return Err(refusal),
        };
        let wanted = if what.verb == "patch" { self.patched(&existing)? } else { self.sent()? };
        if what.verb == "update" {
            self.check_kind(resource, &wanted)?;
        }
        // In the order of the real one: the uid before admission, the version after it.
        preconditions::same_object(resource, &what.name, &existing, &wanted)?;
        self.restrict(world, resource, &what.name, Some(&existing), Some(&wanted))?;
        preconditions::version(resource, &what.name, &existing, &wanted)?;
        let next = self.allowed_part(resource, &existing, wanted)?;
        let faults = if *resource == CSRS { Vec::new() } else { validate(resource, &next) };
        if !faults.is_empty() {
            return Err(Refusal::invalid(resource, &what.name, &faults));
        }
        if *resource == CONFIG_MAPS && world.slots_policy {
            slots::judge(self.who, &what.namespace, &existing, &next)?;
        }
        // A write that changes nothing is not one: same version, no event.
        let stored = if next == existing {
            existing
        } else if self.query.dry_run {
            next
        } else {
            world.store.put(resource, next)
        };
        Ok(Answer::Object(StatusCode::OK, stored))
    }

    fn delete(&self, world: &mut World, resource: &'static Resource) -> Result<Answer, Refusal> {
        let what = self.what;
        let existing = self.existing(world, resource)?;
        self.restrict(world, resource, &what.name, Some(&existing), None)?;
        let options = if self.body.is_empty() { Value::Null } else { self.sent()? };
        preconditions::delete(resource, &existing, &options)?;
        let asked = self.query.grace_period_seconds.or_else(|| options["gracePeriodSeconds"].as_u64());
        if *resource == PODS {
            return Ok(Answer::Object(StatusCode::OK, self.end_pod(world, existing, asked)));
        }
        world.store.remove(resource, &what.namespace, &what.name);
        let mut details = json!({"name": what.name, "kind": resource.plural, "uid": existing["metadata"]["uid"]});
        if !resource.group.is_empty() {
            details["group"] = Value::from(resource.group);
        }
        let status =
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
        Ok(Answer::Object(StatusCode::OK, status))
    }

    fn evict(&self, world: &mut World) -> Result<Answer, Refusal> {
        let what = self.what;
        let eviction = self.sent()?;
        if let Some(node) = self.who.node() {
            let write = self.write(&PODS, &what.name, None, Some(&eviction));
            node_restriction(node, &self.who.username, &write, &world.store)?;
        }
        let pod = self.existing(world, &PODS)?;
        let named = eviction["metadata"]["name"].as_str().unwrap_or_default();
        if named != what.name {
            return Err(Refusal::bad_request(format!("name in URL does not match name in Eviction object: {named}")));
        }
        preconditions::delete(&PODS, &pod, &eviction["deleteOptions"])?;
        pods::may_be_evicted(&pod, &world.store)?;
        let asked = eviction["deleteOptions"]["gracePeriodSeconds"].as_u64();
        self.end_pod(world, pod, asked);
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
        Ok(Answer::Object(StatusCode::CREATED, status))
    }

    /// Marks the pod, and removes it now or has it removed when its time is over. Returns it as marked.
    fn end_pod(&self, world: &mut World, mut pod: Value, asked: Option<u64>) -> Value {
        let grace = pods::mark_ending(&mut pod, asked, self.now);
        let pod = world.store.put(&PODS, pod);
        let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
        let (namespace, name, uid) = (text("namespace"), text("name"), text("uid"));
        if grace == 0 {
            world.store.remove(&PODS, &namespace, &name);
        } else {
            let at = Instant::now() + Duration::from_secs(grace).min(self.pod_stop);
            world.endings.push(Ending { namespace, name, uid, at });
        }
        pod
    }

    fn existing(&self, world: &World, resource: &Resource) -> Result<Value, Refusal> {
        world
            .store
            .get(resource, &self.what.namespace, &self.what.name)
            .cloned()
            .ok_or_else(|| Refusal::not_found(resource, &self.what.name))
    }

    fn write<'a>(
        &'a self,
        resource: &'static Resource,
        name: &'a str,
        before: Option<&'a Value>,
        after: Option<&'a Value>,
    ) -> Write<'a> {
        let what = self.what;
        Write { resource, subresource: &what.subresource, namespace: &what.namespace, name, before, after }
    }

    fn restrict(
        &self,
        world: &World,
        resource: &'static Resource,
        name: &str,
        before: Option<&Value>,
        after: Option<&Value>,
    ) -> Result<(), Refusal> {
        let Some(node) = self.who.node() else { return Ok(()) };
        node_restriction(node, &self.who.username, &self.write(resource, name, before, after), &world.store)
    }

    fn sent(&self) -> Result<Value, Refusal> {
        let media = self.content_type.split(';').next().unwrap_or_default().trim();
        if !matches!(media, "application/json" | "" | "*/*") {
            return Err(Refusal::unsupported_media_type("application/json"));
        }
        json_object(self.body)
    }

    fn patched(&self, existing: &Value) -> Result<Value, Refusal> {
        let change = json_object(self.body)?;
        let mut next = existing.clone();
        match self.content_type {
            "application/merge-patch+json" => patch::merge(&mut next, &change),
            "application/strategic-merge-patch+json" => patch::strategic(&mut next, &change),
            _ => {
                let known = "application/merge-patch+json, application/strategic-merge-patch+json";
                return Err(Refusal::unsupported_media_type(known));
            }
        }
        Ok(next)
    }

    fn check_kind(&self, resource: &Resource, object: &Value) -> Result<(), Refusal> {
        let matches = object["kind"] == resource.kind && object["apiVersion"] == resource.api_version().as_str();
        if matches {
            return Ok(());
        }
        Err(Refusal::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): kind {} of version {}",
            resource.kind, object["kind"], object["apiVersion"],
        )))
    }

    /// The object's own name, or one made from `generateName` as the API server makes them.
    fn name_for(&self, resource: &Resource, object: &mut Value) -> Result<String, Refusal> {
        if !object["metadata"].is_object() {
            object["metadata"] = json!({});
        }
        let metadata = &mut object["metadata"];
        let given = metadata["name"].as_str().unwrap_or_default();
        if !given.is_empty() {
            let mismatch = !self.what.name.is_empty() && self.what.name != given;
            return if mismatch {
                Err(preconditions::wrong_name(given, &self.what.name))
            } else {
                Ok(given.to_owned())
            };
        }
        let Some(base) = metadata["generateName"].as_str().filter(|base| !base.is_empty()) else {
            let fault = FieldFault::required("metadata.name", "name or generateName is required");
            return Err(Refusal::invalid(resource, "", &[fault]));
        };
        let end = name_end().map_err(no_randomness)?;
        let name = format!("{base}{end}");
        metadata["name"] = Value::from(name.clone());
        Ok(name)
    }

    /// Takes from what was sent the part that this path may write; the rest stays as it is.
    fn allowed_part(&self, resource: &Resource, existing: &Value, wanted: Value) -> Result<Value, Refusal> {
        let mut next = match self.what.subresource.as_str() {
            "approval" => return csr::approval(existing, &wanted, self.now),
            "status" => {
                let mut next = existing.clone();
                next["metadata"] = wanted["metadata"].clone();
                next["status"] = wanted["status"].clone();
                next
            }
            _ => {
                let mut next = wanted;
                if resource.has_status {
                    next["status"] = existing["status"].clone();
                }
                if *resource == CSRS {
                    next["spec"] = existing["spec"].clone();
                }
                next
            }
        };
        for field in ["uid", "creationTimestamp", "namespace", "generation", "resourceVersion"] {
            let kept = &existing["metadata"][field];
            if let Some(metadata) = next["metadata"].as_object_mut() {
                if kept.is_null() {
                    metadata.remove(field);
                } else {
                    metadata.insert(field.to_owned(), kept.clone());
                }
            }
        }
        if next["status"].is_null()
            && let Some(fields) = next.as_object_mut()
        {
            fields.remove("status");
        }
        Ok(next)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "map_err gives it away")]
fn no_randomness(error: anyhow::Error) -> Refusal {
    Refusal::internal(&error.to_string(), None)
}

fn json_object(body: &[u8]) -> Result<Value, Refusal> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(Value::Object(fields)),
        Ok(_) => Err(Refusal::bad_request("the body of the request must be a JSON object".to_owned())),
        Err(error) => Err(Refusal::bad_request(format!("couldn't get version/kind; json parse error: {error}"))),
    }
}

fn version_of(query: &Query) -> Result<Option<u64>, Refusal> {
    let Some(text) = &query.resource_version else { return Ok(None) };
    let invalid = |_| Refusal::bad_request(format!("invalid resource version {text:?}: must be a number"));
    text.parse().map(Some).map_err(invalid)
}
