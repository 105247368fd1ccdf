//! `org.freedesktop.login1.Manager`, as far as shutdowns go.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::time::timeout;
use zbus::message::{Header, Message};
use zbus::names::ErrorName;
use zbus::{Connection, DBusError, Variant};

use super::{Inhibitor, PATH, Shared};

const INTERFACE: &str = "org.freedesktop.login1.Manager";
const DENIED: &str = "org.freedesktop.DBus.Error.AccessDenied";
/// RebootWithFlags: weak blocks bind root too.
const ROOT_CHECK_INHIBITORS: u64 = 1;
/// RebootWithFlags: no block binds root.
const SKIP_INHIBITORS: u64 = 1 << 4;

/// An error with logind's own name and words.
#[derive(Debug)]
pub(super) struct Refusal {
    name: &'static str,
    message: String,
}

impl Refusal {
    fn of(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, message: message.into() }
    }
}

impl From<zbus::Error> for Refusal {
    fn from(error: zbus::Error) -> Self {
        Self::of("org.freedesktop.DBus.Error.Failed", error.to_string())
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Self::of("org.freedesktop.DBus.Error.Failed", error.to_string())
    }
}

impl DBusError for Refusal {
    fn create_reply(&self, call: &Header<'_>) -> zbus::Result<Message> {
        Message::error(call, self.name).build(&self.message)
    }

    fn name(&self) -> ErrorName<'_> {
        ErrorName::from_static_str_unchecked(self.name)
    }

    fn description(&self) -> Option<&str> {
        Some(&self.message)
    }
}

/// `org.freedesktop.login1.Manager`
pub(super) struct Manager(pub(super) Arc<Shared>);

type Row = (String, String, String, String, u32, u32);

