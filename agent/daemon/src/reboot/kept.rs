//! What of the reboots must survive a restart and is in no other place: what operators said, the releases that were bad here, and which checks
//! failed before the reboot. A file that cannot be read is a hold: nobody knows any more what was ordered.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use eyewall_core::reboot::{Hold, Orders, Release};
use eyewall_core::status::Reason;
use eyewall_core::time::Time;
use serde::{Deserialize, Serialize};

use crate::store::files;

/// What is kept is some KiB.
const LARGEST: u64 = 256 * 1024;
/// Releases that are remembered as bad; of older ones nobody will stage one again.
const BAD_MOST: usize = 16;

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// What operators said.
    #[serde(default)]
    pub orders: Orders,
    /// Releases that never got healthy here, the newest last.
    #[serde(default)]
    pub bad: Vec<Release>,
    /// The checks that failed when the slot was taken; none while no slot is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_before: Option<BTreeSet<String>>,
}

impl Content {
    /// This host may hold a slot, or have freed one with its node still cordoned: noted before a slot is taken, forgotten when it is given back.
    pub fn may_hold_slot(&self) -> bool {
        self.failed_before.is_some() || self.orders.free.is_some()
    }
}

/// The file and its content as it is on disk.
#[derive(Debug)]
pub struct Kept {
    file: Option<PathBuf>,
    content: Content,
}

impl Kept {
    /// Reads `reboot.json` below `directory`; without one everything is kept in memory only.
    pub fn open(directory: Option<&Path>, now: Time) -> Self {
        let Some(file) = directory.map(|directory| directory.join("reboot.json")) else {
            return Self { file: None, content: Content::default() };
        };
        let held = |why: String| {
            tracing::error!("{why}");
            let hold = Hold { why, since: now, uid: 0 };
            Content { orders: Orders { hold: Some(hold), ..Orders::default() }, ..Content::default() }
        };
        match files::read(&file, LARGEST) {
            Ok(found) => match serde_json::from_str(found.text.expose()) {
                Ok(content) => Self { file: Some(file), content },
                Err(error) => {
                    let aside = file.with_extension("json.damaged");
                    let put = std::fs::rename(&file, &aside).is_ok();
                    let why = format!(
                        "{} is damaged ({error}){}: what was ordered is not known; look, then `eyewall release`",
                        file.display(),
                        if put { format!(" and put aside as {}", aside.display()) } else { String::new() }
                    );
                    Self { content: held(why), file: put.then_some(file) }
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Self { file: Some(file), content: Content::default() }
            }
            Err(error) => {
                let why = format!("{} cannot be read ({error}): what was ordered is not known", file.display());
                Self { file: None, content: held(why) }
            }
        }
    }

    /// What is kept.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Keeps a change: on disk first, then here.
    ///
    /// # Errors
    /// Why it is not on disk; then it is not in force either.
    pub fn change(&mut self, change: impl FnOnce(&mut Content)) -> Result<(), Reason> {
        let mut next = self.content.clone();
        change(&mut next);
        let surplus = next.bad.len().saturating_sub(BAD_MOST);
        next.bad.drain(..surplus);
        if next == self.content {
            return Ok(());
        }
        if let Some(file) = &self.file {
            let text = serde_json::to_vec(&next).map_err(|error| Reason::new("not-serializable", error.to_string()))?;
            files::write(file, &text, 0o600).map_err(|fault| fault.reason())?;
        }
        self.content = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(version: usize) -> Release {
        Release { version: version.to_string(), checksum: None }
    }

    #[test]
    fn what_is_kept_is_there_after_a_restart_and_what_is_lost_is_a_hold() {
        let root = tempfile::tempdir().unwrap();
        let directory = Some(root.path());
        let file = root.path().join("reboot.json");
        let now = Time::from_unix(1_000);
        let mut kept = Kept::open(directory, now);
        assert_eq!(kept.content(), &Content::default());
        kept.change(|content| content.bad.extend((0..20).map(release))).unwrap();
        kept.change(|content| content.orders.hold = Some(Hold { why: "x".to_owned(), since: now, uid: 7 })).unwrap();
        let again = Kept::open(directory, now);
        assert_eq!(again.content(), kept.content());
        assert_eq!((again.content().bad.len(), &again.content().bad[0]), (BAD_MOST, &release(4)));

        std::fs::write(&file, "{").unwrap();
        let damaged = Kept::open(directory, now);
        assert!(damaged.content().orders.hold.as_ref().unwrap().why.contains("is damaged"), "{damaged:?}");
        assert_eq!(std::fs::read_to_string(root.path().join("reboot.json.damaged")).unwrap(), "{");

        std::fs::create_dir(&file).unwrap();
        let mut unreadable = Kept::open(directory, now);
        assert!(unreadable.content().orders.hold.is_some());
        unreadable.change(|content| content.orders.hold = None).unwrap();
        assert!(file.is_dir(), "it stays as it is");

        let gone = root.path().join("not-there");
        let mut kept = Kept::open(Some(&gone), now);
        assert!(kept.change(|content| content.bad.push(release(1))).is_err());
        assert_eq!(kept.content(), &Content::default(), "what is not on disk is not in force");
        assert!(Kept::open(None, now).change(|content| content.bad.push(release(1))).is_ok());
    }
}
