//! The interfaces on the bus.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::Result;
use tokio::task::JoinHandle;
use zbus::export::futures_core::Stream as _;
use zbus::message::{Header, Message, Type};
use zbus::names::ErrorName;
use zbus::{Connection, DBusError, MatchRule, MessageStream, OwnedObjectPath, OwnedVariant, Variant};

use super::transaction::{self, What};
use super::{OS, Shared};

/// An error as rpm-ostreed gives it before there is a transaction.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) String);

impl DBusError for Refusal {
    fn create_reply(&self, call: &Header<'_>) -> zbus::Result<Message> {
        Message::error(call, self.name()).build(&self.0)
    }

    fn name(&self) -> ErrorName<'_> {
        ErrorName::from_static_str_unchecked("org.projectatomic.rpmostreed.Error.Failed")
    }

    fn description(&self) -> Option<&str> {
        Some(&self.0)
    }
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        Self(format!("{error:#}"))
    }
}

type Options = HashMap<String, OwnedVariant>;

fn text(options: &Options, name: &str) -> Option<String> {
    match options.get(name).map(|value| &**value) {
        Some(Variant::Str(text)) => Some(text.to_string()),
        _ => None,
    }
}

fn flag(options: &Options, name: &str) -> bool {
    matches!(options.get(name).map(|value| &**value), Some(Variant::Bool(true)))
}

/// `org.projectatomic.rpmostree1.Sysroot`
pub(super) struct Sysroot(pub(super) Arc<Shared>);

#[zbus::interface(name = "org.projectatomic.rpmostree1.Sysroot")]
impl Sysroot {
    async fn register_client(&self, options: Options, #[zbus(header)] header: Header<'_>) {
        self.0.called(&format!("RegisterClient {}", text(&options, "id").unwrap_or_default()));
        let sender = header.sender().map(ToString::to_string).unwrap_or_default();
        self.0.world().clients.insert(sender);
    }

    async fn unregister_client(&self, _options: Options, #[zbus(header)] header: Header<'_>) {
        self.0.called("UnregisterClient");
        let sender = header.sender().map(ToString::to_string).unwrap_or_default();
        self.0.world().clients.remove(&sender);
    }

    fn reload(&self) {
        self.0.called("Reload");
    }

    #[zbus(name = "GetOS")]
    fn get_os(&self, _name: &str) -> Result<OwnedObjectPath, Refusal> {
        os()
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn booted(&self) -> zbus::fdo::Result<OwnedObjectPath> {
        os().map_err(|error| zbus::fdo::Error::Failed(error.0))
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn path(&self) -> String {
        "/".to_owned()
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn deployments(&self, #[zbus(header)] header: Option<Header<'_>>) -> Vec<HashMap<String, OwnedVariant>> {
        if header.is_some() {
            self.0.called("Deployments");
        }
        let mut rows = Vec::new();
        for (index, deployment) in self.0.world().state.deployments.iter().enumerate() {
            let texts = [
                ("id", format!("{}-{}.{index}", deployment.osname, deployment.checksum)),
                ("osname", deployment.osname.clone()),
                ("checksum", deployment.checksum.clone()),
                ("version", deployment.version.clone()),
            ];
            // `finalization-locked` is only there where it is so.
            let flags = [("booted", deployment.booted), ("staged", deployment.staged)];
            let lock = deployment.locked.then_some(("finalization-locked", true));
            let texts = texts.into_iter().map(|(name, text)| (name, Variant::from(text)));
            let flags = flags.into_iter().chain(lock).map(|(name, is)| (name, Variant::from(is)));
            let fields = texts
                .chain(flags)
                .filter_map(|(name, value)| OwnedVariant::try_from(value).ok().map(|value| (name.to_owned(), value)));
            rows.push(fields.collect());
        }
        rows
    }
}

fn os() -> Result<OwnedObjectPath, Refusal> {
    OwnedObjectPath::try_from(OS).map_err(|error| Refusal(error.to_string()))
}

/// `org.projectatomic.rpmostree1.OS`
pub(super) struct Os(pub(super) Arc<Shared>);

#[zbus::interface(name = "org.projectatomic.rpmostree1.OS")]
impl Os {
    async fn finalize_deployment(
        &self,
        options: Options,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<String, Refusal> {
        self.0.called("FinalizeDeployment");
        let what = What::Finalize {
            checksum: text(&options, "checksum"),
            allow_missing_checksum: flag(&options, "allow-missing-checksum"),
            allow_unlocked: flag(&options, "allow-unlocked"),
        };
        transaction::open(&self.0, connection, what).await
    }

    async fn rollback(&self, options: Options, #[zbus(connection)] connection: &Connection) -> Result<String, Refusal> {
        self.0.called("Rollback");
        transaction::open(&self.0, connection, What::Rollback { reboot: flag(&options, "reboot") }).await
    }

    async fn cleanup(
        &self,
        elements: Vec<String>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<String, Refusal> {
        self.0.called(&format!("Cleanup {}", elements.join(" ")));
        transaction::open(&self.0, connection, What::Cleanup(elements)).await
    }
}

/// What a scenario does with it, over the bus: `busctl call org.projectatomic.rpmostree1 /org/projectatomic/rpmostree1/Sysroot
/// io.eyewall.Standin Stage sb 44.2 true`.
pub(super) struct Test(pub(super) Arc<Shared>);

#[zbus::interface(name = "io.eyewall.Standin")]
impl Test {
    fn stage(&self, version: &str, locked: bool) -> Result<(), Refusal> {
        self.0.world().state.stage(version, locked);
        Ok(self.0.write()?)
    }

    fn unlock(&self) -> Result<(), Refusal> {
        self.0.world().state.unlock();
        Ok(self.0.write()?)
    }

    /// An orderly shutdown is under way: what is staged and unlocked is written.
    fn finalize(&self) -> Result<(), Refusal> {
        self.0.world().state.finalize();
        Ok(self.0.write()?)
    }
}

/// Clients whose connection ends are no clients any more.
pub(super) async fn forget_leavers(connection: &Connection, shared: &Arc<Shared>) -> Result<JoinHandle<()>> {
    let rule = MatchRule::builder()
        .msg_type(Type::Signal)
        .sender("org.freedesktop.DBus")
        .interface("org.freedesktop.DBus")
        .member("NameOwnerChanged")
        .build()?;
    let mut changes = MessageStream::for_match_rule(rule, connection, None).await?;
    let shared = Arc::clone(shared);
    Ok(tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|context| Pin::new(&mut changes).poll_next(context)).await {
            if let Ok((name, _, owner)) = message.body().deserialize::<(String, String, String)>()
                && owner.is_empty()
            {
                shared.world().clients.remove(&name);
            }
        }
    }))
}