#[zbus::interface(name = "org.freedesktop.login1.Manager")]
impl Manager {
    async fn inhibit(
        &self,
        what: &str,
        who: &str,
        why: &str,
        mode: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<zbus::OwnedFd, Refusal> {
        self.0.called(format!("Inhibit {what} {who} {mode}")).await;
        let (uid, pid) = caller(&header, connection).await?;
        let version = self.0.world().kind.version;
        if !(mode == "block" || mode == "delay" || (mode == "block-weak" && version >= 257)) {
            return Err(Refusal::of(
                "org.freedesktop.DBus.Error.InvalidArgs",
                format!("Invalid mode specification {mode}"),
            ));
        }
        if self.0.world().preparing {
            let words = "The operation inhibition has been requested for is already running";
            return Err(Refusal::of("org.freedesktop.login1.OperationInProgress", words));
        }
        let (read, write) = std::io::pipe()?;
        let mut read = pipe::Receiver::from_owned_fd(OwnedFd::from(read))?;
        let id = {
            let mut world = self.0.world();
            world.taken += 1;
            let [what, who, why, mode] = [what, who, why, mode].map(str::to_owned);
            let id = world.taken;
            world.inhibitors.push(Inhibitor { id, what, who, why, mode, uid, pid });
            id
        };
        self.0.changed.send_replace(());
        let shared = Arc::clone(&self.0);
        tokio::spawn(async move {
            // Nobody writes: it ends when the last copy of the other end is closed.
            let mut nothing = [0_u8; 16];
            while matches!(read.read(&mut nothing).await, Ok(1..)) {}
            shared.world().inhibitors.retain(|held| held.id != id);
            shared.changed.send_replace(());
        });
        Ok(OwnedFd::from(write).into())
    }

    async fn list_inhibitors(&self) -> Vec<Row> {
        self.0.called("ListInhibitors".to_owned()).await;
        let row = |held: &Inhibitor| {
            (held.what.clone(), held.who.clone(), held.why.clone(), held.mode.clone(), held.uid, held.pid)
        };
        self.0.world().inhibitors.iter().map(row).collect()
    }

    async fn reboot(
        &self,
        _interactive: bool,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Refusal> {
        self.0.called("Reboot".to_owned()).await;
        let (uid, _) = caller(&header, connection).await?;
        self.shut_down(uid, 0, connection).await
    }

    async fn reboot_with_flags(
        &self,
        flags: u64,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Refusal> {
        self.0.called(format!("RebootWithFlags {flags}")).await;
        if self.0.world().kind.version < 249 {
            let words = "Unknown method RebootWithFlags or interface org.freedesktop.login1.Manager.";
            return Err(Refusal::of("org.freedesktop.DBus.Error.UnknownMethod", words));
        }
        let (uid, _) = caller(&header, connection).await?;
        self.shut_down(uid, flags, connection).await
    }

    async fn set_wall_message(&self, _message: &str, _enable: bool) {
        self.0.called("SetWallMessage".to_owned()).await;
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn preparing_for_shutdown(&self) -> bool {
        self.0.world().preparing
    }

    #[zbus(property(emits_changed_signal = "false"), name = "InhibitDelayMaxUSec")]
    fn inhibit_delay_max(&self) -> u64 {
        u64::try_from(self.0.world().kind.delay_max.as_micros()).unwrap_or(u64::MAX)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn block_inhibited(&self) -> String {
        self.inhibited("block")
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn delay_inhibited(&self) -> String {
        self.inhibited("delay")
    }
}

impl Manager {
    fn inhibited(&self, mode: &str) -> String {
        let world = self.0.world();
        let mut what: Vec<&str> =
            world.inhibitors.iter().filter(|held| held.mode == mode).flat_map(|held| held.what.split(':')).collect();
        what.sort_unstable();
        what.dedup();
        what.join(":")
    }

    async fn shut_down(&self, uid: u32, flags: u64, connection: &Connection) -> Result<(), Refusal> {
        let (kind, metadata) = {
            let mut world = self.0.world();
            let kind = world.kind;
            let blocks = |mode: &str| world.inhibitors.iter().any(|held| held.is(mode));
            let is_new = kind.version >= 257;
            let is_root = uid == 0;
            let is_blocked = if !is_new {
                // Root passes, others would need more rights.
                !is_root && blocks("block")
            } else {
                (blocks("block") && !(is_root && flags & SKIP_INHIBITORS != 0))
                    || (blocks("block-weak") && (!is_root || flags & ROOT_CHECK_INHIBITORS != 0))
            };
            if kind.masked {
                return Err(Refusal::of(DENIED, "Permission denied"));
            }
            if is_blocked {
                return Err(match kind.version {
                    258.. => Refusal::of(
                        "org.freedesktop.login1.BlockedByInhibitorLock",
                        "Operation denied due to active block inhibitor",
                    ),
                    _ => Refusal::of(DENIED, "Access denied"),
                });
            }
            if world.preparing {
                let words = "There's already a shutdown or sleep operation in progress";
                return Err(Refusal::of("org.freedesktop.login1.OperationInProgress", words));
            }
            if kind.stuck {
                return Ok(());
            }
            world.preparing = true;
            (kind, kind.version >= 255)
        };
        let nobody = None::<&str>;
        if metadata {
            let with = HashMap::from([("type", Variant::from("reboot"))]);
            connection.emit_signal(nobody, PATH, INTERFACE, "PrepareForShutdownWithMetadata", &(true, with)).await?;
        }
        connection.emit_signal(nobody, PATH, INTERFACE, "PrepareForShutdown", &(true,)).await?;
        let shared = Arc::clone(&self.0);
        tokio::spawn(async move {
            // One span for all delay locks together; what is left then is not waited for.
            let mut changed = shared.changed.subscribe();
            let gone = changed.wait_for(|()| !shared.world().inhibitors.iter().any(|held| held.is("delay")));
            let _ = timeout(kind.delay_max, gone).await;
            shared.down.send_replace(true);
        });
        Ok(())
    }
}

/// User and process of whoever calls.
async fn caller(header: &Header<'_>, connection: &Connection) -> Result<(u32, u32), Refusal> {
    let sender = header.sender().map(ToString::to_string).unwrap_or_default();
    let mut ids = [0_u32; 2];
    for (id, method) in ids.iter_mut().zip(["GetConnectionUnixUser", "GetConnectionUnixProcessID"]) {
        let bus = "org.freedesktop.DBus";
        let reply =
            connection.call_method(Some(bus), "/org/freedesktop/DBus", Some(bus), method, &(sender.as_str(),)).await?;
        *id = reply.body().deserialize()?;
    }
    Ok((ids[0], ids[1]))
}
