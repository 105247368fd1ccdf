//! Reboots: one lock on the host, one table in the cluster, and one pure decision over what is seen of both.
//!
//! The line is the same on every OS: `idle -> waiting (window, hold, slot, health, certificate) -> granted -> renewing-certificate ->
//! cordoning -> draining -> letting-go -> rebooting -> (boot) proving -> gate -> freed`. Nothing of it is remembered by the agent: the slot's
//! entry ([`Entry`]) says in which boot it was taken, so a restart, a crash or a power cut at any instant goes on from what is there.
//!
//! What holds on it, and is held against a model of a small cluster (`model.rs`):
//! - A slot is taken, and a host let go, only in a window, with no hold, all good, and a certificate that outlives the reboot. A window that
//!   closes before the host is let go undoes the cycle; one that is about to close is not begun in. So a reboot begins in a window or not at all.
//! - Right before it the slot is written once more ([`Entry::let_go`]), which the API server takes only from a holder.
//! - Whatever does not end in a reboot is undone: the drain stopped, the own cordon taken back, the slot given back, by a host that is good.
//! - A boot into the wanted release, and good for the gate's time, frees the slot. A boot into the release before keeps it until another release is
//!   wanted or an operator frees it; with `rollback`, one that never gets good goes back there, whatever window it is.
//! - An operator's force is the one way around all of it.
//!
//! Facts about logind, rpm-ostree, update_engine and the API server: the sources are named where a rule follows from them.

mod after;
pub mod announce;
mod cycle;
mod decide;
mod decision;
pub mod drain;
pub mod fleetlock;
mod force;
mod gates;
pub mod health;
pub mod host;
pub mod node;
pub mod orders;
mod policy;
#[cfg(test)]
mod recorded;
pub mod rights;
pub mod seen;
pub mod slots;
pub mod story;
mod waiting;
mod wanted;
pub mod window;

pub use decide::decide;
pub use decision::{Decision, HostLock, RebootState, Step};
pub use policy::{
    BAD_FOR, FORCE_AGAIN, FORCE_PATIENCE, GOOD_WITHIN, GRANT_LASTS, LET_GO_LASTS, LOOK_AGAIN, OUTAGE, Policy,
    REBOOT_COMES, TRY_AGAIN, seed,
};
pub use seen::{
    BootId, Cause, Drain, Entry, Force, Hold, Holder, LetGo, NodeSeen, Orders, Pending, PodLeft, Release, Request,
    Seen, Slot,
};

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
