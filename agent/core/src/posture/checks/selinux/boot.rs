//! Kernel arguments override `/etc/selinux/config`.

use super::{mode_promised, nothing_to_judge};
use crate::posture::boot::{self, Boot};
use crate::posture::{Grade, Judged, Seen, Unseen};

pub(super) fn this_boot(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let Some(promised) = mode_promised(seen) else { return Ok(nothing_to_judge()) };
    let boot = boot::this(seen)?;
    Ok(judge(promised, &[boot], "This boot was", "boot without it"))
}

pub(super) fn next_boot(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let Some(promised) = mode_promised(seen) else { return Ok(nothing_to_judge()) };
    let boots = boot::next(seen)?;
    Ok(judge(promised, &boots, "The next boot is", "take it out (rpm-ostree kargs, or the OEM grub.cfg)"))
}

fn judge(promised: &str, boots: &[Boot], which: &str, advice: &str) -> Judged {
    let overrides: Vec<(&Boot, String)> = boots
        .iter()
        .flat_map(|boot| overriding(promised, boot).into_iter().map(move |argument| (boot, argument)))
        .collect();
    let judged = match overrides.first() {
        Some((_, argument)) => Judged::fail(
            "overridden",
            format!("{which} told {argument}, which overrides what this host promises ({promised}): {advice}."),
        ),
        None => {
            Judged::pass(Grade::Configured, "not-overridden", format!("{which} not told anything against {promised}."))
        }
    };
    let judged = overrides.iter().fold(judged, |judged, (boot, argument)| judged.fact(&boot.source, argument));
    let relabelled = boots.iter().filter(|boot| boot.has("autorelabel"));
    relabelled.fold(judged, |judged, boot| judged.fact(&boot.source, "autorelabel"))
}

/// The arguments against the promise (`security/selinux/hooks.c`, `security/security.c`; the last of each counts).
fn overriding(promised: &str, boot: &Boot) -> Vec<String> {
    let mut overriding = Vec::new();
    let off = |value: &str| value.parse::<u64>() == Ok(0);
    if let Some(value) = boot.last("selinux").filter(|value| off(value)) {
        overriding.push(format!("selinux={value}"));
    }
    match boot.last("enforcing") {
        Some(value) if off(value) && promised == "enforcing" => overriding.push(format!("enforcing={value}")),
        _ => {}
    }
    // `lsm=` makes the kernel ignore `security=`.
    match (boot.last("lsm"), boot.last("security")) {
        (Some(list), _) if !list.split(',').any(|module| module == "selinux") => overriding.push(format!("lsm={list}")),
        (None, Some(module)) if module != "selinux" => overriding.push(format!("security={module}")),
        _ => {}
    }
    overriding
}
