//! What must hold whatever was seen.

use std::time::Duration;

use proptest::prelude::*;

use super::pair::Half;
use super::tests::{HOUR, OURS, POLICY, SELF_SIGNED, T0, attempt, clock, names, read, request, usable, usual};
use super::*;
use crate::hostname::node_name;
use crate::rotation::Outcome;

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Installed),
        Just(Outcome::Pending),
        Just(Outcome::NotSigned),
        Just(Outcome::Deleted),
        Just(Outcome::Denied(String::new())),
        Just(Outcome::Failed(String::new())),
        Just(Outcome::Unauthorized),
        Just(Outcome::Forbidden(String::new())),
        Just(Outcome::Invalid(String::new())),
        (0_u64..4_000).prop_map(|seconds| Outcome::Throttled(Duration::from_secs(seconds))),
        Just(Outcome::ServerError(String::new())),
        Just(Outcome::Unreachable(String::new())),
        Just(Outcome::Untrusted(String::new())),
        Just(Outcome::OutOfTime(String::new())),
        (0_u64..200).prop_map(|seconds| Outcome::NotYet(Time::from_unix(T0 + seconds))),
        Just(Outcome::Unproved(Reason::new("x", ""))),
        Just(Outcome::Disk(Reason::new("x", ""))),
    ]
}

fn reads() -> impl Strategy<Value = Found> {
    prop_oneof![
        4 => Just(Found::Addresses),
        1 => Just(Found::NoAddresses),
        1 => Just(Found::NoNode),
        1 => outcomes().prop_map(Found::Trouble),
    ]
}

fn addresses() -> impl Strategy<Value = Option<Names>> {
    prop_oneof![
        Just(None),
        Just(Some(usual())),
        Just(Some(names(&["node-a"]))),
        Just(Some(names(&["node-a", "10.0.0.2"]))),
    ]
}

fn currents() -> impl Strategy<Value = Current> {
    prop_oneof![
        2 => Just(Current::Nothing),
        1 => Just(Current::Unreadable(Reason::new("x", ""))),
        1 => Just(Current::Unusable(Reason::new("x", ""))),
        5 => (proptest::option::of(any::<bool>()), any::<bool>()).prop_map(|(chains, leads)| {
            let mut current = usable();
            if let Current::Usable { anchored, linked, .. } = &mut current {
                (*anchored, *linked) = (chains, leads);
            }
            current
        }),
    ]
}

fn pairs() -> impl Strategy<Value = Pair> {
    prop_oneof![
        Just(OURS),
        Just(SELF_SIGNED),
        Just(Pair { loads: false, ..OURS }),
        Just(Pair { certificate: Half::Ours, key: Half::Other, loads: true }),
        Just(Pair { certificate: Half::Absent, key: Half::Absent, loads: false }),
    ]
}

