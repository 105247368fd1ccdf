//! With the glass broken.

use super::*;

#[test]
fn forced() {
    let with = |seen: Seen, age| Seen { orders: force(age), ..seen };
    let full = || Slot::Seen {
        mine: None,
        others: vec![Holder { node: "node-b".to_owned(), entry: None }],
        limit: 1,
        refused: None,
    };
    let closed = || with_window("Wed", "02:00");
    let running = || Drain::Running { since: ago(60), left: left() };
    let at = |age| holds(Entry { let_go: Some(ago(age)), wanted: None, ..entry("now") });
    let nothing = || quiet().node;
    let bad = || vec![why("kubelet-dead")];
    check(vec![
        ("a free slot is taken", with(quiet(), 1), closed(), "waiting forced take held"),
        ("none is waited for", Seen { slot: full(), ..with(quiet(), 1) }, closed(), "cordoning forced cordon held"),
        (
            "health is no matter",
            Seen { slot: full(), lacking: bad(), ..with(quiet(), 1) },
            closed(),
            "cordoning forced cordon held",
        ),
        (
            "nor a certificate",
            Seen { slot: full(), certificate_until: None, ..with(quiet(), 1) },
            closed(),
            "cordoning forced cordon held",
        ),
        ("the slot of an earlier boot", with(unhealthy(), 1), closed(), "granted forced amend held"),
        (
            "drain",
            Seen { slot: full(), node: cordoned("now"), ..with(quiet(), 1) },
            closed(),
            "draining forced drain held",
        ),
        (
            "it runs",
            Seen { slot: full(), node: cordoned("now"), drain: running(), ..with(quiet(), 60) },
            closed(),
            "draining forced idle held",
        ),
        (
            "until its deadline",
            Seen { slot: full(), node: cordoned("now"), drain: running(), ..with(quiet(), 600) },
            closed(),
            "letting-go forced let-go released",
        ),
        (
            "drained",
            Seen { slot: full(), node: cordoned("now"), drain: Drain::Done, ..with(quiet(), 60) },
            closed(),
            "letting-go forced let-go released",
        ),
        (
            "the slot says so first",
            Seen { slot: at(61), node: cordoned("now"), drain: Drain::Done, ..with(quiet(), 90) },
            closed(),
            "letting-go forced amend held",
        ),
        (
            "and go",
            Seen { slot: at(1), node: cordoned("now"), drain: Drain::Done, ..with(quiet(), 90) },
            closed(),
            "letting-go forced let-go released",
        ),
        (
            "nobody answers",
            Seen { slot: Slot::Unknown(why("api-away")), node: Err(why("api-away")), ..with(quiet(), 29) },
            closed(),
            "granted forced idle held",
        ),
        (
            "for long",
            Seen { slot: Slot::Unknown(why("api-away")), node: Err(why("api-away")), ..with(quiet(), 30) },
            closed(),
            "letting-go forced let-go released",
        ),
        ("gone", Seen { let_go: let_go(1, Ok(())), ..with(quiet(), 60) }, closed(), "rebooting let-go idle released"),
        (
            "it did not come",
            Seen { slot: full(), node: nothing(), given_up: given_up(1), ..with(quiet(), 700) },
            closed(),
            "waiting given-up idle held",
        ),
        (
            "the node is free meanwhile",
            Seen { slot: full(), node: cordoned("now"), given_up: given_up(1), ..with(quiet(), 700) },
            closed(),
            "undoing given-up uncordon held",
        ),
        (
            "and again",
            Seen { slot: full(), node: nothing(), given_up: given_up(121), ..with(quiet(), 700) },
            closed(),
            "letting-go forced let-go released",
        ),
    ]);
    // A hold and a force can both stand; the glass is broken.
    let both = orders(|orders| (orders.hold, orders.force) = (hold().hold, force(1).force));
    check(vec![(
        "against a hold",
        Seen { orders: both, slot: full(), ..quiet() },
        policy(),
        "cordoning forced cordon held",
    )]);
}
