//! The kubelet in its container, and the agent itself.

use super::html::Page;
use super::{Document, away, word};

/// The unit, the image and why it is as it is.
pub(super) fn kubelet(page: &mut Page, document: &Document<'_>) {
    let part = &document.status.kubelet;
    page.raw("<section>\n<h2>Kubelet ").badge(part.health, word(part.health)).raw("</h2>\n<p>").reason(&part.reason);
    page.raw("</p>\n<dl>\n");
    page.fact("since", |page| {
        page.time(part.since).raw(", ").text(&away(part.since, document.now));
    });
    page.fact("unit", |page| {
        page.code(&part.unit).raw(" ");
        match &part.active_state {
            Some(state) => page.text(state),
            None => page.raw("could not be looked at"),
        };
        if let Some(pid) = part.main_pid {
            page.raw(", pid ").text(&pid.to_string());
        }
        if part.restarts_total > 0 {
            page.raw(", restarts by eyewall: ").text(&part.restarts_total.to_string());
        }
    });
    if let Some(runtime) = &part.runtime {
        page.fact("runtime", |page| {
            page.text(runtime);
        });
    }
    if let Some(image) = &part.image {
        page.fact("image", |page| {
            page.code(&image.reference).raw(" since ").time(image.chosen_at);
        });
        if let Some(digest) = &image.digest {
            page.fact("digest", |page| {
                page.code(digest);
            });
        }
        for passed in &image.passed_over {
            page.fact("passed over", |page| {
                page.reason(passed);
            });
        }
    }
    page.raw("</dl>\n</section>\n");
}

/// Its configuration, and what it cannot see or do here.
pub(super) fn agent(page: &mut Page, document: &Document<'_>) {
    let part = &document.status.agent;
    page.raw("<section>\n<h2>Agent</h2>\n<dl>\n");
    page.fact("version", |page| {
        page.text(&part.version).raw(", pid ").text(&part.pid.to_string()).raw(", started ").time(part.started_at);
    });
    page.fact("configuration", |page| {
        page.raw("in force since ").time(part.config.loaded_at);
        for file in &part.config.files {
            page.raw("<br>").code(file);
        }
        if part.config.files.is_empty() {
            page.raw(", defaults only");
        }
    });
    if let Some(refused) = &part.config.refused {
        page.fact("refused", |page| {
            page.reason(refused);
        });
    }
    for limit in &part.limits {
        page.fact("limit", |page| {
            page.reason(limit);
        });
    }
    page.raw("</dl>\n</section>\n");
}
