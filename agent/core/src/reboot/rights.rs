//! What a node must be allowed to do, and whether it is: a `SelfSubjectAccessReview` for each right, which everybody may ask.

use serde::Deserialize;
use serde_json::{Value, json};

use super::slots::{self, NAMESPACE, Verb};
use crate::status::Reason;

/// Where it is asked.
pub const PATH: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
/// Where it is tried, without doing it, whether the admission policy of the slots is in force.
const PROBE: &str = "eyewall-probe";

/// One right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    verb: &'static str,
    resource: &'static str,
    subresource: &'static str,
    namespace: &'static str,
    name: String,
    /// `spec.nodeName`, where only a list with that selector is allowed.
    on_node: Option<String>,
    /// The group whose manifest grants it; none: the Node authorizer does.
    group: Option<String>,
}

impl Right {
    /// All that the reboots of `node` need; with `group`, for slots too.
    pub fn all(node: &str, group: Option<&str>) -> Vec<Self> {
        let own = |verb, resource, subresource| Self {
            verb,
            resource,
            subresource,
            namespace: "",
            name: node.to_owned(),
            on_node: None,
            group: None,
        };
        let nobody = |verb, resource, subresource| Self { name: String::new(), ..own(verb, resource, subresource) };
        let mut all = vec![
            own("get", "nodes", ""),
            own("patch", "nodes", ""),
            own("patch", "nodes", "status"),
            Self { on_node: Some(node.to_owned()), ..nobody("list", "pods", "") },
            nobody("create", "pods", "eviction"),
            Self { namespace: "default", ..nobody("create", "events", "") },
        ];
        if let Some(group) = group {
            all.extend(Verb::ALL.into_iter().map(|verb| Self {
                namespace: NAMESPACE,
                name: slots::config_map(group),
                group: Some(group.to_owned()),
                ..own(verb.as_str(), "configmaps", "")
            }));
        }
        all
    }

    /// The review to be created.
    pub fn review(&self) -> Value {
        let mut asked = json!({"verb": self.verb, "resource": self.resource});
        for (key, value) in [("subresource", self.subresource), ("namespace", self.namespace), ("name", &self.name)] {
            if !value.is_empty() {
                asked[key] = json!(value);
            }
        }
        if let Some(node) = &self.on_node {
            // Known from 1.31 on; a server that does not know it leaves it out, and lets a node list all pods.
            asked["fieldSelector"] =
                json!({"requirements": [{"key": "spec.nodeName", "operator": "In", "values": [node]}]});
        }
        json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked},
        })
    }

    /// Which rule is missing, and where it comes from.
    pub fn missing(&self) -> Reason {
        if let Some(group) = &self.group {
            let verb = Verb::ALL.into_iter().find(|verb| verb.as_str() == self.verb).unwrap_or(Verb::Get);
            return slots::rule_missing("", verb, group).reason;
        }
        let resource = if self.subresource.is_empty() {
            self.resource.to_owned()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        };
        Reason::new(
            "node-right-missing",
            format!(
                "this node may not {} {resource}: the Node authorizer allows that to every node, so the API server does not run with \
                 --authorization-mode=Node,RBAC, or does not take this certificate for the one of this node",
                self.verb
            ),
        )
    }
}

#[derive(Deserialize)]
struct Reply {
    status: Status,
}

#[derive(Deserialize)]
struct Status {
    allowed: bool,
}

/// Reads the answer to a review.
///
/// # Errors
/// That it is none, in words for people.
pub fn allowed(status: u16, body: &[u8]) -> Result<bool, String> {
    if status != 201 {
        return Err(slots::refused_words(status, body));
    }
    let reply: Reply = serde_json::from_slice(body).map_err(|error| format!("the answer is no review ({error})"))?;
    Ok(reply.status.allowed)
}

/// The path of a write to the group's ConfigMap that is judged and not carried out.
pub fn probe_path(group: &str) -> String {
    format!("{}?dryRun=All", slots::path(group))
}

/// What is written there: a key that no node may write.
pub fn probe() -> Value {
    json!({"data": {PROBE: ""}})
}

/// What the answer says of the admission policy: none, that it is in force; or why it is not known, or not so.
pub fn guarded(status: u16, body: &[u8], group: &str) -> Option<Reason> {
    match status {
        422 if slots::refused_words(status, body).contains("a node may write only its own slot") => None,
        200..300 => Some(slots::unguarded(group)),
        _ => Some(slots::refusal(status, body, Verb::Patch, group).reason),
    }
}

#[cfg(test)]
mod tests {
    use super::super::recorded::recorded;
    use super::*;

    #[test]
    fn reviews_are_as_recorded() {
        let asked = recorded("access review: may I patch my node");
        let all = Right::all("node-a", Some("workers"));
        let patch = all.iter().find(|right| (right.verb, right.resource, right.subresource) == ("patch", "nodes", ""));
        assert_eq!(patch.unwrap().review(), asked.sent);
        assert_eq!(allowed(asked.status, &asked.body), Ok(true));
        assert_eq!(allowed(201, br#"{"status":{"allowed":false,"reason":"x"}}"#), Ok(false));
        assert!(allowed(201, b"{}").is_err());
        assert!(allowed(403, b"{}").is_err());
        assert_eq!(Right::all("node-a", None).len() + 4, all.len());
    }

    #[test]
    fn what_is_missing_is_named() {
        for (right, kind, says) in Right::all("node-a", Some("lab")).into_iter().map(|right| match right.group {
            Some(_) => (right, "slots-rule-missing", "reboot-lab"),
            None => (right, "node-right-missing", "--authorization-mode=Node,RBAC"),
        }) {
            let reason = right.missing();
            assert_eq!(reason.kind, kind, "{right:?}");
            assert!(reason.message.contains(says), "{}", reason.message);
            assert!(reason.message.contains(&format!("may not {} ", right.verb)), "{}", reason.message);
        }
    }

    #[test]
    fn a_policy_that_is_not_there_is_seen() {
        let refused = recorded("slots: raise the limit");
        assert_eq!(guarded(refused.status, &refused.body, "workers"), None);
        for (status, kind) in [
            (200, "slots-unguarded"),
            (403, "slots-forbidden"),
            (404, "slots-group-missing"),
            (422, "slots-write-refused"),
        ] {
            assert_eq!(guarded(status, b"{}", "workers").unwrap().kind, kind, "{status}");
        }
        assert_eq!(probe()["data"].as_object().unwrap().len(), 1);
    }
}
