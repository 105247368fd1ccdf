//! A private system bus: the real dbus-daemon at an address of its own, with the rules of a Debian host's system bus as far
//! as systemd is concerned. The machine's own bus is never touched.

pub mod logind;
pub mod rpm_ostree;
pub mod systemd;
pub mod timedate;
pub mod update_engine;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use zbus::Connection;
use zbus::connection::Builder;

/// A dbus-daemon answers within milliseconds of its start.
const SOON: Duration = Duration::from_secs(10);

/// The bus. Dropping it ends it.
#[derive(Debug)]
pub struct Bus {
    directory: tempfile::TempDir,
    daemon: Option<Child>,
}

impl Bus {
    /// Starts a bus on which nobody is yet.
    ///
    /// # Errors
    /// There is no dbus-daemon (Debian's package `dbus`), or it does not like its configuration.
    pub async fn start() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("eyewall-bus-").tempdir()?;
        let mut bus = Self { directory, daemon: None };
        std::fs::write(bus.path("bus.conf"), bus.configuration())?;
        bus.come_back().await?;
        Ok(bus)
    }

    /// For `DBUS_SYSTEM_BUS_ADDRESS`; it stays the same for as long as this lives.
    pub fn address(&self) -> String {
        format!("unix:path={}", self.path("socket").display())
    }

    /// A connection to it.
    ///
    /// # Errors
    /// The bus is away.
    pub async fn connect(&self) -> Result<Connection> {
        Ok(Builder::address(self.address().as_str()).build().await?)
    }

    /// kill -9: every connection breaks, and nobody can make a new one.
    ///
    /// # Errors
    /// It is away already.
    pub async fn go_away(&mut self) -> Result<()> {
        let mut daemon = self.daemon.take().context("the bus is away")?;
        Ok(daemon.kill().await?)
    }

    /// Starts it at the same address. Who was on it must come again.
    ///
    /// # Errors
    /// See [`Bus::start`].
    pub async fn come_back(&mut self) -> Result<()> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.path("log"))?;
        let mut daemon = Command::new("dbus-daemon")
            .args(["--nofork", "--nopidfile", "--nosyslog", "--print-address"])
            .arg(format!("--config-file={}", self.path("bus.conf").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("there is no dbus-daemon; on Debian: apt-get install dbus")?;
        let mut lines = BufReader::new(daemon.stdout.take().context("stdout")?).lines();
        // Once it tells its address it listens there.
        match timeout(SOON, lines.next_line()).await.context("dbus-daemon says nothing")?? {
            Some(_) => self.daemon = Some(daemon),
            None => bail!("dbus-daemon has ended: {}", std::fs::read_to_string(self.path("log"))?),
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Of /usr/share/dbus-1/system.conf and the rules of the services that have a stand-in: names are owned and methods called only where
    /// a rule allows it, and the system is for root (here: whoever runs the tests).
    fn configuration(&self) -> String {
        format!(
            r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>{address}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <policy user="{user}">
    <allow own="org.freedesktop.systemd1"/>
    <allow send_destination="org.freedesktop.systemd1"/>
    <allow own="org.freedesktop.timedate1"/>
    <allow send_destination="org.freedesktop.timedate1"/>
    <allow own="org.freedesktop.login1"/>
    <allow send_destination="org.freedesktop.login1"/>
    <allow own="org.projectatomic.rpmostree1"/>
    <allow send_destination="org.projectatomic.rpmostree1"/>
    <allow own="com.coreos.update1"/>
    <allow send_destination="com.coreos.update1"/>
  </policy>
</busconfig>
"#,
            address = self.address(),
            user = nix::unistd::geteuid(),
        )
    }
}
