//! A real sshd at port 22 of a machine of its own (see [`alone`](crate::namespace::alone)), which takes keys only and knows the account `core`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::namespace::lay_over;

const CONFIG: &str = "Port 22\nHostKey /etc/ssh/ssh_host_ed25519_key\nUsePAM no\nPasswordAuthentication no\n\
                      KbdInteractiveAuthentication no\nPermitRootLogin no\n";

/// The daemon, while this lives.
#[derive(Debug)]
pub struct Sshd {
    _child: Child,
    _directory: tempfile::TempDir,
}

impl Sshd {
    /// Starts it, with `/etc/ssh`, `/etc/passwd`, `/root` and `/run` of its own. Only inside of `alone`.
    ///
    /// # Errors
    /// There is none (Debian's package `openssh-server`), or it does not listen.
    pub async fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let at = |below: &str| directory.path().join(below);
        for below in ["ssh", "home/.ssh", "run/sshd"] {
            std::fs::create_dir_all(at(below))?;
        }
        for (below, mode) in [("home", 0o700), ("home/.ssh", 0o700), ("run/sshd", 0o755)] {
            std::fs::set_permissions(at(below), std::fs::Permissions::from_mode(mode))?;
        }
        for key in ["ssh/ssh_host_ed25519_key", "known"] {
            let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(at(key)).status();
            ensure!(made.await.context("ssh-keygen")?.success(), "ssh-keygen makes no key");
        }
        std::fs::write(at("ssh/sshd_config"), CONFIG)?;
        std::fs::copy(at("known.pub"), at("home/.ssh/authorized_keys"))?;
        let mut accounts = std::fs::read_to_string("/etc/passwd")?;
        if !accounts.lines().any(|line| line.starts_with("core:")) {
            accounts.push_str("core:x:4242:4242::/root:/bin/sh\n");
        }
        std::fs::write(at("passwd"), accounts)?;
        for (below, place) in [("ssh", "/etc/ssh"), ("passwd", "/etc/passwd"), ("home", "/root"), ("run", "/run")] {
            lay_over(&at(below), Path::new(place))?;
        }
        let mut sshd = Command::new("/usr/sbin/sshd");
        sshd.arg("-D").stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let child = sshd.spawn().context("/usr/sbin/sshd: Debian's package openssh-server")?;
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", 22)).await.is_ok() {
                return Ok(Self { _child: child, _directory: directory });
            }
            sleep(Duration::from_millis(25)).await;
        }
        anyhow::bail!("sshd does not listen at port 22")
    }
}
