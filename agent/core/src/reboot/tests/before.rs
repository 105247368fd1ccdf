//! Before a slot is held.

use super::*;

#[test]
fn before_a_slot() {
    let slot = |others: Vec<Holder>, limit, refused| Slot::Seen { mine: None, others, limit, refused };
    let other = || Holder { node: "node-b".to_owned(), entry: Some(entry("theirs")) };
    let off = || Policy { coordinate: false, ..policy() };
    let unknown = || Slot::Unknown(why("slots-unreachable"));
    let short = || Some(Time::from_unix(NOW + 3_600));
    check(vec![
        ("nothing", quiet(), policy(), "idle no-reboot-wanted idle held"),
        ("off", staged(), off(), "off off idle released"),
        ("nobody knows", Seen { pending: Err(why("os-away")), ..quiet() }, policy(), "unknown os-away idle held"),
        (
            "nobody knows of a slot",
            Seen { slot: unknown(), node: Err(why("api")), ..quiet() },
            policy(),
            "unknown slots-unreachable idle held",
        ),
        ("a bad release", Seen { bad: vec![release("2")], ..staged() }, policy(), "idle release-bad idle held"),
        ("it runs already", Seen { booted: Ok(release("2")), ..staged() }, policy(), "idle release-runs idle held"),
        ("a slot", staged(), policy(), "waiting update-staged take held"),
        ("a request", Seen { orders: request("now"), ..quiet() }, policy(), "waiting reboot-requested take held"),
        (
            "a request, and nobody knows",
            Seen { orders: request("now"), pending: Err(why("os-away")), ..quiet() },
            policy(),
            "waiting reboot-requested take held",
        ),
        (
            "an old request",
            Seen { orders: request("before"), ..quiet() },
            policy(),
            "idle no-reboot-wanted clear-served held",
        ),
        ("a hold", Seen { orders: hold(), ..staged() }, policy(), "waiting hold idle held"),
        ("no window", staged(), with_window("Wed", "02:00"), "waiting window idle held"),
        ("the window ends", staged(), with_window("Tue", "05:05"), "waiting window idle held"),
        ("in the window", staged(), with_window("Tue", "05:30"), "waiting update-staged take held"),
        ("given up", Seen { given_up: given_up(60), ..staged() }, policy(), "waiting given-up idle held"),
        (
            "given up long ago",
            Seen { given_up: given_up(19 * MINUTE), ..staged() },
            policy(),
            "waiting update-staged take held",
        ),
        ("not good", Seen { lacking: vec![why("kubelet-dead")], ..staged() }, policy(), "waiting health idle held"),
        (
            "the Node is not known",
            Seen { node: Err(why("api-away")), ..staged() },
            policy(),
            "waiting api-away idle held",
        ),
        ("no certificate", Seen { certificate_until: None, ..staged() }, policy(), "waiting certificate idle held"),
        (
            "one that is short is no reason to wait",
            Seen { certificate_until: short(), ..staged() },
            policy(),
            "waiting update-staged take held",
        ),
        (
            "unless there is no other",
            Seen { certificate_until: short(), renewal_refused: given_up(60), ..staged() },
            policy(),
            "waiting certificate idle held",
        ),
        (
            "the lock is not known",
            Seen { slot: unknown(), ..staged() },
            policy(),
            "waiting slots-unreachable idle held",
        ),
        ("none free", Seen { slot: slot(vec![other()], 1, None), ..staged() }, policy(), "waiting slot idle held"),
        (
            "one of two",
            Seen { slot: slot(vec![other()], 2, None), ..staged() },
            policy(),
            "waiting update-staged take held",
        ),
        ("no slots at all", Seen { slot: slot(vec![], 0, None), ..staged() }, policy(), "waiting slot idle held"),
        (
            "refused",
            Seen { slot: slot(vec![], 1, Some(why("lock-held"))), ..staged() },
            policy(),
            "waiting slot idle held",
        ),
        (
            "a step that failed",
            Seen { trouble: Some(why("forbidden")), ..staged() },
            policy(),
            "waiting forbidden take held",
        ),
        ("a drain that is left", Seen { drain: Drain::Done, ..staged() }, policy(), "undoing no-slot stop-drain held"),
        (
            "a cordon that is left",
            Seen { node: cordoned("now"), ..staged() },
            policy(),
            "undoing no-slot uncordon held",
        ),
        (
            "one of an earlier boot",
            Seen { node: cordoned("before"), good_since: Some(ago(60)), ..staged() },
            policy(),
            "gate gate idle held",
        ),
        ("and it is good", Seen { node: cordoned("before"), ..staged() }, policy(), "gate gate-passed uncordon held"),
        (
            "off, with a cordon that is left",
            Seen { node: cordoned("now"), ..staged() },
            off(),
            "undoing no-slot uncordon released",
        ),
        ("a word that is kept", Seen { orders: free(), ..staged() }, policy(), "idle slot-released clear-served held"),
        (
            "somebody shuts down",
            Seen { shutting_down: true, ..quiet() },
            policy(),
            "rebooting shutting-down idle released",
        ),
    ]);
}
