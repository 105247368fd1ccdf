//! "Am I sandboxed?": the agent's own rights as the kernel and systemd have them, so that a drop-in that weakens them is seen.

use crate::posture::claim::OWN_SANDBOX;
use crate::posture::read::process::{Mounts, Rights, capabilities};
use crate::posture::read::sandbox::SandboxView;
use crate::posture::{Accepts, Check, Grade, Judged, Seen, Severity, Source, Unseen, Worth, needs, nothing_promised};

/// `/proc/<pid>/status` of the daemon.
pub const STATUS: Source = Source::text("proc:agent-status");
/// `/proc/<pid>/mountinfo` of the daemon.
pub const MOUNTS: Source = Source::text("proc:agent-mounts");
/// [`SandboxView`] of `eyewall.service`.
pub const UNIT: Source = Source::record("dbus:agent-unit");

/// The one capability that the shipped unit gives: reading what only root may.
const ALLOWED: u64 = 1 << 2;
/// What the daemon must not be able to write.
///
/// Not `/sys` itself: systemd 257 leaves it writable, and selinuxfs below it must be. The unit names what is in it.
const READ_ONLY: [&str; 7] = ["/", "/etc", "/usr", "/var", "/run", "/sys/kernel", "/sys/module"];
/// Where it must be able to, or it does not work.
const WRITABLE: [&str; 1] = ["/var/lib/eyewall"];

const BASE: Check = Check {
    id: "",
    title: "",
    claim: &OWN_SANDBOX,
    severity: Severity::Medium,
    reads: &[],
    judge: privileges,
    worth: Worth::Proves(""),
    not: "",
    cis: &[],
    expects: Accepts::Nothing,
    promised: nothing_promised,
};

/// The family.
pub const CHECKS: &[Check] = &[
    Check {
        id: "agent-privileges",
        title: "The agent has one capability, a system call filter, and can gain nothing",
        reads: &[needs(&STATUS)],
        worth: Worth::Proves("The kernel says so of the running daemon."),
        not: "That the capability it has is harmless: it reads every file of this host.",
        ..BASE
    },
    Check {
        id: "agent-mounts",
        title: "The agent cannot write to the host but where it must",
        reads: &[needs(&MOUNTS)],
        judge: mounts,
        worth: Worth::Proves(
            "The root, /etc, /usr, /var, /run and the kernel's settings are mounted read-only in the running daemon's own namespace.",
        ),
        not: "What it asks systemd to do: the D-Bus policy decides that.",
        ..BASE
    },
    Check {
        id: "agent-unit",
        title: "No drop-in weakens the agent's sandbox",
        reads: &[needs(&UNIT)],
        judge: unit,
        worth: Worth::Proves("systemd has every option of the shipped sandbox loaded."),
        not: "That the running daemon was started with them: see agent-privileges and agent-mounts.",
        ..BASE
    },
];

fn privileges(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let item = seen.one(&STATUS)?;
    let rights = Rights::parse(item.text()?).map_err(|fault| item.malformed(fault.sentence()))?;
    let mut weak: Vec<String> = Vec::new();
    for (set, what) in [(rights.effective, "has"), (rights.bounding, "may gain"), (rights.ambient, "passes on")] {
        let beyond = capabilities(set & !ALLOWED);
        if !beyond.is_empty() {
            weak.push(format!("{what} {}", beyond.join(", ")));
        }
    }
    if !rights.no_new_privileges {
        weak.push("NoNewPrivs is 0".to_owned());
    }
    if rights.seccomp != 2 {
        weak.push("no system call filter".to_owned());
    }
    Ok(if weak.is_empty() {
        Judged::pass(Grade::ProvedByBehaviour, "sandboxed", "The kernel gives the agent one capability and a system call filter, and lets it gain nothing.")
    } else {
        Judged::fail("more-rights", "The agent has more rights than its shipped unit gives it: was it started by hand, or does a drop-in weaken it? See agent-unit.")
    }
    .facts("weak", weak)
    .facts("capability", capabilities(rights.effective & ALLOWED)))
}

