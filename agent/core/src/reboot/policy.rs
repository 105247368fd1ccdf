//! What the configuration says about reboots, and the spans that it does not say.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::seen::Entry;
use super::window::{WindowFault, Windows};
use crate::config::{self, OnDrainTimeout};
use crate::time::Time;

/// Nothing is ever slept over longer: the wall clock may jump and the sleep does not notice.
pub const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// A host that was let go is expected to say `PreparingForShutdown` within this. rpm-ostreed spawns `systemctl reboot` when it is idle and
/// looks at nothing but spawn errors, so "nothing happened" can only be told by time; so can a reply that was lost.
pub const REBOOT_COMES: Duration = Duration::from_secs(60);
/// The host is let go within this after its slot says so, or the slot is written once more. So no reboot of ours comes later than this and
/// [`REBOOT_COMES`] after what the slot says, whatever became of the agent that wrote it.
pub const LET_GO_LASTS: Duration = Duration::from_secs(60);
/// How long a slot may be held before the host is let go, beside the drain: the renewal, an API server that is away for a while, health that
/// comes back. After it the slot is given back, because others wait for it.
pub const GRANT_LASTS: Duration = Duration::from_secs(30 * 60);
/// The wait after a cycle that was given up; a seeded fifth is added, so that nodes which failed together do not try together.
pub const TRY_AGAIN: Duration = Duration::from_secs(15 * 60);
/// The same where an operator forces the reboot.
pub const FORCE_AGAIN: Duration = Duration::from_secs(2 * 60);
/// How long a forced reboot waits for an API server that cannot be asked for the Node, before it goes without a drain.
pub const FORCE_PATIENCE: Duration = Duration::from_secs(30);
/// A boot that has not passed the gate `health_gate` and this after it began is called bad: the host holds its slot and says so, or goes back.
/// A kubelet pulls its image, static pods come up and a Node turns Ready well within it.
pub const GOOD_WITHIN: Duration = Duration::from_secs(15 * 60);
/// Nothing is rolled back before it has been bad without a break for so long, as far as it could be looked at: when an API server comes
/// back after an hour, every Node is NotReady for a moment, whatever release it runs.
pub const BAD_FOR: Duration = Duration::from_secs(5 * 60);
/// How long a host may be away after it was let go and still return by its certificate: long enough for firmware, a check of a big disk, a
/// boot that fails and is rolled back, and a person who is called. Past the certificate's end only the bootstrap token helps.
pub const OUTAGE: Duration = Duration::from_secs(2 * 3_600);
/// A clock that was set back by more than this since a slot was taken says nothing about how long it has been held.
const CLOCK_SLACK: Duration = Duration::from_secs(5 * 60);

/// `[reboot]`, parsed.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Coordinate at all.
    pub coordinate: bool,
    /// When reboots may begin.
    pub windows: Windows,
    /// How long a drain may take.
    pub drain_timeout: Duration,
    /// What follows when it takes longer.
    pub on_drain_timeout: OnDrainTimeout,
    /// All must be good this long after the boot before the slot is freed.
    pub health_gate: Duration,
    /// A boot that never gets good goes back.
    pub rollback: bool,
    /// Stable for this node, different from node to node: by [`seed`].
    pub seed: u64,
}

impl Policy {
    /// The policy of this configuration, for the node of this name. `zone` is what `time_zone` names: reading time zones is the shell's business.
    ///
    /// # Errors
    /// A window that is none. Configuration that was read from a file has been looked at already.
    pub fn new(reboot: &config::Reboot, zone: TimeZone, node: &str) -> Result<Self, WindowFault> {
        Ok(Self {
            coordinate: reboot.coordinate,
            windows: Windows::new(&reboot.windows, zone)?,
            drain_timeout: reboot.drain_timeout,
            on_drain_timeout: reboot.on_drain_timeout,
            health_gate: reboot.health_gate,
            rollback: reboot.rollback,
            seed: seed(node),
        })
    }

    /// How much life the certificate must have left when the host is let go.
    pub fn certificate_at_the_end(&self) -> Duration {
        OUTAGE + self.health_gate
    }

    /// How much it must have left when the drain begins, so that it has enough when the drain ends.
    pub fn certificate_at_the_grant(&self) -> Duration {
        self.certificate_at_the_end() + self.drain_timeout
    }

    /// How much of a window must be left to begin in it: the host is let go inside the window or not at all, so a drain that cannot end in it
    /// is not begun. In a window that is shorter than that, half of it.
    pub fn window_left(&self) -> Duration {
        self.windows.shortest().map_or(Duration::ZERO, |shortest| self.drain_timeout.min(shortest / 2))
    }

    /// When a cycle of which the slot was taken at `since` must have let go.
    pub fn cycle_ends(&self, since: Time) -> Time {
        Time(since.0 + self.drain_timeout + GRANT_LASTS)
    }

    /// When a boot that began at `booted_at` must have passed the gate.
    pub fn good_by(&self, booted_at: Time) -> Time {
        Time(booted_at.0 + self.health_gate + GOOD_WITHIN)
    }

    /// A number in 0..1, stable for this node and this occasion.
    pub fn draw(&self, occasion: Time) -> f64 {
        let nanoseconds = occasion.0.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let mixed = mix(self.seed ^ u64::try_from(nanoseconds % u128::from(u64::MAX)).unwrap_or(0));
        // 53 bits are what an f64 holds.
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Has it been longer than `span` since `since`? A `since` that is well in the future was before a clock was set back: yes, too.
pub(super) fn is_over(now: Time, since: Time, span: Duration) -> bool {
    now.0 >= since.0 + span || since.0 > now.0 + CLOCK_SLACK
}

/// The slot says that the host may be let go now.
pub(super) fn may_go(now: Time, entry: &Entry) -> bool {
    entry.let_go.is_some_and(|at| !is_over(now, at, LET_GO_LASTS))
}

/// A seed of the node's name (FNV-1a, then mixed).
pub fn seed(node: &str) -> u64 {
    mix(node
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)))
}

/// SplitMix64's finish: names that differ in one digit must not draw alike.
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
