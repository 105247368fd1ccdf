//! The task that coordinates this host's reboots: look, decide, hold or drop the host's lock, carry out one step, tell, wait for news.
//!
//! What it knows is looked at again each time; signals, files and the group's watch only wake it. A step that fails is not repeated here: the next
//! look sees what is, and the decision says what to do.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use eyewall_core::config::Config;
use eyewall_core::event;
use eyewall_core::hostname::node_name;
use eyewall_core::reboot::announce::Announcement;
use eyewall_core::reboot::health::{Parts, failing, lacking};
use eyewall_core::reboot::host::Phase;
use eyewall_core::reboot::orders::By;
use eyewall_core::reboot::story::news;
use eyewall_core::reboot::{
    BootId, Cause, Decision, HostLock, LOOK_AGAIN, LetGo, NodeSeen, Policy, RebootState, Seen, Slot, Step, decide,
};
use eyewall_core::status::{CertificatesStatus, KubeletStatus, Reason, RebootStatus, RenewalAnswer};
use eyewall_core::time::Time;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use super::backend::Host;
use super::bus::Bus;
use super::cluster_side::ClusterSide;
use super::generic::Places;
use super::host_side::{HostSeen, HostSide};
use super::kept::Kept;
use super::reach::AsNode;
use super::{view, zone};
use crate::api::Dial;
use crate::events::Events;
use crate::hints::Hints;
use crate::host as this_host;
use crate::orders::Ordered;
use crate::posture::Posture;
use crate::renewals::Renewals;
use crate::supervisor::Heartbeat;

/// The longest round: the reboot itself may take three minutes to begin, and the wait before it.
pub const ROUND: Duration = Duration::from_secs(600);
/// Between two looks, so that no mistake of the decision becomes a busy loop.
const BREATH: Duration = Duration::from_millis(5);
/// A wall clock that goes this much otherwise than the monotonic one was set, and what was good since then is good since now.
const CLOCK_SET: Duration = Duration::from_secs(2);
/// News come in handfuls.
const SETTLE: Duration = Duration::from_millis(20);
/// A renewal of the certificate for this reboot may take so long.
const RENEWED_WITHIN: Duration = Duration::from_secs(5 * 60);
/// The Node is read again for a decision that rests on it, if the last look is older than this.
const NODE_FRESH: Duration = Duration::from_secs(4);
/// And this where nothing is about to happen.
const NODE_STALE: Duration = Duration::from_secs(60);
/// A Node that is not good, or cannot be read, is looked at again after this while a decision rests on it.
const NODE_AGAIN: Duration = Duration::from_secs(5);
/// The wait after a step that failed; half as long or half as long again by chance.
const AFTER_TROUBLE: Duration = Duration::from_secs(5);
/// The last words must be said well within logind's usual five seconds.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What the task is given.
#[derive(Debug)]
pub struct Deps {
    /// The settings in force.
    pub config: watch::Receiver<Arc<Config>>,
    /// The certificate's part of the status.
    pub certificates: watch::Receiver<Option<CertificatesStatus>>,
    /// The kubelet's.
    pub kubelet: watch::Receiver<Option<KubeletStatus>>,
    /// The posture.
    pub posture: watch::Receiver<Option<Arc<Posture>>>,
    /// Where its state goes.
    pub status: watch::Sender<Option<RebootStatus>>,
    /// Where its story goes.
    pub events: Events,
    /// What operators order.
    pub orders: mpsc::Receiver<Ordered>,
    /// To the certificate task.
    pub renewals: Renewals,
    /// Its sign of life, at least every [`ROUND`].
    pub heartbeat: Heartbeat,
    /// How connections to the API server come about.
    pub dial: Arc<dyn Dial>,
    /// The clock.
    pub clock: fn() -> SystemTime,
    /// In 0..1, for jitter.
    pub draw: fn() -> f64,
    /// Where orders survive restarts (`StateDirectory=` of the unit).
    pub state: Option<PathBuf>,
    /// The bus that logind is on.
    pub bus: Bus,
    /// Where the host's files are.
    pub places: Places,
}

