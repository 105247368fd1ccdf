//! What is known of the group's slots, and since when.

use eyewall_core::reboot::Slot;
use eyewall_core::reboot::slots::{Contention, View};
use eyewall_core::status::Reason;
use tokio::time::Instant;

/// What is known.
#[derive(Debug, Default)]
pub(super) struct State {
    view: Option<View>,
    /// Why it is not known how things stand.
    fault: Option<Reason>,
    /// Why the last try was refused, and when that is over if nothing changes.
    refused: Option<(Reason, Option<Instant>)>,
    /// Refusals in a row that no change has ended.
    refusals: u32,
    /// A take is under way: an own entry that shows up is not believed before its answer was judged.
    taking: bool,
    /// Since when a slot is free that all were waiting for.
    room_since: Option<Instant>,
    /// Counts what was shown, so that a list that took long does not undo it.
    shown: u64,
    pub(super) contention: Contention,
}

impl State {
    /// What is published.
    pub(super) fn slot(&self) -> Slot {
        if let Some(fault) = &self.fault {
            return Slot::Unknown(fault.clone());
        }
        let Some(view) = &self.view else {
            return Slot::Unknown(Reason::new(
                "slots-not-seen-yet",
                "the slots of the group have not been looked at yet",
            ));
        };
        match view.slot.clone() {
            Slot::Seen { mine, others, limit, .. } => Slot::Seen {
                mine: mine.filter(|_| !self.taking),
                others,
                limit,
                refused: self.refused.as_ref().map(|(reason, _)| reason.clone()),
            },
            unknown @ Slot::Unknown(_) => unknown,
        }
    }

    pub(super) fn holds(&self) -> bool {
        !self.taking && self.view.as_ref().is_some_and(|view| view.mine().is_some())
    }

    pub(super) fn has_room(&self) -> bool {
        self.fault.is_none() && self.view.as_ref().is_some_and(View::has_room)
    }

    pub(super) fn begin_to_take(&mut self) {
        self.taking = true;
    }

    pub(super) fn end_to_take(&mut self) {
        self.taking = false;
    }

    pub(super) fn fault(&mut self, reason: Reason) {
        self.fault = Some(reason);
    }

    /// A watch goes on from what is known.
    pub(super) fn in_sight(&mut self) {
        self.fault = None;
    }

    pub(super) fn refused(&mut self, reason: Reason, until: Option<Instant>) {
        self.refused = Some((reason, until));
    }

    /// The number of the refusal that comes now.
    pub(super) fn next_refusal(&mut self) -> u32 {
        self.refusals = self.refusals.saturating_add(1);
        self.refusals
    }

    /// When the refusal is over by itself.
    pub(super) fn refused_until(&self) -> Option<Instant> {
        self.refused.as_ref().and_then(|(_, until)| *until)
    }

    pub(super) fn forget_refusal(&mut self) {
        self.refused = None;
    }

    /// For [`State::show_list`].
    pub(super) fn shown(&self) -> u64 {
        self.shown
    }

    /// A list was asked for when `shown` was so. Nothing was shown since: it counts whatever its version, which goes back when etcd is
    /// restored from a backup.
    pub(super) fn show_list(&mut self, view: View, shown: u64, now: Instant) {
        if self.shown == shown {
            self.view = None;
        }
        self.fault = None;
        self.show(view, now);
    }

    /// The map as it is; one from before what is known is left out.
    pub(super) fn show(&mut self, view: View, now: Instant) {
        self.shown = self.shown.wrapping_add(1);
        let before = self.view.as_ref();
        if before.is_some_and(|before| view.is_older_than(before)) {
            return;
        }
        let had_room = before.is_none_or(View::has_room);
        if !had_room && view.has_room() {
            self.room_since = Some(now);
        } else if had_room && !view.has_room() {
            let since = self.room_since.take();
            if let Some(since) = since
                && view.mine().is_none()
            {
                self.contention.taken_by_another(now.saturating_duration_since(since));
            }
        }
        if before.is_none_or(|before| before.slot != view.slot) {
            self.refused = None;
            self.refusals = 0;
        }
        self.view = Some(view);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use eyewall_core::reboot::slots::read;
    use serde_json::{Value, json};

    use super::super::super::testing::entry;
    use super::*;

    fn view(version: u64, data: &Value) -> View {
        let map = json!({"metadata": {"name": "reboot-workers", "resourceVersion": version.to_string()}, "data": data});
        read(map.to_string().as_bytes(), "workers", "node-a").unwrap()
    }

    fn seen(state: &State) -> (bool, usize, Option<String>) {
        match state.slot() {
            Slot::Seen { mine, others, refused, .. } => {
                (mine.is_some(), others.len(), refused.map(|reason| reason.kind))
            }
            Slot::Unknown(reason) => (false, 0, Some(format!("unknown: {}", reason.kind))),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_old_is_left_out() {
        let now = Instant::now();
        let mine = json!({"slots": "1", "holder.node-a": serde_json::to_string(&entry("b-1")).unwrap()});
        let mut state = State::default();
        assert_eq!(seen(&state).2.as_deref(), Some("unknown: slots-not-seen-yet"));
        let asked = state.shown();
        state.show(view(9, &mine), now);
        assert_eq!(seen(&state), (true, 0, None));
        state.show(view(8, &json!({"slots": "1"})), now);
        assert_eq!(seen(&state), (true, 0, None), "an event from before the write");
        state.show_list(view(8, &json!({"slots": "1"})), asked, now);
        assert_eq!(seen(&state), (true, 0, None), "a list that was asked for before the write");
        let asked = state.shown();
        state.show_list(view(3, &json!({"slots": "1"})), asked, now);
        assert_eq!(seen(&state), (false, 0, None), "etcd was restored");
        state.fault(Reason::new("x", "x"));
        assert!(!state.has_room());
        assert_eq!(seen(&state).2.as_deref(), Some("unknown: x"));
        state.in_sight();
        assert!(state.has_room());
        state.begin_to_take();
        state.show(view(10, &mine), now);
        assert_eq!((seen(&state).0, state.holds()), (false, false), "not judged yet");
        state.end_to_take();
        assert_eq!((seen(&state).0, state.holds()), (true, true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_ends_with_a_change_and_hand_overs_teach() {
        let now = Instant::now();
        let (free, full) = (json!({"slots": "1"}), json!({"slots": "1", "holder.node-b": "{}"}));
        let mut state = State::default();
        state.show(view(1, &full), now);
        state.refused(Reason::new("no-free-slot", "x"), None);
        state.show(view(2, &full), now);
        assert_eq!(seen(&state).2.as_deref(), Some("no-free-slot"), "nothing has changed");
        assert_eq!((state.next_refusal(), state.next_refusal()), (1, 2));
        state.show(view(3, &free), now);
        assert_eq!((seen(&state).2, state.next_refusal()), (None, 1));
        let wide = state.contention.wait(1.0);
        state.show(view(4, &full), now + Duration::from_millis(1));
        assert_eq!(state.contention.wait(1.0), wide * 2, "taken within a millisecond: many wait");
        state.show(view(5, &free), now + Duration::from_secs(60));
        state.show(view(6, &full), now + Duration::from_secs(70));
        assert_eq!(state.contention.wait(1.0), wide * 3 / 2, "ten seconds free: few wait");
    }
}
