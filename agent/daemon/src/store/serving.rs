//! The serving pair on disk.
//!
//! One PEM (chain, then key, 0600) behind one link, named as the kubelet names its own (`kubelet-server-<time>.pem`,
//! `kubelet-server-current.pem`), and `kubelet.crt` and `kubelet.key` are links to that link: Go reads the certificate out of the one
//! and the key out of the other and skips what else is there. So a change is one rename, and the two never differ.
//!
//! *The first switch* from the kubelet's own two files is made in steps after each of which the two belong together: the old
//! pair is written as one PEM, the two names become links to it one after the other, and only then the link is moved on.
//!
//! *The file before goes at once.* A kubelet watches the inode that it last read (`dynamic_serving_content.go`: fsnotify follows
//! links), and looks by itself only when that watch breaks. So moving a link tells it nothing; the end of the old file
//! does, at once, and has it watch what the names lead to then.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use eyewall_core::secret::Secret;
use eyewall_core::serving::pair::{Half, Pair};
use eyewall_core::serving::proof::Proven;

use super::disk::Disk;
use super::files::{Kind, StoreFault};
use super::{Found, OpenRequest, Store, joined};

/// The link that everything leads to.
pub const SERVING: &str = "kubelet-server-current.pem";
/// Key and request of the open attempt.
const REQUEST: &str = "kubelet-server-request.pem";
/// What the kubelet made itself, as one PEM, while it is switched from its two files.
const ADOPTED: &str = "kubelet-server-self-signed.pem";
const PREFIX: &str = "kubelet-server-";
/// What a kubelet serves from if its configuration names nothing else.
const CERTIFICATE: &str = "kubelet.crt";
const KEY: &str = "kubelet.key";

/// Whether a key belongs to the first certificate of a PEM text.
pub type Matches = fn(certificate: &str, key: &Secret) -> bool;

impl<D: Disk> Store<D> {
    /// Reads the PEM that the link leads to.
    pub fn read_serving(&self) -> Found {
        self.read(&self.path(SERVING))
    }

