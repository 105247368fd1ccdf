//! "Kubelets TLS bootstrap certificates (72 hours)": what the certificates on the disk say.

use std::time::Duration;

use super::BASE;
use crate::cert::CertView;
use crate::posture::checks::span::{limit, until};
use crate::posture::claim::KUBELET_CERTIFICATES;
use crate::posture::evidence::FileKind;
use crate::posture::read::public;
use crate::posture::{Accepts, Check, Grade, Item, Judged, Seen, Severity, Source, Unseen, Worth, needs};
use crate::time::human;

/// The certificates of the file in force; its key is not kept.
pub const CLIENT: Source =
    Source::rewritten("file:{certificates.directory}/kubelet-client-current.pem", public::certificates);
/// A link to the file in force.
pub const CURRENT: Source = Source::stat("stat:{certificates.directory}/kubelet-client-current.pem");
/// The kubelet's serving certificate.
pub const SERVING: Source = Source::rewritten("file:{certificates.directory}/kubelet.crt", public::certificates);
/// The cluster's CA, as the kubelet has it.
pub const AUTHORITY: Source = Source::rewritten("file:{kubelet.authority}", public::certificates);

const LIFETIME: Duration = Duration::from_secs(72 * 3_600);
/// The signer backdates by five minutes.
const SLACK: Duration = Duration::from_secs(600);
/// Typhoon's CA lives for a year, and a cluster is replaced, which takes planning.
const NOTICE: Duration = Duration::from_secs(30 * 86_400);

/// The family's part.
pub const CHECKS: &[Check] = &[
    Check {
        id: "kubelet-certificate",
        title: "The kubelet's client certificate is this node's, short-lived, and renewed in time",
        claim: &KUBELET_CERTIFICATES,
        severity: Severity::High,
        reads: &[needs(&CLIENT), needs(&AUTHORITY), needs(&CURRENT)],
        judge: client,
        worth: Worth::Proves(
            "The certificate in force names this node, is for clients, comes from the cluster's CA by name, and is in the middle of a short life.",
        ),
        not: "The CA's signature on it: `eyewall certificates` proves that, and that the API server takes it.",
        cis: &["4.2.10"],
        expects: Accepts::Span("how long a kubelet's certificate may live"),
        ..BASE
    },
    Check {
        id: "kubelet-serving-certificate",
        title: "The kubelet serves with a certificate of the cluster's CA",
        claim: &KUBELET_CERTIFICATES,
        severity: Severity::Low,
        reads: &[needs(&SERVING), needs(&AUTHORITY)],
        judge: serving,
        worth: Worth::Proves("The serving certificate comes from the cluster's CA by name, and is valid."),
        not: "That anybody checks it: Typhoon's API server does not.",
        cis: &["4.2.9", "4.2.11"],
        ..BASE
    },
    Check {
        id: "cluster-ca-end",
        title: "The cluster's CA does not end soon",
        claim: &KUBELET_CERTIFICATES,
        severity: Severity::Medium,
        reads: &[needs(&AUTHORITY)],
        judge: authority_end,
        worth: Worth::Proves("The CA is valid for longer than the notice that replacing a cluster needs."),
        not: "That the certificates of the control plane end no sooner: see etcd-certificates-end on controllers.",
        expects: Accepts::Span("how long before its end this is told"),
        ..BASE
    },
];

pub(in crate::posture::checks) fn certificate(item: Item<'_>) -> Result<CertView, Unseen> {
    public::first_certificate(item.text()?).map_err(|fault| item.malformed(fault.sentence()))
}

fn told(judged: Judged, certificate: &CertView) -> Judged {
    judged
        .fact("subject", &certificate.subject)
        .fact("issuer", &certificate.issuer)
        .fact("not-before", certificate.not_before.to_string())
        .fact("not-after", certificate.not_after.to_string())
}

