//! `eyewall kubelet`: everything up to the moment at which the process becomes the container runtime.
//!
//! Each step looks at the host afresh, so that a start after a crash, a power cut or a killed client is like any other.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use eyewall_core::config::{Config, Image, Owner};
use eyewall_core::event;
use eyewall_core::hostname::{NodeName, NodeNameFault, node_name};
use eyewall_core::kubelet::{Attempt, Host, Missed, Plan, PlanFault, Runtime, Started, Unavailable, choose, plan};
use eyewall_core::os::{Os, choose as choose_os};
use eyewall_core::time::Time;
use tokio::time::{Instant, sleep};

use super::place::{self, Authority, AuthorityFault, Root, RootOnly};
use super::runtime::{self, Ended};
use super::serving;
use crate::events::Events;
use crate::store::files::{self, StoreFault};

/// What the command line and the host say.
#[derive(Clone, Debug)]
pub struct Request {
    /// The settings, with `--node-name` in `node.name`.
    pub config: Config,
    /// `--extra-arg`
    pub extra: Vec<String>,
    /// The file system.
    pub root: Root,
    /// Where the start is recorded.
    pub record: PathBuf,
    /// `PATH`
    pub path: Option<OsString>,
    /// The kernel's hostname.
    pub hostname: String,
    /// How long to wait for what.
    pub patience: Patience,
}

/// How long each thing may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// A pull: some 150 MB over a slow line.
    pub pull: Duration,
    /// A question to the runtime, or the removal of a container with its 10 s of grace.
    pub command: Duration,
    /// The daemon's writing of the kubelet's kubeconfig: milliseconds once the bootstrap kubeconfig is there.
    pub kubeconfig: Duration,
    /// How often to look for it.
    pub look: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            pull: Duration::from_secs(600),
            command: Duration::from_secs(45),
            kubeconfig: Duration::from_secs(60),
            look: Duration::from_millis(200),
        }
    }
}

/// Why the kubelet cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// No name to join with.
    #[error(transparent)]
    NodeName(#[from] NodeNameFault),
    /// No container runtime.
    #[error("there is no {0} on this host: install one, or set kubelet.runtime")]
    NoRuntime(String),
    /// The plan cannot be made.
    #[error(transparent)]
    Plan(#[from] PlanFault),
    /// A file cannot be written.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// No CA.
    #[error(transparent)]
    Authority(#[from] AuthorityFault),
    /// No image.
    #[error(transparent)]
    Image(#[from] Unavailable),
    /// No kubeconfig.
    #[error(
        "there is no kubeconfig for the kubelet at {path} after {waited} s: the agent writes it, is eyewall.service running?"
    )]
    NoKubeconfig {
        /// Where it should be.
        path: PathBuf,
        /// For how long it was waited for.
        waited: u64,
    },
}

impl StartFault {
    /// The word for machines.
    pub fn kind(&self) -> &str {
        match self {
            Self::NodeName(fault) => fault.kind(),
            Self::NoRuntime(_) => "no-container-runtime",
            Self::Plan(fault) => fault.kind(),
            Self::Store(fault) => fault.kind(),
            Self::Authority(fault) => fault.kind(),
            Self::Image(fault) => fault.kind(),
            Self::NoKubeconfig { .. } => "kubelet-kubeconfig-missing",
        }
    }
}

/// What to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The runtime's program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// A plan for this host, and the program that carries it out.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// Where the runtime's program is.
    pub program: PathBuf,
}

/// Looks at the host and makes the plan; changes nothing.
///
/// # Errors
/// [`StartFault`].
pub fn plan_for(request: &Request) -> Result<Planned, StartFault> {
    let config = &request.config;
    let name = node_name(config.node.name.as_deref(), &request.hostname)?;
    // Only where the Node is not simply called by its hostname does the kubelet need to be told.
    let named: Option<&NodeName> = config.node.name.as_ref().map(|_| &name);
    let os = os(request);
    let (runtime, program) = runtime(request, os)?;
    let host = Host {
        os,
        selinux: request.root.at("/sys/fs/selinux/enforce").exists(),
        resolved: request.root.at("/run/systemd/resolve").exists(),
        runtime,
    };
    let plan = plan(config, &host, named, &request.extra)?;
    Ok(Planned { plan, program })
}

