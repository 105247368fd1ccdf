//! Does a time service keep this host's clock? systemd-timedated knows (`NTPSynchronized`, org.freedesktop.timedate1(5)): it asks
//! the kernel, and so answers for timesyncd, chronyd and ntpd alike. Where it does not answer (no bus, an SELinux policy
//! that drops the reply), timesyncd's own mark has to do.

use std::time::{Duration, SystemTime};

use eyewall_core::rotation::clock::{Service, mark_counts};
use tokio::time::timeout;
use zbus::OwnedVariant;
use zbus::connection::Builder;

const TIMEDATE: &str = "org.freedesktop.timedate1";
const PATH: &str = "/org/freedesktop/timedate1";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// For connection and answer together; the bus starts the service for us, which takes some 50 ms.
const WITHIN: Duration = Duration::from_secs(1);
/// systemd-timesyncd touches this whenever it has synchronised the clock (systemd-timesyncd.service(8)).
const MARK: &str = "/run/systemd/timesync/synchronized";

/// What the host's time service says at `now`. It comes to an end within a second, whatever the bus does.
pub async fn ask(now: SystemTime) -> Service {
    match timeout(WITHIN, timedate()).await {
        Ok(Ok(true)) => return Service::Synchronised,
        Ok(Ok(false)) => return Service::NotSynchronised,
        Ok(Err(error)) => tracing::debug!("timedate1 cannot be asked: {error}"),
        Err(_) => tracing::debug!("timedate1 does not answer"),
    }
    let touched = std::fs::metadata(MARK).and_then(|mark| mark.modified());
    match touched {
        Ok(touched) if mark_counts(now, touched) => Service::Synchronised,
        _ => Service::Silent,
    }
}

async fn timedate() -> zbus::Result<bool> {
    // Asked a few times a day at most: a connection is not kept for it.
    let connection = Builder::system().method_timeout(WITHIN).build().await?;
    let reply =
        connection.call_method(Some(TIMEDATE), PATH, Some(PROPERTIES), "Get", &(TIMEDATE, "NTPSynchronized")).await?;
    let value: OwnedVariant = reply.body().deserialize()?;
    bool::try_from(value)
}
