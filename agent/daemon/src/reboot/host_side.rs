//! The host's side of the task: what it wants, the lock that keeps it up, and letting it go.

use std::path::Path;
use std::sync::Arc;

use eyewall_core::reboot::host::{Inhibitor, Phase, Semantics};
use eyewall_core::reboot::{Cause, HostLock, Pending, Release};
use eyewall_core::status::{HostLockView, Reason};
use tokio::sync::Notify;

use super::backend::Host;
use super::bus::{Bus, Ear};
use super::delay;
use super::logind::{Lock, Logind};

/// What the host says.
#[derive(Debug)]
pub struct HostSeen {
    /// The reboot that the OS wants.
    pub pending: Result<Option<Pending>, Reason>,
    /// The release that runs.
    pub booted: Result<Release, Reason>,
    /// logind says that a shutdown is under way.
    pub shutting_down: bool,
    /// Others that keep the host up: whoever let it go now would be refused after a drain for nothing.
    pub blocked: Option<Reason>,
}

/// The host, logind, and the locks that are held there.
#[derive(Debug)]
pub struct HostSide {
    host: Host,
    bus: Bus,
    wake: Arc<Notify>,
    logind: Option<Logind>,
    ear: Option<Ear>,
    /// The block lock with the reason that it tells.
    block: Option<(Lock, String)>,
    /// Has a shutdown that somebody else began wait for the last words.
    delay: Option<Lock>,
    binds_root: Option<bool>,
    trouble: Option<Reason>,
    drift: Option<Reason>,
}

impl HostSide {
    /// Asks nobody yet.
    pub fn new(host: Host, bus: Bus, wake: Arc<Notify>) -> Self {
        Self {
            host,
            bus,
            wake,
            logind: None,
            ear: None,
            block: None,
            delay: None,
            binds_root: None,
            trouble: None,
            drift: None,
        }
    }

    /// The host, for its files.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// What the host says now.
    pub async fn look(&mut self) -> HostSeen {
        self.connect().await;
        let shutting_down = match &self.logind {
            Some(logind) => logind.preparing().await.unwrap_or(false),
            None => false,
        };
        let blockers = match &self.logind {
            Some(logind) => logind.blockers().await.unwrap_or_default(),
            None => Vec::new(),
        };
        let blocked = (!blockers.is_empty()).then(|| {
            let named: Vec<String> = blockers.iter().map(Inhibitor::named).collect();
            Reason::new("blocked-by-inhibitor", format!("others keep this host up: {}", named.join(", ")))
        });
        HostSeen { pending: self.host.pending().await, booted: self.host.booted().await, shutting_down, blocked }
    }

    async fn connect(&mut self) {
        if self.ear.as_ref().is_none_or(Ear::has_ended) {
            // Without signals the host is looked at with every turn.
            self.ear = self.host.listen(&self.wake).await.ok().flatten();
        }
        if self.logind.as_ref().is_none_or(Logind::is_lost) {
            match Logind::connect(&self.bus, &self.wake).await {
                Ok(logind) => {
                    self.binds_root = match logind.semantics().await {
                        Ok((_, semantics)) => Some(semantics == Semantics::BindsRoot),
                        Err(_) => None,
                    };
                    self.logind = Some(logind);
                }
                Err(fault) => {
                    self.logind = None;
                    self.trouble = Some(fault.reason());
                }
            }
        }
    }

    /// Whether `InhibitDelayMaxSec` gives the kubelet the time that its pods were promised.
    pub async fn look_at_delay(&mut self, kubelet_config: &Path) {
        self.drift = match &self.logind {
            Some(logind) => delay::drift(logind, kubelet_config).await.unwrap_or_else(Some),
            None => None,
        };
    }

    /// Holds the block lock with this reason, or drops it. The new one is taken before the old is dropped.
    pub async fn keep(&mut self, lock: HostLock, why: &str) {
        if lock == HostLock::Released {
            self.block = None;
            return;
        }
        let Some(logind) = &self.logind else { return };
        if self.block.as_ref().is_some_and(|(held, told)| told == why && logind.holds(held)) {
            self.trouble = None;
            return;
        }
        match logind.inhibit(why).await {
            Ok(taken) => {
                self.block = Some((taken, why.to_owned()));
                self.trouble = None;
            }
            Err(fault) => self.trouble = Some(fault.reason()),
        }
    }

    /// Has a shutdown wait for the last words, or not any more.
    pub async fn wait_for_last_words(&mut self, wait: bool) {
        if !wait {
            self.delay = None;
            return;
        }
        let Some(logind) = &self.logind else { return };
        if self.delay.as_ref().is_none_or(|held| !logind.holds(held)) {
            self.delay = logind.delay("says in the cluster that this host goes down").await.ok();
        }
    }

    /// Drops the block lock and reboots. `Ok` is that a shutdown is under way.
    ///
    /// # Errors
    /// Why none is.
    pub async fn let_go(&mut self, cause: &Cause) -> Result<(), Reason> {
        self.block = None;
        let logind = self.logind.as_ref().ok_or_else(no_logind)?;
        self.host.finish(cause, logind).await
    }

    /// Drops the block lock and goes back to the release before.
    ///
    /// # Errors
    /// As [`HostSide::let_go`].
    pub async fn roll_back(&mut self) -> Result<(), Reason> {
        self.block = None;
        let logind = self.logind.as_ref().ok_or_else(no_logind)?;
        self.host.rollback(logind).await
    }

    /// Tells other coordinators of this host, where the OS has a place for it.
    pub fn coordinate(&self, strategy: &str, phase: Phase) -> Option<Reason> {
        self.host.coordinate(strategy, phase).err()
    }

    /// For the status.
    pub fn view(&self) -> HostLockView {
        HostLockView {
            held: self.block.is_some(),
            why: self.block.as_ref().map(|(_, why)| why.clone()),
            binds_root: self.binds_root,
            reason: self.trouble.clone().or_else(|| self.drift.clone()),
        }
    }

    /// Why the block lock cannot be had, if it cannot.
    pub fn trouble(&self) -> Option<&Reason> {
        self.trouble.as_ref()
    }
}

fn no_logind() -> Reason {
    Reason::new(
        "no-logind",
        "There is no systemd-logind that could be asked to reboot; see: systemctl status systemd-logind.",
    )
}
