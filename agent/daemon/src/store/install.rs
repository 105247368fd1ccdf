//! Installing a proved certificate, putting a bad one aside, pruning, and sweeping away what a crash left.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use eyewall_core::proof::Proven;
use eyewall_core::secret::Secret;

use super::disk::Disk;
use super::files::{Kind, StoreFault, is_temporary};
use super::{CURRENT, LARGEST, Store, joined};

const PREFIX: &str = "kubelet-client-";
const SUFFIX: &str = ".pem";
const ASIDE: &str = ".quarantined";
/// Files put aside that are kept; each may hold a key, and one tells as much as ten.
const KEEP_ASIDE: usize = 2;

impl<D: Disk> Store<D> {
    /// Makes a proved certificate the one in force: written, synced, read back, and only then linked.
    /// Returns the file behind the link.
    ///
    /// # Errors
    /// [`StoreFault`]; whatever was in force before still is.
    pub fn install(&self, proven: &Proven, chain: &str, key: &Secret, now: SystemTime) -> Result<PathBuf, StoreFault> {
        self.ensure_directory()?;
        let pem = joined(&[chain, if chain.ends_with('\n') { "" } else { "\n" }, key.expose()]);
        let file = self.directory.join(self.dated_name(PREFIX, now, &proven.leaf().serial));
        self.files().write(&file, pem.expose().as_bytes(), 0o600)?;
        // Absolute, as the kubelet's: it refuses to rotate a link it does not know.
        let target = self.disk.canonical(&file).map_err(|error| StoreFault::new(Kind::Read, &file, error))?;
        self.files().link(&target, &self.current())?;
        Ok(target)
    }

    /// The kubelet's time stamp; two within one second, where it collides, get the serial behind it.
    pub(super) fn dated_name(&self, prefix: &str, now: SystemTime, serial: &str) -> String {
        let seconds = i64::try_from(eyewall_core::time::Time(now).unix()).unwrap_or(0);
        let stamp = jiff::Timestamp::from_second(seconds)
            .map_or_else(|_| seconds.to_string(), |stamp| stamp.strftime("%Y-%m-%d-%H-%M-%S").to_string());
        let name = format!("{prefix}{stamp}{SUFFIX}");
        if self.disk.stat(&self.directory.join(&name)).is_ok() {
            format!("{prefix}{stamp}-{}{SUFFIX}", serial.get(..8).unwrap_or(serial))
        } else {
            name
        }
    }

    /// Puts the PEM in force aside. In its place comes the newest older one that `usable` accepts, or the empty placeholder;
    /// the link's path is never empty-handed. Returns where the bad file is now, and what stands in its place if anything does.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn quarantine(
        &self,
        now: SystemTime,
        usable: impl Fn(&str) -> bool,
    ) -> Result<(PathBuf, Option<PathBuf>), StoreFault> {
        let current = self.current();
        let fault = |error| StoreFault::new(Kind::Write, &current, error);
        let linked = match self.disk.read_link(&current) {
            Ok(target) => Some(self.directory.join(target)),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => None,
            Err(error) => return Err(fault(error)),
        };
        let bad = match &linked {
            Some(target) => target.clone(),
            None => {
                // A regular file at the link's path: give it a second name before the first is taken from it.
                let aside = self.aside(Path::new(CURRENT), now);
                match self.disk.hard_link(&current, &aside) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(fault(error)),
                    _ => aside,
                }
            }
        };
        let replacement = self.dated()?.into_iter().rev().find(|file| {
            *file != bad && self.files().read(file, LARGEST).is_ok_and(|content| usable(content.text.expose()))
        });
        match &replacement {
            Some(file) => self.files().link(file, &current)?,
            None => self.files().write(&current, b"", 0o600)?,
        }
        if linked.is_none() {
            return Ok((bad, replacement));
        }
        let aside = self.aside(&bad, now);
        self.files().rename(&bad, &aside)?;
        Ok((aside, replacement))
    }

    pub(super) fn aside(&self, file: &Path, now: SystemTime) -> PathBuf {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let seconds = eyewall_core::time::Time(now).unix();
        self.directory.join(format!("{name}.{seconds}{ASIDE}"))
    }

    /// Removes all but the newest `keep` dated PEMs and the newest few put aside. The one in force always stays, and where it
    /// cannot be told which that is, all stay. Returns how many went.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn prune(&self) -> Result<usize, StoreFault> {
        let in_force = self.identity(&self.current())?;
        let mut old = Vec::new();
        for file in self.dated()? {
            // A dated link to nothing has no identity, and is not in force.
            if in_force.is_none() || self.identity(&file)? != in_force {
                old.push(file);
            }
        }
        // One of `keep` is the file in force.
        let others = usize::try_from(self.keep.saturating_sub(1)).unwrap_or(usize::MAX);
        old.truncate(old.len().saturating_sub(others));
        let mut aside = self.listed(|name| name.ends_with(ASIDE))?;
        aside.sort_by_key(|file| put_aside_at(file));
        aside.truncate(aside.len().saturating_sub(KEEP_ASIDE));
        old.append(&mut aside);
        self.remove_all(&old)
    }

    /// Removes the temp files of writes that were cut short: each may hold a key. Returns how many there were.
    ///
    /// Those of `kubelet.crt` and `kubelet.key` are links, and `eyewall kubelet` may be making one at this moment.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn sweep(&self) -> Result<usize, StoreFault> {
        self.remove_all(&self.listed(|name| is_temporary(name) && !name.starts_with(".kubelet."))?)
    }

    pub(super) fn remove_all(&self, files: &[PathBuf]) -> Result<usize, StoreFault> {
        for file in files {
            self.files().remove(file)?;
        }
        Ok(files.len())
    }

    pub(super) fn identity(&self, path: &Path) -> Result<Option<(u64, u64)>, StoreFault> {
        match self.disk.stat(path) {
            Ok(stat) => Ok(Some(stat.identity)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreFault::new(Kind::Read, path, error)),
        }
    }

    /// The dated PEMs, oldest first: their names sort by time, and without the suffix also the second of one second.
    fn dated(&self) -> Result<Vec<PathBuf>, StoreFault> {
        let mut files = self.listed(|name| {
            name.strip_prefix(PREFIX)
                .and_then(|rest| rest.strip_suffix(SUFFIX))
                .is_some_and(|stamp| stamp.starts_with(|c: char| c.is_ascii_digit()))
        })?;
        files.sort_by(|a, b| a.file_stem().cmp(&b.file_stem()));
        Ok(files)
    }

    pub(super) fn listed(&self, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, StoreFault> {
        let names =
            self.disk.list(&self.directory).map_err(|error| StoreFault::new(Kind::Read, &self.directory, error))?;
        let wanted = names.iter().filter(|name| name.to_str().is_some_and(&wanted));
        let mut files: Vec<PathBuf> = wanted.map(|name| self.directory.join(name)).collect();
        files.sort();
        Ok(files)
    }
}

/// The seconds in the name of a file that was put aside.
fn put_aside_at(file: &Path) -> Option<u64> {
    let name = file.file_name()?.to_str()?.strip_suffix(ASIDE)?;
    name.rsplit_once('.')?.1.parse().ok()
}
