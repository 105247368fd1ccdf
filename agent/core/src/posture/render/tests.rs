//! A report with every kind of verdict, in each form, against what it was last time.

use std::path::Path;

use serde_json::Value;

use super::*;
use crate::posture::fixtures::{HOSTS, cases, expect, host};
use crate::posture::history::{Actor, History};
use crate::posture::{Capture, Expectations, Report, Word, check, judge};
use crate::screen::{NARROWEST, WIDEST};

/// One check for each verdict and grade; few, so that a new check changes no golden file.
const SHOWN: [&str; 9] = [
    "selinux-mode",
    "selinux-config",
    "selinux-permissive-domains",
    "selinux-policy-origin",
    "selinux-own-domain",
    "ssh-offered-methods",
    "accounts-passwords",
    "accounts-shells",
    "ssh-vsock",
];

fn report() -> Report {
    let mut evidence = host("flatcar-worker");
    evidence.put("file:/etc/selinux/config", None, Capture::text("SELINUX=disabled\nSELINUXTYPE=mcs\n"));
    evidence.put("file:/etc/shadow", None, Capture::Denied("CAP_DAC_READ_SEARCH".to_owned()));
    let passwd = "root:x:0:0::/root:/bin/bash\ncore:x:500:500::/home/core:/bin/bash\n<b>:x:501:501::/:/bin/\"sh\"\n";
    evidence.put("file:/etc/passwd", None, Capture::text(passwd));
    let mut config = crate::config::Config::default();
    config.posture.waive = vec![crate::config::Waiver {
        check: "selinux-config".to_owned(),
        why: "a driver & its <module>".to_owned(),
        until: "2026-08-01".to_owned(),
    }];
    let expect = Expectations::for_host(&evidence.host, &config).expect("valid");
    let mut findings: Vec<_> =
        SHOWN.iter().filter_map(|id| check(id)).map(|check| check.judge(&evidence, &expect)).collect();
    // The one verdict that this host cannot show beside a shadow file that may not be read.
    let good = host("flatcar-worker");
    findings[5] = check("ssh-offered-methods").expect("a check").judge(&good, &super::tests::expect(&good));
    Report::new(&evidence, &expect, findings)
}

fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/posture/render/golden").join(name);
    if std::env::var_os("EYEWALL_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, text).expect("golden/ can be written");
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = text.lines().zip(known.lines()).find(|(now, then)| now != then);
    assert!(
        text == known,
        "{} differs, first here: {differs:?}. EYEWALL_WRITE_GOLDEN=1 writes it anew.",
        path.display()
    );
}

#[test]
fn every_form_is_as_it_was() {
    let report = report();
    for word in Word::ALL {
        assert!(report.findings.iter().any(|finding| finding.verdict.word() == word), "{word:?} is shown");
    }
    golden("report.json", &json(&report));
    golden("report.sarif", &sarif(&report, "0.1.0"));
    golden("report.xml", &junit(&report));
    golden("report.txt", &text(&report, 100, false, false));
    golden("report-all.txt", &text(&report, 80, false, true));
}

#[test]
fn changes_are_told() {
    let mut evidence = host("fcos-worker");
    let mut history = History::default();
    let look = |evidence: &_| ["selinux-mode"].map(|id| check(id).expect(id).judge(evidence, &expect(evidence)));
    history.record(None, &look(&evidence));
    evidence.put("file:/sys/fs/selinux/enforce", None, Capture::text("0"));
    let at = history.record(None, &look(&evidence))[0].at;
    history.attribute("selinux-mode", at, &Actor { login_uid: 1000, session: None });
    evidence.put("file:/sys/fs/selinux/enforce", None, Capture::text("1"));
    history.record(None, &look(&evidence));
    golden("changes.txt", &changes(history.changes(), 80, false));
}

/// Every report that the fixtures make is what the schema says, and comes back from JSON as it was.
#[test]
fn json_is_as_the_schema_says() {
    let schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    let check = |name: &str, report: &Report| {
        let text = json(report);
        let value: Value = serde_json::from_str(&text).expect(name);
        assert_eq!(schema::faults(&schema, &schema, &value, "$"), Vec::<String>::new(), "{name}");
        assert_eq!(&serde_json::from_str::<Report>(&text).expect(name), report, "{name}");
    };
    check("the example", &report());
    for name in HOSTS {
        let evidence = host(name);
        check(name, &judge(&evidence, &expect(&evidence)));
    }
    for (name, case) in cases() {
        let (evidence, expect) = case.on(&case.base[0]);
        check(&name, &judge(&evidence, &expect));
    }
}

/// The test above can fail.
#[test]
fn the_schema_refuses_what_it_does_not_say() {
    let schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    let good = serde_json::to_value(report()).expect("serializes");
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 6] = [
        ("another field", |v| v["findings"][0]["new"] = 1.into()),
        ("a field less", |v| drop(v["findings"][0].as_object_mut().map(|o| o.remove("reason")))),
        ("another word", |v| v["findings"][0]["verdict"] = "good".into()),
        ("another type", |v| v["counts"]["pass"] = "1".into()),
        ("no id", |v| v["claims"][0]["id"] = "No Id".into()),
        ("no time", |v| v["captured_at"] = "yesterday".into()),
    ];
    for (name, change) in changes {
        let mut value = good.clone();
        change(&mut value);
        assert_ne!(schema::faults(&schema, &schema, &value, "$"), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn sarif_results_have_rules_and_a_level_only_if_they_fail() {
    for (name, case) in cases().into_iter().take(20) {
        let (evidence, expect) = case.on(&case.base[0]);
        let log: Value = serde_json::from_str(&sarif(&judge(&evidence, &expect), "0")).expect(&name);
        let run = &log["runs"][0];
        for result in run["results"].as_array().expect("results") {
            let index = usize::try_from(result["ruleIndex"].as_u64().expect("an index")).expect("small");
            assert_eq!(result["ruleId"], run["tool"]["driver"]["rules"][index]["id"], "{name}");
            assert_eq!(result["kind"] != "fail", result["level"] == "none", "{name}: {result}");
        }
    }
}

#[test]
fn no_width_breaks_the_text_and_colour_is_only_colour() {
    let report = report();
    for width in [0, 39, 41, 79, 1_000] {
        let page = text(&report, width, false, true);
        let widest = width.clamp(NARROWEST, WIDEST);
        // The first line is a name, which is as long as it is.
        for line in page.lines().skip(1) {
            assert!(line.chars().count() <= widest, "{width}: {line}");
        }
    }
    let mut coloured = text(&report, 80, true, true);
    for code in ["0", "1", "2", "31", "32", "33"] {
        coloured = coloured.replace(&format!("\x1b[{code}m"), "");
    }
    assert_eq!(coloured, text(&report, 80, false, true));
}

#[test]
fn every_check_is_listed_with_what_it_is_worth() {
    let page = list(100, false);
    for check in crate::posture::checks() {
        assert!(page.contains(&format!("  {} ({})", check.id, check.severity.as_str())), "{}", check.id);
    }
    assert!(page.lines().all(|line| line.chars().count() <= 100), "{page}");
    assert!(page.contains("expect: \"enforcing\" or \"permissive\""), "{page}");
}
