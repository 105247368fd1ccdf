//! The eviction of one pod: what is sent, and what the answers mean (`pkg/registry/core/pod/storage/eviction.go`).

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::slots::refused_words;
use super::Pod;
use crate::status::Reason;

/// Where it is sent.
pub fn path(pod: &Pod) -> String {
    format!("/api/v1/namespaces/{}/pods/{}/eviction", pod.namespace, pod.name)
}

/// What is sent: with the pod's own grace period, and for this very pod only. One of the same name that came since is another's business.
pub fn body(pod: &Pod) -> Value {
    json!({
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod.name, "namespace": pod.namespace},
        "deleteOptions": {"preconditions": {"uid": pod.uid}},
    })
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Eviction {
    /// It was told to end.
    Accepted,
    /// It is gone, or another one has its name.
    Gone,
    /// Not now, or not at all: to be tried again, since budgets are met and removed.
    Refused(Reason),
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    details: Option<Details>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Details {
    causes: Option<Vec<Cause>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cause {
    reason: String,
    message: String,
}

/// Reads an answer.
pub fn eviction(status: u16, body: &[u8]) -> Eviction {
    let words = refused_words(status, body);
    let refused = |kind: &str, message: String| Eviction::Refused(Reason::new(kind, message));
    match status {
        200..300 => Eviction::Accepted,
        404 => Eviction::Gone,
        // The uid is another's. A plain conflict is the server's to repeat, and it does, twenty times.
        409 if words.contains("UID") => Eviction::Gone,
        429 => match budget(body) {
            Some(cause) => refused("disruption-budget", format!("a disruption budget keeps it: {cause}")),
            None => refused("eviction-throttled", format!("the API server takes no eviction now: {words}")),
        },
        500 if words.contains("more than one PodDisruptionBudget") => refused(
            "several-disruption-budgets",
            "more than one PodDisruptionBudget covers it, and then the API server evicts it never: let only one select it".to_owned(),
        ),
        401 => refused("credential-rejected", "the API server does not take the kubelet's certificate".to_owned()),
        // A pod that was deleted meanwhile is answered so, too; the next list tells.
        403 => refused("eviction-forbidden", format!("the API server forbids it: {words}")),
        _ => refused("eviction-refused", format!("the API server does not evict it: {words}")),
    }
}

/// The cause of a 429, if it is a budget.
fn budget(body: &[u8]) -> Option<String> {
    let Status { details } = serde_json::from_slice(body).unwrap_or_default();
    let causes = details?.causes?;
    let cause = causes.into_iter().find(|cause| cause.reason == "DisruptionBudget")?;
    Some(cause.message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect())
}

#[cfg(test)]
mod tests {
    use super::super::super::recorded::recorded;
    use super::*;

    #[test]
    fn a_real_server_is_understood() {
        for (name, want) in [
            ("eviction: own pod", "accepted"),
            ("eviction: pod is gone", "gone"),
            ("eviction: refused by a disruption budget", "several-disruption-budgets"),
            ("eviction: another node's pod", "eviction-forbidden"),
            ("pod: get after deletion", "eviction-forbidden"),
            ("authn: expired client certificate", "credential-rejected"),
        ] {
            let answer = recorded(name);
            assert_eq!(told(&eviction(answer.status, &answer.body)), want, "{name}");
        }
        let sent = recorded("eviction: own pod").sent;
        let pod = Pod {
            namespace: "default".to_owned(),
            name: "free-1795486508".to_owned(),
            uid: "u-1".to_owned(),
            phase: String::new(),
            is_mirror: false,
            controller: None,
            ends: None,
        };
        let mut ours = body(&pod);
        assert_eq!(ours["deleteOptions"], json!({"preconditions": {"uid": "u-1"}}), "no grace period of our own");
        ours.as_object_mut().unwrap().remove("deleteOptions");
        assert_eq!(ours, sent);
        assert_eq!(path(&pod), "/api/v1/namespaces/default/pods/free-1795486508/eviction");
    }

    #[test]
    fn the_other_answers() {
        let budget = json!({"message": "Cannot evict pod as it would violate the pod's disruption budget.", "details": {"causes": [
            {"reason": "DisruptionBudget", "message": "The disruption budget web needs 2 healthy pods and has 2 currently"}]}});
        for (name, status, body, want) in [
            ("a budget", 429, budget.to_string(), "disruption-budget"),
            ("too many requests", 429, json!({"message": "too many"}).to_string(), "eviction-throttled"),
            (
                "another pod of that name",
                409,
                json!({"message": "the UID in the precondition (a) does not match"}).to_string(),
                "gone",
            ),
            ("a conflict", 409, json!({"message": "the object has been modified"}).to_string(), "eviction-refused"),
            ("trouble", 500, "no JSON".to_owned(), "eviction-refused"),
            ("a webhook", 400, json!({"message": "denied the request"}).to_string(), "eviction-refused"),
        ] {
            let got = eviction(status, body.as_bytes());
            assert_eq!(told(&got), want, "{name}");
            if let Eviction::Refused(reason) = got
                && name == "a budget"
            {
                assert!(reason.message.contains("needs 2 healthy pods"), "{}", reason.message);
            }
        }
    }

    fn told(eviction: &Eviction) -> String {
        match eviction {
            Eviction::Accepted => "accepted".to_owned(),
            Eviction::Gone => "gone".to_owned(),
            Eviction::Refused(reason) => reason.kind.clone(),
        }
    }
}
