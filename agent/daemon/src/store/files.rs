//! Writing so that a power cut leaves the old content or the new, never a part: temp file in the same directory, fsync, read
//! back, rename, fsync of the directory. `cuts.rs` shows it at every single call.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use eyewall_core::secret::Secret;
use eyewall_core::status::Reason;
use zeroize::Zeroizing;

use super::disk::{Disk, Is, Kernel};

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Looking at a file.
    Read,
    /// Writing or renaming one.
    Write,
    /// Removing one.
    Remove,
}

/// A file operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be {}: {source}{}", done(*.operation), advice(.source))]
pub struct StoreFault {
    operation: Kind,
    path: PathBuf,
    source: io::Error,
}

fn done(operation: Kind) -> &'static str {
    match operation {
        Kind::Read => "read",
        Kind::Write => "written",
        Kind::Remove => "removed",
    }
}

fn advice(error: &io::Error) -> &'static str {
    match word(error) {
        "disk-full" => "; free some space, the agent goes on by itself",
        "disk-read-only" => {
            "; is the file system mounted read-only, or the path missing from ReadWritePaths= of eyewall.service?"
        }
        "permission-denied" => {
            "; the agent runs as root on a node: is it started otherwise, or does SELinux forbid it (ausearch -m avc)?"
        }
        _ => "",
    }
}

fn word(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "disk-full",
        io::ErrorKind::ReadOnlyFilesystem => "disk-read-only",
        io::ErrorKind::PermissionDenied => "permission-denied",
        _ => "disk-error",
    }
}

impl StoreFault {
    /// An operation on `path` that failed.
    pub fn new(operation: Kind, path: &Path, source: io::Error) -> Self {
        Self { operation, path: path.to_owned(), source }
    }

    /// The word for machines: `disk-full`, `disk-read-only`, `permission-denied`, `disk-error`.
    pub fn kind(&self) -> &'static str {
        word(&self.source)
    }

    /// Word and sentence.
    pub fn reason(&self) -> Reason {
        Reason::new(self.kind(), self.to_string())
    }
}

/// A file's content and age.
#[derive(Debug)]
pub struct Content {
    /// Bytes that are no UTF-8 are replaced. Any file may hold a key, so each is wiped when it goes.
    pub text: Secret,
    /// When it was last written.
    pub written_at: SystemTime,
}

/// Reads at most `largest` bytes; more is an error, since nothing of ours is that large.
pub fn read(path: &Path, largest: u64) -> io::Result<Content> {
    Files(&Kernel).read(path, largest)
}

/// Makes the directory and those above it.
pub fn make_directory(path: &Path, mode: u32) -> Result<(), StoreFault> {
    Files(&Kernel).make_directory(path, mode)
}

/// Replaces `path` by a file with this content, whole or not at all.
pub fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), StoreFault> {
    Files(&Kernel).write(path, content, mode)
}

/// Removes a file; one that is not there is removed already.
pub fn remove(path: &Path) -> Result<(), StoreFault> {
    Files(&Kernel).remove(path)
}

/// The operations, on some disk. The functions of this module are the same on the host's own.
#[derive(Debug)]
pub(super) struct Files<'d, D>(pub &'d D);

