//! Fedora CoreOS: rpm-ostree stages a deployment (Zincati has it do so, locked), and finalising it is its reboot.

use std::time::Duration;

use eyewall_core::reboot::host::{Deployment, FinalizeError, Next, coreos, next};
use eyewall_core::reboot::{Cause, Pending, Release};
use eyewall_core::status::Reason;
use eyewall_core::time::Time;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::backend::reboot_now;
use super::bus::{Bus, CallError};
use super::generic::{Generic, Places, unnamed};
use super::logind::Logind;
use super::rpm_ostree::{self, RpmOstreeFault};

/// Written while a deployment is staged (ostree, ostree-sysroot-private.h).
pub const STAGED: &str = "/run/ostree/staged-deployment";
/// Older versions of ostree keep the lock of `--lock-finalization` here, newer ones within [`STAGED`].
pub const STAGED_LOCKED: &str = "/run/ostree/staged-deployment-locked";
/// Its time changes with each change of the deployments (`ostree_sysroot_bump_mtime`).
pub const DEPLOY: &str = "/ostree/deploy";
/// A rpm-ostreed that does not answer is asked again after this, or when one of the files has changed.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// The times of the files that say that the deployments may be others than when they were asked for last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    staged: Option<Time>,
    locked: Option<Time>,
    deploy: Option<Time>,
}

#[derive(Debug)]
struct Asked {
    mark: Mark,
    at: Instant,
    answer: Result<Vec<Deployment>, RpmOstreeFault>,
}

impl Asked {
    fn is_fresh(&self, mark: Mark) -> bool {
        self.mark == mark && (self.answer.is_ok() || self.at.elapsed() < ASK_AGAIN)
    }
}

/// A Fedora CoreOS host.
#[derive(Debug)]
pub struct Fcos {
    bus: Bus,
    places: Places,
    required: Generic,
    asked: Mutex<Option<Asked>>,
}

impl Fcos {
    /// Asks nobody yet.
    pub fn new(bus: Bus, places: Places) -> Self {
        Self { bus, required: Generic::new(places.clone()), places, asked: Mutex::new(None) }
    }

    /// Its bus.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Its files.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// What the next boot takes, else what `/run/reboot-required` asks for.
    ///
    /// # Errors
    /// A deployment is staged and rpm-ostreed does not tell which, or it cannot be told whether there is one.
    pub async fn pending(&self) -> Result<Option<Pending>, Reason> {
        let mark = self.mark()?;
        let rows = match self.rows(mark).await {
            Ok(rows) => rows,
            // A host without rpm-ostreed on its bus stages nothing.
            Err(RpmOstreeFault::Call(CallError::Nobody(_))) if mark.staged.is_none() => return self.required.pending(),
            Err(fault) => return Err(fault.reason()),
        };
        match next(&rows).deployment() {
            Some(deployment) => {
                let since = mark.staged.or(mark.deploy).unwrap_or(Time::from_unix(0));
                Ok(Some(Pending { cause: Cause::Update(deployment.release()), since }))
            }
            None if mark.staged.is_some() => {
                // Between the two: the file is written before the daemon lists it.
                *self.asked.lock().await = None;
                Err(Reason::new(
                    "update-unclear",
                    format!("{STAGED} is there, and rpm-ostreed lists no staged deployment; see: rpm-ostree status."),
                ))
            }
            None => self.required.pending(),
        }
    }

    /// The deployment that runs; where rpm-ostreed does not tell, its version by os-release.
    ///
    /// # Errors
    /// Neither tells.
    pub async fn booted(&self) -> Result<Release, Reason> {
        if let Ok(rows) = self.rows(self.mark()?).await
            && let Some(booted) = rows.iter().find(|deployment| deployment.booted)
        {
            return Ok(booted.release());
        }
        coreos(&self.places.os_release()?).ok_or_else(unnamed)
    }

    /// Finalises what is staged and locked, by rpm-ostreed, which then reboots; anything else is a reboot by logind.
    ///
    /// # Errors
    /// Something else is staged meanwhile, somebody holds a block lock, or no shutdown began.
    pub async fn finish(&self, cause: &Cause, logind: &Logind) -> Result<(), Reason> {
        if let Cause::Update(wanted) = cause {
            let rows = self.rows_now().await.map_err(|fault| fault.reason())?;
            let next = next(&rows);
            match next.deployment().map(Deployment::release) {
                None => {
                    let sentence = format!("{} is not staged any more; see: rpm-ostree status.", wanted.version);
                    return Err(Reason::new("update-changed", sentence));
                }
                Some(release) if !release.is(wanted) => {
                    let sentence = format!("{} is staged now in place of {}.", release.version, wanted.version);
                    return Err(Reason::new("update-changed", sentence));
                }
                Some(_) => {}
            }
            if let Next::Locked(deployment) = next {
                match rpm_ostree::finalize(&self.bus, deployment.expected()).await {
                    // It runs `systemctl reboot` and does not look how that went.
                    Ok(()) if logind.begins().await.is_ok() => return Ok(()),
                    // The wedge (rpm-ostree#4861): unlocked, and nobody reboots.
                    Ok(()) | Err(RpmOstreeFault::Failed(FinalizeError::AlreadyUnlocked | FinalizeError::Rebooting)) => {
                    }
                    // Another finalises it, as Zincati may the moment our lock is gone.
                    Err(RpmOstreeFault::Failed(FinalizeError::Busy(_))) if logind.begins().await.is_ok() => {
                        return Ok(());
                    }
                    Err(fault) => return Err(fault.reason()),
                }
            }
        }
        reboot_now(logind).await
    }

    /// Goes back to the deployment that ran before, and reboots.
    ///
    /// # Errors
    /// There is none, or no shutdown began.
    pub async fn rollback(&self, logind: &Logind) -> Result<(), Reason> {
        let rows = self.rows_now().await.map_err(|fault| fault.reason())?;
        let next = next(&rows);
        // It may be first already: the reboot is all that is missing.
        if !matches!(next, Next::Written(_)) {
            // With something staged it refuses; a later release is staged again by whoever staged it.
            if matches!(next, Next::Locked(_) | Next::Unlocked(_)) {
                rpm_ostree::unstage(&self.bus).await.map_err(|fault| fault.reason())?;
            }
            rpm_ostree::rollback(&self.bus).await.map_err(|fault| fault.reason())?;
        }
        reboot_now(logind).await
    }

    fn mark(&self) -> Result<Mark, Reason> {
        Ok(Mark {
            staged: self.places.changed(STAGED)?,
            locked: self.places.changed(STAGED_LOCKED)?,
            deploy: self.places.changed(DEPLOY)?,
        })
    }

    /// What rpm-ostreed said at this mark; it is asked only if it was not.
    async fn rows(&self, mark: Mark) -> Result<Vec<Deployment>, RpmOstreeFault> {
        let mut asked = self.asked.lock().await;
        if let Some(asked) = asked.as_ref()
            && asked.is_fresh(mark)
        {
            return asked.answer.clone();
        }
        let answer = rpm_ostree::deployments(&self.bus).await;
        *asked = Some(Asked { mark, at: Instant::now(), answer: answer.clone() });
        answer
    }

    async fn rows_now(&self) -> Result<Vec<Deployment>, RpmOstreeFault> {
        *self.asked.lock().await = None;
        rpm_ostree::deployments(&self.bus).await
    }
}
