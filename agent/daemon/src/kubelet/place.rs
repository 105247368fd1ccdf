//! What must lie on the host before the kubelet's container is run: directories, the placeholder of the certificate,
//! the CA, the configuration. What is there already is left as it is.

use std::collections::BTreeSet;
use std::fs::{Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Component, Path, PathBuf};

use eyewall_core::cert;
use eyewall_core::kubelet::Plan;
use eyewall_core::status::Reason;
use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::bootstrap::read_bootstrap;
use crate::store::CURRENT;
use crate::store::files::{self, Kind, StoreFault};

/// Larger than any CA file.
const LARGEST: u64 = 256 * 1024;

/// The host's file system, or a directory that stands for it.
#[derive(Clone, Debug)]
pub struct Root(PathBuf);

impl Root {
    /// The directory that is taken for `/`.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Where an absolute path really is.
    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let below = path.as_ref().components().filter(|part| !matches!(part, Component::RootDir));
        self.0.join(below.collect::<PathBuf>())
    }
}

/// Makes the plan's directories, world-readable as `mkdir -p` leaves them.
pub fn directories(root: &Root, plan: &Plan) -> Result<(), StoreFault> {
    for directory in &plan.directories {
        files::make_directory(&root.at(directory), 0o755)?;
    }
    Ok(())
}

/// Makes sure that something stands where the kubelet's kubeconfig says the certificate is: a kubelet starts with an empty
/// file and takes the certificate over when it comes, but with none it ends (seen on a kubelet 1.36).
///
/// The daemon may install a certificate at this very moment. So nothing is ever replaced here: an open that creates makes the file,
/// or the missing target of the link, or finds what is there.
pub fn placeholder(root: &Root, directory: &Path) -> Result<(), StoreFault> {
    let path = root.at(directory).join(CURRENT);
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&path)
        .map(drop)
        .map_err(|error| StoreFault::new(Kind::Write, &path, error))
}

/// Takes an empty placeholder away again: a kubelet that renews itself ends at an empty file, and bootstraps where there is none.
pub fn no_placeholder(root: &Root, directory: &Path) -> Result<(), StoreFault> {
    let path = root.at(directory).join(CURRENT);
    let is_empty = std::fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() == 0);
    if is_empty { files::remove(&path) } else { Ok(()) }
}

/// What came of making the bootstrap kubeconfig root's alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootOnly {
    /// It is already, or there is none.
    AsItWas,
    /// It is now. As it was before, for people.
    Made(String),
    /// It could not be made so, or that would have been somebody else's file.
    Left(Reason),
}

/// Makes the bootstrap kubeconfig root's own, 0600 (CIS 4.1.5).
///
/// Root changes a file here that others may have put there, so it must be this file and no other: the last part of the path is
/// never followed, the file has no second name, and nobody but root can move something else to its place.
pub fn root_only(root: &Root, bootstrap: &Path) -> RootOnly {
    let path = root.at(bootstrap);
    let shown = path.display();
    match make_root_only(&path) {
        Ok(None) => RootOnly::AsItWas,
        Ok(Some(before)) => RootOnly::Made(before),
        Err(Hindrance::Left(kind, why)) => {
            let sentence = format!("{shown} holds the bootstrap token and is not made root's alone: {why}");
            RootOnly::Left(Reason::new(kind, sentence))
        }
        Err(Hindrance::Io(error)) if error.kind() == io::ErrorKind::NotFound => RootOnly::AsItWas,
        Err(Hindrance::Io(error)) => {
            let fault = StoreFault::new(Kind::Write, &path, error);
            RootOnly::Left(Reason::new(fault.kind(), format!("{fault}; others may read the bootstrap token in it")))
        }
    }
}

enum Hindrance {
    Left(&'static str, &'static str),
    Io(io::Error),
}

