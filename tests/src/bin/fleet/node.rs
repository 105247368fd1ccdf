//! One node of the fleet: the core's decision and the daemon's slots, on a host that is all good, drains in no time and reboots when it is let
//! go. It goes the way of `agent/daemon/src/reboot/task.rs`: look, decide, look at the Node where something follows from it, one step, wait for news.

use std::sync::Arc;
use std::time::Duration;

use eyewall_core::config;
use eyewall_core::reboot::{
    BootId, Cause, Decision, Drain, NodeSeen, Orders, Pending, Policy, Release, Seen, Slot, Step, decide,
};
use eyewall_core::status::Reason;
use eyewall_core::time::Time;
use hyper::Method;
use jiff::tz::TimeZone;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::now;
use crate::reboot::reach::Reach;
use crate::reboot::slots::{Deps, Slots};
use crate::tally::{ERRAND, Errand, Tally};

/// As in the daemon's task: news come in handfuls.
const SETTLE: Duration = Duration::from_millis(20);
/// As there: how old a look at the Node may be that a step rests on.
const NODE_FRESH: Duration = Duration::from_secs(4);
/// As there: how old it may be where nothing is about to happen.
const NODE_STALE: Duration = Duration::from_secs(60);
/// As there, without its jitter.
const AFTER_TROUBLE: Duration = Duration::from_secs(5);
/// The slots are to be in sight after this.
const IN_SIGHT: Duration = Duration::from_secs(60);

/// What all nodes want at the moment.
#[derive(Clone, Copy, Debug)]
pub enum Want {
    /// To stay up.
    Nothing,
    /// To run this release, or a later one.
    Release(u64),
    /// To reboot again as soon as they are up.
    Always,
}

/// The same, and how it comes about.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// What.
    pub want: Want,
    /// A release is staged within this, each node at a drawn time of its own, as an update reaches a fleet.
    pub spread: Duration,
    /// How long a reboot takes.
    pub down: Duration,
}

/// What a node is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Its name.
    pub name: String,
    /// The group.
    pub group: String,
    /// Its way to the API server.
    pub reach: Arc<dyn Reach>,
    /// What it wants.
    pub wanted: watch::Receiver<Wanted>,
    /// Where it is counted.
    pub tally: Arc<Tally>,
    /// In 0..1. A constant 0 makes all nodes try for a freed slot at once.
    pub draw: fn() -> f64,
}

/// A node that runs.
#[derive(Debug)]
pub struct Node {
    parts: Parts,
    /// None while it is down.
    slots: Option<Slots>,
    seen: watch::Receiver<Slot>,
    policy: Policy,
    boots: u64,
    release: u64,
    /// The release that takes effect with the next boot.
    staged: Option<u64>,
    booted_at: Time,
    node: NodeSeen,
    node_looked: Option<Instant>,
    drain: Drain,
    holds: bool,
}

impl Node {
    /// Boots it: returns when it sees the slots.
    ///
    /// # Errors
    /// It does not see them within a minute; why.
    pub async fn boot(parts: Parts) -> Result<Self, Reason> {
        let settings = config::Reboot { health_gate: Duration::ZERO, ..config::Reboot::default() };
        let policy = Policy::new(&settings, TimeZone::UTC, &parts.name)
            .map_err(|fault| Reason::new(fault.kind(), fault.to_string()))?;
        let (slots, seen) = watched(&parts).await?;
        Ok(Self {
            slots: Some(slots),
            seen,
            policy,
            boots: 1,
            release: 0,
            staged: None,
            booted_at: Time(now()),
            node: NodeSeen { unschedulable: false, cordoned_by_us: None, ready: true },
            node_looked: None,
            drain: Drain::NotBegun,
            holds: false,
            parts,
        })
    }

    /// How many slots the group has, and how many others hold one.
    pub fn limit(&self) -> (u32, usize) {
        match &*self.seen.borrow() {
            Slot::Seen { limit, others, .. } => (*limit, others.len()),
            Slot::Unknown(_) => (0, 0),
        }
    }

    /// Lives until it is dropped.
    pub async fn live(mut self) {
        loop {
            let wait = match self.turn().await {
                Ok(wait) => wait,
                Err(reason) => {
                    if !matches!(reason.kind.as_str(), "no-free-slot" | "slots-conflict") {
                        self.parts.tally.trouble(format!("{}: {}", self.parts.name, reason.message));
                    }
                    AFTER_TROUBLE
                }
            };
            tokio::select! {
                changed = self.seen.changed() => match changed {
                    Ok(()) => sleep(SETTLE).await,
                    Err(_) => return,
                },
                changed = self.parts.wanted.changed() => match changed {
                    Ok(()) => self.stage().await,
                    Err(_) => return,
                },
                () = sleep(wait) => {}
            }
        }
    }

    /// Something else is wanted, of which this node learns in its own time.
    async fn stage(&mut self) {
        let Wanted { want, spread, .. } = *self.parts.wanted.borrow_and_update();
        if !matches!(want, Want::Nothing) {
            sleep(spread.mul_f64((self.parts.draw)())).await;
        }
        self.staged = match want {
            Want::Nothing => None,
            Want::Release(release) => Some(release).filter(|release| self.release < *release),
            Want::Always => Some(self.release + 1),
        };
    }

