//! The task that keeps the kubelet's serving certificate (`certificates.serving`): look, decide (core), act, publish, wait.
//!
//! It is a line of its own beside the client certificate's and shares nothing with it but the files: whatever it waits for, it
//! does not hold that one up. Like that one it keeps nothing that a restart would miss.

mod attempt;
mod observe;
mod publish;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use eyewall_core::backoff::Backoff;
use eyewall_core::config::{Config, Owner};
use eyewall_core::kubeconfig::Bootstrap;
use eyewall_core::rotation::clock::{ClockEvidence, Floor, Server, Service};
use eyewall_core::rotation::{self, Attempt, Clock, Identity, Outcome, Streaks};
use eyewall_core::serving::{self, Current, Found, Keeper, Names, NodeRead, Policy, Seen, Step};
use eyewall_core::status::{CertificatesStatus, Reason, ServingStatus};
use eyewall_core::time::Time;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use crate::api::{ApiError, Bearer, Client, Dial, Endpoint, csr, node};
use crate::chain;
use crate::events::Events;
use crate::hints::Hints;
use crate::store::{CURRENT, SERVING, Store};
use crate::supervisor::Heartbeat;
use observe::World;
use publish::Publisher;

/// After a write of our own failed.
const DISK: Backoff = Backoff::seconds(2, 60);
/// How long to let a file settle after the first sign of a change.
const SETTLE: Duration = Duration::from_millis(20);
/// More steps in a row than any honest line has, and the pause after them: no fault may become a busy loop.
const TURNS: u32 = 16;
const UNSETTLED: Duration = Duration::from_secs(5);
/// Between two looks where nothing is kept and nothing is there: a sign of life, and little else.
const NOTHING_TO_KEEP: Duration = Duration::from_secs(300);
/// For reading the Node, whatever the server does.
const READ_WITHIN: Duration = Duration::from_secs(30);
/// The longest round of the task: the wait before it, the Node, a connection, and an attempt to its end.
pub const ROUND: Duration = Duration::from_secs(60 + 30 + 15 + attempt::WITHIN.as_secs() + 15);

/// What the task is given.
#[derive(Debug)]
pub struct Deps {
    /// The settings in force.
    pub config: watch::Receiver<Arc<Config>>,
    /// What is known of the client certificate, for its word on the clock.
    pub certificates: watch::Receiver<Option<CertificatesStatus>>,
    /// Where its state goes; none where there is nothing to keep and nothing is kept.
    pub status: watch::Sender<Option<ServingStatus>>,
    /// Where its story goes.
    pub events: Events,
    /// Its sign of life.
    pub heartbeat: Heartbeat,
    /// How connections come about.
    pub dial: Arc<dyn Dial>,
    /// The clock.
    pub clock: fn() -> SystemTime,
    /// The hostname, read anew each time.
    pub hostname: fn() -> String,
    /// In 0..1, for jitter.
    pub draw: fn() -> f64,
}

/// What an attempt depends on: another of these makes the last one void.
type Inputs = (Bootstrap, String, String, Option<Names>);

/// What is remembered between looks.
#[derive(Debug, Default)]
struct Memory {
    last: Option<Attempt>,
    /// Begins anew whenever the last attempt is void.
    streaks: Streaks,
    inputs: Option<Inputs>,
    node_read: Option<NodeRead>,
    addresses: Option<Names>,
    clock: Option<Clock>,
    client: Option<Client>,
    /// Own writes that failed in a row.
    disk: u32,
}

/// What follows a turn.
enum Next {
    /// Look again at once.
    Again,
    /// Nothing before this instant.
    Wait(SystemTime),
    /// There is nothing to keep.
    Nothing,
}

