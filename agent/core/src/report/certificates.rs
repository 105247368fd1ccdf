//! The certificate in force, what is to come, and the certificates that were.

use std::time::Duration;

use super::html::Page;
use super::{Document, away, elapsed};
use crate::event::{CERTIFICATE_ADOPTED, CERTIFICATE_INSTALLED, CERTIFICATE_RENEWED_BY_KUBELET};
use crate::status::{CertificateView, CertificatesStatus, EventRecord, ForecastKind};
use crate::time::{Time, human};

/// A drawing is this wide, in units of its own.
const WIDTH: f64 = 1000.0;
/// The most certificates that are drawn: two weeks of 72 hours each, and some that were asked for.
const DRAWN: usize = 12;

/// The state, the life as a bar, and the facts.
pub(super) fn certificate(page: &mut Page, document: &Document<'_>) {
    let part = &document.status.certificates;
    page.raw("<section>\n<h2>Certificate ").badge(part.health, part.state.as_str()).raw("</h2>\n");
    if let Some(current) = &part.current {
        life(page, current, document.now);
    }
    page.raw("<p>").reason(&part.reason).raw("</p>\n<dl>\n");
    page.fact("since", |page| {
        page.time(part.since).raw(", ").text(&away(part.since, document.now));
    });
    page.fact("next", |page| {
        page.text(&part.next);
        if let Some(at) = part.next_at {
            page.raw(", ").time(at).raw(" (").text(&away(at, document.now)).raw(")");
        }
    });
    facts(page, part);
    page.raw("</dl>\n");
    if !part.take_over.is_empty() {
        page.raw("<p>The kubelet renews it and eyewall only watches. To hand it over, as root on the node:</p>\n<pre>");
        for command in &part.take_over {
            page.text(command).raw("\n");
        }
        page.raw("</pre>\n");
    }
    page.raw("</section>\n");
}

fn facts(page: &mut Page, part: &CertificatesStatus) {
    page.fact("renewed by", |page| {
        page.raw(if part.owner == "kubelet" { "the kubelet itself" } else { "eyewall" });
    });
    if let Some(current) = &part.current {
        page.fact("subject", |page| {
            page.text(&current.subject);
        });
        page.fact("issuer", |page| {
            page.text(&current.issuer);
        });
        for (name, value) in [("serial", &current.serial), ("SHA-256", &current.sha256), ("file", &current.file)] {
            page.fact(name, |page| {
                page.code(value);
            });
        }
    }
    if let Some(request) = &part.request {
        page.fact("open request", |page| {
            page.code(&request.name).raw(" with the ").text(&request.credential).raw(" credential since ");
            page.time(request.since);
        });
    }
    page.fact("clock", |page| {
        page.raw(if part.clock.trusted { "trusted: " } else { "not trusted: " }).reason(&part.clock.reason);
    });
}

/// The life as a bar: what is lived, and where the renewal begins.
fn life(page: &mut Page, current: &CertificateView, now: Time) {
    let scale = Scale { start: current.not_before, end: current.not_after };
    page.raw("<svg class=\"life\" viewBox=\"0 0 1000 28\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"");
    let lived = scale.share(now) * 100.0;
    page.number(lived).raw(" % of its life is over\"><rect class=\"rest\" width=\"1000\" height=\"28\"/>");
    page.raw(if now > current.not_after { "<rect class=\"over\"" } else { "<rect class=\"lived\"" });
    page.raw(" height=\"28\" width=\"").number(scale.at(now)).raw("\"/>");
    page.raw("<rect class=\"mark\" width=\"4\" height=\"28\" x=\"")
        .number(scale.at(current.renew_at) - 2.0)
        .raw("\"/></svg>\n");
    page.raw("<p class=\"ends\"><span>").time(current.not_before).raw("</span><span>renewal from ");
    page.time(current.renew_at).raw(" (").text(&away(current.renew_at, now)).raw(")</span><span>");
    page.time(current.not_after).raw(" (").text(&away(current.not_after, now)).raw(")</span></p>\n");
}

/// What is to come, each with its threshold.
pub(super) fn forecasts(page: &mut Page, document: &Document<'_>) {
    let forecasts = &document.status.certificates.forecasts;
    if forecasts.is_empty() {
        return;
    }
    page.raw("<section>\n<h2>Forecasts</h2>\n<table>\n<thead><tr><th>What</th><th>When</th><th>A warning</th><th>Now</th></tr></thead>\n<tbody>\n");
    for forecast in forecasts {
        let threshold = human(Duration::from_secs(forecast.threshold_seconds));
        let (what, before, after) = match forecast.kind {
            ForecastKind::Off => ("may stay off, and comes back by its certificate, until", "with less than ", " left"),
            ForecastKind::Recovery => ("bootstrap credential last found good", "after ", ""),
            ForecastKind::Authority => ("cluster CA ends", "with less than ", " left"),
        };
        page.raw("<tr><td>").raw(what).raw("</td><td>");
        match forecast.at {
            Some(at) => page.time(at).raw(", ").text(&away(at, document.now)),
            None => page.raw("not known"),
        };
        page.raw("</td><td>").raw(before).text(&threshold).raw(after).raw("</td><td>");
        page.badge(forecast.health, super::word(forecast.health)).raw(" ").reason(&forecast.reason).raw("</td></tr>\n");
    }
    page.raw("</tbody>\n</table>\n</section>\n");
}

/// A certificate that was told of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told<'a> {
    serial: &'a str,
    at: Time,
    how: &'static str,
    not_before: Time,
    not_after: Time,
}

