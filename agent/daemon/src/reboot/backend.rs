//! The host, whatever its OS: what is wanted, what runs, and the reboot itself.

use std::path::PathBuf;
use std::sync::Arc;

use eyewall_core::os::{FCOS, FLATCAR, Os};
use eyewall_core::reboot::host::Phase;
use eyewall_core::reboot::{Cause, Pending, Release};
use eyewall_core::status::Reason;
use tokio::sync::Notify;
use zbus::MatchRule;
use zbus::message::Message;

use super::bus::{Bus, CallError, Ear, owner_of, signal_of};
use super::fcos::{self, Fcos};
use super::flatcar::{self, Flatcar};
use super::generic::{Generic, Places, REQUIRED};
use super::logind::{Logind, LogindFault};
use super::rpm_ostree;

/// A host, by its OS. An operator's request is not its business: it has no part in what the OS wants.
#[derive(Debug)]
pub enum Host {
    /// rpm-ostree stages, and finalises by rebooting.
    Fcos(Fcos),
    /// update_engine writes, logind reboots.
    Flatcar(Flatcar),
    /// Packages ask by a file, logind reboots.
    Generic {
        /// The host.
        host: Generic,
        /// Its files.
        places: Places,
    },
}

impl Host {
    /// The one of this OS. Asks nobody yet.
    pub fn new(os: &Os, bus: Bus, places: Places) -> Self {
        if os.id == FCOS.id {
            Self::Fcos(Fcos::new(bus, places))
        } else if os.id == FLATCAR.id {
            Self::Flatcar(Flatcar::new(bus, places))
        } else {
            Self::Generic { host: Generic::new(places.clone()), places }
        }
    }

    /// The reboot that the OS wants.
    ///
    /// # Errors
    /// It could not be asked: nothing is known to be wanted, and nothing not to be.
    pub async fn pending(&self) -> Result<Option<Pending>, Reason> {
        match self {
            Self::Fcos(host) => host.pending().await,
            Self::Flatcar(host) => host.pending().await,
            Self::Generic { host, .. } => host.pending(),
        }
    }

    /// The release that runs.
    ///
    /// # Errors
    /// Nobody tells.
    pub async fn booted(&self) -> Result<Release, Reason> {
        match self {
            Self::Fcos(host) => host.booted().await,
            Self::Flatcar(host) => host.booted(),
            Self::Generic { host, .. } => host.booted(),
        }
    }

    /// Lets the host go: whoever calls it has dropped the block lock before. `Ok` is that a shutdown is under way, and nothing less. It takes up
    /// to three minutes.
    ///
    /// # Errors
    /// No shutdown is under way, and why; the host may be kept up again.
    pub async fn finish(&self, cause: &Cause, logind: &Logind) -> Result<(), Reason> {
        match self {
            Self::Fcos(host) => host.finish(cause, logind).await,
            Self::Flatcar(host) => host.finish(cause, logind).await,
            Self::Generic { .. } => reboot_now(logind).await,
        }
    }

    /// Goes back to the release that ran before, and reboots, as [`Host::finish`] does.
    ///
    /// # Errors
    /// As [`Host::finish`]; `rollback-not-supported` where the OS has no way for a program, with what a person can do.
    pub async fn rollback(&self, logind: &Logind) -> Result<(), Reason> {
        let unsupported = |sentence: &str| Err(Reason::new("rollback-not-supported", sentence));
        match self {
            Self::Fcos(host) => host.rollback(logind).await,
            Self::Flatcar(_) => unsupported(
                "Flatcar goes back only by hand: as root, make the other slot the first one with \
                 cgpt prioritize \"$(cgpt find -t flatcar-usr | grep --invert-match \"$(rootdev -s /usr)\")\", then: eyewall reboot request.",
            ),
            Self::Generic { .. } => unsupported(
                "This host has no release to go back to that a program could know; see the distribution's manual, then: eyewall reboot request.",
            ),
        }
    }

    /// Says in which phase we are, where the OS has a place for it: update_engine's coordinator file on Flatcar.
    ///
    /// # Errors
    /// Another coordinator is at work on this host, or the file cannot be written.
    pub fn coordinate(&self, strategy: &str, phase: Phase) -> Result<(), Reason> {
        match self {
            Self::Flatcar(host) => host.coordinate(strategy, phase),
            Self::Fcos(_) | Self::Generic { .. } => Ok(()),
        }
    }

    /// Files whose change is an occasion to look again.
    pub fn watched(&self) -> Vec<PathBuf> {
        match self {
            Self::Fcos(host) => [fcos::STAGED, fcos::STAGED_LOCKED, fcos::DEPLOY, REQUIRED]
                .map(|path| host.places().path(path))
                .to_vec(),
            Self::Flatcar(host) => [flatcar::COMPLETED, REQUIRED].map(|path| host.places().path(path)).to_vec(),
            Self::Generic { places, .. } => vec![places.path(REQUIRED)],
        }
    }

    /// Listens for the signals that are such an occasion, on a connection of its own. None: the OS has none.
    ///
    /// # Errors
    /// There is no bus; try again later. [`Ear::has_ended`] tells when it is to be opened anew.
    pub async fn listen(&self, wake: &Arc<Notify>) -> Result<Option<Ear>, Reason> {
        let (bus, rules) = match self {
            Self::Fcos(host) => (host.bus(), sysroot_changes()),
            Self::Flatcar(host) => (host.bus(), status_updates()),
            Self::Generic { .. } => return Ok(None),
        };
        let open = async { Ear::open(&bus.connect().await?, rules?, wake, is_news).await };
        let ear: Result<Ear, CallError> = open.await;
        ear.map(Some)
            .map_err(|error| Reason::new("no-system-bus", format!("Signals of the OS are not heard: {error}.")))
    }
}

fn status_updates() -> Result<Vec<MatchRule<'static>>, CallError> {
    Ok(vec![signal_of(flatcar::NAME, flatcar::INTERFACE, "StatusUpdate")?, owner_of(flatcar::NAME)?])
}

fn sysroot_changes() -> Result<Vec<MatchRule<'static>>, CallError> {
    Ok(vec![signal_of(rpm_ostree::NAME, "org.freedesktop.DBus.Properties", "PropertiesChanged")?])
}

/// A download tells its progress every ten seconds, which is no news.
fn is_news(message: &Message) -> bool {
    match message.body().deserialize::<(i64, f64, String, String, i64)>() {
        Ok((_, _, operation, _, _)) => operation != "UPDATE_STATUS_DOWNLOADING",
        Err(_) => true,
    }
}

/// Reboots by logind, and waits until a shutdown is under way.
///
/// # Errors
/// None is.
pub async fn reboot_now(logind: &Logind) -> Result<(), Reason> {
    match logind.reboot().await {
        // Somebody was faster.
        Ok(()) | Err(LogindFault::InProgress) => {}
        Err(fault) => return Err(fault.reason()),
    }
    logind.begins().await.map_err(|fault| fault.reason())
}
