//! No judge passes on what it cannot have seen: each is run with every one of its sources missing, denied, failed, empty, garbage, huge and
//! not captured, on every good host that it passes on.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use serde_json::json;

use super::evidence::{Entry, FileKind, Found, Stat};
use super::fixtures::{HOSTS, cases, expect, host};
use super::{Capture, Check, Evidence, Expectations, Read, Word, checks};
use crate::time::Time;

/// One way in which a source can be of no use.
struct Mutant {
    what: &'static str,
    /// `None`: not captured.
    capture: Option<Capture>,
    /// The check's declaration makes this an answer.
    answer: bool,
}

/// What is put in the place of a good capture.
fn mutants(read: &Read, good: &Capture) -> Vec<Mutant> {
    let mut mutants = vec![Mutant { what: "not captured", capture: None, answer: false }];
    let mut add = |what, answer, capture| mutants.push(Mutant { what, capture: Some(capture), answer });
    add("missing", read.absent, Capture::Missing);
    add("denied", false, Capture::Denied("CAP_DAC_READ_SEARCH".to_owned()));
    add("failed", false, Capture::failed("timeout", "It did not answer."));
    add("huge", false, Capture::too_large(1 << 30));
    add("garbage bytes", false, Capture::bytes(&garbage()[..700]));
    add("bytes without end", false, Capture::bytes(garbage()));
    match good {
        Capture::Text(_) => {
            add("empty text", read.empty, Capture::text(""));
            add("blank text", read.empty, Capture::text("\n \n\t\n"));
            for text in
                ["\u{1}\u{0}garbage\u{fffd}\n", "<html><body>502 Bad Gateway</body></html>\n", "}{][\n", "=\n=\n:::\n"]
            {
                add("garbage text", read.any, Capture::text(text));
            }
            add("a text without end", read.any, Capture::text(&"garbage \n".repeat(Capture::LARGEST / 9)));
            add("a directory", false, strange_directory());
        }
        Capture::Bytes(bytes) => {
            add("no bytes", read.empty, Capture::bytes(&[]));
            add("one byte", false, Capture::bytes(&[0]));
            add("half of it", read.any, Capture::bytes(&bytes[..bytes.len() / 2]));
            add("a directory", false, strange_directory());
        }
        Capture::Record(_) => {
            for value in [json!(null), json!({}), json!([])] {
                add("an empty record", read.empty, Capture::Record(value));
            }
            for value in [json!("x"), json!(7), json!([7]), json!({"x": 1}), json!([{"x": 1}]), json!([[]])] {
                add("a record of another form", false, Capture::Record(value));
            }
            add("a directory", false, strange_directory());
        }
        Capture::Listing(_) => {
            add("an empty directory", read.empty, Capture::Listing(Vec::new()));
            add("a device", false, device());
        }
        Capture::Stat(_) => {
            add("a device", read.any, device());
            add("a directory", false, strange_directory());
        }
        // Absent on this host, which was an answer. Something that cannot be told from an answer is not put there.
        _ => add("a device that is text", false, Capture::text("\u{1}\u{0}")),
    }
    mutants
}

/// As many bytes as are kept that are neither text nor any format, always the same.
fn garbage() -> &'static [u8] {
    static GARBAGE: OnceLock<Vec<u8>> = OnceLock::new();
    GARBAGE.get_or_init(|| {
        let mut state: u32 = 0x9e37_79b9;
        let next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0] | 0x80
        };
        std::iter::repeat_with(next).take(Capture::LARGEST).collect()
    })
}

fn strange_directory() -> Capture {
    Capture::Listing(vec![Entry { name: "\u{1}".to_owned(), kind: FileKind::Other }])
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

/// What was tried so far.
#[derive(Default)]
struct Tried {
    mutants: usize,
    passed: BTreeSet<&'static str>,
    survivors: Vec<String>,
}

impl Tried {
    /// If `check` passes on this host: with each of its captured sources mutated. `evidence` is afterwards as it was.
    fn on(&mut self, check: &'static Check, name: &str, evidence: &mut Evidence, expect: &Expectations) {
        if word(check, evidence, expect).0 != Word::Pass {
            return;
        }
        self.passed.insert(check.id);
        for read in check.reads {
            let ids: Vec<String> = evidence.sources.keys().filter(|id| read.source.is(id)).cloned().collect();
            if ids.is_empty() && read.needed && !read.none {
                self.survivors.push(format!("{} passes on {name} without any {}", check.id, read.source.id));
            }
            for id in ids {
                let Some(good) = evidence.sources.remove(&id) else { continue };
                for mutant in mutants(read, &good.capture) {
                    if let Some(capture) = mutant.capture {
                        evidence.sources.insert(id.clone(), Found { at: None, capture });
                    }
                    self.mutants += 1;
                    let (got, why) = word(check, evidence, expect);
                    if !(mutant.answer || !read.needed || matches!(got, Word::Fail | Word::Unknown)) {
                        self.survivors
                            .push(format!("{} is {got:?} on {name} with {id} {} ({why})", check.id, mutant.what));
                    }
                    evidence.sources.remove(&id);
                }
                evidence.sources.insert(id, good);
            }
        }
    }
}

#[test]
fn no_judge_passes_on_what_it_cannot_have_seen() {
    let mut tried = Tried::default();
    for name in HOSTS {
        let mut evidence = host(name);
        let expect = expect(&evidence);
        for check in checks() {
            tried.on(check, name, &mut evidence, &expect);
        }
    }
    // Some checks pass only where something is declared or happened: the cases show that.
    for (name, case) in cases() {
        let (mut evidence, expect) = case.on(&case.base[0]);
        let left: Vec<&Check> = checks().filter(|check| !tried.passed.contains(check.id)).collect();
        for check in left {
            tried.on(check, &name, &mut evidence, &expect);
        }
    }
    let Tried { mutants, passed, survivors } = tried;
    assert!(survivors.is_empty(), "{} of {mutants} mutants:\n{}", survivors.len(), survivors.join("\n"));
    let never: Vec<&str> = checks().map(|check| check.id).filter(|id| !passed.contains(id)).collect();
    assert!(never.is_empty(), "these pass on no host, so nothing was tried on them: {never:?}");
    assert!(mutants > 500, "{mutants}");
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
