//! Files as evidence: what a file says, what it is, what a directory holds; and, where it cannot be read, what was in the way.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use eyewall_core::posture::evidence::{Entry, FileKind, Stat};
use eyewall_core::posture::{Capture, Source};
use nix::fcntl::OFlag;

/// A directory with more entries is no configuration.
const ENTRIES_MAX: usize = 4096;

/// What a file says, kept as its source declares. Only regular files are read: a pipe in the place of a configuration file
/// would hold up the whole agent.
pub fn content(source: &Source, path: &Path) -> Capture {
    let limit = 8 * Capture::LARGEST as u64;
    match read(path, limit + 1) {
        Ok(raw) => source.capture(&raw),
        Err(error) => why_not(path, &error),
    }
}

/// The first `most` bytes of a file.
pub fn first_bytes(source: &Source, path: &Path, most: usize) -> Capture {
    match read(path, most as u64) {
        Ok(raw) => source.capture(&raw),
        Err(error) => why_not(path, &error),
    }
}

fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // Opening a pipe without O_NONBLOCK waits for its writer.
    let file = File::options().read(true).custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut raw = Vec::new();
    file.take(limit).read_to_end(&mut raw)?;
    Ok(raw)
}

/// What a file is; a link itself, not what it points to.
pub fn stat(path: &Path) -> Capture {
    match path.symlink_metadata() {
        Ok(found) => {
            let target = std::fs::read_link(path).ok().map(|target| target.display().to_string());
            Capture::Stat(Stat {
                kind: kind(found.file_type()),
                mode: found.permissions().mode() & 0o7777,
                uid: found.uid(),
                gid: found.gid(),
                size: found.size(),
                mtime: found.modified().unwrap_or(std::time::UNIX_EPOCH).into(),
                target,
            })
        }
        Err(error) => why_not(path, &error),
    }
}

/// What a directory holds, by name.
pub fn listing(path: &Path) -> Capture {
    let read = || -> io::Result<Option<Vec<Entry>>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            if entries.len() >= ENTRIES_MAX {
                return Ok(None);
            }
            entries
                .push(Entry { name: entry.file_name().to_string_lossy().into_owned(), kind: kind(entry.file_type()?) });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Some(entries))
    };
    match read() {
        Ok(Some(entries)) => Capture::Listing(entries),
        Ok(None) => Capture::too_large(ENTRIES_MAX),
        Err(error) => why_not(path, &error),
    }
}

fn kind(found: std::fs::FileType) -> FileKind {
    if found.is_file() {
        FileKind::File
    } else if found.is_dir() {
        FileKind::Directory
    } else if found.is_symlink() {
        FileKind::Link
    } else {
        FileKind::Other
    }
}

/// What an error of the file system is as evidence. "There is none" is only what a directory that could be searched says.
pub fn why_not(path: &Path, error: &io::Error) -> Capture {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Capture::Missing,
        io::ErrorKind::PermissionDenied => {
            Capture::Denied(format!("reading {} needs CAP_DAC_READ_SEARCH, and SELinux must allow it", path.display()))
        }
        _ => Capture::failed("not-readable", &format!("{}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_way_is_told() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        std::fs::write(&file, "a = 1\n").unwrap();
        let source = Source::text("file:/x");
        assert_eq!(content(&source, &file), Capture::text("a = 1\n"));
        assert_eq!(content(&source, &root.path().join("none")), Capture::Missing);
        assert_eq!(content(&source, &file.join("below")), Capture::Missing);
        assert!(matches!(content(&source, root.path()), Capture::Failed(_)));
        let pipe = root.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(matches!(content(&source, &pipe), Capture::Failed(_)), "a pipe is not waited for");
        std::fs::write(&file, vec![b'a'; Capture::LARGEST + 1]).unwrap();
        assert!(matches!(content(&source, &file), Capture::TooLarge { .. }));
        std::os::unix::fs::symlink("file", root.path().join("link")).unwrap();
        let Capture::Listing(entries) = listing(root.path()) else { panic!("a listing") };
        let names: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.kind)).collect();
        assert_eq!(names, [("file", FileKind::File), ("link", FileKind::Link), ("pipe", FileKind::Other)]);
        let Capture::Stat(found) = stat(&root.path().join("link")) else { panic!("a stat") };
        assert_eq!((found.kind, found.target.as_deref()), (FileKind::Link, Some("file")));
    }
}
