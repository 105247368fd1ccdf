//! A stand-in for systemd on a private bus: `org.freedesktop.systemd1` with the names, errors and signals of
//! org.freedesktop.systemd1(5), as far as somebody who watches and restarts services can tell.

mod interface;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zbus::connection::Builder;
use zbus::export::futures_core::Stream as _;
use zbus::message::Type;
use zbus::{Connection, MatchRule, MessageStream};

use super::Bus;

const NAME: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "/org/freedesktop/systemd1";
/// The first process number that no process can have (PID_MAX_LIMIT, proc_pid(5)): a service that nobody runs has one of these.
const NOBODY: u32 = 4_194_305;

/// What a unit is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// LoadState.
    pub load: &'static str,
    /// ActiveState.
    pub active: &'static str,
    /// SubState.
    pub sub: &'static str,
    /// MainPID; 0 is none.
    pub main_pid: u32,
}

impl Unit {
    const fn new(load: &'static str, active: &'static str, sub: &'static str, main_pid: u32) -> Self {
        Self { load, active, sub, main_pid }
    }

    /// It runs, as this process.
    pub const fn running(main_pid: u32) -> Self {
        Self::new("loaded", "active", "running", main_pid)
    }

    /// Its process ended badly, and it is not started again.
    pub const fn failed() -> Self {
        Self::new("loaded", "failed", "failed", 0)
    }

    /// Its process ended, and it is started again after its pause.
    pub const fn between_restarts() -> Self {
        Self::new("loaded", "activating", "auto-restart", 0)
    }

    /// It is there, and was not started.
    pub const fn stopped() -> Self {
        Self::new("loaded", "inactive", "dead", 0)
    }

    /// There is no file of that name.
    pub const fn not_found() -> Self {
        Self::new("not-found", "inactive", "dead", 0)
    }

    /// Somebody made sure that nobody starts it.
    pub const fn masked() -> Self {
        Self::new("masked", "inactive", "dead", 0)
    }
}

/// What a restarted unit becomes; called while it is being started.
pub type OnRestart = Box<dyn Fn(&str) -> Unit + Send + Sync>;

/// systemd, and the means to move it. Dropping it takes it off the bus.
#[derive(Debug)]
pub struct Systemd {
    address: String,
    shared: Arc<Shared>,
    presence: Option<Presence>,
}

/// Being on the bus.
#[derive(Debug)]
struct Presence {
    connection: Connection,
    /// Forgets subscribers that leave.
    leavers: JoinHandle<()>,
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.leavers.abort();
    }
}

impl Systemd {
    /// On this bus, with no unit.
    ///
    /// # Errors
    /// The bus is away, or has a systemd already.
    pub async fn start(bus: &Bus) -> Result<Self> {
        let mut systemd = Self { address: bus.address(), shared: Arc::new(Shared::default()), presence: None };
        systemd.come_back().await?;
        Ok(systemd)
    }

    /// The unit becomes this, whatever it was, and those who listen are told.
    ///
    /// # Errors
    /// systemd is away.
    pub async fn set(&self, name: &str, unit: Unit) -> Result<()> {
        self.shared.become_now(self.connection()?, name, unit).await
    }

    /// A signal without a change, as systemd sends them again and again.
    ///
    /// # Errors
    /// systemd is away, or there is no such unit.
    pub async fn say_again(&self, name: &str) -> Result<()> {
        let unit = self.shared.unit(name).context("no such unit")?;
        self.set(name, unit).await
    }

    /// The unit as it is.
    pub fn unit(&self, name: &str) -> Option<Unit> {
        self.shared.unit(name)
    }

    /// What a restarted unit becomes; without this it runs, as another process than before.
    pub fn on_restart(&self, restarted: impl Fn(&str) -> Unit + Send + Sync + 'static) {
        self.shared.world().on_restart = Some(Restarted(Box::new(restarted)));
    }

    /// `Version` from now on; without this it is 257.
    pub fn set_version(&self, version: &str) {
        self.shared.world().version = Some(version.to_owned());
    }

    /// Takes calls and does not answer them, until told otherwise: then it answers them all.
    pub fn hang(&self, hung: bool) {
        self.shared.hung.send_replace(hung);
    }

