//! The list itself, a file for each part of the agent and one block an event. Ids come from `systemd-id128 new` and are never reused.

mod agent;
mod certificates;
mod kubelet;
mod posture;
mod reboot;
mod serving;

pub use agent::*;
pub use certificates::*;
pub use kubelet::*;
pub use posture::*;
pub use reboot::*;
pub use serving::*;

use super::Event;

/// Makes each block a constant and a line of the file's `LIST`, so that the two cannot differ.
macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $event:expr;)*) => {
        $($(#[$doc])* pub const $name: Event = $event;)*

        pub(super) const LIST: &[&Event] = &[$(&$name),*];
    };
}
use events;

/// Every event, in the order of the catalog.
pub fn all() -> impl Iterator<Item = &'static Event> + Clone {
    [agent::LIST, certificates::LIST, serving::LIST, kubelet::LIST, posture::LIST, reboot::LIST]
        .into_iter()
        .flatten()
        .copied()
}
