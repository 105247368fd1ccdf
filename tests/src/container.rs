//! Container runtimes for `eyewall kubelet` that run no container: a script under the names of podman and docker, which does
//! as it is told by files and writes down how it was called.

pub mod docker;
pub mod host;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::{sleep, timeout};

/// A link to it, rather than a copy: a file that was just written cannot always be run while other threads start programs.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/container/runtime.sh");

/// The runtimes of a host.
#[derive(Debug)]
pub struct Runtimes(tempfile::TempDir);

impl Runtimes {
    /// These programs (`podman`, `docker`), which have no image and run nothing.
    ///
    /// # Errors
    /// No temporary directory.
    pub fn new(programs: &[&str]) -> Result<Self> {
        let runtimes = Self(tempfile::Builder::new().prefix("eyewall-runtimes-").tempdir()?);
        std::fs::create_dir(runtimes.file("bin"))?;
        for program in programs {
            std::os::unix::fs::symlink(SCRIPT, runtimes.file("bin").join(program))?;
        }
        Ok(runtimes)
    }

    /// The directory with the programs, for `PATH`.
    pub fn path(&self) -> PathBuf {
        self.file("bin")
    }

    /// Where their files lie.
    pub fn directory(&self) -> &Path {
        self.0.path()
    }

    /// Writes one of the files that the script reads.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn put(&self, name: &str, lines: &[&str]) -> Result<()> {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        Ok(std::fs::write(self.file(name), text)?)
    }

    /// Every call so far: the name and its arguments, with spaces between.
    pub fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.file("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// What became the container, once it has ended.
    ///
    /// # Errors
    /// Nothing was run.
    pub fn run(&self) -> Result<Run> {
        let read = |name: &str| std::fs::read(self.file("run").join(name)).context("nothing was run");
        let text = |name: &str| Ok::<_, anyhow::Error>(String::from_utf8(read(name)?)?);
        let words = |bytes: Vec<u8>| -> Vec<OsString> {
            let words = bytes.split(|&byte| byte == 0).map(|word| OsString::from_vec(word.to_vec()));
            words.filter(|word| !word.is_empty()).collect()
        };
        let arguments = words(read("arguments")?).into_iter().map(|word| word.to_string_lossy().into_owned());
        let status = text("status")?;
        let status = status.lines().filter_map(|line| line.split_once(":\t"));
        Ok(Run {
            arguments: arguments.collect(),
            environment: words(read("environment")?),
            status: status.map(|(key, value)| (key.to_owned(), value.trim().to_owned())).collect(),
            descriptors: text("descriptors")?.split_whitespace().filter_map(|word| word.parse().ok()).collect(),
        })
    }

    /// Waits until the container runs; the process that does it.
    ///
    /// # Errors
    /// It does not within ten seconds.
    pub async fn running(&self) -> Result<u32> {
        let pid = async {
            loop {
                let text = std::fs::read_to_string(self.file("run/pid")).unwrap_or_default();
                match text.trim_end().parse() {
                    Ok(pid) if text.ends_with('\n') => return pid,
                    _ => sleep(Duration::from_millis(10)).await,
                }
            }
        };
        timeout(Duration::from_secs(10), pid).await.with_context(|| format!("never run: {:#?}", self.calls()))
    }

    /// Whether the container was ended by SIGTERM.
    pub fn was_terminated(&self) -> bool {
        self.file("run/ended").exists()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// The process that became the container runtime, as it found itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// After the program's name; `run` is the first.
    pub arguments: Vec<String>,
    /// `NAME=value`
    pub environment: Vec<OsString>,
    /// proc_pid_status(5): `Pid`, `SigBlk`, `CapEff`, ...
    pub status: BTreeMap<String, String>,
    /// The numbers of its open files.
    pub descriptors: Vec<u32>,
}
