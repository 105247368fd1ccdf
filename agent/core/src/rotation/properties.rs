//! What must hold whatever was seen.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::tests::{HOUR, POLICY, T0, attempt, request, usable};
use super::*;
use crate::hostname::node_name;

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Installed),
        Just(Outcome::Pending),
        Just(Outcome::NotSigned),
        Just(Outcome::Denied(String::new())),
        Just(Outcome::Failed(String::new())),
        Just(Outcome::Deleted),
        Just(Outcome::Unauthorized),
        Just(Outcome::Forbidden(String::new())),
        Just(Outcome::Invalid(String::new())),
        (0_u64..4_000).prop_map(|seconds| Outcome::Throttled(Duration::from_secs(seconds))),
        Just(Outcome::ServerError(String::new())),
        Just(Outcome::Unreachable(String::new())),
        Just(Outcome::Untrusted(String::new())),
        Just(Outcome::OutOfTime(String::new())),
        Just(Outcome::ServerExpired(String::new())),
        (0_u64..200).prop_map(|seconds| Outcome::NotYet(Time::from_unix(T0 + seconds))),
        Just(Outcome::Unproved(Reason::new("x", ""))),
        Just(Outcome::Disk(Reason::new("x", ""))),
    ]
}

prop_compose! {
    fn anything()(
        now in T0 - 400 * 24 * HOUR..T0 + 400 * 24 * HOUR,
        named in any::<bool>(),
        has_kubeconfig in any::<bool>(),
        current in 0..5,
        request_key in 0..3,
        clock in proptest::option::of((0_u64..2_000, any::<bool>())),
        last in proptest::option::of((outcomes(), any::<bool>(), 1_u32..40, 0_u64..8_000)),
        wish in proptest::option::of(proptest::option::of(1..200 * HOUR)),
        tested in proptest::option::of(0_u64..100_000),
    ) -> (u64, Seen) {
        let seen = Seen {
            node: node_name(None, if named { "node-a" } else { "localhost" }),
            bootstrap: if has_kubeconfig { Ok(Time::from_unix(T0 + 365 * 24 * HOUR)) } else { Err(Reason::new("none", "")) },
            current: match current {
                0 => Current::Nothing,
                1 => Current::Unreadable(Reason::new("x", "")),
                2 => Current::Unusable(Reason::new("x", "")),
                3 => usable(Anchor::Installed),
                _ => usable(Anchor::Bootstrap),
            },
            request: match request_key {
                0 => None,
                1 => Some(request("node-a", b"new")),
                _ => Some(request("node-a", b"key-in-force")),
            },
            clock: clock.map(|(age, trusted)| Clock::of(now - age, trusted, "x")),
            last: last.map(|(outcome, node, streak, age)| {
                attempt(now - age, outcome, if node { Identity::Node } else { Identity::Bootstrap }, streak)
            }),
            wish: wish.map(|left| left.map_or(Wish::Fresh, |left| Wish::AtLeast(Duration::from_secs(left)))),
            recovery: tested.map(|age| Tested { at: Time::from_unix(now - age), answered: age % 2 == 0 }),
            recovery_trouble: None,
        };
        (now, seen)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn what_always_holds((now, seen) in anything()) {
        let got = decide(Time::from_unix(now).0, &seen, &POLICY);
        let alive = matches!(&seen.current, Current::Usable { leaf, .. } if leaf.not_after.unix() > now);
        match &got.step {
            Step::Idle { until } => {
                let until = Time(*until).unix();
                prop_assert!(until <= now + LOOK_AGAIN.as_secs(), "a sleep too long");
                // Never idle past the renewal point of a certificate in force without having tried.
                if let Current::Usable { leaf, installed_at, anchor: Anchor::Bootstrap } = &seen.current {
                    let point = schedule(leaf, *installed_at, POLICY.renew_at).renew_at.unix();
                    if now < point {
                        prop_assert!(until <= point + 1 || got.state != State::Valid);
                    }
                    let nothing_in_the_way = seen.node.is_ok() && seen.bootstrap.is_ok() && seen.last.is_none()
                        && seen.clock.as_ref().is_none_or(|clock| clock.trusted) && now < T0 + 365 * 24 * HOUR;
                    prop_assert!(now < point || !nothing_in_the_way, "idle though due");
                }
            }
            Step::Ask(identity) => {
                prop_assert!(seen.node.is_ok(), "asked without a name");
                prop_assert!(seen.request.is_some(), "asked without a key on disk");
                prop_assert!(seen.clock.as_ref().is_some_and(|clock| clock.trusted), "asked by an untrusted clock");
                prop_assert!(*identity == Identity::Bootstrap || alive, "asked with a dead certificate");
            }
            Step::Prepare => {
                prop_assert!(seen.request.is_none(), "a second key");
                prop_assert!(seen.clock.as_ref().is_some_and(|clock| clock.trusted), "a key made by an untrusted clock");
            }
            Step::Quarantine(_) => prop_assert!(matches!(seen.current, Current::Unusable(_)), "a usable certificate put aside"),
            Step::TestRecovery => {
                prop_assert!(alive && seen.bootstrap.is_ok() && seen.request.is_none(), "tested while it is needed");
            }
            Step::Forget(_) | Step::CheckClock => {}
        }
        // A wait that was imposed is kept: no request before its end.
        if let Some(last) = &seen.last
            && let Outcome::Throttled(wait) = &last.outcome
            && Time::from_unix(now) < Time(last.at.0 + *wait)
        {
            prop_assert!(!matches!(got.step, Step::Ask(_) | Step::CheckClock), "Retry-After not obeyed");
        }
        if got.state == State::Valid {
            prop_assert!(alive, "a dead certificate called valid");
        }
    }
}

/// What a step and what follows it do to requests on the API server.
#[derive(Clone, Debug)]
enum Happening {
    /// The step of the moment is taken; an attempt ends like this, and may have sent its request before.
    Step(Outcome, bool),
    /// The agent is killed and starts again: it remembers nothing but its disk.
    Killed,
    /// So many seconds pass.
    Wait(u64),
    /// An operator asks for a renewal.
    Asked,
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let one = prop_oneof![
        6 => (outcomes(), any::<bool>()).prop_map(|(outcome, sent)| Happening::Step(outcome, sent)),
        1 => Just(Happening::Killed),
        3 => (1_u64..40 * HOUR).prop_map(Happening::Wait),
        1 => Just(Happening::Asked),
    ];
    proptest::collection::vec(one, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Where nothing stands in the way, there is no idling with a certificate that has ended, and none that lasts past its end.
    #[test]
    fn never_idle_past_the_end((now, seen) in anything()) {
        let nothing_in_the_way = seen.node.is_ok()
            && seen.bootstrap.as_ref().is_ok_and(|end| Time::from_unix(now) < *end)
            && seen.last.is_none()
            && seen.clock.as_ref().is_none_or(|clock| clock.trusted);
        let Current::Usable { leaf, .. } = &seen.current else { return Ok(()) };
        let end = leaf.not_after.unix();
        if let Step::Idle { until } = decide(Time::from_unix(now).0, &seen, &POLICY).step
            && nothing_in_the_way
        {
            prop_assert!(now < end, "idle with a dead certificate");
            prop_assert!(Time(until).unix() <= end, "a sleep past the end");
        }
    }
}

proptest! {
    // Each is a story of up to 120 steps.
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Whatever attempts come to, in whatever order, with kills in between: there is one open request at a time.
    #[test]
    fn never_two_open_requests(story in happenings()) {
        let mut now = T0;
        let mut seen = Seen { current: Current::Nothing, ..super::tests::fresh() };
        // Name and key of what is open on the API server; keys are numbered.
        let mut open: BTreeMap<String, u32> = BTreeMap::new();
        let mut keys = 0_u32;
        for happening in story {
            let (outcome, sent) = match happening {
                Happening::Wait(seconds) => { now += seconds; continue }
                Happening::Killed => { seen.last = None; seen.clock = None; seen.wish = None; seen.recovery = None; continue }
                Happening::Asked => { seen.wish = Some(Wish::Fresh); seen.last = None; continue }
                Happening::Step(outcome, sent) => (outcome, sent),
            };
            let at = Time::from_unix(now);
            match decide(at.0, &seen, &POLICY).step {
                Step::Idle { until } => now = Time(until).unix().max(now + 1),
                Step::Quarantine(_) => seen.current = Current::Nothing,
                Step::Forget(_) => seen.request = None,
                Step::Prepare => {
                    prop_assert!(seen.request.is_none(), "a key is thrown away");
                    keys += 1;
                    let name = format!("node-csr-{keys}");
                    seen.request = Some(Request { name, ..request("node-a", &keys.to_be_bytes()) });
                }
                Step::CheckClock => seen.clock = Some(Clock::of(now, true, "x")),
                Step::TestRecovery => seen.recovery = Some(Tested { at, answered: true }),
                Step::Ask(identity) => {
                    let asked = seen.request.clone().expect("never without one");
                    // What says something of the request was sent; what does not, may have been.
                    if outcome.is_sent() || outcome == Outcome::Installed || sent {
                        open.insert(asked.name.clone(), keys);
                    }
                    prop_assert!(open.len() <= 1, "two open requests: {open:?}");
                    let last = attempt(now, outcome.clone(), identity, 1);
                    match &outcome {
                        Outcome::Installed => {
                            open.remove(&asked.name);
                            let leaf = CertView {
                                not_before: Time::from_unix(now - 300),
                                not_after: Time::from_unix(now + 72 * HOUR - 300),
                                public_key: asked.public_key,
                                serial: format!("{keys:08x}"),
                                ..super::tests::leaf("node-a")
                            };
                            seen.current = Current::Usable { leaf: Box::new(leaf), installed_at: at, anchor: Anchor::Bootstrap };
                            seen.wish = None;
                            // The request may stay on disk: the agent can be killed before it is dropped.
                            if sent { seen.request = None }
                        }
                        // Decided, issued or gone: no longer open.
                        Outcome::Denied(_) | Outcome::Failed(_) | Outcome::Deleted | Outcome::Unproved(_) | Outcome::NotYet(_) => {
                            open.remove(&asked.name);
                        }
                        _ => {}
                    }
                    if last.spends_the_key() {
                        seen.request = None;
                        open.remove(&asked.name);
                    }
                    seen.last = Some(last);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Nothing that a kubelet could use is ever taken from it: put aside is only what is of no use, and what is dropped is a request
    /// that can lead to nothing. The way to another certificate is through a proof (`proof.rs`) and over the one in force.
    #[test]
    fn never_takes_a_usable_certificate_away((now, seen) in anything()) {
        match decide(Time::from_unix(now).0, &seen, &POLICY).step {
            Step::Quarantine(_) => prop_assert!(matches!(seen.current, Current::Unusable(_))),
            Step::Forget(_) => {
                let dropped = seen.request.as_ref().expect("there is one to drop");
                let is_done = matches!(&seen.current, Current::Usable { leaf, .. } if leaf.public_key == dropped.public_key);
                let is_anothers = seen.node.as_ref().is_ok_and(|node| node.common_name() != dropped.common_name);
                prop_assert!(is_done || is_anothers, "a request that could lead to a certificate is dropped");
            }
            _ => {}
        }
    }
}
