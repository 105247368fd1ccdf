//! The two kinds of patch that nodes send: JSON merge patch (RFC 7396) and Kubernetes' strategic merge patch.

use serde_json::{Map, Value};

/// JSON merge patch: objects are merged, `null` removes, everything else replaces.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    let mut fields = taken(target);
    for (field, change) in changes {
        if change.is_null() {
            fields.remove(field);
        } else {
            merge(fields.entry(field.clone()).or_insert(Value::Null), change);
        }
    }
    *target = Value::Object(fields);
}

/// Strategic merge patch: as merge, but the lists that have a merge key are merged by it; new items go in front, as recorded.
/// Of its directives `$patch: delete` and `$patch: replace` are known; the `$setElementOrder` hints are dropped.
pub(super) fn strategic(target: &mut Value, patch: &Value) {
    strategic_at(target, patch, "");
}

fn strategic_at(target: &mut Value, patch: &Value, path: &str) {
    match (patch, merge_key(path)) {
        (Value::Object(changes), _) => {
            if changes.get("$patch").is_some_and(|directive| directive == "replace") {
                let mut whole = changes.clone();
                whole.remove("$patch");
                *target = Value::Object(whole);
                return;
            }
            let mut fields = taken(target);
            for (field, change) in changes.iter().filter(|(field, _)| !field.starts_with('$')) {
                if change.is_null() {
                    fields.remove(field);
                } else {
                    let entry = fields.entry(field.clone()).or_insert(Value::Null);
                    strategic_at(entry, change, &format!("{path}.{field}"));
                }
            }
            *target = Value::Object(fields);
        }
        (Value::Array(changes), Some(key)) => merge_list(target, changes, key, path),
        (other, _) => *target = other.clone(),
    }
}

fn merge_list(target: &mut Value, changes: &[Value], key: &str, path: &str) {
    let mut items = match target.take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    };
    let mut fresh = Vec::new();
    for change in changes {
        let place = items.iter().position(|item| item[key] == change[key]);
        match place {
            Some(index) if change["$patch"] == "delete" => {
                items.remove(index);
            }
            Some(index) => {
                if let Some(item) = items.get_mut(index) {
                    strategic_at(item, change, &format!("{path}[]"));
                }
            }
            None if change["$patch"] == "delete" => {}
            None => fresh.push(change.clone()),
        }
    }
    fresh.append(&mut items);
    *target = Value::Array(fresh);
}

/// The lists of Nodes, Pods and metadata that have a merge key (`patchMergeKey` in the API types).
fn merge_key(path: &str) -> Option<&'static str> {
    match path {
        ".status.conditions" | ".status.addresses" => Some("type"),
        ".metadata.ownerReferences" => Some("uid"),
        _ => None,
    }
}

/// The fields of an object, taken out of it; none of anything else.
fn taken(target: &mut Value) -> Map<String, Value> {
    match target.take() {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn merge_patches() {
        for (name, before, patch, want) in [
            ("adds", json!({"a": 1}), json!({"b": 2}), json!({"a": 1, "b": 2})),
            ("null removes", json!({"a": 1, "b": 2}), json!({"a": null}), json!({"b": 2})),
            ("null of nothing", json!({"a": 1}), json!({"x": null}), json!({"a": 1})),
            ("null within what is new", json!({}), json!({"a": {"b": null, "c": 1}}), json!({"a": {"c": 1}})),
            ("lists are replaced", json!({"a": [1, 2]}), json!({"a": [3]}), json!({"a": [3]})),
            ("depth", json!({"a": {"b": 1, "c": 2}}), json!({"a": {"b": null}}), json!({"a": {"c": 2}})),
        ] {
            let mut target = before;
            merge(&mut target, &patch);
            assert_eq!(target, want, "{name}");
        }
    }

    #[test]
    fn strategic_patches() {
        let conditions = |list: Value| json!({"status": {"conditions": list}});
        let ready = json!({"type": "Ready", "status": "True", "reason": "KubeletReady"});
        let not_ready = json!({"type": "Ready", "status": "False"});
        let pending = json!({"type": "RebootPending", "status": "True"});
        for (name, before, patch, want) in [
            (
                "new in front",
                conditions(json!([ready])),
                conditions(json!([pending])),
                conditions(json!([pending, ready])),
            ),
            (
                "same type merged",
                conditions(json!([pending, ready])),
                conditions(json!([not_ready])),
                conditions(json!([pending, {"type": "Ready", "status": "False", "reason": "KubeletReady"}])),
            ),
            (
                "deleted by directive",
                conditions(json!([pending, ready])),
                conditions(json!([{"type": "RebootPending", "$patch": "delete"}])),
                conditions(json!([ready])),
            ),
            ("from nothing", json!({}), conditions(json!([ready])), conditions(json!([ready]))),
            ("order hints are dropped", json!({}), json!({"$setElementOrder/x": [1], "a": 1}), json!({"a": 1})),
            (
                "other lists are replaced",
                json!({"spec": {"taints": [1]}}),
                json!({"spec": {"taints": [2]}}),
                json!({"spec": {"taints": [2]}}),
            ),
            ("replace", json!({"a": {"b": 1}}), json!({"a": {"$patch": "replace", "c": 2}}), json!({"a": {"c": 2}})),
        ] {
            let mut target = before;
            strategic(&mut target, &patch);
            assert_eq!(target, want, "{name}");
        }
    }
}
