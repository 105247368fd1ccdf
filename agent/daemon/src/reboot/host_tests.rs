//! The host's side against stand-ins for logind, rpm-ostreed and update_engine on a real private bus.

mod fcos;
mod flatcar;
mod logind;

use std::sync::Arc;
use std::time::Duration;

use eyewall_core::os::Os;
use eyewall_core::reboot::{Cause, Pending, Release};
use eyewall_core::status::Reason;
use tempfile::TempDir;
use tests::bus::Bus as TestBus;
use tests::bus::logind::{Kind, Logind as LogindStandin};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::backend::Host;
use super::bus::Bus;
use super::generic::Places;
use super::logind::Logind;

/// A private bus with logind on it, and our connection to that.
struct Bench {
    standin: LogindStandin,
    logind: Logind,
    wake: Arc<Notify>,
    root: TempDir,
    bus: TestBus,
}

impl Bench {
    async fn start(kind: Kind) -> Self {
        let bus = TestBus::start().await.expect("a bus");
        let standin = LogindStandin::start(&bus, kind).await.expect("logind");
        let wake = Arc::new(Notify::new());
        let logind = Logind::connect(&Bus::At(bus.address()), &wake).await.expect("connected");
        Self { standin, logind, wake, root: tempfile::tempdir().expect("a directory"), bus }
    }

    fn at(&self) -> Bus {
        Bus::At(self.bus.address())
    }

    fn host(&self, os: &Os) -> Host {
        Host::new(os, self.at(), Places::at(self.root.path()))
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        std::fs::write(path, text).expect("written");
    }

    /// Somebody else keeps the host up, for as long as what is returned lives.
    async fn blocked_by(&self, who: &str, why: &str, mode: &str) -> (zbus::Connection, zbus::OwnedFd) {
        let other = self.bus.connect().await.expect("connected");
        let body = ("shutdown", who, why, mode);
        let manager = ("/org/freedesktop/login1", "org.freedesktop.login1.Manager");
        let call = other.call_method(Some("org.freedesktop.login1"), manager.0, Some(manager.1), "Inhibit", &body);
        let fd = call.await.expect("taken").body().deserialize().expect("a descriptor");
        (other, fd)
    }

    async fn is_woken(&self) -> bool {
        timeout(Duration::from_secs(5), self.wake.notified()).await.is_ok()
    }
}

/// Waits until it is so.
async fn until(what: &str, is: impl Fn() -> bool) {
    for _ in 0..500 {
        if is() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

fn kind<T>(answer: Result<T, Reason>) -> String {
    match answer {
        Ok(_) => "good".to_owned(),
        Err(reason) => reason.kind,
    }
}

/// What is wanted, in short: `update 44.2`, `required a b`, `none`, or the kind of what is in the way.
fn wanted(answer: Result<Option<Pending>, Reason>) -> String {
    match answer.map(|pending| pending.map(|pending| pending.cause)) {
        Ok(None) => "none".to_owned(),
        Ok(Some(Cause::Update(release))) => format!("update {}", release.version),
        Ok(Some(Cause::Required(packages))) => format!("required {}", packages.join(" ")),
        Ok(Some(Cause::Request)) => "request".to_owned(),
        Err(reason) => reason.kind,
    }
}

fn update(version: &str) -> Cause {
    Cause::Update(Release { version: version.to_owned(), checksum: None })
}
