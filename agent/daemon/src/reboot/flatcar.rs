//! Flatcar: update_engine writes the other slot and says so, the reboot is ours by logind (update_engine, src/update_engine/dbus_service.cc).

use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use eyewall_core::reboot::host::{Coordinator, Phase, Update, flatcar_release, update};
use eyewall_core::reboot::{Cause, Pending, Release};
use eyewall_core::status::Reason;
use eyewall_core::time::Time;
use nix::fcntl::{Flock, FlockArg};

use super::backend::reboot_now;
use super::bus::{Bus, CallError, Remote};
use super::generic::{Generic, Places, unnamed};
use super::logind::Logind;

/// Its name on the bus.
pub const NAME: &str = "com.coreos.update1";
/// Its interface.
pub const INTERFACE: &str = "com.coreos.update1.Manager";
const MANAGER: Remote<'_> = Remote { name: Some(NAME), path: "/com/coreos/update1", interface: INTERFACE };
/// Touched by update_engine when the other slot is written, and gone with the boot.
pub const COMPLETED: &str = "/run/update_engine_autoupdate_completed";
/// Whoever has an exclusive flock on it is the update coordinator of the host.
pub const COORDINATOR: &str = "/run/update-engine/coordinator.conf";

/// A Flatcar host.
#[derive(Debug)]
pub struct Flatcar {
    bus: Bus,
    places: Places,
    required: Generic,
    /// The release that waits, as it was told last: an update_engine that was started again does not know it any more.
    told: Mutex<Option<Release>>,
    coordinator: Mutex<Option<Held>>,
}

/// The coordinator's file, locked for as long as this lives.
#[derive(Debug)]
struct Held {
    file: Flock<std::fs::File>,
    text: String,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Flatcar {
    /// Asks nobody yet.
    pub fn new(bus: Bus, places: Places) -> Self {
        let required = Generic::new(places.clone());
        Self { bus, required, places, told: Mutex::new(None), coordinator: Mutex::new(None) }
    }

    /// Its bus.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Its files.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// The update that waits for its boot, else what `/run/reboot-required` asks for. An update whose release nobody knows is
    /// [`Cause::Required`] by `update_engine`: there is nothing to compare after the boot.
    ///
    /// # Errors
    /// update_engine is there and does not answer.
    pub async fn pending(&self) -> Result<Option<Pending>, Reason> {
        let (update, checked) = self.update().await?;
        let release = match update {
            Update::None => {
                *lock(&self.told) = None;
                return self.required.pending();
            }
            Update::Waits(release) => release,
        };
        let mut told = lock(&self.told);
        if release.is_some() {
            told.clone_from(&release);
        }
        let cause = match told.clone() {
            Some(release) => Cause::Update(release),
            None => Cause::Required(vec!["update_engine".to_owned()]),
        };
        let since = self.places.changed(COMPLETED)?.unwrap_or(checked);
        Ok(Some(Pending { cause, since }))
    }

    /// What waits, and when update_engine last looked.
    async fn update(&self) -> Result<(Update, Time), Reason> {
        match self.status().await {
            Ok((checked, _, operation, version, _)) => {
                Ok((update(&operation, &version), Time::from_unix(u64::try_from(checked).unwrap_or(0))))
            }
            // Masked, as where somebody wants no updates. What was written before still waits.
            Err(CallError::Nobody(_)) => match self.places.changed(COMPLETED)? {
                Some(at) => Ok((Update::Waits(None), at)),
                None => Ok((Update::None, Time::from_unix(0))),
            },
            Err(error) => {
                let sentence = format!("update_engine cannot be asked: {error}; see: systemctl status update-engine.");
                Err(Reason::new("update-engine-silent", sentence))
            }
        }
    }

    async fn status(&self) -> Result<(i64, f64, String, String, i64), CallError> {
        let connection = self.bus.connect().await?;
        let reply = MANAGER.call(&connection, "GetStatus", &()).await?;
        Ok(reply.body().deserialize()?)
    }

    /// The release that runs.
    ///
    /// # Errors
    /// os-release does not tell.
    pub fn booted(&self) -> Result<Release, Reason> {
        flatcar_release(&self.places.os_release()?).ok_or_else(unnamed)
    }

    /// Reboots by logind; the boot loader takes the slot that was written.
    ///
    /// # Errors
    /// Another update waits than was to be booted, somebody holds a block lock, or no shutdown began.
    pub async fn finish(&self, cause: &Cause, logind: &Logind) -> Result<(), Reason> {
        if let Cause::Update(wanted) = cause {
            match self.update().await?.0 {
                Update::Waits(Some(release)) if !release.is(wanted) => {
                    let sentence = format!("{} waits now in place of {}.", release.version, wanted.version);
                    return Err(Reason::new("update-changed", sentence));
                }
                Update::Waits(_) => {}
                Update::None => {
                    let sentence = format!("{} waits no more; see: update_engine_client -status.", wanted.version);
                    return Err(Reason::new("update-changed", sentence));
                }
            }
        }
        reboot_now(logind).await
    }

    /// Becomes or stays the host's update coordinator and says in which phase. Until this object goes it is nobody else's.
    ///
    /// # Errors
    /// Somebody else is, or the file cannot be written. Reboots are coordinated all the same; the other should be stopped.
    pub fn coordinate(&self, strategy: &str, phase: Phase) -> Result<(), Reason> {
        let mut held = lock(&self.coordinator);
        let mut coordinator = match held.take() {
            Some(coordinator) => coordinator,
            None => self.become_coordinator()?,
        };
        let text = Coordinator::text(strategy, phase);
        let mut written = Ok(());
        if coordinator.text != text {
            // In its place: the lock is on this very file.
            let file = &mut *coordinator.file;
            written = file
                .set_len(0)
                .and_then(|()| file.rewind())
                .and_then(|()| file.write_all(text.as_bytes()))
                .map_err(|error| not_written(&error));
            coordinator.text = if written.is_ok() { text } else { String::new() };
        }
        *held = Some(coordinator);
        written
    }

    fn become_coordinator(&self) -> Result<Held, Reason> {
        let path = self.places.path(COORDINATOR);
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(|error| not_written(&error))?;
        }
        let mut options = std::fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o644);
        let file = options.open(&path).map_err(|error| not_written(&error))?;
        // Others read it, whatever our umask is.
        let _ = file.set_permissions(std::fs::Permissions::from_mode(0o644));
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Held { file, text: String::new() }),
            Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
                let mut text = String::new();
                let _ = std::io::Read::by_ref(&mut file).take(4_096).read_to_string(&mut text);
                let other = Coordinator::read(&text);
                Err(Reason::new(
                    "other-coordinator",
                    format!(
                        "Another program coordinates this host's reboots ({:?}, {}); stop and mask it, or set reboot.coordinate = false.",
                        other.name, other.state
                    ),
                ))
            }
            Err((_, errno)) => Err(not_written(&errno.into())),
        }
    }
}

fn not_written(error: &std::io::Error) -> Reason {
    Reason::new(
        "coordinator-not-written",
        format!("{COORDINATOR} cannot be written ({error}), so other update coordinators do not know of eyewall."),
    )
}
