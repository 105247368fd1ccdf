//! The certificate store on disk: the PEM in force behind its link, the open request, the CA and the kubelet's kubeconfig.
//!
//! Names and forms are the kubelet's own (`certificate_store.go`), so that a node can be handed over either way:
//! `kubelet-client-<time>.pem` (chain, then key, 0600) behind the absolute link `kubelet-client-current.pem`. What the kubelet
//! lacks is added: the directory is fsynced, the file is read back, the link is never absent, old files are pruned,
//! a corrupt file is put aside instead of being a crash loop.

mod disk;
pub mod files;
mod install;
mod serving;

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use disk::{Disk, Kernel};
use eyewall_core::cert::{self, CertFault};
use eyewall_core::secret::Secret;
use eyewall_core::status::Reason;
use eyewall_core::time::Time;
pub use files::StoreFault;
use files::{Files, Kind};
pub use serving::SERVING;

/// The link that the kubelet's kubeconfig names.
pub const CURRENT: &str = "kubelet-client-current.pem";
/// Key and request of the open attempt, in one file so that there is never one without the other.
const REQUEST: &str = "kubelet-client-request.pem";
/// The CA that the kubelet's kubeconfig names: ours, since Typhoon rewrites `/etc/kubernetes/ca.crt` at every start.
pub const AUTHORITY: &str = "cluster-ca.crt";
/// Larger than any PEM that belongs here.
const LARGEST: u64 = 256 * 1024;

/// Where things are, and how many to keep.
#[derive(Clone, Debug)]
pub struct Store<D = Kernel> {
    /// `certificates.directory`
    pub directory: PathBuf,
    /// `certificates.kubeconfig`
    pub kubeconfig: PathBuf,
    /// `certificates.keep`
    pub keep: u32,
    disk: D,
}

/// A file as it was found.
#[derive(Debug)]
pub enum Found {
    /// There is none.
    Missing,
    /// There is one, and it cannot be read.
    Unreadable(Reason),
    /// Its text; bytes that are no UTF-8 are replaced, which no PEM survives.
    Text {
        /// The content.
        text: Secret,
        /// When it was last written.
        written_at: SystemTime,
        /// The file behind the link.
        file: PathBuf,
    },
}

/// The open request as read back.
#[derive(Debug)]
pub struct OpenRequest {
    /// The private key's PEM.
    pub key: Secret,
    /// The PKCS#10 request's PEM.
    pub request: String,
    /// When it was written.
    pub since: Time,
}

impl Store {
    /// The store that the settings name, on the host's own disk.
    pub fn new(settings: &eyewall_core::config::Certificates) -> Self {
        Self {
            directory: settings.directory.clone(),
            kubeconfig: settings.kubeconfig.clone(),
            keep: settings.keep,
            disk: Kernel,
        }
    }
}

impl<D: Disk> Store<D> {
    fn files(&self) -> Files<'_, D> {
        Files(&self.disk)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The link's path.
    pub fn current(&self) -> PathBuf {
        self.path(CURRENT)
    }

    /// The path of the open request.
    pub fn request(&self) -> PathBuf {
        self.path(REQUEST)
    }

    /// The path of the CA file.
    pub fn authority(&self) -> PathBuf {
        self.path(AUTHORITY)
    }

    /// Reads the PEM in force.
    pub fn read_current(&self) -> Found {
        self.read(&self.current())
    }

    /// Reads the CA that the kubelet trusts now.
    pub fn read_authority(&self) -> Found {
        self.read(&self.authority())
    }

    /// Reads the open request. A file that is not whole is no request: it was never sent.
    ///
    /// # Errors
    /// It is there and cannot be read. That is not the same as none: a new key in its place would lose one that may be waited for.
    pub fn read_request(&self) -> Result<Option<OpenRequest>, StoreFault> {
        self.read_request_at(REQUEST)
    }

