//! What is slow to make is made once, outside the tree: `$EYEWALL_CACHE`, or `~/.cache/eyewall`.
//!
//! An entry is named after a hash of everything that went into it, appears whole or not at all, and is locked while it is
//! in use, so that two runs at once neither build it twice nor remove it under each other. Older entries of the same
//! kind go when a new one comes: each is some 700 MB.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::Progress;

/// How long another run may take to build what this one waits for.
const BUILD_DEADLINE: Duration = Duration::from_secs(20 * 60);

/// The directory with all entries.
#[derive(Clone, Debug)]
pub struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// The cache in this directory, which is made. What runs that were killed left behind is removed.
    ///
    /// # Errors
    /// When the directory cannot be made or read.
    pub fn at(directory: &Path) -> Result<Self> {
        let work = directory.join("work");
        std::fs::create_dir_all(&work).with_context(|| format!("{} cannot be made", work.display()))?;
        for leftover in std::fs::read_dir(&work)? {
            let path = leftover?.path();
            // A run that lives holds the lock. One that has just made its directory and not yet its lock file is spared too.
            let lock = File::open(path.join("lock")).ok();
            if lock.is_some_and(|file| Flock::lock(file, FlockArg::LockExclusiveNonblock).is_ok()) {
                remove(&path)?;
            }
        }
        Ok(Self { directory: directory.to_owned() })
    }

    /// The cache where the environment says: `EYEWALL_CACHE`, `XDG_CACHE_HOME`, `HOME`, in this order.
    ///
    /// # Errors
    /// When none of them is set, or the directory cannot be made.
    pub fn of_environment() -> Result<Self> {
        let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let directory = of("EYEWALL_CACHE")
            .or_else(|| of("XDG_CACHE_HOME").map(|cache| cache.join("eyewall")))
            .or_else(|| of("HOME").map(|home| home.join(".cache/eyewall")))
            .context(
                "set EYEWALL_CACHE to a directory with 4 GB of room: there is no HOME to keep the host's image in",
            )?;
        Self::at(&std::path::absolute(directory)?)
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A directory of this run alone, on the same file system as the entries (so that copies can share their blocks). It
    /// is removed when the value is dropped, or by the next run if this one is killed.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn work_directory(&self) -> Result<WorkDirectory> {
        let directory = tempfile::Builder::new().prefix("run-").tempdir_in(self.directory.join("work"))?;
        let file = File::create(directory.path().join("lock"))?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| anyhow::Error::from(errno).context("the lock of a new directory"))?;
        Ok(WorkDirectory { directory, _lock: lock })
    }

    /// The entry of this kind and key; `build` makes it in the (existing, empty) directory that it is given.
    ///
    /// # Errors
    /// What `build` says, or a cache that cannot be written to.
    pub async fn entry<B>(&self, kind: &str, key: Key, progress: &Progress, build: B) -> Result<Entry>
    where
        B: AsyncFnOnce(&Path) -> Result<()>,
    {
        let name = format!("{kind}-{}", key.finish());
        let path = self.directory.join(&name);
        let lock_path = self.directory.join(format!("{name}.lock"));
        let lock = lock_entry(&lock_path, &path, progress).await?;
        if !path.exists() {
            let work = self.work_directory()?;
            let new = work.path().join("entry");
            std::fs::create_dir(&new)?;
            build(&new).await?;
            std::fs::rename(&new, &path).with_context(|| format!("{} cannot be put in place", path.display()))?;
            self.forget_others(kind, &name)?;
            // From exclusive to shared, for as long as the entry is used.
            lock.relock(FlockArg::LockSharedNonblock).context("the cache's lock")?;
        }
        Ok(Entry { path, _lock: lock })
    }

    fn forget_others(&self, kind: &str, keep: &str) -> Result<()> {
        for other in std::fs::read_dir(&self.directory)? {
            let name = other?.file_name().to_string_lossy().into_owned();
            let Some(entry) = name.strip_suffix(".lock") else { continue };
            if entry == keep || !entry.starts_with(&format!("{kind}-")) {
                continue;
            }
            let Ok(file) = File::open(self.directory.join(&name)) else { continue };
            // Another run uses it: it stays, and goes another time.
            let Ok(_lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { continue };
            let path = self.directory.join(entry);
            // The lock file stays: it is empty, and someone may just have opened it.
            if path.exists() {
                remove(&path)?;
            }
        }
        Ok(())
    }
}

