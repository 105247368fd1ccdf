//! All that a stand-in knows, behind one lock, and the tick that tells everybody to look again.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::authz::Rule;
use super::clock::{Clock, rfc3339};
use super::faults::Fault;
use super::options::{Options, Signing, Token};
use super::pki::Authority;
use super::random::uuid;
use super::requests::RequestLog;
use super::resources::by_kind;
use super::store::Store;

/// A pod that was told to end, and when it will have.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) at: Instant,
}

/// What changes while the stand-in runs.
#[derive(Debug)]
pub(super) struct World {
    pub(super) store: Store,
    pub(super) tokens: Vec<Token>,
    pub(super) rules: Vec<Rule>,
    pub(super) signing: Signing,
    /// The admission policy of the reboot slots is installed.
    pub(super) slots_policy: bool,
    pub(super) faults: Vec<Fault>,
    pub(super) requests: RequestLog,
    pub(super) connections_opened: u64,
    pub(super) connections_open: u64,
    pub(super) endings: Vec<Ending>,
}

impl World {
    /// Writes an object as the cluster itself would, past all rules; `None` when its kind is not kept.
    pub(super) fn put_as_cluster(&mut self, mut object: Value, now: SystemTime) -> Option<Value> {
        let kind = object["kind"].as_str()?.to_owned();
        let resource = by_kind(&kind)?;
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let before = self.store.get(resource, &text("namespace"), &text("name")).map(|o| o["metadata"].clone());
        let metadata =
            before.unwrap_or_else(|| json!({"uid": uuid().unwrap_or_default(), "creationTimestamp": rfc3339(now)}));
        for field in ["uid", "creationTimestamp"] {
            object["metadata"][field] = metadata[field].clone();
        }
        object["apiVersion"] = Value::from(resource.api_version());
        Some(self.store.put(resource, object))
    }
}

/// One stand-in, shared by its connections, its controllers and the test.
#[derive(Debug)]
pub(super) struct Shared {
    world: Mutex<World>,
    tick: watch::Sender<u64>,
    pub(super) clock: Clock,
    pub(super) authority: std::sync::Arc<Authority>,
    pub(super) options: Options,
}

impl Shared {
    pub(super) fn new(world: World, clock: Clock, authority: std::sync::Arc<Authority>, options: Options) -> Self {
        Self { world: Mutex::new(world), tick: watch::Sender::new(0), clock, authority, options }
    }

    pub(super) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// Looks; nobody is woken.
    pub(super) fn look<T>(&self, at: impl FnOnce(&World) -> T) -> T {
        at(&self.world.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes something and wakes everybody who waits.
    pub(super) fn change<T>(&self, with: impl FnOnce(&mut World) -> T) -> T {
        let result = with(&mut self.world.lock().unwrap_or_else(PoisonError::into_inner));
        self.tick.send_modify(|tick| *tick = tick.wrapping_add(1));
        result
    }

    /// Changes something, and wakes only if `with` says that it did.
    pub(super) fn change_if<T>(&self, with: impl FnOnce(&mut World) -> (bool, T)) -> T {
        let (changed, result) = with(&mut self.world.lock().unwrap_or_else(PoisonError::into_inner));
        if changed {
            self.tick.send_modify(|tick| *tick = tick.wrapping_add(1));
        }
        result
    }

    /// Told after every change.
    pub(super) fn ticks(&self) -> watch::Receiver<u64> {
        self.tick.subscribe()
    }
}
