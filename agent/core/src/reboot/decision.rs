//! What is decided: the state, why, and the one step that the shell takes.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::seen::{Cause, Entry, Release};
use crate::status::Reason;
use crate::time::Time;

/// Where on the line this host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RebootState {
    /// `coordinate = false`: whoever reboots this host, the agent leaves it alone.
    Off,
    /// Whether a reboot is wanted cannot be told.
    Unknown,
    /// None is wanted.
    Idle,
    /// One is wanted, and something is in the way: the reason says what.
    Waiting,
    /// A slot of the group is held, for this boot.
    Granted,
    /// The kubelet's certificate is renewed first, so that it outlives the reboot.
    RenewingCertificate,
    /// The node is made unschedulable.
    Cordoning,
    /// Its pods are evicted.
    Draining,
    /// The block lock is dropped and the reboot asked for.
    LettingGo,
    /// A shutdown is under way, or is to come within [`super::REBOOT_COMES`].
    Rebooting,
    /// After the boot: which release came up is looked at.
    Proving,
    /// After the boot: everything must be good for a while.
    Gate,
    /// No reboot follows after all: the drain is stopped, the node uncordoned, the slot given back.
    Undoing,
    /// The slot is kept, so that what is wrong here stops here.
    HeldBack,
    /// The boot never got good: back to the release before.
    RollingBack,
}

impl RebootState {
    /// Every state, for tables and documentation.
    pub const ALL: [Self; 15] = [
        Self::Off,
        Self::Unknown,
        Self::Idle,
        Self::Waiting,
        Self::Granted,
        Self::RenewingCertificate,
        Self::Cordoning,
        Self::Draining,
        Self::LettingGo,
        Self::Rebooting,
        Self::Proving,
        Self::Gate,
        Self::Undoing,
        Self::HeldBack,
        Self::RollingBack,
    ];

    /// Nothing is wanted and nothing goes on.
    pub fn is_quiet(self) -> bool {
        matches!(self, Self::Off | Self::Unknown | Self::Idle)
    }

    /// The kebab-case name, equal to the JSON one.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Unknown => "unknown",
            Self::Idle => "idle",
            Self::Waiting => "waiting",
            Self::Granted => "granted",
            Self::RenewingCertificate => "renewing-certificate",
            Self::Cordoning => "cordoning",
            Self::Draining => "draining",
            Self::LettingGo => "letting-go",
            Self::Rebooting => "rebooting",
            Self::Proving => "proving",
            Self::Gate => "gate",
            Self::Undoing => "undoing",
            Self::HeldBack => "held-back",
            Self::RollingBack => "rolling-back",
        }
    }
}

impl fmt::Display for RebootState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether logind's block inhibitor is to be held; its `why` is the decision's reason.
///
/// It is released to let go, and from then on until this boot ends or the letting go is given up: one that was taken in between would
/// refuse the very reboot that was granted, after rpm-ostree unlocked the staged deployment for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostLock {
    /// Held: no reboot by anyone who asks logind.
    Held,
    /// Not held.
    Released,
}

/// The one thing to do now. The shell does it, looks again, and asks again. Each may be done twice, and each may have been done though
/// its reply was lost: the next look tells.
#[must_use = "a step that is not taken is a reboot that does not come, or a slot that is never freed"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing before this instant, unless something changes.
    Idle {
        /// When to look again; never more than [`super::LOOK_AGAIN`] ahead.
        until: SystemTime,
    },
    /// Take a slot by writing this entry. `Seen::given_up` is forgotten with it, before it is sent.
    Take(Entry),
    /// Write this entry over the own one. An own slot that is not there any more is taken again or refused, as by `Take`.
    Amend(Entry),
    /// Give the own slot back.
    Free,
    /// Ask for a certificate with so much life left (the wish of [`crate::rotation::wish`]) and wait for it, with a deadline. A "no"
    /// becomes `Seen::renewal_refused`.
    Renew {
        /// How much.
        at_least: Duration,
    },
    /// Make the own Node unschedulable, and note this boot in its annotation, by one PATCH.
    Cordon,
    /// Make it schedulable and take the annotation away, by one PATCH.
    Uncordon,
    /// Begin the drain; it then goes on beside the decisions, as `Seen::drain`.
    Drain {
        /// Its deadline.
        until: Time,
    },
    /// Stop the drain if it runs, and forget it: `Drain::NotBegun`.
    StopDrain,
    /// Drop the block lock and reboot: by finalizing the staged release where the cause is one, by logind otherwise. What comes of it is
    /// `Seen::let_go`, noted before the lock is dropped.
    LetGo(Cause),
    /// Drop the block lock and go back from this release to the one before. What comes of it is `Seen::let_go`, as for `LetGo`.
    Rollback(Release),
    /// Note durably that this release never got good here.
    RememberBad(Release),
    /// Note `Seen::given_up` with this reason, and forget `Seen::let_go`.
    GiveUp(Reason),
    /// Drop the operator's orders that are done: a request or force of an earlier boot, a word that has freed its slot.
    ClearServed,
}

impl Step {
    /// A word for the journal.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Idle { .. } => "idle",
            Self::Take(_) => "take",
            Self::Amend(_) => "amend",
            Self::Free => "free",
            Self::Renew { .. } => "renew",
            Self::Cordon => "cordon",
            Self::Uncordon => "uncordon",
            Self::Drain { .. } => "drain",
            Self::StopDrain => "stop-drain",
            Self::LetGo(_) => "let-go",
            Self::Rollback(_) => "rollback",
            Self::RememberBad(_) => "remember-bad",
            Self::GiveUp(_) => "give-up",
            Self::ClearServed => "clear-served",
        }
    }
}

/// State, reason, lock and step.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The state.
    pub state: RebootState,
    /// Why: the one reason that socket, journal, inhibitor, Node and Events tell.
    pub reason: Reason,
    /// What happens next, for people.
    pub next: String,
    /// When, if it is a matter of time.
    pub next_at: Option<Time>,
    /// Whether the block inhibitor is to be held.
    pub lock: HostLock,
    /// What the shell does.
    pub step: Step,
}

impl Decision {
    /// `step` is done now.
    pub(super) fn going(state: RebootState, reason: Reason, next: &str, step: Step) -> Self {
        let is_let_go = matches!(state, RebootState::Off | RebootState::Rebooting);
        let lets_go = matches!(step, Step::LetGo(_) | Step::Rollback(_));
        let lock = if is_let_go || lets_go { HostLock::Released } else { HostLock::Held };
        Self { state, reason, next: next.to_owned(), next_at: None, lock, step }
    }

    /// Nothing is done before `at`, or before something changes.
    pub(super) fn idle(now: Time, state: RebootState, reason: Reason, next: &str, at: Option<Time>) -> Self {
        let soon = Time(now.0 + super::LOOK_AGAIN);
        // A moment that has just passed must not become a busy loop.
        let until = at.map_or(soon, |at| at.min(soon)).max(Time(now.0 + Duration::from_millis(10)));
        Self { next_at: at, ..Self::going(state, reason, next, Step::Idle { until: until.0 }) }
    }
}
