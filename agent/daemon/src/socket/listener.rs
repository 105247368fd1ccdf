//! Where the listening socket comes from: systemd (`eyewall.socket`), or made here on hosts without it.

use std::fs::DirBuilder;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Group, chown};
use tokio::net::UnixListener;

/// Who may read: the group of DESIGN 8.
const GROUP: &str = "eyewall";

/// A listening socket. If it was made here its file goes with it.
#[derive(Debug)]
pub struct Bound {
    listener: UnixListener,
    own: Option<Own>,
}

/// The file of a socket that was made here, and the lock that says whose it is.
#[derive(Debug)]
struct Own {
    path: PathBuf,
    _lock: Flock<std::fs::File>,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another daemon holds the lock beside it.
    #[error("another eyewall already serves {path}; stop it first, or give this one another socket path")]
    AlreadyRunning {
        /// The socket.
        path: PathBuf,
    },
    /// There is something else at the path, which is not ours to remove.
    #[error("{path} is there and is not a socket; move it away, or choose another path in [socket]")]
    NotASocket {
        /// What is in the way.
        path: PathBuf,
    },
    /// systemd passed something that is no unix stream socket.
    #[error(
        "systemd passed file descriptors, but the first is not a unix stream socket: {source}; \
         compare eyewall.socket with the one that was shipped"
    )]
    BadActivation {
        /// What was wrong with it.
        source: io::Error,
    },
    /// The file system said no.
    #[error("the socket {path} cannot be made: {doing}: {source}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl ListenError {
    /// The machine word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::AlreadyRunning { .. } => "already-running",
            Self::NotASocket { .. } => "not-a-socket",
            Self::BadActivation { .. } => "bad-activation",
            Self::Io { .. } => "socket-not-made",
        }
    }
}

impl Bound {
    /// Did systemd make it (`eyewall.socket`)?
    pub fn is_activated(&self) -> bool {
        self.own.is_none()
    }

    pub(super) fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // The lock is still held, so this is our file; that it is gone already is as good.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// systemd's socket if there is one, else one at `path`: mode 0660, group `eyewall` where there is such a group, in a
/// directory that is made 0750 if it is missing. A dead daemon's socket is replaced, a live one's never.
///
/// Call it from the runtime, before other threads are: it takes `LISTEN_FDS` out of the environment and sets the umask
/// for a moment.
///
/// # Errors
/// See [`ListenError`].
pub fn listen(path: &Path) -> Result<Bound, ListenError> {
    let mut passed = listenfd::ListenFd::from_env();
    match passed.take_unix_listener(0) {
        Ok(Some(listener)) => Ok(Bound {
            listener: into_tokio(listener).map_err(|source| ListenError::BadActivation { source })?,
            own: None,
        }),
        Ok(None) => bind(path),
        Err(source) => Err(ListenError::BadActivation { source }),
    }
}

fn bind(path: &Path) -> Result<Bound, ListenError> {
    let fault = |doing: &'static str| move |source: io::Error| ListenError::Io { path: path.to_owned(), doing, source };
    let group = Group::from_name(GROUP).ok().flatten().map(|group| group.gid);
    if let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty())
        && !directory.exists()
    {
        DirBuilder::new().recursive(true).mode(0o750).create(directory).map_err(fault("make its directory"))?;
        give(directory, group);
    }

    let lock = lock(path)?;
    match std::fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            return Err(ListenError::NotASocket { path: path.to_owned() });
        }
        // Nobody holds the lock, but systemd may listen there without one.
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            return Err(ListenError::AlreadyRunning { path: path.to_owned() });
        }
        Ok(_) => std::fs::remove_file(path).map_err(fault("remove a dead daemon's"))?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(fault("look at what is there")(error)),
    }

    // The mode is right from the first instant: chmod after bind would leave a gap.
    let before = umask(Mode::from_bits_truncate(0o117));
    let listener = StdListener::bind(path);
    umask(before);
    let listener = listener.map_err(fault("bind"))?;
    let own = Own { path: path.to_owned(), _lock: lock };
    give(path, group);
    Ok(Bound { listener: into_tokio(listener).map_err(fault("listen"))?, own: Some(own) })
}

/// A lock file rather than only a try to connect: two daemons that start at once must not both remove the other's socket.
fn lock(path: &Path) -> Result<Flock<std::fs::File>, ListenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let fault = |source: io::Error| ListenError::Io { path: path.to_owned(), doing: "open the lock beside it", source };
    let file = nix::fcntl::open(
        Path::new(&name),
        OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW,
        Mode::from_bits_truncate(0o600),
    )
    .map_err(|errno| fault(errno.into()))?;
    Flock::lock(file.into(), FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        nix::errno::Errno::EWOULDBLOCK => ListenError::AlreadyRunning { path: path.to_owned() },
        errno => fault(errno.into()),
    })
}

/// Without the group or the right to give it away, only our own user may read: safe, and `eyewall status` says why.
fn give(path: &Path, group: Option<Gid>) {
    if let Some(group) = group
        && let Err(error) = chown(path, None, Some(group))
    {
        tracing::debug!("{} stays out of the group {GROUP}: {error}", path.display());
    }
}

fn into_tokio(listener: StdListener) -> io::Result<UnixListener> {
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        let meta = std::fs::symlink_metadata(path).expect("is there");
        meta.permissions().mode() & 0o7777
    }

    #[tokio::test]
    async fn made_with_its_directory_and_modes_and_removed_with_its_owner() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("run/eyewall/eyewall.sock");
        let bound = bind(&path).expect("bound");
        assert!(!bound.is_activated());
        assert_eq!(mode(&path), 0o660);
        assert_eq!(mode(path.parent().expect("has one")), 0o750);
        drop(bound);
        assert!(!path.exists());
        drop(bind(&path).expect("bound again"));
    }

    #[tokio::test]
    async fn a_live_one_is_an_error_and_stays() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("s");
        let _live = bind(&path).expect("bound");
        let error = bind(&path).expect_err("refused");
        assert_eq!(error.kind(), "already-running");
        assert!(error.to_string().contains("stop it first"), "{error}");
        assert!(path.exists());
    }

    #[tokio::test]
    async fn one_that_listens_without_a_lock_is_live_too() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("s");
        let _systemd = StdListener::bind(&path).expect("bound");
        assert_eq!(bind(&path).expect_err("refused").kind(), "already-running");
    }

    #[tokio::test]
    async fn a_dead_ones_is_replaced() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("s");
        drop(StdListener::bind(&path).expect("bound"));
        assert!(path.exists(), "std leaves the file, as a killed daemon does");
        let _bound = bind(&path).expect("replaced");
        std::os::unix::net::UnixStream::connect(&path).expect("it answers");
    }

    #[tokio::test]
    async fn a_file_in_the_way_is_kept() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("s");
        std::fs::write(&path, "precious").expect("written");
        assert_eq!(bind(&path).expect_err("refused").kind(), "not-a-socket");
        assert_eq!(std::fs::read(&path).expect("is there"), b"precious");
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_is_told() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("n".repeat(120));
        let error = bind(&path).expect_err("refused");
        assert_eq!(error.kind(), "socket-not-made");
        assert!(error.to_string().contains("bind"), "{error}");
    }
}
