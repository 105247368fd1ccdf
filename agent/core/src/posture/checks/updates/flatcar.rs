//! Flatcar: update_engine finds and writes the other half of the disk. Typhoon masks locksmithd, which would reboot, and puts nothing in its place.

use std::time::Duration;

use super::{BASE, ELSEWHERE, INHIBITORS, declared_elsewhere, held, is, other_os, our_lock, update_unit};
use crate::os::{FLATCAR, parse_release};
use crate::posture::boot;
use crate::posture::checks::span::{HOUR, limit, since};
use crate::posture::read::update_engine::{EngineStatus, UpdateConf, is_assignments};
use crate::posture::units::{self, UNITS};
use crate::posture::{Accepts, Check, Grade, Judged, Seen, Severity, Source, Unseen, Worth, needs};
use crate::time::{Time, human};

/// [`EngineStatus`]
pub const ENGINE: Source = Source::record("dbus:update-engine");
/// The OS's configuration of the update engine.
pub const CONF: Source = Source::text("file:/usr/share/flatcar/update.conf");
/// What the host says instead.
pub const OWN_CONF: Source = Source::text("file:/etc/flatcar/update.conf");
/// Made when an update is written, gone after the reboot.
pub const COMPLETED: Source = Source::stat("stat:/run/update_engine_autoupdate_completed");
/// The release that runs.
pub const RELEASE_FILE: Source = Source::text("file:/etc/os-release");
/// Where systemd-sysext looks for what is laid over `/usr`.
pub const EXTENSIONS: [Source; 3] = [
    Source::listing("list:/etc/extensions"),
    Source::listing("list:/run/extensions"),
    Source::listing("list:/var/lib/extensions"),
];

/// Flatcar's own update server.
const SERVER: &str = "https://public.update.flatcar-linux.net/v1/update/";
/// update_engine looks every 45 minutes.
const LAST_LOOK: Duration = Duration::from_secs(6 * 3_600);
/// Stable has a new release every few weeks, and now and then only after two months.
const RELEASE: Duration = Duration::from_secs(60 * 86_400);
const STAGED_FOR: Duration = Duration::from_secs(7 * 86_400);
/// Since version 3794 the OS's own container runtimes are extensions; those of a platform begin with `oem-`.
const SHIPPED: [&str; 2] = ["containerd-flatcar.raw", "docker-flatcar.raw"];

