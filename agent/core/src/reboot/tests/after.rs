//! With a slot of an earlier boot.

use super::*;

#[test]
fn after_the_boot() {
    let rollback = || Policy { rollback: true, ..policy() };
    let good = || Some(ago(5 * MINUTE));
    let not_let_go = || holds(entry("before"));
    let newer = || Ok(Some(Pending { cause: Cause::Update(release("3")), since: ago(60) }));
    let again = || staged().pending;
    let bad = || vec![release("2")];
    let going = || holds(Entry { let_go: Some(ago(1)), ..entry("before") });
    check(vec![
        (
            "which release runs is not known",
            Seen { booted: Err(why("os-away")), ..rebooted() },
            policy(),
            "proving os-away idle held",
        ),
        (
            "not good yet",
            Seen { lacking: vec![why("kubelet-dead")], good_since: None, ..rebooted() },
            policy(),
            "gate health idle held",
        ),
        ("good for a minute", rebooted(), policy(), "gate gate idle held"),
        (
            "the Node is not known",
            Seen { node: Err(why("api-away")), good_since: good(), ..rebooted() },
            policy(),
            "gate api-away idle held",
        ),
        ("since when is not known", Seen { good_since: None, ..rebooted() }, policy(), "gate gate idle held"),
        ("good", Seen { good_since: good(), ..rebooted() }, policy(), "gate gate-passed uncordon held"),
        (
            "and uncordoned",
            Seen { good_since: good(), node: quiet().node, ..rebooted() },
            policy(),
            "gate gate-passed free held",
        ),
        (
            "an admin's cordon stays",
            Seen {
                good_since: good(),
                node: Ok(NodeSeen { unschedulable: true, cordoned_by_us: None, ready: true }),
                ..rebooted()
            },
            policy(),
            "gate gate-passed free held",
        ),
        (
            "switched off meanwhile",
            Seen { good_since: good(), node: quiet().node, ..rebooted() },
            Policy { coordinate: false, ..policy() },
            "gate gate-passed free released",
        ),
        (
            "a hold is no matter",
            Seen { good_since: good(), orders: hold(), ..rebooted() },
            policy(),
            "gate gate-passed uncordon held",
        ),
        ("never good", unhealthy(), policy(), "held-back health idle held"),
        ("on an operator's word", Seen { orders: free(), ..unhealthy() }, policy(), "undoing slot-released free held"),
        (
            "a third release, and good",
            Seen { booted: Ok(release("3")), good_since: good(), node: quiet().node, ..rebooted() },
            policy(),
            "gate gate-passed free held",
        ),
        (
            "down before it was let go",
            Seen { booted: Ok(release("1")), good_since: good(), slot: not_let_go(), node: quiet().node, ..rebooted() },
            policy(),
            "gate interrupted free held",
        ),
        ("never good, and back", unhealthy(), rollback(), "rolling-back rolling-back remember-bad held"),
        ("the slot says so", Seen { bad: bad(), ..unhealthy() }, rollback(), "rolling-back rolling-back amend held"),
        (
            "just when it came good",
            Seen { bad: bad(), slot: going(), lacking: Vec::new(), good_since: good(), ..unhealthy() },
            rollback(),
            "gate gate-passed idle held",
        ),
        (
            "remembered",
            Seen { bad: bad(), slot: going(), ..unhealthy() },
            rollback(),
            "rolling-back rolling-back rollback released",
        ),
        (
            "bad for a moment only",
            Seen { bad_since: Some(ago(60)), ..unhealthy() },
            rollback(),
            "held-back health idle held",
        ),
        (
            "it could not be looked at",
            Seen { bad_since: None, ..unhealthy() },
            rollback(),
            "held-back health idle held",
        ),
        ("young", Seen { booted_at: ago(19 * MINUTE), ..unhealthy() }, rollback(), "gate health idle held"),
        ("not against a hold", Seen { orders: hold(), ..unhealthy() }, rollback(), "held-back health idle held"),
        (
            "going back failed",
            Seen { given_up: given_up(60), bad: bad(), ..unhealthy() },
            rollback(),
            "held-back health idle held",
        ),
        (
            "and is tried again",
            Seen { given_up: given_up(16 * MINUTE), bad: bad(), slot: going(), ..unhealthy() },
            rollback(),
            "rolling-back rolling-back rollback released",
        ),
        (
            "no release was wanted",
            Seen { slot: holds(Entry { wanted: None, ..entry("before") }), ..unhealthy() },
            rollback(),
            "held-back health idle held",
        ),
        (
            "rolled back, uncordon",
            Seen { bad: bad(), ..fallen_back() },
            rollback(),
            "held-back rolled-back uncordon held",
        ),
        (
            "rolled back",
            Seen { bad: bad(), node: quiet().node, ..fallen_back() },
            rollback(),
            "held-back rolled-back idle held",
        ),
        (
            "and not good",
            Seen { bad: bad(), lacking: vec![why("x")], ..fallen_back() },
            rollback(),
            "held-back rolled-back idle held",
        ),
        (
            "rolled back from what came by another's reboot",
            Seen { bad: bad(), node: quiet().node, slot: not_let_go(), ..fallen_back() },
            rollback(),
            "held-back rolled-back idle held",
        ),
        (
            "it did not come up",
            Seen { node: quiet().node, ..fallen_back() },
            policy(),
            "held-back not-booted idle held",
        ),
        (
            "staged again",
            Seen { node: quiet().node, pending: again(), ..fallen_back() },
            policy(),
            "held-back not-booted idle held",
        ),
        (
            "another one is",
            Seen { node: quiet().node, pending: newer(), ..fallen_back() },
            policy(),
            "granted update-staged amend held",
        ),
        (
            "against a hold",
            Seen { node: quiet().node, pending: newer(), orders: hold(), ..fallen_back() },
            policy(),
            "held-back not-booted idle held",
        ),
        (
            "an operator's word",
            Seen { node: quiet().node, orders: free(), ..fallen_back() },
            policy(),
            "undoing slot-released free held",
        ),
        ("an old request", Seen { orders: request("before"), ..rebooted() }, policy(), "gate gate clear-served held"),
    ]);
}
