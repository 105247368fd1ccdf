//! Every transition there is, found by walking through everything that can happen, against a table that a person can read: one
//! that has no row fails, and so does a row of one that cannot happen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::tests::{HOUR, POLICY, T0, attempt, fresh, leaf, request};
use super::*;
use crate::hostname::node_name;

/// How much of its life the certificate in force has behind it; the instants are in its own life.
const AGES: [u64; 4] = [2 * HOUR, 50 * HOUR, 60 * HOUR, 80 * HOUR];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Link {
    Nothing,
    Unreadable,
    Corrupt,
    /// Of this cluster, of so much of its life.
    Usable(usize),
    /// Of the CA before.
    OfOldAuthority(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    None,
    Right,
    Wrong,
    WasRight,
    WasWrong,
}

/// The world, as coarse as the states need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct World {
    link: Link,
    is_named: bool,
    has_kubeconfig: bool,
    ca_ended: bool,
    has_request: bool,
    clock: Verdict,
    /// How the last attempt ended, and whether its wait is still on.
    last: Option<(usize, bool)>,
    is_asked: bool,
}

/// How attempts end, each once.
fn outcomes() -> Vec<Outcome> {
    let words = String::new;
    vec![
        Outcome::Pending,
        Outcome::NotSigned,
        Outcome::Denied(words()),
        Outcome::Failed(words()),
        Outcome::Deleted,
        Outcome::Unauthorized,
        Outcome::Forbidden(words()),
        Outcome::Invalid(words()),
        Outcome::Throttled(Duration::from_secs(5)),
        Outcome::ServerError(words()),
        Outcome::Unreachable(words()),
        Outcome::Untrusted(words()),
        Outcome::OutOfTime(words()),
        Outcome::ServerExpired(words()),
        Outcome::NotYet(Time::from_unix(T0 + 100 * HOUR + 5)),
        Outcome::Unproved(Reason::new("certificate-swapped", "")),
        Outcome::Disk(Reason::new("disk-full", "")),
    ]
}

impl World {
    /// All of it happens at one instant; what is older is dated back.
    const NOW: u64 = T0 + 100 * HOUR;

    fn seen(&self) -> Seen {
        let certificate = |age: usize, anchor| {
            let start = Self::NOW - AGES[age];
            let leaf = CertView {
                not_before: Time::from_unix(start - 300),
                not_after: Time::from_unix(start + 72 * HOUR - 300),
                ..leaf("node-a")
            };
            Current::Usable { leaf: Box::new(leaf), installed_at: Time::from_unix(start), anchor }
        };
        let end = if self.ca_ended { Self::NOW - 60 } else { Self::NOW + 300 * 24 * HOUR };
        Seen {
            node: node_name(Some(if self.is_named { "node-a" } else { "localhost" }), ""),
            bootstrap: if self.has_kubeconfig {
                Ok(Time::from_unix(end))
            } else {
                Err(Reason::new("bootstrap-kubeconfig-missing", ""))
            },
            current: match self.link {
                Link::Nothing => Current::Nothing,
                Link::Unreadable => Current::Unreadable(Reason::new("certificate-unreadable", "")),
                Link::Corrupt => Current::Unusable(Reason::new("certificate-corrupt", "")),
                Link::Usable(age) => certificate(age, Anchor::Bootstrap),
                Link::OfOldAuthority(age) => certificate(age, Anchor::Installed),
            },
            request: self.has_request.then(|| request("node-a", b"new")),
            clock: match self.clock {
                Verdict::None => None,
                Verdict::Right => Some(Clock::of(Self::NOW, true, "clock-synchronised")),
                Verdict::WasRight => Some(Clock::of(Self::NOW - HOUR, true, "clock-synchronised")),
                Verdict::Wrong => Some(Clock::of(Self::NOW, false, "clock-differs-from-server")),
                Verdict::WasWrong => Some(Clock::of(Self::NOW - HOUR, false, "clock-differs-from-server")),
            },
            last: self.last.map(|(outcome, is_on)| {
                let ago = if is_on { 0 } else { 9 * HOUR };
                let outcome = match outcomes().swap_remove(outcome) {
                    Outcome::NotYet(_) if !is_on => Outcome::NotYet(Time::from_unix(Self::NOW - 1)),
                    outcome => outcome,
                };
                attempt(Self::NOW - ago, outcome, Identity::Bootstrap, 2)
            }),
            wish: self.is_asked.then_some(Wish::Fresh),
            recovery: Some(Tested { at: Time::from_unix(Self::NOW), answered: true }),
            ..fresh()
        }
    }

    fn decision(&self) -> Decision {
        decide(Time::from_unix(Self::NOW).0, &self.seen(), &POLICY)
    }

