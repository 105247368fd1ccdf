//! Flatcar's update_engine: its status over D-Bus, and its configuration.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ReadFault;
use super::fault::bounded;
use crate::os::parse_release;

/// Shipped files are under 200 bytes.
pub const LARGEST: usize = 64 * 1024;

/// `com.coreos.update1.Manager.GetStatus`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EngineStatus {
    /// Seconds since 1970; 0 before the first check since it started.
    pub last_checked_time: i64,
    /// `UPDATE_STATUS_IDLE`, `UPDATE_STATUS_UPDATED_NEED_REBOOT`, ...
    pub current_operation: String,
    /// `0.0.0.0` before there was one.
    pub new_version: String,
}

impl EngineStatus {
    /// Every word that the engine has (`update_engine`, `UpdateStatusToString`).
    const OPERATIONS: [&str; 8] = [
        "IDLE",
        "CHECKING_FOR_UPDATE",
        "UPDATE_AVAILABLE",
        "DOWNLOADING",
        "VERIFYING",
        "FINALIZING",
        "UPDATED_NEED_REBOOT",
        "REPORTING_ERROR_EVENT",
    ];

    /// The operation without its prefix; `None` for a word that the engine does not have.
    pub fn operation(&self) -> Option<&'static str> {
        let given = self.current_operation.strip_prefix("UPDATE_STATUS_")?;
        Self::OPERATIONS.into_iter().find(|known| *known == given)
    }

    /// A new release waits for a reboot.
    pub fn needs_reboot(&self) -> bool {
        self.operation() == Some("UPDATED_NEED_REBOOT")
    }
}

/// `/etc/flatcar/update.conf` over `/usr/share/flatcar/update.conf`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpdateConf(BTreeMap<String, String>);

impl UpdateConf {
    /// Merges the OS's file and the host's own, if there is one.
    ///
    /// # Errors
    /// A fault of the OS's file; the host's own may be empty.
    pub fn merge(of_the_os: &str, own: Option<&str>) -> Result<Self, ReadFault> {
        let mut merged = BTreeMap::new();
        let first = parse_release(bounded(of_the_os, LARGEST)?);
        if !first.contains_key("GROUP") {
            return Err(ReadFault::Missing("GROUP"));
        }
        let own = own.filter(|own| !own.trim().is_empty()).map(|own| bounded(own, LARGEST)).transpose()?;
        for file in [Some(first), own.map(parse_release)].into_iter().flatten() {
            merged.extend(file.into_iter().map(|(name, value)| (name.to_owned(), value)));
        }
        Ok(Self(merged))
    }

    /// A setting; an empty one counts as none.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// Is every line of an `update.conf` an assignment, a comment or blank? Otherwise it is not such a file.
pub fn is_assignments(text: &str) -> bool {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).all(|line| {
        line.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_hosts_own_file_wins() {
        let os = "SERVER=https://public.update.flatcar-linux.net/v1/update/\nGROUP=stable\n";
        for (name, own, server, strategy) in [
            ("none", None, Some("https://public.update.flatcar-linux.net/v1/update/"), None),
            ("empty", Some("\n"), Some("https://public.update.flatcar-linux.net/v1/update/"), None),
            ("disabled", Some("SERVER=disabled\nREBOOT_STRATEGY=off\n"), Some("disabled"), Some("off")),
            ("blanked", Some("SERVER=\n"), None, None),
        ] {
            let conf = UpdateConf::merge(os, own).expect(name);
            assert_eq!(
                (conf.get("SERVER"), conf.get("REBOOT_STRATEGY"), conf.get("GROUP")),
                (server, strategy, Some("stable")),
                "{name}"
            );
        }
        assert!(UpdateConf::merge("", Some(os)).is_err());
        assert!(UpdateConf::merge("<html>", None).is_err());
    }

    #[test]
    fn operations_are_known_words() {
        for (word, known, reboot) in [
            ("UPDATE_STATUS_IDLE", true, false),
            ("UPDATE_STATUS_UPDATED_NEED_REBOOT", true, true),
            ("unknown status", false, false),
            ("UPDATE_STATUS_", false, false),
            ("IDLE", false, false),
        ] {
            let status =
                EngineStatus { last_checked_time: 0, current_operation: word.to_owned(), new_version: String::new() };
            assert_eq!((status.operation().is_some(), status.needs_reboot()), (known, reboot), "{word}");
        }
    }

    #[test]
    fn a_file_of_assignments_is_told_from_others() {
        for (text, want) in [
            ("A=b\n# c\n\n", true),
            ("", true),
            ("=\n", false),
            ("a b\n", false),
            ("<x y=\"z\">", false),
            ("A_1=", true),
        ] {
            assert_eq!(is_assignments(text), want, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_configuration_or_a_fault(text in "(?s).{0,200}") {
            let _ = (UpdateConf::merge(&text, Some(&text)), is_assignments(&text));
        }
    }
}