/// Runs until the agent ends.
pub async fn run(deps: Deps) {
    let wake = Arc::new(Notify::new());
    // Without inotify the slow look has to do; the client certificate's task has said so.
    let (mut hints, _) = Hints::new(Arc::clone(&wake));
    let publisher = Publisher::new(deps.status.clone(), deps.events.clone());
    let mut task = Task { deps, memory: Memory::default(), publisher, wake };
    let mut turns = 0;
    loop {
        task.deps.heartbeat.touch();
        let config = Arc::clone(&task.deps.config.borrow_and_update());
        let mut next = task.turn(&config).await;
        turns += 1;
        if matches!(next, Next::Again) && turns > TURNS {
            tracing::warn!(
                "{TURNS} steps without an end; the serving pair is changed from elsewhere, or a disk does not keep it"
            );
            next = Next::Wait((task.deps.clock)() + UNSETTLED);
        }
        match next {
            Next::Again => {}
            Next::Wait(until) => {
                turns = 0;
                task.memory.client = None;
                let directory = &config.certificates.directory;
                let (client, serving) = (directory.join(CURRENT), directory.join(SERVING));
                hints.follow(&[&config.cluster.bootstrap_kubeconfig, &client, &serving]);
                task.rest(until).await;
            }
            Next::Nothing => {
                turns = 0;
                task.memory = Memory::default();
                hints.follow(&[]);
                tokio::select! {
                    Ok(()) = task.deps.config.changed() => {}
                    () = tokio::time::sleep(NOTHING_TO_KEEP) => {}
                }
            }
        }
    }
}

#[derive(Debug)]
struct Task {
    deps: Deps,
    memory: Memory,
    publisher: Publisher,
    /// A hint that a file changed.
    wake: Arc<Notify>,
}

fn policy(config: &Config) -> Policy {
    let certificates = &config.certificates;
    let keeper = match (certificates.owner, certificates.serving) {
        (Owner::Kubelet, _) => Keeper::Kubelet,
        (Owner::Eyewall, true) => Keeper::Eyewall,
        (Owner::Eyewall, false) => Keeper::Nobody,
    };
    Policy { keeper, renew_at: certificates.renew_at }
}

impl Task {
    /// Look, decide, publish, act.
    async fn turn(&mut self, config: &Config) -> Next {
        let (store, mut policy) = (Store::new(&config.certificates), policy(config));
        let now = (self.deps.clock)();
        let world = match observe::look(config, &store, &(self.deps.hostname)(), now) {
            Ok(world) => world,
            Err(_) if policy.keeper != Keeper::Eyewall => {
                self.publisher.nothing();
                return Next::Nothing;
            }
            Err(fault) => return self.failed(&policy, &fault.reason()),
        };
        if policy.keeper != Keeper::Eyewall && world.current == Current::Nothing {
            self.publisher.nothing();
            return Next::Nothing;
        }
        if policy.keeper == Keeper::Kubelet && world.pair.has_ours() {
            // It was given the renewal back, and the pair is still the one of before, which it takes for its own.
            policy.keeper = Keeper::Nobody;
        }
        self.notice(&world);
        let decision = serving::decide(now, &self.seen(&world), &policy);
        let attempts = self.memory.last.as_ref().map_or(0, |last| last.streak);
        self.publisher.publish(now, &policy, &world, self.memory.addresses.as_ref(), attempts, &decision);
        let done = match decision.step {
            Step::Idle { until } => return Next::Wait(until),
            Step::Withdraw(reason) => self.withdraw(&store, &world, &reason),
            Step::Link => match &world.file {
                Some(file) => store.link_serving(file, chain::is_pair).map_err(|fault| fault.reason()),
                None => Ok(()),
            },
            Step::Tidy => store.tidy_serving().map(|_| ()).map_err(|fault| fault.reason()),
            Step::Forget(why) => {
                tracing::info!("the request for a serving certificate on disk is dropped: {why}");
                store.forget_serving_request().map_err(|fault| fault.reason())
            }
            Step::ReadNode => {
                self.read_node(&world).await;
                Ok(())
            }
            Step::Prepare => self.prepare(&store, &world),
            Step::Ask => {
                self.ask(&store, &world, &policy).await;
                Ok(())
            }
        };
        match done {
            Ok(()) => {
                self.memory.disk = 0;
                Next::Again
            }
            Err(reason) => self.failed(&policy, &reason),
        }
    }

    fn failed(&mut self, policy: &Policy, reason: &Reason) -> Next {
        self.memory.disk = self.memory.disk.saturating_add(1);
        let now = (self.deps.clock)();
        self.publisher.fault(now, policy.keeper, reason);
        Next::Wait(now + DISK.delay(self.memory.disk, (self.deps.draw)()))
    }

