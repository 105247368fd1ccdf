//! The node on one screen: a status as text, for a terminal or a file. The certificate's life is a bar, and every part
//! says why it is as it is.

mod bar;
mod forecast;
pub(crate) mod paint;
mod posture;
mod reboot;
mod serving;
mod story;

#[cfg(test)]
mod tests;

pub use story::event_line;

use std::time::Duration;

use crate::status::{
    AgentStatus, CertificateState, CertificatesStatus, Health, ImageView, KubeletStatus, Reason, RebootStatus, Status,
};
use crate::time::{Time, human};
use paint::{Page, Style, clean};

/// Lines are no longer than this even on a wide terminal: prose is read by the line.
pub const WIDEST: usize = 110;
/// Below this nothing is gained by wrapping further.
pub const NARROWEST: usize = 40;

/// The whole status as lines of at most `width` characters (kept within [`NARROWEST`] and [`WIDEST`]), with ANSI colours
/// if `color`. Control characters in the texts are left out: part of them come from other machines.
pub fn render(status: &Status, now: Time, width: usize, color: bool) -> String {
    let mut page = Page::new(width, color);
    let name = match &status.node.name {
        Some(name) => clean(name),
        None => "a host without a node name".to_owned(),
    };
    let (style, symbol, word) = health(status.health);
    page.ends(
        (Style::Bold, &name),
        &format!(" · {} on {}", clean(&status.node.role), clean(&status.node.os)),
        (style, &format!("{symbol} {word}")),
    );
    page.plain(
        Style::Dim,
        &format!(
            "eyewall {}, pid {}, up {}",
            clean(&status.agent.version),
            status.agent.pid,
            since(status.agent.started_at, now)
        ),
    );
    page.blank();
    // Of a good node nobody asks for numbers, and its page fits a small terminal.
    certificates_part(&mut page, &status.certificates, now, status.certificates.health != Health::Good);
    page.blank();
    kubelet_part(&mut page, &status.kubelet, now);
    page.blank();
    if let Some(posture) = &status.posture {
        posture::part(&mut page, posture, now);
        page.blank();
    }
    if let Some(reboot) = &status.reboot {
        reboot::part(&mut page, reboot, now);
        page.blank();
    }
    agent_part(&mut page, &status.agent, now);
    page.finish()
}

/// The certificate's part alone, as `eyewall certificates` shows it.
pub fn render_certificates(certificates: &CertificatesStatus, now: Time, width: usize, color: bool) -> String {
    let mut page = Page::new(width, color);
    certificates_part(&mut page, certificates, now, true);
    page.finish()
}

/// The reboot's part alone, as `eyewall reboot` shows it.
pub fn render_reboot(reboot: &RebootStatus, now: Time, width: usize, color: bool) -> String {
    let mut page = Page::new(width, color);
    reboot::part(&mut page, reboot, now);
    page.finish()
}

/// A sentence in the place of a page, when there is nothing to show.
pub fn notice(text: &str, width: usize, color: bool) -> String {
    let mut page = Page::new(width, color);
    page.plain(Style::Warn, &clean(text));
    page.finish()
}

fn certificates_part(page: &mut Page, part: &CertificatesStatus, now: Time, with_numbers: bool) {
    let style = match part.state {
        CertificateState::Valid => Style::Good,
        CertificateState::Requesting | CertificateState::PendingApproval | CertificateState::RenewalDue => Style::Warn,
        _ => health(part.health).0,
    };
    let (_, symbol, _) = health(part.health);
    page.heading(
        "Certificate",
        style,
        &format!("{symbol} {}", part.state.as_str()),
        &format!("for {}", since(part.since, now)),
    );
    if let Some(current) = &part.current {
        let life = bar::Life { start: current.not_before, renew_at: current.renew_at, end: current.not_after, now };
        let style = if now > current.not_after {
            Style::Bad
        } else if now >= current.renew_at {
            Style::Warn
        } else {
            Style::Good
        };
        page.bar(&life, style);
        page.item("life", &life.sentence());
    }
    page.item("why", &reason(&part.reason));
    let next = match part.next_at {
        Some(at) => format!("{} ({})", clean(&part.next), moment(at, now)),
        None => clean(&part.next),
    };
    page.item("next", &next);
    if let Some(request) = &part.request {
        page.item(
            "request",
            &format!(
                "{} with the {} credential, {}, for {}",
                clean(&request.name),
                clean(&request.credential),
                count(u64::from(request.attempts), "attempt"),
                since(request.since, now)
            ),
        );
    }
    if let Some(current) = part.current.as_ref().filter(|_| with_numbers) {
        page.item("subject", &clean(&current.subject));
        page.item("serial", &clean(&current.serial));
    }
    if let Some(current) = &part.current {
        page.item("file", &clean(&current.file));
    }
    forecast::part(page, part, now);
    let trust = if part.clock.trusted { "trusted" } else { "not trusted" };
    page.item("clock", &format!("{trust}: {}", clean(&part.clock.reason.message)));
    let owner =
        if part.owner == "kubelet" { "the kubelet renews it and eyewall only watches" } else { "eyewall renews it" };
    page.item(
        "owner",
        &format!(
            "{owner}; {} installed and {} failed since the agent started",
            part.installed_total, part.failures_total
        ),
    );
    for (index, command) in part.take_over.iter().enumerate() {
        page.item(if index == 0 { "switch" } else { "" }, &clean(command));
    }
    if let Some(serving) = &part.serving {
        page.blank();
        serving::part(page, serving, now);
    }
}

