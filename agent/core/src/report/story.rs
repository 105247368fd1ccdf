//! What happened, newest first.

use super::Document;
use super::html::Page;
use crate::event::{Priority, all};
use crate::status::Health;

/// Every event that the agent keeps.
pub(super) fn events(page: &mut Page, document: &Document<'_>) {
    page.raw("<section>\n<h2>Events</h2>\n");
    if document.events.is_empty() {
        page.raw("<p>None is kept.</p>\n</section>\n");
        return;
    }
    page.raw("<table class=\"events\">\n<thead><tr><th>When</th><th>What</th><th class=\"wide\">In words</th></tr></thead>\n<tbody>\n");
    for event in document.events.iter().rev() {
        let known = all().find(|known| known.name == event.event);
        let health = match known.map(|event| event.priority) {
            Some(Priority::Error) => Health::Bad,
            Some(Priority::Warning) => Health::Unknown,
            // An event of a newer agent has no priority here.
            Some(Priority::Info) | None => Health::Good,
        };
        page.raw("<tr><td>").time(event.at).raw("</td><td>");
        page.raw(match health {
            Health::Good => "<span>",
            Health::Bad => "<span class=\"bad\">✗ ",
            Health::Unknown => "<span class=\"unknown\">! ",
        });
        page.text(&event.event).raw("</span></td><td class=\"wide\">").text(&event.message);
        if !event.fields.is_empty() {
            page.raw("<br><small>");
            for (index, (name, value)) in event.fields.iter().enumerate() {
                page.raw(if index == 0 { "" } else { " " }).text(name).raw("=").text(value);
            }
            page.raw("</small>");
        }
        page.raw("</td></tr>\n");
    }
    page.raw("</tbody>\n</table>\n</section>\n");
}
