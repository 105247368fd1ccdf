//! What the cluster is told of a node's reboots: annotations and a condition on the Node, and an Event for each step. The reason is the one
//! that the socket, the journal and the inhibitor carry.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};

use crate::status::{Health, Reason};
use crate::time::Time;

/// Where on the line the node is, as `eyewall reboot` says it.
pub const STATE: &str = "eyewall.dev/reboot-state";
/// Why: the word for machines, a colon, the sentence.
pub const REASON: &str = "eyewall.dev/reboot-reason";
/// Since when, RFC 3339.
pub const SINCE: &str = "eyewall.dev/reboot-since";
/// The type of the Node's condition: `True` while a reboot is wanted or under way, `Unknown` while that cannot be told.
pub const CONDITION: &str = "EyewallReboot";
/// Where Events about Nodes are; they have no namespace of their own.
pub const EVENTS_PATH: &str = "/api/v1/namespaces/default/events";
/// The longest sentence, in characters: the bound of an Event's message (`pkg/apis/core/validation/events.go`, NoteLengthLimit).
const MESSAGE_MAX: usize = 1_000;

/// What is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The state, kebab-case.
    pub state: String,
    /// Why.
    pub reason: Reason,
    /// Since when.
    pub since: Time,
    /// A reboot is wanted or under way; none: that is not known.
    pub wanted: Option<bool>,
    /// Bad makes a warning of the Event.
    pub health: Health,
}

/// The path of a Node's status.
pub fn status_path(node: &str) -> String {
    format!("/api/v1/nodes/{node}/status")
}

/// The merge PATCH of the annotations.
pub fn annotations(told: &Announcement) -> Value {
    json!({"metadata": {"annotations": {
        STATE: told.state,
        REASON: format!("{}: {}", told.reason.kind, bounded(&told.reason.message)),
        SINCE: told.since.to_string(),
    }}})
}

/// `True`, `False` or `Unknown`.
pub fn status(told: &Announcement) -> &'static str {
    match told.wanted {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    }
}

/// The strategic merge PATCH of the condition. `was` is its status on the Node now: `lastTransitionTime` is the time of the last change of
/// status, so it is left as it is while that stays.
pub fn condition(told: &Announcement, was: Option<&str>, now: Time) -> Value {
    let status = status(told);
    let mut condition = json!({
        "type": CONDITION,
        "status": status,
        "reason": camel(&told.reason.kind),
        "message": bounded(&told.reason.message),
        "lastHeartbeatTime": now,
    });
    if was != Some(status) {
        condition["lastTransitionTime"] = json!(now);
    }
    json!({"status": {"conditions": [condition]}})
}

/// The Event of a step, to be created. The uid of the Node it is about is its name: so the kubelet does it, and so `kubectl describe node`
/// finds it.
pub fn event(told: &Announcement, node: &str, now: Time) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": format!("{node}.")},
        "involvedObject": {"kind": "Node", "name": node, "uid": node, "apiVersion": "v1"},
        "type": if told.health == Health::Bad { "Warning" } else { "Normal" },
        "reason": format!("Reboot{}", camel(&told.state)),
        "message": bounded(&told.reason.message),
        "source": {"component": "eyewall", "host": node},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    })
}

/// kebab-case as the CamelCase that Kubernetes wants of a reason.
fn camel(kebab: &str) -> String {
    let words = kebab.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let camel: String = words
        .flat_map(|word| {
            let mut letters = word.chars();
            letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters)
        })
        .collect();
    // A reason begins with a letter.
    if camel.starts_with(|c: char| c.is_ascii_alphabetic()) { camel } else { format!("Is{camel}") }
}

fn bounded(message: &str) -> String {
    if message.chars().count() <= MESSAGE_MAX {
        return message.to_owned();
    }
    let mut cut: String = message.chars().take(MESSAGE_MAX - 1).collect();
    cut.push('\u{2026}');
    cut
}

/// How many Events a node may write: a state that flaps must not fill etcd.
#[derive(Clone, Debug)]
pub struct Budget {
    span: Duration,
    most: usize,
    spent: VecDeque<Time>,
}

impl Default for Budget {
    /// A whole cycle is some ten steps: thirty an hour are three of them.
    fn default() -> Self {
        Self { span: Duration::from_secs(3_600), most: 30, spent: VecDeque::new() }
    }
}

