//! systemd over D-Bus, as far as posture asks: what a unit *is* by systemd's own account, which is what was loaded, with every
//! drop-in and whatever a generator made of the kernel's command line, and not what some file says.

use std::collections::BTreeMap;
use std::time::Duration;

use eyewall_core::posture::units::{Unit, Units, keep_command, keep_environment};
use eyewall_core::time::Time;
use tokio::time::timeout;
use zbus::connection::Builder;
use zbus::{Connection, DynamicType, Message, OwnedObjectPath, OwnedVariant, Variant};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// For one call. systemd answers within milliseconds; while it reloads, within seconds.
const WITHIN: Duration = Duration::from_secs(5);
/// systemd's own word for a unit that it has not.
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
/// A node has two hundred or so; its pods are scopes, which are not asked about.
const UNITS_MAX: usize = 2_000;

/// Why a unit is not known.
#[derive(Debug, thiserror::Error)]
pub enum UnitFault {
    /// There is no bus.
    #[error("the system bus cannot be reached: {0}")]
    NoBus(String),
    /// Somebody on the bus does not answer, or says no.
    #[error("no answer on the system bus: {0}")]
    Silent(String),
    /// Nobody of that name is on the bus.
    #[error("nobody on the system bus has that name: {0}")]
    Nobody(String),
    /// The object is not there any more: a unit that was unloaded meanwhile.
    #[error("it is gone: {0}")]
    Gone(String),
    /// More units than any node has.
    #[error("systemd has more than {UNITS_MAX} services and sockets loaded, and half of them would be no evidence")]
    TooMany,
}

impl UnitFault {
    /// The word for machines.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoBus(_) => "no-system-bus",
            Self::Silent(_) => "bus-silent",
            Self::Nobody(_) => "nobody-on-the-bus",
            Self::Gone(_) => "unit-gone",
            Self::TooMany => "too-many-units",
        }
    }
}

impl From<zbus::Error> for UnitFault {
    fn from(error: zbus::Error) -> Self {
        match &error {
            zbus::Error::FDO(named)
                if matches!(**named, zbus::fdo::Error::ServiceUnknown(_) | zbus::fdo::Error::NameHasNoOwner(_)) =>
            {
                Self::Nobody(error.to_string())
            }
            zbus::Error::FDO(named) if matches!(**named, zbus::fdo::Error::UnknownObject(_)) => {
                Self::Gone(error.to_string())
            }
            zbus::Error::MethodError(name, ..) if name.as_str() == NO_SUCH_UNIT => Self::Gone(error.to_string()),
            _ => Self::Silent(error.to_string()),
        }
    }
}

/// A connection to the system bus.
#[derive(Clone, Debug)]
pub struct Bus {
    connection: Connection,
}

/// The properties of one object, by name.
pub type Properties = BTreeMap<String, OwnedVariant>;

impl Bus {
    /// Connects.
    ///
    /// # Errors
    /// [`UnitFault::NoBus`].
    pub async fn connect() -> Result<Self, UnitFault> {
        let build = async { Builder::system().method_timeout(2 * WITHIN).build().await };
        match timeout(WITHIN, build).await {
            Ok(Ok(connection)) => Ok(Self { connection }),
            Ok(Err(error)) => Err(UnitFault::NoBus(error.to_string())),
            Err(_) => Err(UnitFault::NoBus(format!("no answer within {} s", WITHIN.as_secs()))),
        }
    }

    /// The connection, for whoever listens for signals.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Every loaded service and socket.
    ///
    /// # Errors
    /// [`UnitFault`].
    pub async fn units(&self) -> Result<Units, UnitFault> {
        type Row = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);
        let none: &[&str] = &[];
        let reply = self.systemd("ListUnitsByPatterns", &(none, &["*.service", "*.socket"][..])).await?;
        let body = reply.body();
        let rows: Vec<Row> = body.deserialize()?;
        let mut units = Vec::with_capacity(rows.len());
        if rows.len() > UNITS_MAX {
            return Err(UnitFault::TooMany);
        }
        for (name, _, load, active, sub, _, path, ..) in rows {
            match self.properties(SYSTEMD, &path, "").await {
                Ok(properties) => units.push(unit(name, &properties, [load, active, sub])),
                // Unloaded meanwhile. Any other fault makes the list no evidence: a unit that is left out would pass for none.
                Err(UnitFault::Gone(_)) => {}
                Err(fault) => return Err(fault),
            }
        }
        units.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Units { units })
    }

    /// One unit, whether it is loaded or not.
    ///
    /// # Errors
    /// [`UnitFault`].
    pub async fn unit(&self, name: &str) -> Result<Unit, UnitFault> {
        let properties = self.properties_of(name).await?;
        let state = ["LoadState", "ActiveState", "SubState"].map(|state| text_of(&properties, state));
        Ok(unit(name.to_owned(), &properties, state))
    }

    /// All properties of a unit, whether it is loaded or not.
    ///
    /// # Errors
    /// [`UnitFault`].
    pub async fn properties_of(&self, name: &str) -> Result<Properties, UnitFault> {
        let path: OwnedObjectPath = self.systemd("LoadUnit", &(name,)).await?.body().deserialize()?;
        self.properties(SYSTEMD, &path, "").await
    }

    /// All properties of an object; of every interface where `interface` is empty (sd-bus' services understand that).
    ///
    /// # Errors
    /// [`UnitFault`].
    pub async fn properties(&self, who: &str, path: &str, interface: &str) -> Result<Properties, UnitFault> {
        let reply = self.call(who, path, PROPERTIES, "GetAll", &(interface,)).await?;
        let body = reply.body();
        Ok(body.deserialize()?)
    }

    async fn systemd<B: serde::Serialize + DynamicType>(&self, method: &str, body: &B) -> Result<Message, UnitFault> {
        self.call(SYSTEMD, MANAGER_PATH, MANAGER, method, body).await
    }

    /// Calls a method.
    ///
    /// # Errors
    /// [`UnitFault`].
    pub async fn call<B: serde::Serialize + DynamicType>(
        &self,
        who: &str,
        path: &str,
        interface: &str,
        method: &str,
        body: &B,
    ) -> Result<Message, UnitFault> {
        match timeout(WITHIN, self.connection.call_method(Some(who), path, Some(interface), method, body)).await {
            Ok(reply) => Ok(reply?),
            Err(_) => Err(UnitFault::Silent(format!("{who} does not answer {method} within {} s", WITHIN.as_secs()))),
        }
    }
}