/// The family's part for Flatcar.
pub const CHECKS: &[Check] = &[
    Check {
        id: "update-engine-runs",
        title: "The update agent of Flatcar runs, and starts at boot",
        severity: Severity::High,
        reads: &[needs(&UNITS)],
        judge: |seen| if is(seen, &FLATCAR) { update_unit(seen, "update-engine.service") } else { Ok(other_os(seen)) },
        worth: Worth::Proves("systemd runs update-engine.service and starts it at boot."),
        not: "That it finds or writes anything: the other checks of this claim say that.",
        ..BASE
    },
    Check {
        id: "update-engine-server",
        title: "The update agent asks Flatcar's own server, or the declared one",
        severity: Severity::High,
        reads: &[needs(&CONF), needs(&OWN_CONF).or_absent().or_empty()],
        judge: server,
        worth: Worth::Proves("The merged configuration names a server that is meant, over HTTPS."),
        not: "That update_engine has read the file since it was changed.",
        expects: Accepts::Text("the URL of your own update server"),
        ..BASE
    },
    Check {
        id: "update-engine-looks-for-updates",
        title: "The update agent looks for updates, and does not fail",
        reads: &[needs(&ENGINE), needs(&UNITS)],
        judge: looks,
        worth: Worth::Proves("update_engine asked its server lately and reports no error."),
        not: "That a new release exists.",
        expects: Accepts::Span("how long ago update_engine's last look may be"),
        ..BASE
    },
    Check {
        id: "flatcar-release-current",
        title: "The running release is not old",
        reads: &[needs(&RELEASE_FILE)],
        judge: current,
        worth: Worth::Proves("The running release was built lately."),
        not: "That it has no known hole: a release of last week may have one.",
        expects: Accepts::Span("how old the running release may be"),
        ..BASE
    },
    Check {
        id: "flatcar-update-not-left-staged",
        title: "No update has been waiting for its reboot for long",
        reads: &[needs(&ENGINE), needs(&COMPLETED).or_absent()],
        judge: not_left_staged,
        worth: Worth::Proves("No update waits, or not for long."),
        not: "That the reboot will come: see flatcar-reboots-coordinated.",
        expects: Accepts::Span("how long an update may wait"),
        ..BASE
    },
    Check {
        id: "flatcar-reboots-coordinated",
        title: "Something reboots this host into its updates, and only while others do not",
        reads: &[needs(&UNITS), needs(&INHIBITORS)],
        judge: coordinated,
        worth: Worth::Proves(
            "locksmithd does not run, as Typhoon wants it, and eyewall reboots this host in its place.",
        ),
        not: "That root does not reboot by hand: before systemd 257 a block lock does not bind root's systemctl.",
        expects: ELSEWHERE,
        ..BASE
    },
    Check {
        id: "flatcar-usr-verified",
        title: "The kernel verifies every block of /usr",
        severity: Severity::High,
        reads: &[needs(&boot::CMDLINE)],
        judge: verified,
        worth: Worth::Proves("This boot was told the root hash of /usr, and mounts it through dm-verity."),
        not: "That the hash is Flatcar's own: whoever writes the boot partition can name another.",
        ..BASE
    },
    Check {
        id: "flatcar-extensions",
        title: "Nothing is laid over /usr but what the OS ships",
        severity: Severity::Low,
        reads: &[
            needs(&EXTENSIONS[0]).or_absent().or_empty(),
            needs(&EXTENSIONS[1]).or_absent().or_empty(),
            needs(&EXTENSIONS[2]).or_absent().or_empty(),
        ],
        judge: extensions,
        worth: Worth::Proves("No system extension lies where systemd-sysext looks, but those of the OS."),
        not: "What is in an extension of that name.",
        expects: Accepts::Names("system extensions that may be there"),
        ..BASE
    },
];

fn server(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    if !is(seen, &FLATCAR) {
        return Ok(other_os(seen));
    }
    let own_item = seen.one(&OWN_CONF)?;
    let own = seen.if_there(own_item.text())?;
    if own.is_some_and(|text| !is_assignments(text)) {
        return Err(own_item.malformed("It has lines that set nothing."));
    }
    let item = seen.one(&CONF)?;
    let conf = UpdateConf::merge(item.text()?, own).map_err(|fault| item.malformed(fault.sentence()))?;
    let server = conf.get("SERVER").unwrap_or(SERVER);
    let judged = if server == "disabled" {
        Judged::fail(
            "disabled",
            "SERVER=disabled: this host is not updated. Take it out of /etc/flatcar/update.conf, and restart update-engine.",
        )
    } else if seen.expected() == Some(server) {
        Judged::pass(Grade::Configured, "declared-server", "Updates come from the server that is declared.")
    } else if !server.starts_with("https://") {
        Judged::fail(
            "no-https",
            format!("Updates are asked for at {server}, without TLS: anybody on the way can hold them back."),
        )
    } else if server.trim_end_matches('/') == SERVER.trim_end_matches('/') && seen.expected().is_none() {
        Judged::pass(Grade::Configured, "flatcars-server", "Updates come from Flatcar's own server.")
    } else {
        let want = seen.expected().unwrap_or("Flatcar's own");
        Judged::fail(
            "another-server",
            format!(
                "Updates are asked for at {server}, not at {want}: if that is meant, declare it with [posture] expect."
            ),
        )
    };
    Ok(judged.fact("server", server).fact("group", conf.get("GROUP").unwrap_or("none")))
}

