//! etcd and the control plane: what a controller's files say of them, and how they treat a stranger. A worker sees nothing of either, but that the
//! API server turns it away when it does not say who it is.

mod control_plane;

use std::time::Duration;

pub use control_plane::CHECKS as CONTROL_PLANE_CHECKS;

use super::kubelet::{FileFault, certificate, readable_by_others};
use super::span::{limit, until};
use crate::config::Role;
use crate::os::parse_release;
use crate::posture::claim;
use crate::posture::evidence::FileKind;
use crate::posture::read::probe::{Stranger, TlsAnswer};
use crate::posture::read::public;
use crate::posture::{Accepts, Check, Grade, Judged, Seen, Severity, Source, Unseen, Worth, needs, nothing_promised};
use crate::time::human;

/// etcd's settings.
pub const SETTINGS: Source = Source::rewritten("file:/etc/etcd/etcd.env", public::etcd_settings);
/// [`TlsAnswer`] of etcd's client port 2379.
pub const CLIENT_PORT: Source = Source::record("tls:etcd-client");
/// [`TlsAnswer`] of etcd's peer port 2380.
pub const PEER_PORT: Source = Source::record("tls:etcd-peer");
/// etcd's certificate for clients.
pub const SERVER_CERTIFICATE: Source = Source::rewritten("file:/etc/ssl/etcd/etcd/server.crt", public::certificates);
/// etcd's certificate for its peers.
pub const PEER_CERTIFICATE: Source = Source::rewritten("file:/etc/ssl/etcd/etcd/peer.crt", public::certificates);
/// etcd's files.
pub const FILES: Source = Source::listing("list:/etc/ssl/etcd/etcd");
/// What they are.
pub const FILE: Source = Source::stat("stat:/etc/ssl/etcd/etcd/*");
const NOTICE: Duration = Duration::from_secs(30 * 86_400);

const BASE: Check = Check {
    id: "",
    title: "",
    claim: &claim::ETCD_TLS,
    severity: Severity::High,
    reads: &[],
    judge: |_| Ok(worker()),
    worth: Worth::Proves(""),
    not: "",
    cis: &[],
    expects: Accepts::Nothing,
    promised: nothing_promised,
};

/// The family.
pub const CHECKS: &[Check] = &[
    Check {
        id: "etcd-tls-configured",
        title: "etcd is set up for TLS, and wants a certificate of clients and of peers",
        reads: &[needs(&SETTINGS)],
        judge: settings,
        worth: Worth::Proves("etcd's settings ask for it."),
        not: "That the running etcd was started with them: see etcd-refuses-strangers.",
        ..BASE
    },
    Check {
        id: "etcd-refuses-strangers",
        title: "etcd turns away who comes without a certificate",
        severity: Severity::Critical,
        reads: &[needs(&CLIENT_PORT), needs(&PEER_PORT)],
        judge: strangers,
        worth: Worth::Proves("The running etcd refused a TLS client without a certificate on both of its ports."),
        not: "Whom its CA gave certificates to. The metrics port 2381 is plain HTTP by design.",
        ..BASE
    },
    Check {
        id: "etcd-certificates-end",
        title: "etcd's certificates do not end soon",
        severity: Severity::Medium,
        reads: &[needs(&SERVER_CERTIFICATE), needs(&PEER_CERTIFICATE)],
        judge: certificates,
        worth: Worth::Proves("Both certificates on the disk are valid for longer than the notice."),
        not: "That the running etcd has loaded them.",
        expects: Accepts::Span("how long before their end this is told"),
        ..BASE
    },
    Check {
        id: "etcd-key-files",
        title: "etcd's keys cannot be read by everybody",
        claim: &claim::SECRETS_ON_DISK,
        reads: &[needs(&FILES), needs(&FILE)],
        judge: keys,
        worth: Worth::Proves("etcd's private keys are readable by their owner and group only."),
        not: "The copies of its client key that the API server has: see controller-key-files.",
        expects: Accepts::Text("the uid that etcd runs as"),
        ..BASE
    },
];

fn worker() -> Judged {
    Judged::not_applicable("worker", "This is a worker: only a controller has etcd and the control plane.")
}

fn is_worker(seen: &Seen<'_>) -> bool {
    seen.expect.role == Role::Worker
}

