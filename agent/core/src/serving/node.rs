//! Reading the own Node: when, and what it means when there is nothing in it.

use std::time::{Duration, SystemTime};

use super::{Seen, attempt};
use crate::backoff::Backoff;
use crate::hostname::NodeName;
use crate::rotation::{Attempt, CLOCK_FRESH, Clock, Identity, Outcome};
use crate::status::Reason;
use crate::time::Time;

/// How often the Node is read for its addresses, if nothing hints at a change.
pub const ADDRESSES_EVERY: Duration = Duration::from_secs(600);
/// How often while there is no Node, or none with an address: a kubelet registers within seconds, a cloud takes minutes.
const ADDRESSES_AWAITED: Backoff = Backoff::seconds(2, 60);
/// How often while this host's clock is in doubt: the answer has the API server's date.
const CLOCK_AGAIN: Duration = Duration::from_secs(60);
/// One reading of the Node.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeRead {
    /// When.
    pub at: Time,
    /// What came of it.
    pub found: Found,
    /// How often in a row it was the same kind of trouble.
    pub streak: u32,
    /// In 0..1; the jitter's draw.
    pub draw: f64,
}

/// What came of reading the Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It has addresses.
    Addresses,
    /// It has none that a certificate could be for.
    NoAddresses,
    /// There is no such Node.
    NoNode,
    /// It could not be read.
    Trouble(Outcome),
}

/// Has the Node to be read now?
pub(super) fn is_to_be_read(now: Time, seen: &Seen) -> bool {
    let Some(read) = &seen.node_read else { return true };
    let mut every = read_again(read);
    if read.found == Found::Addresses {
        match &seen.clock {
            Some(clock) if clock.trusted && is_fresh(now, clock) => {}
            _ => every = CLOCK_AGAIN,
        }
    }
    // What was read in the future was read before the clock was set back.
    now.0.duration_since(read.at.0).map_or(true, |age| age >= every)
}

/// Does the last answer about the clock still count? One from the future was given before the clock was set back.
pub(super) fn is_fresh(now: Time, clock: &Clock) -> bool {
    now.0.duration_since(clock.at.0).is_ok_and(|age| age < CLOCK_FRESH)
}

pub(super) fn read_again(read: &NodeRead) -> Duration {
    match &read.found {
        Found::Addresses => ADDRESSES_EVERY,
        Found::NoAddresses | Found::NoNode => ADDRESSES_AWAITED.delay(read.streak, read.draw),
        Found::Trouble(outcome) => {
            let asked = match outcome {
                Outcome::Throttled(wait) => *wait,
                _ => Duration::ZERO,
            };
            Backoff::seconds(5, 300).delay(read.streak, read.draw).max(asked)
        }
    }
}

/// Why the addresses are not known.
pub(super) fn unread(seen: &Seen) -> Option<Reason> {
    let name = seen.node.as_ref().map_or("", NodeName::as_str);
    match &seen.node_read.as_ref()?.found {
        Found::Addresses => None,
        Found::NoAddresses => Some(Reason::new(
            "node-without-addresses",
            format!(
                "the Node {name} has no IP address yet that a certificate could be for; the kubelet or the cloud's controller \
                 manager writes them: kubectl get node {name} -o wide"
            ),
        )),
        Found::NoNode => Some(Reason::new(
            "node-not-registered",
            format!("there is no Node {name} yet; the kubelet registers it when it is up"),
        )),
        Found::Trouble(outcome) => {
            let last = Attempt {
                at: Time(SystemTime::UNIX_EPOCH),
                outcome: outcome.clone(),
                identity: Identity::Node,
                streak: 1,
                draw: 0.5,
            };
            attempt::trouble(&last, "").map(|trouble| trouble.reason)
        }
    }
}