/// Runs until the agent ends.
pub async fn run(deps: Deps) {
    let wake = Arc::new(Notify::new());
    let (hints, _) = Hints::new(Arc::clone(&wake));
    let config = Arc::clone(&deps.config.borrow());
    let host = Host::new(this_host::os(&config), deps.bus.clone(), deps.places.clone());
    let now = Time((deps.clock)());
    let kept = Kept::open(deps.state.as_deref(), now);
    let Some(boot) = boot(&deps.places) else {
        tracing::error!("this kernel tells no boot id, so no reboot can be proved: reboots are not coordinated");
        return std::future::pending().await;
    };
    let reach = Arc::new(AsNode { config: deps.config.clone(), dial: Arc::clone(&deps.dial), clock: deps.clock });
    let mut task = Task {
        host_side: HostSide::new(host, deps.bus.clone(), Arc::clone(&wake)),
        cluster_side: ClusterSide::new(reach, deps.state.clone(), Arc::clone(&wake), deps.clock, deps.draw),
        kept,
        boot,
        cycle: Cycle::default(),
        told: None,
        lock_lost: None,
        owes_end: false,
        hints,
        wake,
        deps,
    };
    task.follow().await;
}

/// The boot that runs.
fn boot(places: &Places) -> Option<BootId> {
    let id = std::fs::read_to_string(places.path("/proc/sys/kernel/random/boot_id")).ok()?;
    Some(BootId(id.trim().to_owned()))
}

/// When it began, by the wall clock as it goes now: early in a boot it may be wrong by hours, and then it is set.
fn booted_at(now: Time) -> Time {
    Time(now.0.checked_sub(crate::clock::since_boot()).unwrap_or(SystemTime::UNIX_EPOCH))
}

/// What is known in this run of the agent only: without it the line is gone through again, from the slot's entry.
#[derive(Debug, Default)]
struct Cycle {
    good_since: Option<Time>,
    bad_since: Option<Time>,
    slot_unknown_since: Option<Time>,
    /// The last look, by both clocks.
    looked: Option<(Instant, Time)>,
    let_go: Option<LetGo>,
    given_up: Option<(Time, Reason)>,
    renewal: Option<oneshot::Receiver<RenewalAnswer>>,
    renewal_refused: Option<(Time, Reason)>,
    trouble: Option<Reason>,
}

/// What was told last: a change of it is news.
#[derive(Clone, Debug)]
struct Told {
    state: RebootState,
    since: Time,
    reason: Reason,
}

#[derive(Debug)]
struct Task {
    deps: Deps,
    host_side: HostSide,
    cluster_side: ClusterSide,
    kept: Kept,
    boot: BootId,
    cycle: Cycle,
    told: Option<Told>,
    lock_lost: Option<Reason>,
    /// The cluster was told of reboots in this run, or a slot may be held: it is looked at until it was told that they are not coordinated.
    owes_end: bool,
    hints: Hints,
    wake: Arc<Notify>,
}

impl Task {
    async fn follow(&mut self) {
        loop {
            self.deps.heartbeat.touch();
            let until = self.turn().await;
            let now = (self.deps.clock)();
            let longest = if self.rests_on_bad_node() { NODE_AGAIN } else { LOOK_AGAIN };
            let wait = until.duration_since(now).unwrap_or_default().clamp(BREATH, longest);
            let watched = self.host_side.host().watched();
            self.hints.follow(&watched.iter().map(PathBuf::as_path).collect::<Vec<_>>());
            tokio::select! {
                () = self.wake.notified() => sleep(SETTLE).await,
                Some(order) = self.deps.orders.recv() => self.obey(order),
                changed = self.deps.config.changed() => if changed.is_err() { return },
                Ok(()) = self.deps.certificates.changed() => {}
                Ok(()) = self.deps.kubelet.changed() => {}
                Ok(()) = self.deps.posture.changed() => {}
                answer = answered(&mut self.cycle.renewal) => self.renewed(answer),
                () = sleep(wait) => {}
            }
        }
    }

    /// Nothing tells when the Node is Ready.
    fn rests_on_bad_node(&self) -> bool {
        self.told.as_ref().is_some_and(|told| !told.state.is_quiet()) && self.cluster_side.node_is_bad()
    }

