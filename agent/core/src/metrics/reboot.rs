//! The series about reboots: the state, what waits, and the locks.

use super::{Kind, Page};
use crate::reboot::RebootState;
use crate::status::RebootStatus;
use crate::time::Time;

/// Appends them. Nothing is told before the first look.
pub(super) fn append(page: &mut Page, part: Option<&RebootStatus>) {
    let Some(part) = part else { return };
    let instant = |time: Time| time.unix() as f64;
    page.family("eyewall_reboot_state", Kind::Gauge, "1 for the state the reboots of this host are in.");
    for state in RebootState::ALL {
        let is = f64::from(u8::from(state == part.state));
        page.sample("eyewall_reboot_state", &[("state", state.as_str())], is);
    }
    page.one(
        "eyewall_reboot_pending_since_timestamp_seconds",
        Kind::Gauge,
        "Since when a reboot is wanted; absent while none is.",
        part.pending.as_ref().map(|pending| instant(pending.since)),
    );
    page.one(
        "eyewall_reboot_slot_since_timestamp_seconds",
        Kind::Gauge,
        "Since when this node holds its slot; absent while it holds none.",
        part.lock.mine.as_ref().map(|mine| instant(mine.since)),
    );
    page.one(
        "eyewall_reboot_host_lock_held",
        Kind::Gauge,
        "1 while logind's block lock is held.",
        Some(f64::from(u8::from(part.host_lock.held))),
    );
}
