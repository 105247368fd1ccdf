//! The system bus, as far as reboots need it: one call with a deadline, an error that says whose it is, and signals as hints.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use zbus::connection::Builder;
use zbus::export::futures_core::Stream as _;
use zbus::message::{Message, Type};
use zbus::{Connection, DBusError as _, DynamicType, MatchRule, MessageStream, OwnedVariant, fdo};

const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// For one call, and for the connection. Who is there answers within milliseconds; whom the bus starts first, within seconds.
pub const WITHIN: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 10 });

/// Where the system bus is found.
#[derive(Clone, Debug)]
pub enum Bus {
    /// `DBUS_SYSTEM_BUS_ADDRESS`, else the usual socket.
    System,
    /// A private one.
    #[cfg(test)]
    At(String),
}

/// Why a call had no good answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no bus.
    #[error("the system bus cannot be reached: {0}")]
    NoBus(String),
    /// There is a bus, and nobody of that name on it, nor one whom it could start.
    #[error("nobody on the system bus has that name: {0}")]
    Nobody(String),
    /// It does not answer, or left in the middle.
    #[error("no answer on the system bus: {0}")]
    Silent(String),
    /// It answers in other forms than are known.
    #[error("an answer that is not understood: {0}")]
    Malformed(String),
    /// It says no.
    #[error("{words}")]
    Refused {
        /// The error's D-Bus name.
        name: String,
        /// Its message.
        words: String,
    },
}

impl From<zbus::Error> for CallError {
    fn from(error: zbus::Error) -> Self {
        match error {
            zbus::Error::MethodError(name, words, _) => {
                // systemd's words for a unit that the bus was told to start and that is not there, or masked.
                let nobody = ["NoSuchUnit", "UnitMasked", "LoadFailed"];
                let words = words.unwrap_or_default();
                if nobody.iter().any(|kind| name.as_str() == format!("org.freedesktop.systemd1.{kind}")) {
                    return Self::Nobody(words);
                }
                Self::Refused { name: name.as_str().to_owned(), words }
            }
            zbus::Error::FDO(error) => {
                let words = error.description().map_or_else(|| error.to_string(), str::to_owned);
                match *error {
                    fdo::Error::ServiceUnknown(_)
                    | fdo::Error::NameHasNoOwner(_)
                    | fdo::Error::SpawnExecFailed(_)
                    | fdo::Error::SpawnServiceNotFound(_) => Self::Nobody(words),
                    // Debian's activation entries for what systemd starts are /bin/false.
                    fdo::Error::SpawnChildExited(_) => Self::Nobody(words),
                    fdo::Error::NoReply(_)
                    | fdo::Error::Timeout(_)
                    | fdo::Error::TimedOut(_)
                    | fdo::Error::Disconnected(_) => Self::Silent(words),
                    ref named => Self::Refused { name: named.name().as_str().to_owned(), words },
                }
            }
            zbus::Error::InputOutput(error) => Self::Silent(error.to_string()),
            error @ (zbus::Error::IncorrectType | zbus::Error::SignatureMismatch(..) | zbus::Error::InvalidReply) => {
                Self::Malformed(error.to_string())
            }
            error => Self::Silent(error.to_string()),
        }
    }
}

impl Bus {
    /// A connection of its own.
    ///
    /// # Errors
    /// [`CallError::NoBus`]
    pub async fn connect(&self) -> Result<Connection, CallError> {
        let builder = match self {
            Self::System => Builder::system(),
            #[cfg(test)]
            Self::At(address) => Builder::address(address.as_str()),
        };
        // For what zbus itself asks of the bus; each call of ours has its own deadline, which comes first.
        match timeout(WITHIN, builder.method_timeout(2 * WITHIN).build()).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(CallError::NoBus(error.to_string())),
            Err(_) => Err(CallError::NoBus(format!("no answer within {} s", WITHIN.as_secs()))),
        }
    }
}

/// An object of somebody on the bus.
#[derive(Clone, Copy, Debug)]
pub struct Remote<'a> {
    /// His name; none between peers, where there is no bus that knows names.
    pub name: Option<&'a str>,
    /// The object.
    pub path: &'a str,
    /// The interface.
    pub interface: &'a str,
}

