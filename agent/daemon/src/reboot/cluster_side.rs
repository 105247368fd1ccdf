//! The cluster's side of the task: the group's lock, the own Node, the drain, and what the cluster is told. Made anew when the configuration names
//! another lock, group or node.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use eyewall_core::config::{Config, LockChoice, OnDrainTimeout};
use eyewall_core::hostname::NodeName;
use eyewall_core::reboot::announce::Announcement;
use eyewall_core::reboot::{BootId, Drain, Entry, NodeSeen, Slot};
use eyewall_core::status::Reason;
use eyewall_core::time::Time;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant};

use super::announce::Announcer;
use super::drain::{self, Drainer};
use super::fleetlock::{FleetLock, Server};
use super::ledger::Ledger;
use super::lock::{ClusterLock, Local};
use super::node::OwnNode;
use super::reach::Reach;
use super::rights;
use super::slots::{self, Slots};

/// The machine's id, for a FleetLock server (machine-id(5)).
const MACHINE_ID: &str = "/etc/machine-id";

/// A server that drains inside its answer is asked again after this: what it did goes on, and orders of operators are heard in between.
const FLEETLOCK_WITHIN: Duration = Duration::from_secs(5 * 60);

/// What the cluster's side depends on: another value of it, and everything is made anew.
#[derive(Clone, Debug, PartialEq)]
struct Choice {
    node: String,
    lock: LockChoice,
    group: String,
    fleetlock_url: String,
}

/// The parts that are there while reboots are coordinated and the node has a name.
#[derive(Debug)]
struct Parts {
    choice: Choice,
    lock: Result<ClusterLock, Reason>,
    settled: bool,
    node: OwnNode,
    announcer: Announcer,
    /// Wakes the task with each change of the slot.
    waking: JoinHandle<()>,
    /// What the Node was when it was looked at.
    seen: Option<(Instant, Result<NodeSeen, Reason>)>,
    drain: Option<Drainer>,
    /// What this node may not do, once that was asked.
    missing: Option<Vec<Reason>>,
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.waking.abort();
    }
}

/// The cluster, as this task uses it.
#[derive(Debug)]
pub struct ClusterSide {
    reach: Arc<dyn Reach>,
    state: Option<PathBuf>,
    wake: Arc<Notify>,
    clock: fn() -> SystemTime,
    draw: fn() -> f64,
    parts: Option<Parts>,
}

impl ClusterSide {
    /// Asks nobody yet. `state` is where entries are kept that no ConfigMap keeps.
    pub fn new(
        reach: Arc<dyn Reach>,
        state: Option<PathBuf>,
        wake: Arc<Notify>,
        clock: fn() -> SystemTime,
        draw: fn() -> f64,
    ) -> Self {
        Self { reach, state, wake, clock, draw, parts: None }
    }

    /// Takes the configuration over.
    pub fn follow(&mut self, config: &Config, node: Option<&NodeName>) {
        let choice = node.map(|node| Choice {
            node: node.as_str().to_owned(),
            lock: config.reboot.lock,
            group: config.reboot.group.clone(),
            fleetlock_url: config.reboot.fleetlock_url.clone(),
        });
        if self.parts.as_ref().map(|parts| &parts.choice) != choice.as_ref() {
            // The old watch ends before the new one begins.
            self.parts = None;
            self.parts = choice.map(|choice| self.make(choice));
        }
    }

    fn make(&self, choice: Choice) -> Parts {
        let lock = self.lock(&choice);
        let mut seen = lock.as_ref().ok().map(ClusterLock::seen);
        let wake = Arc::clone(&self.wake);
        let waking = tokio::spawn(async move {
            let Some(seen) = &mut seen else { return };
            while seen.changed().await.is_ok() {
                wake.notify_one();
            }
        });
        Parts {
            node: OwnNode::new(Arc::clone(&self.reach), &choice.node),
            announcer: Announcer::new(Arc::clone(&self.reach), &choice.node),
            lock,
            settled: false,
            waking,
            seen: None,
            drain: None,
            missing: None,
            choice,
        }
    }

