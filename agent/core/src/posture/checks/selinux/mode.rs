//! The mode now, whether what says it is the kernel, and the mode that the configuration asks for.

use serde::{Deserialize, Serialize};

use super::{compare, mode_promised, nothing_to_judge};
use crate::os;
use crate::posture::read::selinux::BootConfig;
use crate::posture::{Grade, Judged, Seen, Source, Unseen};

/// The kernel's word for the mode now; world-readable, `1` or `0` without a line end.
pub const ENFORCE: Source = Source::text("file:/sys/fs/selinux/enforce");
/// The file systems that the kernel knows: `selinuxfs` is one as soon as SELinux is registered, mounted or not.
pub const FILESYSTEMS: Source = Source::text("file:/proc/filesystems");
/// The active security modules, separated by commas.
pub const LSM: Source = Source::text("file:/sys/kernel/security/lsm");
/// What boot is meant to do.
pub const CONFIG: Source = Source::text("file:/etc/selinux/config");
/// The file system under the opened [`ENFORCE`]: a [`SelinuxFs`].
pub const SELINUXFS: Source = Source::record("probe:selinuxfs");

/// What `fstatfs` says of the descriptor that [`ENFORCE`] is read from. Of the descriptor, not of the path: another file may lie over that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelinuxFs {
    /// `f_type`.
    pub magic: u32,
    /// Mounted read-only in the agent's namespace: to libselinux a sign that SELinux is off, to us only that.
    pub read_only: bool,
}

/// `SELINUX_MAGIC` (`include/uapi/linux/magic.h`).
const MAGIC: u32 = 0xf97c_ff8c;

fn knows_selinux(filesystems: &str) -> bool {
    filesystems.lines().any(|line| line.split_whitespace().last() == Some("selinuxfs"))
}

pub(super) fn now(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let item = seen.one(&ENFORCE)?;
    let filesystems = seen.one(&FILESYSTEMS)?;
    let registered = || -> Result<bool, Unseen> {
        let text = filesystems.text()?;
        // Every kernel has this one: without it the text is something else.
        if !text.lines().any(|line| line == "nodev\tproc") {
            return Err(filesystems.malformed("It does not list the kernel's file systems."));
        }
        Ok(knows_selinux(text))
    };
    let mode = match item.text() {
        Ok(text) => match text.trim() {
            "1" => "enforcing",
            "0" => "permissive",
            _ => return Err(item.malformed("The kernel writes 0 or 1 there.")),
        },
        // No selinuxfs here: SELinux is off, or it is only not mounted in this mount namespace.
        Err(Unseen::Missing { source_id }) => {
            if registered()? {
                return Err(Unseen::Malformed {
                    source_id,
                    why: "SELinux is registered, but selinuxfs is not mounted where the agent looks.".to_owned(),
                });
            }
            "disabled"
        }
        Err(unseen) => return Err(unseen),
    };
    if mode != "disabled" && !registered()? {
        return Err(item.malformed("The kernel does not know selinuxfs, so something else says the mode."));
    }
    Ok(compare(seen, mode, Grade::ProvedByBehaviour).fact("mode", mode))
}

pub(super) fn genuine(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    if mode_promised(seen).is_none() {
        return Ok(nothing_to_judge());
    }
    let fs: SelinuxFs = seen.record(&SELINUXFS)?;
    let modules = seen.one(&LSM)?;
    let listed: Vec<&str> = modules.text()?.trim().split(',').collect();
    // `capability` is always there; it cannot be left out of a kernel.
    if !listed.contains(&"capability") {
        return Err(modules.malformed("It does not list the kernel's security modules."));
    }
    let judged = if fs.magic != MAGIC {
        Judged::fail(
            "not-selinuxfs",
            "The file that says SELinux's mode is not on selinuxfs: something is mounted over it, so what it says is not the kernel's word. \
             Look at /proc/self/mountinfo.",
        )
    } else if !listed.contains(&"selinux") {
        Judged::fail(
            "not-active",
            "SELinux is not among the kernel's active security modules: boot without an `lsm=` or `security=` that leaves it out.",
        )
    } else {
        Judged::pass(Grade::ProvedByBehaviour, "genuine", "The mode is said by the kernel's own selinuxfs.")
    };
    Ok(judged
        .fact("magic", format!("{:#x}", fs.magic))
        .fact("read-only", fs.read_only.to_string())
        .fact("security-modules", listed.join(",")))
}

pub(super) fn config(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let item = seen.one(&CONFIG)?;
    let Some(config) = BootConfig::parse(item.text()?) else {
        return Err(
            item.malformed("It has no line SELINUX=enforcing, permissive or disabled, or none with SELINUXTYPE.")
        );
    };
    let policy = match seen.expect.os.id {
        id if id == os::FCOS.id => Some("targeted"),
        id if id == os::FLATCAR.id => Some("mcs"),
        _ => None,
    };
    let judged = match policy {
        Some(policy) if policy != config.policy && seen.expected() == Some(config.mode) => Judged::fail(
            "another-policy",
            format!(
                "The next boot loads the policy {:?} instead of the OS's own {policy:?}: set SELINUXTYPE back in /etc/selinux/config.",
                config.policy
            ),
        ),
        _ => compare(seen, config.mode, Grade::Configured),
    };
    let judged = judged.fact("SELINUX", config.mode).fact("SELINUXTYPE", config.policy);
    // Only the first counts, and whoever appended another thinks otherwise.
    Ok(if config.modes.len() > 1 { judged.fact("all-modes", config.modes.join(" ")) } else { judged })
}