fn mounts(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let item = seen.one(&MOUNTS)?;
    let mounts = Mounts::parse(item.text()?).map_err(|fault| item.malformed(fault.sentence()))?;
    let read_only = |path: &str| mounts.holding(path).map(|mount| mount.read_only);
    if read_only("/").is_none() {
        return Err(item.malformed("It has no root."));
    }
    let open: Vec<&str> = READ_ONLY.into_iter().filter(|path| read_only(path) == Some(false)).collect();
    let shut: Vec<&str> = WRITABLE.into_iter().filter(|path| read_only(path) == Some(true)).collect();
    Ok(if !open.is_empty() {
        Judged::fail("writable", "The agent can write where it should not: was it started by hand, or does a drop-in weaken it? See agent-unit.").facts("writable", open)
    } else if !shut.is_empty() {
        Judged::fail(
            "state-read-only",
            "The agent cannot write its own state: StateDirectory=eyewall is missing from its unit.",
        )
        .facts("read-only", shut)
    } else {
        Judged::pass(
            Grade::ProvedByBehaviour,
            "read-only",
            "The host is read-only to the agent but where it must write.",
        )
    })
}

fn unit(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let view: SandboxView = seen.record(&UNIT)?;
    let mut weak: Vec<String> = Vec::new();
    // An option that this systemd does not have cannot be on; one that it has must be.
    weak.extend(
        view.switches.named().into_iter().filter(|(_, on)| *on == Some(false)).map(|(name, _)| format!("{name}=no")),
    );
    let mut word = |name: &str, value: &Option<String>, good: &[&str]| {
        if let Some(value) = value.as_deref().filter(|value| !good.contains(value)) {
            weak.push(format!("{name}={value}"));
        }
    };
    word("ProtectSystem", &view.protect_system, &["strict"]);
    word("ProtectHome", &view.protect_home, &["yes", "read-only", "tmpfs"]);
    for (name, set) in
        [("CapabilityBoundingSet", view.capability_bounding_set), ("AmbientCapabilities", view.ambient_capabilities)]
    {
        let beyond = capabilities(set.unwrap_or(0) & !ALLOWED);
        if !beyond.is_empty() {
            weak.push(format!("{name} has {}", beyond.join(" ")));
        }
    }
    if view.restrict_namespaces.is_some_and(|namespaces| namespaces != 0) {
        weak.push("RestrictNamespaces=no".to_owned());
    }
    if view.secure_bits.is_some_and(|bits| bits & 3 != 3) {
        weak.push("SecureBits lacks noroot or noroot-locked".to_owned());
    }
    let mut list = |name: &str, value: &Option<(bool, Vec<String>)>| {
        // An empty list of what is denied denies nothing.
        if value.as_ref().is_some_and(|(allows, names)| !allows && names.is_empty()) {
            weak.push(format!("{name} is not set"));
        }
    };
    list("SystemCallFilter", &view.system_call_filter);
    list("RestrictAddressFamilies", &view.restrict_address_families);
    let known = view.switches.named().into_iter().filter(|(_, on)| on.is_some()).count();
    if known == 0 || view.protect_system.is_none() || view.capability_bounding_set.is_none() {
        return Err(seen.one(&UNIT)?.malformed("It lacks options that every systemd has."));
    }
    let judged = if !weak.is_empty() {
        Judged::fail(
            "weakened",
            "The agent's sandbox is not as it was shipped: look at the drop-ins, and take out what weakens it.",
        )
    } else if view.need_daemon_reload {
        Judged::unknown(
            "reload-needed",
            "The unit's files were changed since systemd read them: run `systemctl daemon-reload`, and look again.",
        )
    } else {
        Judged::pass(Grade::Configured, "as-shipped", "systemd has the shipped sandbox loaded.")
    };
    Ok(judged.facts("weak", weak).fact("unit", &view.fragment_path).facts("drop-in", &view.drop_in_paths))
}
