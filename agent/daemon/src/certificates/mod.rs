//! The task that keeps the kubelet's client certificate: look, decide (core), act, publish, wait.
//!
//! It keeps nothing that a restart would miss: what counts is on disk or on the API server. What it remembers (the last
//! attempt, the clock's verdict) only keeps it from asking too often.

mod foretold;
mod observe;
mod obtain;
mod publish;
mod question;
mod story;
mod unchanged;
mod wishes;
#[cfg(test)]
mod year;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use eyewall_core::backoff::Backoff;
use eyewall_core::config::{Config, Owner};
use eyewall_core::event;
use eyewall_core::kubeconfig::{self, Bootstrap};
use eyewall_core::rotation::clock_step::Reading;
use eyewall_core::rotation::forecast::Thresholds;
use eyewall_core::rotation::{
    self, Anchor, Attempt, Clock, Current, Identity, Outcome, Policy, Seen, Step, Streaks, Tested, Wish,
};
use eyewall_core::status::{CertificatesStatus, Health, Reason, RecoveryView};
use eyewall_core::time::Time;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, timeout};

use crate::api::{Client, Dial};
use crate::chain;
use crate::clock_steps::ClockSteps;
use crate::events::Events;
use crate::hints::Hints;
use crate::limits::Limits;
use crate::renewals::Wished;
use crate::store::Store;
use crate::supervisor::Heartbeat;
use observe::{Looker, World};
use publish::{Look, Publisher};
use wishes::Wishes;

/// After a write of our own failed while nothing is being asked for.
const DISK: Backoff = Backoff::seconds(2, 60);
/// After so many looks at a request that cannot be read (some five minutes) its key counts as lost, and a new one is made.
const UNREADABLE: u32 = 8;
/// How long to let a file settle after the first sign of a change.
const SETTLE: Duration = Duration::from_millis(20);
/// More steps in a row than any honest line has (quarantine, forget, prepare, clock, ask), and the pause after them: no fault
/// of ours or of a disk may become a busy loop.
const TURNS: u32 = 16;
const UNSETTLED: Duration = Duration::from_secs(5);

/// What the task is given.
#[derive(Debug)]
pub struct Deps {
    /// The settings in force.
    pub config: watch::Receiver<Arc<Config>>,
    /// Where its state goes.
    pub status: watch::Sender<Option<CertificatesStatus>>,
    /// Where its story goes.
    pub events: Events,
    /// What is wanted beyond the schedule.
    pub wishes: mpsc::Receiver<Wished>,
    /// Where it says that it has no inotify.
    pub limits: Limits,
    /// Its sign of life.
    pub heartbeat: Heartbeat,
    /// How to reach the API server.
    pub dial: Arc<dyn Dial>,
    /// The longest time between two looks.
    pub look_again: Duration,
    /// The clock.
    pub clock: fn() -> SystemTime,
    /// Since the boot, suspension included.
    pub since_boot: fn() -> Duration,
    /// Tells when the clock is set.
    pub clock_steps: ClockSteps,
    /// The hostname, read anew each time.
    pub hostname: fn() -> String,
    /// In 0..1, for jitter.
    pub draw: fn() -> f64,
}

/// What is remembered between looks.
#[derive(Debug, Default)]
struct Memory {
    last: Option<Attempt>,
    /// Begins anew whenever the last attempt is void.
    streaks: Streaks,
    /// What the last attempt depended on: another kubeconfig or name makes it void.
    inputs: Option<(Bootstrap, String)>,
    clock: Option<Clock>,
    client: Option<(Identity, Client)>,
    /// What the bootstrap credential's last test found; void with another kubeconfig.
    recovery: Option<RecoveryView>,
    /// Since when the bootstrap credential that is there now is being looked at.
    recovery_since: Option<Instant>,
    /// Own writes that failed in a row.
    disk: u32,
}

impl Memory {
    fn ended(&mut self, now: SystemTime, outcome: Outcome, identity: Identity, draw: f64) {
        if self.last.is_none() {
            self.streaks = Streaks::default();
        }
        let streak = self.streaks.count(&outcome);
        self.last = Some(Attempt { at: Time(now), outcome, identity, streak, draw });
    }
}

/// What follows a turn.
enum Next {
    /// Look again at once.
    Again,
    /// Nothing before this instant.
    Wait(SystemTime),
}

