//! The reviews a client may ask for about itself: who am I, and may I do this.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::authn::Identity;
use super::authz::{Rule, decide};
use super::clock::rfc3339;
use super::route::Attributes;
use super::store::Store;

/// `SelfSubjectReview`: the user as authentication saw it.
pub(super) fn self_subject(who: &Identity, now: SystemTime) -> Value {
    json!({
        "kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"creationTimestamp": rfc3339(now)},
        "status": {"userInfo": who.user_info()},
    })
}

/// `SelfSubjectAccessReview`: the authorizers' answer, without doing anything.
pub(super) fn self_access(who: &Identity, sent: &Value, rules: &[Rule], store: &Store) -> Value {
    let asked = &sent["spec"]["resourceAttributes"];
    let text = |field: &str| asked[field].as_str().unwrap_or_default().to_owned();
    let what = Attributes {
        verb: text("verb"),
        group: text("group"),
        version: text("version"),
        resource: text("resource"),
        subresource: text("subresource"),
        namespace: text("namespace"),
        name: text("name"),
        field_selector: selector(&asked["fieldSelector"]["requirements"]),
    };
    let decision = decide(who, &what, rules, store);
    let mut status = json!({"allowed": decision.allowed});
    if !decision.allowed && !decision.reason.is_empty() {
        status["reason"] = Value::from(decision.reason);
    }
    json!({
        "kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1",
        "metadata": {}, "spec": sent["spec"], "status": status,
    })
}

/// The requirements that a list or watch with `key=value` has; others are not of use to any rule here.
fn selector(requirements: &Value) -> Vec<(String, String)> {
    let requirements = requirements.as_array().into_iter().flatten();
    requirements
        .filter(|one| one["operator"] == "In" && one["values"].as_array().is_some_and(|values| values.len() == 1))
        .filter_map(|one| Some((one["key"].as_str()?.to_owned(), one["values"][0].as_str()?.to_owned())))
        .collect()
}
