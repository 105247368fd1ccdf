//! systemd over D-Bus: what the unit is doing, a hint when that changes, and its restart. Nothing else is asked of it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eyewall_core::kubelet::Unit;
use eyewall_core::status::Reason;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use zbus::connection::Builder;
use zbus::export::futures_core::Stream as _;
use zbus::message::{Message, Type};
use zbus::{Connection, DBusError as _, DynamicType, MatchRule, MessageStream, OwnedObjectPath, OwnedVariant, fdo};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: (&str, &str) = ("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager");
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// For one call, and for the connection. systemd answers within milliseconds; while it reloads, within seconds.
const WITHIN: Duration = Duration::from_secs(10);

/// Where systemd is found.
#[derive(Clone, Debug)]
pub enum Bus {
    /// The system bus: `DBUS_SYSTEM_BUS_ADDRESS`, else the usual socket.
    System,
    /// A connection to a stand-in.
    #[cfg(test)]
    Given(Connection),
}

/// Why systemd could not be asked, or did not do it.
#[derive(Debug, thiserror::Error)]
pub enum BusFault {
    /// There is no system bus.
    #[error("the system bus cannot be reached, so systemd cannot be asked: {0}")]
    NoBus(String),
    /// There is a bus, and no systemd on it.
    #[error("there is no systemd on the system bus: {0}")]
    NoSystemd(String),
    /// systemd does not answer, or not in words that are understood.
    #[error("systemd does not answer: {0}")]
    Silent(String),
    /// systemd says no.
    #[error("systemd refuses: {0}")]
    Refused(String),
}

impl BusFault {
    /// The word for machines.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoBus(_) => "no-system-bus",
            Self::NoSystemd(_) => "no-systemd",
            Self::Silent(_) => "systemd-silent",
            Self::Refused(_) => "systemd-refused",
        }
    }

    /// Word and sentence.
    pub fn reason(&self) -> Reason {
        Reason::new(self.kind(), self.to_string())
    }
}

impl From<zbus::Error> for BusFault {
    fn from(error: zbus::Error) -> Self {
        match error {
            zbus::Error::MethodError(name, message, _) => {
                Self::Refused(message.unwrap_or_else(|| name.as_str().to_owned()))
            }
            zbus::Error::FDO(error) => Self::of_bus(&error),
            error => Self::Silent(error.to_string()),
        }
    }
}

impl BusFault {
    /// From an error whose name is D-Bus's own: the bus's word, or systemd's.
    fn of_bus(error: &fdo::Error) -> Self {
        let words = error.description().map_or_else(|| error.to_string(), str::to_owned);
        match error {
            // Nobody has the name; or the bus was told to start somebody for it, who ends at once (Debian's activation
            // entry for systemd is /bin/false).
            fdo::Error::ServiceUnknown(_)
            | fdo::Error::NameHasNoOwner(_)
            | fdo::Error::SpawnChildExited(_)
            | fdo::Error::SpawnExecFailed(_) => Self::NoSystemd(words),
            // It left the bus in the middle of the call.
            fdo::Error::NoReply(_) | fdo::Error::Timeout(_) | fdo::Error::TimedOut(_) => Self::Silent(words),
            _ => Self::Refused(words),
        }
    }
}

/// One unit, watched.
#[derive(Debug)]
pub struct Systemd {
    connection: Connection,
    path: OwnedObjectPath,
    name: String,
    pump: JoinHandle<()>,
    gone: Arc<AtomicBool>,
}

impl Drop for Systemd {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl Systemd {
    /// Connects, and from then on wakes `wake` whenever the unit changes or the connection ends.
    ///
    /// # Errors
    /// [`BusFault`]
    pub async fn watch(bus: &Bus, name: &str, wake: Arc<Notify>) -> Result<Self, BusFault> {
        let connection = connect(bus).await?;
        // systemd sends no signal about units until somebody says that he listens (org.freedesktop.systemd1(5)).
        call(&connection, MANAGER.0, MANAGER.1, "Subscribe", &()).await?;
        let loaded = call(&connection, MANAGER.0, MANAGER.1, "LoadUnit", &(name,)).await?;
        let path: OwnedObjectPath = loaded.body().deserialize()?;
        let changes = changes(&connection, &path).await?;
        let gone = Arc::new(AtomicBool::new(false));
        let pump = tokio::spawn(pump(changes, wake, Arc::clone(&gone)));
        Ok(Self { connection, path, name: name.to_owned(), pump, gone })
    }