/// Runs until the agent ends.
pub async fn run(deps: Deps) {
    let wake = Arc::new(Notify::new());
    let (mut hints, _) = Hints::new(Arc::clone(&wake));
    let publisher = Publisher::new(deps.status.clone(), deps.events.clone());
    let mut task = Task {
        deps,
        memory: Memory::default(),
        wishes: Wishes::default(),
        looker: Looker::default(),
        in_order: false,
        publisher,
        wake,
        reading: None,
    };
    let mut turns = 0;
    loop {
        task.deps.heartbeat.touch();
        let config = Arc::clone(&task.deps.config.borrow_and_update());
        let current = config.certificates.directory.join(crate::store::CURRENT);
        match config.certificates.owner {
            Owner::Eyewall => hints.follow(&[&config.cluster.bootstrap_kubeconfig]),
            // What the kubelet installs is seen as it comes.
            Owner::Kubelet => hints.follow(&[&config.cluster.bootstrap_kubeconfig, &current]),
        }
        task.deps.limits.tell("certificates-hints", hints.limit());
        let mut next = task.turn(&config).await;
        turns += 1;
        if matches!(next, Next::Again) && turns > TURNS {
            tracing::warn!(
                "{TURNS} steps without an end; the store is changed from elsewhere, or a disk does not keep what it is given"
            );
            next = Next::Wait((task.deps.clock)() + UNSETTLED);
        }
        if let Next::Wait(until) = next {
            turns = 0;
            task.memory.client = None;
            task.rest(until).await;
        }
    }
}

#[derive(Debug)]
struct Task {
    deps: Deps,
    memory: Memory,
    wishes: Wishes,
    looker: Looker,
    /// The last look found all that the kubelet needs, or made it so.
    in_order: bool,
    publisher: Publisher,
    /// A hint that a file changed.
    wake: Arc<Notify>,
    /// The clocks at the last look.
    reading: Option<Reading>,
}

impl Task {
    /// Look, decide, publish, act.
    async fn turn(&mut self, config: &Config) -> Next {
        let store = Store::new(&config.certificates);
        self.notice_step();
        let now = (self.deps.clock)();
        let world = self.looker.look(config, &store, &(self.deps.hostname)());
        self.notice(&world);
        let owned = config.certificates.owner == Owner::Eyewall;
        // What was found in order is in order while nothing has changed.
        let fault = if owned && !(self.in_order && world.is_unchanged) {
            prepare(&store, &world, &self.deps.events).err()
        } else {
            None
        };
        self.in_order = owned && fault.is_none();
        let policy = Policy {
            owner: config.certificates.owner,
            renew_at: config.certificates.renew_at,
            look_again: self.deps.look_again,
        };
        let thresholds = Thresholds::from(&config.certificates);
        let mut seen = self.seen(&world);
        seen.wish = self.wishes.settle(now, &seen, &policy);
        let decision = rotation::decide(now, &seen, &policy);
        let look = Look {
            policy: &policy,
            thresholds: &thresholds,
            world: &world,
            memory: &self.memory,
            decision: &decision,
            fault: fault.as_ref(),
        };
        self.publisher.publish(now, &look);
        let done = match decision.step {
            Step::Idle { until } => match fault {
                None => return Next::Wait(until),
                Some(fault) => Err(fault),
            },
            Step::Quarantine(reason) => self.quarantine(&store, &world, &reason),
            Step::Forget(why) => {
                tracing::info!("the request on disk is dropped: {why}");
                store.forget_request().map_err(|fault| fault.reason())
            }
            Step::Prepare => match &world.request_fault {
                // A moment's trouble must not cost the key of a request that is open.
                Some(fault) if self.memory.disk < UNREADABLE => Err(fault.clone()),
                _ => new_request(&store, &world),
            },
            Step::CheckClock => {
                self.check_clock(&world).await;
                Ok(())
            }
            Step::TestRecovery => {
                self.test_recovery(&world).await;
                Ok(())
            }
            Step::Ask(identity) => {
                self.ask(&store, &world, &seen, &policy, identity).await;
                Ok(())
            }
        };
        match done {
            Ok(()) => {
                self.memory.disk = 0;
                Next::Again
            }
            Err(reason) => {
                self.memory.disk = self.memory.disk.saturating_add(1);
                let now = (self.deps.clock)();
                self.publisher.fault(&reason);
                Next::Wait(now + DISK.delay(self.memory.disk, (self.deps.draw)()))
            }
        }
    }

