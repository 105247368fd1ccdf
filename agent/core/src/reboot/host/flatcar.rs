//! Flatcar's update_engine, and the file by which update coordinators know of each other.

use std::fmt::Write as _;

use crate::reboot::Release;

/// What `GetStatus` or `StatusUpdate` of `com.coreos.update1.Manager` tells of a pending reboot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// Nothing waits for a boot.
    None,
    /// The other slot boots next. The release is not known where update_engine was started again since it was written: it then has only a
    /// placeholder.
    Waits(Option<Release>),
}

/// `current_operation` and `new_version`, understood (update_engine: update_status_utils.cc).
pub fn update(operation: &str, new_version: &str) -> Update {
    if operation != "UPDATE_STATUS_UPDATED_NEED_REBOOT" {
        return Update::None;
    }
    let version: String = new_version.trim().chars().filter(|c| !c.is_control()).take(128).collect();
    // The zero version is what it says until Omaha gave a display version.
    let is_known = version.chars().any(|c| c.is_ascii_alphanumeric() && c != '0');
    Update::Waits(is_known.then_some(Release { version, checksum: None }))
}

/// STATE of `/run/update-engine/coordinator.conf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It does not coordinate (`reboot.coordinate = false`).
    Disabled,
    /// It waits for what comes.
    Running,
    /// A reboot is wanted and waits for its turn.
    RebootPlanned,
    /// The host goes down.
    Rebooting,
}

impl Phase {
    fn word(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Running => "running",
            Self::RebootPlanned => "reboot-planned",
            Self::Rebooting => "rebooting",
        }
    }
}

/// `/run/update-engine/coordinator.conf`: whoever holds an exclusive flock on it is the coordinator (locksmith, coordinatorconf). A shell
/// can source it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coordinator {
    /// NAME
    pub name: String,
    /// STATE
    pub state: String,
}

impl Coordinator {
    /// Ours.
    pub fn text(strategy: &str, phase: Phase) -> String {
        let mut text = String::new();
        // Words of ours, without anything that a shell reads.
        let strategy: String = strategy.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        let _ = writeln!(text, "NAME=eyewall\nSTRATEGY={strategy}\nSTATE={}", phase.word());
        text
    }

    /// Somebody's. What is not there is empty.
    pub fn read(text: &str) -> Self {
        let fields = crate::os::parse_release(text);
        let field = |name: &str| fields.get(name).map(|value| value.chars().take(64).collect()).unwrap_or_default();
        Self { name: field("NAME"), state: field("STATE") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_written_update_waits() {
        let version = |version: &str| Update::Waits(Some(Release { version: version.to_owned(), checksum: None }));
        for (name, operation, new_version, want) in [
            ("idle", "UPDATE_STATUS_IDLE", "0.0.0.0", Update::None),
            ("downloading", "UPDATE_STATUS_DOWNLOADING", "4459.2.1", Update::None),
            ("finalizing", "UPDATE_STATUS_FINALIZING", "4459.2.1", Update::None),
            ("written", "UPDATE_STATUS_UPDATED_NEED_REBOOT", "4459.2.1", version("4459.2.1")),
            (
                "written, and the engine started again",
                "UPDATE_STATUS_UPDATED_NEED_REBOOT",
                "0.0.0.0",
                Update::Waits(None),
            ),
            ("written, and nothing said", "UPDATE_STATUS_UPDATED_NEED_REBOOT", "", Update::Waits(None)),
            ("an unknown word", "unknown status", "4459.2.1", Update::None),
        ] {
            assert_eq!(update(operation, new_version), want, "{name}");
        }
    }

    #[test]
    fn the_coordinator_is_named() {
        let ours = Coordinator::text("slots", Phase::RebootPlanned);
        assert_eq!(ours, "NAME=eyewall\nSTRATEGY=slots\nSTATE=reboot-planned\n");
        for (name, text, want) in [
            ("ours", ours.as_str(), ("eyewall", "reboot-planned")),
            ("locksmith's", "NAME=\"locksmithd\"\nSTATE='running'\nSTRATEGY=reboot\n", ("locksmithd", "running")),
            ("empty", "", ("", "")),
        ] {
            let read = Coordinator::read(text);
            assert_eq!((read.name.as_str(), read.state.as_str()), want, "{name}");
        }
        assert_eq!(Coordinator::text("a\nb$(c)", Phase::Disabled), "NAME=eyewall\nSTRATEGY=abc\nSTATE=disabled\n");
    }
}
