//! With a slot of this boot.

use super::*;

#[test]
fn with_a_slot() {
    let reboots = || Policy { on_drain_timeout: OnDrainTimeout::Reboot, ..policy() };
    let running = |age| Drain::Running { since: ago(age), left: left() };
    let failed = || Drain::Failed { at: ago(1), reason: why("drain-timeout"), left: left() };
    let at = |age| holds(Entry { let_go: Some(ago(age)), ..entry("now") });
    let old = || holds(Entry { since: ago(40 * MINUTE), ..entry("now") });
    let short = || Some(Time::from_unix(NOW + 3_600));
    let newer = || Ok(Some(Pending { cause: Cause::Update(release("3")), since: ago(60) }));
    let bare = || Ok(NodeSeen { unschedulable: true, cordoned_by_us: None, ready: true });
    check(vec![
        ("another release", Seen { pending: newer(), ..granted() }, policy(), "granted update-staged amend held"),
        (
            "too little of the certificate",
            Seen { certificate_until: short(), ..granted() },
            policy(),
            "renewing-certificate certificate-short renew held",
        ),
        (
            "and it cannot be renewed",
            Seen { certificate_until: short(), renewal_refused: given_up(1), ..granted() },
            policy(),
            "waiting certificate idle held",
        ),
        ("cordon", granted(), policy(), "cordoning update-staged cordon held"),
        ("an admin has", Seen { node: bare(), ..granted() }, policy(), "draining update-staged drain held"),
        ("drain", Seen { node: cordoned("now"), ..granted() }, policy(), "draining update-staged drain held"),
        ("it runs", Seen { drain: running(60), ..drained() }, policy(), "draining draining idle held"),
        ("it runs too long", Seen { drain: running(601), ..drained() }, policy(), "undoing drain-timeout give-up held"),
        ("it failed", Seen { drain: failed(), ..drained() }, policy(), "undoing drain-timeout give-up held"),
        (
            "it failed, and that is no matter",
            Seen { drain: failed(), ..drained() },
            reboots(),
            "letting-go update-staged amend held",
        ),
        (
            "it runs too long, and that is no matter",
            Seen { drain: running(601), ..drained() },
            reboots(),
            "letting-go update-staged amend held",
        ),
        (
            "somebody uncordons it",
            Seen { node: quiet().node, ..drained() },
            policy(),
            "cordoning update-staged cordon held",
        ),
        ("not good", Seen { lacking: vec![why("kubelet-dead")], ..drained() }, policy(), "waiting health idle held"),
        (
            "the Node is not known",
            Seen { node: Err(why("api-away")), ..drained() },
            policy(),
            "waiting api-away idle held",
        ),
        (
            "the OS is not known",
            Seen { pending: Err(why("os-away")), ..drained() },
            policy(),
            "waiting os-away idle held",
        ),
        (
            "for too long",
            Seen { pending: Err(why("os-away")), slot: old(), ..drained() },
            policy(),
            "undoing out-of-time give-up held",
        ),
        (
            "not good for too long",
            Seen { lacking: vec![why("kubelet-dead")], slot: old(), ..drained() },
            policy(),
            "undoing out-of-time give-up held",
        ),
        ("all is done, but too late", Seen { slot: old(), ..drained() }, policy(), "undoing out-of-time give-up held"),
        ("the slot says so", drained(), policy(), "letting-go update-staged amend held"),
        ("it said so long ago", Seen { slot: at(61), ..drained() }, policy(), "letting-go update-staged amend held"),
        ("go", Seen { slot: at(1), ..drained() }, policy(), "letting-go update-staged let-go released"),
        (
            "gone",
            Seen { slot: at(2), let_go: let_go(1, Ok(())), ..drained() },
            policy(),
            "rebooting let-go idle released",
        ),
        (
            "it was refused, or the answer was lost",
            Seen { slot: at(2), let_go: let_go(1, Err(why("blocked"))), ..drained() },
            policy(),
            "rebooting let-go-refused idle released",
        ),
        (
            "it did not come",
            Seen { slot: at(61), let_go: let_go(60, Ok(())), ..drained() },
            policy(),
            "undoing reboot-did-not-come give-up held",
        ),
        (
            "it was refused",
            Seen { slot: at(61), let_go: let_go(60, Err(why("blocked"))), ..drained() },
            policy(),
            "undoing let-go-refused give-up held",
        ),
        (
            "a reboot may still come",
            Seen { slot: at(61), given_up: given_up(1), ..drained() },
            policy(),
            "undoing drain-timeout idle held",
        ),
        (
            "the drain is undone",
            Seen { slot: at(121), given_up: given_up(1), ..drained() },
            policy(),
            "undoing drain-timeout stop-drain held",
        ),
        (
            "the cordon is undone",
            Seen { given_up: given_up(1), node: cordoned("now"), ..granted() },
            policy(),
            "undoing drain-timeout uncordon held",
        ),
        (
            "an admin's is not",
            Seen { given_up: given_up(1), node: bare(), ..granted() },
            policy(),
            "undoing drain-timeout free held",
        ),
        (
            "not before the Node is known",
            Seen { given_up: given_up(1), node: Err(why("api-away")), ..granted() },
            policy(),
            "undoing api-away idle held",
        ),
        (
            "the slot is given back",
            Seen { given_up: given_up(1), ..granted() },
            policy(),
            "undoing drain-timeout free held",
        ),
        (
            "not by one that is not good",
            Seen { given_up: given_up(1), lacking: vec![why("x")], ..granted() },
            policy(),
            "held-back health idle held",
        ),
        (
            "unless an operator says so",
            Seen { given_up: given_up(1), lacking: vec![why("x")], orders: free(), ..granted() },
            policy(),
            "undoing drain-timeout free held",
        ),
        ("a hold", Seen { orders: hold(), ..granted() }, policy(), "undoing hold free held"),
        ("withdrawn", Seen { pending: Ok(None), ..granted() }, policy(), "undoing withdrawn free held"),
        ("the window closed", granted(), with_window("Wed", "02:00"), "undoing window free held"),
        ("the window is about to", granted(), with_window("Tue", "05:05"), "cordoning update-staged cordon held"),
        ("switched off", granted(), Policy { coordinate: false, ..policy() }, "undoing off free released"),
        (
            "the clock was set back",
            Seen { slot: holds(Entry { since: Time::from_unix(NOW + 3_600), ..entry("now") }), ..granted() },
            policy(),
            "undoing out-of-time give-up held",
        ),
    ]);
}

#[test]
fn when_the_slot_is_out_of_sight() {
    let blind = |seen: Seen| Seen { slot: Slot::Unknown(why("api-away")), slot_unknown_since: Some(ago(60)), ..seen };
    let long = |seen: Seen| Seen { slot_unknown_since: Some(ago(31 * MINUTE)), ..blind(seen) };
    check(vec![
        ("drained", blind(drained()), policy(), "waiting api-away idle held"),
        ("for long", long(drained()), policy(), "undoing api-away give-up held"),
        (
            "given up",
            Seen { given_up: given_up(1), ..long(drained()) },
            policy(),
            "undoing drain-timeout stop-drain held",
        ),
        (
            "a hold",
            Seen { orders: hold(), drain: Drain::NotBegun, ..blind(drained()) },
            policy(),
            "undoing hold uncordon held",
        ),
        ("all undone but the slot", Seen { orders: hold(), ..blind(granted()) }, policy(), "waiting hold idle held"),
        ("switched off", blind(drained()), Policy { coordinate: false, ..policy() }, "undoing off stop-drain released"),
        (
            "the Node too",
            Seen { node: Err(why("api-away")), ..blind(drained()) },
            policy(),
            "waiting api-away idle held",
        ),
    ]);
}
