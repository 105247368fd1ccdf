//! Who changed SELinux' mode: the audit record says as whom they logged in, whatever they became since. On Fedora CoreOS the record is in
//! the audit log; without auditd the journal has it.

use std::time::Duration;

use eyewall_core::posture::history::Actor;
use eyewall_core::posture::read::audit::Record;
use eyewall_core::time::Time;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::capture::Paths;
use super::{command, selinux};

/// How often the record is looked for.
const STEP: Duration = Duration::from_millis(500);
/// Records of before this many seconds are of something else.
const NEAR: u64 = 5;
const JOURNALCTL: &[&str] = &["/usr/bin/journalctl"];
const JOURNAL_WITHIN: Duration = Duration::from_secs(5);

/// Looks for the record of a change at `at`, `within` at most.
pub async fn of_selinux(paths: &Paths, at: Time, within: Duration) -> Option<Actor> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(actor) = in_log(paths, at) {
            return Some(actor);
        }
        if Instant::now() + STEP > deadline {
            return in_journal(at).await;
        }
        sleep(STEP).await;
    }
}

fn in_log(paths: &Paths, at: Time) -> Option<Actor> {
    let (text, _) = selinux::tail(&paths.at("/var/log/audit/audit.log")).ok()?;
    text.lines().rev().take(200).filter_map(Record::parse).find_map(|record| match record {
        Record::Mode { at: when, login_uid: Some(login_uid), .. }
        | Record::Policy { at: when, login_uid: Some(login_uid) }
            if when.abs_diff(at.unix()) <= NEAR =>
        {
            Some(Actor { login_uid, session: None })
        }
        _ => None,
    })
}

/// The journal's fields of an audit record (systemd.journal-fields(7)): `_AUDIT_LOGINUID`, `_AUDIT_SESSION`.
async fn in_journal(at: Time) -> Option<Actor> {
    let program = command::find(JOURNALCTL).ok()?;
    let since = format!("--since=@{}", at.unix().saturating_sub(NEAR));
    let arguments = [
        "--output=json",
        "--no-pager",
        "--lines=20",
        &since,
        "_TRANSPORT=audit",
        "_AUDIT_TYPE=1404",
        "+",
        "_TRANSPORT=audit",
        "_AUDIT_TYPE=1403",
    ];
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let said = command::run(program, &arguments, JOURNAL_WITHIN).await.ok()?;
    said.out.lines().rev().find_map(|line| {
        let entry: Value = serde_json::from_str(line).ok()?;
        let number = |name: &str| entry.get(name)?.as_str()?.parse::<u32>().ok();
        let login_uid = number("_AUDIT_LOGINUID").filter(|uid| *uid != u32::MAX)?;
        Some(Actor { login_uid, session: number("_AUDIT_SESSION").filter(|session| *session != u32::MAX) })
    })
}
