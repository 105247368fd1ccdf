//! Transactions: a socket, an object on it, a start and an end.

use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Result, bail};
use tokio::net::UnixListener;
use zbus::connection::Builder;
use zbus::{Connection, Guid};

use super::interface::Refusal;
use super::{Reboot, Shared};

const LOGIN: &str = "org.freedesktop.login1";
const LOGIN_PATH: &str = "/org/freedesktop/login1";
const LOGIN_MANAGER: &str = "org.freedesktop.login1.Manager";

/// What is to be done.
#[derive(Clone, Debug)]
pub(super) enum What {
    Finalize { checksum: Option<String>, allow_missing_checksum: bool, allow_unlocked: bool },
    Rollback { reboot: bool },
    Cleanup(Vec<String>),
}

/// Opens a transaction; the answer is where it is served (`/run/rpm-ostree-transaction.sock`, rpm-ostree#4308).
pub(super) async fn open(shared: &Arc<Shared>, bus: &Connection, what: What) -> Result<String, Refusal> {
    {
        let mut world = shared.world();
        if world.rebooting {
            return Err(Refusal("Reboot initiated, cannot start new transaction".to_owned()));
        }
        if world.active {
            return Err(Refusal(
                "Transaction in progress: (null)\n You can cancel the current transaction with `rpm-ostree cancel`"
                    .to_owned(),
            ));
        }
        world.active = true;
    }
    listen(shared, bus, what).await.map_err(|error| {
        shared.world().active = false;
        error.into()
    })
}

async fn listen(shared: &Arc<Shared>, bus: &Connection, what: What) -> Result<String> {
    let path = shared.settings.root.join("run/rpm-ostree-transaction.sock");
    if let Err(error) = std::fs::remove_file(&path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        bail!("{}: {error}", path.display());
    }
    let listener = UnixListener::bind(&path)?;
    let guid = Guid::generate();
    let address = format!("unix:path={},guid={guid}", path.display());
    let (shared, bus) = (Arc::clone(shared), bus.clone());
    tokio::spawn(async move {
        // One client at a time is what there is here; who leaves without a start ends it.
        let (started, is_started) = tokio::sync::watch::channel(false);
        if let Ok((stream, _)) = listener.accept().await
            && let Ok(stream) = stream.into_std()
        {
            let object = Transaction { shared: Arc::clone(&shared), bus, what, started };
            let served = Builder::unix_stream(stream).server(guid).p2p().serve_at("/", object).build().await;
            if let Ok(peer) = served {
                closed(&peer).await;
            }
        }
        if !*is_started.borrow() {
            shared.world().active = false;
        }
    });
    Ok(address)
}

/// Returns when the peer has left.
async fn closed(peer: &Connection) {
    use zbus::export::futures_core::Stream as _;

    let mut messages = zbus::MessageStream::from(peer);
    while let Some(Ok(_)) = std::future::poll_fn(|context| std::pin::Pin::new(&mut messages).poll_next(context)).await {
    }
}

/// `org.projectatomic.rpmostree1.Transaction`
struct Transaction {
    shared: Arc<Shared>,
    bus: Connection,
    what: What,
    started: tokio::sync::watch::Sender<bool>,
}

#[zbus::interface(name = "org.projectatomic.rpmostree1.Transaction")]
impl Transaction {
    async fn start(&self, #[zbus(connection)] peer: &Connection) -> bool {
        self.shared.called("Start");
        // Started once it goes on, whoever leaves.
        if self.started.send_replace(true) {
            return false;
        }
        let (shared, bus, what, peer) = (Arc::clone(&self.shared), self.bus.clone(), self.what.clone(), peer.clone());
        tokio::spawn(async move {
            let done = execute(&shared, &bus, &what).await;
            let reboots = matches!(done, Ok(true));
            if reboots {
                shared.world().rebooting = true;
            }
            let words = done.as_ref().err().map(|error| format!("{error:#}")).unwrap_or_default();
            shared.world().active = false;
            let interface = "org.projectatomic.rpmostree1.Transaction";
            let nobody = None::<&str>;
            // Who started it may have left.
            let _ = peer.emit_signal(nobody, "/", interface, "Message", &("working",)).await;
            let _ = peer.emit_signal(nobody, "/", interface, "Finished", &(done.is_ok(), words)).await;
            if reboots {
                reboot(shared.settings.reboot, &bus).await;
            }
        });
        true
    }

