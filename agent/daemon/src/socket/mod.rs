//! The socket: HTTP/1.1 for the group to read and for uid 0 to command. It knows the status type and receivers only.
//!
//! A hostile reader must not hurt the daemon: connections, followers, sizes and times all have a limit.

mod answer;
mod audit;
mod cache;
mod listener;
mod peer;
mod route;
mod server;
mod stream;

#[cfg(test)]
pub mod example;
#[cfg(test)]
mod tests;

pub use listener::{Bound, listen};
pub use peer::Peer;
pub use server::serve;

use std::sync::Arc;

use eyewall_core::status::Status;
use tokio::sync::{mpsc, oneshot, watch};

use crate::events::Events;
use crate::orders::Orders;
use crate::posture::Posture;
use crate::renewals::Renewals;
use crate::supervisor::Heartbeats;

/// What the socket serves from. Values and receivers: it never waits for a task.
#[derive(Clone, Debug)]
pub struct Deps {
    /// The one page of everything.
    pub status: watch::Receiver<Arc<Status>>,
    /// Every verdict of the posture; none before the first look.
    pub posture: watch::Receiver<Option<Arc<Posture>>>,
    /// To the posture task: judge now, and answer.
    pub judgements: mpsc::Sender<oneshot::Sender<Arc<Posture>>>,
    /// The story so far, and where audits go.
    pub events: Events,
    /// To the certificate task.
    pub renewals: Renewals,
    /// To the reboot task.
    pub orders: Orders,
    /// Which loops are alive, for `/healthz`.
    pub heartbeats: Heartbeats,
}