impl<D: Disk> Files<'_, D> {
    /// See [`read`].
    pub fn read(&self, path: &Path, largest: u64) -> io::Result<Content> {
        let mut file = self.0.open(path)?;
        let stat = self.0.stat_open(&file)?;
        if stat.is != Is::File {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
        }
        let bytes = self.read_open(&mut file, stat.length, largest)?;
        Ok(Content { text: text(bytes), written_at: stat.written_at })
    }

    /// Reads into one buffer of the right size: one that grows leaves copies of a key behind.
    fn read_open(&self, file: &mut D::File, length: u64, largest: u64) -> io::Result<Zeroizing<Vec<u8>>> {
        let too_large = || io::Error::new(io::ErrorKind::InvalidData, format!("it is larger than {largest} bytes"));
        if length > largest {
            return Err(too_large());
        }
        // One byte more, so that the end is seen.
        let size = usize::try_from(length).map_err(|_| too_large())? + 1;
        let mut bytes = Zeroizing::new(vec![0; size]);
        let mut filled = 0;
        loop {
            let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) else {
                return Err(io::Error::other("it grew while it was read"));
            };
            match self.0.read(file, rest) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Makes the directory and those above it, each with its name on the disk.
    pub fn make_directory(&self, path: &Path, mode: u32) -> Result<(), StoreFault> {
        self.ensure_directory(path, mode).map_err(|error| StoreFault::new(Kind::Write, path, error))
    }

    fn ensure_directory(&self, path: &Path, mode: u32) -> io::Result<()> {
        let is_there = || self.0.stat(path).is_ok_and(|stat| stat.is == Is::Directory);
        if is_there() {
            return Ok(());
        }
        if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
            self.ensure_directory(above, mode)?;
        }
        match self.0.mkdir(path, mode) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_there() => {}
            made => made?,
        }
        self.sync_directory(parent(path))
    }

    /// See [`write()`].
    pub fn write(&self, path: &Path, content: &[u8], mode: u32) -> Result<(), StoreFault> {
        let fault = |error| StoreFault::new(Kind::Write, path, error);
        let temporary = temporary(path);
        self.stage(&temporary, content, mode).map_err(fault)?;
        self.put(&temporary, path).map_err(fault)
    }

    /// Replaces `path` by a link to `target`.
    pub fn link(&self, target: &Path, path: &Path) -> Result<(), StoreFault> {
        let fault = |error| StoreFault::new(Kind::Write, path, error);
        let temporary = temporary(path);
        self.clear(&temporary).map_err(fault)?;
        self.0.symlink(target, &temporary).map_err(fault)?;
        self.put(&temporary, path).map_err(fault)
    }

    /// Renames within one directory.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<(), StoreFault> {
        self.0
            .rename(from, to)
            .and_then(|()| self.sync_directory(parent(to)))
            .map_err(|error| StoreFault::new(Kind::Write, from, error))
    }

    /// See [`remove`].
    pub fn remove(&self, path: &Path) -> Result<(), StoreFault> {
        self.clear(path)
            .and_then(|()| self.sync_directory(parent(path)))
            .map_err(|error| StoreFault::new(Kind::Remove, path, error))
    }

    /// Makes sure that a file that is there outlives a power cut: its content, its name, and its directory's name. Whoever wrote
    /// it may have been stopped, or may have failed, between the rename and the fsync of the directory.
    pub fn settle(&self, path: &Path) -> Result<(), StoreFault> {
        let directory = parent(path);
        self.0
            .open(path)
            .and_then(|mut file| self.0.sync(&mut file))
            .map_err(|error| StoreFault::new(Kind::Write, path, error))?;
        self.settle_names(directory)?;
        self.settle_directory(directory)
    }

    /// Makes sure that what was done to the names of a directory outlives a power cut.
    pub fn settle_names(&self, directory: &Path) -> Result<(), StoreFault> {
        self.sync_directory(directory).map_err(|error| StoreFault::new(Kind::Write, directory, error))
    }

    /// The same for the name of a directory.
    pub fn settle_directory(&self, directory: &Path) -> Result<(), StoreFault> {
        match self.sync_directory(parent(directory)) {
            // A file system that takes no names cannot lose one (fsync(2): EROFS, EINVAL).
            Err(error) if word(&error) == "disk-read-only" || error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            synced => synced.map_err(|error| StoreFault::new(Kind::Write, directory, error)),
        }
    }

    /// Writes, syncs and reads back a file of its own, which nobody else can have open.
    fn stage(&self, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
        // What a crash left: never to be written into, since it may be a link.
        self.clear(path)?;
        let written = (|| {
            let mut file = self.0.create(path, mode)?;
            self.write_open(&mut file, content)?;
            self.0.sync(&mut file)?;
            drop(file);
            // A disk that says yes and keeps something else is found out before the old content is replaced.
            let mut file = self.0.open(path)?;
            let length = u64::try_from(content.len()).unwrap_or(u64::MAX);
            if self.read_open(&mut file, length, length)?.as_slice() == content {
                Ok(())
            } else {
                Err(io::Error::other("what was read back differs from what was written"))
            }
        })();
        written.map_err(|error| self.discard(path, error))
    }

    fn write_open(&self, file: &mut D::File, mut content: &[u8]) -> io::Result<()> {
        while !content.is_empty() {
            match self.0.write(file, content) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => content = content.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn put(&self, temporary: &Path, path: &Path) -> io::Result<()> {
        self.0.rename(temporary, path).map_err(|error| self.discard(temporary, error))?;
        self.sync_directory(parent(path))
    }

    fn discard(&self, path: &Path, error: io::Error) -> io::Error {
        // The write's own error is the one to tell; what is left behind is swept away later.
        let _ = self.0.unlink(path);
        error
    }

    fn clear(&self, path: &Path) -> io::Result<()> {
        match self.0.unlink(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.0.open(path).and_then(|mut directory| self.0.sync(&mut directory))
    }
}

/// Lossy: what is no UTF-8 is no PEM either, and is judged as such.
fn text(mut bytes: Zeroizing<Vec<u8>>) -> Secret {
    Secret::new(String::from_utf8(std::mem::take(&mut *bytes)).unwrap_or_else(|error| {
        let bytes = Zeroizing::new(error.into_bytes());
        String::from_utf8_lossy(&bytes).into_owned()
    }))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// One name per path: a crash leaves one file at most. It may hold a key: the next write of the same path clears it, and
/// [`Store::sweep`](super::Store::sweep) does where there is none.
fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}{TEMPORARY}"))
}

/// How the name of a temp file ends; it begins with a dot.
const TEMPORARY: &str = ".new";

/// Is this the name of a temp file of ours?
pub(super) fn is_temporary(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(TEMPORARY)
}