fn os(request: &Request) -> &'static Os {
    let release = ["/etc/os-release", "/usr/lib/os-release"]
        .iter()
        .find_map(|path| std::fs::read_to_string(request.root.at(path)).ok())
        .unwrap_or_default();
    choose_os(request.config.node.os, &release)
}

fn runtime(request: &Request, os: &Os) -> Result<(Runtime, PathBuf), StartFault> {
    let find = |program: &str| runtime::find(program, request.path.as_deref());
    let choice = request.config.kubelet.runtime;
    let found = choose(choice, os, |program| find(program).is_some());
    found.and_then(|runtime| Some((runtime, find(runtime.id)?))).ok_or_else(|| {
        let all = eyewall_core::kubelet::ALL.iter();
        let wanted: Vec<&str> = all
            .filter(|runtime| choose(choice, os, |program| program == runtime.id).is_some())
            .map(|runtime| runtime.id)
            .collect();
        StartFault::NoRuntime(wanted.join(" and no "))
    })
}

/// Does all that comes before the container is run.
///
/// # Errors
/// [`StartFault`]; systemd tries again after its pause.
pub async fn prepare(request: &Request, events: &Events) -> Result<Ready, StartFault> {
    // Whoever looks must not take the last start for this one.
    note(forget(&request.record));
    let Planned { plan, program } = plan_for(request)?;
    let config = &request.config;
    lay_out(request, &plan, events)?;
    let (image, missed) = choose_image(&plan, &program, request.patience).await?;
    if config.certificates.owner == Owner::Eyewall {
        await_kubeconfig(request).await?;
    }
    // Of a power cut, of a killed client, of a start by hand: the name must be free. That there is none is no failure.
    let removed = runtime::run(&program, &plan.runtime.remove(), request.patience.command).await;
    if removed != Ended::Well {
        tracing::debug!("no container was removed: {removed:?}");
    }
    let started = Started::new(plan.runtime, &image, missed, Time(crate::clock::now()));
    note(record(&request.record, &started));
    tell_image(&started, events);
    Ok(Ready { program, arguments: plan.run(&image) })
}

/// Directories and files.
fn lay_out(request: &Request, plan: &Plan, events: &Events) -> Result<(), StartFault> {
    let (root, config) = (&request.root, &request.config);
    place::directories(root, plan)?;
    match config.certificates.owner {
        Owner::Eyewall => place::placeholder(root, &config.certificates.directory)?,
        Owner::Kubelet => place::no_placeholder(root, &config.certificates.directory)?,
    }
    serving::prepare(root, config, crate::clock::now(), events)?;
    if let Some(file) = &plan.root_only {
        match place::root_only(root, file) {
            RootOnly::AsItWas => {}
            RootOnly::Made(before) => tracing::info!("{} is root's alone now; it was {before}", file.display()),
            RootOnly::Left(reason) => tracing::warn!(eyewall_kind = %reason.kind, "{}", reason.message),
        }
    }
    match place::authority(root, &config.cluster.bootstrap_kubeconfig, plan)? {
        Authority::AsItWas => {}
        Authority::Written => tracing::info!("{} was written", plan.authority.display()),
        Authority::Kept(reason) => {
            tracing::warn!("{} is kept as it is: {}", plan.authority.display(), reason.message);
        }
    }
    if place::configuration(root, plan)? {
        let file = plan.configuration.display().to_string();
        events.emit(
            &event::KUBELET_CONFIG_WRITTEN,
            format!("{file} was written, because there was none"),
            &[("file", &file)],
        );
    }
    Ok(())
}

/// The first image that is on the host or can be pulled, and why those before it were not taken.
async fn choose_image(plan: &Plan, program: &Path, patience: Patience) -> Result<(Image, Vec<Missed>), Unavailable> {
    let mut missed = Vec::new();
    for image in &plan.images {
        let present = plan.runtime.present(image.as_str());
        if runtime::run(program, &present, patience.command).await == Ended::Well {
            return Ok((image.clone(), missed));
        }
        tracing::info!("pulling {image}");
        let pull = plan.runtime.pull(image.as_str());
        let attempt = match runtime::run(program, &pull, patience.pull).await {
            Ended::Well => Attempt::Pulled,
            Ended::Badly(words) => Attempt::Failed(words),
            Ended::TooLate => Attempt::TimedOut(patience.pull.as_secs()),
        };
        match Missed::of(image, &attempt) {
            None => return Ok((image.clone(), missed)),
            Some(miss) => {
                tracing::warn!("{miss}");
                missed.push(miss);
            }
        }
    }
    Err(Unavailable(missed.into_iter().map(Into::into).collect()))
}

