//! rpm-ostreed over D-Bus (rpm-ostree, src/daemon/org.projectatomic.rpmostree1.xml). It is started by being asked and ends 60 s after its last
//! client has gone, so each conversation is one connection that is closed behind it, and nobody asks without an occasion.
//!
//! What changes the host is a transaction: the method answers with an address, at which rpm-ostreed serves `Transaction` to whoever connects; it
//! begins with `Start` and ends with the signal `Finished`.

use std::collections::HashMap;
use std::pin::Pin;
use std::time::Duration;

use eyewall_core::reboot::host::{Deployment, FinalizeError};
use eyewall_core::status::Reason;
use tokio::time::{sleep, timeout};
use zbus::connection::Builder;
use zbus::export::futures_core::Stream as _;
use zbus::{Connection, DynamicType, MessageStream, OwnedObjectPath, OwnedVariant, Variant};

use super::bus::{Bus, CallError, Remote, WITHIN};
use super::logind::WHO;

/// Its name on the bus.
pub const NAME: &str = "org.projectatomic.rpmostree1";
const SYSROOT: Remote<'_> = Remote {
    name: Some(NAME),
    path: "/org/projectatomic/rpmostree1/Sysroot",
    interface: "org.projectatomic.rpmostree1.Sysroot",
};
const OS_INTERFACE: &str = "org.projectatomic.rpmostree1.OS";
const TRANSACTION: Remote<'_> = Remote { name: None, path: "/", interface: "org.projectatomic.rpmostree1.Transaction" };
/// A finalisation removes a lock; a rollback writes the boot loader's entries, on a slow disk.
const TRANSACTION_WITHIN: Duration = Duration::from_secs(120);
/// While it is just ending it takes no client, and does not say so (rpm-ostree, src/app/rpmostree-clientlib.cxx).
const REGISTER_TRIES: u32 = 4;
const REGISTER_PAUSE: Duration = Duration::from_millis(300);

/// Why rpm-ostreed could not be asked, or did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RpmOstreeFault {
    /// The bus or rpm-ostreed cannot be talked to.
    #[error("rpm-ostreed cannot be asked: {0}; see: systemctl status rpm-ostreed.")]
    Call(#[from] CallError),
    /// A transaction failed.
    #[error("rpm-ostreed refuses: {}", words(.0))]
    Failed(FinalizeError),
    /// It began and did not end.
    #[error("rpm-ostreed did not end its transaction within {0} s; see: journalctl -u rpm-ostreed.")]
    Endless(u64),
}

fn words(error: &FinalizeError) -> String {
    match error {
        FinalizeError::Blocked { who, why } => {
            format!("the reboot is held up by {who:?}, who says {why:?}; see: systemd-inhibit --list.")
        }
        FinalizeError::AlreadyUnlocked => "the staged deployment is unlocked already.".to_owned(),
        FinalizeError::Rebooting => "it has asked for a reboot already.".to_owned(),
        FinalizeError::Changed(words) | FinalizeError::Busy(words) | FinalizeError::Other(words) => format!("{words}."),
    }
}

impl RpmOstreeFault {
    /// The word for machines.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Call(CallError::NoBus(_)) => "no-system-bus",
            Self::Call(CallError::Nobody(_)) => "no-rpm-ostree",
            Self::Call(CallError::Silent(_) | CallError::Malformed(_)) | Self::Endless(_) => "rpm-ostree-silent",
            Self::Failed(FinalizeError::Blocked { .. }) => "blocked-by-inhibitor",
            Self::Failed(FinalizeError::Changed(_)) => "update-changed",
            Self::Failed(FinalizeError::Busy(_)) => "rpm-ostree-busy",
            Self::Failed(FinalizeError::AlreadyUnlocked) => "update-already-unlocked",
            Self::Failed(FinalizeError::Rebooting) => "shutdown-in-progress",
            Self::Failed(FinalizeError::Other(_)) | Self::Call(CallError::Refused { .. }) => "rpm-ostree-refused",
        }
    }

    /// Word and sentence.
    pub fn reason(&self) -> Reason {
        Reason::new(self.kind(), self.to_string())
    }
}

/// The deployments, in the order of the boot menu.
///
/// # Errors
/// [`RpmOstreeFault`]
pub async fn deployments(bus: &Bus) -> Result<Vec<Deployment>, RpmOstreeFault> {
    let connection = registered(bus).await?;
    // Another tool may have changed the sysroot beside it: it looks again only when it is told.
    SYSROOT.call(&connection, "Reload", &()).await?;
    let rows: Vec<HashMap<String, OwnedVariant>> = SYSROOT.get(&connection, "Deployments").await?;
    close(connection).await;
    Ok(rows.iter().map(row).collect())
}

