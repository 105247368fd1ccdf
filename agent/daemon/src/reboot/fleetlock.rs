//! A FleetLock server as the group's lock. It knows who holds it and nothing else, so the entry is kept in a file of this host; and it tells
//! nobody that the lock is free, so it is asked again after a while, as Zincati does.

mod post;

use std::time::Duration;

use eyewall_core::reboot::fleetlock::{self, Call, Id};
use eyewall_core::reboot::{Entry, Slot};
use eyewall_core::status::Reason;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::ledger::{Ledger, Written};
pub use post::Server;

/// A server may drain the node before it answers, and Zincati gives it half an hour for it.
pub const LONGEST: Duration = Duration::from_secs(30 * 60);
/// After a refusal: what Zincati waits, 300-330 s, is for a fleet that nobody watches. A small request every half a minute hurts no server.
const AGAIN: Duration = Duration::from_secs(30);

/// The lock at one server.
#[derive(Debug)]
pub struct FleetLock {
    server: Server,
    id: Id,
    group: String,
    ledger: Ledger,
    draw: fn() -> f64,
    slot: watch::Sender<Slot>,
    refusals: watch::Sender<Option<Instant>>,
    forgetting: JoinHandle<()>,
}

impl Drop for FleetLock {
    fn drop(&mut self) {
        self.forgetting.abort();
    }
}

impl FleetLock {
    /// The lock of `group` at `server` for the host with this machine id.
    ///
    /// # Errors
    /// No id, or a group that the protocol does not allow.
    pub fn new(
        server: Server,
        machine_id: &str,
        group: &str,
        ledger: Ledger,
        draw: fn() -> f64,
    ) -> Result<Self, Reason> {
        if !fleetlock::is_group(group) {
            let message = format!(
                "a FleetLock group has letters, digits, '.' and '-' only, and {group:?} is none: set reboot.group"
            );
            return Err(Reason::new("fleetlock-bad-group", message));
        }
        let id = Id::of_machine(machine_id)?;
        let slot = watch::Sender::new(seen(&ledger, None));
        let refusals = watch::Sender::new(None);
        let forgetting = tokio::spawn(forget_refusals(refusals.subscribe(), slot.clone(), ledger.clone()));
        Ok(Self { server, id, group: group.to_owned(), ledger, draw, slot, refusals, forgetting })
    }

    /// The lock as it is seen, and each change of it.
    pub fn seen(&self) -> watch::Receiver<Slot> {
        self.slot.subscribe()
    }

    /// Takes the lock. May take as long as the server lets it, [`LONGEST`] at most; dropping it is safe, for what was asked is written down
    /// before, and given back by [`FleetLock::settle`].
    ///
    /// # Errors
    /// The server's no, no answer, or the disk's.
    pub async fn take(&self, entry: &Entry) -> Result<(), Reason> {
        if let Some(Written { granted: true, .. }) = self.ledger.read()? {
            return self.amend(entry).await;
        }
        self.ledger.write(&Written { entry: entry.clone(), granted: false })?;
        match self.server.post(Call::PreReboot, &fleetlock::body(&self.id, &self.group)).await {
            Ok(()) => {
                self.ledger.write(&Written { entry: entry.clone(), granted: true })?;
                self.show(None);
                Ok(())
            }
            Err(fault) => {
                // A clear no leaves nothing to give back. Without an answer the lock may be ours all the same.
                if fault.is_answer {
                    self.ledger.clear()?;
                }
                self.show(Some(fault.reason.clone()));
                Err(fault.reason)
            }
        }
    }

    /// Writes the own entry anew; the server knows nothing of it.
    ///
    /// # Errors
    /// The disk's; an entry that is not there is taken, as by [`FleetLock::take`].
    pub async fn amend(&self, entry: &Entry) -> Result<(), Reason> {
        match self.ledger.read()? {
            Some(Written { granted: true, .. }) => {
                self.ledger.write(&Written { entry: entry.clone(), granted: true })?;
                self.show(None);
                Ok(())
            }
            _ => Box::pin(self.take(entry)).await,
        }
    }

    /// Gives the lock back.
    ///
    /// # Errors
    /// The server's no, no answer, or the disk's: then it is held as before.
    pub async fn free(&self) -> Result<(), Reason> {
        self.server
            .post(Call::SteadyState, &fleetlock::body(&self.id, &self.group))
            .await
            .map_err(|fault| fault.reason)?;
        self.ledger.clear()?;
        self.show(None);
        Ok(())
    }

    /// Gives back what was asked for in a run of the agent that did not live to hear the answer. For the start; nothing to give back is good.
    ///
    /// # Errors
    /// As [`FleetLock::free`].
    pub async fn settle(&self) -> Result<(), Reason> {
        match self.ledger.read()? {
            Some(Written { granted: false, .. }) => self.free().await,
            _ => Ok(()),
        }
    }

    fn show(&self, refused: Option<Reason>) {
        let until =
            refused.is_some().then(|| Instant::now() + AGAIN.mul_f64(0.8 + 0.4 * (self.draw)().clamp(0.0, 1.0)));
        self.slot.send_replace(seen(&self.ledger, refused));
        self.refusals.send_replace(until);
    }
}

/// A refusal is over after a while: whether the lock is free, only asking tells.
async fn forget_refusals(mut refusals: watch::Receiver<Option<Instant>>, slot: watch::Sender<Slot>, ledger: Ledger) {
    loop {
        let until = *refusals.borrow_and_update();
        let changed = match until {
            None => refusals.changed().await,
            Some(until) => tokio::select! {
                changed = refusals.changed() => changed,
                () = sleep_until(until) => {
                    slot.send_replace(seen(&ledger, None));
                    refusals.changed().await
                }
            },
        };
        if changed.is_err() {
            return;
        }
    }
}

/// What the ledger says. A lock that was asked for without an answer is not held.
fn seen(ledger: &Ledger, refused: Option<Reason>) -> Slot {
    match ledger.read() {
        Ok(written) => Slot::Seen {
            mine: written.filter(|written| written.granted).map(|written| written.entry),
            others: Vec::new(),
            limit: 1,
            refused,
        },
        Err(reason) => Slot::Unknown(reason),
    }
}

#[cfg(test)]
mod tests;