prop_compose! {
    fn anything()(
        now in T0 - 400 * 24 * HOUR..T0 + 400 * 24 * HOUR,
        (named, has_kubeconfig, has_client, stale) in (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()),
        (current, pair, addresses) in (currents(), pairs(), addresses()),
        node_read in proptest::option::of((reads(), 0_u64..2_000, 1_u32..40)),
        request_key in 0..4,
        clock_read in proptest::option::of((0_u64..2_000, any::<bool>())),
        last in proptest::option::of((outcomes(), 1_u32..40, 0_u64..8_000)),
    ) -> (u64, Seen) {
        let seen = Seen {
            node: node_name(None, if named { "node-a" } else { "localhost" }),
            bootstrap: if has_kubeconfig { Ok(Time::from_unix(T0 + 365 * 24 * HOUR)) } else { Err(Reason::new("none", "")) },
            client: if has_client { Ok(()) } else { Err(Reason::new("none", "")) },
            node_read: node_read.map(|(found, age, streak)| NodeRead { streak, ..read(now - age, found) }),
            addresses,
            current,
            pair,
            stale,
            request: match request_key {
                0 => None,
                1 => Some(request("node-a", usual(), b"new")),
                2 => Some(request("node-b", usual(), b"new")),
                _ => Some(request("node-a", usual(), b"key-in-force")),
            },
            clock: clock_read.map(|(age, trusted)| clock(now - age, trusted)),
            last: last.map(|(outcome, streak, age)| attempt(now - age, outcome, streak)),
        };
        (now, seen)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn what_always_holds((now, seen) in anything()) {
        let got = decide(Time::from_unix(now).0, &seen, &POLICY);
        let held = match &seen.current {
            Current::Usable { leaf, anchored, linked, .. } => Some((leaf, *anchored, *linked)),
            _ => None,
        };
        let alive = held.as_ref().is_some_and(|(leaf, ..)| leaf.cert.not_after.unix() > now);
        let can_ask = seen.node.is_ok() && seen.bootstrap.is_ok() && seen.client.is_ok();
        let trusted = seen.clock.as_ref().is_some_and(|clock| clock.trusted && now.abs_diff(clock.at.unix()) < 900);
        match &got.step {
            Step::Idle { until } => {
                prop_assert!(Time(*until).unix() <= now + LOOK_AGAIN.as_secs(), "a sleep too long");
                // Never idle where nothing is in the way and something is due.
                let in_order = can_ask && seen.last.is_none() && !matches!(seen.current, Current::Unreadable(_))
                    && trusted
                    && seen.addresses.as_ref().is_some_and(Names::are_complete) && now < T0 + 365 * 24 * HOUR;
                prop_assert!(!in_order || got.state == State::Valid, "idle though due");
            }
            Step::Ask => {
                let wanted = seen.addresses.as_ref();
                let request = seen.request.as_ref();
                prop_assert!(can_ask, "asked without a name, a server or a credential");
                prop_assert!(request.is_some_and(|request| Some(&request.names) == wanted), "asked for other names");
                prop_assert!(request.is_some_and(|request| request.common_name == "system:node:node-a"), "asked as another");
                prop_assert!(trusted, "asked by an untrusted clock");
                prop_assert!(request.is_some_and(|request| held.as_ref().is_none_or(|(leaf, ..)| leaf.cert.public_key != request.public_key)), "asked for what is there");
            }
            Step::Prepare => {
                prop_assert!(seen.request.is_none(), "a second key");
                prop_assert!(seen.addresses.as_ref().is_some_and(Names::are_complete), "a key for no addresses");
                prop_assert!(trusted, "a key by an untrusted clock");
            }
            Step::Withdraw(_) => prop_assert!(!seen.pair.loads || matches!(seen.current, Current::Unusable(_)), "a usable pair taken away"),
            Step::Link => prop_assert!(alive && held.as_ref().is_some_and(|(_, anchored, _)| *anchored != Some(false)), "linked to what is no good"),
            Step::Tidy => prop_assert!(alive && seen.pair.is_ours() && held.as_ref().is_some_and(|(_, _, linked)| *linked), "removed before the next is in force"),
            Step::ReadNode => prop_assert!(can_ask, "the Node read without a credential"),
            Step::Forget(_) => prop_assert!(seen.request.is_some()),
        }
        // A wait that was imposed is kept: no call before its end.
        if let Some(last) = &seen.last
            && let Outcome::Throttled(wait) = &last.outcome
            && Time::from_unix(now) < Time(last.at.0 + *wait)
        {
            prop_assert!(got.step != Step::Ask, "Retry-After not obeyed");
        }
        if let Some(NodeRead { at, found: Found::Trouble(Outcome::Throttled(wait)), .. }) = &seen.node_read
            && Time::from_unix(now) < Time(at.0 + *wait)
        {
            prop_assert!(got.step != Step::ReadNode, "Retry-After not obeyed in reading");
        }
        if got.state == State::Valid {
            prop_assert!(alive, "a dead certificate called valid");
        }
    }

    /// Whoever only looks never does anything.
    #[test]
    fn no_step_where_nothing_is_kept((now, seen) in anything(), kubelets in any::<bool>()) {
        let policy = Policy { keeper: if kubelets { Keeper::Kubelet } else { Keeper::Nobody }, ..POLICY };
        let got = decide(Time::from_unix(now).0, &seen, &policy);
        prop_assert!(matches!(got.step, Step::Idle { .. }), "{got:?}");
    }
}
