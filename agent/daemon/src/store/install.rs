//! Installing a proved certificate, putting a bad one aside, and pruning.

use std::path::PathBuf;
use std::time::SystemTime;

use eyewall_core::proof::Proven;
use eyewall_core::secret::Secret;

use super::files::{self, Kind, StoreFault};
use super::{CURRENT, LARGEST, Store};

const PREFIX: &str = "kubelet-client-";
const SUFFIX: &str = ".pem";
const ASIDE: &str = ".quarantined";
/// Files put aside that are kept; each may hold a key, and one tells as much as ten.
const KEEP_ASIDE: usize = 2;

impl Store {
    /// Makes a proved certificate the one in force: written, synced, read back, and only then linked.
    /// Returns the file behind the link.
    ///
    /// # Errors
    /// [`StoreFault`]; whatever was in force before still is.
    pub fn install(&self, proven: &Proven, chain: &str, key: &Secret, now: SystemTime) -> Result<PathBuf, StoreFault> {
        self.ensure_directory()?;
        let mut pem = chain.to_owned();
        if !pem.ends_with('\n') {
            pem.push('\n');
        }
        let pem = Secret::new(format!("{pem}{}", key.expose()));
        let file = self.directory.join(format!("{PREFIX}{}{SUFFIX}", self.stamp(now, proven)));
        files::write(&file, pem.expose().as_bytes(), 0o600)?;
        // Absolute, as the kubelet's: it refuses to rotate a link it does not know.
        let target = std::fs::canonicalize(&file).map_err(|error| StoreFault::new(Kind::Read, &file, error))?;
        files::link(&target, &self.current())?;
        Ok(target)
    }

    /// The kubelet's time stamp; two within one second, where it collides, get the serial behind it.
    fn stamp(&self, now: SystemTime, proven: &Proven) -> String {
        let seconds = i64::try_from(eyewall_core::time::Time(now).unix()).unwrap_or(0);
        let stamp = jiff::Timestamp::from_second(seconds)
            .map_or_else(|_| seconds.to_string(), |stamp| stamp.strftime("%Y-%m-%d-%H-%M-%S").to_string());
        if self.directory.join(format!("{PREFIX}{stamp}{SUFFIX}")).exists() {
            let serial = &proven.leaf().serial;
            format!("{stamp}-{}", serial.get(..8).unwrap_or(serial))
        } else {
            stamp
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
        let linked = std::fs::read_link(&current).ok();
        let bad = match &linked {
            Some(target) => self.directory.join(target),
            None => {
                // A regular file at the link's path: give it a second name before the first is taken from it.
                let aside = self.aside(CURRENT, now);
                match std::fs::hard_link(&current, &aside) {
                    Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                        return Err(StoreFault::new(Kind::Write, &current, error));
                    }
                    _ => aside,
                }
            }
        };
        let replacement = self
            .dated()
            .into_iter()
            .rev()
            .find(|file| *file != bad && files::read(file, LARGEST).is_ok_and(|content| usable(&content.text)));
        match &replacement {
            Some(file) => files::link(file, &current)?,
            None => files::write(&current, b"", 0o600)?,
        }
        let aside = match &linked {
            Some(_) => {
                let name = bad.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let aside = self.aside(&name, now);
                files::rename(&bad, &aside)?;
                aside
            }
            None => bad,
        };
        Ok((aside, replacement))
    }

    fn aside(&self, name: &str, now: SystemTime) -> PathBuf {
        let seconds = eyewall_core::time::Time(now).unix();
        self.directory.join(format!("{name}.{seconds}{ASIDE}"))
    }

    /// Removes all but the newest `keep` dated PEMs and the newest few put aside. The one in force always stays.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn prune(&self) -> Result<usize, StoreFault> {
        let current = std::fs::canonicalize(self.current()).ok();
        let mut old: Vec<PathBuf> =
            self.dated().into_iter().filter(|file| std::fs::canonicalize(file).ok() != current).collect();
        // One of `keep` is the file in force.
        let others = usize::try_from(self.keep.saturating_sub(1)).unwrap_or(usize::MAX);
        old.truncate(old.len().saturating_sub(others));
        let mut aside = self.listed(|name| name.ends_with(ASIDE));
        aside.truncate(aside.len().saturating_sub(KEEP_ASIDE));
        old.append(&mut aside);
        for file in &old {
            files::remove(file)?;
        }
        Ok(old.len())
    }

    /// The dated PEMs, oldest first: their names sort by time.
    fn dated(&self) -> Vec<PathBuf> {
        self.listed(|name| {
            name.strip_prefix(PREFIX)
                .and_then(|rest| rest.strip_suffix(SUFFIX))
                .is_some_and(|stamp| stamp.starts_with(|c: char| c.is_ascii_digit()))
        })
    }

    fn listed(&self, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(&self.directory) else {
            return Vec::new();
        };
        let mut files: Vec<PathBuf> = entries
            .filter_map(Result::ok)
            .filter(|entry| entry.file_name().to_str().is_some_and(&wanted))
            .map(|entry| entry.path())
            .collect();
        files.sort();
        files
    }
}