    /// Looks, decides, acts; until when nothing is to be done.
    async fn turn(&mut self) -> SystemTime {
        let config = Arc::clone(&self.deps.config.borrow_and_update());
        let Some((seen, policy, decision)) = self.judge(&config, NODE_STALE).await else {
            return (self.deps.clock)() + LOOK_AGAIN;
        };
        // What follows from the Node follows from the Node as it is, not as it was a minute ago. Taking a slot does not: a thousand waiting nodes
        // that look at themselves first for each freed slot are what it waits for, and the next step looks anew.
        let (seen, policy, decision) = match decision.step {
            Step::Idle { .. } | Step::ClearServed | Step::Take(_) => (seen, policy, decision),
            _ => match self.judge(&config, NODE_FRESH).await {
                Some(again) => again,
                None => (seen, policy, decision),
            },
        };
        self.host_side.keep(decision.lock, &decision.reason.message).await;
        self.publish(&config, &policy, &seen, &decision).await;
        if seen.shutting_down {
            // The last words are said; whoever shuts the host down need not wait for us.
            self.host_side.wait_for_last_words(false).await;
        } else {
            self.host_side.wait_for_last_words(decision.lock == HostLock::Held).await;
        }
        if let Step::Idle { until } = decision.step {
            // Forgotten, the cluster is told for the last time.
            return if self.forget_leftovers(&config, &seen) { (self.deps.clock)() } else { until };
        }
        tracing::debug!(step = decision.step.as_str(), "a step of the reboot");
        let done = self.act(&config, &seen, &decision).await;
        if matches!(decision.step, Step::Renew { .. }) && done.is_ok() {
            // Its answer wakes us; until then there is nothing new to see.
            self.cycle.trouble = None;
            return (self.deps.clock)() + LOOK_AGAIN;
        }
        self.cycle.trouble = done.err();
        if let Some(trouble) = &self.cycle.trouble {
            tracing::info!(eyewall_kind = trouble.kind, "{}: {}", decision.step.as_str(), trouble.message);
            // Nothing is hammered: the next look is a moment away, and news come sooner.
            return (self.deps.clock)() + AFTER_TROUBLE.mul_f64(0.75 + 0.5 * (self.deps.draw)());
        }
        (self.deps.clock)()
    }

    /// Where reboots are not coordinated any more and nothing is left of them, the cluster is not looked at any more.
    fn forget_leftovers(&mut self, config: &Config, seen: &Seen) -> bool {
        let is_clean = matches!(seen.slot, Slot::Seen { mine: None, .. }) && seen.node.is_ok();
        if config.reboot.coordinate || !is_clean || !self.kept.content().may_hold_slot() {
            return false;
        }
        let forgotten = self.kept.change(|content| {
            content.failed_before = None;
            content.orders.free = None;
        });
        if let Err(reason) = &forgotten {
            tracing::info!(eyewall_kind = reason.kind, "{}", reason.message);
        }
        forgotten.is_ok()
    }

    /// Sees and decides. None: there is nothing to decide by, and the status says why.
    async fn judge(&mut self, config: &Config, fresh: Duration) -> Option<(Seen, Policy, Decision)> {
        let host = self.host_side.look().await;
        self.host_side.look_at_delay(Path::new(&config.kubelet.config)).await;
        let zone = zone::read(&config.reboot, &self.deps.places);
        let name = node_name(config.node.name.as_deref(), &this_host::hostname());
        let seed = name.as_ref().map_or("", |name| name.as_str());
        let policy = zone.and_then(|zone| {
            Policy::new(&config.reboot, zone, seed).map_err(|fault| Reason::new(fault.kind(), fault.to_string()))
        });
        let policy = match policy {
            Ok(policy) => policy,
            Err(reason) => {
                // A window that cannot be told is no window that is open: the host stays up.
                self.host_side.keep(HostLock::Held, &reason.message).await;
                self.told(RebootState::Unknown, &reason);
                return None;
            }
        };
        self.owes_end |= config.reboot.coordinate || self.kept.content().may_hold_slot();
        let active = self.owes_end;
        self.cluster_side.follow(config, name.as_ref().ok().filter(|_| active));
        let slot = self.cluster_side.slot().await;
        let now = Time((self.deps.clock)());
        self.cycle.slot_unknown_since = match slot {
            Slot::Unknown(_) => self.cycle.slot_unknown_since.or(Some(now)),
            Slot::Seen { .. } => None,
        };
        let content = self.kept.content();
        let wants = matches!(&slot, Slot::Seen { mine: Some(_), .. })
            || content.orders != Default::default()
            || !matches!(host.pending, Ok(None));
        let busy = wants || self.cluster_side.may_be_cordoned();
        let fresh = match self.cluster_side.node_is_bad() {
            false => fresh,
            // Nobody looked at it again while nothing was wanted.
            true if wants && self.told.as_ref().is_none_or(|told| told.state.is_quiet()) => Duration::ZERO,
            true => NODE_FRESH,
        };
        let node = if busy && active {
            self.cluster_side.node(fresh).await
        } else {
            Err(Reason::new("not-looked-yet", "the Node is looked at when a reboot is wanted"))
        };
        let (mut lacking, certificate_until) = self.lacking(&node, busy, &slot);
        let after_boot = matches!(&slot, Slot::Seen { mine: Some(mine), .. } if mine.boot_id != self.boot);
        if !after_boot {
            // What somebody else holds the host up for is no fault of its new release.
            lacking.extend(host.blocked.clone());
        }
        let seen = self.seen(host, slot, node, lacking, certificate_until);
        let decision = decide((self.deps.clock)(), &seen, &policy);
        Some((seen, policy, decision))
    }

