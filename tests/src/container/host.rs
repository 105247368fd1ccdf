//! A host on which `eyewall kubelet` is run: a directory that stands for `/`, and container runtimes beside it.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::Runtimes;
use crate::apiserver::{Authority, Kubeconfig};
use crate::node::binary;

/// The first of the images that a host is configured with.
pub const FIRST: &str = "quay.io/poseidon/kubelet:v1.36.2";
/// The fallback.
pub const SECOND: &str = "docker.io/psdn/kubelet:v1.36.2";
const TOKEN: &str = "plantd.5ecre75ecre75ecr";
/// The part of the token that nobody may tell.
const SECRET: &str = "5ecre75ecre75ecr";
const SOON: Duration = Duration::from_secs(20);

/// The host. Dropping it removes its files.
#[derive(Debug)]
pub struct Host {
    directory: tempfile::TempDir,
    /// The container runtimes it has.
    pub runtimes: Runtimes,
    pace: Vec<String>,
}

impl Host {
    /// As Ignition leaves it, with these runtimes and the kubeconfig that the daemon has written.
    ///
    /// # Errors
    /// No temporary directory.
    pub fn new(runtimes: &[&str]) -> Result<Self> {
        let host = Self { directory: tempfile::tempdir()?, runtimes: Runtimes::new(runtimes)?, pace: Vec::new() };
        let year = Duration::from_secs(31_536_000);
        let authority = Authority::new("a cluster", SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + 100 * year)?;
        let kubeconfig = Kubeconfig::typhoon("https://127.0.0.1:6443", authority.certificate_pem(), TOKEN);
        host.put("root/etc/kubernetes/kubeconfig", &kubeconfig.to_yaml())?;
        host.put("root/var/lib/kubelet/kubeconfig", "apiVersion: v1\n")?;
        host.configure(&format!("[kubelet]\nimages = [{FIRST:?}, {SECOND:?}]\n"))?;
        Ok(host)
    }

    /// Where its files are: `eyewall.toml`, and all of `/` below `root`.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A path below [`Host::directory`].
    pub fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join(below)
    }

    /// Writes a file, and makes the directories above it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn put(&self, below: &str, text: &str) -> Result<()> {
        let path = self.path(below);
        std::fs::create_dir_all(path.parent().context("a parent")?)?;
        Ok(std::fs::write(path, text)?)
    }

    /// Writes the configuration: the node's own keys, and these tables.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn configure(&self, tables: &str) -> Result<()> {
        self.put("eyewall.toml", &format!("[node]\nname = \"node-a\"\nos = \"generic\"\n{tables}"))
    }

    /// What stands before the program when it is started, see [`crate::node::hurried`].
    pub fn pace(&mut self, words: Vec<String>) {
        self.pace = words;
    }

    /// What `eyewall kubelet` wrote down about its start.
    ///
    /// # Errors
    /// There is no record.
    pub fn record(&self) -> Result<Value> {
        let text = std::fs::read_to_string(self.path("root/run/eyewall/kubelet.json")).context("no record")?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Starts `eyewall kubelet` with these arguments.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&self, arguments: &[&str]) -> Result<Child> {
        let mut words = self.pace.clone();
        words.push(binary()?.display().to_string());
        let (program, before) = words.split_first().context("no words")?;
        let mut command = Command::new(program);
        command.args(before).arg("kubelet");
        command.arg("--config").arg(self.path("eyewall.toml")).arg("--root").arg(self.path("root")).args(arguments);
        self.surroundings(&mut command)?.spawn().context("eyewall kubelet")
    }

    /// As systemd starts a service, with all that is said kept.
    ///
    /// # Errors
    /// No file can be made.
    pub fn surroundings<'a>(&self, command: &'a mut Command) -> Result<&'a mut Command> {
        let path = if self.pace.is_empty() { self.runtimes.path() } else { self.path_with_tools()? };
        let command = command
            .env_clear()
            .env("PATH", path)
            .env("EYEWALL_LOG", "trace")
            .env("INVOCATION_ID", "0123456789abcdef0123456789abcdef");
        Ok(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true))
    }

    /// What speeds the clock up needs these.
    fn path_with_tools(&self) -> Result<PathBuf> {
        let path = self.runtimes.path();
        for tool in ["sh", "mount", "unshare"] {
            let link = path.join(tool);
            if !link.exists() {
                std::os::unix::fs::symlink(Path::new("/usr/bin").join(tool), link)?;
            }
        }
        Ok(path)
    }

    /// Starts it and waits for its end, see [`Host::end`].
    ///
    /// # Errors
    /// It does not end, or tells the token.
    pub async fn run(&self, arguments: &[&str]) -> Result<Told> {
        self.end(self.start(arguments)?).await
    }

    /// Waits for its end, and looks for the token in all that is left of it: what it said, what it wrote, and what the
    /// runtimes were called with.
    ///
    /// # Errors
    /// It does not end, or tells the token.
    pub async fn end(&self, child: Child) -> Result<Told> {
        let output = timeout(SOON, child.wait_with_output()).await.context("it does not end")??;
        let told = Told::new(output);
        ensure!(!told.log.contains(SECRET) && !told.output.contains(SECRET), "the token is told: {told:?}");
        for directory in [self.directory.path(), self.runtimes.directory()] {
            for (path, content) in files(directory)? {
                let is_told = String::from_utf8_lossy(&content).contains(SECRET);
                if is_told && path != Path::new("root/etc/kubernetes/kubeconfig") {
                    bail!("the token is in {}", path.display());
                }
            }
        }
        Ok(told)
    }
}

/// How it ended and what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The exit code, if no signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Its standard output.
    pub output: String,
    /// Its standard error.
    pub log: String,
}

impl Told {
    fn new(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self {
            code: output.status.code(),
            signal: output.status.signal(),
            output: text(output.stdout),
            log: text(output.stderr),
        }
    }

    /// The one line about this event, without its level.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn event(&self, event: &str) -> Result<&str> {
        let mut lines = self.log.lines().filter_map(|line| line.get(6..)).filter(|line| line.starts_with(event));
        let line = lines.next().with_context(|| format!("no {event}: {}", self.log))?;
        ensure!(lines.next().is_none(), "{event} more than once: {}", self.log);
        Ok(line)
    }
}

/// Every file below a directory with its content, and every directory with none.
///
/// # Errors
/// One cannot be read.
pub fn files(directory: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for entry in std::fs::read_dir(next)? {
            let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
            let name = path.strip_prefix(directory)?.to_owned();
            if kind.is_dir() {
                left.push(path);
                found.insert(name, Vec::new());
            } else if kind.is_file() {
                found.insert(name, std::fs::read(path)?);
            }
        }
    }
    Ok(found)
}
