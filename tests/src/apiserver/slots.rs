//! The admission policy of the reboot slots, by its own expressions: a ConfigMap per group, `slots` is the limit and
//! `holder.<node>` is one taken slot. A node writes only its own entry, and takes one only while there is room.

use serde_json::{Map, Value};

use super::authn::Identity;
use super::refusal::Refusal;
use super::resources::CONFIG_MAPS;

/// Name of the policy and of its binding.
const POLICY: &str = "eyewall-reboot-slots";

/// Judges an update of a config map. The policy looks at updates by nodes, in kube-system, of objects labelled as eyewall's.
pub(super) fn judge(who: &Identity, namespace: &str, before: &Value, after: &Value) -> Result<(), Refusal> {
    let ours = |object: &Value| object["metadata"]["labels"]["app.kubernetes.io/name"] == "eyewall";
    // An object selector matches when either the old or the new object does, so nobody escapes by taking the label off.
    if namespace != "kube-system" || !who.in_group("system:nodes") || !(ours(before) || ours(after)) {
        return Ok(());
    }
    let name = after["metadata"]["name"].as_str().unwrap_or_default();
    let denied = |why: &str| Refusal::denied_by_policy(&CONFIG_MAPS, name, POLICY, POLICY, why);
    let mine = format!("holder.{}", who.username.get("system:node:".len()..).unwrap_or_default());
    let (Some(old), Some(new)) = (before["data"].as_object(), after["data"].as_object()) else {
        return Err(denied("expression 'object.data.all(k, ...)' resulted in error: no such key: data"));
    };
    if !writes_only(&mine, old, new) {
        return Err(denied("a node may write only its own slot"));
    }
    match room(&mine, new) {
        Some(true) => Ok(()),
        Some(false) => Err(denied("no free slot")),
        None => Err(denied("expression 'int(object.data['slots'])' resulted in error: type conversion error")),
    }
}

/// `object.data.all(k, k == mine || (k in oldObject.data && object.data[k] == oldObject.data[k]))
/// && oldObject.data.all(k, k == mine || k in object.data)`
fn writes_only(mine: &str, old: &Map<String, Value>, new: &Map<String, Value>) -> bool {
    new.iter().all(|(k, v)| k == mine || old.get(k) == Some(v)) && old.keys().all(|k| k == mine || new.contains_key(k))
}

/// `object.data.filter(k, k.startsWith('holder.')).size() <= int(object.data['slots']) || !(mine in object.data)`.
/// CEL's `||` forgives an error on one side when the other is true; `None` is an error that is not forgiven.
fn room(mine: &str, new: &Map<String, Value>) -> Option<bool> {
    if !new.contains_key(mine) {
        return Some(true);
    }
    let slots: i64 = new.get("slots")?.as_str()?.parse().ok()?;
    let taken = new.keys().filter(|key| key.starts_with("holder.")).count();
    Some(i64::try_from(taken).is_ok_and(|taken| taken <= slots))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_expressions() {
        let map = |value: Value| value.as_object().unwrap().clone();
        for (name, old, new, only_mine, room_left) in [
            ("take", json!({"slots": "1"}), json!({"slots": "1", "holder.a": "x"}), true, Some(true)),
            (
                "take, full",
                json!({"slots": "1", "holder.b": ""}),
                json!({"slots": "1", "holder.a": "", "holder.b": ""}),
                true,
                Some(false),
            ),
            (
                "take the second of two",
                json!({"slots": "2", "holder.b": ""}),
                json!({"slots": "2", "holder.a": "", "holder.b": ""}),
                true,
                Some(true),
            ),
            (
                "write again, full",
                json!({"slots": "1", "holder.a": "x"}),
                json!({"slots": "1", "holder.a": "y"}),
                true,
                Some(true),
            ),
            ("free", json!({"slots": "1", "holder.a": ""}), json!({"slots": "1"}), true, Some(true)),
            (
                "free when over the limit",
                json!({"slots": "0", "holder.a": "", "holder.b": ""}),
                json!({"slots": "0", "holder.b": ""}),
                true,
                Some(true),
            ),
            ("free another's", json!({"slots": "1", "holder.b": ""}), json!({"slots": "1"}), false, Some(true)),
            (
                "change another's",
                json!({"slots": "1", "holder.b": "x"}),
                json!({"slots": "1", "holder.b": "y"}),
                false,
                Some(true),
            ),
            ("steal", json!({"slots": "1", "holder.b": ""}), json!({"slots": "1", "holder.a": ""}), false, Some(true)),
            ("raise the limit", json!({"slots": "1"}), json!({"slots": "9"}), false, Some(true)),
            ("lower it", json!({"slots": "1"}), json!({}), false, Some(true)),
            ("add something else", json!({"slots": "1"}), json!({"slots": "1", "note": "x"}), false, Some(true)),
            ("no limit at all", json!({}), json!({"holder.a": ""}), true, None),
            ("limit that is no number", json!({"slots": "many"}), json!({"slots": "many", "holder.a": ""}), true, None),
        ] {
            let (old, new) = (map(old), map(new));
            assert_eq!(writes_only("holder.a", &old, &new), only_mine, "{name}: only mine");
            assert_eq!(room("holder.a", &new), room_left, "{name}: room");
        }
    }
}
