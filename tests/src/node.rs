//! A node in a temporary directory: the real binary, its files and its socket.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use eyewall_core::status::{EventRecord, Status};
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// How often a waiting test looks.
const LOOK: Duration = Duration::from_millis(10);

/// The binary under test: `EYEWALL_BIN`, else the one beside this test's own executable, which `tests/run` builds first.
///
/// # Errors
/// There is none: `cargo build -p eyewall` makes it.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("EYEWALL_BIN") {
        return Ok(path.into());
    }
    let own = std::env::current_exe()?;
    own.ancestors()
        .map(|directory| directory.join("eyewall"))
        .find(|path| path.is_file())
        .context("there is no eyewall binary beside the tests; run: cargo build -p eyewall")
}

/// A node. Dropping it kills its daemon and removes its directory.
#[derive(Debug)]
pub struct Node {
    /// Dropped, and so killed, before its directory is removed: it would heal what it misses.
    child: Option<Child>,
    root: tempfile::TempDir,
    name: String,
    environment: Vec<(String, String)>,
    /// Another copy of the binary than the one beside the tests.
    program: Option<PathBuf>,
    /// Put before the binary: what ends in an exec of it (`unshare`, `setpriv`, `strace -D`), so that the child is the daemon.
    wrapper: Vec<String>,
    /// Stands between the two, see [`Node::hurry`].
    pace: Vec<String>,
}

impl Node {
    /// A node of this name with an empty disk, nothing started.
    ///
    /// # Errors
    /// No temporary directory.
    pub fn new(name: &str) -> Result<Self> {
        let node = Self {
            root: tempfile::Builder::new().prefix("eyewall-node-").tempdir()?,
            name: name.to_owned(),
            child: None,
            // No bus unless a test gives one: the machine's own must not be touched.
            environment: vec![("DBUS_SYSTEM_BUS_ADDRESS".to_owned(), "unix:path=/nonexistent/bus".to_owned())],
            program: None,
            wrapper: Vec::new(),
            pace: Vec::new(),
        };
        for directory in ["etc", "pki", "run", "kubernetes"] {
            std::fs::create_dir(node.path(directory))?;
        }
        node.configure("")?;
        Ok(node)
    }

    /// A path below the node's directory.
    pub fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    /// The certificate directory.
    pub fn pki(&self) -> PathBuf {
        self.path("pki")
    }

    /// The link to the PEM in force.
    pub fn current(&self) -> PathBuf {
        self.pki().join("kubelet-client-current.pem")
    }

    /// The main configuration file.
    pub fn config(&self) -> PathBuf {
        self.path("etc/eyewall.toml")
    }

    /// The socket.
    pub fn socket(&self) -> PathBuf {
        self.path("run/eyewall.sock")
    }

    /// The bootstrap kubeconfig.
    pub fn bootstrap(&self) -> PathBuf {
        self.path("kubernetes/kubeconfig")
    }

    /// Writes the configuration: the node's own paths, and `extra` behind them (whole tables, other than those).
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn configure(&self, extra: &str) -> Result<()> {
        let text = format!(
            "[node]\nname = {:?}\n[cluster]\nbootstrap_kubeconfig = {:?}\n[certificates]\ndirectory = {:?}\nkubeconfig = {:?}\n\
             [socket]\npath = {:?}\n{extra}",
            self.name,
            self.bootstrap(),
            self.pki(),
            self.path("kubelet.kubeconfig"),
            self.socket(),
        );
        write(&self.config(), &text)
    }

