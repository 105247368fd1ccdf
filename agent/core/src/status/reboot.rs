//! The part of the status that tells of reboots.

use serde::{Deserialize, Serialize};

use super::{Health, Reason};
use crate::reboot::{Cause, Entry, Holder, Orders, PodLeft, RebootState, Release};
use crate::time::Time;

/// `GET /v1/reboot`: may this host reboot, and why (not). The reason is the same one in the journal, in `systemd-inhibit --list`, in the
/// Node's annotation and condition, and in Events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RebootStatus {
    /// Bad: a slot is kept because this host is not good. Unknown: something that decides cannot be looked at.
    pub health: Health,
    /// Where on the line it is.
    pub state: RebootState,
    /// Since when.
    pub since: Time,
    /// Why.
    pub reason: Reason,
    /// What happens next, in one sentence.
    pub next: String,
    /// When that happens, if it is a matter of time.
    pub next_at: Option<Time>,
    /// The reboot that is wanted, if any.
    pub pending: Option<PendingView>,
    /// The lock that all nodes of the group share.
    pub lock: LockView,
    /// The lock on this host.
    pub host_lock: HostLockView,
    /// What operators said.
    pub orders: Orders,
    /// When reboots may begin; absent: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowView>,
    /// The pods that a drain has not got rid of; absent while none runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainView>,
    /// The boot that runs, and its release.
    pub boot: BootView,
    /// Releases that never got healthy here and are not taken again.
    pub bad: Vec<Release>,
}

/// A reboot that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingView {
    /// Why.
    pub cause: Cause,
    /// Since when, as far as it is known.
    pub since: Time,
}

/// The group's lock as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockView {
    /// `slots`, `fleetlock` or `local`.
    pub kind: String,
    /// The group.
    pub group: String,
    /// How many may reboot at once; absent while it is not known.
    pub limit: Option<u32>,
    /// The slot of this node, if it holds one.
    pub mine: Option<Entry>,
    /// The other holders.
    pub others: Vec<Holder>,
    /// Why it is not known, or why the last try to take it was refused.
    pub reason: Option<Reason>,
}

/// logind's block inhibitor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostLockView {
    /// It is held.
    pub held: bool,
    /// The reason that `systemd-inhibit --list` shows.
    pub why: Option<String>,
    /// Whether it binds root's `systemctl reboot` too: from systemd 257 on. Absent while that is not known.
    pub binds_root: Option<bool>,
    /// What is in the way of it, or of the shutdown's last writes (`InhibitDelayMaxSec`).
    pub reason: Option<Reason>,
}

/// The windows of the configuration, at the moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowView {
    /// A reboot may begin now.
    pub open: bool,
    /// When it opens, if it is closed; when it closes, if it is open.
    pub until: Option<Time>,
}

/// A drain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainView {
    /// `running`, `done` or `failed`.
    pub state: String,
    /// The pods that are left, each with why.
    pub left: Vec<PodLeft>,
    /// Why it failed.
    pub reason: Option<Reason>,
}

/// The boot that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootView {
    /// `/proc/sys/kernel/random/boot_id`.
    pub id: String,
    /// The release; absent where it cannot be told.
    pub release: Option<Release>,
}
