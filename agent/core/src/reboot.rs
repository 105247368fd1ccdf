//! Reboots: one lock on the host, one table in the cluster, and one pure decision over what is seen of both.
//!
//! The line is the same on every OS: `idle -> waiting (window, hold, slot, health, certificate) -> granted -> renewing-certificate ->
//! cordoning -> draining -> letting-go -> rebooting -> (boot) proving -> gate -> freed`. Nothing of it is remembered by the agent: the slot's
//! entry ([`Entry`]) says in which boot it was taken, so a restart, a crash or a power cut at any instant goes on from what is there.
//!
//! Facts about logind, rpm-ostree, update_engine and the API server: the sources are named where a rule follows from them.

pub mod announce;
pub mod drain;
pub mod fleetlock;
pub mod host;
pub mod node;
pub mod orders;
#[cfg(test)]
mod recorded;
pub mod seen;
pub mod slots;

pub use seen::{
    BootId, Cause, Drain, Entry, Force, Hold, Holder, LetGo, NodeSeen, Orders, Pending, PodLeft, Release, Request,
    Seen, Slot,
};
