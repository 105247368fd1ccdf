use super::*;
use crate::posture::fixtures::{expect, host};
use crate::posture::verdict::{Grade, Waived};
use crate::posture::{Capture, check, judge};

fn finding(word: Word, severity: Severity, proves: bool) -> Finding {
    let evidence = host("fcos-worker");
    let template = check("selinux-mode").expect("a check").judge(&evidence, &expect(&evidence));
    let verdict = match word {
        Word::Pass => Verdict::Pass(Grade::Configured),
        Word::Fail => Verdict::Fail,
        Word::Unknown => Verdict::Unknown,
        Word::NotApplicable => Verdict::NotApplicable,
        Word::Waived => {
            Verdict::Waived(Box::new(Waived { why: "x".to_owned(), until: "2027-01-01".to_owned(), of: Verdict::Fail }))
        }
    };
    Finding { verdict, severity, proves, ..template }
}

#[test]
fn one_unknown_is_not_good_and_what_does_not_count_does_not() {
    let evidence = host("fcos-worker");
    let expect = expect(&evidence);
    use Severity::{High, Low, Medium};
    for (name, findings, want) in [
        ("nothing was judged", vec![], Health::Unknown),
        ("all pass", vec![(Word::Pass, High), (Word::NotApplicable, High)], Health::Good),
        ("one unknown", vec![(Word::Pass, High), (Word::Unknown, Medium)], Health::Unknown),
        ("a failure beats an unknown", vec![(Word::Unknown, High), (Word::Fail, Medium)], Health::Bad),
        ("waived", vec![(Word::Pass, High), (Word::Waived, High)], Health::Good),
        ("below what counts", vec![(Word::Pass, High), (Word::Fail, Low), (Word::Unknown, Low)], Health::Good),
    ] {
        let findings: Vec<Finding> =
            findings.into_iter().map(|(word, severity)| finding(word, severity, true)).collect();
        assert_eq!(Report::new(&evidence, &expect, findings).health, want, "{name}");
    }
}

#[test]
fn a_claim_is_never_more_than_its_checks() {
    use ClaimState::{Broken, CannotBeProved, Holds, NotApplicable, NotJudged, Reported, Unknown, Waived};
    let verify = crate::posture::claim::SELINUX;
    let report = crate::posture::claim::FIREWALLS;
    let outside = crate::posture::claim::MATCHBOX;
    for (name, claim, findings, want) in [
        ("proved", verify, vec![(Word::Pass, true)], Holds),
        ("only reported", verify, vec![(Word::Pass, false)], Reported),
        ("a claim that a node can only report", report, vec![(Word::Pass, true)], Reported),
        ("out of scope, whatever passes", outside, vec![(Word::Pass, true)], CannotBeProved),
        ("no check", verify, vec![], NotJudged),
        ("no check, out of scope", outside, vec![], CannotBeProved),
        ("one fails", verify, vec![(Word::Pass, true), (Word::Unknown, true), (Word::Fail, true)], Broken),
        ("one unknown", verify, vec![(Word::Pass, true), (Word::Unknown, true)], Unknown),
        ("one waived", verify, vec![(Word::Pass, true), (Word::Waived, true)], Waived),
        ("not about this host", verify, vec![(Word::NotApplicable, true)], NotApplicable),
        ("partly about this host", verify, vec![(Word::NotApplicable, true), (Word::Pass, true)], Holds),
    ] {
        let findings: Vec<Finding> =
            findings.into_iter().map(|(word, proves)| finding(word, Severity::High, proves)).collect();
        let findings: Vec<&Finding> = findings.iter().collect();
        assert_eq!(ClaimState::of(&claim, &findings, Severity::Medium), want, "{name}");
    }
    let low = finding(Word::Fail, Severity::Low, true);
    assert_eq!(ClaimState::of(&verify, &[&low], Severity::Medium), Unknown, "nothing that counts passes");
}

#[test]
fn a_finding_that_is_renewed_takes_its_place() {
    let mut evidence = host("fcos-worker");
    let expect = expect(&evidence);
    let mut report = judge(&evidence, &expect);
    let (count, health) = (report.findings.len(), report.health);
    let at = Time::from_unix(evidence.captured_at.unix() + 5);
    evidence.put("file:/sys/fs/selinux/enforce", Some(at), Capture::text("0"));
    let renew = |report: &mut Report, evidence: &Evidence| {
        let concerned = crate::posture::checks_reading("file:/sys/fs/selinux/enforce");
        report.renew(at, concerned.map(|check| check.judge(evidence, &expect)).collect::<Vec<_>>())
    };
    assert!(renew(&mut report, &evidence));
    assert_eq!((report.findings.len(), report.health, report.captured_at), (count, Health::Bad, at));
    assert!(!renew(&mut report, &evidence), "the same again is no change");
    assert_eq!(report.findings.iter().find(|f| f.check == "selinux-mode").map(|f| f.checked_at), Some(at));
    evidence.put("file:/sys/fs/selinux/enforce", Some(at), Capture::text("1"));
    assert!(renew(&mut report, &evidence));
    assert_eq!(report.health, health);
}

#[test]
fn severity_is_raised_and_never_lowered() {
    let mut evidence = host("fcos-worker");
    let expect = expect(&evidence);
    let passwords = check("accounts-passwords").expect("a check");
    assert_eq!(passwords.judge(&evidence, &expect).severity, Severity::High);
    evidence.put("file:/etc/shadow", None, Capture::text("root:locked\ncore:empty\n"));
    assert_eq!(passwords.judge(&evidence, &expect).severity, Severity::Critical);
    let keys = check("ssh-keys").expect("a check");
    evidence.put(
        "file:authorized-keys:/var/home/core/.ssh/authorized_keys.d/ignition",
        None,
        Capture::text("ssh-rsa 1024 SHA256:x\n"),
    );
    let weak = keys.judge(&evidence, &expect);
    assert_eq!(
        (weak.reason.kind.as_str(), weak.severity),
        ("weak-key", Severity::High),
        "the check's own severity stands"
    );
}