    fn seen(
        &mut self,
        host: HostSeen,
        slot: Slot,
        node: Result<NodeSeen, Reason>,
        lacking: Vec<Reason>,
        certificate_until: Option<Time>,
    ) -> Seen {
        let now = Time((self.deps.clock)());
        let blind = matches!(slot, Slot::Unknown(_)) || node.is_err();
        if self.clock_was_set(now) {
            self.cycle.good_since = None;
            self.cycle.bad_since = None;
        }
        if lacking.is_empty() {
            self.cycle.good_since.get_or_insert(now);
            self.cycle.bad_since = None;
        } else {
            self.cycle.good_since = None;
            if blind {
                self.cycle.bad_since = None;
            } else {
                self.cycle.bad_since.get_or_insert(now);
            }
        }
        let content = self.kept.content();
        Seen {
            boot: self.boot.clone(),
            booted_at: booted_at(now),
            booted: host.booted,
            pending: host.pending,
            orders: content.orders.clone(),
            bad: content.bad.clone(),
            lacking,
            good_since: self.cycle.good_since,
            bad_since: self.cycle.bad_since,
            certificate_until,
            renewal_refused: self.cycle.renewal_refused.clone(),
            slot,
            slot_unknown_since: self.cycle.slot_unknown_since,
            node,
            drain: self.cluster_side.drain(),
            let_go: self.cycle.let_go.clone(),
            shutting_down: host.shutting_down,
            given_up: self.cycle.given_up.clone(),
            trouble: self.cycle.trouble.clone(),
        }
    }

    fn clock_was_set(&mut self, now: Time) -> bool {
        let monotonic = Instant::now();
        let Some((then, was)) = self.cycle.looked.replace((monotonic, now)) else { return false };
        let should = Time(was.0 + monotonic.duration_since(then));
        let apart = now.0.duration_since(should.0).or_else(|_| should.0.duration_since(now.0));
        apart.is_ok_and(|apart| apart > CLOCK_SET)
    }

    /// What is not good, and when the certificate ends. An idle host asks the API server nothing about itself.
    fn lacking(&mut self, node: &Result<NodeSeen, Reason>, busy: bool, slot: &Slot) -> (Vec<Reason>, Option<Time>) {
        let certificates = self.deps.certificates.borrow_and_update();
        let kubelet = self.deps.kubelet.borrow_and_update();
        let posture = self.deps.posture.borrow_and_update();
        let failed_now = posture.as_ref().map(|posture| failing(&posture.report));
        let failed_before = self.kept.content().failed_before.as_ref();
        let unasked = Ok(NodeSeen { unschedulable: false, cordoned_by_us: None, ready: true });
        let lacking = lacking(&Parts {
            certificate: certificates.as_ref().map(|part| (part.health, &part.reason)),
            kubelet: kubelet.as_ref().map(|part| (part.health, &part.reason)),
            failed_now: failed_now.as_ref(),
            // After a take that came to nothing there is no reboot to compare with.
            failed_before: failed_before.filter(|_| !matches!(slot, Slot::Seen { mine: None, .. })),
            node: if busy { node } else { &unasked },
        });
        let until = certificates.as_ref().and_then(|part| part.current.as_ref()).map(|current| current.not_after);
        (lacking, until)
    }

