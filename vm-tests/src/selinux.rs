//! SELinux of the guest: our small policy module, the labels of the tree, and what was denied.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use crate::program::run;

/// What Fedora's container policy grants and Debian's does not.
pub const MODULE: &str = include_str!("../selinux/eyewall-vm.cil");

/// Fedora's systemd-tmpfiles may make any directory that tmpfiles.d names; Debian's only with this boolean of its policy.
const BOOLEAN: &str = "systemd_tmpfiles_manage_all";

const FILE_CONTEXTS: &str = "/etc/selinux/default/contexts/files/file_contexts";

/// Adds [`MODULE`] to the tree's policy and compiles it, with the tree's own tools.
///
/// # Errors
/// When the module does not fit the policy.
pub(crate) async fn install_module(tree: &Path) -> Result<()> {
    let inside = "/var/tmp/eyewall-vm.cil";
    let outside = tree.join(inside.trim_start_matches('/'));
    std::fs::write(&outside, MODULE)?;
    let mut semodule = Command::new("chroot");
    semodule.arg(tree).args(["semodule", "--noreload", "--install", inside]);
    run(&mut semodule, Duration::from_secs(300)).await.context("the module eyewall-vm.cil")?;
    let mut setsebool = Command::new("chroot");
    setsebool.arg(tree).args(["setsebool", "-N", "-P", BOOLEAN, "on"]);
    run(&mut setsebool, Duration::from_secs(300)).await.with_context(|| format!("the boolean {BOOLEAN}"))?;
    Ok(std::fs::remove_file(outside)?)
}

/// Labels every file of the tree as its policy says, with the tree's own `setfiles`.
///
/// # Errors
/// When the file system under the tree keeps no labels.
pub(crate) async fn label(tree: &Path) -> Result<()> {
    let mut setfiles = Command::new("chroot");
    setfiles.arg(tree).args(["setfiles", "-F", FILE_CONTEXTS, "/"]);
    run(&mut setfiles, Duration::from_secs(300)).await?;
    let mut show = Command::new("chroot");
    show.arg(tree).args(["stat", "--format=%C", "/usr/bin/podman"]);
    let label = String::from_utf8(run(&mut show, Duration::from_secs(60)).await?)?;
    ensure!(
        label.contains("podman_exec_t"),
        "{} keeps no SELinux labels ({}): set EYEWALL_CACHE to a directory on ext4, xfs or btrfs, and run as the real root",
        tree.display(),
        label.trim()
    );
    Ok(())
}

/// Something that the policy of the guest refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denial {
    /// The type of who wanted it: `init_t`.
    pub source: String,
    /// The type of what it was wanted from.
    pub target: String,
    /// Its path or name, as far as the kernel knows it.
    pub object: String,
    /// What kind of thing that is: `file`.
    pub class: String,
    /// What was wanted: `read open`.
    pub permissions: String,
    /// The program, as far as the kernel knows its name.
    pub program: String,
}

impl std::fmt::Display for Denial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { source, target, object, class, permissions, program } = self;
        write!(f, "{source} ({program}) wanted {{ {permissions} }} of {target} ({class} {object})")
    }
}

/// A denial that says nothing about eyewall or a container: Debian's own policy against Debian's own programs.
struct Tolerated {
    source: &'static str,
    target: &'static str,
    class: &'static str,
    why: &'static str,
}

/// All of them, by name. None has a type of eyewall's, of a container engine's or of a container's.
const TOLERATED: &[Tolerated] = &[
    Tolerated {
        source: "kmod_t",
        target: "var_lib_t",
        class: "dir",
        why: "modprobe, which dockerd runs for its bridge, looks below /var/lib; it loads the modules all the same",
    },
    Tolerated {
        source: "syslogd_t",
        target: "tmpfs_t",
        class: "dir",
        why: "journald looks for credentials, of which it has none",
    },
    Tolerated {
        source: "systemd_networkd_t",
        target: "cgroup_t",
        class: "dir",
        why: "networkd looks for its own control group, for its memory pressure",
    },
    Tolerated {
        source: "systemd_networkd_t",
        target: "fixed_disk_device_t",
        class: "blk_file",
        why: "networkd asks whether its root file system is encrypted",
    },
    Tolerated {
        source: "systemd_networkd_t",
        target: "mount_runtime_t",
        class: "dir",
        why: "networkd asks whether its state directory is on the network",
    },
    Tolerated {
        source: "systemd_tmpfiles_t",
        target: "bin_t",
        class: "lnk_file",
        why: "tmpfiles looks at /etc/profile.d/70-systemd-shell-extra.sh, which is there already",
    },
];

