//! The API server stand-in as a program: for a node in a virtual machine, and for trying things by hand.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use tests::apiserver::{ApiServer, ApprovalMode, Authority, Options, RequestRecord, Signing};
use tokio::signal::unix::{SignalKind, signal};

/// A stand-in for a Kubernetes API server and its controller-manager: it lets nodes join, signs their certificates and
/// keeps their objects, in memory.
#[derive(Debug, Parser)]
#[command(name = "apiserver")]
struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:6443")]
    listen: SocketAddr,
    /// Where ca.crt, ca.key, kubeconfig (bootstrap) and admin.kubeconfig are written; a CA that is there is kept.
    #[arg(long, value_name = "DIRECTORY")]
    dir: PathBuf,
    /// How long certificates live, e.g. 72h or 90s.
    #[arg(long, value_name = "SPAN", default_value = "72h", value_parser = span)]
    signing_duration: Duration,
    /// How far back certificates begin; with 0s a life of seconds can be watched being renewed.
    #[arg(long, value_name = "SPAN", default_value = "5m", value_parser = span)]
    backdate: Duration,
    /// What happens to the requests of nodes.
    #[arg(long, value_enum, default_value_t = Approve::Auto)]
    approve: Approve,
    /// A DNS name or IP address for the serving certificate; may be given more than once, the first is in the kubeconfigs.
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// A group of reboot slots and its limit, e.g. workers=1; may be given more than once.
    #[arg(long, value_name = "GROUP=SLOTS", value_parser = slots)]
    reboot_slots: Vec<(String, u32)>,
}

/// `--approve`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Approve {
    /// As the controller-manager does.
    Auto,
    /// Nobody approves, but the admin may.
    Manual,
    /// Everything that would be approved is denied.
    Deny,
}

impl From<Approve> for ApprovalMode {
    fn from(approve: Approve) -> Self {
        match approve {
            Approve::Auto => Self::Auto,
            Approve::Manual => Self::Manual,
            Approve::Deny => Self::Deny {
                reason: "OperatorDenied".to_owned(),
                message: "the stand-in was started with --approve deny".to_owned(),
            },
        }
    }
}

fn span(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    Duration::try_from(span).map_err(|_| format!("{text} is not a span forwards in time"))
}

fn slots(text: &str) -> Result<(String, u32), String> {
    let (group, slots) = text.split_once('=').ok_or_else(|| format!("{text:?} is not GROUP=SLOTS"))?;
    let slots = slots.parse().map_err(|error| format!("{slots:?} is not a number of slots: {error}"))?;
    Ok((group.to_owned(), slots))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let dir = &arguments.dir;
    std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);

    let defaults = Options::default();
    let names: Vec<String> = arguments.name.iter().chain(&defaults.names).cloned().collect();
    let own = arguments.listen.ip();
    let advertise = arguments.name.first().cloned().or((!own.is_unspecified()).then(|| own.to_string()));
    let api = ApiServer::start(Options {
        listen: arguments.listen,
        names,
        advertise,
        authority: kept_authority(dir)?,
        signing: Signing {
            approval: arguments.approve.into(),
            duration: arguments.signing_duration,
            backdate: arguments.backdate,
            ..Signing::default()
        },
        on_request: Some(Arc::new(|request: &RequestRecord| say(&request.to_string()))),
        ..defaults
    })
    .await?;
    for (group, slots) in &arguments.reboot_slots {
        api.apply_reboot_slots(group, *slots);
    }
    write(dir, "ca.crt", api.ca_pem(), 0o644)?;
    write(dir, "ca.key", api.authority().key_pem(), 0o600)?;
    write(dir, "kubeconfig", &api.bootstrap_kubeconfig(), 0o600)?;
    write(dir, "admin.kubeconfig", &api.admin_kubeconfig()?, 0o600)?;
    say(&format!("listening on {}, reached as {}", api.address(), api.url()));
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    api.stop();
    say("stopped");
    Ok(())
}

/// The CA of an earlier run in the same directory, if there was one.
fn kept_authority(dir: &Path) -> Result<Option<Arc<Authority>>> {
    let (certificate, key) = (dir.join("ca.crt"), dir.join("ca.key"));
    if !certificate.exists() || !key.exists() {
        return Ok(None);
    }
    let read = |path: &Path| std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()));
    let authority = Authority::from_pem(&read(&certificate)?, &read(&key)?)
        .with_context(|| format!("the CA in {}; remove ca.crt and ca.key to get a new one", dir.display()))?;
    Ok(Some(Arc::new(authority)))
}

/// A reader sees the old file or the new one, never half of one.
fn write(dir: &Path, name: &str, text: &str, mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    let path = dir.join(name);
    let written = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(mode)).tempfile_in(dir)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&path)?;
        std::fs::File::open(dir)?.sync_all()
    };
    written().with_context(|| format!("writing {}", path.display()))
}

/// A line for people and scripts; a reader that went away is no reason to end.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
