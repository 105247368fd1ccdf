//! A stand-in for Flatcar's update_engine (`com.coreos.update1`): its status, its signal, its marker, and what a restart forgets.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use zbus::Connection;
use zbus::connection::Builder;

use super::Bus;

const NAME: &str = "com.coreos.update1";
const PATH: &str = "/com/coreos/update1";
const INTERFACE: &str = "com.coreos.update1.Manager";
/// What it says until Omaha gave a version.
const PLACEHOLDER: &str = "0.0.0.0";
const NEED_REBOOT: &str = "UPDATE_STATUS_UPDATED_NEED_REBOOT";
const MARKER: &str = "run/update_engine_autoupdate_completed";

/// The bus's rules for it on a host (com.coreos.update1.conf): only root owns and calls it, `core` may use its three methods.
pub const POLICY: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <policy user="root">
    <allow own="com.coreos.update1"/>
    <allow send_destination="com.coreos.update1"/>
  </policy>
  <policy context="default">
    <deny send_destination="com.coreos.update1"/>
  </policy>
</busconfig>
"#;

/// `(xdssx)`
type Status = (i64, f64, String, String, i64);

#[derive(Clone, Debug)]
struct World {
    operation: String,
    version: String,
    checked: i64,
    progress: f64,
    calls: Vec<String>,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    world: Mutex<World>,
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self) -> Status {
        let world = self.world();
        (world.checked, world.progress, world.operation.clone(), world.version.clone(), 0)
    }

    fn set(&self, operation: &str, version: &str, progress: f64) -> Result<()> {
        {
            let mut world = self.world();
            operation.clone_into(&mut world.operation);
            version.clone_into(&mut world.version);
            world.progress = progress;
        }
        if operation == NEED_REBOOT {
            std::fs::create_dir_all(self.root.join("run"))?;
            std::fs::write(self.root.join(MARKER), "")?;
            // The post-install script, for kured.
            std::fs::write(self.root.join("run/reboot-required"), "")?;
        }
        Ok(())
    }
}

/// update_engine, and the means to move it. Dropping it takes it off the bus.
#[derive(Debug)]
pub struct UpdateEngine {
    shared: Arc<Shared>,
    connection: Connection,
}

impl UpdateEngine {
    /// On this bus, for the host at `root`.
    ///
    /// # Errors
    /// The bus is away, or has one already.
    pub async fn start(bus: &Bus, root: &Path) -> Result<Self> {
        Self::serve(Builder::address(bus.address().as_str()), root).await
    }

    /// On the bus of this builder. Where the marker is there it says that a reboot is due, of a release that it does not know.
    ///
    /// # Errors
    /// As [`UpdateEngine::start`].
    pub async fn serve(builder: Builder<'static>, root: &Path) -> Result<Self> {
        let is_written = root.join(MARKER).exists();
        let operation = if is_written { NEED_REBOOT } else { "UPDATE_STATUS_IDLE" };
        let world = World {
            operation: operation.to_owned(),
            version: PLACEHOLDER.to_owned(),
            checked: 1_795_486_508,
            progress: 0.0,
            calls: Vec::new(),
        };
        let shared = Arc::new(Shared { root: root.to_owned(), world: Mutex::new(world) });
        let connection = builder
            .serve_at(PATH, Manager(Arc::clone(&shared)))
            .serve_at(PATH, Test(Arc::clone(&shared)))
            .build()
            .await?;
        connection.request_name(NAME).await?;
        let engine = Self { shared, connection };
        // At its start it tells everybody.
        tell(&engine.connection, &engine.shared).await?;
        Ok(engine)
    }

    /// Becomes so, and says so.
    ///
    /// # Errors
    /// The bus is away, or the marker cannot be written.
    pub async fn set(&self, operation: &str, version: &str, progress: f64) -> Result<()> {
        self.shared.set(operation, version, progress)?;
        tell(&self.connection, &self.shared).await
    }

    /// The other slot is written: this release boots next.
    ///
    /// # Errors
    /// As [`UpdateEngine::set`].
    pub async fn write(&self, version: &str) -> Result<()> {
        self.set(NEED_REBOOT, version, 1.0).await
    }

    /// Every call so far.
    pub fn calls(&self) -> Vec<String> {
        self.shared.world().calls.clone()
    }

    /// Leaves the bus; the marker stays.
    ///
    /// # Errors
    /// The bus is away.
    pub async fn go_away(self) -> Result<()> {
        Ok(self.connection.close().await?)
    }
}

async fn tell(connection: &Connection, shared: &Shared) -> Result<()> {
    Ok(connection.emit_signal(None::<&str>, PATH, INTERFACE, "StatusUpdate", &shared.status()).await?)
}

struct Manager(Arc<Shared>);

#[zbus::interface(name = "com.coreos.update1.Manager")]
impl Manager {
    fn get_status(&self) -> Status {
        self.0.world().calls.push("GetStatus".to_owned());
        self.0.status()
    }

    /// Ignored unless it is idle; nothing is found here.
    fn attempt_update(&self) {
        self.0.world().calls.push("AttemptUpdate".to_owned());
    }

    /// Only the status: the slot that boots next stays what it is.
    async fn reset_status(&self, #[zbus(connection)] connection: &Connection) -> zbus::fdo::Result<()> {
        self.0.world().calls.push("ResetStatus".to_owned());
        let failed = |error: anyhow::Error| zbus::fdo::Error::Failed(format!("{error:#}"));
        if self.0.world().operation != NEED_REBOOT {
            return Err(zbus::fdo::Error::Failed("Reset status failed".to_owned()));
        }
        let _ = std::fs::remove_file(self.0.root.join(MARKER));
        self.0.set("UPDATE_STATUS_IDLE", PLACEHOLDER, 0.0).map_err(failed)?;
        tell(connection, &self.0).await.map_err(failed)
    }
}

/// What a scenario does with it, over the bus.
struct Test(Arc<Shared>);

#[zbus::interface(name = "io.eyewall.Standin")]
impl Test {
    async fn write(&self, version: &str, #[zbus(connection)] connection: &Connection) -> zbus::fdo::Result<()> {
        let failed = |error: anyhow::Error| zbus::fdo::Error::Failed(format!("{error:#}"));
        self.0.set(NEED_REBOOT, version, 1.0).map_err(failed)?;
        // The slot outlives the boot, unlike the status.
        std::fs::create_dir_all(self.0.root.join("var/lib/os-standin")).map_err(|error| failed(error.into()))?;
        std::fs::write(self.0.root.join(NEXT), version).map_err(|error| failed(error.into()))?;
        tell(connection, &self.0).await.map_err(failed)
    }
}

/// Where the release of the other slot is noted for the next boot.
pub const NEXT: &str = "var/lib/os-standin/next-release";
