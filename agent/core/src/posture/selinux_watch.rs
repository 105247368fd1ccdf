//! Every change of SELinux's state is accounted for: netlink tells at once, the status page's sequence tells how many there were.
//! What the sequence knows and no message told was missed: while the agent was down, or because the socket overflowed.

use serde::{Deserialize, Serialize};

use super::read::selinux::StatusPage;
use super::read::selinux_netlink::Message;
use crate::time::Time;

/// What was seen since when. It is saved with each change, so that a restart of the agent is a gap that is counted, not one that hides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// The boot it belongs to: the sequence begins anew with each.
    pub boot_id: String,
    /// Since when, in this boot.
    pub since: Time,
    /// The page's sequence when it was last read.
    pub sequence: u32,
    /// Messages for which the page has not moved yet: they come before it does.
    pub pending: u32,
    /// The last changes, oldest first; at most [`Watch::MOST_CHANGES`].
    pub changes: Vec<Change>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// When it was noticed.
    pub at: Time,
    /// What.
    pub what: What,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The mode was set to enforcing.
    Enforcing,
    /// The mode was set to permissive.
    Permissive,
    /// A policy was loaded, or booleans were committed.
    Policy,
    /// So many changes of which nothing more is known.
    Missed(u32),
}

impl Watch {
    /// Older changes are forgotten.
    pub const MOST_CHANGES: usize = 64;

    /// Begins with the page as it is now. What was before in this boot is not known to anybody.
    pub fn begin(boot_id: &str, page: StatusPage, now: Time) -> Self {
        Self { boot_id: boot_id.to_owned(), since: now, sequence: page.sequence, pending: 0, changes: Vec::new() }
    }

    /// Goes on from what was saved: in the same boot every change since then was missed; a new boot begins anew.
    pub fn resume(saved: Self, boot_id: &str, page: StatusPage, now: Time) -> Self {
        if saved.boot_id != boot_id {
            return Self::begin(boot_id, page, now);
        }
        let mut watch = Self { pending: 0, ..saved };
        watch.changes.truncate(Self::MOST_CHANGES);
        watch.account(page, now);
        watch
    }

    /// Takes a message of the kernel. A message about what it already knew is none: the kernel sends none for a no-op.
    pub fn hear(&mut self, message: Message, now: Time) {
        self.pending = self.pending.saturating_add(1);
        self.note(
            match message {
                Message::SetEnforce(true) => What::Enforcing,
                Message::SetEnforce(false) => What::Permissive,
                Message::PolicyLoad(_) => What::Policy,
            },
            now,
        );
    }

    /// Compares with the page, and returns how many changes nobody told of. The page must be read *before* the last messages are taken from
    /// the socket: the kernel sends first and writes the page then, so whatever the page counts is in the socket by now.
    pub fn account(&mut self, page: StatusPage, now: Time) -> u32 {
        let changes = StatusPage::changes(self.sequence, page.sequence);
        self.sequence = page.sequence;
        let missed = changes.saturating_sub(self.pending);
        self.pending = self.pending.saturating_sub(changes);
        if missed > 0 {
            self.note(What::Missed(missed), now);
        }
        missed
    }

    fn note(&mut self, what: What, at: Time) {
        if self.changes.len() >= Self::MOST_CHANGES {
            self.changes.remove(0);
        }
        self.changes.push(Change { at, what });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(sequence: u32) -> StatusPage {
        StatusPage { sequence, enforcing: true, policy_loads: 0, deny_unknown: false }
    }

    fn at(seconds: u64) -> Time {
        Time::from_unix(seconds)
    }

    fn whats(watch: &Watch) -> Vec<What> {
        watch.changes.iter().map(|change| change.what).collect()
    }

    /// The message comes while the page still says what was before (measured).
    #[test]
    fn a_message_that_is_early_is_no_miss() {
        let mut watch = Watch::begin("b", page(0), at(0));
        watch.hear(Message::SetEnforce(false), at(1));
        assert_eq!(watch.account(page(0), at(1)), 0);
        assert_eq!(watch.account(page(2), at(2)), 0);
        watch.hear(Message::SetEnforce(true), at(3));
        assert_eq!(watch.account(page(4), at(3)), 0);
        assert_eq!((watch.pending, whats(&watch)), (0, vec![What::Permissive, What::Enforcing]));
    }

    #[test]
    fn what_nobody_told_was_missed() {
        let mut watch = Watch::begin("b", page(6), at(0));
        assert_eq!(watch.account(page(6), at(1)), 0);
        watch.hear(Message::PolicyLoad(3), at(2));
        assert_eq!(watch.account(page(12), at(2)), 2);
        assert_eq!(whats(&watch), [What::Policy, What::Missed(2)]);

        let saved = watch.clone();
        let restarted = Watch::resume(saved.clone(), "b", page(16), at(9));
        assert_eq!(restarted.changes.last(), Some(&Change { at: at(9), what: What::Missed(2) }));
        assert_eq!(restarted.since, at(0));
        let unmoved = Watch::resume(saved.clone(), "b", page(12), at(9));
        assert_eq!(unmoved, saved);
        let rebooted = Watch::resume(saved, "c", page(0), at(99));
        assert_eq!(rebooted, Watch::begin("c", page(0), at(99)));
    }

    #[test]
    fn old_changes_are_forgotten() {
        let mut watch = Watch::begin("b", page(0), at(0));
        for second in 0..1_000 {
            watch.hear(Message::SetEnforce(second % 2 == 0), at(second));
        }
        assert_eq!(watch.changes.len(), Watch::MOST_CHANGES);
        assert_eq!(watch.changes.last().map(|change| change.at), Some(at(999)));
        let json = serde_json::to_string(&watch).expect("serializes");
        assert_eq!(serde_json::from_str::<Watch>(&json).expect("reads"), watch);
    }
}
