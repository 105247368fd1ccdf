//! `os-standin`: the program around [`crate::bus::rpm_ostree`] and [`crate::bus::update_engine`].

use std::collections::HashMap;
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use zbus::connection::Builder;
use zbus::export::futures_core::Stream as _;
use zbus::{Connection, MessageStream, Variant};

use crate::bus::rpm_ostree::{self, Reboot, RpmOstree, Settings, State};
use crate::bus::update_engine::{self, UpdateEngine};

/// Stand-ins for what updates an OS
#[derive(Debug, Parser)]
#[command(name = "os-standin")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Which {
    RpmOstree,
    UpdateEngine,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve org.projectatomic.rpmostree1
    RpmOstree(Args),
    /// Serve com.coreos.update1
    UpdateEngine(Args),
    /// Ask rpm-ostreed to finalise what is staged, as `rpm-ostree finalize-deployment --allow-missing-checksum` does
    Finalize,
    /// Print the bus's rules, for /etc/dbus-1/system.d
    Policy {
        /// Whose
        which: Which,
    },
}

#[derive(Debug, clap::Args)]
struct Args {
    /// `system`, or the address of another bus
    #[arg(long, default_value = "system")]
    bus: String,
    /// Where what outlives a boot is kept
    #[arg(long, value_name = "DIR", default_value = "/var/lib/os-standin")]
    state: PathBuf,
    /// The host's root
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// The release that runs before any update
    #[arg(long, value_name = "VERSION", default_value = "1.0.0")]
    booted: String,
    /// An os-release to write the running release into
    #[arg(long, value_name = "FILE")]
    os_release: Option<PathBuf>,
    /// How it reboots: the real systemctl, or a call to the logind of its bus
    #[arg(long, value_enum, default_value_t = By::Systemctl)]
    reboot: By,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    Systemctl,
    Logind,
    Nothing,
}

const RPM_OSTREE_POLICY: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <policy user="root">
    <allow own="org.projectatomic.rpmostree1"/>
  </policy>
  <policy context="default">
    <allow send_destination="org.projectatomic.rpmostree1"/>
  </policy>
</busconfig>
"#;

/// The program.
pub fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn say(line: &str) {
    use std::io::Write as _;

    // A log that cannot be written is no reason to end.
    let _ = writeln!(std::io::stderr().lock(), "os-standin: {line}");
}

fn run(cli: &Cli) -> Result<()> {
    use std::io::Write as _;

    let args = match &cli.verb {
        Verb::Policy { which } => {
            let text = match which {
                Which::RpmOstree => RPM_OSTREE_POLICY,
                Which::UpdateEngine => update_engine::POLICY,
            };
            return Ok(std::io::stdout().write_all(text.as_bytes())?);
        }
        Verb::Finalize => return runtime()?.block_on(finalize()),
        Verb::RpmOstree(args) | Verb::UpdateEngine(args) => args,
    };
    let runtime = runtime()?;
    runtime.block_on(async {
        match cli.verb {
            Verb::RpmOstree(_) => serve_rpm_ostree(args).await,
            _ => serve_update_engine(args).await,
        }
    })
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// A client of the system bus's rpm-ostreed.
async fn finalize() -> Result<()> {
    let bus = Builder::system().build().await?;
    let (name, interface) = ("org.projectatomic.rpmostree1", "org.projectatomic.rpmostree1.OS");
    let options = HashMap::from([("allow-missing-checksum", Variant::from(true))]);
    let body = (options,);
    let reply = bus.call_method(Some(name), rpm_ostree::OS, Some(interface), "FinalizeDeployment", &body).await?;
    let address: String = reply.body().deserialize()?;
    let peer = Builder::address(address.as_str()).p2p().build().await?;
    let mut signals = MessageStream::from(&peer);
    let transaction = Some("org.projectatomic.rpmostree1.Transaction");
    peer.call_method(None::<&str>, "/", transaction, "Start", &()).await?;
    while let Some(Ok(message)) = poll_fn(|context| Pin::new(&mut signals).poll_next(context)).await {
        if message.header().member().is_some_and(|member| member.as_str() == "Finished") {
            let (is_done, words): (bool, String) = message.body().deserialize()?;
            ensure!(is_done, "{words}");
            return Ok(());
        }
    }
    bail!("the transaction ended without a word")
}

fn builder(args: &Args) -> Builder<'static> {
    match args.bus.as_str() {
        "system" => Builder::system(),
        address => Builder::address(address.to_owned().as_str()),
    }
}

