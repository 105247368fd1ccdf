//! "SELinux enforcing mode": enforcing is a conjunction, so each part of it is a check with evidence of its own.

use crate::os::Os;
use crate::posture::claim;
use crate::posture::{Accepts, Check, Grade, Judged, Seen, Severity, Source, Unseen, Worth, needs};

/// The kernel's word for the mode now; world-readable, `1` or `0` without a line end.
pub const ENFORCE: Source = Source::text("file:/sys/fs/selinux/enforce");
/// What the next boot is meant to do.
pub const CONFIG: Source = Source::text("file:/etc/selinux/config");

fn promised(os: &Os) -> Option<&'static str> {
    os.selinux.expected()
}

const MODES: Accepts = Accepts::OneOf(&["enforcing", "permissive"]);

/// The family.
pub const CHECKS: &[Check] = &[
    Check {
        id: "selinux-mode",
        title: "SELinux is in the mode the host promises, now",
        claim: &claim::SELINUX,
        severity: Severity::High,
        reads: &[needs(&ENFORCE)],
        judge: mode,
        worth: Worth::Proves("The kernel enforces its policy at this moment."),
        not: "That the policy confines anything: see selinux-permissive-domains and selinux-policy.",
        cis: &[],
        expects: MODES,
        promised,
    },
    Check {
        id: "selinux-config",
        title: "The configuration keeps that mode at the next boot",
        claim: &claim::SELINUX,
        severity: Severity::Medium,
        reads: &[needs(&CONFIG)],
        judge: config,
        worth: Worth::Proves("/etc/selinux/config asks for the mode."),
        not: "The mode now, nor that no kernel argument overrides the file.",
        cis: &[],
        expects: MODES,
        promised,
    },
];

fn mode(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let item = seen.one(&ENFORCE)?;
    let mode = match item.text()?.trim() {
        "1" => "enforcing",
        "0" => "permissive",
        _ => return Err(item.malformed("The kernel writes 0 or 1 there.")),
    };
    Ok(compare(seen, mode, Grade::ProvedByBehaviour).fact("mode", mode))
}

fn config(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let item = seen.one(&CONFIG)?;
    let modes: Vec<&str> = item.text()?.lines().filter_map(|line| line.trim().strip_prefix("SELINUX=")).collect();
    match modes.last().map(|mode| mode.trim()) {
        Some(mode @ ("enforcing" | "permissive" | "disabled")) => {
            Ok(compare(seen, mode, Grade::Configured).fact("SELINUX", mode))
        }
        _ => Err(item.malformed("It has no line SELINUX=enforcing, permissive or disabled.")),
    }
}

/// What is, against what is expected.
fn compare(seen: &Seen<'_>, mode: &str, grade: Grade) -> Judged {
    match seen.expected() {
        Some(expected) if expected == mode => {
            Judged::pass(grade, "as-expected", format!("SELinux is {mode}, as this host promises."))
        }
        Some("permissive") if mode == "enforcing" => Judged::pass(
            grade,
            "stricter-than-declared",
            "SELinux is enforcing where permissive is declared: that is stricter, and can break pods. Declare it with \
             [posture] expect if it is meant.",
        ),
        Some(expected) => Judged::fail(
            mode_kind(mode),
            format!("SELinux is {mode}, and this host promises {expected}: find out who changed it, and set it back."),
        ),
        None => Judged::not_applicable(
            "nothing-promised",
            format!("SELinux is {mode}. A host of this kind promises nothing: declare it with [posture] expect."),
        ),
    }
}

fn mode_kind(mode: &str) -> &'static str {
    match mode {
        "enforcing" => "enforcing",
        "permissive" => "permissive",
        _ => "disabled",
    }
}
