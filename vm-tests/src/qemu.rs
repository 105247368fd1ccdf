//! The machine: QEMU as a child that dies with its parent, and the question whether KVM truly works here.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::program::{last_lines, run};
use crate::{Cache, Progress};

const QEMU: &str = "qemu-system-x86_64";

/// How long a kernel may take to its first line under KVM; a working one needs less than a second.
const PROBE: Duration = Duration::from_secs(6);

/// What executes the guest's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// The processor.
    Kvm,
    /// QEMU's translator: works everywhere, ten times slower.
    Tcg,
}

impl Accelerator {
    /// `EYEWALL_ACCEL` if it is set; KVM if a kernel boots with it; TCG otherwise. The answer is kept until the machine is
    /// booted again: there are machines with a /dev/kvm that makes VMs in which nothing runs.
    ///
    /// # Errors
    /// When QEMU is not there, or `EYEWALL_ACCEL` has another value than `kvm` or `tcg`.
    pub async fn find(cache: &Cache, kernel: &Path, progress: &Progress) -> Result<Self> {
        match std::env::var("EYEWALL_ACCEL").ok().as_deref() {
            Some("kvm") => return Ok(Self::Kvm),
            Some("tcg") => return Ok(Self::Tcg),
            Some(other) => bail!("EYEWALL_ACCEL={other}: it must be kvm or tcg"),
            None if !Path::new("/dev/kvm").exists() => return Ok(Self::Tcg),
            None => {}
        }
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let known = cache.directory().join("kvm");
        let text = std::fs::read_to_string(&known).unwrap_or_default();
        let works = match text.strip_prefix(boot.trim()).map(str::trim) {
            Some("works") => true,
            Some("does not work") => false,
            _ => {
                let works = kvm_works(cache, kernel).await?;
                let words = if works { "works" } else { "does not work" };
                progress.say(&format!("KVM {words} here"));
                std::fs::write(&known, format!("{} {words}\n", boot.trim()))?;
                works
            }
        };
        Ok(if works { Self::Kvm } else { Self::Tcg })
    }

    fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            // The plainest CPU boots in half the time of `max`: fewer instructions that must be emulated in C. `rdrand` fills the
            // entropy pool at once; svm would have the guest load its own KVM.
            Self::Tcg => ["-accel", "tcg,thread=multi,tb-size=256", "-cpu", "qemu64,-svm,+rdrand"],
        }
    }
}