fn settings(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    if is_worker(seen) {
        return Ok(worker());
    }
    let item = seen.one(&SETTINGS)?;
    let set = parse_release(item.text()?);
    if !set.keys().any(|name| name.starts_with("ETCD_")) {
        return Err(item.malformed("It sets nothing of etcd's."));
    }
    let get = |name: &str| set.get(name).map(String::as_str).unwrap_or_default();
    // etcd takes any form of Go's ParseBool.
    let on = |name| matches!(get(name), "true" | "1" | "t" | "T" | "TRUE" | "True");
    let plain: Vec<String> = [
        "ETCD_LISTEN_CLIENT_URLS",
        "ETCD_LISTEN_PEER_URLS",
        "ETCD_ADVERTISE_CLIENT_URLS",
        "ETCD_INITIAL_ADVERTISE_PEER_URLS",
    ]
    .into_iter()
    .filter(|name| get(name).split(',').any(|url| !url.trim().starts_with("https://")))
    .map(|name| format!("{name}={}", get(name)))
    .collect();
    let missing: Vec<&str> = [
        "ETCD_TRUSTED_CA_FILE",
        "ETCD_CERT_FILE",
        "ETCD_KEY_FILE",
        "ETCD_PEER_TRUSTED_CA_FILE",
        "ETCD_PEER_CERT_FILE",
        "ETCD_PEER_KEY_FILE",
    ]
    .into_iter()
    .filter(|name| get(name).is_empty())
    .collect();
    Ok(if !on("ETCD_CLIENT_CERT_AUTH") {
        Judged::fail(
            "clients-without-certificate",
            "etcd is not told to want a certificate of its clients: set ETCD_CLIENT_CERT_AUTH=true.",
        )
    } else if !on("ETCD_PEER_CLIENT_CERT_AUTH") {
        Judged::fail(
            "peers-without-certificate",
            "etcd is not told to want a certificate of its peers: set ETCD_PEER_CLIENT_CERT_AUTH=true.",
        )
    } else if !plain.is_empty() {
        Judged::fail(
            "without-tls",
            "etcd is told to listen, or to be found, without TLS: its URLs must begin with https://.",
        )
        .facts("url", plain)
    } else if !missing.is_empty() {
        Judged::fail("without-certificate", "etcd is not told its certificates or its CA.").facts("missing", missing)
    } else {
        Judged::pass(
            Grade::Configured,
            "configured",
            "etcd is told to speak TLS, and to want a certificate of clients and of peers.",
        )
    })
}

fn strangers(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    if is_worker(seen) {
        return Ok(worker());
    }
    let ports = [("2379", "clients", &CLIENT_PORT), ("2380", "peers", &PEER_PORT)];
    let answers = ports.map(|(port, whom, source)| (port, whom, seen.record::<TlsAnswer>(source)));
    // A port that lets strangers in is a finding, whatever the other does.
    for (port, whom, answer) in &answers {
        match answer.as_ref().map(|answer| answer.stranger) {
            Ok(Stranger::Admitted) => {
                return Ok(Judged::fail("admitted", format!("etcd's port {port}, for {whom}, lets a client without a certificate in: who reaches it reads and writes the whole cluster."))
                    .fact("port", port));
            }
            Ok(Stranger::PlainText) => {
                return Ok(Judged::fail("plain-text", format!("etcd's port {port}, for {whom}, speaks no TLS."))
                    .fact("port", port));
            }
            Ok(Stranger::Refused | Stranger::Closed) | Err(_) => {}
        }
    }
    for (port, _, answer) in answers {
        if answer?.stranger == Stranger::Closed {
            return Ok(Judged::unknown(
                "closed",
                format!("Nobody listens on port {port}: etcd does not run, so this says nothing about it."),
            ));
        }
    }
    Ok(Judged::pass(Grade::ProvedByBehaviour, "refused", "etcd refused a client without a certificate on both ports."))
}

fn certificates(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    if is_worker(seen) {
        return Ok(worker());
    }
    let both = [
        ("server", certificate(seen.one(&SERVER_CERTIFICATE)?)?),
        ("peer", certificate(seen.one(&PEER_CERTIFICATE)?)?),
    ];
    let notice = limit(seen, NOTICE);
    let mut judged = None;
    for (name, certificate) in &both {
        judged = judged.or(match until(seen.now(), certificate.not_after) {
            None => Some(Judged::fail("ended", format!("etcd's {name} certificate has ended: etcd's members or the API server do not get through any more. Replace the cluster."))),
            Some(left) if left < notice => Some(Judged::fail("ends-soon", format!("etcd's {name} certificate ends in {}: replace the cluster before that.", human(left)))),
            Some(_) => None,
        });
    }
    let judged =
        judged.unwrap_or_else(|| Judged::pass(Grade::Configured, "valid", "etcd's certificates do not end soon."));
    Ok(judged.facts("ends", both.iter().map(|(name, certificate)| format!("{name} {}", certificate.not_after))))
}

fn keys(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    if is_worker(seen) {
        return Ok(worker());
    }
    // Typhoon's etcd runs as 232, the OS's user `etcd`.
    let owner = seen.expected().and_then(|uid| uid.parse().ok()).unwrap_or(232);
    let (mut faults, mut keys) = (Vec::new(), 0_usize);
    for entry in seen.listing(&FILES)? {
        let item = seen.member(&FILE, &entry.name)?;
        let stat = item.stat()?;
        match stat.kind {
            FileKind::File if entry.name.ends_with(".key") => {
                keys += 1;
                faults.extend(readable_by_others(item, &[0, owner], false)?.err());
            }
            FileKind::File if stat.mode & 0o022 == 0 => {}
            _ => return Err(item.malformed("It is no file that only its owner changes.")),
        }
    }
    if keys == 0 {
        return Err(seen.one(&FILES)?.malformed("There is no key in it, and there should be."));
    }
    Ok(match faults.first() {
        Some(fault) => FileFault::judged(fault),
        None => Judged::pass(Grade::ProvedByBehaviour, "private", "etcd's keys are their owner's and group's alone."),
    }
    .fact("keys", keys.to_string()))
}
