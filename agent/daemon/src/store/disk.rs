//! The single system calls that the store makes, a method each, so that a test can stop it, fail it or cut its power at any of
//! them. What is done with them is `files.rs`' business; nothing is decided here.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What stat(2) says, as far as the store asks.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    /// What it is, behind links.
    pub is: Is,
    /// In bytes.
    pub length: u64,
    /// When the content was last written.
    pub written_at: SystemTime,
    /// Device and inode: two names with the same are one file.
    pub identity: (u64, u64),
}

/// Kinds of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Is {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A device, a socket or a pipe.
    Other,
}

/// A file system. Every method is one system call and has its errors, or a few that change nothing.
pub trait Disk {
    /// An open file; dropping it closes it.
    type File;

    /// Makes a file that was not there (`O_CREAT | O_EXCL`), to be written.
    fn create(&self, path: &Path, mode: u32) -> io::Result<Self::File>;
    /// Opens a file to be read, or a directory to be synced.
    fn open(&self, path: &Path) -> io::Result<Self::File>;
    /// Writes some of `bytes`, and says how many.
    fn write(&self, file: &mut Self::File, bytes: &[u8]) -> io::Result<usize>;
    /// Reads some, and says how many; none at the end.
    fn read(&self, file: &mut Self::File, bytes: &mut [u8]) -> io::Result<usize>;
    /// fsync(2): of a file its content, of a directory its names.
    fn sync(&self, file: &mut Self::File) -> io::Result<()>;
    /// What an open file is.
    fn stat_open(&self, file: &Self::File) -> io::Result<Stat>;
    /// What stands at a path, behind links.
    fn stat(&self, path: &Path) -> io::Result<Stat>;
    /// The absolute path without links in it.
    fn canonical(&self, path: &Path) -> io::Result<PathBuf>;
    /// Where a link points; `InvalidInput` for what is no link.
    fn read_link(&self, path: &Path) -> io::Result<PathBuf>;
    /// The names in a directory.
    fn list(&self, path: &Path) -> io::Result<Vec<OsString>>;
    /// Gives a file another name, over whatever had that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name.
    fn hard_link(&self, file: &Path, name: &Path) -> io::Result<()>;
    /// Makes a link.
    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()>;
    /// Takes a name away.
    fn unlink(&self, path: &Path) -> io::Result<()>;
    /// Makes one directory.
    fn mkdir(&self, path: &Path, mode: u32) -> io::Result<()>;
}

/// The host's own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kernel;

impl Disk for Kernel {
    type File = File;

    fn create(&self, path: &Path, mode: u32) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        File::open(path)
    }

    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<usize> {
        file.write(bytes)
    }

    fn read(&self, file: &mut File, bytes: &mut [u8]) -> io::Result<usize> {
        file.read(bytes)
    }

    fn sync(&self, file: &mut File) -> io::Result<()> {
        file.sync_all()
    }

    fn stat_open(&self, file: &File) -> io::Result<Stat> {
        stat(&file.metadata()?)
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        stat(&std::fs::metadata(path)?)
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        std::fs::canonicalize(path)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        std::fs::read_link(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        std::fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn hard_link(&self, file: &Path, name: &Path) -> io::Result<()> {
        std::fs::hard_link(file, name)
    }

    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        std::os::unix::fs::symlink(target, path)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn mkdir(&self, path: &Path, mode: u32) -> io::Result<()> {
        DirBuilder::new().mode(mode).create(path)
    }
}

fn stat(meta: &std::fs::Metadata) -> io::Result<Stat> {
    let is = match meta {
        meta if meta.is_file() => Is::File,
        meta if meta.is_dir() => Is::Directory,
        _ => Is::Other,
    };
    Ok(Stat { is, length: meta.len(), written_at: meta.modified()?, identity: (meta.dev(), meta.ino()) })
}