/// What was denied since the boot, each once.
#[derive(Clone, Debug, Default)]
pub struct Denials {
    /// What must not be.
    pub unexpected: Vec<Denial>,
    /// What is known, and why it does no harm.
    pub tolerated: Vec<(Denial, &'static str)>,
}

impl Denials {
    /// What the journal's text says.
    #[must_use]
    pub fn in_journal(journal: &str) -> Self {
        let mut found: Vec<Denial> = journal.lines().filter_map(denial).collect();
        found.sort();
        found.dedup();
        let mut denials = Self::default();
        for denial in found {
            match TOLERATED.iter().find(|known| known.fits(&denial)) {
                Some(known) => denials.tolerated.push((denial, known.why)),
                None => denials.unexpected.push(denial),
            }
        }
        denials
    }
}

impl Tolerated {
    fn fits(&self, denial: &Denial) -> bool {
        (self.source, self.target, self.class) == (&denial.source, &denial.target, &denial.class)
    }
}

fn denial(line: &str) -> Option<Denial> {
    let (_, rest) = line.split_once("avc:  denied  {")?;
    let (permissions, rest) = rest.split_once('}')?;
    let value = |name: &str| {
        let (_, value) = rest.split_once(&format!("{name}="))?;
        Some(value.split_whitespace().next()?.trim_matches('"').to_owned())
    };
    // user:role:type:level
    let type_of = |name: &str| Some(value(name)?.split(':').nth(2)?.to_owned());
    Some(Denial {
        source: type_of("scontext")?,
        target: type_of("tcontext")?,
        object: value("path").or_else(|| value("name")).unwrap_or_default(),
        class: value("tclass")?,
        permissions: permissions.trim().to_owned(),
        program: value("comm").unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denials_are_read() {
        let podman = "kernel: audit: type=1400 audit(1795519479.994:15): avc:  denied  { read write } for  pid=860 \
                      comm=\"podman\" name=\"db.sql\" dev=\"nvme0n1\" ino=13385 scontext=system_u:system_r:podman_t:s0 \
                      tcontext=unconfined_u:object_r:var_lib_t:s0 tclass=file permissive=0";
        let journald = "audit: type=1400 audit(1795519363.590:4): avc:  denied  { search } for  pid=185 comm=\"systemd-journal\" \
                        name=\"/\" dev=\"tmpfs\" ino=1 scontext=system_u:system_r:syslogd_t:s0 \
                        tcontext=system_u:object_r:tmpfs_t:s0 tclass=dir permissive=0";
        let want = Denial {
            source: "podman_t".to_owned(),
            target: "var_lib_t".to_owned(),
            object: "db.sql".to_owned(),
            class: "file".to_owned(),
            permissions: "read write".to_owned(),
            program: "podman".to_owned(),
        };
        let denials = Denials::in_journal(&format!("{podman}\n{journald}\nsomething else\n{podman}\n"));
        assert_eq!(denials.unexpected, [want]);
        assert_eq!(denials.tolerated.len(), 1, "{denials:?}");
    }

    #[test]
    fn nothing_of_ours_is_tolerated() {
        for known in TOLERATED {
            for of_type in [known.source, known.target] {
                for ours in ["initrc_t", "podman", "docker", "container", "spc_t", "kubelet", "kubernetes"] {
                    assert!(!of_type.starts_with(ours), "{of_type}: {}", known.why);
                }
            }
        }
    }

    #[test]
    fn no_domain_is_permissive() {
        assert!(!MODULE.contains("(typepermissive"), "{MODULE}");
    }
}
