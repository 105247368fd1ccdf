//! The own slot where nobody else can hold its entry: with one host alone, and with a FleetLock server, which keeps nothing but an id. One
//! small file, replaced as a whole.

use std::io;
use std::path::{Path, PathBuf};

use eyewall_core::reboot::Entry;
use eyewall_core::status::Reason;
use serde::{Deserialize, Serialize};

use crate::store::files;

/// Its name in the agent's state directory.
const NAME: &str = "reboot-slot.json";
/// Larger than any entry.
const LARGEST: u64 = 64 * 1024;

/// What is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The entry.
    pub entry: Entry,
    /// The slot was granted. False from before it is asked for until the answer: after a crash in between, nobody knows.
    pub granted: bool,
}

/// The file.
#[derive(Clone, Debug)]
pub struct Ledger(PathBuf);

impl Ledger {
    /// In the agent's state directory.
    pub fn below(state: &Path) -> Self {
        Self(state.join(NAME))
    }

    /// Reads it; none: no slot is held or asked for.
    ///
    /// # Errors
    /// It is there and cannot be read. That is not the same as none: whoever took it for none would reboot a second time.
    pub fn read(&self) -> Result<Option<Written>, Reason> {
        let content = match files::read(&self.0, LARGEST) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(Reason::new("ledger-unreadable", format!("{} cannot be read: {error}", self.0.display())));
            }
        };
        serde_json::from_str(content.text.expose()).map(Some).map_err(|error| {
            Reason::new(
                "ledger-unreadable",
                format!(
                    "{} is not what the agent writes ({error}), so it cannot be told whether this host has just rebooted; if it is good, \
                     remove the file",
                    self.0.display()
                ),
            )
        })
    }

    /// Writes it.
    ///
    /// # Errors
    /// Why not, from the disk.
    pub fn write(&self, written: &Written) -> Result<(), Reason> {
        let text = serde_json::to_vec(written)
            .map_err(|error| Reason::new("ledger-unwritable", format!("the entry cannot be written: {error}")))?;
        files::write(&self.0, &text, 0o600).map_err(|fault| fault.reason())
    }

    /// Removes it.
    ///
    /// # Errors
    /// Why not, from the disk.
    pub fn clear(&self) -> Result<(), Reason> {
        files::remove(&self.0).map_err(|fault| fault.reason())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::entry;
    use super::*;

    #[test]
    fn a_ledger_is_whole_or_not_believed() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::below(directory.path());
        assert_eq!(ledger.read(), Ok(None));
        let written = Written { entry: entry("b-1"), granted: true };
        ledger.write(&written).unwrap();
        assert_eq!(ledger.read(), Ok(Some(written)));
        ledger.clear().unwrap();
        ledger.clear().unwrap();
        assert_eq!(ledger.read(), Ok(None));
        for damage in ["", "{", "{\"granted\":true}", "[]"] {
            std::fs::write(directory.path().join(NAME), damage).unwrap();
            assert_eq!(ledger.read().unwrap_err().kind, "ledger-unreadable", "{damage}");
        }
        let nowhere = Ledger::below(&directory.path().join("none"));
        assert!(nowhere.write(&Written { entry: entry("b-1"), granted: true }).is_err());
    }
}
