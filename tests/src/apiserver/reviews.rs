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
        field_selector: Vec::new(),
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