fn engine(seen: &Seen<'_>) -> Result<(EngineStatus, &'static str), Unseen> {
    let item = seen.one(&ENGINE)?;
    let status: EngineStatus = item.record()?;
    let operation =
        status.operation().ok_or_else(|| item.malformed("Its operation is none that update_engine has."))?;
    Ok((status, operation))
}

fn looks(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    if !is(seen, &FLATCAR) {
        return Ok(other_os(seen));
    }
    let (status, operation) = engine(seen)?;
    let units = units::loaded(seen)?;
    let unit = units.get("update-engine.service").filter(|unit| unit.is_up());
    let running_for = unit.and_then(|unit| unit.active_since).and_then(|at| since(seen.now(), at));
    let checked = u64::try_from(status.last_checked_time).ok().filter(|at| *at > 0).map(Time::from_unix);
    let limit = limit(seen, LAST_LOOK);
    let judged = match checked {
        _ if operation == "REPORTING_ERROR_EVENT" => {
            Judged::fail("error", "update_engine reports that an update failed: see `journalctl -u update-engine`.")
        }
        None if running_for.is_some_and(|age| age > limit.max(HOUR)) => Judged::fail(
            "never",
            "update_engine has not looked for an update since it started: see `journalctl -u update-engine`.",
        ),
        None => Judged::unknown(
            "not-yet",
            "update_engine has not looked for an update since it started: look again in an hour.",
        ),
        // What waits for its reboot is not looked behind: update_engine stops asking.
        Some(at) => match since(seen.now(), at) {
            None => Judged::unknown(
                "in-the-future",
                format!("update_engine's last look was at {at}, which is yet to come: see the clock of this host."),
            ),
            Some(age) if age > limit && !status.needs_reboot() => Judged::fail(
                "stale",
                format!("update_engine's last look was {} ago: see `journalctl -u update-engine`.", human(age)),
            ),
            Some(age) => Judged::pass(
                Grade::ProvedByBehaviour,
                "looks",
                format!("update_engine's last look was {} ago.", human(age)),
            ),
        },
    };
    let at = checked.map_or_else(|| "never".to_owned(), |at| at.to_string());
    Ok(judged.fact("last-look", at).fact("operation", operation))
}

fn current(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    if !is(seen, &FLATCAR) {
        return Ok(other_os(seen));
    }
    let item = seen.one(&RELEASE_FILE)?;
    let fields = parse_release(item.text()?);
    let field = |name| fields.get(name).map(String::as_str).filter(|value| !value.is_empty());
    if field("ID") != Some("flatcar") {
        return Err(item.malformed("It is not Flatcar's."));
    }
    let (Some(version), Some(build)) = (field("VERSION_ID"), field("BUILD_ID")) else {
        return Err(item.malformed("It has no VERSION_ID or no BUILD_ID."));
    };
    // `2026-06-10-2143`, the minute of the build.
    let day = build.get(..10).and_then(|day| Time::parse(&format!("{day}T00:00:00Z")).ok());
    let day = day.ok_or_else(|| item.malformed("Its BUILD_ID does not begin with a day."))?;
    let judged = match since(seen.now(), day) {
        None => Judged::unknown(
            "in-the-future",
            format!("Release {version} was built on {day}, which is yet to come: see the clock of this host."),
        ),
        Some(age) if age > limit(seen, RELEASE) => Judged::fail(
            "old",
            format!("Release {version} is {} old: find out why newer ones do not get here.", human(age)),
        ),
        Some(age) => {
            Judged::pass(Grade::ProvedByBehaviour, "current", format!("Release {version} is {} old.", human(age)))
        }
    };
    Ok(judged.fact("version", version).fact("built", build))
}