fn client(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let certificate = certificate(seen.one(&CLIENT)?)?;
    let (now, name) = (seen.now(), seen.host().name.as_deref());
    let lifetime = certificate.not_after.0.duration_since(certificate.not_before.0).unwrap_or_default();
    let most = limit(seen, LIFETIME);
    let judged = match (until(now, certificate.not_after), name) {
        _ if certificate.not_before > now => Judged::fail(
            "not-yet-valid",
            "The certificate in force is not valid yet: the clock of this host or of its signer is wrong.",
        ),
        (None, _) => Judged::fail(
            "expired",
            "The certificate in force has expired: `eyewall certificates` says what stands in the way of a new one.",
        ),
        (Some(_), Some(name)) if !certificate.is_identity_of(&format!("system:node:{name}")) => Judged::fail(
            "another-identity",
            format!("The certificate in force is not that of the node {name}: {}.", certificate.subject),
        ),
        (Some(_), _) if lifetime > most + SLACK => Judged::fail(
            "long-lived",
            format!(
                "The certificate in force was issued for {}, and {} are wanted: see --cluster-signing-duration of the controller-manager.",
                human(lifetime),
                human(most)
            ),
        ),
        (Some(left), _) if left < lifetime / 10 => Judged::fail(
            "overdue",
            format!(
                "The certificate in force ends in {} and was not renewed: `eyewall certificates` says why.",
                human(left)
            ),
        ),
        (Some(_), None) => {
            Judged::unknown("no-node-name", "This host has no node name, so the certificate's cannot be compared.")
        }
        (Some(left), Some(_)) => {
            let authority = self::certificate(seen.one(&AUTHORITY)?)?;
            let link = seen.one(&CURRENT)?;
            let kind = link.stat()?.kind;
            if certificate.issuer != authority.subject {
                Judged::fail(
                    "another-issuer",
                    format!(
                        "The certificate in force comes from {}, and the cluster's CA is {}.",
                        certificate.issuer, authority.subject
                    ),
                )
            } else if !matches!(kind, FileKind::Link | FileKind::File) {
                return Err(link.malformed("It is neither a link nor a file."));
            } else if kind == FileKind::File {
                Judged::fail(
                    "not-a-link",
                    "kubelet-client-current.pem is a file and not a link: the kubelet refuses to rotate that. Remove it, and eyewall makes it anew.",
                )
            } else {
                Judged::pass(
                    Grade::Configured,
                    "valid",
                    format!("The certificate is this node's, and ends in {}.", human(left)),
                )
            }
        }
    };
    Ok(told(judged, &certificate))
}

fn serving(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let (certificate, authority) = (certificate(seen.one(&SERVING)?)?, certificate(seen.one(&AUTHORITY)?)?);
    let judged = match until(seen.now(), certificate.not_after) {
        None => Judged::fail(
            "expired",
            "The kubelet's serving certificate has expired: restart the kubelet with kubelet.crt and kubelet.key removed, or set certificates.serving = true.",
        ),
        Some(_) if certificate.issuer != authority.subject => Judged::fail(
            "self-signed",
            "The kubelet serves with a certificate of its own making, which nobody can check and nothing renews: set certificates.serving = true, with an approver in the cluster.",
        ),
        Some(left) => Judged::pass(
            Grade::Configured,
            "valid",
            format!("The serving certificate comes from the cluster's CA, and ends in {}.", human(left)),
        ),
    };
    Ok(told(judged, &certificate))
}

fn authority_end(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let certificate = certificate(seen.one(&AUTHORITY)?)?;
    let judged = match until(seen.now(), certificate.not_after) {
        _ if !certificate.is_ca => Judged::fail("not-a-ca", "The file of the cluster's CA holds a certificate that is no CA."),
        None => Judged::fail("ended", "The cluster's CA has ended: no certificate is valid any more, and nothing on this host can help. Replace the cluster.").raised_to(Severity::Critical),
        Some(left) if left < limit(seen, NOTICE) => Judged::fail("ends-soon", format!("The cluster's CA ends in {}: replace the cluster before that.", human(left))),
        Some(left) => Judged::pass(Grade::Configured, "valid", format!("The cluster's CA ends in {}.", human(left))),
    };
    Ok(told(judged, &certificate))
}