    /// Looks, decides, acts; how long nothing is to be done.
    async fn turn(&mut self) -> Result<Duration, Reason> {
        let decision = self.judge(NODE_STALE).await;
        let decision = match decision.step {
            Step::Idle { .. } | Step::ClearServed | Step::Take(_) => decision,
            _ => self.judge(NODE_FRESH).await,
        };
        match decision.step {
            Step::Idle { until } => return Ok(until.duration_since(now()).unwrap_or_default()),
            Step::ClearServed => {}
            Step::Take(entry) => {
                ERRAND.scope(Errand::Take, self.slots()?.take(&entry)).await?;
                self.parts.tally.granted();
                self.holds = true;
            }
            Step::Amend(entry) => ERRAND.scope(Errand::Keep, self.slots()?.amend(&entry)).await?,
            Step::Free => {
                // Twice where the first try failed, and still one hand-over.
                if std::mem::take(&mut self.holds) {
                    self.parts.tally.freeing();
                }
                ERRAND.scope(Errand::Keep, self.slots()?.free()).await?;
            }
            Step::Cordon => {
                self.node = NodeSeen { unschedulable: true, cordoned_by_us: Some(self.boot_id()), ready: true };
            }
            Step::Uncordon => self.node = NodeSeen { unschedulable: false, cordoned_by_us: None, ready: true },
            Step::Drain { .. } => self.drain = Drain::Done,
            Step::StopDrain => self.drain = Drain::NotBegun,
            Step::LetGo(_) => self.reboot().await,
            // The certificate has a year, nothing is bad, and nothing is given up while it goes well.
            step @ (Step::Renew { .. } | Step::Rollback(_) | Step::RememberBad(_) | Step::GiveUp(_)) => {
                return Err(unexpected(step.as_str(), &decision.reason));
            }
        }
        Ok(Duration::ZERO)
    }

    fn slots(&self) -> Result<&Slots, Reason> {
        self.slots.as_ref().ok_or_else(|| Reason::new("down", "the host is down"))
    }

    /// Down, and up again with the release that was staged, knowing nothing but what the cluster knows.
    async fn reboot(&mut self) {
        let Wanted { want, down, .. } = *self.parts.wanted.borrow();
        self.slots = None;
        sleep(down).await;
        loop {
            match watched(&self.parts).await {
                Ok((slots, seen)) => {
                    (self.slots, self.seen) = (Some(slots), seen);
                    break;
                }
                Err(reason) => self.parts.tally.trouble(format!("{}: {}", self.parts.name, reason.message)),
            }
        }
        self.boots += 1;
        self.release = self.staged.take().unwrap_or(self.release);
        self.staged = matches!(want, Want::Always).then_some(self.release + 1);
        self.booted_at = Time(now());
        self.drain = Drain::NotBegun;
        self.node_looked = None;
    }

    async fn judge(&mut self, fresh: Duration) -> Decision {
        let slot = self.seen.borrow_and_update().clone();
        let busy = self.staged.is_some() || matches!(slot, Slot::Seen { mine: Some(_), .. });
        if busy && self.node_looked.is_none_or(|looked| looked.elapsed() >= fresh) {
            self.look_at_node().await;
        }
        decide(now(), &self.look(slot), &self.policy)
    }

    /// One GET of the own Node, for what it costs. What it says is not used: no such Node need be there.
    async fn look_at_node(&mut self) {
        let path = format!("/api/v1/nodes/{}", self.parts.name);
        let asked = async {
            let mut client = self.parts.reach.connect().await.ok()?;
            client.call(Method::GET, &path, None).await.ok()
        };
        if ERRAND.scope(Errand::Node, asked).await.is_some() {
            self.node_looked = Some(Instant::now());
        }
    }

    fn look(&self, slot: Slot) -> Seen {
        let release = |number: u64| Release { version: format!("1.{number}"), checksum: None };
        let pending = |staged| Pending { cause: Cause::Update(release(staged)), since: self.booted_at };
        Seen {
            boot: self.boot_id(),
            booted_at: self.booted_at,
            booted: Ok(release(self.release)),
            pending: Ok(self.staged.map(pending)),
            orders: Orders::default(),
            bad: Vec::new(),
            lacking: Vec::new(),
            good_since: Some(self.booted_at),
            bad_since: None,
            certificate_until: Some(Time(now() + Duration::from_secs(365 * 86_400))),
            renewal_refused: None,
            slot,
            slot_unknown_since: None,
            node: Ok(self.node.clone()),
            drain: self.drain.clone(),
            let_go: None,
            shutting_down: false,
            given_up: None,
            trouble: None,
        }
    }

    fn boot_id(&self) -> BootId {
        BootId(format!("{}-{}", self.parts.name, self.boots))
    }
}

fn unexpected(step: &str, reason: &Reason) -> Reason {
    Reason::new("unexpected-step", format!("{step} was decided: {}", reason.message))
}

/// The group's slots, in sight.
async fn watched(parts: &Parts) -> Result<(Slots, watch::Receiver<Slot>), Reason> {
    let slots = Slots::spawn(Deps {
        reach: Arc::clone(&parts.reach),
        group: parts.group.clone(),
        node: parts.name.clone(),
        draw: parts.draw,
    });
    let mut seen = slots.seen();
    let in_sight = timeout(IN_SIGHT, seen.wait_for(|slot| matches!(slot, Slot::Seen { .. }))).await.map(|_| ());
    match in_sight {
        Ok(()) => Ok((slots, seen)),
        Err(_) => Err(match &*seen.borrow() {
            Slot::Unknown(reason) => reason.clone(),
            Slot::Seen { .. } => Reason::new("slots-not-seen-yet", "the slots came into sight too late"),
        }),
    }
}