    /// The unit as it is now.
    ///
    /// # Errors
    /// [`BusFault`]; the connection should be made anew.
    pub async fn look(&self) -> Result<Unit, BusFault> {
        if self.gone.load(Ordering::Relaxed) {
            return Err(BusFault::NoBus("the connection has ended".to_owned()));
        }
        let load_state = self.text("LoadState").await?;
        let pid = self.property(SERVICE, "MainPID").await;
        Ok(Unit {
            active_state: self.text("ActiveState").await?,
            sub_state: self.text("SubState").await?,
            // A unit that does not exist is no service and has none.
            main_pid: pid.ok().and_then(|value| u32::try_from(value).ok()).filter(|&pid| pid > 0),
            load_state,
        })
    }

    /// Asks for a restart; the answer is that it was queued.
    ///
    /// # Errors
    /// [`BusFault`]
    pub async fn restart(&self) -> Result<(), BusFault> {
        let body = (self.name.as_str(), "replace");
        call(&self.connection, MANAGER.0, MANAGER.1, "RestartUnit", &body).await.map(drop)
    }

    async fn text(&self, name: &str) -> Result<String, BusFault> {
        let value = self.property(UNIT, name).await?;
        String::try_from(value).map_err(|_| BusFault::Silent(format!("{name} is not a text")))
    }

    async fn property(&self, interface: &str, name: &str) -> Result<OwnedVariant, BusFault> {
        let reply = call(&self.connection, &self.path, PROPERTIES, "Get", &(interface, name)).await?;
        Ok(reply.body().deserialize()?)
    }
}

async fn connect(bus: &Bus) -> Result<Connection, BusFault> {
    let builder = match bus {
        #[cfg(test)]
        Bus::Given(connection) => return Ok(connection.clone()),
        // For what zbus itself asks of the bus; each call of ours has its own deadline, which comes first.
        Bus::System => Builder::system().method_timeout(2 * WITHIN),
    };
    match timeout(WITHIN, builder.build()).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(BusFault::NoBus(error.to_string())),
        Err(_) => Err(BusFault::NoBus(format!("no answer within {} s", WITHIN.as_secs()))),
    }
}

async fn changes(connection: &Connection, path: &OwnedObjectPath) -> Result<MessageStream, BusFault> {
    let mut rule =
        MatchRule::builder().msg_type(Type::Signal).interface(PROPERTIES).member("PropertiesChanged").path(path);
    if connection.is_bus() {
        // Only systemd's: anybody may send a signal of that name. It could not do more than make us look.
        rule = rule.sender(SYSTEMD);
    }
    match timeout(WITHIN, MessageStream::for_match_rule(rule.build()?, connection, None)).await {
        Ok(stream) => Ok(stream?),
        Err(_) => Err(BusFault::Silent(format!("no answer to AddMatch within {} s", WITHIN.as_secs()))),
    }
}

/// Takes every signal off the connection as it comes: what is left unread would hold up the answers behind it.
async fn pump(mut changes: MessageStream, wake: Arc<Notify>, gone: Arc<AtomicBool>) {
    loop {
        let next = std::future::poll_fn(|context| Pin::new(&mut changes).poll_next(context)).await;
        if !matches!(next, Some(Ok(_))) {
            gone.store(true, Ordering::Relaxed);
            wake.notify_one();
            return;
        }
        wake.notify_one();
    }
}

async fn call<B: serde::Serialize + DynamicType>(
    connection: &Connection,
    path: &str,
    interface: &str,
    method: &str,
    body: &B,
) -> Result<Message, BusFault> {
    // Between peers there is no bus that knows names.
    let destination = connection.is_bus().then_some(SYSTEMD);
    let call = connection.call_method(destination, path, Some(interface), method, body);
    match timeout(WITHIN, call).await {
        Ok(answered) => Ok(answered?),
        Err(_) => Err(BusFault::Silent(format!("no answer to {method} within {} s", WITHIN.as_secs()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_has_its_word() {
        let words = || "some words".to_owned();
        let named = |error: fdo::Error| zbus::Error::FDO(Box::new(error));
        for (name, error, want) in [
            ("nobody has the name", named(fdo::Error::ServiceUnknown(words())), "no-systemd"),
            ("nobody has it yet", named(fdo::Error::NameHasNoOwner(words())), "no-systemd"),
            ("a stand-in that ends at once", named(fdo::Error::SpawnChildExited(words())), "no-systemd"),
            ("left in the middle of a call", named(fdo::Error::NoReply(words())), "systemd-silent"),
            ("not allowed", named(fdo::Error::AccessDenied(words())), "systemd-refused"),
            ("broken connection", zbus::Error::Address(words()), "systemd-silent"),
        ] {
            let reason = BusFault::from(error).reason();
            assert_eq!(reason.kind, want, "{name}");
            assert!(reason.message.ends_with(": some words"), "{name}: {}", reason.message);
        }
    }
}
