//! A node in a machine, as a scenario wants it: boot it, look at it, cut its power, boot it again.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use eyewall_core::status::Status;
use tokio::time::Instant;

use crate::qemu::{Machine, Running};
use crate::selinux::Denials;
use crate::{Guest, Lab, NodeSpec, Progress, WorkDirectory, provision};

/// From switching it on to an ssh server that answers. An emulated host needs some 15 s, on a busy machine a minute.
const BOOT: Duration = Duration::from_secs(240);
/// How often a guest is asked. Each question costs it some CPU, of which it has little.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// A node in a machine. Dropped, it is switched off and its disk removed.
#[derive(Debug)]
pub struct Vm {
    // Before the directory: the machine must be off when its disk goes.
    running: Option<Running>,
    machine: Machine,
    guest: Guest,
    progress: Progress,
    _directory: WorkDirectory,
}

impl Vm {
    /// Makes the node's disk and boots it until ssh answers.
    ///
    /// # Errors
    /// When the disk cannot be made or the guest does not come up; the console's last lines are part of the error.
    pub async fn boot(lab: &Lab, spec: &NodeSpec) -> Result<Self> {
        Self::boot_at(lab, spec, "utc").await
    }

    /// The same, with a battery-backed clock that says this (see [`Machine::clock`]).
    ///
    /// # Errors
    /// See [`Vm::boot`].
    pub async fn boot_at(lab: &Lab, spec: &NodeSpec, clock: &str) -> Result<Self> {
        let directory = lab.cache.work_directory()?;
        let port = free_port()?;
        let host_key = std::fs::read_to_string(lab.root.tree().join("etc/ssh/ssh_host_ed25519_key.pub"))?;
        let guest = Guest::new(directory.path(), &host_key, port).await?;
        lab.progress.say(&format!("provisioning {} with Ignition", spec.name));
        let disk = provision::disk(&lab.root, spec, &guest.public_key()?, directory.path()).await?;
        let machine = Machine {
            accelerator: lab.accelerator,
            kernel: lab.root.kernel(),
            disk,
            console: directory.path().join("console"),
            ssh_port: port,
            memory: spec.memory,
            clock: clock.to_owned(),
        };
        let progress = lab.progress.clone();
        let mut vm = Self { running: None, machine, guest, progress, _directory: directory };
        vm.switch_on().await?;
        Ok(vm)
    }

