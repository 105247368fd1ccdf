//! What the agent cannot see or do on this host, for `limits` in the status: told once when it begins, and once when it is over.

use std::collections::BTreeMap;

use eyewall_core::event;
use eyewall_core::status::Reason;
use tokio::sync::watch;

use crate::events::Events;

/// Whoever finds a limit, by the name under which it takes it back.
type Held = BTreeMap<&'static str, Reason>;

/// Clones share the list.
#[derive(Clone, Debug)]
pub struct Limits {
    held: watch::Sender<Held>,
    events: Events,
}

impl Limits {
    /// None yet.
    pub fn new(events: Events) -> Self {
        Self { held: watch::Sender::new(Held::new()), events }
    }

    /// Wakes with each change.
    pub fn changes(&self) -> watch::Receiver<Held> {
        self.held.subscribe()
    }

    /// Each kind once, in a fixed order.
    pub fn reasons(&self) -> Vec<Reason> {
        let mut reasons: Vec<Reason> = Vec::new();
        for reason in self.held.borrow().values() {
            if !reasons.iter().any(|held| held.kind == reason.kind) {
                reasons.push(reason.clone());
            }
        }
        reasons
    }

    /// Says what `source` finds now: a limit, or that there is none. Several may find the same one; it is over when the last of them
    /// says so.
    pub fn tell(&self, source: &'static str, limit: Option<Reason>) {
        let before = self.held.borrow().get(source).cloned();
        if before == limit {
            return;
        }
        let is_held = |kind: &str| self.held.borrow().values().any(|reason| reason.kind == kind);
        let begun = limit.clone().filter(|reason| !is_held(&reason.kind));
        self.held.send_modify(|held| match limit {
            Some(reason) => {
                held.insert(source, reason);
            }
            None => {
                held.remove(source);
            }
        });
        if let Some(reason) = begun {
            self.events.emit(&event::AGENT_LIMITED, reason.message.clone(), &[("kind", &reason.kind)]);
        }
        if let Some(reason) = before.filter(|reason| !is_held(&reason.kind)) {
            let message = format!("It is over that {}", lower(&reason.message));
            self.events.emit(&event::AGENT_UNLIMITED, message, &[("kind", &reason.kind)]);
        }
    }
}

/// In the middle of a sentence.
fn lower(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_told_when_it_begins_and_when_the_last_who_found_it_says_so() {
        let events = Events::new();
        let limits = Limits::new(events.clone());
        let none = |words: &str| Some(Reason::new("no-inotify", words));
        for (source, limit, held) in [
            ("certificates", none("The system gives none."), 1),
            ("certificates", none("The system gives none."), 1),
            ("config", none("The same."), 1),
            ("bus", Some(Reason::new("no-system-bus", "Nobody answers.")), 2),
            ("certificates", None, 2),
            ("config", None, 1),
            ("config", None, 1),
            ("bus", None, 0),
        ] {
            limits.tell(source, limit);
            assert_eq!(limits.reasons().len(), held, "{source}");
        }
        let told: Vec<_> = events.recent().iter().map(|r| (r.event.clone(), r.fields["kind"].clone())).collect();
        let told: Vec<_> = told.iter().map(|(event, kind)| (event.as_str(), kind.as_str())).collect();
        let want = [
            ("agent-limited", "no-inotify"),
            ("agent-limited", "no-system-bus"),
            ("agent-unlimited", "no-inotify"),
            ("agent-unlimited", "no-system-bus"),
        ];
        assert_eq!(told, want);
    }

    #[test]
    fn one_limit_may_follow_another() {
        let events = Events::new();
        let limits = Limits::new(events.clone());
        limits.tell("bus", Some(Reason::new("no-system-bus", "x")));
        limits.tell("bus", Some(Reason::new("bus-refused", "y")));
        assert_eq!(limits.reasons(), [Reason::new("bus-refused", "y")]);
        let told: Vec<_> = events.recent().iter().map(|record| record.event.clone()).collect();
        assert_eq!(told, ["agent-limited", "agent-limited", "agent-unlimited"]);
    }
}
