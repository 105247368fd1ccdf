//! A stand-in for systemd-logind on a private bus: inhibitors that live as long as their file descriptors, and reboots that heed them as
//! systemd up to 256 or from 257 on does (org.freedesktop.login1(5), systemd's INHIBITOR_LOCKS).

mod interface;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::watch;
use tokio::time::timeout;
use zbus::Connection;
use zbus::connection::Builder;

use super::Bus;

const NAME: &str = "org.freedesktop.login1";
const PATH: &str = "/org/freedesktop/login1";

/// One lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inhibitor {
    /// Which one, counted from 1.
    pub id: u64,
    /// Colon list.
    pub what: String,
    /// Who.
    pub who: String,
    /// Why.
    pub why: String,
    /// `block`, `delay`, `block-weak`.
    pub mode: String,
    /// Of whom took it.
    pub uid: u32,
    /// Of whom took it.
    pub pid: u32,
}

impl Inhibitor {
    fn is(&self, mode: &str) -> bool {
        self.mode == mode && self.what.split(':').any(|what| what == "shutdown")
    }
}

/// What this logind is like.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// systemd's version: whom a block binds (257), how it is said (258), RebootWithFlags (249).
    pub version: u32,
    /// `InhibitDelayMaxSec=`
    pub delay_max: Duration,
    /// reboot.target is masked.
    pub masked: bool,
    /// A reboot is taken on and nothing comes of it.
    pub stuck: bool,
}

impl Default for Kind {
    fn default() -> Self {
        Self { version: 257, delay_max: Duration::from_secs(5), masked: false, stuck: false }
    }
}

/// logind, and the means to move it. Dropping it takes it off the bus.
#[derive(Debug)]
pub struct Logind {
    address: String,
    shared: Arc<Shared>,
    connection: Option<Connection>,
}

impl Logind {
    /// On this bus, with no lock.
    ///
    /// # Errors
    /// The bus is away, or has a logind already.
    pub async fn start(bus: &Bus, kind: Kind) -> Result<Self> {
        let shared = Arc::new(Shared {
            world: Mutex::new(World { kind, inhibitors: Vec::new(), preparing: false, calls: Vec::new(), taken: 0 }),
            hung: watch::channel(false).0,
            down: watch::channel(false).0,
            changed: watch::channel(()).0,
        });
        let mut logind = Self { address: bus.address(), shared, connection: None };
        logind.come_back().await?;
        Ok(logind)
    }

    /// Becomes another, as after an upgrade.
    pub fn become_kind(&self, kind: Kind) {
        self.shared.world().kind = kind;
    }

    /// The locks that are held.
    pub fn inhibitors(&self) -> Vec<Inhibitor> {
        self.shared.world().inhibitors.clone()
    }

    /// Waits until the locks are as wanted.
    ///
    /// # Errors
    /// They never are within ten seconds; what they were.
    pub async fn until(&self, wanted: impl Fn(&[Inhibitor]) -> bool) -> Result<()> {
        let mut changed = self.shared.changed.subscribe();
        let found = timeout(Duration::from_secs(10), changed.wait_for(|()| wanted(&self.shared.world().inhibitors)));
        found.await.with_context(|| format!("the locks stay {:?}", self.inhibitors()))??;
        Ok(())
    }

    /// `PreparingForShutdown`
    pub fn is_preparing(&self) -> bool {
        self.shared.world().preparing
    }

    /// The host has gone down: the delay locks were waited for, and `reboot.target` was started.
    pub fn is_down(&self) -> bool {
        *self.shared.down.borrow()
    }

    /// Waits until the host goes down.
    ///
    /// # Errors
    /// It never does within ten seconds.
    pub async fn until_down(&self) -> Result<()> {
        let mut down = self.shared.down.subscribe();
        timeout(Duration::from_secs(10), down.wait_for(|down| *down)).await.context("the host stays up")??;
        Ok(())
    }

    /// The next boot: no lock, no shutdown.
    pub fn boot(&self) {
        {
            let mut world = self.shared.world();
            world.inhibitors.clear();
            world.preparing = false;
        }
        self.shared.down.send_replace(false);
        self.shared.changed.send_replace(());
    }

    /// Every call so far, oldest first: `Inhibit shutdown eyewall block`, `RebootWithFlags 0`.
    pub fn calls(&self) -> Vec<String> {
        self.shared.world().calls.clone()
    }

    /// Takes calls and does not answer them, until told otherwise.
    pub fn hang(&self, hung: bool) {
        self.shared.hung.send_replace(hung);
    }

    /// Leaves the bus, and forgets every lock.
    ///
    /// # Errors
    /// It is away already.
    pub async fn go_away(&mut self) -> Result<()> {
        let connection = self.connection.take().context("logind is away")?;
        self.shared.world().inhibitors.clear();
        self.shared.changed.send_replace(());
        Ok(connection.close().await?)
    }

    /// Comes onto the bus. After [`Bus::go_away`] too.
    ///
    /// # Errors
    /// The bus is away.
    pub async fn come_back(&mut self) -> Result<()> {
        self.connection = None;
        let connection = Builder::address(self.address.as_str())
            .serve_at(PATH, interface::Manager(Arc::clone(&self.shared)))
            .build()
            .await?;
        connection.request_name(NAME).await?;
        self.connection = Some(connection);
        Ok(())
    }
}

#[derive(Debug)]
struct Shared {
    world: Mutex<World>,
    hung: watch::Sender<bool>,
    down: watch::Sender<bool>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct World {
    kind: Kind,
    inhibitors: Vec<Inhibitor>,
    preparing: bool,
    calls: Vec<String>,
    taken: u64,
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn called(&self, call: String) {
        self.world().calls.push(call);
        let mut hung = self.hung.subscribe();
        // The sender is in `self`.
        let _ = hung.wait_for(|hung| !hung).await;
    }
}
