//! What systemd is told about us (sd_notify(3)): ready, stopping, the present sentence, and that the loops are alive.
//!
//! There is no timer for the watchdog. A [`Heartbeat`] is touched by a loop that did its round, and the touch is what
//! pings; so a stuck agent cannot look alive, and an idle one is not woken for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eyewall_core::event;
use sd_notify::NotifyState;
use tokio::time::Instant;

use crate::events::Events;

/// The sentence in `systemctl status`. Sends it on change only.
#[derive(Debug, Default)]
pub struct Supervisor {
    sentence: String,
}

impl Supervisor {
    /// Nothing was told yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// READY=1 with the first sentence: the socket answers and every loop runs.
    pub fn ready(&mut self, sentence: &str) {
        self.sentence = one_line(sentence);
        tell(&[NotifyState::Ready, NotifyState::Status(&self.sentence)]);
    }

    /// STATUS=, if it is another sentence than before.
    pub fn status(&mut self, sentence: &str) {
        let sentence = one_line(sentence);
        if sentence != self.sentence {
            self.sentence = sentence;
            tell(&[NotifyState::Status(&self.sentence)]);
        }
    }

    /// STOPPING=1 with the last sentence.
    pub fn stopping(&mut self, sentence: &str) {
        self.sentence = one_line(sentence);
        tell(&[NotifyState::Stopping, NotifyState::Status(&self.sentence)]);
    }
}

/// A newline would begin the next assignment: a sentence must not be able to say `READY=1`.
fn one_line(sentence: &str) -> String {
    sentence.replace(['\n', '\r'], " ")
}

/// Without a service manager there is nobody to tell, and that is no fault.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("the service manager could not be told: {error}");
    }
}

/// The loops of the agent and when each last did its round. Clones share them.
#[derive(Clone, Debug)]
pub struct Heartbeats(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// How often to ping; none if no watchdog is set.
    every: Option<Duration>,
    events: Events,
    beats: Mutex<Beats>,
}

#[derive(Debug, Default)]
struct Beats {
    tasks: Vec<Beat>,
    pinged: Option<Instant>,
    told: Option<&'static str>,
}

/// One loop's last round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Beat {
    task: &'static str,
    bound: Duration,
    last: Instant,
}

/// One loop's handle. Dropping it does not end the duty: a loop that ends is a loop that stalled.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    of: Heartbeats,
    index: usize,
}

impl Heartbeats {
    /// No loops yet. The watchdog's time is what systemd set in the environment (WatchdogSec=).
    pub fn new(events: Events) -> Self {
        Self::with_watchdog(events, sd_notify::watchdog_enabled())
    }

    fn with_watchdog(events: Events, watchdog: Option<Duration>) -> Self {
        Self(Arc::new(Shared {
            // A loop that wakes once a minute never touches exactly on time: with a quarter of the bound there is always
            // a touch in its first half.
            every: watchdog.map(|bound| bound / 4),
            events,
            beats: Mutex::default(),
        }))
    }

    /// Registers a loop that touches at least every `bound`, its longest wait and its slowest round included.
    /// At least one of all loops must touch every half of WatchdogSec=.
    pub fn register(&self, task: &'static str, bound: Duration) -> Heartbeat {
        let mut beats = self.beats();
        beats.tasks.push(Beat { task, bound, last: Instant::now() });
        Heartbeat { of: self.clone(), index: beats.tasks.len() - 1 }
    }

    /// The first loop that is past its bound, if one is: then the agent is not alive, whatever else it does.
    pub fn stalled(&self) -> Option<&'static str> {
        stalled(Instant::now(), &self.beats().tasks)
    }

    fn beats(&self) -> MutexGuard<'_, Beats> {
        self.0.beats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heartbeat {
    /// Says that this loop did a round. Pings the watchdog when it is time and every loop is within its bound.
    pub fn touch(&self) {
        let now = Instant::now();
        let mut beats = self.of.beats();
        if let Some(beat) = beats.tasks.get_mut(self.index) {
            beat.last = now;
        }
        let stalled = stalled(now, &beats.tasks);
        let due = is_due(now, beats.pinged, self.of.0.every);
        if stalled.is_none() && due {
            beats.pinged = Some(now);
        }
        let news = stalled != beats.told;
        beats.told = stalled;
        drop(beats);
        match stalled {
            None if due => tell(&[NotifyState::Watchdog]),
            Some(task) if news => self.of.0.events.emit(
                &event::AGENT_STALLED,
                format!("The task {task} has stopped working; the watchdog is no longer fed."),
                &[("task", task)],
            ),
            _ => {}
        }
    }
}

fn stalled(now: Instant, beats: &[Beat]) -> Option<&'static str> {
    beats.iter().find(|beat| now.saturating_duration_since(beat.last) > beat.bound).map(|beat| beat.task)
}

fn is_due(now: Instant, pinged: Option<Instant>, every: Option<Duration>) -> bool {
    every.is_some_and(|every| pinged.is_none_or(|pinged| now.saturating_duration_since(pinged) >= every))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn one_late_loop_is_a_stall() {
        let start = Instant::now();
        let beat = |task, bound: u32, last: u32| Beat { task, bound: SECOND * bound, last: start + SECOND * last };
        for (name, now, beats, want) in [
            ("no loops", 100, vec![], None),
            ("all fresh", 100, vec![beat("a", 60, 50), beat("b", 10, 95)], None),
            ("at the bound", 100, vec![beat("a", 60, 40)], None),
            ("past it", 101, vec![beat("a", 60, 40)], Some("a")),
            ("one of two", 100, vec![beat("a", 60, 99), beat("b", 10, 80)], Some("b")),
        ] {
            assert_eq!(stalled(start + SECOND * now, &beats), want, "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pings_are_spaced() {
        let start = Instant::now();
        for (name, now, pinged, every, want) in [
            ("no watchdog", 100, None, None, false),
            ("the first", 0, None, Some(30), true),
            ("too early", 29, Some(0), Some(30), false),
            ("time", 30, Some(0), Some(30), true),
        ] {
            let at = |seconds: u32| start + SECOND * seconds;
            let got = is_due(at(now), pinged.map(at), every.map(|e: u32| SECOND * e));
            assert_eq!(got, want, "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_ends_stops_the_pings_and_is_told_once() {
        let events = Events::new();
        let beats = Heartbeats::with_watchdog(events.clone(), Some(SECOND * 120));
        let alive = beats.register("certificates", SECOND * 90);
        drop(beats.register("kubelet", SECOND * 90));
        let mut pinged = Vec::new();
        for round in 0..5_u64 {
            alive.touch();
            pinged.push(beats.beats().pinged.map(|at| (Instant::now() - at).as_secs()));
            assert_eq!(beats.stalled(), (round >= 2).then_some("kubelet"), "{round}");
            tokio::time::advance(SECOND * 60).await;
        }
        let seconds = [0, 0, 60, 120, 180].map(Some);
        assert_eq!(pinged, seconds, "the last ping was in round 1");
        let told: Vec<_> = events.recent();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].event, "agent-stalled");
        assert_eq!(told[0].fields["task"], "kubelet");
    }

    #[test]
    fn a_sentence_cannot_assign() {
        assert_eq!(one_line("bad\nREADY=1\r"), "bad READY=1 ");
    }
}
