//! A disk that knows what a power cut does to what was not fsynced (POSIX, not one file system's better manners): the content of
//! a file is durable after its own fsync, a name (made, renamed, linked, removed) after the fsync of its directory, and before
//! that each may be there or not, whatever the order was. A rename or a link is there as a whole or not at all.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::SystemTime;

use nix::errno::Errno;

use super::disk::{Disk, Is, Stat};

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    File(u64),
    Link(PathBuf),
    Directory,
}

/// The content of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Data {
    now: Rc<[u8]>,
    /// Since its last write it was fsynced.
    synced: bool,
}

/// Names that come and go together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    directory: PathBuf,
    sets: Vec<(PathBuf, Option<Entry>)>,
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<PathBuf, Entry>) {
        for (path, entry) in &self.sets {
            match entry {
                Some(entry) => names.insert(path.clone(), entry.clone()),
                None => names.remove(path),
            };
        }
    }
}

/// All of a disk, as a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct State {
    /// As processes see it.
    names: BTreeMap<PathBuf, Entry>,
    /// As it is after a power cut, whatever becomes of `pending`.
    durable: BTreeMap<PathBuf, Entry>,
    /// What was done to names since their directory's last fsync.
    pending: Vec<Change>,
    files: BTreeMap<u64, Data>,
}

impl State {
    /// Everything that a power cut at this instant may leave: every subset of the names that are not durable, and for each file
    /// that is not fsynced nothing of it (names kept, data lost: kubernetes#131111), half of it, or all.
    pub fn after_a_power_cut(&self) -> Vec<Self> {
        assert!(self.pending.len() <= 6, "too many names without an fsync to try each subset: {:?}", self.pending);
        let mut found = Vec::new();
        for subset in 0..1_u32 << self.pending.len() {
            let mut names = self.durable.clone();
            let kept = self.pending.iter().enumerate().filter(|(index, _)| subset & (1 << index) != 0);
            kept.for_each(|(_, change)| change.apply(&mut names));
            // What is in a lost directory is lost.
            while let Some(lost) = names.keys().find(|path| !is_reachable(&names, path)).cloned() {
                names.remove(&lost);
            }
            let mut left = vec![self.files.clone()];
            left[0].retain(|inode, _| names.values().any(|entry| *entry == Entry::File(*inode)));
            let torn: Vec<u64> = left[0].iter().filter(|(_, data)| !data.synced).map(|(inode, _)| *inode).collect();
            for inode in torn {
                left = left.iter().flat_map(|files| torn_ways(files, inode)).collect();
            }
            for files in left {
                found.push(Self { durable: names.clone(), names: names.clone(), pending: Vec::new(), files });
            }
        }
        found.sort();
        found.dedup();
        found
    }

    /// Everything is durable, as after a sync(1).
    fn settle(&mut self) {
        self.durable = self.names.clone();
        self.pending.clear();
        self.files.values_mut().for_each(|data| data.synced = true);
    }

    fn change(&mut self, sets: Vec<(PathBuf, Option<Entry>)>) {
        let directory = sets.first().and_then(|(path, _)| path.parent()).unwrap_or(Path::new("/")).to_owned();
        let change = Change { directory, sets };
        change.apply(&mut self.names);
        self.pending.push(change);
    }

    /// What stands at `path`, behind links, and where that is.
    fn follow(&self, path: &Path) -> io::Result<(PathBuf, &Entry)> {
        let mut path = path.to_owned();
        for _ in 0..8 {
            match self.names.get(&path) {
                None => return Err(Errno::ENOENT.into()),
                Some(Entry::Link(target)) => path = path.parent().unwrap_or(Path::new("/")).join(target),
                Some(entry) => return Ok((path, entry)),
            }
        }
        Err(Errno::ELOOP.into())
    }

    fn is_free(&self, path: &Path) -> io::Result<()> {
        match (self.names.get(path), path.parent().and_then(|above| self.names.get(above))) {
            (Some(_), _) => Err(Errno::EEXIST.into()),
            (None, Some(Entry::Directory)) => Ok(()),
            (None, _) => Err(Errno::ENOENT.into()),
        }
    }
}

fn is_reachable(names: &BTreeMap<PathBuf, Entry>, path: &Path) -> bool {
    path.parent().is_none_or(|above| names.get(above) == Some(&Entry::Directory))
}

fn torn_ways(files: &BTreeMap<u64, Data>, inode: u64) -> Vec<BTreeMap<u64, Data>> {
    let whole = &files[&inode].now;
    let ways = [0, whole.len() / 2, whole.len()].map(|kept| {
        let mut files = files.clone();
        files.insert(inode, Data { now: whole[..kept].into(), synced: true });
        files
    });
    ways.into()
}

/// A disk in memory.
#[derive(Debug, Default)]
pub struct Simulated {
    state: RefCell<State>,
    /// fsync of a file says yes and does nothing.
    lies: bool,
}

/// An open file of it.
#[derive(Debug)]
pub enum Handle {
    File { inode: u64, at: usize },
    Directory(PathBuf),
}

impl Simulated {
    /// With `/` and these directories below it.
    pub fn new(directories: &[&Path]) -> Self {
        let mut state = State::default();
        state.names.insert(PathBuf::from("/"), Entry::Directory);
        for directory in directories {
            for above in directory.ancestors() {
                state.names.insert(above.to_owned(), Entry::Directory);
            }
        }
        state.settle();
        Self::with(state)
    }

    /// With what a cut left.
    pub fn with(state: State) -> Self {
        Self { state: RefCell::new(state), lies: false }
    }

