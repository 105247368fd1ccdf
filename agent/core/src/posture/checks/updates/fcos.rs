//! Fedora CoreOS: what rpm-ostree has deployed: how old it is, where it came from, and whether it is as it was made.

use std::time::Duration;

use super::zincati::METRICS;
use super::{BASE, is, other_os};
use crate::os::FCOS;
use crate::posture::checks::span::{limit, since};
use crate::posture::read::deployments::{Deployment, Deployments, Signature};
use crate::posture::read::zincati::Metrics;
use crate::posture::{Accepts, Check, Grade, Judged, Seen, Severity, Source, Unseen, Worth, needs};
use crate::time::human;

/// [`Deployments`], from rpm-ostree.
pub const DEPLOYMENTS: Source = Source::record("dbus:rpm-ostree-deployments");
/// Made when a release is staged, removed when it is finalized or gone.
pub const STAGED: Source = Source::stat("stat:/run/ostree/staged-deployment");

/// A stream has a new release every two weeks, rolled out over two days.
const RELEASE: Duration = Duration::from_secs(30 * 86_400);
const STAGED_FOR: Duration = Duration::from_secs(7 * 86_400);

/// The family's part about Fedora CoreOS' releases.
pub const CHECKS: &[Check] = &[
    Check {
        id: "fcos-release-current",
        title: "The booted release is not old, and updates lead out of it",
        reads: &[needs(&DEPLOYMENTS), needs(&METRICS)],
        judge: current,
        worth: Worth::Proves("The booted release was made lately and is no dead end."),
        not: "That it has no known hole: a release of last week may have one.",
        expects: Accepts::Span("how old the booted release may be"),
        ..BASE
    },
    Check {
        id: "fcos-update-not-left-staged",
        title: "No update has been waiting for its reboot for long",
        reads: &[needs(&DEPLOYMENTS), needs(&STAGED).or_absent()],
        judge: not_left_staged,
        worth: Worth::Proves("Nothing is staged, or not for long."),
        not: "That the reboot will come: see fcos-reboots-coordinated.",
        expects: Accepts::Span("how long an update may be staged"),
        ..BASE
    },
    Check {
        id: "fcos-origin-signed",
        title: "The OS comes from a source whose signatures are checked",
        severity: Severity::High,
        reads: &[needs(&DEPLOYMENTS)],
        judge: signed,
        worth: Worth::Proves(
            "The origins of the booted and of the staged release have their signatures checked when they are fetched.",
        ),
        not: "That the keys are Fedora's: whoever may write /etc can trust others.",
        expects: Accepts::OneOf(&["stable", "testing", "next"]),
        ..BASE
    },
    Check {
        id: "fcos-unchanged",
        title: "What is booted is the release as it was made",
        reads: &[needs(&DEPLOYMENTS)],
        judge: unchanged,
        worth: Worth::Proves("/usr is not unlocked, and no package is layered, removed or replaced."),
        not: "That /etc and /var are as they were installed.",
        expects: Accepts::Names("packages that may be layered, removed or replaced"),
        ..BASE
    },
];

fn current(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    if !is(seen, &FCOS) {
        return Ok(other_os(seen));
    }
    let deployments: Deployments = seen.record(&DEPLOYMENTS)?;
    let booted = booted(seen, &deployments)?;
    let metrics = seen.record::<Metrics>(&METRICS);
    let (age, limit) = (since(seen.now(), booted.made_at()), limit(seen, RELEASE));
    let name = booted.name();
    let judged = match (age, metrics) {
        (_, Ok(Metrics { dead_end: true, .. })) => Judged::fail(
            "dead-end",
            format!("No update leads out of release {name}: Fedora's notes on it say what to do by hand."),
        ),
        (Some(age), _) if age > limit => Judged::fail(
            "old",
            format!("Release {name} is {} old: find out why newer ones do not get here.", human(age)),
        ),
        (None, _) => Judged::unknown(
            "in-the-future",
            format!(
                "Release {name} was made at {}, which is yet to come: see the clock of this host.",
                booted.made_at()
            ),
        ),
        (_, Err(unseen)) => return Err(unseen),
        (Some(age), Ok(_)) => {
            Judged::pass(Grade::ProvedByBehaviour, "current", format!("Release {name} is {} old.", human(age)))
        }
    };
    Ok(judged
        .fact("booted", name)
        .fact("made", booted.made_at().to_string())
        .fact("stream", booted.stream().unwrap_or("not said")))
}

