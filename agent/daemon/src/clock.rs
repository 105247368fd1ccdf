//! The one clock. Everything else is given the time.

use std::time::SystemTime;

/// Now, by the wall clock.
#[expect(clippy::disallowed_methods, reason = "the one clock")]
pub fn now() -> SystemTime {
    SystemTime::now()
}