    /// A drop-in `NN-name.toml` over the configuration.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn drop_in(&self, name: &str, text: &str) -> Result<()> {
        let directory = self.path("etc/eyewall.toml.d");
        std::fs::create_dir_all(&directory)?;
        write(&directory.join(name), text)
    }

    /// Puts the bootstrap kubeconfig in its place, as a rename.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn give_kubeconfig(&self, text: &str) -> Result<()> {
        write(&self.bootstrap(), text)
    }

    /// One more variable for the daemon.
    pub fn environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Runs this copy of the binary.
    pub fn program(&mut self, path: &Path) {
        self.program = Some(path.to_owned());
    }

    /// What stands before the binary when it is started.
    pub fn wrapper(&mut self, words: &[&str]) {
        self.wrapper = words.iter().map(|word| (*word).to_owned()).collect();
    }

    /// See [`hurried`]; the daemon's dates then run ahead of everybody else's.
    ///
    /// # Errors
    /// See [`hurried`].
    pub fn hurry(&mut self, times: u32) -> Result<()> {
        self.pace = hurried(times)?;
        Ok(())
    }

    /// A command of the binary with this node's configuration, for a verb.
    ///
    /// # Errors
    /// There is no binary.
    pub fn command(&self, verb: &[&str]) -> Result<Command> {
        let mut words = [self.wrapper.as_slice(), self.pace.as_slice()].concat();
        let program = self.program.clone().map_or_else(binary, Ok)?;
        words.push(program.to_string_lossy().into_owned());
        let (program, before) = words.split_first().context("no words")?;
        let mut command = Command::new(program);
        command
            .args(before)
            .args(verb)
            .arg("--config")
            .arg(self.config())
            .env_remove("NOTIFY_SOCKET")
            .env_remove("JOURNAL_STREAM")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        Ok(command)
    }

    /// Starts the daemon. Its stderr goes to the node's log, behind what is there.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&mut self) -> Result<()> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.path("log"))?;
        let mut command = self.command(&["run"])?;
        command.stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn().context("the daemon cannot be started")?);
        Ok(())
    }

    /// The daemon's process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// kill -9, and waits until it is gone.
    ///
    /// # Errors
    /// There is nothing to kill.
    pub async fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("no daemon runs")?;
        child.kill().await?;
        Ok(())
    }

    /// SIGTERM, and waits for its end. Returns the exit code.
    ///
    /// # Errors
    /// It does not end within five seconds.
    pub async fn stop(&mut self) -> Result<Option<i32>> {
        let mut child = self.child.take().context("no daemon runs")?;
        if let Some(pid) = child.id() {
            signal(pid, Signal::SIGTERM)?;
        }
        let status = timeout(Duration::from_secs(5), child.wait()).await.context("the daemon did not end")??;
        Ok(status.code())
    }

    /// Waits until the daemon ends by itself. Returns the exit code, `None` for a signal.
    ///
    /// # Errors
    /// It goes on.
    pub async fn ended(&mut self, within: Duration) -> Result<Option<i32>> {
        let child = self.child.as_mut().context("no daemon runs")?;
        let status = timeout(within, child.wait()).await.context("the daemon goes on")??;
        self.child = None;
        Ok(status.code())
    }

    /// Waits until the daemon ends by a signal. Returns whether it left a core.
    ///
    /// # Errors
    /// It goes on, or ended otherwise.
    pub async fn core_dumped(&mut self, within: Duration) -> Result<bool> {
        use std::os::unix::process::ExitStatusExt as _;
        let child = self.child.as_mut().context("no daemon runs")?;
        let status = timeout(within, child.wait()).await.context("the daemon goes on")??;
        self.child = None;
        status.signal().context("no signal ended it")?;
        Ok(status.core_dumped())
    }

    /// What must never be told: the tokens of the bootstrap kubeconfig, and the lines of every private key on the disk.
    pub fn secrets(&self) -> Vec<String> {
        let mut secrets = Vec::new();
        let bootstrap = std::fs::read(self.bootstrap()).unwrap_or_default();
        for line in String::from_utf8_lossy(&bootstrap).lines() {
            if let Some(token) = line.trim().strip_prefix("token:") {
                secrets.push(token.trim().to_owned());
            }
        }
        for entry in std::fs::read_dir(self.pki()).into_iter().flatten().flatten() {
            let text = std::fs::read(entry.path()).unwrap_or_default();
            let mut in_key = false;
            for line in String::from_utf8_lossy(&text).lines() {
                if line.starts_with("-----BEGIN") {
                    in_key = line.contains("PRIVATE KEY");
                } else if in_key && line.len() > 20 && !line.starts_with("-----") {
                    secrets.push(line.to_owned());
                }
            }
        }
        secrets.retain(|secret| secret.len() > 10);
        secrets
    }

    /// All that the daemon wrote.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// One request to the socket: status code and body.
    ///
    /// # Errors
    /// The socket is not there or does not answer.
    pub async fn request(&self, method: &str, target: &str) -> Result<(u16, String)> {
        let exchange = async {
            let mut stream = UnixStream::connect(self.socket()).await?;
            stream
                .write_all(
                    format!("{method} {target} HTTP/1.1\r\nHost: eyewall\r\nConnection: close\r\n\r\n").as_bytes(),
                )
                .await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, anyhow::Error>(answer)
        };
        let answer = timeout(Duration::from_secs(5), exchange).await.context("the socket does not answer")??;
        let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP")?;
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no status code")?;
        Ok((code, body.to_owned()))
    }

    /// `GET /v1/status`.
    ///
    /// # Errors
    /// No answer, or not a status.
    pub async fn status(&self) -> Result<Status> {
        let (code, body) = self.request("GET", "/v1/status").await?;
        if code != 200 {
            bail!("status {code}: {body}");
        }
        Ok(serde_json::from_str(&body)?)
    }

    /// The events since the daemon started.
    ///
    /// # Errors
    /// No answer, or not events.
    pub async fn events(&self) -> Result<Vec<EventRecord>> {
        #[derive(serde::Deserialize)]
        struct Page {
            events: Vec<EventRecord>,
        }
        let (_, body) = self.request("GET", "/v1/events").await?;
        Ok(serde_json::from_str::<Page>(&body)?.events)
    }

    /// Waits until the status is as `wanted`.
    ///
    /// # Errors
    /// It is not within `deadline`; with the last status and the log.
    pub async fn wait(&self, deadline: Duration, wanted: impl Fn(&Status) -> bool) -> Result<Status> {
        let end = Instant::now() + deadline;
        let mut last = None;
        while Instant::now() < end {
            match self.status().await {
                Ok(status) if wanted(&status) => return Ok(status),
                other => last = Some(other),
            }
            sleep(LOOK).await;
        }
        bail!("not within {deadline:?}; last: {last:#?}\nlog:\n{}", self.log())
    }

    /// Waits until the certificate's state and reason are these.
    ///
    /// # Errors
    /// See [`Node::wait`].
    pub async fn wait_for(&self, deadline: Duration, state: &str, kind: &str) -> Result<Status> {
        self.wait(deadline, |status| {
            status.certificates.state.as_str() == state && status.certificates.reason.kind == kind
        })
        .await
        .with_context(|| format!("waiting for {state} / {kind}"))
    }
}

