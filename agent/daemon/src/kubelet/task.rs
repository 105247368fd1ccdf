//! The task that watches the kubelet: systemd's word on the unit, the answer of its port, the record of its start.
//! Look, decide (core), act, publish, wait. A signal from systemd is a hint to look; the port is asked once a minute.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use eyewall_core::config::{Config, Owner};
use eyewall_core::event;
use eyewall_core::kubelet::wedge::{self, Policy, Start, Step};
use eyewall_core::kubelet::{Answer, Container, Seen, Started, Unit, image_in_use, judge, outdated};
use eyewall_core::status::{Health, KubeletStatus, Reason};
use eyewall_core::time::Time;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use super::health::Probe;
use super::systemd::{Bus, Systemd};
use crate::events::Events;
use crate::store::files;
use crate::supervisor::Heartbeat;

/// The longest round: every call to systemd answered at the last moment, a probe, and the pause after it.
pub const ROUND: Duration = Duration::from_secs(180);
/// How often to ask the port when all is well, and to look when nothing can be looked at.
const IDLE: Duration = Duration::from_secs(60);
/// How often to ask systemd when all is well and it has said nothing: a signal may be lost.
const RELOOK: Duration = Duration::from_secs(600);
/// The longest pause while a kubelet is silent; it is shorter at first, so that a start is seen at once.
const SILENT: Duration = Duration::from_secs(15);
/// The shortest pause.
const SOON: Duration = Duration::from_secs(1);
/// systemd sends several signals for one change.
const SETTLE: Duration = Duration::from_millis(50);
/// One question that is not answered may be lost; two in a row are silence.
const MISSES: u32 = 2;
/// Said while both would renew.
const TWO_OWNERS: &str = "it still renews its certificate itself, beside the agent: restart the kubelet, with \
                          `eyewall kubelet` in its unit (`/opt/bin/eyewall kubelet take-over --write` puts it there)";
/// Larger than any record, in bytes.
const RECORD_MAX: u64 = 64 * 1024;

/// What the task is given.
#[derive(Debug)]
pub struct Deps {
    /// The settings in force.
    pub config: watch::Receiver<Arc<Config>>,
    /// Where its state goes; nothing before the first look.
    pub status: watch::Sender<Option<KubeletStatus>>,
    /// Where its story goes.
    pub events: Events,
    /// Its sign of life, at least every [`ROUND`].
    pub heartbeat: Heartbeat,
    /// The clock.
    pub clock: fn() -> SystemTime,
    /// Where systemd is found.
    pub bus: Bus,
    /// The record of the last start ([`super::RECORD`]).
    pub record: PathBuf,
    /// The name of a process (`/proc/PID/comm`), by which `eyewall kubelet` is told from what it becomes.
    pub process_name: fn(u32) -> Option<String>,
    /// The runtime the host has, for as long as there is no record.
    pub runtime: fn(&Config) -> Option<String>,
    /// The container that is called `kubelet`, whoever started it.
    pub container: fn() -> Option<Container>,
    /// How patient to be.
    pub policy: Policy,
}

/// Watches for ever.
pub async fn run(deps: Deps) {
    let mut task = Task::new(deps);
    loop {
        let pause = task.round().await;
        task.deps.heartbeat.touch();
        let hint = async {
            tokio::select! {
                () = task.wake.notified() => {}
                changed = task.deps.config.changed() => {
                    if changed.is_err() {
                        // Nobody changes the settings any more; what they were stays true.
                        std::future::pending::<()>().await;
                    }
                }
            }
        };
        if timeout(pause, hint).await.is_ok() {
            sleep(SETTLE).await;
            // What came meanwhile is answered by the same look.
            let _ = timeout(Duration::ZERO, task.wake.notified()).await;
            task.hinted = true;
        }
    }
}

/// What is remembered between two looks. A restart of the agent forgets it, and errs on the side of patience.
struct Task {
    deps: Deps,
    wake: Arc<Notify>,
    /// All instants are spans since this one.
    begun: Instant,
    unit_name: String,
    systemd: Option<Systemd>,
    unit: Result<Unit, Reason>,
    /// The runtime the host had at the last look.
    runtime: Option<String>,
    /// The container at the last look.
    container: Option<Container>,
    looked_at: Option<Duration>,
    /// Since when systemd could not be asked.
    unseen_since: Option<Duration>,
    /// Something may have changed since.
    hinted: bool,
    probe: Probe,
    answer: Answer,
    misses: u32,
    silent_since: Option<Duration>,
    active: Option<Active>,
    recorded: Option<(Started, Duration)>,
    restarts: Vec<Duration>,
    restarts_total: u64,
    /// What the last event said; a crash loop is told once.
    told: Option<(Health, String)>,
}

/// An active unit: which process, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Active {
    pid: Option<u32>,
    since: Duration,
}

