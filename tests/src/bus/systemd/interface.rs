//! The interfaces themselves: what is called, what is answered, what is signalled.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::Result;
use zbus::message::{Header, Message};
use zbus::names::ErrorName;
use zbus::wire::Variant;
use zbus::{Connection, DBusError, ObjectPath, OwnedObjectPath};

use super::{MANAGER, Shared, Unit};

const MANAGER_INTERFACE: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
/// systemd.unit(5)
const SUFFIXES: [&str; 11] = [
    ".service",
    ".socket",
    ".device",
    ".mount",
    ".automount",
    ".swap",
    ".target",
    ".path",
    ".timer",
    ".slice",
    ".scope",
];
/// The job modes that systemctl(1) names, less those of whole transactions.
const MODES: [&str; 5] = ["replace", "fail", "ignore-dependencies", "ignore-requirements", "replace-irreversibly"];

/// An error with systemd's own name and words.
#[derive(Debug)]
pub(super) struct Refusal {
    name: &'static str,
    message: String,
}

impl Refusal {
    fn of_systemd(name: &'static str, message: String) -> Self {
        Self { name, message }
    }

    fn no_such_unit(name: &str, what: &str) -> Self {
        Self::of_systemd("org.freedesktop.systemd1.NoSuchUnit", format!("Unit {name} not {what}."))
    }