impl Budget {
    /// Takes one out of the budget, if there is one left at `now`.
    pub fn spend(&mut self, now: Time) -> bool {
        let over = |then: &Time| match jiff::SignedDuration::try_from(self.span) {
            // A clock that was set back gives the whole budget back, too: better an Event too much than none for years.
            Ok(span) => now.since(*then) >= span || now < *then,
            Err(_) => true,
        };
        self.spent.retain(|then| !over(then));
        if self.spent.len() >= self.most {
            return false;
        }
        self.spent.push_back(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::recorded::recorded;
    use super::*;

    fn waiting() -> Announcement {
        Announcement {
            state: "waiting".to_owned(),
            reason: Reason::new("no-free-slot", "no free slot"),
            since: Time::from_unix(1_795_486_500),
            wanted: Some(true),
            health: Health::Good,
        }
    }

    #[test]
    fn an_event_is_as_recorded() {
        let mut recorded = recorded("event: on own node").sent;
        let mut ours = event(&waiting(), "node-a", Time::from_unix(1_795_486_508));
        for event in [&mut recorded, &mut ours] {
            for time in ["firstTimestamp", "lastTimestamp"] {
                assert!(Time::parse(event[time].take().as_str().unwrap()).is_ok(), "{time}");
            }
        }
        assert_eq!(ours, recorded);
        let bad = Announcement { health: Health::Bad, ..waiting() };
        assert_eq!(event(&bad, "node-a", Time::from_unix(0))["type"], "Warning");
    }

    #[test]
    fn a_condition_is_as_recorded() {
        let recorded = recorded("node: condition on own status").sent;
        let now = Time::from_unix(1_795_486_508);
        let keys = |patch: &Value| -> Vec<String> {
            patch["status"]["conditions"][0].as_object().unwrap().keys().cloned().collect()
        };
        for (name, wanted, was, status, moved) in [
            ("new", Some(true), None, "True", true),
            ("the same", Some(true), Some("True"), "True", false),
            ("over", Some(false), Some("True"), "False", true),
            ("not known", None, Some("True"), "Unknown", true),
        ] {
            let patch = condition(&Announcement { wanted, ..waiting() }, was, now);
            let condition = &patch["status"]["conditions"][0];
            assert_eq!((&condition["status"], &condition["reason"]), (&json!(status), &json!("NoFreeSlot")), "{name}");
            assert_eq!(condition.get("lastTransitionTime").is_some(), moved, "{name}");
            if moved {
                assert_eq!(keys(&patch), keys(&recorded), "{name}");
            }
        }
    }

    #[test]
    fn annotations_tell_all_of_it() {
        let patch = annotations(&waiting());
        assert_eq!(
            patch["metadata"]["annotations"],
            json!({STATE: "waiting", REASON: "no-free-slot: no free slot", SINCE: "2026-11-24T02:15:00Z"})
        );
        let long = Announcement { reason: Reason::new("x", "ü".repeat(3_000)), ..waiting() };
        let text = event(&long, "node-a", Time::from_unix(0))["message"].as_str().unwrap().to_owned();
        assert_eq!(text.chars().count(), MESSAGE_MAX);
        assert!(text.ends_with('\u{2026}'));
    }

    #[test]
    fn reasons_are_camel() {
        for (kebab, want) in [
            ("no-free-slot", "NoFreeSlot"),
            ("draining", "Draining"),
            ("a--b", "AB"),
            ("4xx", "Is4xx"),
            ("", "Is"),
            ("generic_http_423", "GenericHttp423"),
        ] {
            assert_eq!(camel(kebab), want, "{kebab}");
        }
    }

    #[test]
    fn events_are_bounded() {
        let at = |seconds: u64| Time::from_unix(1_795_486_508 + seconds);
        let mut budget = Budget::default();
        let told = (0..100).filter(|second| budget.spend(at(*second))).count();
        assert_eq!(told, 30);
        assert!(!budget.spend(at(3_599)), "within the hour");
        assert!(budget.spend(at(3_600)), "the first one is an hour ago");
        assert!(!budget.spend(at(3_600)), "the second one is not");
        assert!(budget.spend(Time::from_unix(5)), "the clock was set back");
    }
}