fn kubelet_part(page: &mut Page, part: &KubeletStatus, now: Time) {
    let (style, symbol, word) = health(part.health);
    page.heading("Kubelet", style, &format!("{symbol} {word}"), &format!("for {}", since(part.since, now)));
    page.item("why", &reason(&part.reason));
    let mut unit = clean(&part.unit);
    match &part.active_state {
        Some(state) => unit.push_str(&format!(" is {}", clean(state))),
        None => unit.push_str(" could not be looked at"),
    }
    if let Some(pid) = part.main_pid {
        unit.push_str(&format!(", pid {pid}"));
    }
    match &part.runtime {
        Some(runtime) => unit.push_str(&format!(", in {}", clean(runtime))),
        None => unit.push_str(", and there is neither podman nor docker on this host"),
    }
    if part.restarts_total > 0 {
        unit.push_str(&format!(", restarted {} by eyewall", count(part.restarts_total, "time")));
    }
    page.item("unit", &unit);
    if let Some(image) = &part.image {
        image_lines(page, image, now);
    }
}

fn image_lines(page: &mut Page, image: &ImageView, now: Time) {
    page.item("image", &format!("{}, chosen {} ago", clean(&image.reference), since(image.chosen_at, now)));
    if let Some(digest) = image.digest.as_deref().filter(|digest| !image.reference.ends_with(digest)) {
        page.item("digest", &clean(digest));
    }
    if image.position > 0 {
        page.item("fallback", &format!("number {} after the first of the list is in use", image.position));
    }
    for passed in &image.passed_over {
        page.item("", &reason(passed));
    }
}

fn agent_part(page: &mut Page, part: &AgentStatus, now: Time) {
    let config = &part.config;
    let files = if config.files.is_empty() { "defaults, no file".to_owned() } else { clean(&config.files.join(" ")) };
    match &config.refused {
        None => page.heading("Config", Style::Good, "● in force", &format!("for {}", since(config.loaded_at, now))),
        Some(_) => page.heading(
            "Config",
            Style::Bad,
            "✗ refused",
            &format!("; the one of {} ago is in force", since(config.loaded_at, now)),
        ),
    }
    if let Some(refused) = &config.refused {
        page.item("why", &reason(refused));
    }
    page.item("from", &files);
    if part.limits.is_empty() {
        page.heading("Limits", Style::Good, "● none", "");
        return;
    }
    page.heading(
        "Limits",
        Style::Warn,
        &format!("? {}", count(part.limits.len() as u64, "limit")),
        "of what the agent can see or do here",
    );
    for limit in &part.limits {
        page.item("why", &reason(limit));
    }
}

fn health(health: Health) -> (Style, &'static str, &'static str) {
    match health {
        Health::Good => (Style::Good, "●", "good"),
        Health::Bad => (Style::Bad, "✗", "bad"),
        Health::Unknown => (Style::Warn, "?", "unknown"),
    }
}

/// The sentence, then the word one can search for.
fn reason(reason: &Reason) -> String {
    format!("{} [{}]", clean(&reason.message), clean(&reason.kind))
}

fn count(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

/// How long ago; a clock that was set back gives 0s rather than nonsense.
fn since(then: Time, now: Time) -> String {
    human(elapsed(then, now))
}

fn elapsed(from: Time, to: Time) -> Duration {
    to.0.duration_since(from.0).unwrap_or_default()
}

/// `2026-11-24T02:15:08Z, in 3h12m`.
fn moment(at: Time, now: Time) -> String {
    if at >= now {
        format!("{at}, in {}", human(elapsed(now, at)))
    } else {
        format!("{at}, {} ago", human(elapsed(at, now)))
    }
}
