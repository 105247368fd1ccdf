//! What the shell sees, as values.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::status::Reason;
use crate::time::Time;

/// A boot, by `/proc/sys/kernel/random/boot_id`: another value is the proof of a reboot (random(4)).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub String);

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A release of the OS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// As people say it: `44.20261110.3.0`, `4459.2.1`.
    pub version: String,
    /// The deployment's checksum or the image's digest, where the OS has one; two releases with one are the same or not by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
}

impl Release {
    /// The same release? By checksum where both have one, by version otherwise.
    pub fn is(&self, other: &Self) -> bool {
        match (&self.checksum, &other.checksum) {
            (Some(one), Some(two)) => one == two,
            _ => self.version == other.version,
        }
    }
}

/// Why a reboot is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// A release is staged and takes effect with the next boot.
    Update(Release),
    /// `/run/reboot-required` is there; the packages that asked for it, if it names any.
    Required(Vec<String>),
    /// An operator asked for it.
    Request,
}

/// A reboot that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Why.
    pub cause: Cause,
    /// Since when, as far as it is known.
    pub since: Time,
}

/// One taken slot, as the value of `holder.<node>` in the group's ConfigMap. Unknown keys are left out, so that an older agent reads a newer
/// one's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The boot in which the slot was taken. Another boot now: the reboot has happened.
    pub boot_id: BootId,
    /// The reason, for people.
    pub reason: String,
    /// When the slot was taken.
    pub since: Time,
    /// Whether the agent cordons (and must uncordon) the node for it; false where it was cordoned already by somebody else.
    #[serde(default)]
    pub cordoned: bool,
    /// The release that should run after it, where the reboot is for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Release>,
    /// The release that ran when the slot was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Release>,
    /// Since when the host may be let go, written right before it is, and good for [`super::LET_GO_LASTS`]. As the API server takes it only from a node
    /// that has a slot, it proves the slot at the last moment. An agent that was killed in that moment finds that a reboot may still come. And a boot
    /// that finds none was no reboot of ours (power, a person, a panic), so that the wanted release does not run says nothing against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub let_go: Option<Time>,
}

/// Another node's slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The node.
    pub node: String,
    /// What it wrote; none where that cannot be read.
    pub entry: Option<Entry>,
}

/// What is known of the lock that all nodes of the group share.
#[expect(clippy::large_enum_variant, reason = "an agent has one of them")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// It could not be looked at: no answer, no such group, no right. Nothing is granted, and nothing is thought to be free.
    Unknown(Reason),
    /// As it was last seen.
    Seen {
        /// Our own entry, if we hold a slot.
        mine: Option<Entry>,
        /// The others that hold one; always empty with `local`, and not known with `fleetlock`.
        others: Vec<Holder>,
        /// How many there are.
        limit: u32,
        /// Why the last try to take one was refused, while nothing has changed since. A FleetLock server tells only so.
        refused: Option<Reason>,
    },
}

/// What is known of the own Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSeen {
    /// `spec.unschedulable`.
    pub unschedulable: bool,
    /// The boot in which the agent cordoned it, by its annotation; none: whoever cordoned it, it was not the agent.
    pub cordoned_by_us: Option<BootId>,
    /// The condition `Ready` is `True`.
    pub ready: bool,
}

/// Somebody's wish that this host stays up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Why, in the operator's words.
    pub why: String,
    /// Since when.
    pub since: Time,
    /// Who.
    pub uid: u32,
}

/// An operator's request for a coordinated reboot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Why, in the operator's words.
    pub why: String,
    /// Since when.
    pub since: Time,
    /// Who.
    pub uid: u32,
    /// The boot that is to end: in another one the request has been served.
    pub boot_id: BootId,
}

/// The glass is broken: a reboot whatever window, hold, slot and health say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Force {
    /// Why, in the operator's words.
    pub why: String,
    /// Since when.
    pub since: Time,
    /// Who.
    pub uid: u32,
    /// The boot that is to end.
    pub boot_id: BootId,
}

/// What operators said. Kept in a file of the host, because it must hold while the cluster cannot be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// Keep the host up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// Reboot it in turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
    /// Reboot it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force: Option<Force>,
    /// An operator's word that the slot of this boot may be freed though not all is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<BootId>,
}

/// A pod that a drain has not got rid of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodLeft {
    /// `namespace/name`.
    pub pod: String,
    /// Why it is still there.
    pub reason: Reason,
}

/// How far the drain of this cycle is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drain {
    /// It has not begun in this run of the agent.
    NotBegun,
    /// It runs.
    Running {
        /// Since when.
        since: Time,
        /// What is left.
        left: Vec<PodLeft>,
    },
    /// No pod is left that a drain removes.
    Done,
    /// Its deadline passed, or it cannot go on.
    Failed {
        /// When.
        at: Time,
        /// Why.
        reason: Reason,
        /// What is left.
        left: Vec<PodLeft>,
    },
}

/// The host was let go in this run of the agent: the block lock was dropped and the reboot asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LetGo {
    /// When.
    pub at: Time,
    /// What rpm-ostreed or logind answered.
    pub answer: Result<(), Reason>,
}

/// Everything the decision is made of, beside the time and the policy.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The boot that runs.
    pub boot: BootId,
    /// When it began.
    pub booted_at: Time,
    /// The release that runs.
    pub booted: Result<Release, Reason>,
    /// What is wanted by the OS; an operator's request is in `orders`. `Err`: nobody could be asked, so nothing is known to be wanted.
    pub pending: Result<Option<Pending>, Reason>,
    /// What operators said.
    pub orders: Orders,
    /// Releases that never got healthy here, and are not taken again.
    pub bad: Vec<Release>,
    /// What is not good of the host (kubelet, certificate, posture, Node), each with its reason; empty: all of it is good.
    pub lacking: Vec<Reason>,
    /// Since when `lacking` has been empty without a break in this boot; none while it is not.
    pub good_since: Option<Time>,
    /// Since when something has been lacking without a break *while it could be looked at*: none while all is good, and while the slot or the
    /// Node is not known (an API server that is away makes no release bad).
    pub bad_since: Option<Time>,
    /// The end of the kubelet's certificate; none: there is none, or it is not known.
    pub certificate_until: Option<Time>,
    /// What the last renewal for this reboot said, if it was refused and nothing has changed since.
    pub renewal_refused: Option<(Time, Reason)>,
    /// The lock of the group. It must never be older than the own last write to it: a slot that was given back and is still seen here would be
    /// taken for one that is held.
    pub slot: Slot,
    /// Since when it has not been known; none: it is.
    pub slot_unknown_since: Option<Time>,
    /// The own Node.
    pub node: Result<NodeSeen, Reason>,
    /// The drain of this cycle.
    pub drain: Drain,
    /// Whether the host was let go in this run of the agent.
    pub let_go: Option<LetGo>,
    /// logind says that a shutdown is under way (`PreparingForShutdown`).
    pub shutting_down: bool,
    /// The last cycle that was given up in this run of the agent: when and why; the next try waits. Forgotten with the next `Step::Take`.
    pub given_up: Option<(Time, Reason)>,
    /// Why the last step failed, until one succeeds: the decision makes it its reason while the step is to be done again.
    pub trouble: Option<Reason>,
}
