//! The posture: each claim of the security page with what it was judged by, and what changed.

use super::html::Page;
use super::{Document, word};
use crate::posture::history::Change;
use crate::posture::report::{ClaimState, ClaimView};
use crate::posture::{Finding, Published, Word};
use crate::status::Health;

/// More changes are in `eyewall check --changes`.
const CHANGES: usize = 100;

/// The claims.
pub(super) fn claims(page: &mut Page, document: &Document<'_>) {
    let Some(Published { report, .. }) = document.posture else {
        page.raw("<section>\n<h2>Posture</h2>\n<p>The host has not been looked at yet.</p>\n</section>\n");
        return;
    };
    page.raw("<section>\n<h2>Posture ").badge(report.health, word(report.health)).raw("</h2>\n<p>");
    let counts = &report.counts;
    page.text(&format!(
        "{} pass, {} fail, {} unknown, {} waived, {} not applicable; findings count from {} on. Looked at ",
        counts.pass,
        counts.fail,
        counts.unknown,
        counts.waived,
        counts.not_applicable,
        report.counts_from.as_str()
    ));
    page.time(report.captured_at).raw(".</p>\n");
    page.raw("<table class=\"claims\">\n<thead><tr><th>Is it so?</th><th>Claim</th><th class=\"wide\">What was found</th></tr></thead>\n<tbody>\n");
    for claim in report.claims.iter().filter(|claim| claim.state != ClaimState::CannotBeProved) {
        page.raw("<tr><td>");
        state(page, claim);
        page.raw("</td><td>").text(&claim.sentence).raw("</td><td class=\"wide\">");
        let mut told = false;
        for finding in report.of_claim(&claim.id).filter(|finding| is_told(finding)) {
            page.raw(if told { "<br>" } else { "" }).code(&finding.check).raw(" ");
            page.text(finding.verdict.word().as_str()).raw(": ").reason(&finding.reason);
            told = true;
        }
        page.raw("</td></tr>\n");
    }
    page.raw("</tbody>\n</table>\n<p class=\"note\">What a node cannot prove:");
    for (at, claim) in report.claims.iter().filter(|claim| claim.state == ClaimState::CannotBeProved).enumerate() {
        page.raw(if at == 0 { " " } else { " · " }).text(&claim.sentence);
    }
    page.raw("</p>\n</section>\n");
}

fn is_told(finding: &Finding) -> bool {
    !matches!(finding.verdict.word(), Word::Pass | Word::NotApplicable)
}

fn state(page: &mut Page, claim: &ClaimView) {
    let said = claim.state.as_str();
    match claim.state {
        ClaimState::Holds => page.badge(Health::Good, said),
        ClaimState::Broken => page.badge(Health::Bad, said),
        ClaimState::Unknown | ClaimState::Waived => page.badge(Health::Unknown, said),
        // What proves nothing is never green.
        ClaimState::Reported | ClaimState::NotApplicable | ClaimState::NotJudged | ClaimState::CannotBeProved => {
            page.text(said)
        }
    };
}

/// The changes, newest first.
pub(super) fn changes(page: &mut Page, document: &Document<'_>) {
    let Some(published) = document.posture else { return };
    page.raw("<section>\n<h2>Changes of the posture</h2>\n");
    if published.changes.is_empty() {
        page.raw("<p>None is kept.</p>\n</section>\n");
        return;
    }
    page.raw("<table class=\"events\">\n<thead><tr><th>When</th><th>What</th><th class=\"wide\">In words</th></tr></thead>\n<tbody>\n");
    for change in published.changes.iter().rev().take(CHANGES) {
        one(page, change);
    }
    page.raw("</tbody>\n</table>\n</section>\n");
}

fn one(page: &mut Page, change: &Change) {
    let after = change.after.verdict.word();
    page.raw("<tr><td>").time(change.at).raw("</td><td>").code(&change.check).raw("<br>");
    page.text(change.before.as_ref().map_or("new", |before| before.verdict.word().as_str())).raw(" → ");
    page.raw(match after {
        Word::Pass => "<span class=\"good\">● ",
        Word::Fail => "<span class=\"bad\">✗ ",
        Word::Unknown | Word::Waived => "<span class=\"unknown\">? ",
        Word::NotApplicable => "<span>",
    });
    page.text(after.as_str()).raw("</span></td><td class=\"wide\">").reason(&change.after.reason);
    let facts = change.after.facts.iter().map(|fact| format!("{}={}", fact.name, fact.value)).collect::<Vec<_>>();
    if !facts.is_empty() {
        page.raw("<br><small>").text(&facts.join(" ")).raw("</small>");
    }
    if let Some(actor) = &change.actor {
        page.raw("<br>by the login of user ").text(&actor.login_uid.to_string());
    }
    page.raw("</td></tr>\n");
}
