//! The certificate store on disk: the PEM in force behind its link, the open request, the CA and the kubelet's kubeconfig.
//!
//! Names and forms are the kubelet's own (`certificate_store.go`), so that a node can be handed over either way:
//! `kubelet-client-<time>.pem` (chain, then key, 0600) behind the absolute link `kubelet-client-current.pem`. What the kubelet
//! lacks is added: the directory is fsynced, the file is read back, the link is never absent, old files are pruned,
//! a corrupt file is put aside instead of being a crash loop.

pub mod files;
mod install;

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use eyewall_core::cert::{self, CertFault};
use eyewall_core::secret::Secret;
use eyewall_core::status::Reason;
use eyewall_core::time::Time;
use files::Kind;
pub use files::StoreFault;

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
pub struct Store {
    /// `certificates.directory`
    pub directory: PathBuf,
    /// `certificates.kubeconfig`
    pub kubeconfig: PathBuf,
    /// `certificates.keep`
    pub keep: u32,
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
    /// The store that the settings name.
    pub fn new(settings: &eyewall_core::config::Certificates) -> Self {
        Self { directory: settings.directory.clone(), kubeconfig: settings.kubeconfig.clone(), keep: settings.keep }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The link's path.
    pub fn current(&self) -> PathBuf {
        self.path(CURRENT)
    }

    /// The path of the CA file.
    pub fn authority(&self) -> PathBuf {
        self.path(AUTHORITY)
    }

    /// Reads the PEM in force.
    pub fn read_current(&self) -> Found {
        read(&self.current())
    }

    /// Reads the CA that the kubelet trusts now.
    pub fn read_authority(&self) -> Found {
        read(&self.authority())
    }

    /// Reads the open request. A file that is not whole is no request: it was never sent.
    pub fn read_request(&self) -> Option<OpenRequest> {
        let Found::Text { text, written_at, .. } = read(&self.path(REQUEST)) else {
            return None;
        };
        let key = block(text.expose(), "PRIVATE KEY")?;
        let request = block(text.expose(), "CERTIFICATE REQUEST")?;
        Some(OpenRequest { key: Secret::new(key), request, since: written_at.into() })
    }

    /// Writes key and request, before anything is sent.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn write_request(&self, key: &Secret, request: &str) -> Result<(), StoreFault> {
        self.ensure_directory()?;
        let text = Secret::new(format!("{}{request}", key.expose()));
        files::write(&self.path(REQUEST), text.expose().as_bytes(), 0o600)
    }

    /// Drops key and request.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn forget_request(&self) -> Result<(), StoreFault> {
        files::remove(&self.path(REQUEST))
    }

    /// Makes sure that something stands at the link's path: an empty file lets the kubelet start and run its static pods
    /// without a certificate (seen on a kubelet 1.36; a missing one is its exit 1).
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn ensure_placeholder(&self) -> Result<bool, StoreFault> {
        self.ensure_directory()?;
        let current = self.current();
        match std::fs::metadata(&current) {
            Ok(_) => Ok(false),
            // Missing, or a link to nothing.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                files::write(&current, b"", 0o600)?;
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
        ensure(&self.authority(), pem, 0o644)
    }

    /// Writes the kubelet's kubeconfig if its content differs.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn ensure_kubeconfig(&self, text: &str) -> Result<bool, StoreFault> {
        ensure(&self.kubeconfig, text, 0o600)
    }

    fn ensure_directory(&self) -> Result<(), StoreFault> {
        // The kubelet's own mode for its certificate directory; the files in it are 0600.
        files::make_directory(&self.directory, 0o755)
    }
}

fn ensure(path: &Path, text: &str, mode: u32) -> Result<bool, StoreFault> {
    if let Found::Text { text: old, .. } = read(path)
        && old.expose() == text
    {
        return Ok(false);
    }
    files::write(path, text.as_bytes(), mode)?;
    Ok(true)
}

fn read(path: &Path) -> Found {
    let unreadable = |why: String| {
        Found::Unreadable(Reason::new("certificate-unreadable", format!("{} cannot be read: {why}", path.display())))
    };
    match files::read(path, LARGEST) {
        Ok(found) => Found::Text {
            text: Secret::new(found.text),
            written_at: found.written_at,
            file: std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Missing,
        Err(error) => unreadable(error.to_string()),
    }
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
mod tests;