impl Remote<'_> {
    /// Calls a method, within [`WITHIN`].
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn call<B: serde::Serialize + DynamicType>(
        &self,
        connection: &Connection,
        method: &str,
        body: &B,
    ) -> Result<Message, CallError> {
        self.call_on(connection, self.interface, method, body).await
    }

    /// Reads a property.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn get<T>(&self, connection: &Connection, property: &str) -> Result<T, CallError>
    where
        T: TryFrom<OwnedVariant>,
    {
        let reply = self.call_on(connection, PROPERTIES, "Get", &(self.interface, property)).await?;
        let value: OwnedVariant = reply.body().deserialize()?;
        T::try_from(value).map_err(|_| CallError::Malformed(format!("{property} has an unknown form")))
    }

    async fn call_on<B: serde::Serialize + DynamicType>(
        &self,
        connection: &Connection,
        interface: &str,
        method: &str,
        body: &B,
    ) -> Result<Message, CallError> {
        match timeout(WITHIN, connection.call_method(self.name, self.path, Some(interface), method, body)).await {
            Ok(answered) => Ok(answered?),
            Err(_) => Err(CallError::Silent(format!("{method} has no answer within {} s", WITHIN.as_secs()))),
        }
    }
}

/// Signals that wake somebody. Dropping it ends it.
#[derive(Debug)]
pub struct Ear {
    pumps: Vec<JoinHandle<()>>,
    ended: Arc<AtomicBool>,
}

impl Drop for Ear {
    fn drop(&mut self) {
        for pump in &self.pumps {
            pump.abort();
        }
    }
}

impl Ear {
    /// Wakes `wake` at each signal that a rule picks and that `counts`, and when the connection ends.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn open(
        connection: &Connection,
        rules: Vec<MatchRule<'static>>,
        wake: &Arc<Notify>,
        counts: impl Fn(&Message) -> bool + Clone + Send + 'static,
    ) -> Result<Self, CallError> {
        let ended = Arc::new(AtomicBool::new(false));
        let mut ear = Self { pumps: Vec::with_capacity(rules.len()), ended: Arc::clone(&ended) };
        for rule in rules {
            let stream = match timeout(WITHIN, MessageStream::for_match_rule(rule, connection, None)).await {
                Ok(stream) => stream?,
                Err(_) => {
                    return Err(CallError::Silent(format!("AddMatch has no answer within {} s", WITHIN.as_secs())));
                }
            };
            ear.pumps.push(tokio::spawn(pump(stream, counts.clone(), Arc::clone(wake), Arc::clone(&ended))));
        }
        Ok(ear)
    }

    /// The connection has ended: nothing is heard any more.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

/// Takes every signal off the connection as it comes: what is left unread would hold up the answers behind it.
async fn pump(mut stream: MessageStream, counts: impl Fn(&Message) -> bool, wake: Arc<Notify>, ended: Arc<AtomicBool>) {
    loop {
        match std::future::poll_fn(|context| Pin::new(&mut stream).poll_next(context)).await {
            Some(Ok(message)) if counts(&message) => wake.notify_one(),
            Some(Ok(_)) => {}
            _ => {
                ended.store(true, Ordering::Relaxed);
                wake.notify_one();
                return;
            }
        }
    }
}

/// A rule for signals of `sender`.
///
/// # Errors
/// A name that is none: a fault of the caller's constants.
pub fn signal_of(
    sender: &'static str,
    interface: &'static str,
    member: &'static str,
) -> Result<MatchRule<'static>, CallError> {
    Ok(MatchRule::builder().msg_type(Type::Signal).sender(sender).interface(interface).member(member).build()?)
}

/// A rule for changes of whoever has `name`.
///
/// # Errors
/// As [`signal_of`].
pub fn owner_of(name: &'static str) -> Result<MatchRule<'static>, CallError> {
    const BUS: &str = "org.freedesktop.DBus";
    let rule = MatchRule::builder().msg_type(Type::Signal).sender(BUS).interface(BUS).member("NameOwnerChanged");
    Ok(rule.arg(0, name).build()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_is_told_apart() {
        let words = || "words".to_owned();
        let named = |error: fdo::Error| CallError::from(zbus::Error::FDO(Box::new(error)));
        let refused = |name: &str| CallError::Refused { name: name.to_owned(), words: words() };
        for (name, error, want) in [
            ("nobody", named(fdo::Error::ServiceUnknown(words())), CallError::Nobody(words())),
            ("nobody yet", named(fdo::Error::NameHasNoOwner(words())), CallError::Nobody(words())),
            ("ends at once", named(fdo::Error::SpawnChildExited(words())), CallError::Nobody(words())),
            ("left", named(fdo::Error::NoReply(words())), CallError::Silent(words())),
            ("denied", named(fdo::Error::AccessDenied(words())), refused("org.freedesktop.DBus.Error.AccessDenied")),
            ("unknown", named(fdo::Error::UnknownMethod(words())), refused("org.freedesktop.DBus.Error.UnknownMethod")),
        ] {
            assert_eq!(error, want, "{name}");
        }
    }
}