    /// The other PEMs of ours, newest first.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn serving_files(&self) -> Result<Vec<PathBuf>, StoreFault> {
        let in_force = self.identity(&self.path(SERVING))?;
        let mut files = Vec::new();
        for file in self.listed(|name| is_dated(name) || name == ADOPTED)?.into_iter().rev() {
            if in_force.is_none() || self.identity(&file)? != in_force {
                files.push(file);
            }
        }
        Ok(files)
    }

    /// Reads one of them.
    pub fn read_serving_file(&self, file: &Path) -> Found {
        self.read(file)
    }

    /// What the kubelet serves from.
    ///
    /// # Errors
    /// [`StoreFault`]; a name that cannot be looked at is not taken for an absent one.
    pub fn serving_pair(&self, matches: Matches) -> Result<Pair, StoreFault> {
        let (certificate, key) = (self.half(CERTIFICATE)?, self.half(KEY)?);
        Ok(Pair { certificate, key, loads: self.pair_text(matches).is_some() })
    }

    /// Certificate and key as a kubelet reads them, if they belong together.
    fn pair_text(&self, matches: Matches) -> Option<(Secret, Secret)> {
        let (Found::Text { text: certificate, .. }, Found::Text { text: key, .. }) =
            (self.read(&self.path(CERTIFICATE)), self.read(&self.path(KEY)))
        else {
            return None;
        };
        matches(certificate.expose(), &key).then_some((certificate, key))
    }

    fn half(&self, name: &str) -> Result<Half, StoreFault> {
        let path = self.path(name);
        match self.disk.read_link(&path) {
            Ok(target) if self.directory.join(&target) == self.path(SERVING) => Ok(Half::Ours),
            Ok(_) => Ok(Half::Other),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(Half::Other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Half::Absent),
            Err(error) => Err(StoreFault::new(Kind::Read, &path, error)),
        }
    }

    /// Makes a proved certificate the one that the kubelet serves from. Returns its file.
    ///
    /// # Errors
    /// [`StoreFault`]; the kubelet's pair is whole all the same.
    pub fn install_serving(
        &self,
        proven: &Proven,
        chain: &str,
        key: &Secret,
        now: SystemTime,
        matches: Matches,
    ) -> Result<PathBuf, StoreFault> {
        self.ensure_directory()?;
        let pem = joined(&[chain, if chain.ends_with('\n') { "" } else { "\n" }, key.expose()]);
        let file = self.directory.join(self.dated_name(PREFIX, now, &proven.leaf().cert.serial));
        self.files().write(&file, pem.expose().as_bytes(), 0o600)?;
        self.link_serving(&file, matches)?;
        Ok(file)
    }

    /// Has both names lead to `file`, a whole PEM in the directory.
    ///
    /// # Errors
    /// [`StoreFault`]; the kubelet's pair is whole all the same.
    pub fn link_serving(&self, file: &Path, matches: Matches) -> Result<(), StoreFault> {
        let pair = self.serving_pair(matches)?;
        let link = self.path(SERVING);
        if (pair.certificate, pair.key) == (Half::Other, Half::Other)
            && let Some((certificate, key)) = self.pair_text(matches)
        {
            let adopted = self.path(ADOPTED);
            let pem = joined(&[certificate.expose(), "\n", key.expose()]);
            self.files().write(&adopted, pem.expose().as_bytes(), 0o600)?;
            self.files().link(&adopted, &link)?;
        } else if !pair.loads {
            // Nothing works, so nothing can be broken.
            self.files().link(file, &link)?;
        }
        self.name_serving(pair)?;
        if self.identity(&link)? != self.identity(file)? {
            // Absolute, as the kubelet's: should it be given the renewal back, it refuses a link that it does not know.
            self.files().link(file, &link)?;
        }
        Ok(())
    }

    /// Has both names lead to whatever the link leads to, which is whole.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn relink_serving(&self, matches: Matches) -> Result<(), StoreFault> {
        let pair = self.serving_pair(matches)?;
        self.name_serving(pair)
    }

    fn name_serving(&self, pair: Pair) -> Result<(), StoreFault> {
        if pair.has_ours() {
            // Made by a start before this one, which may have been stopped before its names were on the disk: what is built upon
            // them must not outlive them.
            self.files().settle(&self.path(SERVING))?;
        }
        for (name, half) in [(CERTIFICATE, pair.certificate), (KEY, pair.key)] {
            if half != Half::Ours {
                self.files().link(Path::new(SERVING), &self.path(name))?;
            }
        }
        Ok(())
    }

    /// Removes every PEM of ours but the one in force, which tells the kubelet that there is another. Returns how many went.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn tidy_serving(&self) -> Result<usize, StoreFault> {
        // Where it cannot be told which one is in force, all stay.
        if self.identity(&self.path(SERVING))?.is_none() {
            return Ok(0);
        }
        let old = self.serving_files()?;
        self.remove_all(&old)
    }

    /// Takes both names away, so that a kubelet that starts makes a self-signed pair. What is no link of ours is put aside.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn withdraw_serving(&self, pair: Pair, now: SystemTime) -> Result<(), StoreFault> {
        for (name, half) in [(CERTIFICATE, pair.certificate), (KEY, pair.key)] {
            let path = self.path(name);
            match half {
                Half::Absent => {}
                Half::Ours => self.files().remove(&path)?,
                Half::Other => self.files().rename(&path, &self.aside(&path, now))?,
            }
        }
        Ok(())
    }

    /// Puts the PEM aside that the link leads to, and takes the link away. Returns where it is now.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn quarantine_serving(&self, now: SystemTime) -> Result<PathBuf, StoreFault> {
        let link = self.path(SERVING);
        let bad = match self.disk.read_link(&link) {
            Ok(target) => self.directory.join(target),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => link.clone(),
            Err(error) => return Err(StoreFault::new(Kind::Read, &link, error)),
        };
        let aside = self.aside(&bad, now);
        if bad != link {
            self.files().remove(&link)?;
        }
        self.files().rename(&bad, &aside)?;
        Ok(aside)
    }

    /// Reads the open request for a serving certificate.
    ///
    /// # Errors
    /// See [`Store::read_request`].
    pub fn read_serving_request(&self) -> Result<Option<OpenRequest>, StoreFault> {
        self.read_request_at(REQUEST)
    }

    /// Writes key and request, before anything is sent.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn write_serving_request(&self, key: &Secret, request: &str) -> Result<(), StoreFault> {
        self.write_request_at(REQUEST, key, request)
    }

    /// See [`Store::settle_request`].
    ///
    /// # Errors
    /// [`StoreFault`]; the request must not be sent.
    pub fn settle_serving_request(&self) -> Result<(), StoreFault> {
        self.files().settle(&self.path(REQUEST))
    }

    /// Drops key and request.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn forget_serving_request(&self) -> Result<(), StoreFault> {
        self.forget_request_at(REQUEST)
    }
}

fn is_dated(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .and_then(|rest| rest.strip_suffix(".pem"))
        .is_some_and(|stamp| stamp.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests;