fn boot_id() -> Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id").context("boot_id")?.trim().to_owned())
}

async fn until_told_to_end() -> Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

async fn serve_rpm_ostree(args: &Args) -> Result<()> {
    let state = State::load(&args.state, &args.booted, &boot_id()?)?;
    if let (Some(file), Some(version)) = (&args.os_release, state.booted()) {
        name_release(file, "OSTREE_VERSION", version)?;
    }
    let reboot = match args.reboot {
        By::Systemctl => Reboot::Systemctl,
        By::Logind => Reboot::Logind,
        By::Nothing => Reboot::Nothing,
    };
    let settings = Settings { root: args.root.clone(), state: Some(args.state.clone()), reboot };
    let daemon = RpmOstree::serve(builder(args), settings, state).await.context("the bus")?;
    say(&format!("rpm-ostree: {:?}", daemon.deployments()));
    until_told_to_end().await?;
    // Stopped by an orderly shutdown it writes what is staged, as ostree-finalize-staged.service; by anything else it does not.
    if goes_down(args).await {
        daemon.finalize()?;
        say("the host goes down: what is staged and unlocked is written");
    }
    Ok(())
}

async fn goes_down(args: &Args) -> bool {
    let asked = async {
        let connection: Connection = builder(args).build().await?;
        let body = ("org.freedesktop.login1.Manager", "PreparingForShutdown");
        let (name, path) = ("org.freedesktop.login1", "/org/freedesktop/login1");
        let reply = connection.call_method(Some(name), path, Some("org.freedesktop.DBus.Properties"), "Get", &body);
        let value: zbus::OwnedVariant = reply.await?.body().deserialize()?;
        anyhow::Ok(bool::try_from(value)?)
    };
    match tokio::time::timeout(std::time::Duration::from_secs(5), asked).await {
        Ok(Ok(is)) => is,
        Ok(Err(error)) => {
            say(&format!("logind cannot be asked: {error:#}"));
            false
        }
        Err(_) => false,
    }
}

async fn serve_update_engine(args: &Args) -> Result<()> {
    let (next, seen) = (args.root.join(update_engine::NEXT), args.state.join("boot-id"));
    let boot_id = boot_id()?;
    std::fs::create_dir_all(&args.state)?;
    // Another boot: the slot that was written runs, whether the way down was an orderly one or not.
    if std::fs::read_to_string(&seen).is_ok_and(|found| found != boot_id)
        && let Ok(version) = std::fs::read_to_string(&next)
    {
        if let Some(file) = &args.os_release {
            name_release(file, "VERSION", &version)?;
        }
        std::fs::remove_file(&next)?;
    }
    std::fs::write(&seen, &boot_id)?;
    let _engine = UpdateEngine::serve(builder(args), &args.root).await.context("the bus")?;
    say("update_engine");
    until_told_to_end().await
}

/// Writes `key=version` into an os-release file, in place of what it says there.
fn name_release(file: &Path, key: &str, version: &str) -> Result<()> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let mut lines: Vec<String> =
        text.lines().filter(|line| !line.starts_with(&format!("{key}="))).map(str::to_owned).collect();
    lines.push(format!("{key}='{version}'"));
    Ok(std::fs::write(file, lines.join("\n") + "\n")?)
}