    /// Everything that can happen next, in the words of the table.
    fn happenings(&self, step: &Step) -> Vec<(&'static str, Self)> {
        let mut all = Vec::new();
        // From outside.
        all.push(if self.is_named {
            ("the hostname is lost", Self { is_named: false, last: None, ..*self })
        } else {
            ("the hostname comes", Self { is_named: true, last: None, ..*self })
        });
        all.push(if self.has_kubeconfig {
            ("the kubeconfig goes", Self { has_kubeconfig: false, last: None, ..*self })
        } else {
            ("the kubeconfig comes", Self { has_kubeconfig: true, last: None, ..*self })
        });
        if self.has_kubeconfig && self.ca_ended {
            let link = match self.link {
                Link::Usable(age) => Link::OfOldAuthority(age),
                link => link,
            };
            all.push(("a kubeconfig with a new CA comes", Self { ca_ended: false, link, last: None, ..*self }));
        } else if self.has_kubeconfig {
            all.push(("the CA ends", Self { ca_ended: true, ..*self }));
            if let Link::Usable(age) = self.link {
                let link = Link::OfOldAuthority(age);
                all.push(("a kubeconfig with a new CA comes", Self { link, last: None, ..*self }));
            }
        }
        for (name, link) in [
            ("the file is lost", Link::Nothing),
            ("the file cannot be read", Link::Unreadable),
            ("the file is corrupted", Link::Corrupt),
            ("somebody puts a certificate there", Link::Usable(0)),
        ] {
            if self.link != link {
                all.push((name, Self { link, ..*self }));
            }
        }
        // With time.
        let older = match self.link {
            Link::Usable(age) if age + 1 < AGES.len() => Some((age, Link::Usable(age + 1))),
            Link::OfOldAuthority(age) if age + 1 < AGES.len() => Some((age, Link::OfOldAuthority(age + 1))),
            _ => None,
        };
        if let Some((age, link)) = older {
            let name = ["the renewal point passes", "the renewal is overdue", "the certificate ends"][age];
            all.push((name, Self { link, ..*self }));
        }
        if let Some((outcome, true)) = self.last {
            all.push(("the wait is over", Self { last: Some((outcome, false)), ..*self }));
        }
        match self.clock {
            Verdict::Right => {
                all.push(("the verdict on the clock grows old", Self { clock: Verdict::WasRight, ..*self }))
            }
            Verdict::Wrong => {
                all.push(("the verdict on the clock grows old", Self { clock: Verdict::WasWrong, ..*self }))
            }
            Verdict::None | Verdict::WasRight | Verdict::WasWrong => {}
        }
        if self.clock != Verdict::None {
            all.push(("the clock is set", Self { clock: Verdict::None, ..*self }));
        }
        all.push(("an operator asks for a renewal", Self { is_asked: true, last: None, ..*self }));
        // By the step itself.
        match step {
            Step::CheckClock => {
                all.push(("the clock is found right", Self { clock: Verdict::Right, ..*self }));
                all.push(("the clock is found wrong", Self { clock: Verdict::Wrong, ..*self }));
                all.extend(self.ends(&[
                    "server-unreachable",
                    "server-throttled",
                    "server-untrusted",
                    "server-certificate-out-of-time",
                ]));
            }
            Step::Prepare => all.push(("a key is made", Self { has_request: true, ..*self })),
            Step::Forget(_) => all.push(("the request is dropped", Self { has_request: false, ..*self })),
            Step::Quarantine(_) => {
                all.push(("the file is put aside", Self { link: Link::Nothing, ..*self }));
                all.push(("an older file takes its place", Self { link: Link::Usable(2), ..*self }));
            }
            Step::Ask(_) => {
                all.extend(self.ends(&[]));
                let installed =
                    Self { link: Link::Usable(0), has_request: false, last: None, is_asked: false, ..*self };
                all.push(("a certificate is installed", installed));
            }
            Step::TestRecovery | Step::Idle { .. } => {}
        }
        all
    }

    /// The attempt ends in each kind of trouble, or in one of `kinds`.
    fn ends(&self, kinds: &[&str]) -> Vec<(&'static str, Self)> {
        let wanted = |outcome: &Outcome| kinds.is_empty() || kinds.contains(&outcome.kind());
        let all = outcomes();
        let all = all.iter().enumerate().filter(|(_, outcome)| wanted(outcome));
        all.map(|(index, outcome)| (outcome.kind(), Self { last: Some((index, true)), ..*self })).collect()
    }
}

