//! Who may become root, or somebody else, by sudo's own files.

use crate::posture::read::sudoers::{Grant, Sudoers, keep};
use crate::posture::{Grade, Item, Judged, Seen, Severity, Source, Unseen};

/// The main file. It has mode 0440.
pub const SUDOERS: Source = Source::rewritten("file:/etc/sudoers", keep);
/// The names of its drop-ins.
pub const SUDOERS_DROP_INS: Source = Source::listing("list:/etc/sudoers.d");
/// The drop-ins; the member is the file's name.
pub const SUDOERS_DROP_IN: Source = Source::rewritten("file:/etc/sudoers.d/*", keep);
/// Whether there is a sudo that reads them.
pub const SUDO: Source = Source::stat("stat:/usr/bin/sudo");

const DIRECTORY: &str = "/etc/sudoers.d/";

/// Fedora CoreOS and Flatcar have rules for these (`#0` is root). Who is in the groups is another check's question.
const OF_THE_OS: [&str; 5] = ["root", "#0", "core", "%wheel", "%sudo"];

pub(super) fn judge(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let mut sudoers = Sudoers::default();
    let main = seen.one(&SUDOERS).and_then(|item| seen.if_there(add(&mut sudoers, item)));
    // A main file that cannot be read in full will have its usual last line: the drop-ins count.
    let directory = main.is_err() || sudoers.includes.iter().any(|include| include == DIRECTORY);
    let drop_ins = if directory { drop_ins(seen, &mut sudoers) } else { Ok(()) };

    let allowed: Vec<&str> = seen.allowed().chain(OF_THE_OS).collect();
    let (own, mut others): (Vec<Grant>, Vec<Grant>) =
        sudoers.grants().into_iter().partition(|grant| allowed.contains(&grant.who.as_str()));
    others.sort_by_key(|grant| std::cmp::Reverse(severity(grant)));
    if let Some(worst) = others.first() {
        let kind = if worst.who == "ALL" { "everybody" } else { "another-rule" };
        let message = format!(
            "By sudo {}: take the rule out of {}, or allow {:?} in [posture] expect.",
            told(worst),
            worst.place,
            worst.who
        );
        return Ok(Judged::fail(kind, message)
            .raised_to(severity(worst))
            .facts("rule", others.iter().map(|grant| format!("{} ({})", told(grant), grant.place))));
    }
    let main = main?;
    drop_ins?;
    if let Some(include) = sudoers.includes.iter().find(|include| *include != DIRECTORY) {
        return Ok(Judged::unknown(
            "include-elsewhere",
            format!(
                "sudo's files include {include:?}, which is not looked at, so its rules are not known: put them into {DIRECTORY}."
            ),
        )
        .fact("include", include));
    }
    let sudo = seen.if_there(seen.stat(&SUDO))?;
    Ok(match (main, sudo) {
        (Some(()), _) => Judged::pass(
            Grade::Configured,
            "os-rules-only",
            "sudo's files have rules for root, core, wheel and sudo at most, and for those that are allowed here.",
        )
        .facts("rule", own.iter().map(told)),
        (None, None) => Judged::pass(Grade::Configured, "no-sudo", "There is no sudo, and nothing for it to read."),
        // Some distributions keep it elsewhere (/usr/etc), and there it may say anything.
        (None, Some(_)) => Judged::unknown(
            "no-sudoers",
            "There is a sudo, but no /etc/sudoers, so its rules are elsewhere or it refuses everybody: see `sudo -V` as root for the path, and \
             put the rules into /etc/sudoers.",
        ),
    })
}

fn add(sudoers: &mut Sudoers, item: Item<'_>) -> Result<(), Unseen> {
    let text = item.text()?;
    let place = item.id.trim_start_matches("file:");
    sudoers.add(place, text).map_err(|fault| item.malformed(fault.sentence()))
}

/// The files of the directory that sudo reads: those whose name has no dot and does not end in `~` (sudoers(5)). Each is read, whatever is
/// wrong with another.
fn drop_ins(seen: &Seen<'_>, sudoers: &mut Sudoers) -> Result<(), Unseen> {
    let entries = seen.if_there(seen.listing(&SUDOERS_DROP_INS))?.unwrap_or_default();
    if let Some(entry) = entries.iter().find(|entry| entry.name.chars().any(char::is_control)) {
        return Err(seen.one(&SUDOERS_DROP_INS)?.malformed(format!("It has an entry {:?}.", entry.name)));
    }
    let mut all = Ok(());
    for entry in entries.iter().filter(|entry| !entry.name.contains('.') && !entry.name.ends_with('~')) {
        let added = seen.member(&SUDOERS_DROP_IN, &entry.name).and_then(|item| match item.text()?.trim() {
            // Comments only, of which nothing is kept.
            "" => Ok(()),
            _ => add(sudoers, item),
        });
        all = all.and(added);
    }
    all
}

/// Some commands with a password are a way for one program; anything, or without a password, is one for whoever gets that account.
fn severity(grant: &Grant) -> Severity {
    match (grant.who.as_str(), grant.everything || grant.without_password) {
        ("ALL", true) => Severity::Critical,
        ("ALL", false) | (_, true) => Severity::High,
        _ => Severity::Medium,
    }
}

/// `jane may run any command without a password`.
fn told(grant: &Grant) -> String {
    let who = if grant.who == "ALL" { "everybody" } else { &grant.who };
    let what = if grant.everything { "any command" } else { "some commands" };
    let how = if grant.without_password { " without a password" } else { "" };
    format!("{who} may run {what}{how}")
}
