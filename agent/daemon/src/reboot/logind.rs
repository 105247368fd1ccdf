//! systemd-logind: the block lock that is the host's own, the reboot, and a hint when either may have changed
//! (org.freedesktop.login1(5)).

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use eyewall_core::reboot::host::{Inhibitor, LogindError, Semantics, systemd_version};
use eyewall_core::status::Reason;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use zbus::message::Message;
use zbus::{Connection, OwnedObjectPath};

use super::bus::{Bus, CallError, Ear, Remote, owner_of, signal_of};

const LOGIN: &str = "org.freedesktop.login1";
const MANAGER_INTERFACE: &str = "org.freedesktop.login1.Manager";
const MANAGER: Remote<'_> = Remote { name: Some(LOGIN), path: "/org/freedesktop/login1", interface: MANAGER_INTERFACE };
const SYSTEMD: Remote<'_> = Remote {
    name: Some("org.freedesktop.systemd1"),
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
};
const UNIT_INTERFACE: &str = "org.freedesktop.systemd1.Unit";

/// Who we are to those who list the locks.
pub const WHO: &str = "eyewall";
/// After a reboot that logind took on, `PreparingForShutdown` is there before the answer is; a loaded host is given this long.
const SHUTDOWN_BEGINS_WITHIN: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });
const LOOK: Duration = Duration::from_millis(100);
/// What a lock's list shows of a reason.
const WHY_MAX: usize = 512;

/// A lock of logind's, as a value: dropping it gives it back, and so does the end of the process, however it ends.
#[derive(Debug)]
pub struct Lock {
    _fd: OwnedFd,
    /// The run of logind in which it was taken.
    run: u64,
}

/// Why logind could not be asked, or did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogindFault {
    /// There is no system bus.
    #[error("The system bus cannot be reached, so logind cannot be asked: {0}.")]
    NoBus(String),
    /// There is a bus, and no logind on it.
    #[error("There is no systemd-logind on the system bus ({0}); see: systemctl status systemd-logind.")]
    NoLogind(String),
    /// It does not answer, or not in words that are understood.
    #[error("systemd-logind does not answer: {0}.")]
    Silent(String),
    /// Others keep the host up.
    #[error("The reboot is held up by {holders}; see: systemd-inhibit --list.")]
    Blocked {
        /// Each with what it says.
        holders: String,
    },
    /// It goes down already.
    #[error("A shutdown is under way already.")]
    InProgress,
    /// Somebody made sure that it does not reboot.
    #[error("reboot.target is masked, so this host does not reboot; see: systemctl cat reboot.target.")]
    Masked,
    /// It took the reboot on, and nothing happened.
    #[error(
        "systemd-logind took the reboot on, and no shutdown began within {0} s; see: journalctl -u systemd-logind."
    )]
    NotBegun(u64),
    /// It says no.
    #[error("systemd-logind refuses: {0}.")]
    Refused(String),
}

impl LogindFault {
    /// The word for machines.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoBus(_) => "no-system-bus",
            Self::NoLogind(_) => "no-logind",
            Self::Silent(_) => "logind-silent",
            Self::Blocked { .. } => "blocked-by-inhibitor",
            Self::InProgress => "shutdown-in-progress",
            Self::Masked => "reboot-masked",
            Self::NotBegun(_) => "shutdown-not-begun",
            Self::Refused(_) => "logind-refused",
        }
    }

    /// Word and sentence.
    pub fn reason(&self) -> Reason {
        Reason::new(self.kind(), self.to_string())
    }
}

impl From<CallError> for LogindFault {
    fn from(error: CallError) -> Self {
        match error {
            CallError::NoBus(why) => Self::NoBus(why),
            CallError::Nobody(why) => Self::NoLogind(why),
            CallError::Silent(why) | CallError::Malformed(why) => Self::Silent(why),
            CallError::Refused { name, words } => match LogindError::read(&name, &words) {
                LogindError::InProgress => Self::InProgress,
                _ if words.is_empty() => Self::Refused(name),
                _ => Self::Refused(words),
            },
        }
    }
}

/// logind, listened to.
#[derive(Debug)]
pub struct Logind {
    connection: Connection,
    ear: Ear,
    run: Arc<AtomicU64>,
}

