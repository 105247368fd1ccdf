//! `eyewall run`: the composition root. Only this file knows all tasks; they meet through the channels made here.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use eyewall_core::config::Config;
use eyewall_core::event;
use eyewall_core::kubelet::take_over::commands;
use eyewall_core::kubelet::wedge::Policy;
use eyewall_core::posture::PostureStatus;
use eyewall_core::rotation::LOOK_AGAIN;
use eyewall_core::status::{
    AgentStatus, CertificatesStatus, ConfigStatus, Health, KubeletStatus, Reason, RebootStatus, ServingStatus, Status,
};
use eyewall_core::time::Time;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::config_file::{self, Files, Loaded};
use crate::events::Events;
use crate::limits::Limits;
use crate::orders::Orders;
use crate::posture::Posture;
use crate::renewals::Renewals;
use crate::supervisor::{Heartbeats, Supervisor};
use crate::verb::{self, Global};
use crate::{
    api, capabilities, certificates, clock, clock_steps, host, journal, kubelet, posture, reboot, serving, socket,
    textfile,
};

/// Whoever wants the posture judged now; more than this at once are refused.
const JUDGEMENTS: usize = 4;
/// How often the limits are looked at that nobody tells of.
const LIMITS_AGAIN: Duration = Duration::from_secs(600);
/// The longest round of the certificate task: the wait before it, a connection, and an attempt to its deadline.
const CERTIFICATE_ROUND: Duration = Duration::from_secs(60 + 15 + 100 + 5);

/// The flags of `eyewall run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node's name, over the configuration's and the hostname's (what a platform's drop-in gives)
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
}