    fn read_request_at(&self, name: &str) -> Result<Option<OpenRequest>, StoreFault> {
        let path = self.path(name);
        let content = match self.files().read(&path, LARGEST) {
            Ok(content) => content,
            // The system's own words; what is too large, or no file, is none of ours.
            Err(error) if error.raw_os_error().is_some() && error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreFault::new(Kind::Read, &path, error));
            }
            Err(_) => return Ok(None),
        };
        let text = content.text.expose();
        let (Some(key), Some(request)) = (block(text, "PRIVATE KEY"), block(text, "CERTIFICATE REQUEST")) else {
            return Ok(None);
        };
        Ok(Some(OpenRequest { key: Secret::new(key), request, since: content.written_at.into() }))
    }

    /// Writes key and request, before anything is sent.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn write_request(&self, key: &Secret, request: &str) -> Result<(), StoreFault> {
        self.write_request_at(REQUEST, key, request)
    }

    fn write_request_at(&self, name: &str, key: &Secret, request: &str) -> Result<(), StoreFault> {
        self.ensure_directory()?;
        let text = joined(&[key.expose(), request]);
        self.files().write(&self.path(name), text.expose().as_bytes(), 0o600)
    }

    /// Makes sure that the key and request that were read back outlive a power cut. To be called before they are sent: the write
    /// may have been stopped, or may have failed, when the file could be read already and its name could still be lost.
    ///
    /// # Errors
    /// [`StoreFault`]; the request must not be sent.
    pub fn settle_request(&self) -> Result<(), StoreFault> {
        self.files().settle(&self.path(REQUEST))
    }

    /// Drops key and request.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn forget_request(&self) -> Result<(), StoreFault> {
        self.forget_request_at(REQUEST)
    }

    fn forget_request_at(&self, name: &str) -> Result<(), StoreFault> {
        // What came of it first: a start before this one may have been stopped right behind the rename of the link, and then a power
        // cut could keep this removal and not that rename.
        self.files().settle_names(&self.directory)?;
        self.files().remove(&self.path(name))
    }

    /// Makes sure that something stands at the link's path: an empty file lets the kubelet start and run its static pods
    /// without a certificate (seen on a kubelet 1.36; a missing one is its exit 1).
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn ensure_placeholder(&self) -> Result<bool, StoreFault> {
        self.ensure_directory()?;
        let current = self.current();
        match self.disk.stat(&current) {
            // Found, and not yet sure to be there after a power cut: a start before this one may have been stopped right behind its
            // rename, and `eyewall kubelet` makes one without all this.
            Ok(stat) if stat.length == 0 => self.files().settle(&current).map(|()| false),
            Ok(_) => Ok(false),
            // Missing, or a link to nothing.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Whoever made the directory may have been stopped before its name was on the disk; what is in it would go with it.
                self.files().settle_directory(&self.directory)?;
                self.files().write(&current, b"", 0o600)?;
                Ok(true)
            }
            Err(error) => Err(StoreFault::new(Kind::Read, &current, error)),
        }
    }

    /// Writes the CA file if its content differs.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn ensure_authority(&self, pem: &str) -> Result<bool, StoreFault> {
        self.ensure_directory()?;
        self.ensure(&self.authority(), pem, 0o644)
    }

    /// Writes the kubelet's kubeconfig if its content differs.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn ensure_kubeconfig(&self, text: &str) -> Result<bool, StoreFault> {
        self.ensure(&self.kubeconfig, text, 0o600)
    }

    fn ensure_directory(&self) -> Result<(), StoreFault> {
        // The kubelet's own mode for its certificate directory; the files in it are 0600.
        self.files().make_directory(&self.directory, 0o755)
    }

    fn ensure(&self, path: &Path, text: &str, mode: u32) -> Result<bool, StoreFault> {
        if let Found::Text { text: old, .. } = self.read(path)
            && old.expose() == text
        {
            return Ok(false);
        }
        self.files().write(path, text.as_bytes(), mode)?;
        Ok(true)
    }

    fn read(&self, path: &Path) -> Found {
        let unreadable = |why: String| {
            let sentence = format!("{} cannot be read: {why}", path.display());
            Found::Unreadable(Reason::new("certificate-unreadable", sentence))
        };
        match self.files().read(path, LARGEST) {
            Ok(found) => Found::Text {
                text: found.text,
                written_at: found.written_at,
                file: self.disk.canonical(path).unwrap_or_else(|_| path.to_owned()),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Missing,
            Err(error) => unreadable(error.to_string()),
        }
    }
}

/// One text of some, in a buffer that does not grow: a growing one would leave a part of the key behind.
fn joined(parts: &[&str]) -> Secret {
    let mut text = String::with_capacity(parts.iter().map(|part| part.len()).sum());
    parts.iter().for_each(|part| text.push_str(part));
    Secret::new(text)
}

fn block(text: &str, label: &str) -> Option<String> {
    let begin = format!("-----BEGIN {label}-----");
    let end = format!("-----END {label}-----\n");
    let from = text.find(&begin)?;
    let length = text.get(from..)?.find(&end)? + end.len();
    text.get(from..from + length).map(str::to_owned)
}

/// A PEM that is whole: chain and key.
#[derive(Debug)]
pub struct Pair {
    /// DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// The key's PEM.
    pub key: Secret,
}

/// Takes a combined PEM apart.
///
/// # Errors
/// [`CertFault`].
pub fn pair(text: &str) -> Result<Pair, CertFault> {
    let cert::Bundle { chain, key } = cert::bundle(text)?;
    Ok(Pair { chain, key: key.ok_or(CertFault::NoKey)? })
}

#[cfg(test)]
mod cuts;
#[cfg(test)]
mod faulty;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod tests;
