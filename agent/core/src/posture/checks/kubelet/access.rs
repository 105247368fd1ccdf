//! Whom the kubelet answers.

use super::BASE;
use super::running::{ARGV, CONFIGURATION, Running};
use crate::posture::checks::listeners::SOCKETS;
use crate::posture::read::probe::HttpAnswer;
use crate::posture::read::sock_diag::{Protocol, Sockets};
use crate::posture::{Check, Grade, Judged, Seen, Severity, Source, Unseen, Worth, needs};

/// [`HttpAnswer`] of `GET https://127.0.0.1:10250/pods` without any credential.
pub const ANONYMOUS: Source = Source::record("probe:kubelet-anonymous");
/// [`HttpAnswer`] of the same with the node's own certificate.
pub const AS_NODE: Source = Source::record("probe:kubelet-as-node");

/// The kubelet's own port.
const PORT: u16 = 10_250;
/// The health port and the read-only port, neither of which asks who calls.
const OPEN_PORTS: [u16; 2] = [10_248, 10_255];

/// The family's part.
pub const CHECKS: &[Check] = &[
    Check {
        id: "kubelet-refuses-anonymous",
        title: "The kubelet turns away who does not say who it is",
        severity: Severity::Critical,
        reads: &[needs(&ANONYMOUS)],
        judge: anonymous,
        worth: Worth::Proves("The running kubelet answers a request without a credential with 401."),
        not: "That nobody holds a credential who should not.",
        cis: &["4.2.1"],
        ..BASE
    },
    Check {
        id: "kubelet-asks-the-api-server",
        title: "The kubelet asks the API server what a caller may do",
        severity: Severity::High,
        reads: &[needs(&AS_NODE)],
        judge: as_node,
        worth: Worth::Proves(
            "The running kubelet knows the node's certificate, and refuses it what the API server does not grant a node.",
        ),
        not: "What the API server grants to others.",
        cis: &["4.2.2", "4.2.3"],
        ..BASE
    },
    Check {
        id: "kubelet-access-configured",
        title: "The kubelet is set up to ask who calls, and what they may do",
        severity: Severity::High,
        reads: &[needs(&ARGV), needs(&CONFIGURATION)],
        judge: configured,
        worth: Worth::Proves("The running kubelet's flags and the file it was started with say so."),
        not: "That the file was not changed after the start: see kubelet-refuses-anonymous for the proof.",
        cis: &["4.2.1", "4.2.2", "4.2.3"],
        ..BASE
    },
    Check {
        id: "kubelet-open-ports-closed",
        title: "The kubelet's ports that ask nobody who calls are closed",
        severity: Severity::High,
        reads: &[needs(&SOCKETS)],
        judge: closed,
        worth: Worth::Proves("The kernel lists no listener on 10248 and 10255, and lists the kubelet's own port."),
        not: "What listens in another network namespace.",
        cis: &["4.2.4"],
        ..BASE
    },
];

fn status(seen: &Seen<'_>, source: &Source) -> Result<u16, Unseen> {
    let item = seen.one(source)?;
    match item.record::<HttpAnswer>()?.status {
        status @ 100..=599 => Ok(status),
        _ => Err(item.malformed("That is no status of HTTP.")),
    }
}

fn anonymous(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let status = status(seen, &ANONYMOUS)?;
    Ok(match status {
        401 => Judged::pass(Grade::ProvedByBehaviour, "refused", "A request without a credential is answered with 401."),
        // It was let in as system:anonymous, and only then turned away.
        403 => Judged::fail(
            "anonymous-known",
            "A request without a credential is answered with 403: the kubelet knows anonymous callers, and only authorization stands in \
             their way. Set authentication.anonymous.enabled: false.",
        ),
        200..=299 => Judged::fail(
            "anonymous-served",
            "The kubelet serves a request without a credential: everybody who reaches port 10250 can run commands in every pod. Set \
             authentication.anonymous.enabled: false, and look who was there.",
        ),
        _ => Judged::unknown("another-answer", format!("A request without a credential is answered with {status}, which says nothing.")),
    }
    .fact("status", status.to_string()))
}

fn as_node(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let status = status(seen, &AS_NODE)?;
    Ok(match status {
        403 => Judged::pass(Grade::ProvedByBehaviour, "refused", "The node's own certificate is known, and may not list pods here."),
        401 => Judged::fail(
            "certificate-unknown",
            "The kubelet does not know the certificate of its own cluster: its client CA is not set, or is another cluster's.",
        ),
        200..=299 => Judged::fail(
            "everything-allowed",
            "The kubelet lets the node's certificate list pods: its authorization mode is AlwaysAllow, or the cluster grants nodes too much.",
        ),
        _ => Judged::unknown("another-answer", format!("The request is answered with {status}, which says nothing: can the kubelet reach the API server?")),
    }
    .fact("status", status.to_string()))
}

fn configured(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let running = Running::see(seen)?;
    // What a KubeletConfiguration that does not say it means (k8s.io/kubernetes pkg/kubelet/apis/config/v1beta1/defaults.go).
    let anonymous = running.switch("authentication.anonymous.enabled", "anonymous-auth")?.unwrap_or(false);
    let webhook = running.switch("authentication.webhook.enabled", "authentication-token-webhook")?.unwrap_or(true);
    let mode = running.word("authorization.mode", "authorization-mode")?.unwrap_or_else(|| "Webhook".to_owned());
    let authority = running.word("authentication.x509.clientCAFile", "client-ca-file")?.unwrap_or_default();
    let judged = if anonymous {
        Judged::fail(
            "anonymous",
            "Anonymous requests are let in: set authentication.anonymous.enabled: false, and restart the kubelet.",
        )
    } else if mode != "Webhook" {
        Judged::fail(
            "not-webhook",
            format!("Its authorization mode is {mode}: set authorization.mode: Webhook, and restart the kubelet."),
        )
    } else if authority.is_empty() {
        Judged::fail(
            "no-client-ca",
            "It has no client CA, so no certificate says who calls: set authentication.x509.clientCAFile.",
        )
    } else if !webhook {
        Judged::fail(
            "no-token-webhook",
            "It does not ask the API server about tokens: set authentication.webhook.enabled: true.",
        )
    } else {
        Judged::pass(Grade::Configured, "configured", "It asks who calls, and asks the API server what they may do.")
    };
    Ok(judged.fact("anonymous", anonymous.to_string()).fact("authorization", mode).fact("client-ca", authority))
}

fn closed(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let Sockets { sockets } = seen.record(&SOCKETS)?;
    let tcp = || sockets.iter().filter(|socket| socket.protocol == Protocol::Tcp);
    let open: Vec<String> = tcp()
        .filter(|socket| OPEN_PORTS.contains(&socket.port))
        .map(|socket| format!("{}:{}", socket.address, socket.port))
        .collect();
    Ok(if !open.is_empty() {
        Judged::fail("open", "A port is open on which the kubelet asks nobody who calls: set healthzPort: 0 and readOnlyPort: 0, and restart the kubelet.")
            .facts("listens", open)
    } else if tcp().any(|socket| socket.port == PORT) {
        Judged::pass(Grade::ProvedByBehaviour, "closed", "Nothing listens on 10248 and 10255.")
    } else {
        Judged::unknown(
            "no-kubelet",
            "Nothing listens on 10250 either: the kubelet does not run, so this says nothing about it.",
        )
    })
}