    fn lock(&self, choice: &Choice) -> Result<ClusterLock, Reason> {
        let ledger = || {
            let state = self.state.as_deref().ok_or_else(|| {
                Reason::new(
                    "no-state-directory",
                    "the agent was given no StateDirectory=, so the entry of its slot would not survive the reboot",
                )
            })?;
            Ok::<_, Reason>(Ledger::below(state))
        };
        Ok(match choice.lock {
            LockChoice::Slots => ClusterLock::Slots(Slots::spawn(slots::Deps {
                reach: Arc::clone(&self.reach),
                group: choice.group.clone(),
                node: choice.node.clone(),
                draw: self.draw,
            })),
            LockChoice::Fleetlock => {
                let id = std::fs::read_to_string(MACHINE_ID)
                    .map_err(|error| Reason::new("no-machine-id", format!("{MACHINE_ID} cannot be read: {error}")))?;
                let server = Server::new(&choice.fleetlock_url, FLEETLOCK_WITHIN)?;
                ClusterLock::FleetLock(FleetLock::new(server, id.trim(), &choice.group, ledger()?, self.draw)?)
            }
            LockChoice::Local => ClusterLock::Local(Local::new(ledger()?)),
        })
    }

    /// The group's lock as it is seen.
    pub async fn slot(&mut self) -> Slot {
        let Some(parts) = &mut self.parts else {
            return Slot::Unknown(Reason::new("node-name-missing", "this host has no node name, so it holds no slot"));
        };
        match &parts.lock {
            Ok(lock) => {
                if !parts.settled {
                    parts.settled = lock.settle().await.is_ok();
                }
                let seen = lock.seen().borrow().clone();
                match seen {
                    Slot::Unknown(reason) if reason.kind == "slots-rule-missing" => {
                        Slot::Unknown(Self::all_missing(&self.reach, parts, reason).await)
                    }
                    seen => seen,
                }
            }
            Err(reason) => Slot::Unknown(reason.clone()),
        }
    }

    /// One refusal names one rule; the API server is asked once for all of them.
    async fn all_missing(reach: &Arc<dyn Reach>, parts: &mut Parts, reason: Reason) -> Reason {
        if parts.missing.is_none() {
            let group = Some(parts.choice.group.as_str());
            parts.missing = rights::missing(reach.as_ref(), &parts.choice.node, group).await.ok();
        }
        match parts.missing.as_deref() {
            None | Some([]) => reason,
            Some(missing) => {
                let sentences: Vec<&str> = missing.iter().map(|reason| reason.message.as_str()).collect();
                Reason::new(&reason.kind, sentences.join("; "))
            }
        }
    }

    /// The own Node, looked at again if the last look is older than `fresh`.
    pub async fn node(&mut self, fresh: Duration) -> Result<NodeSeen, Reason> {
        let parts = self.parts.as_mut().ok_or_else(no_name)?;
        if let Some((at, seen)) = &parts.seen
            && at.elapsed() < fresh
        {
            return seen.clone();
        }
        let seen = parts.node.look().await;
        parts.seen = Some((Instant::now(), seen.clone()));
        seen
    }

    /// The last look at the own Node found it not Ready, or failed.
    pub fn node_is_bad(&self) -> bool {
        let seen = self.parts.as_ref().and_then(|parts| parts.seen.as_ref());
        seen.is_some_and(|(_, seen)| !seen.as_ref().is_ok_and(|node| node.ready))
    }

    /// The agent's own cordon may be on the Node: it was seen there, or the Node was not seen in this run. Somebody may have taken the slot of a
    /// cordoned node away by hand.
    pub fn may_be_cordoned(&self) -> bool {
        let seen = self.parts.as_ref().map(|parts| &parts.seen);
        seen.is_some_and(|seen| !matches!(seen, Some((_, Ok(node))) if node.cordoned_by_us.is_none()))
    }

