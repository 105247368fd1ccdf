//! No judge passes on what it cannot have seen: each is run with every one of its sources missing, denied, failed, empty, garbage, huge and
//! not captured, on every good host that it passes on.

use serde_json::json;

use super::evidence::{Entry, FileKind, Stat};
use super::fixtures::{HOSTS, cases, expect, host};
use super::{Capture, Check, Evidence, Expectations, Read, Word, checks};
use crate::time::Time;

/// What is put in the place of a good capture, and whether the check's declaration makes that an answer.
fn mutants(read: &Read, good: &Capture) -> Vec<(&'static str, Option<Capture>, bool)> {
    let mut mutants = vec![
        ("not captured", None, false),
        ("missing", Some(Capture::Missing), read.absent),
        ("denied", Some(Capture::Denied("CAP_DAC_READ_SEARCH".to_owned())), false),
        ("failed", Some(Capture::failed("timeout", "It did not answer.")), false),
        ("huge", Some(Capture::too_large(1 << 30)), false),
        ("garbage bytes", Some(Capture::bytes(&garbage_bytes(700))), false),
        ("bytes without end", Some(Capture::bytes(&garbage_bytes(Capture::LARGEST))), false),
        ("a directory without sense", Some(nonsense(matches!(good, Capture::Listing(_)))), false),
    ];
    let empty = read.empty;
    match good {
        Capture::Text(_) => {
            mutants.push(("empty text", Some(Capture::text("")), empty));
            mutants.push(("blank text", Some(Capture::text("\n \n\t\n")), empty));
            for text in
                ["\u{1}\u{0}garbage\u{fffd}\n", "<html><body>502 Bad Gateway</body></html>\n", "}{][\n", "=\n=\n:::\n"]
            {
                mutants.push(("garbage text", Some(Capture::text(text)), read.any));
            }
            mutants.push((
                "a text without end",
                Some(Capture::text(&"garbage \n".repeat(Capture::LARGEST / 9))),
                read.any,
            ));
        }
        Capture::Bytes(bytes) => {
            mutants.push(("no bytes", Some(Capture::bytes(&[])), empty));
            mutants.push(("one byte", Some(Capture::bytes(&[0])), false));
            mutants.push(("half of it", Some(Capture::bytes(&bytes[..bytes.len() / 2])), read.any));
        }
        Capture::Record(_) => {
            for value in [json!(null), json!({}), json!([])] {
                mutants.push(("an empty record", Some(Capture::Record(value)), empty));
            }
            for value in [json!("x"), json!(7), json!([7]), json!({"x": 1}), json!([{"x": 1}]), json!([[]])] {
                mutants.push(("a record of another form", Some(Capture::Record(value)), false));
            }
        }
        Capture::Listing(_) => mutants.push(("an empty directory", Some(Capture::Listing(Vec::new())), empty)),
        Capture::Stat(_) => mutants.push(("a device", Some(device()), read.any)),
        _ => {}
    }
    mutants
}

/// Bytes that are neither text nor any format, always the same.
fn garbage_bytes(length: usize) -> Vec<u8> {
    let mut state: u32 = 0x9e37_79b9;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0] | 0x80
    })
    .take(length)
    .collect()
}

/// A capture of another kind than the good one.
fn nonsense(is_listing: bool) -> Capture {
    if is_listing {
        device()
    } else {
        Capture::Listing(vec![Entry { name: "\u{1}".to_owned(), kind: FileKind::Other }])
    }
}

fn device() -> Capture {
    Capture::Stat(Stat {
        kind: FileKind::Other,
        mode: 0o7777,
        uid: 65_534,
        gid: 65_534,
        size: u64::MAX,
        mtime: Time::from_unix(0),
        target: None,
    })
}

fn word(check: &'static Check, evidence: &Evidence, expect: &Expectations) -> (Word, String) {
    let finding = check.judge(evidence, expect);
    (finding.verdict.word(), format!("{}: {}", finding.reason.kind, finding.reason.message))
}

/// Every host on which some check passes: the good ones, and the cases (some checks pass only where something is declared).
fn hosts() -> Vec<(String, Evidence, Expectations)> {
    let good = HOSTS.iter().map(|name| {
        let evidence = host(name);
        let expect = expect(&evidence);
        ((*name).to_owned(), evidence, expect)
    });
    let overlaid = cases().into_iter().map(|(name, case)| {
        let (evidence, expect) = case.on(&case.base[0]);
        (name, evidence, expect)
    });
    good.chain(overlaid).collect()
}

#[test]
fn no_judge_passes_on_what_it_cannot_have_seen() {
    let mut faults = Vec::new();
    let mut tried = 0_usize;
    let mut never: Vec<&str> = checks().map(|check| check.id).collect();
    for (name, evidence, expect) in hosts() {
        for check in checks() {
            if word(check, &evidence, &expect).0 != Word::Pass {
                continue;
            }
            never.retain(|id| *id != check.id);
            for read in check.reads {
                let ids: Vec<String> = evidence.sources.keys().filter(|id| read.source.is(id)).cloned().collect();
                if ids.is_empty() && read.needed {
                    faults.push(format!("{} passes on {name} without any {}", check.id, read.source.id));
                }
                for id in ids {
                    let good = evidence.get(&id).cloned().unwrap_or(Capture::Missing);
                    // What is an answer when it is absent stays absent on some hosts: the other states are still none.
                    for (what, capture, answer) in mutants(read, &good) {
                        let mut mutated = evidence.clone();
                        match capture {
                            Some(capture) => drop(mutated.put(&id, None, capture)),
                            None => drop(mutated.sources.remove(&id)),
                        }
                        tried += 1;
                        let (got, why) = word(check, &mutated, &expect);
                        let allowed = answer || !read.needed || matches!(got, Word::Fail | Word::Unknown);
                        if !allowed {
                            faults.push(format!("{} is {got:?} on {name} with {id} {what} ({why})", check.id));
                        }
                    }
                }
            }
        }
    }
    assert!(faults.is_empty(), "{} of {tried} mutants:\n{}", faults.len(), faults.join("\n"));
    assert!(never.is_empty(), "these pass on no host, so nothing was tried on them: {never:?}");
    assert!(tried > 100, "{tried}");
}

/// A check that needs nothing, or a host without evidence, passes nothing.
#[test]
fn nothing_captured_passes_nothing() {
    for name in HOSTS {
        let mut evidence = host(name);
        let expect = expect(&evidence);
        evidence.sources.clear();
        for check in checks() {
            assert_ne!(word(check, &evidence, &expect).0, Word::Pass, "{} on {name}", check.id);
        }
    }
}
