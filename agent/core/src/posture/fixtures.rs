//! Captured hosts as data: four good ones, each a directory, and overlays on them for what can be wrong.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::Deserialize;

use super::evidence::Found;
use super::{Capture, Evidence, Expectations, Report, Word, check, judge};
use crate::config::{Config, Waiver};

/// The directories of good hosts.
pub const HOSTS: [&str; 4] = ["fcos-worker", "fcos-controller", "flatcar-worker", "flatcar-controller"];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/posture/fixtures")
}

fn json_files(directory: &Path) -> Vec<(String, String)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    files.iter().map(|path| (name(path), std::fs::read_to_string(path).expect("a file"))).collect()
}

/// The evidence of a good host.
pub fn host(name: &str) -> Evidence {
    good(name).0.clone()
}

/// The evidence of a good host, and the report on it; each is made once.
fn good(name: &str) -> &'static (Evidence, Report) {
    static GOOD: OnceLock<BTreeMap<&str, (Evidence, Report)>> = OnceLock::new();
    let made = GOOD.get_or_init(|| {
        let make = |name: &&'static str| {
            let evidence = read(name);
            let report = judge(&evidence, &expect(&evidence));
            (*name, (evidence, report))
        };
        HOSTS.iter().map(make).collect()
    });
    made.get(name).unwrap_or_else(|| panic!("there is no host {name}"))
}

fn read(name: &str) -> Evidence {
    let parts = json_files(&directory().join(name));
    Evidence::from_parts(parts.iter().map(|(file, text)| (file.as_str(), text.as_str())))
        .unwrap_or_else(|fault| panic!("fixtures/{name}: {fault}"))
}

/// What is expected of that host, with nothing configured but its role.
pub fn expect(evidence: &Evidence) -> Expectations {
    Expectations::for_host(&evidence.host, &Config::default()).expect("defaults are valid")
}

/// An overlay on a good host.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The hosts it lies on.
    pub base: Vec<String>,
    /// What happened, in a sentence.
    pub what: String,
    /// `[posture] expect`.
    #[serde(default)]
    pub expect: BTreeMap<String, String>,
    /// `[posture] waive`.
    #[serde(default)]
    pub waive: Vec<CaseWaiver>,
    /// The sources that differ; `null` is one that was not captured.
    #[serde(default)]
    pub sources: BTreeMap<String, Option<Found>>,
    /// Units of `dbus:units` that differ, field by field; `null` is one that is not loaded.
    #[serde(default)]
    pub units: BTreeMap<String, Option<serde_json::Map<String, serde_json::Value>>>,
    /// `<verdict> <kind>` by check. Every check that is not named must say what it says on the good host.
    pub verdicts: BTreeMap<String, String>,
}

/// A waiver of an overlay.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseWaiver {
    check: String,
    why: String,
    until: String,
}

impl Case {
    /// The evidence on one of its hosts, and what is expected there.
    pub fn on(&self, base: &str) -> (Evidence, Expectations) {
        let mut evidence = host(base);
        for (id, found) in &self.sources {
            match found {
                Some(found) => drop(evidence.put(id, found.at, found.capture.clone())),
                None => drop(evidence.sources.remove(id)),
            }
        }
        self.change_units(&mut evidence);
        let mut config = Config::default();
        config.posture.expect.clone_from(&self.expect);
        config.posture.waive = self
            .waive
            .iter()
            .map(|w| Waiver { check: w.check.clone(), why: w.why.clone(), until: w.until.clone() })
            .collect();
        let expect = Expectations::for_host(&evidence.host, &config).expect("the case's own configuration");
        (evidence, expect)
    }

    fn change_units(&self, evidence: &mut Evidence) {
        if self.units.is_empty() {
            return;
        }
        let Some(Capture::Record(mut record)) = evidence.get("dbus:units").cloned() else {
            panic!("no units to change")
        };
        let list = record["units"].as_array_mut().expect("a list");
        for (name, change) in &self.units {
            let known = list.iter().position(|unit| unit["name"] == name.as_str());
            match (known, change) {
                (Some(at), None) => drop(list.remove(at)),
                (None, None) => panic!("there is no unit {name} to take out"),
                (Some(at), Some(change)) => list[at].as_object_mut().expect("a unit").extend(change.clone()),
                (None, Some(unit)) => {
                    let mut unit = unit.clone();
                    unit.insert("name".to_owned(), name.as_str().into());
                    list.push(unit.into());
                }
            }
        }
        evidence.put("dbus:units", None, Capture::Record(record));
    }
}

/// Every case, by its file's name.
pub fn cases() -> Vec<(String, Case)> {
    let mut directories: Vec<PathBuf> = std::fs::read_dir(directory().join("cases"))
        .expect("fixtures/cases")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    directories.sort();
    directories
        .iter()
        .flat_map(|directory| {
            json_files(directory).into_iter().map(|(file, text)| {
                let name = format!("{}/{file}", directory.file_name().and_then(|n| n.to_str()).unwrap_or_default());
                let case = serde_json::from_str(&text).unwrap_or_else(|error| panic!("fixtures/cases/{name}: {error}"));
                (name, case)
            })
        })
        .collect()
}

fn said(report: &Report, check: &str) -> String {
    let finding = report.findings.iter().find(|finding| finding.check == check).expect(check);
    format!("{} {}", finding.verdict.word().as_str(), finding.reason.kind)
}

#[test]
fn good_hosts_are_good() {
    for name in HOSTS {
        let report = &good(name).1;
        let not_good: Vec<String> = report
            .findings
            .iter()
            .filter(|finding| finding.health(report.counts_from) != crate::status::Health::Good)
            .map(|f| format!("{} {} {}: {}", f.check, f.verdict.word().as_str(), f.reason.kind, f.reason.message))
            .collect();
        assert!(not_good.is_empty(), "{name}:\n{}", not_good.join("\n"));
        assert_eq!(report.health, crate::status::Health::Good, "{name}");
    }
}

#[test]
fn each_case_is_judged_as_written() {
    let mut wrong = Vec::new();
    for (name, case) in cases() {
        assert!(!case.base.is_empty() && !case.what.is_empty(), "{name} lies on a host and says what happened");
        for id in case.verdicts.keys() {
            assert!(check(id).is_some(), "{name}: there is no check {id}");
        }
        for base in &case.base {
            let good = &good(base).1;
            let (evidence, expect) = case.on(base);
            let report = judge(&evidence, &expect);
            for finding in &report.findings {
                let got = said(&report, &finding.check);
                let want = case.verdicts.get(&finding.check).cloned().unwrap_or_else(|| said(good, &finding.check));
                if got != want {
                    let message = &finding.reason.message;
                    wrong.push(format!("{name} on {base}, {}: {got}, not {want}: {message}", finding.check));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Each check that can fail is shown to fail by some case.
#[test]
fn every_check_fails_somewhere() {
    let mut silent: Vec<&str> = super::checks().map(|check| check.id).collect();
    for (_, case) in cases() {
        silent.retain(|id| !case.verdicts.get(*id).is_some_and(|said| said.starts_with(Word::Fail.as_str())));
    }
    assert!(silent.is_empty(), "no case of fixtures/cases makes these fail: {silent:?}");
}