fn not_left_staged(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    if !is(seen, &FCOS) {
        return Ok(other_os(seen));
    }
    let deployments: Deployments = seen.record(&DEPLOYMENTS)?;
    let booted = booted(seen, &deployments)?;
    let file = seen.if_there(seen.stat(&STAGED))?;
    let Some(staged) = deployments.staged() else {
        let judged = Judged::pass(Grade::ProvedByBehaviour, "nothing-staged", "No update waits for a reboot.");
        return Ok(judged.fact("booted", booted.name()));
    };
    let Some(file) = file else {
        return Err(seen
            .one(&STAGED)?
            .malformed("It is missing, and yet rpm-ostree says that a release is staged: look again."));
    };
    let name = staged.name();
    let judged = match since(seen.now(), file.mtime) {
        None => Judged::unknown(
            "in-the-future",
            format!("Release {name} was staged at {}, which is yet to come: see the clock of this host.", file.mtime),
        ),
        Some(age) if age > limit(seen, STAGED_FOR) => Judged::fail(
            "left-staged",
            format!(
                "Release {name} has been staged for {} and nothing reboots this host: `eyewall reboot` says why.",
                human(age)
            ),
        ),
        Some(age) => {
            Judged::pass(Grade::ProvedByBehaviour, "staged", format!("Release {name} was staged {} ago.", human(age)))
        }
    };
    Ok(judged.fact("booted", booted.name()).fact("staged", name).fact("since", file.mtime.to_string()))
}

fn signed(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    if !is(seen, &FCOS) {
        return Ok(other_os(seen));
    }
    let deployments: Deployments = seen.record(&DEPLOYMENTS)?;
    let booted = booted(seen, &deployments)?;
    let all: Vec<&Deployment> = std::iter::once(booted).chain(deployments.staged()).collect();
    let of = |signature| all.iter().find(|deployment| deployment.signature() == signature);
    let judged = if let Some(bad) = of(Signature::Unchecked) {
        Judged::fail(
            "unsigned",
            format!(
                "Release {} comes from {}, whose signature nobody checks: rebase to a signed origin.",
                bad.name(),
                bad.origin()
            ),
        )
    } else if let Some(unclear) = of(Signature::Unclear) {
        Judged::unknown(
            "unclear-origin",
            format!("It is not known how the origin {} of release {} is checked.", unclear.origin(), unclear.name()),
        )
    } else if let (Some(want), Some(stream)) =
        (seen.expected(), booted.stream().filter(|stream| Some(*stream) != seen.expected()))
    {
        Judged::fail("another-stream", format!("This host follows the stream {stream}, and {want} is declared."))
    } else if seen.expected().is_some() && booted.stream().is_none() {
        Judged::unknown("no-stream", "The booted release does not say which stream it is of.")
    } else {
        Judged::pass(
            Grade::Configured,
            "signed",
            "The signatures of what is booted and staged are checked when it is fetched.",
        )
    };
    let judged = judged.fact("stream", booted.stream().unwrap_or("not said"));
    Ok(judged.facts("origin", all.iter().map(|deployment| deployment.origin())))
}

fn unchanged(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    if !is(seen, &FCOS) {
        return Ok(other_os(seen));
    }
    let deployments: Deployments = seen.record(&DEPLOYMENTS)?;
    let booted = booted(seen, &deployments)?;
    let allowed: Vec<&str> = seen.allowed().collect();
    let changes: Vec<String> = booted.changes();
    let is_allowed = |change: &String| allowed.iter().any(|name| change.split(' ').next() == Some(name));
    let strange: Vec<&String> = changes.iter().filter(|change| !is_allowed(change)).collect();
    let judged = if booted.unlocked != "none" {
        Judged::fail(
            "unlocked",
            format!(
                "/usr is writable on this boot ({}): reboot, and find out who ran `rpm-ostree usroverlay`.",
                booted.unlocked
            ),
        )
        .raised_to(Severity::High)
    } else if strange.is_empty() {
        Judged::pass(Grade::ProvedByBehaviour, "unchanged", "The booted release is as it was made.")
    } else {
        Judged::fail(
            "changed",
            "The booted release is not as it was made. If that is meant, declare the packages with [posture] expect.",
        )
    };
    Ok(judged.facts("change", &changes).fact("booted", booted.name()))
}

fn booted<'d>(seen: &Seen<'_>, deployments: &'d Deployments) -> Result<&'d Deployment, Unseen> {
    match deployments.booted() {
        Some(booted) => Ok(booted),
        None => Err(seen.one(&DEPLOYMENTS)?.malformed("No deployment in it is booted.")),
    }
}