/// The daemon.
pub fn main(global: &Global, args: &Args) -> ExitCode {
    let sink = journal::init();
    let files = Files { path: global.config.clone(), node_name: args.node_name.clone(), socket: global.socket.clone() };
    let loaded = match files.load() {
        Ok(loaded) => loaded,
        Err(faults) => {
            for fault in faults.iter() {
                tracing::error!("{fault}");
            }
            return verb::CONFIG.into();
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Only name resolution and a few file reads go there.
        .max_blocking_threads(2)
        .thread_keep_alive(Duration::from_secs(5))
        .build();
    let done =
        runtime.context("the runtime cannot be made").and_then(|runtime| runtime.block_on(run(files, loaded, sink)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(files: Files, loaded: Loaded, sink: journal::Sink) -> anyhow::Result<()> {
    let started_at = Time(clock::now());
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be listened for")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be listened for")?;
    let events = Events::new();
    let heartbeats = Heartbeats::new(events.clone());
    let bound = socket::listen(&loaded.config.socket.path).inspect_err(|error| {
        tracing::error!(eyewall_kind = error.kind(), "there is no socket, so nothing is started")
    })?;
    let lacks = capabilities::reduce();
    let limits = Limits::new(events.clone());

    let (config_tx, config_rx) = watch::channel(Arc::new(loaded.config.clone()));
    let (config_status_tx, config_status_rx) = watch::channel(config_file::status(&loaded, started_at));
    let (certificates_tx, certificates_rx) = watch::channel(None);
    let (serving_tx, serving_rx) = watch::channel(None);
    let (kubelet_tx, kubelet_rx) = watch::channel(None);
    let (posture_tx, posture_rx) = watch::channel(None);
    let (reboot_tx, reboot_rx) = watch::channel(None);
    let (judgements, wanted) = mpsc::channel(JUDGEMENTS);
    let (orders, ordered) = Orders::new();
    let (renewals, wishes) = Renewals::new(certificates_rx.clone());
    let page = Page {
        started_at,
        limits: limits.clone(),
        config: config_rx.clone(),
        config_status: config_status_rx,
        certificates: certificates_rx.clone(),
        serving: serving_rx,
        kubelet: kubelet_rx.clone(),
        posture: posture_rx.clone(),
        reboot: reboot_rx,
    };
    let (status_tx, status_rx) = watch::channel(Arc::new(page.compose()));

    tokio::spawn(certificates::run(certificates::Deps {
        config: config_rx.clone(),
        status: certificates_tx,
        events: events.clone(),
        wishes,
        limits: limits.clone(),
        heartbeat: heartbeats.register("certificates", CERTIFICATE_ROUND),
        dial: Arc::new(api::Network),
        look_again: LOOK_AGAIN,
        clock: clock::now,
        since_boot: clock::since_boot,
        clock_steps: clock_steps::listen(events.clone(), limits.clone()),
        hostname: host::hostname,
        draw: host::draw,
    }));
    tokio::spawn(serving::run(serving::Deps {
        config: config_rx.clone(),
        certificates: certificates_rx.clone(),
        status: serving_tx,
        events: events.clone(),
        heartbeat: heartbeats.register("serving", serving::ROUND),
        dial: Arc::new(api::Network),
        clock: clock::now,
        hostname: host::hostname,
        draw: host::draw,
    }));
    tokio::spawn(reboot::task::run(reboot::task::Deps {
        config: config_rx.clone(),
        certificates: certificates_rx,
        kubelet: kubelet_rx.clone(),
        posture: posture_rx.clone(),
        status: reboot_tx,
        events: events.clone(),
        orders: ordered,
        renewals: renewals.clone(),
        heartbeat: heartbeats.register("reboot", reboot::task::ROUND),
        dial: Arc::new(api::Network),
        clock: clock::now,
        draw: host::draw,
        state: given_by_systemd("STATE_DIRECTORY"),
        bus: reboot::bus::Bus::System,
        places: reboot::generic::Places::default(),
    }));
    let posture_heartbeat = heartbeats.register("posture", posture::task::ROUND);
    let kubelet_heartbeat = heartbeats.register("kubelet", kubelet::task::ROUND);
    let serve = tokio::spawn(socket::serve(
        bound,
        socket::Deps {
            status: status_rx.clone(),
            posture: posture_rx,
            judgements,
            events: events.clone(),
            renewals,
            orders,
            heartbeats,
        },
    ));
    tokio::spawn(config_file::follow(config_file::Deps {
        files,
        loaded,
        config: config_tx,
        status: config_status_tx,
        events: events.clone(),
        limits: limits.clone(),
    }));
    tokio::spawn(posture::task::run(posture::task::Deps {
        config: config_rx.clone(),
        status: posture_tx,
        events: events.clone(),
        wanted,
        heartbeat: posture_heartbeat,
        clock: clock::now,
        draw: host::draw,
        // systemd.exec(5): the first of the directories that the unit was given.
        state: given_by_systemd("STATE_DIRECTORY"),
        scratch: given_by_systemd("RUNTIME_DIRECTORY"),
    }));
    tokio::spawn(textfile::run(textfile::Deps {
        config: config_rx.clone(),
        status: status_rx,
        events: events.clone(),
        clock: clock::now,
    }));
    tokio::spawn(kubelet::task::run(kubelet::task::Deps {
        config: config_rx,
        status: kubelet_tx,
        events: events.clone(),
        heartbeat: kubelet_heartbeat,
        clock: clock::now,
        bus: kubelet::systemd::Bus::System,
        record: kubelet::RECORD.into(),
        process_name: kubelet::process_name,
        runtime: kubelet::runtime::of_host,
        container: kubelet::container_of_host,
        policy: Policy::default(),
    }));

    let mut supervisor = Supervisor::new();
    let node = page.compose().node.name.unwrap_or_default();
    events.emit(
        &event::AGENT_STARTED,
        format!("eyewall {} is running", env!("CARGO_PKG_VERSION")),
        &[("version", env!("CARGO_PKG_VERSION")), ("node", &node)],
    );
    // Who runs this, and with which capabilities, does not change.
    for (place, lack) in ["user", "capabilities"].into_iter().zip(lacks) {
        limits.tell(place, Some(lack));
    }
    let composed = compose(page, status_tx, &mut supervisor, sink);
    tokio::select! {
        () = composed => anyhow::bail!("a task ended that never should"),
        ended = serve => anyhow::bail!("the socket ended: {}", ended.map_or_else(|error| error.to_string(), |error| error.to_string())),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    events.emit(&event::AGENT_STOPPING, "eyewall stops; the kubelet goes on", &[]);
    supervisor.stopping("stopping");
    Ok(())
}

/// A directory that systemd made for the unit; none where somebody started the agent by hand.
fn given_by_systemd(name: &str) -> Option<PathBuf> {
    let value = std::env::var_os(name)?;
    let first = value.to_str()?.split(':').next()?;
    (!first.is_empty()).then(|| first.into())
}

/// Composes the page anew whenever a part of it changes, and keeps systemd's sentence.
async fn compose(mut page: Page, status: watch::Sender<Arc<Status>>, supervisor: &mut Supervisor, sink: journal::Sink) {
    let mut ready = false;
    let mut limits = page.limits.changes();
    loop {
        page.limits.tell("journal", journal::limit(sink));
        page.limits.tell("bus", page.kubelet.borrow().as_ref().and_then(no_bus));
        limits.mark_unchanged();
        let composed = page.compose();
        let sentence = sentence(&composed);
        // Ready is: the socket answers, and the kubelet has what it needs to start.
        if !ready && page.certificates.borrow().is_some() {
            supervisor.ready(&sentence);
            ready = true;
        } else {
            supervisor.status(&sentence);
        }
        status.send_replace(Arc::new(composed));
        let changed = tokio::select! {
            changed = page.config.changed() => changed,
            changed = page.config_status.changed() => changed,
            changed = page.certificates.changed() => changed,
            changed = page.serving.changed() => changed,
            changed = page.kubelet.changed() => changed,
            changed = page.posture.changed() => changed,
            changed = page.reboot.changed() => changed,
            changed = limits.changed() => changed,
            // What nobody tells of is looked at now and then.
            () = tokio::time::sleep(LIMITS_AGAIN) => Ok(()),
        };
        if changed.is_err() {
            return;
        }
    }
}

/// systemd could not be asked, as the kubelet's task tells it.
fn no_bus(kubelet: &KubeletStatus) -> Option<Reason> {
    (kubelet.active_state.is_none() && kubelet.reason.kind == "no-system-bus").then(|| kubelet.reason.clone())
}

/// `systemctl status` shows this.
fn sentence(status: &Status) -> String {
    let certificates = &status.certificates;
    let kubelet = &status.kubelet;
    let mut told = format!(
        "certificate {}: {}; kubelet: {}",
        certificates.state.as_str(),
        certificates.reason.message,
        kubelet.reason.message
    );
    if let Some(reboot) = status.reboot.as_ref().filter(|reboot| !reboot.state.is_quiet()) {
        told.push_str(&format!("; reboot {}: {}", reboot.state.as_str(), reboot.reason.message));
    }
    told
}

/// The parts of the one page.
struct Page {
    started_at: Time,
    limits: Limits,
    config: watch::Receiver<Arc<Config>>,
    config_status: watch::Receiver<ConfigStatus>,
    certificates: watch::Receiver<Option<CertificatesStatus>>,
    serving: watch::Receiver<Option<ServingStatus>>,
    kubelet: watch::Receiver<Option<KubeletStatus>>,
    posture: watch::Receiver<Option<Arc<Posture>>>,
    reboot: watch::Receiver<Option<RebootStatus>>,
}

impl Page {
    fn compose(&self) -> Status {
        let config = Arc::clone(&self.config.borrow());
        let mut certificates =
            self.certificates.borrow().clone().unwrap_or_else(|| unlooked_certificates(self.started_at));
        certificates.serving.clone_from(&self.serving.borrow());
        certificates.take_over = commands(config.certificates.owner, &self.config_status.borrow().files);
        let kubelet = self.kubelet.borrow().clone().unwrap_or_else(|| unlooked_kubelet(&config, self.started_at));
        Status {
            health: Status::fold(&[certificates.health, kubelet.health]),
            node: host::node(&config),
            agent: AgentStatus {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: std::process::id(),
                started_at: self.started_at,
                config: self.config_status.borrow().clone(),
                limits: self.limits.reasons(),
            },
            certificates,
            kubelet,
            posture: self.posture.borrow().as_ref().map(|posture| PostureStatus::of(&posture.report)),
            reboot: self.reboot.borrow().clone(),
        }
    }
}

/// Before the first look, which takes milliseconds.
fn unlooked_certificates(now: Time) -> CertificatesStatus {
    use eyewall_core::status::{CertificateState, ClockView};
    let reason = Reason::new("not-looked-yet", "the agent has just started");
    CertificatesStatus {
        owner: "eyewall".to_owned(),
        health: Health::Unknown,
        state: CertificateState::Absent,
        since: now,
        reason: reason.clone(),
        next: "the store is read".to_owned(),
        next_at: None,
        current: None,
        request: None,
        ca: None,
        may_be_off_until: None,
        recovery: None,
        forecasts: Vec::new(),
        clock: ClockView { trusted: false, reason, skew_seconds: None },
        installed_total: 0,
        failures_total: 0,
        renew_errors_total: 0,
        serving: None,
        take_over: Vec::new(),
    }
}

fn unlooked_kubelet(config: &Config, now: Time) -> KubeletStatus {
    KubeletStatus {
        unit: config.kubelet.unit.clone(),
        active_state: None,
        health: Health::Unknown,
        since: now,
        reason: Reason::new("not-looked-yet", "the agent has just started"),
        runtime: None,
        image: None,
        main_pid: None,
        restarts_total: 0,
    }
}