/// Waits for the kubeconfig that the daemon writes. Without it the kubelet would start as a standalone one: with no cluster at all.
async fn await_kubeconfig(request: &Request) -> Result<(), StartFault> {
    let path = &request.config.certificates.kubeconfig;
    let real = request.root.at(path);
    let patience = request.patience;
    let until = Instant::now() + patience.kubeconfig;
    let mut told = false;
    while !std::fs::metadata(&real).is_ok_and(|meta| meta.is_file() && meta.len() > 0) {
        if Instant::now() >= until {
            return Err(StartFault::NoKubeconfig { path: path.clone(), waited: patience.kubeconfig.as_secs() });
        }
        if !told {
            tracing::info!("waiting for {}, which the agent writes", path.display());
            told = true;
        }
        sleep(patience.look).await;
    }
    Ok(())
}

/// The record is for people who look; a kubelet does not wait for it.
fn note(written: Result<(), StoreFault>) {
    if let Err(fault) = written {
        tracing::warn!("eyewall status will not know the image: {fault}");
    }
}

fn forget(path: &Path) -> Result<(), StoreFault> {
    files::make_directory(path.parent().unwrap_or(path), 0o755)?;
    files::remove(path)
}

fn record(path: &Path, started: &Started) -> Result<(), StoreFault> {
    // Plain data: it always serializes.
    let text = serde_json::to_string(started).unwrap_or_default();
    files::write(path, text.as_bytes(), 0o644)
}

/// Takes the record back: the runtime could not be run after all.
pub fn take_back(request: &Request) {
    note(files::remove(&request.record));
}

fn tell_image(started: &Started, events: &Events) {
    let image = &started.image;
    let position = image.position.to_string();
    let fields =
        [("image", image.reference.as_str()), ("position", position.as_str()), ("runtime", started.runtime.as_str())];
    let (event, why) = match image.passed_over.last() {
        None => (&event::KUBELET_IMAGE_CHOSEN, String::new()),
        Some(reason) => (&event::KUBELET_IMAGE_FALLBACK, format!("; {}", reason.message)),
    };
    let message = format!("the kubelet is run from {} with {}{why}", image.reference, started.runtime);
    events.emit(event, message, &fields);
}

/// What `stop` and `remove` do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// SIGTERM, then SIGKILL.
    Stop,
    /// Away with it, whether it runs or not.
    Remove,
}

/// Stops or removes the container, with the runtime it was started with. No container is as good as a stopped one.
///
/// # Errors
/// What the runtime said; the container may still be there.
pub async fn end(request: &Request, end: End) -> Result<(), String> {
    let recorded = std::fs::read_to_string(&request.record)
        .ok()
        .and_then(|text| serde_json::from_str::<Started>(&text).ok())
        .and_then(|started| Runtime::by_id(&started.runtime));
    let find = |runtime: Runtime| Some((runtime, runtime::find(runtime.id, request.path.as_deref())?));
    let found = recorded.and_then(find).or_else(|| runtime(request, os(request)).ok());
    // Nothing can run without a runtime.
    let Some((runtime, program)) = found else {
        return Ok(());
    };
    let arguments = match end {
        End::Stop => runtime.stop(),
        End::Remove => runtime.remove(),
    };
    let patience = request.patience.command;
    match runtime::run(&program, &arguments, patience).await {
        Ended::Well => Ok(()),
        // It may have failed because there is nothing to do.
        failed => match (runtime::run(&program, &runtime.exists(), patience).await, failed) {
            (Ended::Well, Ended::Badly(words)) => Err(words.trim().to_owned()),
            (Ended::Well, _) => Err(format!("{} did not end in time", program.display())),
            _ => Ok(()),
        },
    }
}

#[cfg(test)]
mod tests;
