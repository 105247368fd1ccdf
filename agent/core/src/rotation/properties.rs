//! What must hold whatever was seen.

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