impl From<io::Error> for Hindrance {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Returns how the file was, if it was not as it should be.
fn make_root_only(path: &Path) -> Result<Option<String>, Hindrance> {
    const MODE: u32 = 0o600;
    const WORLD: u32 = 0o022;
    // A pipe must not hold up the kubelet, and neither may a link lead elsewhere.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(flags.bits()).open(path) {
        Err(error) if error.raw_os_error() == Some(Errno::ELOOP as i32) => {
            let why = "it is a link; make the file it leads to 0600 and root's, or name that file in the configuration";
            return Err(Hindrance::Left("bootstrap-kubeconfig-is-a-link", why));
        }
        opened => opened?,
    };
    let meta = file.metadata()?;
    let is_root = |meta: &Metadata| (meta.uid(), meta.gid()) == (0, 0);
    let mode = meta.mode() & 0o7777;
    if is_root(&meta) && mode & !MODE == 0 {
        return Ok(None);
    }
    if !meta.is_file() {
        return Err(Hindrance::Left(
            "bootstrap-kubeconfig-is-no-file",
            "it is not a regular file; put a kubeconfig there",
        ));
    }
    if meta.nlink() != 1 {
        let why = "it has a second name, so it may be another's file; put a copy of it there";
        return Err(Hindrance::Left("bootstrap-kubeconfig-has-two-names", why));
    }
    let above = std::fs::metadata(path.parent().unwrap_or(Path::new("/")))?;
    if above.uid() != 0 || above.mode() & WORLD != 0 {
        let why =
            "its directory is not root's alone, so anybody might put another file there; keep it in /etc/kubernetes";
        return Err(Hindrance::Left("bootstrap-kubeconfig-in-open-directory", why));
    }
    // The owner first: who was the owner could take a mode back.
    fchown(&file, Some(0), Some(0))?;
    file.set_permissions(Permissions::from_mode(MODE))?;
    file.sync_all()?;
    Ok(Some(format!("{mode:04o}, of uid {} and gid {}", meta.uid(), meta.gid())))
}

/// What came of the CA file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authority {
    /// It is what the bootstrap kubeconfig says, or holds that and more.
    AsItWas,
    /// It was written.
    Written,
    /// The bootstrap kubeconfig has none to give; the one that is there is good.
    Kept(Reason),
}

/// Why there is no CA file.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityFault {
    /// Nothing to make it from, and none there.
    #[error("there is no CA for the kubelet's own server: {}", .0.message)]
    NoSource(Reason),
    /// It cannot be written.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl AuthorityFault {
    /// The word for machines.
    pub fn kind(&self) -> &str {
        match self {
            Self::NoSource(reason) => &reason.kind,
            Self::Store(fault) => fault.kind(),
        }
    }
}

/// Writes the CA of the bootstrap kubeconfig to `plan.authority`, as Typhoon's `ExecStartPre` did; but whole or not at all, and
/// never an empty or broken one over a good one. A file that holds the CA beside others (an old and a new one) stays.
pub fn authority(root: &Root, bootstrap: &Path, plan: &Plan) -> Result<Authority, AuthorityFault> {
    let path = root.at(&plan.authority);
    let there = files::read(&path, LARGEST).ok().and_then(|content| certificates(content.text.expose()));
    let joined = match read_bootstrap(&root.at(bootstrap)) {
        Ok(joined) => joined,
        Err(reason) if there.is_some() => return Ok(Authority::Kept(reason)),
        Err(reason) => return Err(AuthorityFault::NoSource(reason)),
    };
    let wanted = certificates(&joined.ca).unwrap_or_default();
    if there.is_some_and(|there| there.is_superset(&wanted)) {
        return Ok(Authority::AsItWas);
    }
    files::write(&path, joined.ca.as_bytes(), 0o644)?;
    Ok(Authority::Written)
}

/// The certificates of a PEM, if it holds any and is whole.
fn certificates(pem: &str) -> Option<BTreeSet<Vec<u8>>> {
    let chain = cert::certificates(pem).ok()?;
    let readable = |der: &Vec<u8>| cert::CertView::from_der(der).is_ok();
    chain.iter().all(readable).then(|| chain.into_iter().collect())
}

/// Writes the KubeletConfiguration if there is none, and says whether it did. Only root reads it (CIS 4.1.9).
pub fn configuration(root: &Root, plan: &Plan) -> Result<bool, StoreFault> {
    let path = root.at(&plan.configuration);
    match std::fs::symlink_metadata(&path) {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            files::write(&path, plan.configuration_text.as_bytes(), 0o600)?;
            Ok(true)
        }
        Err(error) => Err(StoreFault::new(Kind::Read, &path, error)),
    }
}

#[cfg(test)]
mod tests;
