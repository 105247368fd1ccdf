//! The configuration's files: read at the start, and again when one of them changes.
//!
//! A change that is good comes into force without a restart. One that is not is refused: the configuration before it
//! stays in force, and the refusal is told once. Nothing is polled; inotify says when to look.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use eyewall_core::config::{Config, Fault, Faults, Source, read};
use eyewall_core::event;
use eyewall_core::posture::Expectations;
use eyewall_core::status::ConfigStatus;
use eyewall_core::time::Time;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::events::Events;
use crate::hints::Hints;
use crate::limits::Limits;

/// The largest file that is read, in bytes. A configuration with everything in it has about 2 kB.
const LARGEST: u64 = 256 * 1024;
/// The most drop-ins that are read.
const DROP_INS_MAX: usize = 256;
/// An editor or a configuration tool writes several files: they are read when it has been quiet for this long ...
const QUIET: Duration = Duration::from_millis(200);
/// ... but somebody who never stops writing does not keep us from reading.
const SETTLED_BY: Duration = Duration::from_secs(2);
/// How often to look where the system has no inotify to give.
const WITHOUT_INOTIFY: Duration = Duration::from_secs(60);

/// Which configuration: a file, its drop-ins beside it, and what the command line puts over both.
#[derive(Clone, Debug)]
pub struct Files {
    /// The main file; the drop-ins are `<path>.d/*.toml`, in the order of their names.
    pub path: PathBuf,
    /// `--node-name`: wins over `node.name`.
    pub node_name: Option<String>,
    /// `--socket`: wins over `socket.path`.
    pub socket: Option<PathBuf>,
}

/// A configuration that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// What the files say.
    pub config: Config,
    /// The files that were there, in the order in which they were read.
    pub files: Vec<String>,
}

/// What is wrong with `[posture]`: checks that do not exist, what they cannot expect, waivers without a day. Which checks there are is
/// known to posture alone, so it is not the parser that says so; `file` is the one that is named.
pub fn posture_faults(file: &str, config: &Config) -> Vec<Fault> {
    let faults = Expectations::new(crate::host::os(config), config).err().unwrap_or_default();
    faults
        .into_iter()
        .map(|fault| Fault { key: "posture".to_owned(), ..Fault::of_file(file, fault.kind(), fault.to_string()) })
        .collect()
}

impl Files {
    /// The configuration at `path`, without anything from the command line.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), node_name: None, socket: None }
    }

    /// Reads all files. No file at all is the defaults.
    ///
    /// # Errors
    /// Every fault of every file, one that cannot be read included.
    pub fn load(&self) -> Result<Loaded, Faults> {
        self.read_all(None)
    }

    /// The same, as if there were this drop-in too; in the place of one of the same name.
    ///
    /// # Errors
    /// As [`Files::load`].
    pub fn load_with(&self, drop_in: &Source) -> Result<Loaded, Faults> {
        self.read_all(Some(drop_in))
    }

    fn read_all(&self, more: Option<&Source>) -> Result<Loaded, Faults> {
        let mut faults = Vec::new();
        let mut sources = Vec::new();
        let mut drop_ins = self.drop_ins(&mut faults);
        if let Some(more) = more {
            drop_ins.push(PathBuf::from(&more.name));
            drop_ins.sort();
            drop_ins.dedup();
        }
        let mut paths = vec![self.path.clone()];
        paths.append(&mut drop_ins);
        for path in &paths {
            if let Some(more) = more.filter(|more| Path::new(&more.name) == path) {
                sources.push(more.clone());
                continue;
            }
            match read_file(path) {
                Ok(Some(source)) => sources.push(source),
                Ok(None) => {}
                Err(fault) => faults.push(fault),
            }
        }
        let read = read(&sources).map_err(|found| faults.extend(found));
        faults.sort_by_key(|fault| paths.iter().position(|path| path.display().to_string() == fault.file));
        match (read, Faults::new(faults)) {
            (Ok(mut config), None) => {
                if let Some(name) = &self.node_name {
                    config.node.name = Some(name.clone());
                }
                if let Some(socket) = &self.socket {
                    config.socket.path.clone_from(socket);
                }
                let last = sources.last().map_or_else(|| self.path.display().to_string(), |source| source.name.clone());
                if let Some(faults) = Faults::new(posture_faults(&last, &config)) {
                    return Err(faults);
                }
                Ok(Loaded { config, files: sources.into_iter().map(|source| source.name).collect() })
            }
            (_, Some(faults)) => Err(faults),
            // Without a configuration there is a fault; this is only what the compiler cannot see.
            (Err(()), None) => Ok(Loaded { config: Config::default(), files: Vec::new() }),
        }
    }

    /// Where the drop-ins are: beside the file, `<path>.d`.
    pub fn drop_in_directory(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".d");
        PathBuf::from(name)
    }

    /// The drop-ins, by name. Hidden files are none, as for every `*.toml`.
    fn drop_ins(&self, faults: &mut Vec<Fault>) -> Vec<PathBuf> {
        let directory = self.drop_in_directory();
        let unreadable = |error: &io::Error| {
            let name = directory.display().to_string();
            Fault::of_file(&name, "unreadable", format!("the drop-ins cannot be listed: {error}"))
        };
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                faults.push(unreadable(&error));
                return Vec::new();
            }
        };
        let mut paths = Vec::new();
        for entry in entries {
            match entry {
                Ok(entry) if is_drop_in(&entry.file_name().to_string_lossy()) => {
                    paths.push(entry.path());
                }
                Ok(_) => {}
                Err(error) => faults.push(unreadable(&error)),
            }
        }
        paths.sort();
        if paths.len() > DROP_INS_MAX {
            let name = directory.display().to_string();
            let sentence = format!("there are more than {DROP_INS_MAX} drop-ins here: put them together");
            faults.push(Fault::of_file(&name, "too-many", sentence));
            paths.truncate(DROP_INS_MAX);
        }
        paths
    }
}