    /// Switches it on and waits until ssh answers.
    ///
    /// # Errors
    /// When the guest does not come up.
    pub async fn switch_on(&mut self) -> Result<()> {
        ensure!(self.running.is_none(), "it is on already");
        self.progress.say("booting");
        let started = Instant::now();
        let running = self.running.insert(self.machine.start()?);
        // Short tries find the moment; on a machine that is so busy that they are too short, they grow.
        while !self.guest.answers(Duration::from_secs(1).max(started.elapsed() / 10)).await {
            if running.has_ended()? || started.elapsed() > BOOT {
                let words = if running.has_ended()? { "ended" } else { "did not come up" };
                bail!("the guest {words}; its console's last lines:\n{}", running.console_tail(40));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        self.progress.say(&format!("ssh answers after {:.1} s", started.elapsed().as_secs_f64()));
        Ok(())
    }

    /// The way in.
    #[must_use]
    pub fn guest(&self) -> &Guest {
        &self.guest
    }

    /// Where the steps are told.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// What the agent's socket says, read by `eyewall status --json` in the guest.
    ///
    /// # Errors
    /// When the agent does not answer or what it says is not a status.
    pub async fn status(&self) -> Result<Status> {
        // Its exit status is that of the node's health; what it prints is what counts here.
        let output = self.guest.run("/opt/bin/eyewall status --json").await?;
        serde_json::from_str(&output.stdout)
            .with_context(|| format!("no status ({}): {}{}", output.status, output.stdout, output.stderr))
    }

    /// Asks until the answer is there.
    ///
    /// # Errors
    /// When the deadline passes; the last thing that `look` said and the agent's journal are part of the error.
    pub async fn wait_for<T>(
        &self,
        what: &str,
        deadline: Duration,
        look: impl AsyncFn(&Self) -> Result<T>,
    ) -> Result<T> {
        let started = Instant::now();
        loop {
            let why = match look(self).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if started.elapsed() > deadline {
                let journal = self.journal_tail().await;
                return Err(why).with_context(|| format!("{what}: not within {} s\n{journal}", deadline.as_secs()));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// The last words of the agent, the kubelet and the image's loader, for an error message.
    pub async fn journal_tail(&self) -> String {
        let units = "-u eyewall -u kubelet -u eyewall-vm-image -u eyewall.socket";
        let command = format!("journalctl --boot --no-hostname -o short-monotonic -n 60 {units}");
        self.guest.get(&command).await.unwrap_or_else(|error| format!("(no journal: {error:#})"))
    }

    /// What SELinux has denied since the boot.
    ///
    /// # Errors
    /// When the journal cannot be read, or SELinux is not enforcing.
    pub async fn denials(&self) -> Result<Denials> {
        let mode = self.guest.get("cat /sys/fs/selinux/enforce").await?;
        ensure!(mode == "1", "SELinux is not enforcing (enforce is {mode:?})");
        Ok(Denials::in_journal(&self.guest.get("journalctl --boot --output=cat | grep 'avc: ' || true").await?))
    }

    /// Pulls the plug.
    ///
    /// # Errors
    /// When it is off already.
    pub async fn power_cut(&mut self) -> Result<()> {
        let mut running = self.running.take().context("it is off")?;
        running.cut().await?;
        self.guest.hang_up().await;
        Ok(())
    }

    /// Waits until the machine goes down by what is under way in it, and switches it on again.
    ///
    /// # Errors
    /// When it stays up, or does not come back.
    pub async fn rebooted(&mut self, within: Duration) -> Result<()> {
        self.goes_down(within).await?;
        self.switch_on().await
    }

    /// Waits until the machine goes down by what is under way in it: QEMU ends at a reboot too, because of `-no-reboot`.
    ///
    /// # Errors
    /// When it stays up.
    pub async fn goes_down(&mut self, within: Duration) -> Result<()> {
        let running = self.running.as_mut().context("it is off")?;
        running.wait(within).await?;
        self.running = None;
        self.guest.hang_up().await;
        Ok(())
    }

    /// Tells systemd to reboot, as an operator who insists, and waits until the machine is back.
    ///
    /// # Errors
    /// When the guest does not go down or does not come back.
    pub async fn reboot(&mut self) -> Result<()> {
        self.shut_down("reboot").await?;
        self.switch_on().await
    }

    /// Tells systemd to switch the machine off, and waits until it has.
    ///
    /// # Errors
    /// When it does not.
    pub async fn power_off(&mut self) -> Result<()> {
        self.shut_down("poweroff").await
    }

    /// Past logind, and so past the agent's block lock: that binds root too, and `systemctl -i` asks polkit even for root (systemd 257,
    /// `verify_shutdown_creds`), which this guest has not.
    async fn shut_down(&mut self, verb: &str) -> Result<()> {
        self.progress.say(&format!("systemctl start {verb}.target"));
        // The connection may go before the answer comes.
        let output = self
            .guest
            .run(&format!("systemctl --no-block --job-mode=replace-irreversibly start {verb}.target"))
            .await?;
        ensure!(matches!(output.status.code(), Some(0 | 255)), "systemctl {verb} failed: {}", output.stderr);
        self.goes_down(BOOT).await
    }

    /// The last lines of its serial console.
    #[must_use]
    pub fn console_tail(&self, lines: usize) -> String {
        self.running.as_ref().map_or_else(String::new, |running| running.console_tail(lines))
    }
}

/// A port that nobody listens on now.
fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