impl Task {
    fn new(mut deps: Deps) -> Self {
        let config = Arc::clone(&deps.config.borrow_and_update());
        Self {
            deps,
            wake: Arc::new(Notify::new()),
            begun: Instant::now(),
            unit_name: config.kubelet.unit.clone(),
            systemd: None,
            unit: Err(Reason::new("not-looked-yet", "the agent has just started")),
            runtime: None,
            container: None,
            looked_at: None,
            unseen_since: None,
            hinted: false,
            probe: Probe::new(&config.kubelet.health),
            answer: Answer::NotAsked,
            misses: 0,
            silent_since: None,
            active: None,
            recorded: None,
            restarts: Vec::new(),
            restarts_total: 0,
            told: None,
        }
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// One round; how long to wait for the next if nothing happens.
    async fn round(&mut self) -> Duration {
        let config = Arc::clone(&self.deps.config.borrow_and_update());
        self.follow(&config);
        if self.is_look_due() {
            self.unit = self.look().await;
            self.runtime = (self.deps.runtime)(&config);
            self.container = (self.deps.container)();
            let now = self.now();
            self.looked_at = Some(now);
            self.unseen_since = self.unit.is_err().then(|| self.unseen_since.unwrap_or(now));
            self.hinted = false;
            self.remember();
        }
        self.read_record();
        let is_down = self.unit.as_ref().is_ok_and(|unit| !is_active(unit));
        if !is_down {
            self.ask().await;
        }
        let step = match self.decide() {
            // Whoever only looks restarts nothing that he did not start.
            Step::Restart if config.certificates.owner == Owner::Kubelet && self.recorded.is_none() => {
                Step::Silent(self.now())
            }
            step => step,
        };
        if step == Step::Restart {
            self.restart().await;
        }
        self.publish(&config, step);
        self.pause(is_down, step)
    }

    fn is_look_due(&self) -> bool {
        let is_well = self.unit.as_ref().is_ok_and(is_active) && self.silent_since.is_none();
        is_look_due(self.hinted, is_well, self.looked_at.map(|at| self.now().saturating_sub(at)))
    }

    /// Another unit or another port: everything that was known is about the old one.
    fn follow(&mut self, config: &Config) {
        if self.unit_name != config.kubelet.unit {
            self.unit_name.clone_from(&config.kubelet.unit);
            self.systemd = None;
            self.looked_at = None;
            self.active = None;
            self.forget_answer();
        }
        if self.probe.url() != config.kubelet.health {
            self.probe = Probe::new(&config.kubelet.health);
            self.forget_answer();
        }
    }

    fn forget_answer(&mut self) {
        self.answer = Answer::NotAsked;
        self.misses = 0;
        self.silent_since = None;
    }

    /// What systemd says now; a connection that fails is made anew once.
    async fn look(&mut self) -> Result<Unit, Reason> {
        if let Some(systemd) = &self.systemd {
            match systemd.look().await {
                Ok(unit) => return Ok(unit),
                Err(fault) => tracing::debug!("the connection to systemd is made anew: {fault}"),
            }
            self.systemd = None;
        }
        let watched = Systemd::watch(&self.deps.bus, &self.unit_name, Arc::clone(&self.wake)).await;
        let looked = match watched {
            Ok(systemd) => {
                let unit = systemd.look().await;
                self.systemd = Some(systemd);
                unit
            }
            Err(fault) => Err(fault),
        };
        looked.map_err(|fault| fault.reason())
    }

    /// Notices that the unit was started anew, or has ended.
    fn remember(&mut self) {
        // Without systemd the last word on the unit stands; nothing is restarted then anyway.
        let Ok(unit) = &self.unit else { return };
        if !is_active(unit) {
            self.active = None;
            self.probe = Probe::new(self.probe.url());
            self.forget_answer();
            return;
        }
        if self.active.is_none_or(|active| active.pid != unit.main_pid) {
            let since = self.now();
            self.active = Some(Active { pid: unit.main_pid, since });
            self.forget_answer();
            // It has not answered since it began.
            self.silent_since = Some(since);
        }
    }

    /// Notices that a container was run.
    fn read_record(&mut self) {
        let started = files::read(&self.deps.record, RECORD_MAX)
            .ok()
            .and_then(|content| serde_json::from_str::<Started>(content.text.expose()).ok());
        let now = self.now();
        self.recorded = match (self.recorded.take(), started) {
            (Some((old, since)), Some(new)) if old == new => Some((old, since)),
            (_, Some(new)) => Some((new, now)),
            (_, None) => None,
        };
    }

    async fn ask(&mut self) {
        match self.probe.ask().await {
            alive @ Answer::Alive(_) => {
                self.answer = alive;
                self.misses = 0;
                self.silent_since = None;
            }
            silent => {
                self.misses = self.misses.saturating_add(1);
                let now = self.now();
                self.silent_since.get_or_insert(now);
                if self.misses >= MISSES || !matches!(self.answer, Answer::Alive(_)) {
                    self.answer = silent;
                }
            }
        }
    }

    fn decide(&mut self) -> Step {
        let start = self.active.map(|active| {
            let name = active.pid.and_then(self.deps.process_name);
            match &self.recorded {
                _ if name.as_deref() == Some("eyewall") => Start::Preparing,
                Some((_, since)) => Start::Recorded((*since).max(active.since)),
                None => Start::Unrecorded(active.since),
            }
        });
        let now = self.now();
        let window = self.deps.policy.window;
        self.restarts.retain(|&at| at + window > now);
        let seen = wedge::Seen { start, silent_since: self.silent_since, restarts: &self.restarts };
        wedge::decide(now, &seen, &self.deps.policy)
    }

    async fn restart(&mut self) {
        let Some(systemd) = &self.systemd else { return };
        let unit = &self.unit_name;
        // It counts whether it is done or not: a refusal must not become a loop.
        let now = self.begun.elapsed();
        self.restarts.push(now);
        if let Err(fault) = systemd.restart().await {
            tracing::error!("{unit} does not answer and cannot be restarted: {fault}");
            return;
        }
        self.restarts_total += 1;
        self.deps.events.emit(
            &event::KUBELET_RESTARTED,
            format!("{unit} was restarted: its port has not answered for too long"),
            &[("unit", unit), ("kind", "kubelet-not-answering")],
        );
        // The process that comes is another one; until then there is nobody to ask.
        self.active = None;
        self.forget_answer();
        self.hinted = true;
    }

    fn publish(&mut self, config: &Config, step: Step) {
        let (health, mut reason) = judge(&Seen {
            name: &self.unit_name,
            unit: self.unit.as_ref(),
            answer: &self.answer,
            starting: matches!(step, Step::Starting(_)) || (step == Step::Restart && self.active.is_none()),
            budget_spent: matches!(step, Step::Spent(_)),
        });
        let recorded = self.recorded.as_ref().map(|(started, _)| started);
        if let Some(words) = recorded.and_then(|started| outdated(started, &config.kubelet.images)) {
            reason.message = format!("{}; {words}", reason.message);
        }
        let is_up = self.unit.as_ref().is_ok_and(is_active);
        let container = self.container.as_ref().filter(|_| is_up);
        if config.certificates.owner == Owner::Eyewall && container.is_some_and(Container::renews_itself) {
            reason.message = format!("{}; {TWO_OWNERS}", reason.message);
        }
        let before = self.deps.status.borrow().clone();
        let now = Time((self.deps.clock)());
        let since = match &before {
            Some(before) if before.health == health => before.since,
            _ => now,
        };
        let unit = self.unit.as_ref().ok();
        let runtime = match (recorded, container) {
            (Some(started), _) => Some(started.runtime.clone()),
            (None, Some(container)) => Some(container.runtime.id.to_owned()),
            (None, None) => self.runtime.clone(),
        };
        let status = KubeletStatus {
            unit: self.unit_name.clone(),
            active_state: unit.map(|unit| unit.active_state.clone()),
            health,
            since,
            reason,
            runtime,
            image: image_in_use(recorded, container, &config.kubelet.images),
            main_pid: unit.and_then(|unit| unit.main_pid),
            restarts_total: self.restarts_total,
        };
        self.tell(&status);
        if before.as_ref() != Some(&status) {
            self.deps.status.send_replace(Some(status));
        }
    }

    /// The story: what is not as it was last told.
    fn tell(&mut self, status: &KubeletStatus) {
        let (unit, kind) = (status.unit.as_str(), status.reason.kind.as_str());
        let event = match (status.health, kind) {
            // On its way, or not to be seen: a state, not news.
            (Health::Unknown, _) => return,
            (Health::Good, _) => &event::KUBELET_HEALTHY,
            (Health::Bad, "kubelet-restart-budget-spent") => &event::KUBELET_RESTART_BUDGET_SPENT,
            (Health::Bad, _) => &event::KUBELET_UNHEALTHY,
        };
        let news = (status.health, kind.to_owned());
        if self.told.as_ref() != Some(&news) {
            self.deps.events.emit(event, status.reason.message.clone(), &[("unit", unit), ("kind", kind)]);
            self.told = Some(news);
        }
    }

    fn pause(&self, is_down: bool, step: Step) -> Duration {
        if let Some(since) = self.unseen_since {
            // No signal tells when it can be asked again: soon after a restart of the bus, never where there is none.
            return (self.now().saturating_sub(since) / 4).clamp(SOON, IDLE);
        }
        if is_down || self.active.is_none() || self.silent_since.is_none() {
            // A signal tells when it comes up; and after a restart of ours it comes soon.
            return if step == Step::Restart { SOON } else { IDLE };
        }
        let now = self.now();
        let begun = self.recorded.as_ref().map(|(_, since)| *since);
        let silent = now.saturating_sub(self.silent_since.max(begun).unwrap_or(now));
        (silent / 4).clamp(SOON, SILENT)
    }
}

/// systemd is left alone while all is well and it says nothing: a question wakes it and us.
fn is_look_due(hinted: bool, is_well: bool, last: Option<Duration>) -> bool {
    hinted || !is_well || last.is_none_or(|ago| ago >= RELOOK)
}

fn is_active(unit: &Unit) -> bool {
    matches!(unit.active_state.as_str(), "active" | "reloading" | "refreshing")
}

#[cfg(test)]
mod tests;
