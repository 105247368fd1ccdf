//! Pods on their way out: evictions under disruption budgets, and deletion with a grace period.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::clock::rfc3339;
use super::refusal::Refusal;
use super::resources::{BUDGETS, PODS};
use super::store::Store;

/// Kubernetes' default when a pod does not say.
const DEFAULT_GRACE: u64 = 30;

/// Whether the disruption budgets let this pod go (`pkg/registry/core/pod/storage/eviction.go`).
pub(super) fn may_be_evicted(pod: &Value, store: &Store) -> Result<(), Refusal> {
    let ending = !pod["metadata"]["deletionTimestamp"].is_null();
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    if ending || matches!(phase, "Succeeded" | "Failed" | "Pending") {
        return Ok(());
    }
    let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
    let budgets: Vec<&Value> = store.list(&BUDGETS, namespace).filter(|budget| covers(budget, pod)).collect();
    let budget = match budgets.as_slice() {
        [] => return Ok(()),
        [one] => *one,
        _ => {
            let why =
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            return Err(Refusal::internal(why, None));
        }
    };
    let covered: Vec<&Value> = store.list(&PODS, namespace).filter(|other| covers(budget, other)).collect();
    let expected = i64::try_from(covered.len()).unwrap_or(i64::MAX);
    let healthy = i64::try_from(covered.iter().filter(|pod| healthy(pod)).count()).unwrap_or(i64::MAX);
    let desired = budget["spec"]["minAvailable"]
        .as_i64()
        .or_else(|| budget["spec"]["maxUnavailable"].as_i64().map(|allowed| expected - allowed))
        .unwrap_or(expected);
    if healthy > desired {
        return Ok(());
    }
    Err(Refusal::disruption_budget(budget["metadata"]["name"].as_str().unwrap_or_default(), desired, healthy))
}

fn covers(budget: &Value, pod: &Value) -> bool {
    let labels = &pod["metadata"]["labels"];
    let wanted = budget["spec"]["selector"]["matchLabels"].as_object();
    wanted.is_some_and(|wanted| wanted.iter().all(|(key, value)| labels[key] == *value))
}

fn healthy(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let ready = conditions.filter(|c| c["type"] == "Ready").any(|c| c["status"] == "True");
    ready && pod["metadata"]["deletionTimestamp"].is_null()
}

/// Marks a pod as ending and says how many seconds it has. A second order can only shorten them.
pub(super) fn mark_ending(pod: &mut Value, asked: Option<u64>, now: SystemTime) -> u64 {
    let own = pod["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(DEFAULT_GRACE);
    let assigned = !pod["spec"]["nodeName"].as_str().unwrap_or_default().is_empty();
    let over = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    // Nobody runs it (any more), so there is nobody to wait for.
    let mut grace = if assigned && !over { asked.unwrap_or(own) } else { 0 };
    if let Some(before) = pod["metadata"]["deletionGracePeriodSeconds"].as_u64() {
        grace = grace.min(before);
    }
    let at = rfc3339(now + std::time::Duration::from_secs(grace));
    let generation = pod["metadata"]["generation"].as_u64().unwrap_or(1) + 1;
    pod["metadata"]["deletionTimestamp"] = Value::from(at);
    pod["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
    pod["metadata"]["generation"] = json!(generation);
    grace
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, app: &str, phase: &str, ready: &str) -> Value {
        json!({
            "metadata": {"namespace": "default", "name": name, "labels": {"app": app}},
            "spec": {"nodeName": "a"},
            "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]},
        })
    }

    #[test]
    fn budgets_decide() {
        let mut store = Store::new();
        let budget = |name: &str, app: &str, spec: Value| {
            let mut budget = json!({"metadata": {"namespace": "default", "name": name}, "spec": spec});
            budget["spec"]["selector"] = json!({"matchLabels": {"app": app}});
            budget
        };
        store.put(&BUDGETS, budget("min", "min", json!({"minAvailable": 1})));
        store.put(&BUDGETS, budget("tight", "tight", json!({"minAvailable": 2})));
        store.put(&BUDGETS, budget("max", "max", json!({"maxUnavailable": 1})));
        store.put(&BUDGETS, budget("none", "none", json!({"maxUnavailable": 0})));
        store.put(&BUDGETS, budget("one", "both", json!({"minAvailable": 0})));
        store.put(&BUDGETS, budget("two", "both", json!({"minAvailable": 0})));
        for app in ["min", "tight", "max", "none", "both", "free"] {
            for n in ["1", "2"] {
                store.put(&PODS, pod(&format!("{app}-{n}"), app, "Running", "True"));
            }
        }
        for (name, pod, want) in [
            ("no budget", pod("free-1", "free", "Running", "True"), None),
            ("room above the minimum", pod("min-1", "min", "Running", "True"), None),
            (
                "no room above the minimum",
                pod("tight-1", "tight", "Running", "True"),
                Some((429, "needs 2 healthy pods and has 2 currently")),
            ),
            ("one may be away", pod("max-1", "max", "Running", "True"), None),
            (
                "none may be away",
                pod("none-1", "none", "Running", "True"),
                Some((429, "needs 2 healthy pods and has 2 currently")),
            ),
            ("two budgets", pod("both-1", "both", "Running", "True"), Some((500, "more than one PodDisruptionBudget"))),
            ("a pod that never ran is free", pod("tight-1", "tight", "Pending", "False"), None),
            ("a pod that is over is free", pod("tight-1", "tight", "Succeeded", "False"), None),
        ] {
            match (may_be_evicted(&pod, &store), want) {
                (Ok(()), None) => {}
                (Err(refusal), Some((code, text))) => {
                    assert_eq!(refusal.code.as_u16(), code, "{name}");
                    assert!(refusal.status().to_string().contains(text), "{name}: {}", refusal.status());
                }
                (got, want) => panic!("{name}: {got:?}, wanted {want:?}"),
            }
        }
    }

    #[test]
    fn grace_only_gets_shorter() {
        let now = SystemTime::UNIX_EPOCH;
        for (name, phase, node, own, asked, want) in [
            ("its own", "Running", "a", Some(45), None, 45),
            ("the default", "Running", "a", None, None, 30),
            ("asked", "Running", "a", Some(45), Some(5), 5),
            ("not scheduled", "Pending", "", Some(45), None, 0),
            ("over already", "Failed", "a", Some(45), None, 0),
        ] {
            let mut pod = pod("x", "x", phase, "True");
            pod["spec"] = json!({"nodeName": node, "terminationGracePeriodSeconds": own});
            assert_eq!(mark_ending(&mut pod, asked, now), want, "{name}");
            assert_eq!(mark_ending(&mut pod, Some(want + 10), now), want, "{name}, asked again for longer");
        }
    }
}
