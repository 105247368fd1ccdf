//! What systemd has loaded, as the daemon tells it: services and sockets with the command lines they *have*, drop-ins and generators included.

use serde::{Deserialize, Serialize};

use super::{Seen, Source, Unseen};
use crate::time::Time;

/// Every loaded service and socket unit: a [`Units`].
pub const UNITS: Source = Source::record("dbus:units");

/// [`UNITS`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Units {
    /// By name, `.service` and `.socket` only.
    pub units: Vec<Unit>,
}

/// One unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unit {
    /// `sshd.service`
    pub name: String,
    /// `LoadState`: `loaded`, `not-found`, `masked`, ...
    pub load: String,
    /// `ActiveState`: `active`, `activating`, `inactive`, `failed`, ...
    pub active: String,
    /// `SubState`: `running`, `listening`, `exited`, ...
    pub sub: String,
    /// `UnitFileState`: `enabled`, `static`, `masked`, ...; empty for one without a file.
    pub file_state: String,
    /// `ActiveEnterTimestamp`; `None` if it was never active in this boot.
    #[serde(default)]
    pub active_since: Option<Time>,
    /// `NRestarts`; 0 for what is no service.
    #[serde(default)]
    pub restarts: u32,
    /// `FragmentPath`, empty for one that was made at run time without a file.
    #[serde(default)]
    pub fragment: String,
    /// `DropInPaths`.
    #[serde(default)]
    pub drop_ins: Vec<String>,
    /// The command lines of `ExecStart`, as far as [`keep_command`] keeps them.
    #[serde(default)]
    pub commands: Vec<Vec<String>>,
    /// The names (never the values) of what `Environment` sets, and `NAME=value` for those in [`KEPT_ENVIRONMENT`].
    #[serde(default)]
    pub environment: Vec<String>,
    /// Of a socket: `Listen`, as `Stream 0.0.0.0:22`.
    #[serde(default)]
    pub listens: Vec<String>,
}

/// Whose values are kept of a unit's environment.
pub const KEPT_ENVIRONMENT: &[&str] = &["SYSTEMD_SULOGIN_FORCE", "KUBELET_IMAGE", "ETCD_IMAGE"];

/// Programs whose arguments are read by a check. Others may have a secret among theirs.
const KEPT_ARGUMENTS: &[&str] =
    &["agetty", "getty", "login", "sulogin", "systemd-sulogin-shell", "sshd", "dropbear", "tailscaled"];

/// What may be kept of a command line: the program, and the arguments of those programs whose arguments a check reads.
pub fn keep_command(argv: &[String]) -> Vec<String> {
    const MOST: usize = 64;
    let Some((program, rest)) = argv.split_first() else { return Vec::new() };
    let kept = KEPT_ARGUMENTS.contains(&base_name(program));
    let mut command = vec![program.clone()];
    command.extend(rest.iter().take(if kept { MOST } else { 0 }).cloned());
    command
}

/// What may be kept of one `NAME=value` of a unit's environment.
pub fn keep_environment(assignment: &str) -> String {
    match assignment.split_once('=') {
        Some((name, _)) if !KEPT_ENVIRONMENT.contains(&name) => name.to_owned(),
        _ => assignment.to_owned(),
    }
}

/// The last part of a path.
pub fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

impl Unit {
    /// Running, listening, or about to.
    pub fn is_up(&self) -> bool {
        matches!(self.active.as_str(), "active" | "activating" | "reloading")
    }

    /// Will it come up by itself at the next boot?
    pub fn is_enabled(&self) -> bool {
        matches!(self.file_state.as_str(), "enabled" | "enabled-runtime")
    }

    /// Does one of its command lines run a program of this name, however it is reached?
    pub fn runs(&self, program: &str) -> bool {
        self.commands.iter().flatten().take(2).any(|word| base_name(word) == program)
    }
}

/// Every loaded unit. A list without the journal's own service is not that of a whole host.
///
/// # Errors
/// Why it cannot be seen.
pub fn loaded(seen: &Seen<'_>) -> Result<Units, Unseen> {
    let item = seen.one(&UNITS)?;
    let units: Units = item.record()?;
    match units.get("systemd-journald.service") {
        Some(_) => Ok(units),
        None => Err(item.malformed("It is not the list of all loaded units: systemd-journald.service is not in it.")),
    }
}

impl Units {
    /// The unit of this name.
    pub fn get(&self, name: &str) -> Option<&Unit> {
        self.units.iter().find(|unit| unit.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_strangers_are_not_kept() {
        for (argv, want) in [
            (
                &["/usr/sbin/sshd", "-D", "-o", "PasswordAuthentication=yes"][..],
                "/usr/sbin/sshd -D -o PasswordAuthentication=yes",
            ),
            (&["/sbin/agetty", "--autologin", "core", "-"][..], "/sbin/agetty --autologin core -"),
            (&["/opt/agent", "--token", "hunter2"][..], "/opt/agent"),
            (&[][..], ""),
        ] {
            let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(keep_command(&argv).join(" "), want);
        }
        assert_eq!(keep_environment("TOKEN=hunter2"), "TOKEN");
        assert_eq!(keep_environment("SYSTEMD_SULOGIN_FORCE=1"), "SYSTEMD_SULOGIN_FORCE=1");
        assert_eq!(keep_environment("odd"), "odd");
    }
}