    /// One step.
    async fn act(&mut self, config: &Config, seen: &Seen, decision: &Decision) -> Result<(), Reason> {
        match &decision.step {
            Step::Idle { .. } => Ok(()),
            Step::Take(entry) => {
                self.cycle.given_up = None;
                let failing = self.deps.posture.borrow().as_ref().map(|posture| failing(&posture.report));
                self.kept.change(|content| content.failed_before = Some(failing.unwrap_or_default()))?;
                self.cluster_side.take(entry).await
            }
            Step::Amend(entry) => self.cluster_side.amend(entry).await,
            Step::Free => {
                self.cluster_side.free().await?;
                self.kept.change(|content| content.failed_before = None)
            }
            Step::Renew { at_least } => {
                self.renew(*at_least);
                Ok(())
            }
            Step::Cordon => self.cluster_side.cordon(&seen.boot).await,
            Step::Uncordon => self.cluster_side.uncordon().await,
            Step::Drain { until } => self.cluster_side.begin_drain(*until, config.reboot.on_drain_timeout),
            Step::StopDrain => {
                self.cluster_side.stop_drain();
                Ok(())
            }
            Step::LetGo(cause) => self.let_go(config, cause).await,
            Step::Rollback(_) => {
                self.note_let_go(Ok(()));
                let answer = self.host_side.roll_back().await;
                self.note_let_go(answer);
                Ok(())
            }
            Step::RememberBad(release) => self.kept.change(|content| {
                if !content.bad.iter().any(|bad| bad.is(release)) {
                    content.bad.push(release.clone());
                }
            }),
            Step::GiveUp(reason) => {
                self.cycle.given_up = Some((Time((self.deps.clock)()), reason.clone()));
                self.cycle.let_go = None;
                Ok(())
            }
            Step::ClearServed => {
                let boot = self.boot.clone();
                let is_freed = matches!(seen.slot, Slot::Seen { mine: None, .. });
                self.kept.change(|content| {
                    let orders = &mut content.orders;
                    orders.request.take_if(|order| order.boot_id != boot);
                    orders.force.take_if(|order| order.boot_id != boot);
                    orders.free.take_if(|freed| is_freed || *freed != boot);
                })
            }
        }
    }

    async fn let_go(&mut self, config: &Config, cause: &Cause) -> Result<(), Reason> {
        self.host_side.coordinate(strategy(config), Phase::Rebooting);
        self.note_let_go(Ok(()));
        let answer = self.host_side.let_go(cause).await;
        self.note_let_go(answer);
        Ok(())
    }

    /// Noted before the lock is dropped, and again with the answer.
    fn note_let_go(&mut self, answer: Result<(), Reason>) {
        let at = self.cycle.let_go.as_ref().map_or_else(|| Time((self.deps.clock)()), |let_go| let_go.at);
        self.cycle.let_go = Some(LetGo { at, answer });
    }

    fn renew(&mut self, at_least: Duration) {
        if self.cycle.renewal.is_some() {
            return;
        }
        let renewals = self.deps.renewals.clone();
        let (answer, answered) = oneshot::channel();
        tokio::spawn(async move {
            // Who asked may have turned to something else.
            let _ = answer.send(renewals.at_least(at_least, RENEWED_WITHIN).await);
        });
        self.cycle.renewal = Some(answered);
    }

    fn renewed(&mut self, answer: Option<RenewalAnswer>) {
        self.cycle.renewal = None;
        self.cycle.renewal_refused = match answer {
            Some(answer) if answer.holds => None,
            Some(answer) => Some((Time((self.deps.clock)()), answer.reason)),
            None => None,
        };
    }

    /// Keeps an order, and answers.
    fn obey(&mut self, order: Ordered) {
        let Ordered { command, uid, answer } = order;
        let by = By { uid, now: Time((self.deps.clock)()), boot_id: self.boot.clone() };
        let config = Arc::clone(&self.deps.config.borrow());
        let keeps_slot = self.told.as_ref().is_some_and(|told| told.state == RebootState::HeldBack);
        let taken = if config.reboot.coordinate {
            let (orders, reason) = command.apply(&self.kept.content().orders, &by, keeps_slot);
            self.kept.change(|content| content.orders = orders).map(|()| reason)
        } else {
            Err(Reason::new(
                "not-coordinated",
                "Reboots of this host are not coordinated: [reboot] coordinate is false in its configuration.",
            ))
        };
        // Who asked may have gone away; the order stands.
        let _ = answer.send(taken);
    }

