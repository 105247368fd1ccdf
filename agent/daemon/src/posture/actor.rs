//! Who changed SELinux' mode or policy: the audit record says as whom they logged in, whatever they became since. On Fedora CoreOS the record
//! is in the audit log; without auditd the journal has it, from the audit socket or, where nobody listens there, from the kernel's log.

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
    text.lines().rev().take(200).find_map(|line| named(line, at))
}

/// The actor of a line of the audit log or the kernel's, if it tells of a change at `at`.
fn named(line: &str, at: Time) -> Option<Actor> {
    match Record::parse(line)? {
        Record::Mode { at: when, login_uid: Some(login_uid), .. }
        | Record::Policy { at: when, login_uid: Some(login_uid) }
            if when.abs_diff(at.unix()) <= NEAR =>
        {
            Some(Actor { login_uid, session: None })
        }
        _ => None,
    }
}

/// What the journal has of the time about `at`: audit records, and what the kernel says.
async fn in_journal(at: Time) -> Option<Actor> {
    let program = command::find(JOURNALCTL).ok()?;
    let since = format!("--since=@{}", at.unix().saturating_sub(NEAR));
    let arguments = [
        "--output=json",
        "--no-pager",
        "--lines=200",
        &since,
        "_TRANSPORT=audit",
        "_AUDIT_TYPE=1404",
        "+",
        "_TRANSPORT=audit",
        "_AUDIT_TYPE=1403",
        "+",
        "_TRANSPORT=kernel",
    ];
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let said = command::run(program, &arguments, JOURNAL_WITHIN).await.ok()?;
    said.out.lines().rev().find_map(|line| in_entry(line, at))
}

/// The fields of an audit record (systemd.journal-fields(7)) are `_AUDIT_LOGINUID` and `_AUDIT_SESSION`; the kernel's log has a line of text.
fn in_entry(line: &str, at: Time) -> Option<Actor> {
    let entry: Value = serde_json::from_str(line).ok()?;
    let text = |name: &str| entry.get(name)?.as_str();
    if text("_TRANSPORT") == Some("kernel") {
        return named(text("MESSAGE")?, at);
    }
    let number = |name: &str| text(name)?.parse::<u32>().ok();
    let login_uid = number("_AUDIT_LOGINUID").filter(|uid| *uid != u32::MAX)?;
    Some(Actor { login_uid, session: number("_AUDIT_SESSION").filter(|session| *session != u32::MAX) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_names_who_it_was() {
        let kernel = |message: &str| {
            serde_json::json!({"_TRANSPORT": "kernel", "SYSLOG_IDENTIFIER": "kernel", "MESSAGE": message}).to_string()
        };
        let status =
            "audit: type=1404 audit(1000.994:15): enforcing=0 old_enforcing=1 auid=500 ses=3 lsm=selinux res=1";
        let audit = r#"{"_TRANSPORT":"audit","_AUDIT_TYPE":"1404","_AUDIT_LOGINUID":"500","_AUDIT_SESSION":"3"}"#;
        let somebody = |session| Some(Actor { login_uid: 500, session });
        for (name, line, want) in [
            ("the kernel's log", kernel(status), somebody(None)),
            ("long ago", kernel(&status.replace("1000.994", "900.994")), None),
            ("a service", kernel(&status.replace("auid=500", "auid=4294967295")), None),
            ("another line", kernel("random: crng init done"), None),
            ("an audit record", audit.to_owned(), somebody(Some(3))),
            ("a service's record", audit.replace("\"500\"", "\"4294967295\""), None),
            (
                "what anybody may write",
                kernel(status).replace("\"_TRANSPORT\":\"kernel\"", "\"_TRANSPORT\":\"syslog\""),
                None,
            ),
            ("no entry", String::new(), None),
        ] {
            assert_eq!(in_entry(&line, Time::from_unix(1_002)), want, "{name}");
        }
    }
}