    /// Leaves the bus; the bus goes on.
    ///
    /// # Errors
    /// It is away already.
    pub async fn go_away(&mut self) -> Result<()> {
        let presence = self.presence.take().context("systemd is away")?;
        self.shared.world().subscribers.clear();
        Ok(presence.connection.clone().close().await?)
    }

    /// Comes onto the bus, with the units it has. After [`Bus::go_away`] too.
    ///
    /// # Errors
    /// The bus is away.
    pub async fn come_back(&mut self) -> Result<()> {
        self.presence = None;
        self.shared.world().subscribers.clear();
        let connection = Builder::address(self.address.as_str())
            .serve_at(MANAGER, interface::Manager(Arc::clone(&self.shared)))
            .build()
            .await?;
        let names: Vec<String> = self.shared.world().units.keys().cloned().collect();
        for name in names {
            interface::serve(&self.shared, &connection, &name).await?;
        }
        let leavers = tokio::spawn(forget_leavers(leavers(&connection).await?, Arc::clone(&self.shared)));
        // Last: who finds the name finds everything behind it.
        connection.request_name(NAME).await?;
        self.presence = Some(Presence { connection, leavers });
        Ok(())
    }

    /// Every call so far, oldest first: `Subscribe`, `LoadUnit kubelet.service`, `Get kubelet.service ActiveState`,
    /// `RestartUnit kubelet.service replace`.
    pub fn calls(&self) -> Vec<String> {
        self.shared.world().calls.clone()
    }

    /// How many calls there were of this method.
    pub fn count(&self, method: &str) -> usize {
        self.shared.world().calls.iter().filter(|call| call.split(' ').next() == Some(method)).count()
    }

    fn connection(&self) -> Result<&Connection> {
        Ok(&self.presence.as_ref().context("systemd is away")?.connection)
    }
}

/// What all interfaces look at.
#[derive(Debug)]
struct Shared {
    world: Mutex<World>,
    hung: watch::Sender<bool>,
}

impl Default for Shared {
    fn default() -> Self {
        Self { world: Mutex::default(), hung: watch::channel(false).0 }
    }
}

#[derive(Debug, Default)]
struct World {
    units: BTreeMap<String, Unit>,
    subscribers: BTreeSet<String>,
    calls: Vec<String>,
    jobs: u32,
    started: u32,
    on_restart: Option<Restarted>,
    version: Option<String>,
}

struct Restarted(OnRestart);

impl fmt::Debug for Restarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Restarted(..)")
    }
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unit(&self, name: &str) -> Option<Unit> {
        self.world().units.get(name).cloned()
    }

    /// Notes the call, and returns when systemd answers.
    async fn called(&self, call: String) {
        self.world().calls.push(call);
        let mut hung = self.hung.subscribe();
        // The sender is in `self`.
        let _ = hung.wait_for(|hung| !hung).await;
    }

    /// A process number that is nobody's.
    fn next_pid(&self) -> u32 {
        let mut world = self.world();
        world.started += 1;
        NOBODY + world.started
    }

    async fn become_now(self: &Arc<Self>, connection: &Connection, name: &str, unit: Unit) -> Result<()> {
        let is_new = self.world().units.insert(name.to_owned(), unit.clone()).is_none();
        if is_new {
            interface::serve(self, connection, name).await?;
        }
        if !self.world().subscribers.is_empty() {
            interface::tell(connection, name, &unit).await?;
        }
        Ok(())
    }
}

/// Names that lose their owner.
async fn leavers(connection: &Connection) -> Result<MessageStream> {
    let rule = MatchRule::builder()
        .msg_type(Type::Signal)
        .sender("org.freedesktop.DBus")
        .interface("org.freedesktop.DBus")
        .member("NameOwnerChanged")
        .build()?;
    Ok(MessageStream::for_match_rule(rule, connection, None).await?)
}

async fn forget_leavers(mut leavers: MessageStream, shared: Arc<Shared>) {
    while let Some(Ok(message)) = std::future::poll_fn(|context| Pin::new(&mut leavers).poll_next(context)).await {
        if let Ok((name, _, owner)) = message.body().deserialize::<(String, String, String)>()
            && owner.is_empty()
        {
            shared.world().subscribers.remove(&name);
        }
    }
}
