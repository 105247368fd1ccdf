//! When a certificate is to be renewed: a point in its life drawn from its serial, so that a restart does not move it.

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::cert::CertView;
use crate::time::Time;

/// How far the signer sets the start back (kube-controller-manager: 5 minutes, for clocks that lag), with room.
/// An installation later than this after the start says nothing about when it was issued.
const BACKDATED: Duration = Duration::from_secs(600);
/// The share of its life after which a renewal should long have succeeded. The kubelet's own latest point is 90 %; with
/// renewal begun at 67 % of 72 h, this is nine hours of failures.
const OVERDUE: f64 = 0.80;

/// The instants that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Where its life is counted from.
    pub starts_at: Time,
    /// When renewal begins.
    pub renew_at: Time,
    /// When it should have succeeded.
    pub overdue_at: Time,
}

/// The schedule of `leaf`, installed at `installed_at`.
///
/// The life is counted from the installation where that is within the signer's backdating: a certificate of a
/// few minutes is otherwise past its point when it is issued (span 15 min for 600 s asked), and would be renewed for ever.
pub fn schedule(leaf: &CertView, installed_at: Time, between: [f64; 2]) -> Schedule {
    let start = match installed_at.0.duration_since(leaf.not_before.0) {
        Ok(late) if late <= BACKDATED && installed_at < leaf.not_after => installed_at,
        _ => leaf.not_before,
    };
    let life = leaf.not_after.0.duration_since(start.0).unwrap_or_default();
    let [low, high] = between;
    let share = low + (high - low) * draw(&leaf.serial);
    let renew_at = Time(start.0 + life.mul_f64(share.clamp(0.0, 1.0))).max(earliest(leaf, installed_at));
    Schedule {
        starts_at: start,
        renew_at,
        overdue_at: Time(start.0 + life.mul_f64(OVERDUE.max(share).clamp(0.0, 1.0))).max(renew_at),
    }
}

/// No certificate is renewed sooner than this after it was installed, whatever its dates are: where this host's clock is ahead of
/// the signer's by most of a life, each new one is past its point when it comes, and would be asked for once a second
/// (kubernetes#97680). A tenth of its life, or half of what is left of it.
fn earliest(leaf: &CertView, installed_at: Time) -> Time {
    let life = leaf.not_after.0.duration_since(leaf.not_before.0).unwrap_or_default();
    match leaf.not_after.0.duration_since(installed_at.0) {
        Ok(left) if installed_at >= leaf.not_before => Time(installed_at.0 + (life / 10).min(left / 2)),
        _ => leaf.not_before,
    }
}

/// A number in 0..1 that follows from the serial.
fn draw(serial: &str) -> f64 {
    let digest = Sha256::digest(serial.as_bytes());
    let high = digest.iter().take(4).fold(0_u32, |sum, byte| (sum << 8) | u32::from(*byte));
    f64::from(high) / f64::from(u32::MAX)
}
