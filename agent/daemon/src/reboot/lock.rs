//! The lock that the nodes of a group share, in one of its three forms (`reboot.lock`).

use eyewall_core::reboot::{Entry, Slot};
use eyewall_core::status::Reason;
use tokio::sync::watch;

use super::fleetlock::FleetLock;
use super::ledger::{Ledger, Written};
use super::slots::Slots;

/// The lock.
#[derive(Debug)]
pub enum ClusterLock {
    /// A ConfigMap of the cluster.
    Slots(Slots),
    /// A FleetLock server.
    FleetLock(FleetLock),
    /// Only this host.
    Local(Local),
}

impl ClusterLock {
    /// The lock as it is seen, and each change of it.
    pub fn seen(&self) -> watch::Receiver<Slot> {
        match self {
            Self::Slots(slots) => slots.seen(),
            Self::FleetLock(lock) => lock.seen(),
            Self::Local(local) => local.seen(),
        }
    }

    /// Takes a slot with this entry; one that is held is written anew. Dropping it is safe: the next look tells what came of it. With slots it
    /// takes some seconds at most (and 15 s more for each answer that does not come), with a FleetLock server as long as that may take.
    ///
    /// # Errors
    /// It was not taken, as far as it is known.
    pub async fn take(&self, entry: &Entry) -> Result<(), Reason> {
        match self {
            Self::Slots(slots) => slots.take(entry).await,
            Self::FleetLock(lock) => lock.take(entry).await,
            Self::Local(local) => local.write(entry),
        }
    }

    /// Writes the own entry anew. One that is not there any more is taken again, or refused, as by [`ClusterLock::take`].
    ///
    /// # Errors
    /// It was not written, as far as it is known.
    pub async fn amend(&self, entry: &Entry) -> Result<(), Reason> {
        match self {
            Self::Slots(slots) => slots.amend(entry).await,
            Self::FleetLock(lock) => lock.amend(entry).await,
            Self::Local(local) => local.write(entry),
        }
    }

    /// Gives the own slot back; one that is not held is given back.
    ///
    /// # Errors
    /// It is still held, as far as it is known.
    pub async fn free(&self) -> Result<(), Reason> {
        match self {
            Self::Slots(slots) => slots.free().await,
            Self::FleetLock(lock) => lock.free().await,
            Self::Local(local) => local.free(),
        }
    }

    /// For the start: gives back what an earlier run asked for and did not live to hear the answer to. Only a FleetLock server needs that.
    ///
    /// # Errors
    /// As [`ClusterLock::free`].
    pub async fn settle(&self) -> Result<(), Reason> {
        match self {
            Self::FleetLock(lock) => lock.settle().await,
            Self::Slots(_) | Self::Local(_) => Ok(()),
        }
    }
}

/// A lock that nobody else wants: it is always free. Its entry is the proof of the reboot all the same.
#[derive(Debug)]
pub struct Local {
    ledger: Ledger,
    slot: watch::Sender<Slot>,
}

impl Local {
    /// With its entry in this file.
    pub fn new(ledger: Ledger) -> Self {
        let slot = watch::Sender::new(look(&ledger));
        Self { ledger, slot }
    }

    fn seen(&self) -> watch::Receiver<Slot> {
        self.slot.subscribe()
    }

    fn write(&self, entry: &Entry) -> Result<(), Reason> {
        let written = self.ledger.write(&Written { entry: entry.clone(), granted: true });
        self.slot.send_replace(look(&self.ledger));
        written
    }

    fn free(&self) -> Result<(), Reason> {
        let freed = self.ledger.clear();
        self.slot.send_replace(look(&self.ledger));
        freed
    }
}

fn look(ledger: &Ledger) -> Slot {
    match ledger.read() {
        Ok(written) => {
            Slot::Seen { mine: written.map(|written| written.entry), others: Vec::new(), limit: 1, refused: None }
        }
        Err(reason) => Slot::Unknown(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::entry;
    use super::*;

    #[tokio::test]
    async fn a_local_lock_survives_the_agent() {
        let directory = tempfile::tempdir().unwrap();
        let local = || ClusterLock::Local(Local::new(Ledger::below(directory.path())));
        let mine = |lock: &ClusterLock| match &*lock.seen().borrow() {
            Slot::Seen { mine, .. } => mine.clone(),
            Slot::Unknown(reason) => panic!("{reason:?}"),
        };
        let lock = local();
        assert_eq!(mine(&lock), None);
        lock.take(&entry("b-1")).await.unwrap();
        let mut amended = entry("b-1");
        amended.cordoned = true;
        lock.amend(&amended).await.unwrap();
        drop(lock);
        let lock = local();
        lock.settle().await.unwrap();
        assert_eq!(mine(&lock), Some(amended));
        lock.free().await.unwrap();
        lock.free().await.unwrap();
        assert_eq!(mine(&lock), None);
        std::fs::write(directory.path().join("reboot-slot.json"), "?").unwrap();
        assert!(matches!(&*local().seen().borrow(), Slot::Unknown(reason) if reason.kind == "ledger-unreadable"));
    }
}
