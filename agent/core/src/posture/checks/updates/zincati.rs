//! Fedora CoreOS: Zincati, which looks for updates, has them staged, and reboots.

use std::time::Duration;

use super::{BASE, ELSEWHERE, INHIBITORS, declared_elsewhere, held, is, other_os, our_lock, update_unit};
use crate::os::FCOS;
use crate::posture::checks::span::{limit, since};
use crate::posture::read::zincati::{DIRECTORIES, Metrics, Settings, merge, without_credentials};
use crate::posture::units::UNITS;
use crate::posture::{Accepts, Check, Grade, Judged, Seen, Severity, Source, Unseen, Worth, needs};
use crate::time::{Time, human};

/// The names of Zincati's fragments, one listing for each of its directories.
pub const LISTINGS: [Source; 3] = [
    Source::listing("list:/usr/lib/zincati/config.d"),
    Source::listing("list:/run/zincati/config.d"),
    Source::listing("list:/etc/zincati/config.d"),
];
/// The fragments.
pub const FRAGMENTS: [Source; 3] = [
    Source::rewritten("file:/usr/lib/zincati/config.d/*", without_credentials),
    Source::rewritten("file:/run/zincati/config.d/*", without_credentials),
    Source::rewritten("file:/etc/zincati/config.d/*", without_credentials),
];
/// [`Metrics`], read from `/run/zincati/public/metrics.promsock`.
pub const METRICS: Source = Source::record("probe:zincati-metrics");

/// Zincati looks every five minutes.
const LAST_LOOK: Duration = Duration::from_secs(6 * 3_600);

/// The family's part about Zincati.
pub const CHECKS: &[Check] = &[
    Check {
        id: "zincati-runs",
        title: "The update agent of Fedora CoreOS runs, and starts at boot",
        severity: Severity::High,
        reads: &[needs(&UNITS)],
        judge: |seen| if is(seen, &FCOS) { update_unit(seen, "zincati.service") } else { Ok(other_os(seen)) },
        worth: Worth::Proves("systemd runs zincati.service and starts it at boot."),
        not: "That it finds, stages or boots anything: the other checks of this claim say that.",
        ..BASE
    },
    Check {
        id: "zincati-updates-enabled",
        title: "Zincati's configuration enables updates, and the running Zincati has taken it over",
        severity: Severity::High,
        reads: &[
            needs(&LISTINGS[0]),
            needs(&LISTINGS[1]).or_absent().or_empty(),
            needs(&LISTINGS[2]).or_absent().or_empty(),
            needs(&FRAGMENTS[0]).or_none(),
            needs(&FRAGMENTS[1]).or_none().or_empty(),
            needs(&FRAGMENTS[2]).or_none().or_empty(),
            needs(&METRICS),
        ],
        judge: enabled,
        worth: Worth::Proves(
            "The merged fragments do not turn updates off, and the running process says that its update logic is on.",
        ),
        not: "That the server answers: see zincati-looks-for-updates.",
        ..BASE
    },
    Check {
        id: "zincati-looks-for-updates",
        title: "Zincati looks for updates, and is answered",
        reads: &[needs(&METRICS)],
        judge: looks,
        worth: Worth::Proves("Zincati took a turn lately, and most of its questions were answered."),
        not: "That a new release exists, or will be staged.",
        expects: Accepts::Span("how long ago Zincati's last turn may be"),
        ..BASE
    },
    Check {
        id: "fcos-reboots-coordinated",
        title: "This host does not reboot into an update while others do",
        reads: &[
            needs(&INHIBITORS),
            needs(&LISTINGS[0]),
            needs(&LISTINGS[1]).or_absent().or_empty(),
            needs(&LISTINGS[2]).or_absent().or_empty(),
            needs(&FRAGMENTS[0]).or_none(),
            needs(&FRAGMENTS[1]).or_none().or_empty(),
            needs(&FRAGMENTS[2]).or_none().or_empty(),
        ],
        judge: coordinated,
        worth: Worth::Proves("Eyewall's lock or a FleetLock server stands before every reboot that Zincati makes."),
        not: "That root does not reboot by hand: before systemd 257 a block lock does not bind root's systemctl.",
        expects: ELSEWHERE,
        ..BASE
    },
];

/// The merged fragments. Each file that a listing names must have been read.
fn settings(seen: &Seen<'_>) -> Result<Settings, Unseen> {
    let mut files: Vec<(String, &str)> = Vec::new();
    for ((listing, fragments), directory) in LISTINGS.iter().zip(&FRAGMENTS).zip(DIRECTORIES) {
        for entry in seen.if_there(seen.listing(listing))?.unwrap_or_default() {
            if entry.name.ends_with(".toml") && !entry.name.starts_with('.') {
                files.push((format!("{directory}/{}", entry.name), seen.member(fragments, &entry.name)?.text()?));
            }
        }
    }
    merge(files.iter().map(|(path, text)| (path.as_str(), *text))).map_err(|fault| Unseen::Malformed {
        source_id: "file:/etc/zincati/config.d/*".to_owned(),
        why: format!("{} Zincati does not start with that.", fault.sentence()),
    })
}

