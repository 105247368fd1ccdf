//! Any systemd host: `/run/reboot-required` asks, logind reboots. The file is heeded on Fedora CoreOS and Flatcar too.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use eyewall_core::reboot::host::{generic, required};
use eyewall_core::reboot::{Cause, Pending, Release};
use eyewall_core::status::Reason;
use eyewall_core::time::Time;

/// Larger than any os-release or list of packages.
const TEXT_MAX: u64 = 64 << 10;

/// The host's file system, by its root.
#[derive(Clone, Debug)]
pub struct Places {
    root: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self::at(Path::new("/"))
    }
}

impl Places {
    /// A host below this directory.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// An absolute path of the host.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// When `path` was changed last; none: there is none.
    ///
    /// # Errors
    /// It cannot be looked at, which is not the same.
    pub fn changed(&self, path: &str) -> Result<Option<Time>, Reason> {
        let path = self.path(path);
        match std::fs::metadata(&path).and_then(|found| found.modified()) {
            Ok(at) => Ok(Some(Time(at))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(&path, &error)),
        }
    }

    /// The text of a file; none: there is none.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn text(&self, path: &str) -> Result<Option<String>, Reason> {
        let path = self.path(path);
        let read = std::fs::File::open(&path).and_then(|file| {
            let mut bytes = Vec::new();
            file.take(TEXT_MAX).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        });
        match read {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(&path, &error)),
        }
    }

    /// The text of os-release(5).
    ///
    /// # Errors
    /// There is none.
    pub fn os_release(&self) -> Result<String, Reason> {
        for path in ["/etc/os-release", "/usr/lib/os-release"] {
            if let Some(text) = self.text(path)? {
                return Ok(text);
            }
        }
        Err(Reason::new("release-unknown", "There is neither /etc/os-release nor /usr/lib/os-release."))
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Reason {
    Reason::new("not-readable", format!("{} cannot be read: {error}.", path.display()))
}

/// For a release that os-release does not name.
pub fn unnamed() -> Reason {
    Reason::new("release-unknown", "os-release does not say which release this is.")
}

/// Written by packages that want a reboot (Debian's update-notifier, Flatcar's post-install).
pub const REQUIRED: &str = "/run/reboot-required";
const REQUIRED_BY: &str = "/run/reboot-required.pkgs";

/// A host of no special kind.
#[derive(Clone, Debug, Default)]
pub struct Generic {
    places: Places,
}

impl Generic {
    /// By its files.
    pub fn new(places: Places) -> Self {
        Self { places }
    }

    /// A reboot that a file asks for.
    ///
    /// # Errors
    /// The file is there or not: nobody can tell.
    pub fn pending(&self) -> Result<Option<Pending>, Reason> {
        let Some(since) = self.places.changed(REQUIRED)? else { return Ok(None) };
        // Only for people: without it the reboot is wanted all the same.
        let packages = self.places.text(REQUIRED_BY).ok().flatten().unwrap_or_default();
        Ok(Some(Pending { cause: Cause::Required(required(&packages)), since }))
    }

    /// The release that runs.
    ///
    /// # Errors
    /// os-release does not tell.
    pub fn booted(&self) -> Result<Release, Reason> {
        generic(&self.places.os_release()?).ok_or_else(unnamed)
    }
}
