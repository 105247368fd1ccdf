//! Whether files are as they were when they were last read, by what stat(2) says of them.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

/// Two changes within one tick of the kernel's clock (10 ms at most) have one time stamp, so a file that was read right after a
/// change may be changed again and look the same. What was read so much later and looked the same then is beyond that.
const SETTLED: Duration = Duration::from_secs(1);

/// What a file is known by. The change time cannot be set from outside, and a file that replaces another has its own number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    number: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Files, and how they were.
#[derive(Debug)]
pub struct Unchanged {
    paths: Vec<PathBuf>,
    /// `None` for a file that is not there; no list at all if one cannot be looked at.
    were: Option<Vec<Option<Identity>>>,
    since: Instant,
    is_settled: bool,
}

impl Unchanged {
    /// How `paths` are now, just after they were read. `before` is how they were at the reading before.
    pub fn of(paths: Vec<PathBuf>, before: Option<Self>) -> Self {
        let were = identities(&paths);
        let now = Instant::now();
        match before {
            Some(before) if before.paths == paths && before.were == were => {
                Self { is_settled: now.saturating_duration_since(before.since) >= SETTLED, ..before }
            }
            _ => Self { paths, were, since: now, is_settled: false },
        }
    }

    /// Is every one of them still what was read?
    pub fn still_is(&self) -> bool {
        self.is_settled && self.were.is_some() && identities(&self.paths) == self.were
    }
}

fn identities(paths: &[PathBuf]) -> Option<Vec<Option<Identity>>> {
    paths.iter().map(|path| identity(path).ok()).collect()
}

fn identity(path: &Path) -> io::Result<Option<Identity>> {
    match std::fs::metadata(path) {
        Ok(meta) => Ok(Some(Identity {
            device: meta.dev(),
            number: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    type Change = fn(&Path);

    #[expect(
        clippy::disallowed_methods,
        reason = "the kernel's clock moves in ticks and is not paused with the test's"
    )]
    fn let_the_kernels_clock_tick() {
        std::thread::sleep(Duration::from_millis(20));
    }

    #[tokio::test(start_paused = true)]
    async fn every_change_is_seen() {
        let cases: &[(&str, Change, bool)] = &[
            ("nothing", |_| {}, true),
            ("read", |root| drop(fs::read(root.join("a"))), true),
            ("another file beside them", |root| fs::write(root.join("c"), "1").unwrap(), true),
            ("written with the same length", |root| fs::write(root.join("a"), "2").unwrap(), false),
            ("longer", |root| fs::write(root.join("a"), "12").unwrap(), false),
            ("removed", |root| fs::remove_file(root.join("a")).unwrap(), false),
            ("one that was missing came", |root| fs::write(root.join("b"), "1").unwrap(), false),
            (
                "replaced, with its time stamp kept",
                |root| {
                    let kept = fs::metadata(root.join("a")).unwrap().modified().unwrap();
                    fs::write(root.join("a.new"), "2").unwrap();
                    fs::File::options().write(true).open(root.join("a.new")).unwrap().set_modified(kept).unwrap();
                    fs::rename(root.join("a.new"), root.join("a")).unwrap();
                },
                false,
            ),
            (
                "a link that leads elsewhere",
                |root| {
                    fs::remove_file(root.join("link")).unwrap();
                    symlink(root.join("other"), root.join("link")).unwrap();
                },
                false,
            ),
        ];
        for (name, change, want) in cases {
            let root = tempfile::tempdir().unwrap();
            let root = root.path();
            for file in ["a", "target", "other"] {
                fs::write(root.join(file), "1").unwrap();
            }
            symlink(root.join("target"), root.join("link")).unwrap();
            let paths: Vec<PathBuf> = ["a", "b", "link"].map(|file| root.join(file)).into();
            let first = Unchanged::of(paths.clone(), None);
            assert!(!first.still_is(), "{name}: it was read this moment");
            let soon = Unchanged::of(paths.clone(), Some(first));
            assert!(!soon.still_is(), "{name}: it was read a moment ago");
            tokio::time::advance(SETTLED).await;
            let settled = Unchanged::of(paths, Some(soon));
            let_the_kernels_clock_tick();
            change(root);
            assert_eq!(settled.still_is(), *want, "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_looked_at_is_never_unchanged() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "1").unwrap();
        let paths = vec![root.path().join("file/below")];
        let first = Unchanged::of(paths.clone(), None);
        tokio::time::advance(SETTLED).await;
        assert!(!Unchanged::of(paths, Some(first)).still_is());
    }
}
