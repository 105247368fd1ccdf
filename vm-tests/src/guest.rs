//! The way into the guest: ssh with a key of this run, as an operator would come.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::program::run;

/// How long a command in the guest may take, unless it is said otherwise. An emulated CPU is slow.
const COMMAND: Duration = Duration::from_secs(90);

/// What a command in the guest said and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its exit status; ssh's own failures are 255.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// An entry of the guest's journal.
#[derive(Clone, Debug)]
pub struct JournalEntry {
    /// Since the kernel started.
    pub monotonic: Duration,
    /// All its fields that are text.
    pub fields: BTreeMap<String, String>,
}

impl JournalEntry {
    /// A field, empty if it has none of that name.
    #[must_use]
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

/// ssh to one guest. The first command opens a connection that the others share.
#[derive(Debug)]
pub struct Guest {
    directory: PathBuf,
    port: u16,
}

impl Guest {
    /// Makes the key (in `directory`) and notes the guest's host key.
    ///
    /// # Errors
    /// When `ssh-keygen` fails.
    pub async fn new(directory: &Path, host_key: &str, port: u16) -> Result<Self> {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "eyewall-vm", "-f"]).arg(directory.join("key"));
        run(&mut keygen, Duration::from_secs(30)).await?;
        std::fs::write(directory.join("known_hosts"), format!("eyewall-vm {host_key}"))?;
        Ok(Self { directory: directory.to_owned(), port })
    }

    /// The public key that opens the guest.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn public_key(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.directory.join("key.pub"))?)
    }

    /// The command line of ssh up to the remote command.
    #[must_use]
    pub fn ssh(&self) -> Command {
        let mut command = Command::new("ssh");
        command.args(["-F", "none", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-o", "HostKeyAlias=eyewall-vm"]);
        command.args(["-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=6"]);
        command.args(["-o", "ControlMaster=auto", "-o", "ControlPersist=120"]);
        for (option, file) in [("ControlPath", "ssh"), ("UserKnownHostsFile", "known_hosts"), ("IdentityFile", "key")] {
            command.arg("-o").arg(format!("{option}={}", self.directory.join(file).display()));
        }
        command.args(["-p", &self.port.to_string(), "root@127.0.0.1"]);
        command.kill_on_drop(true);
        command
    }

    /// The same for a person to type.
    #[must_use]
    pub fn ssh_line(&self) -> String {
        let words = self.ssh();
        let words = words.as_std();
        let arguments: Vec<_> = words.get_args().map(|word| word.to_string_lossy()).collect();
        format!("ssh {}", arguments.join(" "))
    }

    /// Does its ssh server answer within that time? QEMU accepts the connection long before, and then there is silence.
    pub async fn answers(&self, within: Duration) -> bool {
        let banner = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            let mut start = [0; 4];
            stream.read_exact(&mut start).await?;
            std::io::Result::Ok(start == *b"SSH-")
        };
        matches!(tokio::time::timeout(within, banner).await, Ok(Ok(true)))
    }

    /// Runs a shell command, whatever its exit status.
    ///
    /// # Errors
    /// When it takes longer than a minute and a half.
    pub async fn run(&self, shell: &str) -> Result<Output> {
        let mut command = self.ssh();
        command.arg("--").arg(shell).stdin(Stdio::null());
        let output = tokio::time::timeout(COMMAND, command.output())
            .await
            .with_context(|| format!("`{shell}` took longer than {} s in the guest", COMMAND.as_secs()))??;
        Ok(Output {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs a shell command that must succeed, and returns its standard output without the space around it.
    ///
    /// # Errors
    /// When it fails or takes too long.
    pub async fn get(&self, shell: &str) -> Result<String> {
        let output = self.run(shell).await?;
        if !output.status.success() {
            bail!("`{shell}` failed in the guest ({}): {}{}", output.status, output.stdout, output.stderr);
        }
        Ok(output.stdout.trim().to_owned())
    }

    /// The entries of this boot's journal that match (`MESSAGE_ID=…`, `_SYSTEMD_UNIT=…`), oldest first.
    ///
    /// # Errors
    /// When journalctl fails or prints what is no JSON.
    pub async fn journal(&self, matches: &str) -> Result<Vec<JournalEntry>> {
        let lines = self.get(&format!("journalctl --boot --quiet --all --output=json {matches}")).await?;
        lines.lines().map(entry).collect()
    }

    /// Ends the shared connection: after a power cut it would only time out.
    pub async fn hang_up(&self) {
        let mut command = Command::new("ssh");
        command.args(["-F", "none", "-O", "exit", "-o"]);
        command.arg(format!("ControlPath={}", self.directory.join("ssh").display())).arg("eyewall-vm");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // There may be none, which is as good.
        let _ = command.status().await;
    }
}

fn entry(line: &str) -> Result<JournalEntry> {
    let fields: BTreeMap<String, Value> = serde_json::from_str(line).context("a line of journalctl")?;
    let text = |value: Value| match value {
        Value::String(text) => Some(text),
        // Fields with other bytes than text are arrays of numbers, large ones are null.
        _ => None,
    };
    let fields: BTreeMap<String, String> =
        fields.into_iter().filter_map(|(name, value)| Some((name, text(value)?))).collect();
    let microseconds = fields.get("__MONOTONIC_TIMESTAMP").and_then(|text| text.parse().ok());
    Ok(JournalEntry { monotonic: Duration::from_micros(microseconds.context("an entry without its time")?), fields })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read() {
        let line = r#"{"__MONOTONIC_TIMESTAMP":"12500000","MESSAGE":"hello","_PID":"7","BYTES":[1,2],"LARGE":null}"#;
        let entry = entry(line).unwrap();
        assert_eq!(entry.monotonic, Duration::from_millis(12500));
        assert_eq!((entry.field("MESSAGE"), entry.field("_PID"), entry.field("BYTES")), ("hello", "7", ""));
    }
}