    /// Takes a slot with this entry.
    ///
    /// # Errors
    /// It was not taken, as far as it is known.
    pub async fn take(&self, entry: &Entry) -> Result<(), Reason> {
        self.locked()?.take(entry).await
    }

    /// Writes the own entry anew.
    ///
    /// # Errors
    /// It was not written, as far as it is known.
    pub async fn amend(&self, entry: &Entry) -> Result<(), Reason> {
        self.locked()?.amend(entry).await
    }

    /// Gives the own slot back.
    ///
    /// # Errors
    /// It is still held, as far as it is known.
    pub async fn free(&self) -> Result<(), Reason> {
        self.locked()?.free().await
    }

    fn locked(&self) -> Result<&ClusterLock, Reason> {
        let parts = self.parts.as_ref().ok_or_else(no_name)?;
        parts.lock.as_ref().map_err(Clone::clone)
    }

    /// Cordons the own Node, and notes on it that it was this boot.
    ///
    /// # Errors
    /// It is not done, as far as it is known.
    pub async fn cordon(&mut self, boot: &BootId) -> Result<(), Reason> {
        let parts = self.parts.as_mut().ok_or_else(no_name)?;
        let seen = parts.node.cordon(boot).await;
        parts.keep(seen)
    }

    /// Uncordons it, if it was the agent that cordoned it.
    ///
    /// # Errors
    /// It is not done, as far as it is known.
    pub async fn uncordon(&mut self) -> Result<(), Reason> {
        let parts = self.parts.as_mut().ok_or_else(no_name)?;
        let seen = parts.node.uncordon().await;
        parts.keep(seen)
    }

    /// Begins the drain, unless it runs.
    ///
    /// # Errors
    /// The host has no node name.
    pub fn begin_drain(&mut self, until: Time, on_timeout: OnDrainTimeout) -> Result<(), Reason> {
        let deps = |node: &str| drain::Deps {
            reach: Arc::clone(&self.reach),
            node: node.to_owned(),
            on_timeout,
            clock: self.clock,
            draw: self.draw,
        };
        let parts = self.parts.as_mut().ok_or_else(no_name)?;
        let drainer = Drainer::begin(deps(&parts.choice.node), until);
        let (mut seen, wake) = (drainer.seen(), Arc::clone(&self.wake));
        // Ends with the drainer.
        tokio::spawn(async move {
            while seen.changed().await.is_ok() {
                wake.notify_one();
            }
        });
        parts.drain = Some(drainer);
        Ok(())
    }

    /// Stops it, and forgets it.
    pub fn stop_drain(&mut self) {
        if let Some(parts) = &mut self.parts {
            parts.drain = None;
        }
    }

    /// How far it is.
    pub fn drain(&self) -> Drain {
        let drain = self.parts.as_ref().and_then(|parts| parts.drain.as_ref());
        drain.map_or(Drain::NotBegun, |drain| drain.seen().borrow().clone())
    }

    /// Tells the cluster where this host is on the line; what could not be told is owed. Whether all of it is told.
    pub async fn announce(&mut self, what: &Announcement) -> bool {
        let Some(parts) = &mut self.parts else { return true };
        let told = parts.announcer.tell(what, Time((self.clock)())).await;
        if let Err(reason) = &told {
            tracing::debug!(eyewall_kind = reason.kind, "the cluster was not told: {}", reason.message);
        }
        told.is_ok()
    }
}

impl Parts {
    /// What a write answered is the newest that is known of the Node.
    fn keep(&mut self, seen: Result<NodeSeen, Reason>) -> Result<(), Reason> {
        match seen {
            Ok(seen) => {
                self.seen = Some((Instant::now(), Ok(seen)));
                Ok(())
            }
            Err(reason) => {
                self.seen = None;
                Err(reason)
            }
        }
    }
}

fn no_name() -> Reason {
    Reason::new("node-name-missing", "this host has no node name; see `eyewall status`")
}