    /// Another kubeconfig or another name makes the last attempt void: what it met may be gone.
    fn notice(&mut self, world: &World) {
        let inputs = match (&world.bootstrap, &world.node) {
            (Ok(joined), Ok(node)) => Some((&joined.bootstrap, node.as_str())),
            _ => None,
        };
        if inputs != self.memory.inputs.as_ref().map(|(bootstrap, name)| (bootstrap, name.as_str())) {
            self.memory.last = None;
            self.memory.client = None;
            self.memory.recovery = None;
            self.memory.recovery_since = Some(Instant::now());
            // It was compared with another server's.
            self.memory.clock = None;
            self.memory.inputs = inputs.map(|(bootstrap, name)| (bootstrap.clone(), name.to_owned()));
        }
    }

    fn seen(&self, world: &World) -> Seen {
        Seen {
            node: world.node.clone(),
            bootstrap: match &world.bootstrap {
                Ok(joined) => Ok(joined.authority.not_after),
                Err(reason) => Err(reason.clone()),
            },
            current: world.current.clone(),
            request: world.request.as_ref().map(|open| open.seen.clone()),
            clock: self.memory.clock.clone(),
            last: self.memory.last.clone(),
            wish: None,
            recovery: self
                .memory
                .recovery
                .as_ref()
                .map(|recovery| Tested { at: recovery.tested_at, answered: recovery.health != Health::Unknown }),
            recovery_trouble: self
                .memory
                .recovery
                .as_ref()
                .filter(|recovery| recovery.health != Health::Good)
                .map(|recovery| recovery.reason.clone()),
        }
    }

    fn quarantine(&self, store: &Store, world: &World, reason: &Reason) -> Result<(), Reason> {
        let now = (self.deps.clock)();
        let ca = world.bootstrap.as_ref().ok().map(|joined| joined.ca.as_str());
        let common_name = world.node.as_ref().map(eyewall_core::hostname::NodeName::common_name);
        let (moved_to, replacement) = store
            .quarantine(now, |text| {
                common_name.as_ref().is_ok_and(|common_name| observe::is_fallback(text, common_name, ca, now))
            })
            .map_err(|fault| fault.reason())?;
        let stands = replacement.map_or_else(
            || "an empty placeholder stands in its place".to_owned(),
            |file| format!("{} stands in its place", file.display()),
        );
        let file = world.file.as_ref().unwrap_or(&moved_to).display().to_string();
        let moved_to = moved_to.display().to_string();
        self.deps.events.emit(
            &event::CERTIFICATE_QUARANTINED,
            format!("{}; it was moved to {moved_to}, and {stands}", reason.message),
            &[("file", &file), ("moved_to", &moved_to), ("kind", &reason.kind)],
        );
        Ok(())
    }

    async fn ask(&mut self, store: &Store, world: &World, seen: &Seen, policy: &Policy, identity: Identity) {
        let (Ok(joined), Ok(node), Some(open)) = (&world.bootstrap, &world.node, &world.request) else {
            return;
        };
        let pem = world.pem.as_ref().map(eyewall_core::secret::Secret::expose);
        let ended = match self.connection(joined, identity, pem).await {
            Err(error) => {
                let outcome = obtain::outcome(error);
                if matches!(outcome, Outcome::OutOfTime(_)) {
                    // So the clock, or this one of the servers, is not what it was found to be.
                    self.memory.clock = None;
                }
                outcome.into()
            }
            Ok(_) => {
                let Self { memory, publisher, wake, deps, wishes, .. } = self;
                let clock = deps.clock;
                let is_sent = memory.last.as_ref().is_some_and(Attempt::is_sent);
                let watch = obtain::watch(clock(), &world.current);
                let on = obtain::Attempt { node, joined, open, is_sent, watch, store, dial: &*deps.dial };
                // Lent to the attempt and given back: the report of progress needs the rest of the memory.
                let Some((_, mut client)) = memory.client.take() else { return };
                let mut told = |progress| publisher.progress(clock(), world, memory, identity, progress);
                let ended = {
                    let attempt = timeout(obtain::WITHIN, obtain::attempt(&mut client, &on, clock, &mut told));
                    let mut attempt = std::pin::pin!(attempt);
                    loop {
                        tokio::select! {
                            ended = &mut attempt => break ended,
                            // What was waited for may not be what is wanted now; the request is found again if it is.
                            () = wake.notified() => return tokio::time::sleep(SETTLE).await,
                            Ok(()) = deps.config.changed() => return deps.config.mark_changed(),
                            // By another clock it may be another question.
                            () = deps.clock_steps.heard() => return,
                            // One that the certificate in force serves need not wait for the next.
                            Some(wished) = deps.wishes.recv() => {
                                wishes.take(wished);
                                wishes.settle(clock(), seen, policy);
                            }
                        }
                    }
                };
                match ended {
                    Ok(ended) => {
                        memory.client = Some((identity, client));
                        ended
                    }
                    // The connection is in an unknown state and goes with its client.
                    Err(_) => {
                        let within = obtain::WITHIN.as_secs();
                        Outcome::Unreachable(format!("the attempt came to no end within {within} s")).into()
                    }
                }
            }
        };
        let now = (self.deps.clock)();
        let draw = (self.deps.draw)();
        self.publisher.ended(world, &ended);
        if let Outcome::Unproved(reason) = &ended.outcome {
            tracing::warn!("{}: {}", reason.kind, reason.message);
        }
        if ended.outcome == Outcome::Installed {
            self.wishes.renewed();
            for done in [store.forget_request(), store.prune().map(|_| ())] {
                if let Err(fault) = done {
                    tracing::warn!("{fault}");
                }
            }
        }
        self.memory.ended(now, ended.outcome, identity, draw);
        if self.memory.last.as_ref().is_some_and(Attempt::spends_the_key)
            && let Err(fault) = store.forget_request()
        {
            tracing::warn!("{fault}");
        }
    }