fn unit(name: String, properties: &Properties, [load, active, sub]: [String; 3]) -> Unit {
    let microseconds = number_of(properties, "ActiveEnterTimestamp");
    Unit {
        name,
        load,
        active,
        sub,
        file_state: text_of(properties, "UnitFileState"),
        active_since: (microseconds > 0).then(|| Time::from_unix(microseconds / 1_000_000)),
        restarts: u32::try_from(number_of(properties, "NRestarts")).unwrap_or(u32::MAX),
        fragment: text_of(properties, "FragmentPath"),
        drop_ins: texts_of(properties, "DropInPaths"),
        commands: commands(properties),
        environment: texts_of(properties, "Environment").iter().map(|text| keep_environment(text)).collect(),
        listens: listens(properties),
    }
}

/// A property as a text; empty if there is none.
pub fn text_of(properties: &Properties, name: &str) -> String {
    properties.get(name).map(|value| text(value)).unwrap_or_default()
}

fn number_of(properties: &Properties, name: &str) -> u64 {
    match properties.get(name).map(|value| &**value) {
        Some(Variant::U64(number)) => *number,
        Some(Variant::U32(number)) => u64::from(*number),
        _ => 0,
    }
}

/// A property that is a list, as texts.
pub fn texts_of(properties: &Properties, name: &str) -> Vec<String> {
    match properties.get(name).map(|value| &**value) {
        Some(Variant::Array(items)) => items.iter().map(text).collect(),
        _ => Vec::new(),
    }
}

/// `ExecStart` is `a(sasbttttuii)`: path, arguments, "ignore failure", and how it went.
fn commands(properties: &Properties) -> Vec<Vec<String>> {
    let Some(Variant::Array(items)) = properties.get("ExecStart").map(|value| &**value) else { return Vec::new() };
    items
        .iter()
        .filter_map(|item| match item {
            Variant::Structure(fields) => match fields.fields() {
                [_, Variant::Array(arguments), ..] => {
                    Some(keep_command(&arguments.iter().map(text).collect::<Vec<_>>()))
                }
                _ => None,
            },
            _ => None,
        })
        .collect()
}

/// `Listen` of a socket is `a(ss)`: `Stream`, `0.0.0.0:22`.
fn listens(properties: &Properties) -> Vec<String> {
    let Some(Variant::Array(items)) = properties.get("Listen").map(|value| &**value) else { return Vec::new() };
    items
        .iter()
        .filter_map(|item| match item {
            Variant::Structure(fields) => Some(fields.fields().iter().map(text).collect::<Vec<_>>().join(" ")),
            _ => None,
        })
        .collect()
}

/// A simple value as a text; empty for what is none.
pub fn text(value: &Variant<'_>) -> String {
    match value {
        Variant::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Variant::Str(text) => text.to_string(),
        Variant::ObjectPath(path) => path.to_string(),
        Variant::I32(number) => number.to_string(),
        Variant::U32(number) => number.to_string(),
        Variant::I64(number) => number.to_string(),
        Variant::U64(number) => number.to_string(),
        Variant::Variant(inner) => text(inner),
        _ => String::new(),
    }
}

/// When a unit's `ExecReload=` ran last: the fourth field of its `a(sasbttttuii)`, in microseconds.
pub fn reloaded_at(properties: &Properties) -> Option<Time> {
    let Some(Variant::Array(items)) = properties.get("ExecReload").map(|value| &**value) else { return None };
    let started = items.iter().filter_map(|item| match item {
        Variant::Structure(fields) => match fields.fields() {
            [_, _, _, Variant::U64(microseconds), ..] if *microseconds > 0 => Some(*microseconds),
            _ => None,
        },
        _ => None,
    });
    started.max().map(|microseconds| Time::from_unix(microseconds / 1_000_000))
}
