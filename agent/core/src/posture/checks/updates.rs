//! "Container Linux auto-updates are enabled": enabled, and working, and coordinated. Enabled alone says little: an agent may crash at every
//! start, find no server, or stage what nobody ever boots.

mod fcos;
mod flatcar;
mod zincati;

pub use fcos::CHECKS as FCOS_CHECKS;
pub use flatcar::CHECKS as FLATCAR_CHECKS;
pub use zincati::CHECKS as ZINCATI_CHECKS;

use crate::os::Os;
use crate::posture::claim;
use crate::posture::read::inhibitor::{Inhibitor, Inhibitors};
use crate::posture::units::{self, Unit};
use crate::posture::{Accepts, Check, Grade, Judged, Seen, Severity, Source, Unseen, Worth, nothing_promised};

/// logind's locks, [`Inhibitors`].
pub const INHIBITORS: Source = Source::record("dbus:logind-inhibitors");

const ELSEWHERE: Accepts = Accepts::OneOf(&["eyewall", "elsewhere"]);

/// What the checks of this family have in common.
const BASE: Check = Check {
    id: "",
    title: "",
    claim: &claim::AUTO_UPDATES,
    severity: Severity::Medium,
    reads: &[],
    judge: |seen| Ok(other_os(seen)),
    worth: Worth::Proves(""),
    not: "",
    cis: &[],
    expects: Accepts::Nothing,
    promised: nothing_promised,
};

fn is(seen: &Seen<'_>, os: &Os) -> bool {
    seen.expect.os.id == os.id
}

fn other_os(seen: &Seen<'_>) -> Judged {
    Judged::not_applicable("another-os", format!("This is {}, which is updated in another way.", seen.expect.os.label))
}

/// Does the unit that updates the OS run, now and after the next boot?
fn update_unit(seen: &Seen<'_>, name: &'static str) -> Result<Judged, Unseen> {
    let units = units::loaded(seen)?;
    let Some(unit) = units.get(name) else {
        return Ok(Judged::fail(
            "not-loaded",
            format!(
                "systemd has no {name} loaded, so nothing updates this host: is it masked or disabled? Run `systemctl enable --now {name}`."
            ),
        ));
    };
    Ok(judge_unit(unit, name)
        .fact("active", &unit.active)
        .fact("unit-file", &unit.file_state)
        .fact("restarts", unit.restarts.to_string()))
}

fn judge_unit(unit: &Unit, name: &str) -> Judged {
    let failed = |kind, what: &str| {
        Judged::fail(kind, format!("{name} {what}, so nothing updates this host. See `systemctl status {name}`."))
    };
    match (unit.load.as_str(), unit.active.as_str(), unit.file_state.as_str()) {
        ("masked", ..) | (.., "masked" | "masked-runtime") => failed("masked", "is masked"),
        ("not-found", ..) => failed("not-loaded", "is not installed"),
        (_, "activating", _) if unit.sub == "auto-restart" => failed("crash-loop", "fails at every start"),
        (_, "failed", _) => failed("failed", "has failed"),
        (_, "active" | "reloading", "enabled" | "enabled-runtime" | "static" | "alias" | "indirect" | "generated") => {
            Judged::pass(Grade::ProvedByBehaviour, "runs", format!("{name} runs, and starts at boot."))
        }
        (_, "active" | "reloading", _) => {
            failed("disabled", "runs, but is not enabled: it does not start at the next boot")
        }
        _ => failed("not-running", "does not run"),
    }
}

/// Who sees to it that nodes reboot one by one: the agent, by its lock on this host.
fn our_lock(seen: &Seen<'_>) -> Result<Option<Inhibitor>, Unseen> {
    let locks: Inhibitors = seen.record(&INHIBITORS)?;
    Ok(locks.inhibitors.into_iter().find(|lock| lock.blocks_shutdown() && lock.is_ours()))
}

fn held(lock: &Inhibitor) -> Judged {
    Judged::pass(
        Grade::ProvedByBehaviour,
        "eyewall-holds-the-lock",
        "logind lists eyewall's block lock: this host reboots when the agent lets it, one node at a time.",
    )
    .fact("why", &lock.why)
}

fn declared_elsewhere(seen: &Seen<'_>) -> Option<Judged> {
    (seen.expected() == Some("elsewhere")).then(|| {
        Judged::pass(
            Grade::HoldsOnlyBecause(
                "configuration says that something in the cluster (kured, FLUO, an admin) reboots this node".to_owned(),
            ),
            "declared-elsewhere",
            "Eyewall does not coordinate the reboots of this host, and configuration says that something else does.",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_that_does_not_work_is_told_from_one_that_does() {
        let unit = |load: &str, active: &str, sub: &str, file: &str| -> Unit {
            serde_json::from_value(serde_json::json!({
                "name": "a.service", "load": load, "active": active, "sub": sub, "file_state": file,
            }))
            .expect("a unit")
        };
        for (load, active, sub, file, want) in [
            ("loaded", "active", "running", "enabled", "runs"),
            ("loaded", "active", "running", "disabled", "disabled"),
            ("loaded", "active", "running", "masked", "masked"),
            ("masked", "inactive", "dead", "masked", "masked"),
            ("loaded", "activating", "auto-restart", "enabled", "crash-loop"),
            ("loaded", "activating", "start", "enabled", "not-running"),
            ("loaded", "failed", "failed", "enabled", "failed"),
            ("loaded", "inactive", "dead", "enabled", "not-running"),
            ("not-found", "inactive", "dead", "", "not-loaded"),
            ("", "", "", "", "not-running"),
        ] {
            let judged = judge_unit(&unit(load, active, sub, file), "a.service");
            assert_eq!(judged.reason.kind, want, "{load} {active} {sub} {file}");
        }
    }
}
