//! inotify as a hint to look again: never truth, never polled. One watcher for any number of paths.
//!
//! The *directory* of each path is watched, because files are replaced by rename; while it does not exist, the nearest
//! directory above that does, so that a path that comes later is seen. [`Hints::follow`] is called again at each look.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use eyewall_core::status::Reason;
use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{Event, EventKindMask, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// A watcher. Dropping it ends it.
#[derive(Debug)]
pub struct Hints {
    /// None where the system gives no inotify (limits used up): the slow look has to do.
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    wanted: Arc<std::sync::Mutex<BTreeSet<PathBuf>>>,
    wake: Arc<Notify>,
    has_grown: bool,
    /// Why something is not watched, if it is not.
    fault: Option<String>,
}

impl Hints {
    /// A watcher that wakes `wake`. Without inotify it watches nothing, and the reason is returned once.
    pub fn new(wake: Arc<Notify>) -> (Self, Option<String>) {
        let wanted = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
        let mut hints = Self { watcher: None, watched: BTreeSet::new(), wanted, wake, has_grown: false, fault: None };
        hints.listen();
        let fault = hints.fault.clone();
        (hints, fault)
    }

    fn listen(&mut self) {
        let (wake, wanted) = (Arc::clone(&self.wake), Arc::clone(&self.wanted));
        let tell = move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| is_change(&event) && concerns(&event, &wanted)) {
                wake.notify_one();
            }
        };
        // Without opens: every program that starts opens files of /etc, and none of that is a change.
        let kinds = EventKindMask::CORE | EventKindMask::ACCESS_CLOSE;
        let created = RecommendedWatcher::new(tell, notify::Config::default().with_event_kinds(kinds));
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

    /// Did the last [`Hints::follow`] begin to watch a directory? What came into that a moment before was told by nobody, so whoever looked
    /// before it looks again.
    pub fn has_grown(&self) -> bool {
        self.has_grown
    }

    /// Watches for `paths` (`*` as the last part: every file of that directory), and for nothing that was watched before and is not among
    /// them.
    pub fn follow(&mut self, paths: &[&Path]) {
        self.has_grown = false;
        if self.watcher.is_none() {
            self.listen();
        }
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        self.fault = None;
        let asked = paths.iter().map(|path| (*path).to_owned()).collect();
        match self.wanted.lock() {
            Ok(mut held) => *held = asked,
            Err(poisoned) => *poisoned.into_inner() = asked,
        }
        let wanted: BTreeSet<PathBuf> = paths.iter().filter_map(|path| nearest(path)).collect();
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
                    self.has_grown = true;
                }
                // A directory that went this moment is no lack of the system's.
                Err(error) if directory.is_dir() => self.fault = Some(error.to_string()),
                Err(_) => {}
            }
        }
        self.watched = watched;
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

/// A busy directory (`/etc`, or somebody's home for the keys in it) must not wake us for its other files.
fn concerns(event: &Event, wanted: &std::sync::Mutex<BTreeSet<PathBuf>>) -> bool {
    let Ok(wanted) = wanted.lock() else { return true };
    event.paths.is_empty() || event.paths.iter().any(|path| wanted.iter().any(|wanted| leads_to(path, wanted)))
}

/// Is it what is wanted, or a directory above it that came or went?
fn leads_to(path: &Path, wanted: &Path) -> bool {
    let any = wanted.file_name() == Some(OsStr::new("*"));
    wanted.starts_with(path) || (any && path.parent() == wanted.parent())
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
        std::fs::create_dir(root.path().join("directory")).unwrap();
        let woken = tokio::time::timeout(Duration::from_millis(200), wake.notified()).await;
        assert!(woken.is_err());
    }

    /// The posture wants every file of some directories; that must not make every file of all the others news.
    #[test]
    fn any_file_of_one_directory_is_not_any_file() {
        let wanted = ["/root/.ssh/authorized_keys.d/*", "/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d/*"];
        let is_wanted = |path: &str| wanted.iter().any(|wanted| leads_to(Path::new(path), Path::new(wanted)));
        for (path, want) in [
            ("/root/.ssh/authorized_keys.d/other", true),
            ("/root/.ssh/authorized_keys.d", true),
            ("/root/.ssh", true),
            ("/root/.bash_history", false),
            ("/root/directory", false),
            ("/root/.ssh/known_hosts", false),
            ("/root/.ssh/authorized_keys.d/deep/er", false),
            ("/etc/ssh/sshd_config", true),
            ("/etc/ssh/sshd_config.d/00-test.conf", true),
            ("/etc/ssh/moduli", false),
            ("/etc/passwd-", false),
        ] {
            assert_eq!(is_wanted(path), want, "{path}");
        }
    }

    #[test]
    fn what_is_watched_from_now_on_is_told() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("deep/file");
        let (mut hints, _) = Hints::new(Arc::new(Notify::new()));
        let mut grows = || {
            hints.follow(&[&file]);
            hints.has_grown()
        };
        assert_eq!((grows(), grows()), (true, false));
        std::fs::create_dir(root.path().join("deep")).unwrap();
        assert_eq!((grows(), grows()), (true, false));
    }
}