    /// Another kubeconfig, name or client certificate makes the last attempt void, and is a hint to read the Node; other
    /// addresses make the attempt void.
    fn notice(&mut self, world: &World) {
        let inputs = match (&world.bootstrap, &world.node, &world.client) {
            (Ok(joined), Ok(node), Ok(client)) => Some((
                joined.bootstrap.clone(),
                node.as_str().to_owned(),
                client.sha256.clone(),
                self.memory.addresses.clone(),
            )),
            _ => None,
        };
        let memory = &mut self.memory;
        if inputs == memory.inputs {
            return;
        }
        memory.last = None;
        memory.streaks = Streaks::default();
        match (&inputs, &memory.inputs) {
            (Some((server, name, client, _)), Some((server_before, name_before, client_before, _))) => {
                if (server, name, client) != (server_before, name_before, client_before) {
                    memory.client = None;
                    memory.node_read = None;
                }
                if name != name_before {
                    memory.addresses = None;
                }
            }
            _ => {
                memory.client = None;
                memory.node_read = None;
            }
        }
        memory.inputs = inputs;
    }

    fn seen(&self, world: &World) -> Seen {
        Seen {
            node: world.node.clone(),
            bootstrap: match &world.bootstrap {
                Ok(joined) => Ok(joined.authority.not_after),
                Err(reason) => Err(reason.clone()),
            },
            client: world.client.as_ref().map(|_| ()).map_err(Reason::clone),
            node_read: self.memory.node_read.clone(),
            addresses: self.memory.addresses.clone(),
            current: world.current.clone(),
            pair: world.pair,
            stale: world.stale,
            request: world.request.as_ref().map(|open| open.seen.clone()),
            clock: self.memory.clock.clone(),
            last: self.memory.last.clone(),
        }
    }

    fn withdraw(&self, store: &Store, world: &World, reason: &Reason) -> Result<(), Reason> {
        let now = (self.deps.clock)();
        let fault = |fault: crate::store::StoreFault| fault.reason();
        // The kubelet's own pair, or somebody else's, is none of our business.
        if world.pair.has_ours() {
            store.withdraw_serving(world.pair, now).map_err(fault)?;
        }
        let moved_to = match &world.current {
            Current::Unusable(_) => Some(store.quarantine_serving(now).map_err(fault)?),
            _ => None,
        };
        self.publisher.withdrawn(reason, moved_to.as_deref());
        Ok(())
    }

    /// Makes a key and request and puts both on disk, before anything is sent.
    fn prepare(&self, store: &Store, world: &World) -> Result<(), Reason> {
        let (Ok(node), Some(names)) = (&world.node, &self.memory.addresses) else { return Ok(()) };
        let new = chain::new_request_for(node, names)
            .map_err(|why| Reason::new("key-not-made", format!("no key could be made: {why}")))?;
        store.write_serving_request(&new.key, &new.request).map_err(|fault| fault.reason())
    }

    /// Reads the own Node: its addresses, and with the answer the API server's date.
    async fn read_node(&mut self, world: &World) {
        let Ok(name) = &world.node else { return };
        let answer = match self.connection(world).await {
            Ok(client) => match timeout(READ_WITHIN, node::addresses(client, name)).await {
                Ok(answer) => answer,
                Err(_) => Err(ApiError::Unreachable(format!("no answer within {} s", READ_WITHIN.as_secs()))),
            },
            Err(error) => Err(error),
        };
        let now = (self.deps.clock)();
        let found = match answer {
            Ok((addresses, answer)) => {
                // The client certificate's task may know better than by a date, from the time service.
                let certificates = self.deps.certificates.borrow();
                let known = certificates.as_ref().is_some_and(|status| status.clock.trusted);
                self.memory.clock = Some(rotation::clock::judge(&ClockEvidence {
                    now: Time(now),
                    floor: Floor::new(None),
                    service: if known { Service::Synchronised } else { Service::Silent },
                    server: Server::Answers { date: answer.date.map(Time) },
                }));
                match (addresses, answer.status) {
                    (Some(addresses), _) => {
                        let names = Names::of_node(&addresses);
                        let found = if names.are_complete() { Found::Addresses } else { Found::NoAddresses };
                        self.memory.addresses = Some(names).filter(Names::are_complete);
                        found
                    }
                    (None, 404) => Found::NoNode,
                    _ => Found::Trouble(csr::outcome(&answer)),
                }
            }
            Err(error) => {
                self.memory.client = None;
                Found::Trouble(attempt::outcome(error))
            }
        };
        let before = self.memory.node_read.as_ref();
        let streak = match before {
            Some(read) if std::mem::discriminant(&read.found) == std::mem::discriminant(&found) => {
                read.streak.saturating_add(1)
            }
            _ => 1,
        };
        self.memory.node_read = Some(NodeRead { at: Time(now), found, streak, draw: (self.deps.draw)() });
    }

