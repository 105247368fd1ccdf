use super::*;

fn every() -> Vec<(Outcome, Option<(u64, u64)>)> {
    let words = || "the server's words".to_owned();
    let reason = |kind| Reason::new(kind, "what was found; what to do");
    vec![
        (Outcome::Installed, None),
        (Outcome::Pending, Some((1, 30))),
        (Outcome::NotSigned, Some((1, 30))),
        (Outcome::Denied(words()), Some((120, 3_600))),
        (Outcome::Failed(words()), Some((120, 3_600))),
        (Outcome::Deleted, Some((10, 600))),
        (Outcome::Unauthorized, Some((10, 600))),
        (Outcome::Forbidden(words()), Some((10, 600))),
        (Outcome::Invalid(words()), Some((10, 600))),
        (Outcome::Throttled(Duration::from_secs(30)), Some((1, 60))),
        (Outcome::ServerError(words()), Some((1, 60))),
        (Outcome::Unreachable(words()), Some((1, 60))),
        (Outcome::Untrusted(words()), Some((5, 300))),
        (Outcome::OutOfTime(words()), Some((1, 30))),
        (Outcome::ServerExpired(words()), Some((5, 300))),
        (Outcome::NotYet(Time::from_unix(1)), Some((1, 30))),
        (Outcome::Unproved(reason("certificate-swapped")), Some((30, 3_600))),
        (Outcome::Disk(reason("disk-full")), Some((2, 60))),
    ]
}

fn attempt(outcome: Outcome, streak: u32) -> Attempt {
    Attempt { at: Time::from_unix(0), outcome, identity: Identity::Bootstrap, streak, draw: 0.5 }
}

#[test]
fn the_table_at_the_head_of_this_file() {
    for (outcome, want) in every() {
        let got = outcome.meaning().map(|meaning| meaning.backoff);
        assert_eq!(got, want.map(|(first, cap)| Backoff::seconds(first, cap)), "{outcome:?}");
    }
}

#[test]
fn every_end_has_a_word_of_its_own_and_says_what_to_do() {
    let mut kinds = std::collections::BTreeSet::new();
    for (outcome, _) in every() {
        assert!(kinds.insert(outcome.kind()), "{outcome:?}");
        for identity in [Identity::Bootstrap, Identity::Node] {
            let Reason { kind, message } = outcome.reason(identity);
            let told = matches!(outcome, Outcome::Installed | Outcome::NotYet(_)) || message.contains([';', '?']);
            assert!(told && !kind.is_empty(), "{outcome:?}: {message}");
        }
    }
}

#[test]
fn trouble_of_one_kind_is_counted_across_others_until_it_is_over() {
    let mut streaks = Streaks::default();
    let error = || Outcome::ServerError(String::new());
    let away = || Outcome::Unreachable(String::new());
    for (step, outcome, want) in [
        (1, error(), 1),
        (2, error(), 2),
        (3, away(), 1),
        (4, error(), 3),
        (5, away(), 2),
        (6, Outcome::Pending, 1),
        (7, error(), 4),
        (8, Outcome::Installed, 1),
        (9, error(), 1),
    ] {
        assert_eq!(streaks.count(&outcome), want, "step {step}");
    }
}

#[test]
fn a_key_is_kept_while_another_would_not_help() {
    let unproved = |kind| Outcome::Unproved(Reason::new(kind, ""));
    for (name, outcome, streak, want) in [
        ("the name is taken", unproved("request-of-another"), 1, true),
        ("no certificate at all", unproved("certificate-unreadable"), 1, true),
        ("for another key", unproved("certificate-for-another-key"), 1, true),
        ("ended before it was seen", unproved("certificate-already-expired"), 1, true),
        ("of another CA", unproved("certificate-of-another-authority"), 1, false),
        ("of another CA, two hours long", unproved("certificate-of-another-authority"), 8, true),
        ("of another CA, after that", unproved("certificate-of-another-authority"), 9, false),
        ("not accepted yet", unproved("certificate-not-accepted"), 7, false),
        ("a proxy in between", unproved("certificate-swapped"), 1, false),
        ("denied", Outcome::Denied(String::new()), 8, false),
        ("deleted", Outcome::Deleted, 8, false),
    ] {
        let last = attempt(outcome, streak);
        assert_eq!(last.spends_the_key(), want, "{name}");
        // Of the next key the API server has heard nothing.
        assert!(!(last.is_sent() && want), "{name}");
    }
}

#[test]
fn retry_after_is_never_cut_short() {
    for (asked, streak, want) in [(0, 1, 1), (30, 1, 30), (3_600, 1, 3_600), (5, 9, 60)] {
        let last = attempt(Outcome::Throttled(Duration::from_secs(asked)), streak);
        let (_, until) = last.wait(Time::from_unix(0)).expect("a wait");
        assert_eq!(until.unix(), want, "{asked} s asked, streak {streak}");
    }
}
