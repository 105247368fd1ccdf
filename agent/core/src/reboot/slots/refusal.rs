//! What a refused request says, and what to do about it.

use serde::Deserialize;

use super::{MANIFEST, NAMESPACE, config_map, full, missing};
use crate::secret::redact;
use crate::status::Reason;

/// What was asked of the ConfigMap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// GET
    Get,
    /// LIST
    List,
    /// WATCH
    Watch,
    /// PATCH
    Patch,
}

impl Verb {
    /// All that a node needs.
    pub const ALL: [Self; 4] = [Self::Get, Self::List, Self::Watch, Self::Patch];

    /// As RBAC names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Patch => "patch",
        }
    }
}

/// When it is worth another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// When the ConfigMap changes.
    WhenChanged,
    /// At once, after the usual jitter: another write came in between.
    AtOnce,
    /// After a while: the server's trouble, or something that a person has to see to.
    Later,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// When to try again.
    pub then: Then,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    message: String,
}

/// The server's own sentence, on one line and bounded, with no secret in it.
pub fn words(status: u16, body: &[u8]) -> String {
    let Status { message } = serde_json::from_slice(body).unwrap_or_default();
    if message.is_empty() {
        return format!("status {status}");
    }
    let line: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(400).collect();
    redact(&line)
}

/// Reads an answer that is not the wanted one.
pub fn refusal(status: u16, body: &[u8], verb: Verb, group: &str) -> Refusal {
    let words = words(status, body);
    let map = config_map(group);
    let (kind, message, then) = match status {
        422 if words.ends_with("no free slot") => return Refusal { reason: full(group), then: Then::WhenChanged },
        422 if words.contains("a node may write only its own slot") => (
            "slot-of-another",
            format!("the API server says that this is not this node's slot ({words}): does node.name name this node?"),
            Then::Later,
        ),
        422 => (
            "slots-write-refused",
            format!(
                "the API server does not take what was written to the ConfigMap {map} ({words}): compare it with {MANIFEST}"
            ),
            Then::Later,
        ),
        401 => (
            "credential-rejected",
            "the API server does not take the kubelet's certificate; see `eyewall certificates`".to_owned(),
            Then::Later,
        ),
        403 => return rule_missing(&words, verb, group),
        404 => return Refusal { reason: missing(group), then: Then::Later },
        409 => ("slots-conflict", "others wrote to the same ConfigMap at the same time".to_owned(), Then::AtOnce),
        429 | 503 | 504 => ("api-server-busy", format!("the API server is too busy to answer ({words})"), Then::Later),
        _ => (
            "api-server-refused",
            format!("the API server refuses to {} the ConfigMap {map}: {words}", verb.as_str()),
            Then::Later,
        ),
    };
    Refusal { reason: Reason::new(kind, message), then }
}

/// The right to `verb` the group's ConfigMap is missing.
pub fn rule_missing(words: &str, verb: Verb, group: &str) -> Refusal {
    let (map, verb) = (config_map(group), verb.as_str());
    // NodeRestriction and other admission plug-ins answer 403 too, and need no rule.
    if !words.is_empty() && !words.contains(" cannot ") {
        let message = format!("the API server forbids this node to {verb} the ConfigMap {map} in {NAMESPACE}: {words}");
        return Refusal { reason: Reason::new("slots-forbidden", message), then: Then::Later };
    }
    let message = format!(
        "nodes may not {verb} the ConfigMap {map} in {NAMESPACE}: the Role `eyewall` of {MANIFEST} (verbs get, list, watch and patch on \
         configmaps, resourceNames with {map}) or its RoleBinding to the group system:nodes is missing; apply {MANIFEST}, with {map} in \
         its resourceNames"
    );
    Refusal { reason: Reason::new("slots-rule-missing", message), then: Then::Later }
}
