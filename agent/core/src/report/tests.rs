use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::posture::fixtures::{expect, host};
use crate::posture::history::{Actor, History};
use crate::posture::{Capture, Report, check};
use crate::status::{EventRecord, Status};

/// 2026-11-24T02:15:08Z.
const NOW: u64 = 1_795_486_508;
const SCENES: [&str; 3] = ["good", "watched", "trouble"];

#[derive(Deserialize)]
struct Scene {
    status: Status,
    events: Vec<EventRecord>,
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/report/golden").join(name)
}

fn json(name: &str) -> Value {
    let text = std::fs::read_to_string(golden(&format!("{name}.json"))).expect("a scene");
    serde_json::from_str(&text).expect("JSON")
}

fn page(scene: Value) -> String {
    with_posture(scene, None)
}

fn with_posture(scene: Value, posture: Option<&Published>) -> String {
    let scene: Scene = serde_json::from_value(scene).expect("a status and its events");
    render(&Document { status: &scene.status, events: &scene.events, posture, now: Time::from_unix(NOW) })
}

/// SELinux was turned to permissive by somebody, and one file may not be read. Few checks, so that a new one changes no golden file.
fn posture() -> Published {
    const SHOWN: [&str; 4] = ["selinux-mode", "selinux-config", "accounts-passwords", "ssh-offered-methods"];
    let mut evidence = host("fcos-worker");
    let look = |evidence: &_| SHOWN.map(|id| check(id).expect(id).judge(evidence, &expect(evidence)));
    let mut history = History::default();
    history.record(Some("a boot"), &look(&evidence));
    evidence.put("file:/sys/fs/selinux/enforce", None, Capture::text("0"));
    evidence.put("file:/etc/shadow", None, Capture::Denied("CAP_DAC_READ_SEARCH".to_owned()));
    let findings = look(&evidence);
    let at = history.record(Some("a boot"), &findings)[0].at;
    history.attribute("selinux-mode", at, &Actor { login_uid: 1000, session: Some(3) });
    let report = Report::new(&evidence, &expect(&evidence), findings.to_vec());
    Published { report, changes: history.changes().to_vec() }
}

#[test]
fn pages_are_as_they_were_looked_at() {
    let posture = posture();
    for (name, posture) in [("good", None), ("watched", None), ("trouble", Some(&posture))] {
        let html = with_posture(json(name), posture);
        let path = golden(&format!("{name}.html"));
        if std::env::var_os("EYEWALL_WRITE_GOLDEN").is_some() {
            std::fs::write(&path, &html).expect("golden/ can be written");
        }
        let want = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(html == want, "{name} differs from {}", path.display());
    }
}

/// One file, complete: nothing is loaded, nothing runs.
#[test]
fn a_page_needs_nothing_else() {
    for name in SCENES {
        let html = page(json(name)).to_lowercase();
        for wanted in ["<!doctype html>", "default-src 'none'", "prefers-color-scheme: dark", "@media print"] {
            assert!(html.contains(wanted), "{name} has no {wanted}");
        }
        for unwanted in [
            "<script", "<link", "<img", "<iframe", "<object", "http://", "https://", "url(", "@import", "src=", "href=",
        ] {
            // The image's registry and the API server are text in it, without a scheme.
            assert!(!html.contains(unwanted), "{name} has {unwanted}");
        }
    }
}

#[test]
fn markup_is_balanced_whatever_is_said() {
    for name in SCENES {
        let plain = page(json(name));
        let tags = balanced(&plain).unwrap_or_else(|why| panic!("{name}: {why}"));
        for hostile in
            ["<script>alert(1)</script>", "\"><svg onload=x>", "'--><!--", "&#x0;\u{1b}]0;\u{7}", "</style></title>"]
        {
            let mut scene = json(name);
            infect(&mut scene, hostile);
            let html = page(scene);
            let got = balanced(&html).unwrap_or_else(|why| panic!("{name}, {hostile}: {why}"));
            assert_eq!(got, tags, "{name}: {hostile} became markup");
            assert!(!html.chars().any(|c| c.is_control() && c != '\n'), "{name}: {hostile}");
        }
    }
}

