//! One page of a node for a person who was not there: a single HTML file with nothing to load and nothing to run, for a screen
//! in the light or the dark, and for paper.

mod certificates;
mod html;
mod kubelet;
mod posture;
mod story;

use crate::posture::Published;
use crate::status::{EventRecord, Health, Status};
use crate::time::{Time, human};
use html::Page;

/// What the page is made from.
#[derive(Clone, Copy, Debug)]
pub struct Document<'a> {
    /// The state, from `GET /v1/status`.
    pub status: &'a Status,
    /// What was told since the agent started, oldest first, from `GET /v1/events`.
    pub events: &'a [EventRecord],
    /// The posture, from `GET /v1/posture`; none before the first look.
    pub posture: Option<&'a Published>,
    /// When the page is made.
    pub now: Time,
}

/// A part of the page.
type Part = fn(&mut Page, &Document<'_>);

/// The parts, in their order. A new one (reboots) is a function in a file of its own, and its line here.
const PARTS: &[Part] = &[
    certificates::certificate,
    certificates::forecasts,
    certificates::timeline,
    kubelet::kubelet,
    kubelet::agent,
    posture::claims,
    posture::changes,
    story::events,
];

/// The whole page. Whatever the document says is text in it, never markup.
pub fn render(document: &Document<'_>) -> String {
    let mut page = Page::new();
    head(&mut page, document);
    for part in PARTS {
        part(&mut page, document);
    }
    page.raw("<footer>Made by eyewall ").text(&document.status.agent.version).raw(" at ");
    page.time(document.now).raw(". Times are UTC.</footer>\n</main>\n</body>\n</html>\n");
    page.finish()
}

fn head(page: &mut Page, document: &Document<'_>) {
    let status = document.status;
    let name = status.node.name.as_deref().unwrap_or("a host without a node name");
    page.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    // Should a browser be talked into loading something all the same, it is not allowed to.
    page.raw(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
    );
    page.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.raw("<meta name=\"color-scheme\" content=\"light dark\">\n<title>")
        .text(name)
        .raw(" · eyewall</title>\n<style>\n");
    page.raw(include_str!("report/style.css"))
        .raw("</style>\n</head>\n<body>\n<main>\n<header>\n<h1>")
        .text(name)
        .raw(" ");
    page.badge(status.health, word(status.health)).raw("</h1>\n<p>");
    page.text(&status.node.role).raw(" on ").text(&status.node.os).raw(" · ");
    page.time(document.now).raw(" · agent up ").text(&human(elapsed(status.agent.started_at, document.now)));
    if let Some(boot) = &status.node.boot_id {
        page.raw(" · boot ").code(boot);
    }
    page.raw("</p>\n</header>\n");
}

fn word(health: Health) -> &'static str {
    match health {
        Health::Good => "good",
        Health::Bad => "bad",
        Health::Unknown => "unknown",
    }
}

fn elapsed(from: Time, to: Time) -> std::time::Duration {
    to.0.duration_since(from.0).unwrap_or_default()
}

/// `in 3h12m`, or `3h12m ago`.
fn away(at: Time, now: Time) -> String {
    if at >= now { format!("in {}", human(elapsed(now, at))) } else { format!("{} ago", human(elapsed(at, now))) }
}

#[cfg(test)]
mod tests;
