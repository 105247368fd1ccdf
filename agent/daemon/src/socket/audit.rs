//! Who commanded, and who was refused: in the journal, with uid and pid.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use eyewall_core::event::{COMMAND_ACCEPTED, PEER_REFUSED};
use tokio::time::Instant;

use super::Peer;
use crate::events::Events;

/// One user's refusals are told once in this time: the story must not be washed away by who knocks in a loop.
const QUIET: Duration = Duration::from_secs(10);
/// Users that are remembered; when more knock at once, all are told again.
const USERS: usize = 16;

/// The audit's one place.
#[derive(Debug)]
pub struct Audit {
    events: Events,
    refused: Mutex<Vec<(u32, Instant)>>,
}

impl Audit {
    /// Tells through `events`.
    pub fn new(events: Events) -> Self {
        Self { events, refused: Mutex::default() }
    }

    /// Every command that is carried out is told.
    pub fn accepted(&self, peer: Peer, command: &'static str) {
        self.accepted_because(peer, command, None);
    }

    /// The same, with the reason that was given.
    pub fn accepted_because(&self, peer: Peer, command: &'static str, why: Option<&str>) {
        let why = why.map(|why| format!(" because: {why}")).unwrap_or_default();
        let message = format!("Process {} of uid {} asked for {command}{why}.", peer.pid, peer.uid);
        self.tell(&COMMAND_ACCEPTED, message, peer, command);
    }

    /// A refusal is told unless the same user's last one was just told.
    pub fn refused(&self, peer: Peer, command: &'static str) {
        let now = Instant::now();
        {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            refused.retain(|(_, at)| now.saturating_duration_since(*at) < QUIET);
            if refused.iter().any(|(uid, _)| *uid == peer.uid) {
                return;
            }
            if refused.len() >= USERS {
                refused.clear();
            }
            refused.push((peer.uid, now));
        }
        let message =
            format!("Process {} of uid {} asked for {command} and was refused: only root may.", peer.pid, peer.uid);
        self.tell(&PEER_REFUSED, message, peer, command);
    }

    fn tell(&self, event: &'static eyewall_core::event::Event, message: String, peer: Peer, command: &'static str) {
        let [uid, gid, pid] = [peer.uid, peer.gid, peer.pid].map(|id| id.to_string());
        self.events.emit(event, message, &[("command", command), ("uid", &uid), ("gid", &gid), ("pid", &pid)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_knocks_in_a_loop_is_told_once() {
        let events = Events::new();
        let audit = Audit::new(events.clone());
        let peer = |uid| Peer { uid, gid: 1, pid: 2 };
        for _ in 0..100 {
            audit.refused(peer(1000), "certificates-renew");
        }
        audit.refused(peer(1001), "certificates-renew");
        tokio::time::advance(QUIET).await;
        audit.refused(peer(1000), "certificates-renew");
        audit.accepted(peer(0), "certificates-renew");
        audit.accepted(peer(0), "certificates-renew");
        let told: Vec<_> =
            events.recent().iter().map(|record| (record.event.clone(), record.fields["uid"].clone())).collect();
        let want = [
            ("peer-refused", "1000"),
            ("peer-refused", "1001"),
            ("peer-refused", "1000"),
            ("command-accepted", "0"),
            ("command-accepted", "0"),
        ]
        .map(|(event, uid)| (event.to_owned(), uid.to_owned()));
        assert_eq!(told, want);
        assert_eq!(events.recent()[0].fields["pid"], "2");
    }
}