impl Logind {
    /// Connects, and from then on wakes `wake` whenever a shutdown begins or is called off, logind comes or goes, or the connection ends. Each
    /// is a hint to look again.
    ///
    /// # Errors
    /// [`LogindFault`]; logind itself need not be there yet.
    pub async fn connect(bus: &Bus, wake: &Arc<Notify>) -> Result<Self, LogindFault> {
        let connection = bus.connect().await?;
        let rules = vec![owner_of(LOGIN)?, signal_of(LOGIN, MANAGER_INTERFACE, "PrepareForShutdown")?];
        let run = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&run);
        let heard = move |message: &Message| {
            if message.header().member().is_some_and(|member| member.as_str() == "NameOwnerChanged") {
                counted.fetch_add(1, Ordering::Relaxed);
            }
            true
        };
        let ear = Ear::open(&connection, rules, wake, heard).await?;
        Ok(Self { connection, ear, run })
    }

    /// The connection has ended: connect again. Locks that were taken over it hold as long as logind lives.
    pub fn is_lost(&self) -> bool {
        self.ear.has_ended()
    }

    /// Keeps the host up until the lock is dropped. Take the new one before the old is dropped where only the reason changes. It binds its
    /// holder too (from systemd 257): drop it before [`Logind::reboot`].
    ///
    /// # Errors
    /// [`LogindFault`]
    pub async fn inhibit(&self, why: &str) -> Result<Lock, LogindFault> {
        self.take(why, "block").await
    }

    /// Has a shutdown wait for last writes, for at most [`Logind::delay_max`], which all such locks share: drop it well within that.
    ///
    /// # Errors
    /// [`LogindFault`]
    pub async fn delay(&self, why: &str) -> Result<Lock, LogindFault> {
        self.take(why, "delay").await
    }

    async fn take(&self, why: &str, mode: &str) -> Result<Lock, LogindFault> {
        // Read before: if logind goes meanwhile, the lock counts as the old one's and is taken again.
        let run = self.run.load(Ordering::Relaxed);
        let body = ("shutdown", WHO, one_line(why), mode);
        let reply = MANAGER.call(&self.connection, "Inhibit", &body).await?;
        let fd: zbus::OwnedFd = reply.body().deserialize().map_err(CallError::from)?;
        Ok(Lock { _fd: fd.into(), run })
    }

    /// Whether the lock is one of the logind that is there now. After a restart of logind locks are taken again: it reads the old ones back
    /// from `/run/systemd/inhibit`, but nothing promises so.
    pub fn holds(&self, lock: &Lock) -> bool {
        !self.is_lost() && lock.run == self.run.load(Ordering::Relaxed)
    }

    /// Whether a shutdown is under way (`PreparingForShutdown`).
    ///
    /// # Errors
    /// [`LogindFault`]
    pub async fn preparing(&self) -> Result<bool, LogindFault> {
        Ok(MANAGER.get(&self.connection, "PreparingForShutdown").await?)
    }

    /// All locks, ours too.
    ///
    /// # Errors
    /// [`LogindFault`]
    pub async fn inhibitors(&self) -> Result<Vec<Inhibitor>, LogindFault> {
        type Row = (String, String, String, String, u32, u32);
        let reply = MANAGER.call(&self.connection, "ListInhibitors", &()).await?;
        let rows: Vec<Row> = reply.body().deserialize().map_err(CallError::from)?;
        let read = |(what, who, why, mode, uid, pid)| Inhibitor { what, who, why, mode, uid, pid };
        Ok(rows.into_iter().map(read).collect())
    }

    /// Those of others that keep the host up.
    ///
    /// # Errors
    /// [`LogindFault`]
    pub async fn blockers(&self) -> Result<Vec<Inhibitor>, LogindFault> {
        let own = std::process::id();
        let rows = self.inhibitors().await?;
        Ok(rows.into_iter().filter(|row| row.blocks_shutdown() && row.pid != own).collect())
    }

    /// How long a shutdown waits for delay locks (`InhibitDelayMaxUSec`).
    ///
    /// # Errors
    /// [`LogindFault`]
    pub async fn delay_max(&self) -> Result<Duration, LogindFault> {
        Ok(Duration::from_micros(MANAGER.get(&self.connection, "InhibitDelayMaxUSec").await?))
    }

    /// systemd's version, and whom a block lock binds with it.
    ///
    /// # Errors
    /// [`LogindFault`]
    pub async fn semantics(&self) -> Result<(u32, Semantics), LogindFault> {
        let text: String = SYSTEMD.get(&self.connection, "Version").await?;
        let version = systemd_version(&text)
            .ok_or_else(|| LogindFault::Silent(format!("systemd's version is {text:?}, which is no number")))?;
        Ok((version, Semantics::of(version)))
    }

    /// Reboots in an orderly way: `RebootWithFlags(0)`, or `Reboot(false)` where logind is older than 249. `Ok` is that logind took it on;
    /// [`Logind::begins`] tells whether it happens. No block lock of ours may be left.
    ///
    /// # Errors
    /// [`LogindFault`]
    pub async fn reboot(&self) -> Result<(), LogindFault> {
        let mut answer = MANAGER.call(&self.connection, "RebootWithFlags", &(0_u64,)).await;
        if let Err(CallError::Refused { name, words }) = &answer
            && LogindError::read(name, words) == LogindError::UnknownMethod
        {
            answer = MANAGER.call(&self.connection, "Reboot", &(false,)).await;
        }
        match answer {
            Ok(_) => Ok(()),
            Err(CallError::Refused { name, words }) => Err(self.refusal(&name, words).await),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until a shutdown is under way. The end of the bus counts: it is what a quick shutdown looks like from here.
    ///
    /// # Errors
    /// [`LogindFault::NotBegun`], or logind cannot be asked.
    pub async fn begins(&self) -> Result<(), LogindFault> {
        let until = Instant::now() + SHUTDOWN_BEGINS_WITHIN;
        loop {
            match self.preparing().await {
                Ok(true) => return Ok(()),
                _ if self.is_lost() => return Ok(()),
                Ok(false) => {}
                Err(fault) if Instant::now() >= until => return Err(fault),
                Err(_) => {}
            }
            if Instant::now() >= until {
                return Err(LogindFault::NotBegun(SHUTDOWN_BEGINS_WITHIN.as_secs()));
            }
            sleep(LOOK).await;
        }
    }

    /// What logind meant. From 257 it says `AccessDenied` both where somebody holds a block lock and where reboot.target is masked, so the
    /// locks and the unit are looked at.
    async fn refusal(&self, name: &str, words: String) -> LogindFault {
        let error = LogindError::read(name, &words);
        if error == LogindError::InProgress {
            return LogindFault::InProgress;
        }
        if matches!(error, LogindError::Blocked | LogindError::Denied) {
            // Ours too: who forgot to drop it should read so.
            let rows = self.inhibitors().await.unwrap_or_default();
            let holders: Vec<String> = rows.iter().filter(|row| row.blocks_shutdown()).map(Inhibitor::named).collect();
            match holders.as_slice() {
                [] if error == LogindError::Blocked => {
                    return LogindFault::Blocked { holders: "somebody who is gone already".to_owned() };
                }
                [] => {}
                holders => return LogindFault::Blocked { holders: holders.join(", ") },
            }
            if self.is_masked().await {
                return LogindFault::Masked;
            }
        }
        LogindFault::Refused(if words.is_empty() { name.to_owned() } else { words })
    }

    async fn is_masked(&self) -> bool {
        let Ok(reply) = SYSTEMD.call(&self.connection, "LoadUnit", &("reboot.target",)).await else { return false };
        let Ok(path) = reply.body().deserialize::<OwnedObjectPath>() else { return false };
        let unit = Remote { name: SYSTEMD.name, path: path.as_str(), interface: UNIT_INTERFACE };
        unit.get::<String>(&self.connection, "LoadState").await.is_ok_and(|state| state == "masked")
    }
}

/// A reason as a list of locks can show it.
fn one_line(why: &str) -> String {
    why.split_whitespace().collect::<Vec<_>>().join(" ").chars().filter(|c| !c.is_control()).take(WHY_MAX).collect()
}