fn not_left_staged(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    if !is(seen, &FLATCAR) {
        return Ok(other_os(seen));
    }
    let (status, operation) = engine(seen)?;
    let item = seen.one(&COMPLETED)?;
    let completed = seen.if_there(item.stat())?;
    if !status.needs_reboot() {
        let judged = Judged::pass(Grade::ProvedByBehaviour, "nothing-staged", "No update waits for a reboot.");
        return Ok(judged.fact("operation", operation));
    }
    let Some(file) = completed else {
        return Err(item.malformed("It is missing, and yet update_engine says that an update waits: look again."));
    };
    let version = &status.new_version;
    let judged = match since(seen.now(), file.mtime) {
        None => Judged::unknown(
            "in-the-future",
            format!("The update was written at {}, which is yet to come: see the clock of this host.", file.mtime),
        ),
        Some(age) if age > limit(seen, STAGED_FOR) => Judged::fail(
            "left-staged",
            format!(
                "Release {version} has been waiting for {} and nothing reboots this host: `eyewall reboot` says why.",
                human(age)
            ),
        ),
        Some(age) => Judged::pass(
            Grade::ProvedByBehaviour,
            "staged",
            format!("Release {version} was written {} ago.", human(age)),
        ),
    };
    Ok(judged.fact("staged", version).fact("since", file.mtime.to_string()))
}

fn coordinated(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    if !is(seen, &FLATCAR) {
        return Ok(other_os(seen));
    }
    let units = units::loaded(seen)?;
    let locksmith = units.get("locksmithd.service").filter(|unit| unit.is_up());
    let lock = our_lock(seen)?;
    Ok(match (locksmith, &lock) {
        (Some(unit), _) => Judged::fail(
            "locksmithd-runs",
            "locksmithd runs, and reboots this host without draining it and without asking eyewall: `systemctl mask --now locksmithd`.",
        )
        .fact("locksmithd", &unit.active),
        (None, Some(lock)) => held(lock),
        (None, None) => declared_elsewhere(seen).unwrap_or_else(|| {
            Judged::fail(
                "nothing-reboots",
                "Updates are written and nothing ever reboots into them, which is how Typhoon leaves Flatcar: set [reboot] coordinate = true, or declare what else does it.",
            )
        }),
    })
}

fn verified(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    if !is(seen, &FLATCAR) {
        return Ok(other_os(seen));
    }
    let boot = boot::this(seen)?;
    let hash = boot.last("verity.usrhash").unwrap_or_default();
    let is_hash = hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
    let mount = boot.last("mount.usr").unwrap_or_default();
    let judged = if is_hash && mount == "/dev/mapper/usr" {
        Judged::pass(Grade::Configured, "verified", "The kernel verifies every block of /usr by its root hash.")
    } else {
        Judged::fail(
            "not-verified",
            "This boot has no root hash of /usr, or mounts /usr past dm-verity: what runs may be anything. Reinstall the host.",
        )
    };
    Ok(judged.fact("mount.usr", mount).fact("verity.usrhash", if hash.is_empty() { "none" } else { hash }))
}

fn extensions(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    if !is(seen, &FLATCAR) {
        return Ok(other_os(seen));
    }
    let mut names: Vec<&str> = Vec::new();
    for listing in &EXTENSIONS {
        let entries = seen.if_there(seen.listing(listing))?.unwrap_or_default();
        names.extend(entries.iter().map(|entry| entry.name.as_str()).filter(|name| !name.starts_with('.')));
    }
    let allowed: Vec<&str> = seen.allowed().chain(SHIPPED).collect();
    let is_known = |name: &&str| allowed.contains(name) || (name.starts_with("oem-") && name.ends_with(".raw"));
    let strange: Vec<&str> = names.iter().copied().filter(|name| !is_known(name)).collect();
    Ok(if strange.is_empty() {
        Judged::pass(Grade::ProvedByBehaviour, "as-shipped", "Nothing is laid over /usr but what the OS ships.")
    } else {
        Judged::fail("extension", "Something is laid over /usr that the OS does not ship. If that is meant, declare it with [posture] expect.")
            .facts("extension", strange)
    })
}