impl Drop for Node {
    /// Whatever a test is about: what its daemon wrote must hold neither the bootstrap token nor a line of a private key.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let log = self.log();
        for secret in self.secrets() {
            assert!(!log.contains(&secret), "the log tells a secret of the node:\n{log}");
        }
    }
}

/// What stands before a program so that its clocks, pauses and deadlines run this many times as fast (libfaketime(1)), and a
/// test sees what takes minutes. It ends in an exec.
///
/// # Errors
/// The library is not here; on Debian: apt-get install libfaketime.
pub fn hurried(times: u32) -> Result<Vec<String>> {
    let library = faketime()?;
    // It leaves files in /dev/shm, so there is one for this program alone.
    let script = format!(
        "mount -t tmpfs none /dev/shm && export LD_PRELOAD={library:?} FAKETIME='+0 x{times}' && exec \"$0\" \"$@\""
    );
    Ok(["unshare", "--mount", "sh", "-c", &script].map(str::to_owned).into())
}

/// libfaketime(1).
pub(crate) fn faketime() -> Result<PathBuf> {
    std::fs::read_dir("/usr/lib")?
        .filter_map(|entry| Some(entry.ok()?.path().join("faketime/libfaketimeMT.so.1")))
        .find(|path| path.is_file())
        .context("there is no libfaketimeMT.so.1 below /usr/lib; on Debian: apt-get install libfaketime")
}

fn signal(pid: u32, signal: Signal) -> Result<()> {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(pid)?), signal)?;
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    std::fs::write(&new, text)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&new, path)?;
    Ok(())
}
