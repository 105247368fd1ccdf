//! A stand-in for rpm-ostreed (rpm-ostree, src/daemon): deployments with their files, and transactions at an address of their own. It asks the
//! logind of its bus for block locks before it finalises, and has the host reboot as the real one does: without looking how that goes.
//!
//! Its state may outlive it in a directory, so that it runs on a virtual machine beside the real logind.

mod interface;
mod state;
mod transaction;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use tokio::task::JoinHandle;
use zbus::Connection;
use zbus::connection::Builder;

pub use state::{Deployment, State};

use super::Bus;

const NAME: &str = "org.projectatomic.rpmostree1";
const SYSROOT: &str = "/org/projectatomic/rpmostree1/Sysroot";
const OSNAME: &str = "fedora-coreos";
/// The object of the OS whose deployments they are.
pub const OS: &str = "/org/projectatomic/rpmostree1/fedora_coreos";
/// For what the real one has no call for: staging is Zincati's business there.
pub const TEST_INTERFACE: &str = "io.eyewall.Standin";

/// How a finalised deployment is booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reboot {
    /// As `systemctl reboot` asks logind, by the stand-in itself.
    Logind,
    /// By the real `systemctl reboot`.
    Systemctl,
    /// It fails, and nobody looks: the wedge.
    Nothing,
}

/// What it needs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The host's root: `run/ostree` and `ostree/deploy` are below it, and the transactions' socket.
    pub root: PathBuf,
    /// Where its state outlives it.
    pub state: Option<PathBuf>,
    /// How it reboots.
    pub reboot: Reboot,
}

/// rpm-ostreed, and the means to move it. Dropping it takes it off the bus.
#[derive(Debug)]
pub struct RpmOstree {
    shared: Arc<Shared>,
    connection: Connection,
    leavers: JoinHandle<()>,
}

impl Drop for RpmOstree {
    fn drop(&mut self) {
        self.leavers.abort();
    }
}

impl RpmOstree {
    /// On this bus, with `booted` running and `before` behind it.
    ///
    /// # Errors
    /// The bus is away, or has one already.
    pub async fn start(bus: &Bus, settings: Settings, booted: &str, before: Option<&str>) -> Result<Self> {
        let state = State::of(booted, before);
        Self::serve(Builder::address(bus.address().as_str()), settings, state).await
    }

    /// On the bus of this builder, from this state.
    ///
    /// # Errors
    /// As [`RpmOstree::start`].
    pub async fn serve(builder: Builder<'static>, settings: Settings, state: State) -> Result<Self> {
        let shared = Arc::new(Shared { settings, world: Mutex::new(World { state, ..World::default() }) });
        shared.write()?;
        let connection = builder
            .serve_at(SYSROOT, interface::Sysroot(Arc::clone(&shared)))
            .serve_at(SYSROOT, interface::Test(Arc::clone(&shared)))
            .serve_at(OS, interface::Os(Arc::clone(&shared)))
            .build()
            .await?;
        let leavers = interface::forget_leavers(&connection, &shared).await?;
        connection.request_name(NAME).await?;
        Ok(Self { shared, connection, leavers })
    }

    /// A release is staged, as `rpm-ostree deploy --lock-finalization` (or without it) does; what was staged before is gone.
    ///
    /// # Errors
    /// Its files cannot be written.
    pub fn stage(&self, version: &str, locked: bool) -> Result<()> {
        self.shared.world().state.stage(version, locked);
        self.shared.write()
    }

    /// The staged one loses its lock, and nobody reboots.
    ///
    /// # Errors
    /// As [`RpmOstree::stage`].
    pub fn unlock(&self) -> Result<()> {
        self.shared.world().state.unlock();
        self.shared.write()
    }

    /// What an orderly shutdown does with what is staged and unlocked.
    ///
    /// # Errors
    /// As [`RpmOstree::stage`].
    pub fn finalize(&self) -> Result<()> {
        self.shared.world().state.finalize();
        self.shared.write()
    }

    /// The host went down and came up; in an orderly way, so that what was staged and unlocked was written, or not.
    ///
    /// # Errors
    /// As [`RpmOstree::stage`].
    pub fn boot(&self, orderly: bool) -> Result<()> {
        {
            let mut world = self.shared.world();
            if orderly {
                world.state.finalize();
            }
            world.state.boot();
            world.rebooting = false;
        }
        self.shared.write()
    }

    /// The deployments.
    pub fn deployments(&self) -> Vec<Deployment> {
        self.shared.world().state.deployments.clone()
    }

    /// Clients that are registered: while there is one, it does not end itself.
    pub fn clients(&self) -> usize {
        self.shared.world().clients.len()
    }

    /// Every call so far, oldest first: `RegisterClient eyewall`, `Deployments`, `FinalizeDeployment`, `Start`.
    pub fn calls(&self) -> Vec<String> {
        self.shared.world().calls.clone()
    }

    /// Leaves the bus.
    ///
    /// # Errors
    /// The bus is away.
    pub async fn go_away(self) -> Result<()> {
        self.connection.clone().close().await.context("leaving")
    }
}

#[derive(Debug)]
struct Shared {
    settings: Settings,
    world: Mutex<World>,
}

#[derive(Debug, Default)]
struct World {
    state: State,
    clients: std::collections::BTreeSet<String>,
    calls: Vec<String>,
    /// A transaction runs or waits for its start.
    active: bool,
    /// It has asked for a reboot.
    rebooting: bool,
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn called(&self, call: &str) {
        self.world().calls.push(call.to_owned());
    }

    /// The state, into its files.
    fn write(&self) -> Result<()> {
        let state = self.world().state.clone();
        state.write_files(&self.settings.root)?;
        match &self.settings.state {
            Some(directory) => state.save(directory),
            None => Ok(()),
        }
    }
}