    async fn publish(&mut self, config: &Config, policy: &Policy, seen: &Seen, decision: &Decision) {
        let before = self.told.clone();
        let since = self.told(decision.state, &decision.reason);
        let status =
            view::of(Time((self.deps.clock)()), since, &config.reboot, policy, seen, decision, self.host_side.view());
        let health = status.health;
        self.tell_of_lock(decision.lock);
        let is_news =
            before.as_ref().is_none_or(|before| (before.state, &before.reason) != (decision.state, &decision.reason));
        if is_news {
            self.tell(before.as_ref(), config, seen, decision);
            let phase = match decision.state {
                RebootState::Off => Phase::Disabled,
                RebootState::Rebooting | RebootState::LettingGo => Phase::Rebooting,
                RebootState::Idle | RebootState::Unknown => Phase::Running,
                _ => Phase::RebootPlanned,
            };
            if let Some(reason) = self.host_side.coordinate(strategy(config), phase) {
                tracing::info!(eyewall_kind = reason.kind, "{}", reason.message);
            }
        }
        self.deps.status.send_replace(Some(status));
        if self.owes_end {
            // The API server may be away; what is told there is told again with the next change.
            let what = Announcement {
                state: decision.state.as_str().to_owned(),
                reason: decision.reason.clone(),
                since,
                wanted: match decision.state {
                    RebootState::Unknown => None,
                    RebootState::Idle | RebootState::Off => Some(false),
                    _ => Some(true),
                },
                health,
            };
            let told = timeout(LAST_WORDS, self.cluster_side.announce(&what)).await;
            let is_over = decision.state == RebootState::Off && !self.kept.content().may_hold_slot();
            if is_over && told == Ok(true) {
                self.owes_end = false;
                self.cluster_side.follow(config, None);
            }
        }
    }

    /// Notes what is told; since when it is so.
    fn told(&mut self, state: RebootState, reason: &Reason) -> Time {
        let now = Time((self.deps.clock)());
        let since = self.told.as_ref().filter(|told| told.state == state).map_or(now, |told| told.since);
        self.told = Some(Told { state, since, reason: reason.clone() });
        since
    }

    fn tell(&self, before: Option<&Told>, config: &Config, seen: &Seen, decision: &Decision) {
        let was = before.map(|before| (before.state, before.reason.kind.as_str()));
        let release = match (&seen.pending, decision.state) {
            (_, RebootState::Proving | RebootState::Gate) => seen.booted.as_ref().ok().map(|release| &release.version),
            (Ok(Some(pending)), _) => match &pending.cause {
                Cause::Update(release) => Some(&release.version),
                _ => None,
            },
            _ => None,
        };
        let mut fields = vec![
            ("kind", decision.reason.kind.as_str()),
            ("state", decision.state.as_str()),
            ("group", config.reboot.group.as_str()),
        ];
        fields.extend(release.map(|release| ("release", release.as_str())));
        let until = match decision.step {
            Step::Drain { until } => Some(until.to_string()),
            _ => None,
        };
        fields.extend(until.as_deref().map(|until| ("until", until)));
        fields.extend(before.map(|before| ("state_before", before.state.as_str())));
        // Who takes a slot waits for nothing; if that fails it is told what for.
        let takes = matches!(decision.step, Step::Take(_)) && seen.trouble.is_none();
        for event in news(was, decision.state, &decision.reason.kind) {
            if takes && event.name == event::REBOOT_WAITS.name {
                continue;
            }
            self.deps.events.emit(event, decision.reason.message.clone(), &fields);
        }
    }

    fn tell_of_lock(&mut self, lock: HostLock) {
        let lost = self.host_side.trouble().filter(|_| lock == HostLock::Held).cloned();
        match (&self.lock_lost, &lost) {
            (None, Some(reason)) => {
                self.deps.events.emit(&event::HOST_LOCK_LOST, reason.message.clone(), &[("kind", &reason.kind)]);
            }
            (Some(_), None) if lock == HostLock::Held => {
                self.deps.events.emit(&event::HOST_LOCK_HELD, "The host's block lock is held", &[]);
            }
            _ => {}
        }
        self.lock_lost = lost;
    }
}

/// The name under which update_engine's coordinator file shows us.
fn strategy(config: &Config) -> &'static str {
    use eyewall_core::config::LockChoice;
    match config.reboot.lock {
        LockChoice::Slots => "slots",
        LockChoice::Fleetlock => "fleetlock",
        LockChoice::Local => "local",
    }
}

/// The answer to a renewal that was asked for; never while none was.
async fn answered(renewal: &mut Option<oneshot::Receiver<RenewalAnswer>>) -> Option<RenewalAnswer> {
    match renewal {
        Some(answer) => answer.await.ok(),
        None => std::future::pending().await,
    }
}