/// Unlocks the staged deployment whose base has this checksum, and has rpm-ostreed reboot. `Ok`: it will run `systemctl reboot`, and does not look
/// how that goes.
///
/// # Errors
/// [`RpmOstreeFault`]
pub async fn finalize(bus: &Bus, checksum: &str) -> Result<(), RpmOstreeFault> {
    let options = HashMap::from([
        ("checksum", Variant::from(checksum)),
        // For its journal.
        ("initiating-command-line", Variant::from(WHO)),
    ]);
    transaction(bus, "FinalizeDeployment", &(options,)).await
}

/// Puts the deployment that ran before first in the boot menu. It does not reboot.
///
/// # Errors
/// [`RpmOstreeFault`]; something is staged, see [`unstage`].
pub async fn rollback(bus: &Bus) -> Result<(), RpmOstreeFault> {
    let options: HashMap<&str, Variant<'_>> = HashMap::new();
    transaction(bus, "Rollback", &(options,)).await
}

/// Drops what is staged (`rpm-ostree cleanup -p`).
///
/// # Errors
/// [`RpmOstreeFault`]
pub async fn unstage(bus: &Bus) -> Result<(), RpmOstreeFault> {
    transaction(bus, "Cleanup", &(&["pending-deploy"][..],)).await
}

async fn registered(bus: &Bus) -> Result<Connection, CallError> {
    let connection = bus.connect().await?;
    let mut tries = 0;
    loop {
        let options = HashMap::from([("id", Variant::from(WHO))]);
        match SYSROOT.call(&connection, "RegisterClient", &(options,)).await {
            Ok(_) => return Ok(connection),
            Err(CallError::Silent(_)) if tries + 1 < REGISTER_TRIES => tries += 1,
            Err(error) => return Err(error),
        }
        sleep(REGISTER_PAUSE).await;
    }
}

/// Its client is gone, and it may end.
async fn close(connection: Connection) {
    // Dropped it would close too, some time.
    let _ = timeout(WITHIN, connection.close()).await;
}

async fn transaction<B: serde::Serialize + DynamicType>(
    bus: &Bus,
    method: &str,
    body: &B,
) -> Result<(), RpmOstreeFault> {
    let connection = registered(bus).await?;
    let booted: OwnedObjectPath = SYSROOT.get(&connection, "Booted").await?;
    let os = Remote { name: SYSROOT.name, path: booted.as_str(), interface: OS_INTERFACE };
    let asked = os.call(&connection, method, body).await;
    let reply = match asked {
        Ok(reply) => reply,
        // Before there is a transaction it uses D-Bus errors, with the same words.
        Err(CallError::Refused { words, .. }) => return Err(RpmOstreeFault::Failed(FinalizeError::read(&words))),
        Err(error) => return Err(error.into()),
    };
    let address: String = reply.body().deserialize().map_err(CallError::from)?;
    let ended = timeout(TRANSACTION_WITHIN, run(&address)).await;
    close(connection).await;
    match ended {
        Ok(Ok((true, _))) => Ok(()),
        Ok(Ok((false, words))) => Err(RpmOstreeFault::Failed(FinalizeError::read(&words))),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(RpmOstreeFault::Endless(TRANSACTION_WITHIN.as_secs())),
    }
}

/// Starts the transaction at this address and waits for its end: whether it went well, and what was wrong.
async fn run(address: &str) -> Result<(bool, String), CallError> {
    let peer = match timeout(WITHIN, Builder::address(address).p2p().build()).await {
        Ok(peer) => peer?,
        Err(_) => return Err(CallError::Silent("its transaction takes no connection".to_owned())),
    };
    // Before the start, so that no signal is missed.
    let mut signals = MessageStream::from(&peer);
    TRANSACTION.call(&peer, "Start", &()).await?;
    loop {
        let next = std::future::poll_fn(|context| Pin::new(&mut signals).poll_next(context)).await;
        let Some(Ok(message)) = next else {
            return Err(CallError::Silent("it went away in the middle of its transaction".to_owned()));
        };
        let is_finished = message.header().member().is_some_and(|member| member.as_str() == "Finished");
        if is_finished {
            return Ok(message.body().deserialize()?);
        }
    }
}

fn row(fields: &HashMap<String, OwnedVariant>) -> Deployment {
    let text = |name: &str| match fields.get(name).map(|value| &**value) {
        Some(Variant::Str(text)) => Some(text.to_string()),
        _ => None,
    };
    let flag = |name: &str| matches!(fields.get(name).map(|value| &**value), Some(Variant::Bool(true)));
    Deployment {
        osname: text("osname").unwrap_or_default(),
        version: text("version").unwrap_or_default(),
        checksum: text("checksum").unwrap_or_default(),
        base_checksum: text("base-checksum"),
        booted: flag("booted"),
        staged: flag("staged"),
        locked: flag("finalization-locked"),
    }
}