async fn kvm_works(cache: &Cache, kernel: &Path) -> Result<bool> {
    let work = cache.work_directory()?;
    let console = work.path().join("console");
    let mut command = guarded();
    command.args(Accelerator::Kvm.arguments()).args(["-m", "256", "-display", "none", "-nodefaults", "-no-reboot"]);
    command.arg("-kernel").arg(kernel).args(["-append", "console=ttyS0 earlyprintk=serial,ttyS0 panic=-1"]);
    command.arg("-serial").arg(format!("file:{}", console.display()));
    // What it says of a KVM that does not work would look like a fault of ours.
    command.stderr(Stdio::null());
    let mut child = command.spawn().context("QEMU could not be started; `vm-tests/up` installs it")?;
    let started = Instant::now();
    while started.elapsed() < PROBE {
        let said = std::fs::read(&console).unwrap_or_default();
        if String::from_utf8_lossy(&said).contains("Linux version") {
            return Ok(true);
        }
        if child.try_wait()?.is_some() {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(false)
}

/// QEMU that gets SIGKILL when the thread that starts it ends, however it ends: no run leaves a machine behind.
fn guarded() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", QEMU, "-no-user-config"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    // Ctrl-C is for us: we end the machine.
    command.process_group(0);
    command
}

/// A machine, as it is to be.
#[derive(Clone, Debug)]
pub struct Machine {
    /// What executes the guest's code.
    pub accelerator: Accelerator,
    /// The kernel.
    pub kernel: PathBuf,
    /// The raw disk, written to in place.
    pub disk: PathBuf,
    /// Gets everything that the guest writes to its serial console; appended to.
    pub console: PathBuf,
    /// The host's port (on 127.0.0.1) that leads to the guest's port 22.
    pub ssh_port: u16,
    /// Memory, MiB.
    pub memory: u32,
    /// What its battery-backed clock says when it is switched on: `utc` is the true time, or `1970-01-01T00:00:10`.
    pub clock: String,
}

/// A machine that is switched on.
#[derive(Debug)]
pub struct Running {
    child: Child,
    console: PathBuf,
}

impl Machine {
    /// Switches it on.
    ///
    /// # Errors
    /// When QEMU cannot be started.
    pub fn start(&self) -> Result<Running> {
        let log = std::fs::File::options().create(true).append(true).open(self.console.with_extension("qemu"))?;
        let mut command = guarded();
        command.args(self.accelerator.arguments());
        command.args(["-machine", "pc", "-smp", "2", "-m", &self.memory.to_string()]);
        command.args(["-display", "none", "-nodefaults", "-no-reboot"]);
        command.arg("-rtc").arg(format!("base={}", self.clock));
        command.arg("-kernel").arg(&self.kernel).args(["-append", KERNEL_COMMAND_LINE]);
        command
            .arg("-drive")
            .arg(format!("if=none,id=root,format=raw,cache=writeback,discard=unmap,file={}", self.disk.display()));
        command.args(["-device", "nvme,drive=root,serial=root"]);
        command.arg("-netdev").arg(format!("user,id=net,hostfwd=tcp:127.0.0.1:{}-:22", self.ssh_port));
        command.args(["-device", "virtio-net-pci,netdev=net,romfile="]);
        command.arg("-chardev").arg(format!("file,id=console,append=on,path={}", self.console.display()));
        command.args(["-serial", "chardev:console"]);
        command.stderr(log);
        let child = command.spawn().context("QEMU could not be started; `vm-tests/up` installs it")?;
        Ok(Running { child, console: self.console.clone() })
    }
}

/// `commit=60` keeps what was not fsynced out of the disk for a minute, so that a power cut finds every write that nobody
/// made sure of. The rate limit would drop some of what SELinux denies.
const KERNEL_COMMAND_LINE: &str = "console=ttyS0 root=/dev/nvme0n1 rw rootflags=commit=60 security=selinux selinux=1 enforcing=1 \
     panic=-1 mitigations=off loglevel=4 sysctl.kernel.printk_ratelimit=0 systemd.show_status=no systemd.ssh_auto=no";

impl Running {
    /// The process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Has it ended?
    ///
    /// # Errors
    /// When the process cannot be asked.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits for the guest to switch itself off.
    ///
    /// # Errors
    /// When it does not within the deadline.
    pub async fn wait(&mut self, deadline: Duration) -> Result<()> {
        let ended = tokio::time::timeout(deadline, self.child.wait()).await;
        ended.with_context(|| {
            format!("the guest did not switch itself off in {} s:\n{}", deadline.as_secs(), self.console_tail(30))
        })??;
        Ok(())
    }

    /// Pulls the plug: SIGKILL, and the end of the process is awaited. What the guest's kernel had not written is lost.
    ///
    /// # Errors
    /// When the process cannot be killed.
    pub async fn cut(&mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// The last lines of the serial console, and of what QEMU itself said.
    #[must_use]
    pub fn console_tail(&self, lines: usize) -> String {
        let read = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
        let console = last_lines(&read(&self.console), lines);
        let qemu = last_lines(&read(&self.console.with_extension("qemu")), 5);
        format!("{console}\n{qemu}")
    }
}

/// Is QEMU there? Its version, for the record.
///
/// # Errors
/// When it is not.
pub async fn version() -> Result<String> {
    let said = run(Command::new(QEMU).arg("--version"), Duration::from_secs(30)).await?;
    Ok(String::from_utf8_lossy(&said).lines().next().unwrap_or_default().to_owned())
}
