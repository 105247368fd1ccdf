//! The metrics as a file for node_exporter's textfile collector, if `[metrics] textfile` names one.
//!
//! Written whenever the page changes and once a minute, since ages and times that are left grow by themselves. The collector reads
//! at any moment: a new file takes the old one's place, and no half of one is ever seen.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use eyewall_core::config::Config;
use eyewall_core::event;
use eyewall_core::metrics::{self, Format};
use eyewall_core::status::{Reason, Status};
use eyewall_core::time::Time;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::events::Events;
use crate::store::files::{Kind, StoreFault};

/// How old it may become.
const EVERY: Duration = Duration::from_secs(60);
/// Changes that come together are written together.
const GATHER: Duration = Duration::from_millis(500);

/// What the task is given.
#[derive(Debug)]
pub struct Deps {
    /// Names the file.
    pub config: watch::Receiver<Arc<Config>>,
    /// What is told in it.
    pub status: watch::Receiver<Arc<Status>>,
    /// Where its story goes.
    pub events: Events,
    /// The clock.
    pub clock: fn() -> SystemTime,
}

/// Writes for ever, or waits until there is something to write to.
pub async fn run(mut deps: Deps) {
    let mut told: Option<Reason> = None;
    let mut last: Option<PathBuf> = None;
    loop {
        let path = deps.config.borrow_and_update().metrics.textfile.clone();
        if let Some(old) = last.take().filter(|old| path.as_ref() != Some(old)) {
            // Left behind it would be read for ever, and say that all is as it was.
            if let Err(error) = std::fs::remove_file(&old) {
                tracing::warn!("{} is no longer written and could not be removed: {error}", old.display());
            }
        }
        let Some(path) = path else {
            told = None;
            if deps.config.changed().await.is_err() {
                return;
            }
            continue;
        };
        let page = metrics::render(&deps.status.borrow_and_update().clone(), Time((deps.clock)()), Format::Text);
        let failed = write(&path, &page).err().map(|error| StoreFault::new(Kind::Write, &path, error).reason());
        tell(&deps.events, &path, failed.as_ref(), &mut told);
        last = failed.is_none().then_some(path);
        let until = Instant::now() + EVERY;
        tokio::select! {
            () = sleep_until(until) => {}
            Ok(()) = deps.config.changed() => deps.config.mark_changed(),
            Ok(()) = deps.status.changed() => {
                let _ = timeout(GATHER, deps.config.changed()).await;
            }
            else => return,
        }
    }
}

/// One event when it begins to fail or fails otherwise, and one when it is written again.
fn tell(events: &Events, path: &Path, failed: Option<&Reason>, told: &mut Option<Reason>) {
    if failed.map(|reason| &reason.kind) == told.as_ref().map(|reason| &reason.kind) {
        return;
    }
    let file = path.display().to_string();
    match failed {
        Some(reason) => events.emit(
            &event::METRICS_NOT_WRITTEN,
            reason.message.clone(),
            &[("file", file.as_str()), ("kind", reason.kind.as_str())],
        ),
        None => events.emit(
            &event::METRICS_WRITTEN,
            format!("The metrics are written to {file} again"),
            &[("file", file.as_str())],
        ),
    }
    *told = failed.cloned();
}

/// Not synced: after a power cut the file is old or empty until the agent is up again, and nothing is lost by that, while a sync a
/// minute is a cost to every disk.
fn write(path: &Path, page: &str) -> io::Result<()> {
    // Another ending than `.prom`: the collector reads it not.
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = (|| {
        let mut file = File::create_new(&temporary)?;
        file.write_all(page.as_bytes())?;
        // The collector is another user, and the unit's umask is 0077.
        file.set_permissions(Permissions::from_mode(0o644))?;
        drop(file);
        std::fs::rename(&temporary, path)
    })();
    written.inspect_err(|_| {
        // The write's own error is the one to tell.
        let _ = std::fs::remove_file(&temporary);
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::socket::example;

    struct Scene {
        root: tempfile::TempDir,
        config: watch::Sender<Arc<Config>>,
        status: watch::Sender<Arc<Status>>,
        events: Events,
    }

    impl Scene {
        fn start() -> Self {
            let (config, configured) = watch::channel(Arc::new(Config::default()));
            let (status, published) = watch::channel(Arc::new(example::status()));
            let events = Events::new();
            let clock = || Time::from_unix(1_795_486_508).0;
            tokio::spawn(run(Deps { config: configured, status: published, events: events.clone(), clock }));
            Self { root: tempfile::tempdir().unwrap(), config, status, events }
        }

        fn path(&self, below: &str) -> PathBuf {
            self.root.path().join(below)
        }

        async fn write_to(&self, below: Option<&str>) {
            let mut config = Config::default();
            config.metrics.textfile = below.map(|below| self.path(below));
            self.config.send_replace(Arc::new(config));
            self.settle().await;
        }

        async fn settle(&self) {
            tokio::time::sleep(2 * GATHER).await;
        }

        fn told(&self) -> Vec<(String, Option<String>)> {
            let all = self.events.recent();
            all.iter().map(|record| (record.event.clone(), record.fields.get("kind").cloned())).collect()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_whole_readable_and_fresh() {
        let scene = Scene::start();
        scene.settle().await;
        assert_eq!(std::fs::read_dir(scene.root.path()).unwrap().count(), 0, "not asked for");
        scene.write_to(Some("eyewall.prom")).await;
        let path = scene.path("eyewall.prom");
        let meta = std::fs::metadata(&path).unwrap();
        assert_eq!(meta.mode() & 0o7777, 0o644);
        let page = std::fs::read_to_string(&path).unwrap();
        assert!(page.contains("\neyewall_certificates_installed_total 1\n"), "{page}");
        let mut status = example::status();
        status.certificates.installed_total = 2;
        scene.status.send_replace(Arc::new(status));
        scene.settle().await;
        let changed = std::fs::metadata(&path).unwrap();
        assert_ne!(changed.ino(), meta.ino(), "another file in its place");
        assert!(std::fs::read_to_string(&path).unwrap().contains("\neyewall_certificates_installed_total 2\n"));
        tokio::time::sleep(EVERY).await;
        assert_ne!(std::fs::metadata(&path).unwrap().ino(), changed.ino(), "once a minute without a change");
        assert_eq!(std::fs::read_dir(scene.root.path()).unwrap().count(), 1, "nothing beside it");
        scene.write_to(Some("other.prom")).await;
        assert!(!path.exists() && scene.path("other.prom").exists(), "it moved");
        scene.write_to(None).await;
        assert_eq!(std::fs::read_dir(scene.root.path()).unwrap().count(), 0, "and went");
        assert_eq!(scene.told(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_told_once_and_its_end_as_well() {
        let scene = Scene::start();
        scene.write_to(Some("collector/eyewall.prom")).await;
        tokio::time::sleep(5 * EVERY).await;
        let failed = ("metrics-not-written".to_owned(), Some("disk-error".to_owned()));
        assert_eq!(scene.told(), std::slice::from_ref(&failed), "once, not each minute");
        std::fs::create_dir(scene.path("collector")).unwrap();
        tokio::time::sleep(2 * EVERY).await;
        assert!(scene.path("collector/eyewall.prom").exists());
        assert_eq!(scene.told(), [failed, ("metrics-written".to_owned(), None)]);
    }
}