    fn cancel(&self) {}
}

/// Does it; `true`: and the host is to be rebooted.
async fn execute(shared: &Shared, bus: &Connection, what: &What) -> Result<bool> {
    let reboots = match what {
        What::Finalize { checksum, allow_missing_checksum, allow_unlocked } => {
            let Some(first) = shared.world().state.deployments.first().cloned() else { bail!("No deployments found") };
            if !first.staged {
                bail!("No pending staged deployment found");
            }
            match checksum {
                None if !allow_missing_checksum => bail!("Missing expected checksum"),
                Some(expected) if *expected != first.checksum => {
                    bail!("Expected staged base checksum {expected}, but found {}", first.checksum)
                }
                _ => {}
            }
            check_inhibitors(bus).await?;
            if !first.locked && !allow_unlocked {
                bail!("Staged deployment already unlocked");
            }
            shared.world().state.unlock();
            true
        }
        What::Rollback { reboot } => {
            if *reboot {
                check_inhibitors(bus).await?;
            }
            let mut world = shared.world();
            let rows = &mut world.state.deployments;
            if rows.first().is_some_and(|first| first.staged) {
                bail!("Staged deployment (remove with cleanup -p)");
            }
            let booted = rows.iter().position(|row| row.booted).unwrap_or(0);
            // What ran before comes first; where there is nothing behind it, what runs is put before what waits.
            let first = match rows.len() {
                0 | 1 => bail!("No rollback deployment found"),
                count if booted + 1 < count => booted + 1,
                _ => booted,
            };
            let row = rows.remove(first);
            rows.insert(0, row);
            *reboot
        }
        What::Cleanup(elements) => {
            if elements.iter().any(|element| element == "pending-deploy") {
                shared.world().state.drop_staged();
            }
            false
        }
    };
    shared.write()?;
    Ok(reboots)
}

/// rpm-ostree, src/daemon/rpmostreed-utils.cxx, check_sd_inhibitor_locks
async fn check_inhibitors(bus: &Connection) -> Result<()> {
    type Row = (String, String, String, String, u32, u32);
    let reply = bus.call_method(Some(LOGIN), LOGIN_PATH, Some(LOGIN_MANAGER), "ListInhibitors", &()).await?;
    let rows: Vec<Row> = reply.body().deserialize()?;
    let mut blocks = rows.iter().filter(|row| row.0.contains("shutdown") && row.3 == "block");
    let Some((_, who, why, ..)) = blocks.next() else { return Ok(()) };
    let mut words =
        format!("Reboot blocked by a systemd inhibitor lock in `block` mode\nHeld by: {who}\nReason: {why}");
    match blocks.count() {
        0 => {}
        more => {
            let see = "Use `systemd-inhibit --list` to see details";
            words.push_str(&format!("\nand {more} other blocking inhibitor lock(s)\n{see}"));
        }
    }
    bail!("{words}")
}

/// Nobody looks how it goes.
async fn reboot(how: Reboot, bus: &Connection) {
    match how {
        Reboot::Nothing => {}
        Reboot::Logind => {
            let call = bus.call_method(Some(LOGIN), LOGIN_PATH, Some(LOGIN_MANAGER), "RebootWithFlags", &(0_u64,));
            let _ = call.await;
        }
        Reboot::Systemctl => {
            let mut systemctl = tokio::process::Command::new("systemctl");
            let _ = systemctl.arg("reboot").stdin(Stdio::null()).status().await;
        }
    }
}