    fn invalid(message: String) -> Self {
        Self::of_systemd("org.freedesktop.DBus.Error.InvalidArgs", message)
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

/// `org.freedesktop.systemd1.Manager`
pub(super) struct Manager(pub(super) Arc<Shared>);

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> String {
        self.0.world().version.clone().unwrap_or_else(|| "257.9-1~deb13u1".to_owned())
    }

    async fn subscribe(&self, #[zbus(header)] header: Header<'_>) -> Result<(), Refusal> {
        self.0.called("Subscribe".to_owned()).await;
        let sender = header.sender().map(ToString::to_string).unwrap_or_default();
        if self.0.world().subscribers.insert(sender) {
            return Ok(());
        }
        let message = "Client is already subscribed.".to_owned();
        Err(Refusal::of_systemd("org.freedesktop.systemd1.AlreadySubscribed", message))
    }

    async fn unsubscribe(&self, #[zbus(header)] header: Header<'_>) -> Result<(), Refusal> {
        self.0.called("Unsubscribe".to_owned()).await;
        let sender = header.sender().map(ToString::to_string).unwrap_or_default();
        if self.0.world().subscribers.remove(&sender) {
            return Ok(());
        }
        let message = "Client is not subscribed.".to_owned();
        Err(Refusal::of_systemd("org.freedesktop.systemd1.NotSubscribed", message))
    }

    /// Only what is in memory.
    async fn get_unit(&self, name: &str) -> Result<OwnedObjectPath, Refusal> {
        self.0.called(format!("GetUnit {name}")).await;
        checked(name)?;
        match self.0.unit(name) {
            Some(_) => Ok(path(name)),
            None => Err(Refusal::no_such_unit(name, "loaded")),
        }
    }

    /// Also what has no file: its LoadState is then `not-found`.
    async fn load_unit(
        &self,
        name: &str,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, Refusal> {
        self.0.called(format!("LoadUnit {name}")).await;
        checked(name)?;
        if self.0.unit(name).is_none() {
            self.0.world().units.insert(name.to_owned(), Unit::not_found());
            serve(&self.0, connection, name).await.map_err(|error| Refusal::invalid(error.to_string()))?;
        }
        Ok(path(name))
    }

    async fn start_unit(
        &self,
        name: &str,
        mode: &str,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, Refusal> {
        self.0.called(format!("StartUnit {name} {mode}")).await;
        let unit = self.startable(name, mode)?;
        let steps = match unit.active {
            "active" => Vec::new(),
            _ => vec![starting(), Unit::running(self.0.next_pid())],
        };
        Ok(self.job(connection, name, steps))
    }

    async fn stop_unit(
        &self,
        name: &str,
        mode: &str,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, Refusal> {
        self.0.called(format!("StopUnit {name} {mode}")).await;
        checked(name)?;
        checked_mode(mode)?;
        let unit = self.0.unit(name).ok_or_else(|| Refusal::no_such_unit(name, "loaded"))?;
        let steps = match unit.active {
            "active" => vec![stopping(&unit), Unit { load: unit.load, ..Unit::stopped() }],
            _ => vec![Unit { load: unit.load, ..Unit::stopped() }],
        };
        Ok(self.job(connection, name, steps))
    }

    /// Starts what does not run.
    async fn restart_unit(
        &self,
        name: &str,
        mode: &str,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, Refusal> {
        self.0.called(format!("RestartUnit {name} {mode}")).await;
        let unit = self.startable(name, mode)?;
        let restarted = self.0.world().on_restart.as_ref().map(|restarted| (restarted.0)(name));
        let restarted = restarted.unwrap_or_else(|| Unit::running(self.0.next_pid()));
        let mut steps = vec![starting(), restarted];
        if unit.active == "active" {
            steps.splice(0..0, [stopping(&unit), Unit::stopped()]);
        }
        Ok(self.job(connection, name, steps))
    }
}

impl Manager {
    fn startable(&self, name: &str, mode: &str) -> Result<Unit, Refusal> {
        checked(name)?;
        checked_mode(mode)?;
        match self.0.unit(name) {
            None => Err(Refusal::no_such_unit(name, "found")),
            Some(unit) if unit.load == "not-found" => Err(Refusal::no_such_unit(name, "found")),
            Some(unit) if unit.load == "masked" => {
                Err(Refusal::of_systemd("org.freedesktop.systemd1.UnitMasked", format!("Unit {name} is masked.")))
            }
            Some(unit) => Ok(unit),
        }
    }

    /// The answer to a call is that its job is queued; the job is done after it.
    fn job(&self, connection: &Connection, name: &str, steps: Vec<Unit>) -> OwnedObjectPath {
        let number = {
            let mut world = self.0.world();
            world.jobs += 1;
            world.jobs
        };
        let job = made(format!("{MANAGER}/job/{number}"));
        let (shared, connection, name) = (Arc::clone(&self.0), connection.clone(), name.to_owned());
        let removed = (number, job.clone(), name.clone(), "done");
        tokio::spawn(async move {
            for step in steps {
                // Who listens has left, or the bus has: then there is nobody to tell.
                let _ = shared.become_now(&connection, &name, step).await;
            }
            let _ = connection.emit_signal(None::<&str>, MANAGER, MANAGER_INTERFACE, "JobRemoved", &removed).await;
        });
        job
    }
}

fn starting() -> Unit {
    Unit { sub: "start", ..Unit::between_restarts() }
}

fn stopping(unit: &Unit) -> Unit {
    Unit { active: "deactivating", sub: "stop-sigterm", ..unit.clone() }
}

fn checked(name: &str) -> Result<(), Refusal> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
    let is_name = SUFFIXES.iter().any(|suffix| name.len() > suffix.len() && name.ends_with(suffix));
    if is_name && name.bytes().all(plain) {
        return Ok(());
    }
    Err(Refusal::invalid(format!("Unit name {name} is not valid.")))
}

fn checked_mode(mode: &str) -> Result<(), Refusal> {
    if MODES.contains(&mode) {
        return Ok(());
    }
    Err(Refusal::invalid(format!("Job mode {mode} invalid")))
}

/// `org.freedesktop.systemd1.Unit` of one unit.
struct UnitInterface(Arc<Shared>, String);

/// `org.freedesktop.systemd1.Service` of one unit.
struct ServiceInterface(Arc<Shared>, String);

/// A property that was asked for over the bus.
async fn asked(shared: &Shared, name: &str, property: &str, header: Option<Header<'_>>) -> Unit {
    if header.is_some() {
        shared.called(format!("Get {name} {property}")).await;
    }
    shared.unit(name).unwrap_or(Unit::not_found())
}

#[zbus::interface(name = "org.freedesktop.systemd1.Unit")]
impl UnitInterface {
    #[zbus(property)]
    fn id(&self) -> String {
        self.1.clone()
    }

    #[zbus(property)]
    async fn load_state(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        asked(&self.0, &self.1, "LoadState", header).await.load.to_owned()
    }

    #[zbus(property)]
    async fn active_state(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        asked(&self.0, &self.1, "ActiveState", header).await.active.to_owned()
    }

    #[zbus(property)]
    async fn sub_state(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        asked(&self.0, &self.1, "SubState", header).await.sub.to_owned()
    }
}

#[zbus::interface(name = "org.freedesktop.systemd1.Service")]
impl ServiceInterface {
    #[zbus(property, name = "MainPID")]
    async fn main_pid(&self, #[zbus(header)] header: Option<Header<'_>>) -> u32 {
        asked(&self.0, &self.1, "MainPID", header).await.main_pid
    }
}

/// Puts the unit's object on the bus.
pub(super) async fn serve(shared: &Arc<Shared>, connection: &Connection, name: &str) -> Result<()> {
    let server = connection.object_server();
    server.at(path(name), UnitInterface(Arc::clone(shared), name.to_owned())).await?;
    if name.ends_with(".service") {
        server.at(path(name), ServiceInterface(Arc::clone(shared), name.to_owned())).await?;
    }
    Ok(())
}

/// `PropertiesChanged`, of the kind first and of the unit then, as systemd sends them.
pub(super) async fn tell(connection: &Connection, name: &str, unit: &Unit) -> Result<()> {
    let states = [("ActiveState", Variant::from(unit.active)), ("SubState", Variant::from(unit.sub))];
    let process = [("MainPID", Variant::from(unit.main_pid))];
    for (interface, changed) in [(SERVICE, HashMap::from(process)), (UNIT, HashMap::from(states))] {
        if interface == SERVICE && !name.ends_with(".service") {
            continue;
        }
        let body = (interface, changed, Vec::<&str>::new());
        let properties = "org.freedesktop.DBus.Properties";
        connection.emit_signal(None::<&str>, path(name), properties, "PropertiesChanged", &body).await?;
    }
    Ok(())
}

/// sd_bus_path_encode(3): whatever is no letter and no digit (nor a digit in the first place) is `_` and two hex digits.
fn path(name: &str) -> OwnedObjectPath {
    let mut escaped = String::new();
    for (index, byte) in name.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || index > 0 && byte.is_ascii_digit() {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(escaped, "_{byte:02x}");
        }
    }
    made(format!("{MANAGER}/unit/{escaped}"))
}

/// Only of letters, digits, `_` and `/`.
fn made(path: String) -> OwnedObjectPath {
    ObjectPath::from_string_unchecked(path).into()
}