/// Each pair of states that follow each other, with everything that can be between them.
fn walk() -> BTreeMap<(&'static str, &'static str), BTreeSet<&'static str>> {
    let first = World {
        link: Link::Nothing,
        is_named: true,
        has_kubeconfig: true,
        ca_ended: false,
        has_request: false,
        clock: Verdict::None,
        last: None,
        is_asked: false,
    };
    let mut decided = BTreeMap::from([(first, first.decision())]);
    let mut open = VecDeque::from([first]);
    let mut found: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    while let Some(world) = open.pop_front() {
        let Decision { state, step, .. } = decided[&world].clone();
        for (name, next) in world.happenings(&step) {
            let after = decided
                .entry(next)
                .or_insert_with(|| {
                    open.push_back(next);
                    next.decision()
                })
                .state;
            if after != state {
                found.entry((state.as_str(), after.as_str())).or_default().insert(name);
            }
        }
    }
    println!("{} worlds, {} transitions", decided.len(), found.len());
    found
}

/// From, to, and one thing that leads there.
#[rustfmt::skip] // one transition, one line
const TRANSITIONS: &[(&str, &str, &str)] = &[
    ("absent", "ca-expired", "the CA ends"),
    ("absent", "clock-suspect", "the clock is found wrong"),
    ("absent", "denied", "request-denied"),
    ("absent", "expired-recovering", "the hostname comes"),
    ("absent", "pending-approval", "approval-pending"),
    ("absent", "renewal-due", "somebody puts a certificate there"),
    ("absent", "renewal-overdue", "an older file takes its place"),
    ("absent", "requesting", "a kubeconfig with a new CA comes"),
    ("absent", "server-unreachable", "server-unreachable"),
    ("absent", "token-rejected", "credential-rejected"),
    ("absent", "valid", "a certificate is installed"),
    ("ca-expired", "absent", "the hostname is lost"),
    ("ca-expired", "clock-suspect", "the clock is set"),
    ("ca-expired", "denied", "the clock is set"),
    ("ca-expired", "expired-recovering", "a kubeconfig with a new CA comes"),
    ("ca-expired", "pending-approval", "the clock is set"),
    ("ca-expired", "renewal-due", "somebody puts a certificate there"),
    ("ca-expired", "requesting", "a kubeconfig with a new CA comes"),
    ("ca-expired", "server-unreachable", "the clock is set"),
    ("ca-expired", "token-rejected", "the clock is set"),
    ("ca-expired", "valid", "somebody puts a certificate there"),
    ("clock-suspect", "absent", "the hostname is lost"),
    ("clock-suspect", "ca-expired", "the CA ends"),
    ("clock-suspect", "denied", "request-denied"),
    ("clock-suspect", "expired-recovering", "a kubeconfig with a new CA comes"),
    ("clock-suspect", "pending-approval", "approval-pending"),
    ("clock-suspect", "renewal-due", "somebody puts a certificate there"),
    ("clock-suspect", "requesting", "a kubeconfig with a new CA comes"),
    ("clock-suspect", "server-unreachable", "server-unreachable"),
    ("clock-suspect", "token-rejected", "credential-rejected"),
    ("clock-suspect", "valid", "a certificate is installed"),
    ("denied", "absent", "the hostname is lost"),
    ("denied", "ca-expired", "the CA ends"),
    ("denied", "clock-suspect", "the clock is found wrong"),
    ("denied", "expired-recovering", "a kubeconfig with a new CA comes"),
    ("denied", "pending-approval", "approval-pending"),
    ("denied", "renewal-due", "somebody puts a certificate there"),
    ("denied", "requesting", "a kubeconfig with a new CA comes"),
    ("denied", "server-unreachable", "server-unreachable"),
    ("denied", "token-rejected", "credential-rejected"),
    ("denied", "valid", "a certificate is installed"),
    ("expired-recovering", "absent", "the hostname is lost"),
    ("expired-recovering", "ca-expired", "the CA ends"),
    ("expired-recovering", "clock-suspect", "the clock is found wrong"),
    ("expired-recovering", "denied", "request-denied"),
    ("expired-recovering", "pending-approval", "approval-pending"),
    ("expired-recovering", "renewal-due", "somebody puts a certificate there"),
    ("expired-recovering", "requesting", "the file is lost"),
    ("expired-recovering", "server-unreachable", "server-unreachable"),
    ("expired-recovering", "token-rejected", "credential-rejected"),
    ("expired-recovering", "valid", "a certificate is installed"),
    ("pending-approval", "absent", "the hostname is lost"),
    ("pending-approval", "ca-expired", "the CA ends"),
    ("pending-approval", "clock-suspect", "the clock is found wrong"),
    ("pending-approval", "denied", "request-denied"),
    ("pending-approval", "expired-recovering", "a kubeconfig with a new CA comes"),
    ("pending-approval", "renewal-due", "somebody puts a certificate there"),
    ("pending-approval", "requesting", "a kubeconfig with a new CA comes"),
    ("pending-approval", "server-unreachable", "server-unreachable"),
    ("pending-approval", "token-rejected", "credential-rejected"),
    ("pending-approval", "valid", "a certificate is installed"),
    ("renewal-due", "absent", "the file is lost"),
    ("renewal-due", "ca-expired", "the file is lost"),
    ("renewal-due", "clock-suspect", "the file is lost"),
    ("renewal-due", "denied", "the file is lost"),
    ("renewal-due", "pending-approval", "the file is lost"),
    ("renewal-due", "renewal-overdue", "the renewal is overdue"),
    ("renewal-due", "requesting", "the file is lost"),
    ("renewal-due", "server-unreachable", "the file is lost"),
    ("renewal-due", "token-rejected", "the file is lost"),
    ("renewal-due", "valid", "a certificate is installed"),
    ("renewal-overdue", "absent", "the certificate ends"),
    ("renewal-overdue", "ca-expired", "the certificate ends"),
    ("renewal-overdue", "clock-suspect", "the certificate ends"),
    ("renewal-overdue", "denied", "the certificate ends"),
    ("renewal-overdue", "expired-recovering", "the certificate ends"),
    ("renewal-overdue", "pending-approval", "the certificate ends"),
    ("renewal-overdue", "renewal-due", "somebody puts a certificate there"),
    ("renewal-overdue", "requesting", "the file is lost"),
    ("renewal-overdue", "server-unreachable", "the certificate ends"),
    ("renewal-overdue", "token-rejected", "the certificate ends"),
    ("renewal-overdue", "valid", "a certificate is installed"),
    ("requesting", "absent", "the hostname is lost"),
    ("requesting", "ca-expired", "the CA ends"),
    ("requesting", "clock-suspect", "the clock is found wrong"),
    ("requesting", "denied", "request-denied"),
    ("requesting", "pending-approval", "approval-pending"),
    ("requesting", "renewal-due", "somebody puts a certificate there"),
    ("requesting", "server-unreachable", "server-unreachable"),
    ("requesting", "token-rejected", "credential-rejected"),
    ("requesting", "valid", "a certificate is installed"),
    ("server-unreachable", "absent", "the hostname is lost"),
    ("server-unreachable", "ca-expired", "the CA ends"),
    ("server-unreachable", "clock-suspect", "the clock is found wrong"),
    ("server-unreachable", "denied", "request-denied"),
    ("server-unreachable", "expired-recovering", "a kubeconfig with a new CA comes"),
    ("server-unreachable", "pending-approval", "approval-pending"),
    ("server-unreachable", "renewal-due", "somebody puts a certificate there"),
    ("server-unreachable", "requesting", "a kubeconfig with a new CA comes"),
    ("server-unreachable", "token-rejected", "credential-rejected"),
    ("server-unreachable", "valid", "a certificate is installed"),
    ("token-rejected", "absent", "the hostname is lost"),
    ("token-rejected", "ca-expired", "the CA ends"),
    ("token-rejected", "clock-suspect", "the clock is found wrong"),
    ("token-rejected", "denied", "request-denied"),
    ("token-rejected", "expired-recovering", "a kubeconfig with a new CA comes"),
    ("token-rejected", "pending-approval", "approval-pending"),
    ("token-rejected", "renewal-due", "somebody puts a certificate there"),
    ("token-rejected", "requesting", "a kubeconfig with a new CA comes"),
    ("token-rejected", "server-unreachable", "server-unreachable"),
    ("token-rejected", "valid", "a certificate is installed"),
    ("valid", "absent", "the file is lost"),
    ("valid", "ca-expired", "the file is lost"),
    ("valid", "clock-suspect", "the file is lost"),
    ("valid", "renewal-due", "the renewal point passes"),
    ("valid", "requesting", "the file is lost"),
    ("valid", "server-unreachable", "the file is lost"),
];

#[test]
fn every_transition_has_its_row() {
    let found = walk();
    let mut rows = BTreeSet::new();
    for (from, to, by) in TRANSITIONS {
        assert!(rows.insert((*from, *to)), "{from} -> {to}: two rows");
        let leads = found.get(&(*from, *to)).is_some_and(|happenings| happenings.contains(by));
        assert!(leads, "{from} -> {to}: not by {by:?}, but by {:?}", found.get(&(*from, *to)));
    }
    let missing: Vec<_> = found.iter().filter(|(pair, _)| !rows.contains(*pair)).collect();
    assert!(missing.is_empty(), "these can happen and have no row: {missing:#?}");
    let states: BTreeSet<_> = rows.iter().flat_map(|(from, to)| [*from, *to]).collect();
    assert_eq!(states, State::ALL.map(State::as_str).into(), "every state is come to and left");
    // What must never follow, whatever happens, so that a walk that finds too much is noticed too.
    for (from, to) in [
        ("valid", "renewal-overdue"),
        ("valid", "expired-recovering"),
        ("valid", "token-rejected"),
        ("renewal-due", "expired-recovering"),
    ] {
        assert!(!found.contains_key(&(from, to)), "{from} -> {to}: by {:?}", found[&(from, to)]);
    }
}