fn is_drop_in(name: &str) -> bool {
    name.ends_with(".toml") && !name.starts_with('.')
}

/// `None` if there is no such file.
fn read_file(path: &Path) -> Result<Option<Source>, Fault> {
    let name = path.display().to_string();
    let unreadable =
        |error: io::Error| Fault::of_file(&name, "unreadable", format!("the file cannot be read: {error}"));
    // Before it is opened: to open a pipe is to wait for its writer.
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => {
            let sentence = "this is not a file: put the configuration into a regular one";
            return Err(Fault::of_file(&name, "unreadable", sentence));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    }
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    from_reader(&name, file).map(Some)
}

/// A file from what is open already; `name` is how its faults name it.
///
/// # Errors
/// It cannot be read, is too large, or is not UTF-8.
pub fn from_reader(name: &str, reader: impl io::Read) -> Result<Source, Fault> {
    let mut bytes = Vec::new();
    let read = reader.take(LARGEST + 1).read_to_end(&mut bytes);
    if let Err(error) = read {
        let sentence = format!("the file cannot be read: {error}");
        return Err(Fault::of_file(name, "unreadable", sentence));
    }
    if bytes.len() as u64 > LARGEST {
        let sentence = format!("the file is larger than {LARGEST} bytes, which no configuration is");
        return Err(Fault::of_file(name, "too-large", sentence));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source { name: name.to_owned(), text }),
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let before = error.as_bytes().get(..good).unwrap_or_default();
            let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
            let sentence = "this is not UTF-8, which TOML is: save the file as UTF-8";
            Err(Fault { line: u32::try_from(line).unwrap_or(u32::MAX), ..Fault::of_file(name, "not-utf-8", sentence) })
        }
    }
}

/// What [`follow`] works with.
#[derive(Debug)]
pub struct Deps {
    /// Where to look.
    pub files: Files,
    /// What was read at the start; it is in force.
    pub loaded: Loaded,
    /// Who wants to know of a new configuration.
    pub config: watch::Sender<Arc<Config>>,
    /// Who wants to know whether the files on disk are in force.
    pub status: watch::Sender<ConfigStatus>,
    /// The story.
    pub events: Events,
    /// Where it says that it has no inotify.
    pub limits: Limits,
}

/// The status of a configuration that came into force `now`.
pub fn status(loaded: &Loaded, now: Time) -> ConfigStatus {
    ConfigStatus { files: loaded.files.clone(), loaded_at: now, refused: None }
}

/// Takes over what changes on disk, for ever.
pub async fn follow(deps: Deps) {
    let Deps { files, mut loaded, config, status, events, limits } = deps;
    let wake = Arc::new(Notify::new());
    let (mut hints, _) = Hints::new(Arc::clone(&wake));
    let any = files.drop_in_directory().join("*");
    loop {
        // First watched, then read: what changes in between is read again.
        hints.follow(&[&files.path, &any]);
        take_over(files.load(), &mut loaded, &config, &status, &events);
        let limit = hints.limit();
        let is_deaf = limit.is_some();
        limits.tell("configuration-hints", limit);
        if is_deaf {
            let _ = timeout(WITHOUT_INOTIFY, wake.notified()).await;
        } else {
            wake.notified().await;
        }
        let settled_by = Instant::now() + SETTLED_BY;
        while timeout_at(settled_by.min(Instant::now() + QUIET), wake.notified()).await.is_ok() {}
    }
}

/// Publishes what was read, if it is news.
fn take_over(
    read: Result<Loaded, Faults>,
    in_force: &mut Loaded,
    config: &watch::Sender<Arc<Config>>,
    status: &watch::Sender<ConfigStatus>,
    events: &Events,
) {
    match read {
        Ok(read) => {
            let is_news = read != *in_force;
            if !is_news && status.borrow().refused.is_none() {
                return;
            }
            let named = read.files.join(" ");
            let message = match read.files.len() {
                0 => "no configuration file is there: the defaults are in force".to_owned(),
                _ => format!("the configuration is in force: {named}"),
            };
            status.send_replace(self::status(&read, Time(crate::clock::now())));
            if read.config != in_force.config {
                config.send_replace(Arc::new(read.config.clone()));
            }
            *in_force = read;
            events.emit(&event::CONFIG_APPLIED, message, &[("files", &named)]);
        }
        Err(faults) => {
            let reason = faults.reason();
            if status.borrow().refused.as_ref() == Some(&reason) {
                return;
            }
            status.send_modify(|status| status.refused = Some(reason.clone()));
            let message = format!("the configuration on disk is refused: {}", reason.message);
            events.emit(&event::CONFIG_REFUSED, message, &[("kind", faults.kind())]);
        }
    }
}

#[cfg(test)]
mod tests;
