//! The posture's lines: how it stands, and what to look at first. All of it is `eyewall check`'s.

use super::paint::{Page, clean};
use super::{health, reason, since};
use crate::posture::PostureStatus;
use crate::time::Time;

/// Findings that are told; a screen is for the worst.
const SHOWN: usize = 3;

pub(super) fn part(page: &mut Page, part: &PostureStatus, now: Time) {
    let (style, symbol, word) = health(part.health);
    let looked = format!("looked at {} ago", since(part.checked_at, now));
    page.heading("Posture", style, &format!("{symbol} {word}"), &looked);
    let counts = &part.counts;
    page.item(
        "checks",
        &format!(
            "{} pass, {} fail, {} unknown, {} waived, {} not applicable",
            counts.pass, counts.fail, counts.unknown, counts.waived, counts.not_applicable
        ),
    );
    for finding in part.findings.iter().take(SHOWN) {
        let told = format!("{}, {}: {}", clean(&finding.check), finding.severity.as_str(), reason(&finding.reason));
        page.item(&clean(&finding.verdict), &told);
    }
    // Those that do not count are not among the counted ones, so this is of what is listed and what could be.
    if part.findings.len() > SHOWN {
        page.item("more", "`eyewall check --daemon` tells all of it");
    }
}