/// The certificates since the agent started, below one another on one scale.
pub(super) fn timeline(page: &mut Page, document: &Document<'_>) {
    let mut told: Vec<Told<'_>> = document.events.iter().filter_map(|event| told(event, document)).collect();
    told.drain(..told.len().saturating_sub(DRAWN));
    let ends = told.iter().map(|told| told.not_after).chain([document.now]).max();
    let (Some(start), Some(end)) = (told.iter().map(|told| told.not_before).min(), ends) else { return };
    let scale = Scale { start, end };
    page.raw("<section>\n<h2>Certificates since the agent started</h2>\n<table class=\"timeline\">\n");
    page.raw("<thead><tr><th>Serial</th><th>In force from</th><th>How</th><th class=\"wide\">Life</th><th>Ends</th></tr></thead>\n<tbody>\n");
    for certificate in &told {
        page.raw("<tr><td>").code(&short(certificate.serial)).raw("</td><td>").time(certificate.at).raw("</td><td>");
        page.raw(certificate.how).raw("</td><td class=\"wide\">");
        page.raw("<svg viewBox=\"0 0 1000 20\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><rect class=\"rest\" width=\"1000\" height=\"20\"/>");
        let (from, to) = (scale.at(certificate.not_before), scale.at(certificate.not_after));
        page.raw("<rect class=\"lived\" height=\"20\" x=\"")
            .number(from)
            .raw("\" width=\"")
            .number(to - from)
            .raw("\"/>");
        page.raw("<rect class=\"mark\" width=\"3\" height=\"20\" x=\"")
            .number(scale.at(document.now) - 1.5)
            .raw("\"/></svg></td><td>");
        page.time(certificate.not_after).raw("</td></tr>\n");
    }
    page.raw("</tbody>\n</table>\n<p class=\"note\">From ").time(start).raw(" to ").time(end);
    page.raw("; the mark is when this page was made.</p>\n</section>\n");
}

fn told<'a>(event: &'a EventRecord, document: &Document<'a>) -> Option<Told<'a>> {
    let how = if event.event == CERTIFICATE_INSTALLED.name {
        "installed by eyewall"
    } else if event.event == CERTIFICATE_ADOPTED.name {
        "was there already"
    } else if event.event == CERTIFICATE_RENEWED_BY_KUBELET.name {
        "installed by the kubelet"
    } else {
        return None;
    };
    let time = |name: &str| Time::parse(event.fields.get(name)?).ok();
    let serial = event.fields.get("serial")?;
    let current = document.status.certificates.current.as_ref().filter(|current| current.serial == *serial);
    let not_before = time("not_before").or_else(|| current.map(|current| current.not_before));
    let not_after = time("not_after").or_else(|| current.map(|current| current.not_after))?;
    Some(Told { serial, at: event.at, how, not_before: not_before.unwrap_or(event.at).min(not_after), not_after })
}

fn short(serial: &str) -> String {
    match serial.char_indices().nth(12) {
        Some((cut, _)) => format!("{}…", serial.split_at(cut).0),
        None => serial.to_owned(),
    }
}

/// Instants as places from left to right.
#[derive(Clone, Copy, Debug)]
struct Scale {
    start: Time,
    end: Time,
}

impl Scale {
    /// 0 at the start, 1 at the end; what is outside is at the edge.
    fn share(self, at: Time) -> f64 {
        let whole = elapsed(self.start, self.end).as_secs_f64();
        if whole > 0.0 { (elapsed(self.start, at).as_secs_f64() / whole).min(1.0) } else { 1.0 }
    }

    fn at(self, at: Time) -> f64 {
        self.share(at) * WIDTH
    }
}