/// What a host says of itself becomes part of the posture's sentences.
#[test]
fn what_the_posture_says_is_text() {
    let tags = balanced(&with_posture(json("good"), Some(&posture()))).expect("balanced");
    for hostile in ["<script>alert(1)</script>", "\"><svg onload=x>", "</td></tr>"] {
        let mut posture = posture();
        for finding in &mut posture.report.findings {
            finding.reason.message.push_str(hostile);
            finding.check.push_str(hostile);
        }
        for claim in &mut posture.report.claims {
            claim.sentence.push_str(hostile);
        }
        for change in &mut posture.changes {
            change.check.push_str(hostile);
            change.after.reason.message.push_str(hostile);
            change.after.facts.iter_mut().for_each(|fact| fact.value.push_str(hostile));
        }
        let html = with_posture(json("good"), Some(&posture));
        assert_eq!(balanced(&html), Ok(tags), "{hostile}");
        assert!(html.contains("by the login of user 1000") && html.contains("pass → "), "{html}");
    }
}

/// Puts `hostile` into every text that is not an instant or a word with a fixed list.
fn infect(value: &mut Value, hostile: &str) {
    match value {
        Value::String(text) if Time::parse(text).is_err() && !FIXED.contains(&text.as_str()) => text.push_str(hostile),
        Value::Array(items) => items.iter_mut().for_each(|item| infect(item, hostile)),
        Value::Object(fields) => {
            let old = std::mem::take(fields);
            for (name, mut value) in old {
                // Which events are certificates is not what this is about.
                if name != "event" {
                    infect(&mut value, hostile);
                }
                fields.insert(name, value);
            }
        }
        _ => {}
    }
}

/// What the types accept.
const FIXED: [&str; 10] = [
    "good",
    "bad",
    "unknown",
    "valid",
    "off",
    "recovery",
    "authority",
    "expired-recovering",
    "renewal-overdue",
    "renewal-due",
];

/// The number of tags, if each is closed in its order.
fn balanced(html: &str) -> Result<usize, String> {
    let mut open: Vec<&str> = Vec::new();
    let mut tags = 0;
    // The style sheet has neither < nor tags.
    for (at, _) in html.match_indices('<') {
        let rest = html.get(at + 1..).unwrap_or_default();
        let tag = rest.split('>').next().unwrap_or_default();
        let name = tag.trim_start_matches('/').split([' ', '\n', '/']).next().unwrap_or_default();
        tags += 1;
        if tag.starts_with('!') || tag.ends_with('/') || ["meta", "br"].contains(&name) {
            continue;
        }
        if !name.chars().all(|c| c.is_ascii_alphanumeric()) || name.is_empty() {
            return Err(format!("<{tag}> is no tag"));
        }
        if !tag.starts_with('/') {
            open.push(name);
        } else if open.pop() != Some(name) {
            return Err(format!("</{name}> closes nothing"));
        }
    }
    if open.is_empty() { Ok(tags) } else { Err(format!("left open: {open:?}")) }
}

#[test]
fn an_empty_story_and_a_bare_host_have_a_page() {
    let mut scene = json("good");
    scene["events"] = Value::Array(Vec::new());
    scene["status"]["certificates"]["current"] = Value::Null;
    scene["status"]["certificates"]["forecasts"] = Value::Array(Vec::new());
    scene["status"]["kubelet"]["image"] = Value::Null;
    scene["status"]["node"]["name"] = Value::Null;
    let html = page(scene);
    assert!(html.contains("a host without a node name") && html.contains("None is kept."));
    assert!(!html.contains("<svg"), "there is nothing to draw");
    balanced(&html).expect("balanced");
}
