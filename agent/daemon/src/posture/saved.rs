//! What of the posture survives a restart: the history of its changes, and how far SELinux' changes are accounted for. A file that
//! cannot be read is never written over.

use std::io;
use std::path::{Path, PathBuf};

use eyewall_core::posture::history::History;
use eyewall_core::posture::selinux_watch::Watch;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::store::files;

/// What is saved is some hundred KiB at most.
const LARGEST: u64 = 4 * 1024 * 1024;

/// The file, if there is a place for it and what stands there may be replaced.
#[derive(Debug)]
pub struct Saved(Option<PathBuf>);

#[derive(Deserialize)]
struct Content {
    history: Box<RawValue>,
    watch: Option<Watch>,
}

#[derive(Serialize)]
struct ContentRef<'a> {
    history: &'a History,
    watch: Option<&'a Watch>,
}

impl Saved {
    /// Reads what was saved below `directory`. Nothing there is an empty history; what is damaged is put aside, and what cannot be read stays
    /// as it is: then nothing is saved in this run.
    pub fn open(directory: Option<&Path>) -> (Self, History, Option<Watch>) {
        let Some(file) = directory.map(|directory| directory.join("posture.json")) else {
            return (Self(None), History::default(), None);
        };
        let found = match files::read(&file, LARGEST) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return (Self(Some(file)), History::default(), None);
            }
            Err(error) => {
                tracing::warn!(
                    "{} cannot be read ({error}): the posture's history is not kept in this run",
                    file.display()
                );
                return (Self(None), History::default(), None);
            }
        };
        let read = serde_json::from_str::<Content>(found.text.expose()).map_err(|error| error.to_string());
        match read.and_then(|content| Ok((History::parse(content.history.get())?, content.watch))) {
            Ok((history, watch)) => (Self(Some(file)), history, watch),
            Err(error) => {
                let aside = file.with_extension("json.damaged");
                tracing::warn!("{} is damaged ({error}): it is put aside as {}", file.display(), aside.display());
                let kept = std::fs::rename(&file, &aside).is_ok();
                (Self(kept.then_some(file)), History::default(), None)
            }
        }
    }

    /// Saves; a fault is told, and the next change tries again.
    pub fn write(&self, history: &History, watch: Option<&Watch>) {
        let Some(file) = &self.0 else { return };
        let Ok(text) = serde_json::to_vec(&ContentRef { history, watch }) else { return };
        if let Err(fault) = files::write(file, &text, 0o600) {
            tracing::warn!("the history of the posture is not saved: {fault}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_cannot_be_read_is_written_over() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path();
        let file = directory.join("posture.json");
        let (saved, history, watch) = Saved::open(Some(directory));
        assert_eq!((history.changes().len(), watch), (0, None));
        saved.write(&history, None);
        let written = std::fs::read_to_string(&file).unwrap();
        assert_eq!(Saved::open(Some(directory)).1, history, "{written}");

        std::fs::write(&file, "{\"history\":").unwrap();
        let (saved, ..) = Saved::open(Some(directory));
        saved.write(&history, None);
        assert_eq!(std::fs::read_to_string(directory.join("posture.json.damaged")).unwrap(), "{\"history\":");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), written);

        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        let (saved, ..) = Saved::open(Some(directory));
        saved.write(&history, None);
        assert!(file.is_dir(), "it stays as it is");
        Saved::open(None).0.write(&history, None);
    }
}