fn enabled(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    if !is(seen, &FCOS) {
        return Ok(other_os(seen));
    }
    let (settings, metrics) = (settings(seen), seen.record::<Metrics>(&METRICS));
    if let Ok(Some(off)) = settings.as_ref().map(|settings| settings.enabled.as_ref().filter(|set| !set.value)) {
        let sentence = format!(
            "{} says updates.enabled = false: this host is not updated. Remove it, and restart zincati.",
            off.file
        );
        return Ok(Judged::fail("disabled-by-configuration", sentence).fact("file", &off.file));
    }
    if let Ok(Metrics { updates_enabled: false, .. }) = metrics {
        return Ok(Judged::fail(
            "disabled",
            "The running Zincati says that its update logic is off. Its files may have been changed since: restart zincati.",
        ));
    }
    let (settings, _) = (settings?, metrics?);
    if settings.files == 0 {
        return Err(seen.one(&LISTINGS[0])?.malformed("It has no fragment, and Fedora CoreOS ships some."));
    }
    let strategy = settings.strategy.map_or_else(|| "immediate".to_owned(), |set| set.value);
    let judged =
        Judged::pass(Grade::ProvedByBehaviour, "enabled", "Updates are enabled, and the running Zincati says so too.");
    Ok(judged.fact("strategy", strategy).fact("fragments", settings.files.to_string()))
}

fn looks(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    if !is(seen, &FCOS) {
        return Ok(other_os(seen));
    }
    let metrics: Metrics = seen.record(&METRICS)?;
    let at = Time::from_unix(metrics.last_refresh);
    let limit = limit(seen, LAST_LOOK);
    let judged = match since(seen.now(), at) {
        _ if metrics.last_refresh == 0 => {
            Judged::unknown("not-yet", "Zincati has not taken a turn since it started: look again in a few minutes.")
        }
        None => Judged::unknown(
            "in-the-future",
            format!("Zincati's last turn was at {at}, which is yet to come: see the clock of this host."),
        ),
        Some(age) if age > limit => Judged::fail(
            "stale",
            format!(
                "Zincati's last turn was {} ago: it hangs, or is told to wait. See `journalctl -u zincati`.",
                human(age)
            ),
        ),
        Some(_) if metrics.checks > 0 && metrics.check_errors.saturating_mul(2) > metrics.checks => Judged::fail(
            "checks-fail",
            format!(
                "{} of {} questions for an update failed: see `journalctl -u zincati`, and whether this host reaches its update server.",
                metrics.check_errors, metrics.checks
            ),
        ),
        Some(_) if metrics.checks == 0 => {
            Judged::unknown("not-yet", "Zincati has not asked for an update since it started: look again in an hour.")
        }
        Some(age) => Judged::pass(
            Grade::ProvedByBehaviour,
            "looks",
            format!("Zincati's last turn was {} ago, and its questions are answered.", human(age)),
        ),
    };
    let counts = format!("{} of {} failed", metrics.check_errors, metrics.checks);
    Ok(judged
        .fact("last-turn", at.to_string())
        .fact("questions", counts)
        .fact("failed-stagings", metrics.deploy_failures.to_string()))
}

fn coordinated(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    if !is(seen, &FCOS) {
        return Ok(other_os(seen));
    }
    let (lock, settings) = (our_lock(seen)?, settings(seen)?);
    let strategy = settings.strategy.as_ref().map_or("immediate", |set| set.value.as_str());
    let judged = if let Some(lock) = &lock {
        held(lock)
    } else if let Some(judged) = declared_elsewhere(seen) {
        judged
    } else {
        match (strategy, &settings.fleet_lock) {
            ("fleet_lock", Some(server)) => Judged::pass(
                Grade::Configured,
                "fleet-lock",
                format!("Zincati asks the FleetLock server at {} before it reboots.", server.value),
            ),
            ("fleet_lock", None) => Judged::fail(
                "fleet-lock-without-server",
                "Zincati's strategy is fleet_lock, but no updates.fleet_lock.base_url is set: it never reboots.",
            ),
            ("immediate" | "periodic", _) => Judged::fail(
                "uncoordinated",
                format!(
                    "Zincati's strategy is {strategy} and nothing holds it back: several nodes may reboot at once, undrained. Set [reboot] coordinate = true."
                ),
            ),
            _ => Judged::unknown(
                "unknown-strategy",
                format!("Zincati's strategy {strategy:?} is not known to this version of eyewall."),
            ),
        }
    };
    let from = settings.strategy.as_ref().map_or("Zincati's default", |set| set.file.as_str());
    Ok(judged.fact("strategy", strategy).fact("from", from))
}
