//! What is counted while the fleet lives: connections by what they were for, hand-overs, and how many nodes believe to hold a slot.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What a connection was made for. Each is one request, but for the first of a watch, which is a LIST and the WATCH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// The watch: whatever no other errand has claimed.
    Watch,
    /// The PATCH that takes a slot; after a lost answer also the look that follows.
    Take,
    /// The PATCH that proves the slot once more, or frees it.
    Keep,
    /// The own Node, read.
    Node,
}

tokio::task_local! {
    /// The errand of whoever asks for a connection. The watch is a task of its own, so it never has one.
    pub static ERRAND: Errand;
}

/// The counts so far.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Connections for watches.
    pub watches: u64,
    /// For taking.
    pub takes: u64,
    /// For the other writes.
    pub keeps: u64,
    /// For Nodes.
    pub nodes: u64,
    /// Connections that did not come about.
    pub failures: u64,
    /// Slots granted.
    pub grants: u64,
    /// Grants beyond the limit: two nodes believed to hold the same slot.
    pub doubles: u64,
    /// From the moment a node began to free its slot until the next one had it, one of each hand-over.
    pub waits: Vec<Duration>,
    /// What went wrong in a node, the first few.
    pub troubles: Vec<String>,
}

impl Counts {
    /// Counts further.
    pub fn add(&mut self, more: &Self) {
        let Self { watches, takes, keeps, nodes, failures, grants, doubles, waits, troubles } = more;
        self.watches += watches;
        self.takes += takes;
        self.keeps += keeps;
        self.nodes += nodes;
        self.failures += failures;
        self.grants += grants;
        self.doubles += doubles;
        self.waits.extend_from_slice(waits);
        self.troubles.extend_from_slice(troubles);
    }
}

#[derive(Debug, Default)]
struct Inner {
    counts: Counts,
    limit: u32,
    holders: u32,
    freed: VecDeque<Instant>,
}

/// Shared by the whole fleet.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Inner>);

impl Tally {
    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins to count anew, with so many slots; who holds one goes on holding it.
    pub fn begin(&self, limit: u32) {
        self.change(|inner| {
            inner.counts = Counts::default();
            inner.limit = limit;
            inner.freed.clear();
        });
    }

    /// The counts since then.
    pub fn counts(&self) -> Counts {
        self.change(|inner| inner.counts.clone())
    }

    /// How many nodes believe to hold a slot.
    pub fn holders(&self) -> u32 {
        self.change(|inner| inner.holders)
    }

    /// A connection, and whether it came about.
    pub fn connected(&self, worked: bool) {
        let errand = ERRAND.try_with(|errand| *errand).unwrap_or(Errand::Watch);
        self.change(|Inner { counts, .. }| {
            *match errand {
                Errand::Watch => &mut counts.watches,
                Errand::Take => &mut counts.takes,
                Errand::Keep => &mut counts.keeps,
                Errand::Node => &mut counts.nodes,
            } += 1;
            counts.failures += u64::from(!worked);
        });
    }

    /// A node was told that it holds a slot.
    pub fn granted(&self) {
        let now = Instant::now();
        self.change(|inner| {
            inner.holders += 1;
            inner.counts.grants += 1;
            inner.counts.doubles += u64::from(inner.holders > inner.limit);
            if let Some(freed) = inner.freed.pop_front() {
                inner.counts.waits.push(now.saturating_duration_since(freed));
            }
        });
    }

    /// A node is about to free its slot. Counted before the PATCH is sent: so the next grant, which can only follow it, is never taken for a
    /// double one, and the PATCH is part of the hand-over's time.
    pub fn freeing(&self) {
        self.change(|inner| {
            inner.holders = inner.holders.saturating_sub(1);
            inner.freed.push_back(Instant::now());
        });
    }

    /// Something that should not be.
    pub fn trouble(&self, what: String) {
        self.change(|inner| {
            if inner.counts.troubles.len() < 5 {
                inner.counts.troubles.push(what);
            }
        });
    }
}