    async fn ask(&mut self, store: &Store, world: &World, policy: &Policy) {
        let (Ok(joined), Ok(node), Some(open)) = (&world.bootstrap, &world.node, &world.request) else {
            return;
        };
        let is_sent = self.memory.last.as_ref().is_some_and(Attempt::is_sent);
        let ended = match self.connection(world).await {
            Err(error) => attempt::outcome(error).into(),
            Ok(_) => {
                let on = attempt::Attempt { node, ca: &joined.ca, open, store, is_sent };
                let Self { memory, publisher, wake, deps } = self;
                let clock = deps.clock;
                let Some(mut client) = memory.client.take() else { return };
                let mut submitted = || publisher.submitted(clock(), world);
                let attempt = timeout(attempt::WITHIN, attempt::attempt(&mut client, &on, clock, &mut submitted));
                tokio::select! {
                    ended = attempt => match ended {
                        Ok(ended) => ended,
                        Err(_) => {
                            let within = attempt::WITHIN.as_secs();
                            Outcome::Unreachable(format!("the attempt came to no end within {within} s")).into()
                        }
                    },
                    // What was waited for may not be what is wanted now; the request is found again if it is.
                    () = wake.notified() => return tokio::time::sleep(SETTLE).await,
                    Ok(()) = deps.config.changed() => return deps.config.mark_changed(),
                }
            }
        };
        let now = (self.deps.clock)();
        self.publisher.ended(world, policy.renew_at, now, &ended);
        if self.memory.last.is_none() {
            self.memory.streaks = Streaks::default();
        }
        let streak = self.memory.streaks.count(&ended.outcome);
        let draw = (self.deps.draw)();
        let last = Attempt { at: Time(now), outcome: ended.outcome, identity: Identity::Node, streak, draw };
        if last.spends_the_key()
            && let Err(fault) = store.forget_serving_request()
        {
            tracing::warn!("{fault}");
        }
        if let Outcome::Unproved(reason) = &last.outcome {
            tracing::warn!("{}: {}", reason.kind, reason.message);
        }
        self.memory.last = Some(last);
    }

    /// A connection with the kubelet's client certificate.
    async fn connection(&mut self, world: &World) -> Result<&mut Client, ApiError> {
        if !self.memory.client.as_ref().is_some_and(Client::is_usable) {
            self.memory.client = None;
        }
        let (Ok(joined), Ok(client)) = (&world.bootstrap, &world.client) else {
            return Err(ApiError::Credential("there is no client certificate to ask with".to_owned()));
        };
        match &mut self.memory.client {
            Some(client) => Ok(client),
            empty => {
                let endpoint = Endpoint::new(&joined.bootstrap, &joined.ca)?;
                let bearer = Bearer::from_pem(client.pem.expose(), client.pem.expose())?;
                Ok(empty.insert(self.deps.dial.dial(&endpoint, bearer, (self.deps.clock)()).await?))
            }
        }
    }

    /// Waits until `until` by the wall clock, or for a hint.
    async fn rest(&mut self, until: SystemTime) {
        let span = until.duration_since((self.deps.clock)()).unwrap_or_default();
        // The wall clock may be set while we sleep, and the sleep does not notice: never long.
        let span = span.clamp(Duration::from_millis(10), rotation::LOOK_AGAIN);
        tokio::select! {
            () = tokio::time::sleep(span) => {}
            // A file is being replaced: what comes next is a moment away.
            () = self.wake.notified() => tokio::time::sleep(SETTLE).await,
            // Whoever writes a configuration may have changed more than that.
            Ok(()) = self.deps.config.changed() => self.memory.node_read = None,
        }
    }
}