/// Shared for an entry that is there, exclusive for one that is to be built.
async fn lock_entry(lock: &Path, entry: &Path, progress: &Progress) -> Result<Flock<File>> {
    let mut file = File::create(lock).with_context(|| format!("{} cannot be made", lock.display()))?;
    let started = Instant::now();
    let mut said = false;
    loop {
        let there = entry.exists();
        let how = if there { FlockArg::LockSharedNonblock } else { FlockArg::LockExclusiveNonblock };
        file = match Flock::lock(file, how) {
            // It may have been removed between the look and the lock.
            Ok(lock) if there && !entry.exists() => lock.unlock().map_err(|(_, errno)| errno)?,
            Ok(lock) => return Ok(lock),
            Err((file, _)) => file,
        };
        if !said {
            progress.say("another run is at work on the same image; waiting for it");
            said = true;
        }
        if started.elapsed() > BUILD_DEADLINE {
            bail!("{} has been held for {} s", lock.display(), BUILD_DEADLINE.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

fn remove(path: &Path) -> Result<()> {
    std::fs::remove_dir_all(path).with_context(|| format!("{} cannot be removed", path.display()))
}

/// An entry, which stays as long as this value lives.
#[derive(Debug)]
pub struct Entry {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Entry {
    /// Its directory. It is shared: read it, never write to it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A directory of one run.
#[derive(Debug)]
pub struct WorkDirectory {
    directory: tempfile::TempDir,
    _lock: Flock<File>,
}

impl WorkDirectory {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// A hash of everything that goes into an entry.
#[derive(Clone, Debug)]
pub struct Key(Sha256);

impl Key {
    /// The key of nothing yet. Count `version` up when the way an entry is built changes and its inputs do not show it.
    #[must_use]
    pub fn new(version: u32) -> Self {
        Self(Sha256::new()).with("version", version.to_le_bytes())
    }

    /// One more input. Name and length are hashed too, so that no two lists of inputs run into the same bytes.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        for part in [name.as_bytes(), value.as_ref()] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
        self
    }

    pub(crate) fn finish(self) -> String {
        self.0.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn build(cache: &Cache, key: Key, text: &str, built: &mut u32) -> Result<Entry> {
        let count = &mut *built;
        cache
            .entry("thing", key, &Progress::start(), async |path: &Path| {
                *count += 1;
                Ok(std::fs::write(path.join("text"), text)?)
            })
            .await
    }

    #[tokio::test]
    async fn an_entry_is_built_once_and_the_old_one_goes() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path()).unwrap();
        let mut built = 0;
        let first = build(&cache, Key::new(1).with("a", "1"), "first", &mut built).await.unwrap();
        let again = build(&cache, Key::new(1).with("a", "1"), "again", &mut built).await.unwrap();
        drop(again);
        assert_eq!(std::fs::read_to_string(first.path().join("text")).unwrap(), "first");
        let old = first.path().to_owned();
        let second = build(&cache, Key::new(1).with("a", "2"), "second", &mut built).await.unwrap();
        assert!(old.exists(), "an entry in use was removed");
        drop((first, second));
        build(&cache, Key::new(1).with("a", "3"), "third", &mut built).await.unwrap();
        assert!(!old.exists(), "an old entry stayed");
        assert_eq!(built, 3);
    }

    #[tokio::test]
    async fn half_an_entry_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path()).unwrap();
        let failed = cache.entry("thing", Key::new(1), &Progress::start(), async |_| bail!("no")).await;
        assert_eq!(failed.unwrap_err().to_string(), "no");
        let mut built = 0;
        build(&cache, Key::new(1), "whole", &mut built).await.unwrap();
        assert_eq!(built, 1);
    }

    #[test]
    fn what_a_killed_run_left_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path()).unwrap();
        let living = cache.work_directory().unwrap();
        let killed = directory.path().join("work/run-killed");
        std::fs::create_dir(&killed).unwrap();
        std::fs::write(killed.join("lock"), "").unwrap();
        Cache::at(directory.path()).unwrap();
        assert!(living.path().exists(), "a living run's directory was removed");
        assert!(!killed.exists(), "a killed run's directory stayed");
    }

    #[test]
    fn keys_differ() {
        let plain = Key::new(1).with("ab", "c").finish();
        for (name, other) in [
            ("split", Key::new(1).with("a", "bc")),
            ("version", Key::new(2).with("ab", "c")),
            ("more", Key::new(1).with("ab", "c").with("", "")),
        ] {
            assert_ne!(plain, other.finish(), "{name}");
        }
        assert_eq!(plain, Key::new(1).with("ab", "c").finish());
    }
}
