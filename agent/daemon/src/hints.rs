//! inotify as a hint to look again: never truth, never polled. One watcher for any number of paths.
//!
//! The *directory* of each path is watched, because files are replaced by rename; while it does not exist, the nearest
//! directory above that does, so that a path that comes later is seen. [`Hints::follow`] is called again at each look.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use eyewall_core::status::Reason;
use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// A watcher. Dropping it ends it.
#[derive(Debug)]
pub struct Hints {
    /// None where the system gives no inotify (limits used up): the slow look has to do.
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    names: Arc<std::sync::Mutex<BTreeSet<OsString>>>,
    wake: Arc<Notify>,
    /// Why something is not watched, if it is not.
    fault: Option<String>,
}

impl Hints {
    /// A watcher that wakes `wake`. Without inotify it watches nothing, and the reason is returned once.
    pub fn new(wake: Arc<Notify>) -> (Self, Option<String>) {
        let names = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
        let mut hints = Self { watcher: None, watched: BTreeSet::new(), names, wake, fault: None };
        hints.listen();
        let fault = hints.fault.clone();
        (hints, fault)
    }

    fn listen(&mut self) {
        let (wake, wanted) = (Arc::clone(&self.wake), Arc::clone(&self.names));
        let created = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| is_change(&event) && concerns(&event, &wanted)) {
                wake.notify_one();
            }
        });
        (self.watcher, self.fault) = match created {
            Ok(watcher) => (Some(watcher), None),
            Err(error) => (None, Some(error.to_string())),
        };
    }

    /// Why changes are not seen at once, if they are not: the system's watches are used up. Each [`Hints::follow`] tries again.
    pub fn limit(&self) -> Option<Reason> {
        self.fault.as_ref().map(|why| {
            Reason::new(
                "no-inotify",
                format!(
                    "The system has no inotify to give ({why}), so changed files are seen within a minute instead of at once. Raise \
                     fs.inotify.max_user_instances and fs.inotify.max_user_watches."
                ),
            )
        })
    }

    /// Watches for `paths` (`*` as the last part: every file of that directory), and for nothing that was watched before and is not among them.
    pub fn follow(&mut self, paths: &[&Path]) {
        if self.watcher.is_none() {
            self.listen();
        }
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        self.fault = None;
        let mut wanted = BTreeSet::new();
        let mut names = BTreeSet::new();
        for path in paths {
            for part in [Some(*path), path.parent()].into_iter().flatten() {
                if let Some(name) = part.file_name() {
                    names.insert(name.to_owned());
                }
            }
            if let Some(directory) = nearest(path) {
                wanted.insert(directory);
            }
        }
        for gone in self.watched.difference(&wanted) {
            // A directory that was removed has lost its watch already.
            let _ = watcher.unwatch(gone);
        }
        let mut watched = BTreeSet::new();
        for directory in wanted {
            if self.watched.contains(&directory) {
                watched.insert(directory);
                continue;
            }
            match watcher.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    watched.insert(directory);
                }
                // A directory that went this moment is no lack of the system's.
                Err(error) if directory.is_dir() => self.fault = Some(error.to_string()),
                Err(_) => {}
            }
        }
        self.watched = watched;
        match self.names.lock() {
            Ok(mut held) => *held = names,
            Err(poisoned) => *poisoned.into_inner() = names,
        }
    }
}

/// The nearest existing directory above `path`.
fn nearest(path: &Path) -> Option<PathBuf> {
    path.ancestors().skip(1).find(|above| above.is_dir()).map(Path::to_owned)
}

/// Reading a file is no change to it; we read these files ourselves.
fn is_change(event: &Event) -> bool {
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

/// A busy directory (`/etc`, while `/etc/kubernetes` is not there) must not wake us for its other files. A missing directory in
/// between has another name than those asked for, so any new directory counts.
fn concerns(event: &Event, names: &std::sync::Mutex<BTreeSet<OsString>>) -> bool {
    let Ok(names) = names.lock() else { return true };
    event.paths.is_empty()
        || event.paths.iter().any(|path| path.file_name().is_none_or(|name| names.contains(name)) || path.is_dir())
        || names.contains(OsStr::new("*"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn is_woken(wake: &Notify) -> bool {
        tokio::time::timeout(Duration::from_secs(5), wake.notified()).await.is_ok()
    }

    #[tokio::test]
    async fn sees_a_file_that_comes_changes_and_is_replaced() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("etc/kubernetes/kubeconfig");
        let wake = Arc::new(Notify::new());
        let (mut hints, fault) = Hints::new(Arc::clone(&wake));
        assert_eq!(fault, None);
        hints.follow(&[&file]);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        assert!(is_woken(&wake).await, "the directory came");
        hints.follow(&[&file]);
        std::fs::write(&file, "1").unwrap();
        assert!(is_woken(&wake).await, "the file came");
        tokio::time::sleep(Duration::from_millis(50)).await;
        while tokio::time::timeout(Duration::from_millis(20), wake.notified()).await.is_ok() {}
        let other = root.path().join("etc/kubernetes/.new");
        std::fs::write(&other, "2").unwrap();
        std::fs::rename(&other, &file).unwrap();
        assert!(is_woken(&wake).await, "the file was replaced");
    }

    #[tokio::test]
    async fn reading_and_other_files_do_not_wake() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("kubeconfig");
        std::fs::write(&file, "1").unwrap();
        let wake = Arc::new(Notify::new());
        let (mut hints, _) = Hints::new(Arc::clone(&wake));
        hints.follow(&[&file]);
        std::fs::read(&file).unwrap();
        std::fs::write(root.path().join("other"), "1").unwrap();
        let woken = tokio::time::timeout(Duration::from_millis(200), wake.notified()).await;
        assert!(woken.is_err());
    }
}
