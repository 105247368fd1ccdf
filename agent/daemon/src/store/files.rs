//! Writing so that a power cut leaves the old content or the new, never a part: temp file in the same directory, fsync, read
//! back, rename, fsync of the directory.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use eyewall_core::status::Reason;

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
pub struct Content {
    pub text: String,
    pub written_at: SystemTime,
}

/// Reads at most `largest` bytes; more is an error, since nothing of ours is that large.
pub fn read(path: &Path, largest: u64) -> io::Result<Content> {
    let file = File::open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    if meta.len() > largest {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is larger than {largest} bytes")));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0));
    file.take(largest).read_to_end(&mut bytes)?;
    // Lossy: what is no UTF-8 is no PEM either, and is judged as such.
    let text = String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    Ok(Content { text, written_at: meta.modified()? })
}

/// Makes the directory and those above it.
pub fn make_directory(path: &Path, mode: u32) -> Result<(), StoreFault> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .and_then(|()| sync_directory(path.parent().unwrap_or(path)))
        .map_err(|error| StoreFault::new(Kind::Write, path, error))
}

/// Replaces `path` by a file with this content, whole or not at all.
pub fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), StoreFault> {
    let fault = |error| StoreFault::new(Kind::Write, path, error);
    let temporary = temporary(path);
    stage(&temporary, content, mode).map_err(fault)?;
    std::fs::rename(&temporary, path).map_err(|error| discard(&temporary, error)).map_err(fault)?;
    sync_directory(parent(path)).map_err(fault)
}

/// Replaces `path` by a link to `target`.
pub fn link(target: &Path, path: &Path) -> Result<(), StoreFault> {
    let fault = |error| StoreFault::new(Kind::Write, path, error);
    let temporary = temporary(path);
    clear(&temporary).map_err(fault)?;
    std::os::unix::fs::symlink(target, &temporary).map_err(fault)?;
    std::fs::rename(&temporary, path).map_err(|error| discard(&temporary, error)).map_err(fault)?;
    sync_directory(parent(path)).map_err(fault)
}

/// Renames within one directory.
pub fn rename(from: &Path, to: &Path) -> Result<(), StoreFault> {
    std::fs::rename(from, to)
        .and_then(|()| sync_directory(parent(to)))
        .map_err(|error| StoreFault::new(Kind::Write, from, error))
}

/// Removes a file; one that is not there is removed already.
pub fn remove(path: &Path) -> Result<(), StoreFault> {
    clear(path).and_then(|()| sync_directory(parent(path))).map_err(|error| StoreFault::new(Kind::Remove, path, error))
}

/// Writes, syncs and reads back a file of its own, which nobody else can have open.
fn stage(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    // What a crash left: never to be written into, since it may be a link.
    clear(path)?;
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(content)?;
        file.sync_all()?;
        drop(file);
        // A disk that says yes and keeps something else is found out before the old content is replaced.
        if std::fs::read(path)? == content {
            Ok(())
        } else {
            Err(io::Error::other("what was read back differs from what was written"))
        }
    })();
    written.map_err(|error| discard(path, error))
}

fn discard(path: &Path, error: io::Error) -> io::Error {
    // The write's own error is the one to tell; what is left behind is cleared by the next write.
    let _ = std::fs::remove_file(path);
    error
}

fn clear(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// One name per path: a crash leaves one file at most, and the next write clears it.
fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}
