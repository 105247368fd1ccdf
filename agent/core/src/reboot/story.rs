//! Which events tell a change on the line.

use super::RebootState;
use crate::event::{self, Event};

/// The events of this change, oldest first; none where it is no news. `before` is none at the start of the agent: what a person must know of
/// then is told again, what goes well is not.
pub fn news(before: Option<(RebootState, &str)>, state: RebootState, kind: &str) -> Vec<&'static Event> {
    use RebootState as S;
    let was = before.map(|(state, _)| state);
    let same_kind = before.is_some_and(|(_, before)| before == kind);
    let after_boot = |state: Option<S>| matches!(state, Some(S::Proving | S::Gate | S::HeldBack | S::RollingBack));
    if was == Some(state) && (same_kind || !matches!(state, S::Waiting | S::HeldBack)) {
        return Vec::new();
    }
    match state {
        S::Waiting if matches!(was, None | Some(S::Off | S::Unknown | S::Idle)) => {
            vec![&event::REBOOT_WANTED, &event::REBOOT_WAITS]
        }
        S::Waiting if after_boot(was) => vec![&event::REBOOT_DONE, &event::REBOOT_WAITS],
        S::Waiting => vec![&event::REBOOT_WAITS],
        S::Granted | S::RenewingCertificate | S::Cordoning
            if !matches!(was, Some(S::Granted | S::RenewingCertificate | S::Cordoning)) =>
        {
            vec![&event::REBOOT_GRANTED]
        }
        S::Draining => vec![&event::REBOOT_DRAINING],
        S::LettingGo => vec![&event::REBOOT_LET_GO],
        S::Undoing => vec![&event::REBOOT_UNDONE],
        // A slot that an operator freed leaves a cordon behind, which is undone after the gate.
        S::Proving | S::Gate if !after_boot(was) && was != Some(S::Undoing) => vec![&event::REBOOT_PROVED],
        S::HeldBack => vec![&event::REBOOT_HELD_BACK],
        S::RollingBack => vec![&event::REBOOT_ROLLED_BACK],
        S::Idle if after_boot(was) => vec![&event::REBOOT_DONE],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_and_nothing_else() {
        use RebootState as S;
        for (name, before, state, kind, want) in [
            ("nothing to do at the start", None, S::Idle, "nothing-pending", vec![]),
            ("still nothing", Some((S::Idle, "a")), S::Idle, "b", vec![]),
            ("wanted", Some((S::Idle, "a")), S::Waiting, "window", vec!["reboot-wanted", "reboot-waits"]),
            ("waits for the same", Some((S::Waiting, "window")), S::Waiting, "window", vec![]),
            ("waits for something else", Some((S::Waiting, "window")), S::Waiting, "slot", vec!["reboot-waits"]),
            ("granted", Some((S::Waiting, "slot")), S::Granted, "granted", vec!["reboot-granted"]),
            ("one grant", Some((S::Granted, "x")), S::Cordoning, "x", vec![]),
            ("drains", Some((S::Cordoning, "x")), S::Draining, "draining", vec!["reboot-draining"]),
            ("another pod is gone", Some((S::Draining, "draining")), S::Draining, "draining", vec![]),
            ("let go", Some((S::Draining, "x")), S::LettingGo, "x", vec!["reboot-let-go"]),
            ("it goes", Some((S::LettingGo, "x")), S::Rebooting, "x", vec![]),
            ("given up", Some((S::Draining, "x")), S::Undoing, "x", vec!["reboot-undone"]),
            ("a new boot", None, S::Proving, "x", vec!["reboot-proved"]),
            ("freed, and still cordoned", Some((S::Undoing, "x")), S::Gate, "y", vec![]),
            ("the gate", Some((S::Proving, "x")), S::Gate, "x", vec![]),
            ("not good", Some((S::Gate, "x")), S::HeldBack, "posture-worse", vec!["reboot-held-back"]),
            ("back", Some((S::HeldBack, "x")), S::RollingBack, "x", vec!["reboot-rolled-back"]),
            (
                "over, and the next one waits",
                Some((S::HeldBack, "x")),
                S::Waiting,
                "window",
                vec!["reboot-done", "reboot-waits"],
            ),
            ("over", Some((S::Gate, "x")), S::Idle, "x", vec!["reboot-done"]),
        ] {
            let told: Vec<&str> = news(before, state, kind).into_iter().map(|event| event.name).collect();
            assert_eq!(told, want, "{name}");
        }
    }
}