    /// Waits until `until` by the wall clock, or for a hint.
    async fn rest(&mut self, until: SystemTime) {
        let span = until.duration_since((self.deps.clock)()).unwrap_or_default();
        // The wall clock may be set while we sleep, and the sleep does not notice: never long.
        let span = span.clamp(Duration::from_millis(10), self.deps.look_again);
        tokio::select! {
            () = tokio::time::sleep(span) => {}
            () = self.wake.notified() => {
                // A file is being replaced: what comes next is a moment away, and half a file is a fault nobody made.
                tokio::time::sleep(SETTLE).await;
            }
            Ok(()) = self.deps.config.changed() => {}
            () = self.deps.clock_steps.heard() => {}
            Some(wished) = self.deps.wishes.recv() => {
                if wished.wish == Wish::Fresh {
                    // Whoever asks for it has seen what stood in the way. A server that asked to be left alone is left alone.
                    let waits = |last: &Attempt| matches!(last.outcome, Outcome::Throttled(_));
                    self.memory.last = self.memory.last.take().filter(waits);
                    self.memory.clock = self.memory.clock.take().filter(|clock| clock.trusted);
                }
                self.wishes.take(wished);
            }
        }
    }
}

/// What the kubelet needs to start before there is a certificate: something at the link's path, the CA, the kubeconfig.
/// While a certificate of the CA before is in force, nothing is touched: the new CA is taken over together with the
/// certificate that it vouches for.
fn prepare(store: &Store, world: &World, events: &Events) -> Result<(), Reason> {
    let told = |fault: crate::store::StoreFault| fault.reason();
    store.ensure_placeholder().map_err(told)?;
    // What was cut short may hold a key, and so may what was in force long ago. While nothing usable is in force, none of that goes.
    store.sweep().map_err(told)?;
    if matches!(&world.current, Current::Usable { .. }) {
        store.prune().map_err(told)?;
    }
    let Ok(joined) = &world.bootstrap else {
        return Ok(());
    };
    if matches!(&world.current, Current::Usable { anchor: Anchor::Installed, .. }) {
        return Ok(());
    }
    store.ensure_authority(&joined.ca).map_err(told)?;
    let text = kubeconfig::for_kubelet(&joined.bootstrap, &store.authority(), &store.current());
    if store.ensure_kubeconfig(&text).map_err(told)? {
        let file = store.kubeconfig.display().to_string();
        events.emit(
            &event::KUBECONFIG_WRITTEN,
            format!("The kubelet's kubeconfig {file} was written"),
            &[("file", &file)],
        );
    }
    Ok(())
}

/// Makes a key and request and puts both on disk, before anything is sent.
fn new_request(store: &Store, world: &World) -> Result<(), Reason> {
    let Ok(node) = &world.node else { return Ok(()) };
    let new =
        chain::new_request(node).map_err(|why| Reason::new("key-not-made", format!("no key could be made: {why}")))?;
    store.write_request(&new.key, &new.request).map_err(|fault| fault.reason())
}