    /// One that does not fsync files, to show that this is found out.
    pub fn lying(state: State) -> Self {
        Self { lies: true, ..Self::with(state) }
    }

    /// Everything is durable, as after a sync(1).
    pub fn settle(&self) {
        self.state.borrow_mut().settle();
    }

    /// The disk as a value, without the files that have no name any more.
    pub fn state(&self) -> State {
        let mut state = self.state.borrow().clone();
        let State { names, durable, pending, files } = &mut state;
        let changed = pending.iter().flat_map(|change| &change.sets).filter_map(|(_, entry)| entry.as_ref());
        let named: Vec<&Entry> = names.values().chain(durable.values()).chain(changed).collect();
        files.retain(|inode, _| named.contains(&&Entry::File(*inode)));
        state
    }
}

impl Disk for Simulated {
    type File = Handle;

    fn create(&self, path: &Path, _mode: u32) -> io::Result<Handle> {
        let mut state = self.state.borrow_mut();
        state.is_free(path)?;
        let inode = state.files.keys().next_back().map_or(1, |last| last + 1);
        state.files.insert(inode, Data::default());
        state.change(vec![(path.to_owned(), Some(Entry::File(inode)))]);
        Ok(Handle::File { inode, at: 0 })
    }

    fn open(&self, path: &Path) -> io::Result<Handle> {
        let state = self.state.borrow();
        Ok(match state.follow(path)? {
            (_, Entry::File(inode)) => Handle::File { inode: *inode, at: 0 },
            (path, _) => Handle::Directory(path),
        })
    }

    fn write(&self, file: &mut Handle, bytes: &[u8]) -> io::Result<usize> {
        let Handle::File { inode, .. } = file else { return Err(Errno::EBADF.into()) };
        let mut state = self.state.borrow_mut();
        let data = state.files.get_mut(inode).ok_or(Errno::EBADF)?;
        data.now = [&data.now, bytes].concat().into();
        data.synced = false;
        Ok(bytes.len())
    }

    fn read(&self, file: &mut Handle, bytes: &mut [u8]) -> io::Result<usize> {
        let Handle::File { inode, at } = file else { return Err(Errno::EISDIR.into()) };
        let state = self.state.borrow();
        let rest = &state.files[inode].now[*at..];
        let count = rest.len().min(bytes.len());
        bytes[..count].copy_from_slice(&rest[..count]);
        *at += count;
        Ok(count)
    }

    fn sync(&self, file: &mut Handle) -> io::Result<()> {
        let state = &mut *self.state.borrow_mut();
        match file {
            Handle::File { inode, .. } => state.files.get_mut(inode).ok_or(Errno::EBADF)?.synced |= !self.lies,
            Handle::Directory(directory) => {
                state.pending.iter().filter(|change| change.directory == *directory).for_each(|change| {
                    change.apply(&mut state.durable);
                });
                state.pending.retain(|change| change.directory != *directory);
            }
        }
        Ok(())
    }

    fn stat_open(&self, file: &Handle) -> io::Result<Stat> {
        let state = self.state.borrow();
        Ok(match file {
            Handle::File { inode, .. } => stat(Is::File, state.files[inode].now.len(), *inode),
            Handle::Directory(_) => stat(Is::Directory, 0, 0),
        })
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let state = self.state.borrow();
        Ok(match state.follow(path)?.1 {
            Entry::File(inode) => stat(Is::File, state.files[inode].now.len(), *inode),
            _ => stat(Is::Directory, 0, 0),
        })
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(self.state.borrow().follow(path)?.0)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        match self.state.borrow().names.get(path) {
            Some(Entry::Link(target)) => Ok(target.clone()),
            Some(_) => Err(Errno::EINVAL.into()),
            None => Err(Errno::ENOENT.into()),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let state = self.state.borrow();
        state.follow(path)?;
        let names = state.names.keys().filter(|name| name.parent() == Some(path));
        Ok(names.filter_map(|name| name.file_name()).map(OsString::from).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        let entry = state.names.get(from).cloned().ok_or(Errno::ENOENT)?;
        if matches!(&entry, Entry::File(_)) && state.names.get(to) == Some(&entry) {
            // Two names of one file: rename(2) does nothing.
            return Ok(());
        }
        assert_eq!(from.parent(), to.parent(), "the store renames within one directory");
        state.change(vec![(from.to_owned(), None), (to.to_owned(), Some(entry))]);
        Ok(())
    }

    fn hard_link(&self, file: &Path, name: &Path) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        let entry = state.names.get(file).cloned().ok_or(Errno::ENOENT)?;
        state.is_free(name)?;
        state.change(vec![(name.to_owned(), Some(entry))]);
        Ok(())
    }

    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        state.is_free(path)?;
        state.change(vec![(path.to_owned(), Some(Entry::Link(target.to_owned())))]);
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        match state.names.get(path) {
            None => return Err(Errno::ENOENT.into()),
            Some(Entry::Directory) => return Err(Errno::EISDIR.into()),
            Some(_) => state.change(vec![(path.to_owned(), None)]),
        }
        Ok(())
    }

    fn mkdir(&self, path: &Path, _mode: u32) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        state.is_free(path)?;
        state.change(vec![(path.to_owned(), Some(Entry::Directory))]);
        Ok(())
    }
}

fn stat(is: Is, length: usize, inode: u64) -> Stat {
    let length = u64::try_from(length).expect("small");
    Stat { is, length, written_at: SystemTime::UNIX_EPOCH, identity: (0, inode) }
}

#[cfg(test)]
mod tests;
