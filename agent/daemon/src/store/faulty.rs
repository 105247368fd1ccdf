//! A disk that counts its calls and, at the one it is told, fails, does half of it, or does nothing more at all.

use std::cell::{Cell, RefCell};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::disk::{Disk, Stat};

/// What happens at the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and the next is as if nothing had been.
    Fails(Errno),
    /// It fails, and so does every later one that this error can stop: a disk that is full stays full.
    FailsFromHere(Errno),
    /// A write takes half of the bytes.
    WritesHalf,
    /// A write takes half of the bytes, and the next one fails: the disk is full in the middle of a file.
    WritesHalfAndFails(Errno),
    /// Neither it nor anything after it happens, as for kill -9 and a power cut.
    Stops,
    /// A write takes half of the bytes, and nothing happens after it.
    WritesHalfAndStops,
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    /// It only looks.
    Looks,
    /// It changes names.
    Names,
    /// It changes names, and takes away or replaces one: room on the disk is not what it lacks.
    Frees,
    /// It writes content.
    Writes,
    /// It makes durable.
    Syncs,
}

impl Does {
    /// The errors that a call of this kind meets.
    pub fn errors(self) -> &'static [Errno] {
        match self {
            Self::Looks => &[Errno::EIO],
            Self::Names | Self::Frees | Self::Writes | Self::Syncs => &[Errno::ENOSPC, Errno::EIO, Errno::EROFS],
        }
    }

    /// Is it stopped by a disk that has this error from now on?
    fn is_stopped_by(self, error: Errno) -> bool {
        match error {
            Errno::ENOSPC => matches!(self, Self::Names | Self::Writes),
            Errno::EROFS => matches!(self, Self::Names | Self::Frees | Self::Writes),
            _ => true,
        }
    }
}

/// The disk below, and what happens to it.
#[derive(Debug)]
pub struct Faulty<D> {
    below: D,
    plan: Option<(usize, Fault)>,
    calls: RefCell<Vec<(&'static str, Does)>>,
    stopped: Cell<bool>,
    /// The next write fails.
    full: Cell<Option<Errno>>,
}

impl<D: Disk> Faulty<D> {
    /// With `fault` at the call of this number, the first being 0.
    pub fn new(below: D, plan: Option<(usize, Fault)>) -> Self {
        Self { below, plan, calls: RefCell::default(), stopped: Cell::new(false), full: Cell::new(None) }
    }

    /// The calls that were made, the one at fault included.
    pub fn calls(&self) -> Vec<(&'static str, Does)> {
        self.calls.borrow().clone()
    }

    pub fn below(&self) -> &D {
        &self.below
    }

    pub fn plan(&self) -> Option<(usize, Fault)> {
        self.plan
    }

    /// Counts a call. `Ok(Some(_))`: a write takes half.
    fn meet(&self, name: &'static str, does: Does) -> io::Result<Option<Fault>> {
        if self.stopped.get() {
            return Err(io::Error::other("nothing happens after the stop"));
        }
        let number = self.calls.borrow().len();
        self.calls.borrow_mut().push((name, does));
        if does == Does::Writes
            && let Some(error) = self.full.take()
        {
            return Err(error.into());
        }
        match self.plan {
            Some((at, Fault::FailsFromHere(error))) if number == at || number > at && does.is_stopped_by(error) => {
                Err(error.into())
            }
            Some((at, fault)) if number == at => match fault {
                Fault::Fails(error) | Fault::FailsFromHere(error) => Err(error.into()),
                Fault::Stops => {
                    self.stopped.set(true);
                    Err(io::Error::other("stopped"))
                }
                half => Ok(Some(half)),
            },
            _ => Ok(None),
        }
    }
}

impl<D: Disk> Disk for Faulty<D> {
    type File = D::File;

    fn create(&self, path: &Path, mode: u32) -> io::Result<D::File> {
        self.meet("create", Does::Names)?;
        self.below.create(path, mode)
    }

    fn open(&self, path: &Path) -> io::Result<D::File> {
        self.meet("open", Does::Looks)?;
        self.below.open(path)
    }

    fn write(&self, file: &mut D::File, bytes: &[u8]) -> io::Result<usize> {
        let fault = self.meet("write", Does::Writes)?;
        let Some(fault) = fault else { return self.below.write(file, bytes) };
        let count = self.below.write(file, &bytes[..bytes.len() / 2])?;
        match fault {
            Fault::WritesHalfAndFails(error) => self.full.set(Some(error)),
            Fault::WritesHalfAndStops => {
                self.stopped.set(true);
                return Err(io::Error::other("stopped"));
            }
            _ => {}
        }
        Ok(count)
    }

    fn read(&self, file: &mut D::File, bytes: &mut [u8]) -> io::Result<usize> {
        self.meet("read", Does::Looks)?;
        self.below.read(file, bytes)
    }

    fn sync(&self, file: &mut D::File) -> io::Result<()> {
        self.meet("fsync", Does::Syncs)?;
        self.below.sync(file)
    }

    fn stat_open(&self, file: &D::File) -> io::Result<Stat> {
        self.meet("fstat", Does::Looks)?;
        self.below.stat_open(file)
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        self.meet("stat", Does::Looks)?;
        self.below.stat(path)
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        self.meet("realpath", Does::Looks)?;
        self.below.canonical(path)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.meet("readlink", Does::Looks)?;
        self.below.read_link(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        self.meet("readdir", Does::Looks)?;
        self.below.list(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.meet("rename", Does::Frees)?;
        self.below.rename(from, to)
    }

    fn hard_link(&self, file: &Path, name: &Path) -> io::Result<()> {
        self.meet("link", Does::Names)?;
        self.below.hard_link(file, name)
    }

    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        self.meet("symlink", Does::Names)?;
        self.below.symlink(target, path)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.meet("unlink", Does::Frees)?;
        self.below.unlink(path)
    }

    fn mkdir(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.meet("mkdir", Does::Names)?;
        self.below.mkdir(path, mode)
    }
}
