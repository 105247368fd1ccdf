//! The one clock. Everything else is given the time.

use std::time::{Duration, SystemTime};

use nix::time::{ClockId, clock_gettime};

/// Now, by the wall clock.
#[expect(clippy::disallowed_methods, reason = "the one clock")]
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// Since the boot, suspension included (CLOCK_BOOTTIME): nobody can set it. Zero where the kernel has no such clock, which
/// Linux has since 2.6.39.
pub fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}
