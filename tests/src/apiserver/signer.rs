//! The controller-manager's side: which requests are approved, and what certificate comes of them
//! (`pkg/controller/certificates/{approver,signer,authority}`).

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{ExtendedKeyUsagePurpose, KeyUsagePurpose, SubjectPublicKeyInfo};
use serde_json::Value;

use super::clock::{rfc3339, unix};
use super::csr::{API_CLIENT, CLIENT_KUBELET, KUBELET_SERVING, Request, text_of, usages};
use super::options::Signing;
use super::pki::{Authority, Subject, parameters};

/// Below this the end of a certificate is not pulled in by the backdating.
const SHORT: Duration = Duration::from_secs(8 * 3600);
/// The signer never goes below this, whatever was asked.
const SHORTEST: Duration = Duration::from_secs(10 * 60);

/// What the approver takes a request for. The order is the approver's own: first the node's own renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recognised {
    /// A node asks for its own name.
    Own,
    /// Somebody else asks for a node's name: a bootstrap token.
    New,
}

impl Recognised {
    /// The subresource whose `create` the requester must be allowed.
    pub(super) fn permission(self) -> &'static str {
        match self {
            Self::Own => "selfnodeclient",
            Self::New => "nodeclient",
        }
    }

    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Own => "Auto approving self kubelet client certificate after SubjectAccessReview.",
            Self::New => "Auto approving kubelet client certificate after SubjectAccessReview.",
        }
    }
}

/// What an object may be recognised as, in the order in which permissions are asked.
pub(super) fn recognise(object: &Value) -> Vec<Recognised> {
    if object["spec"]["signerName"] != CLIENT_KUBELET || validate_kubelet_client(object).is_err() {
        return Vec::new();
    }
    let own = Request::of(object).is_ok_and(|request| object["spec"]["username"] == request.common_name.as_str());
    if own { vec![Recognised::Own, Recognised::New] } else { vec![Recognised::New] }
}

/// Is this a request for a serving certificate?
pub(super) fn is_serving(object: &Value) -> bool {
    object["spec"]["signerName"] == KUBELET_SERVING
}

/// What an approver for serving certificates says, as those that clusters run (the clouds' and kubelet-csr-approver): a node may
/// have one for itself, under the addresses that its Node has. `Err`: why it is denied.
pub(super) fn may_serve(object: &Value, node: Option<&Value>) -> Result<(), String> {
    validate_kubelet_serving(object)?;
    let request = Request::of(object)?;
    if object["spec"]["username"] != request.common_name.as_str() {
        return Err("the requester is not the node of the subject".to_owned());
    }
    let node = node.ok_or("there is no such node")?;
    let addresses: Vec<&str> = node["status"]["addresses"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|address| address["address"].as_str())
        .collect();
    match request.names.iter().map(text_of).find(|name| !addresses.contains(&name.as_str())) {
        Some(stranger) => Err(format!("{stranger} is no address of the node")),
        None => Ok(()),
    }
}

/// Why the signer does not sign an approved request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unsigned {
    /// It breaks the signer's rules: it gets the condition Failed with this message.
    Failed(String),
    /// The signer tries again and again and says nothing in the object, e.g. because the CA has ended.
    Retried(String),
    /// It is not this signer's.
    NotOurs,
}

/// Signs an approved request: PEM of the one certificate.
pub(super) fn sign(
    object: &Value,
    authority: &Authority,
    signing: &Signing,
    now: SystemTime,
) -> Result<String, Unsigned> {
    let valid = match object["spec"]["signerName"].as_str().unwrap_or_default() {
        CLIENT_KUBELET => validate_kubelet_client(object),
        KUBELET_SERVING => validate_kubelet_serving(object),
        API_CLIENT => Ok(()),
        _ => return Err(Unsigned::NotOurs),
    };
    valid.map_err(Unsigned::Failed)?;
    let requested = object["spec"]["expirationSeconds"].as_u64();
    let (not_before, not_after) =
        validity(now, requested, signing, authority.not_after()).map_err(Unsigned::Retried)?;
    let request = Request::of(object).map_err(Unsigned::Failed)?;
    let key = SubjectPublicKeyInfo::from_der(&request.public_key).map_err(|e| Unsigned::Failed(e.to_string()))?;
    let (mut key_usages, mut extended) = (Vec::new(), Vec::new());
    for usage in usages(object) {
        match usage {
            "digital signature" => key_usages.push(KeyUsagePurpose::DigitalSignature),
            "key encipherment" => key_usages.push(KeyUsagePurpose::KeyEncipherment),
            "client auth" => extended.push(ExtendedKeyUsagePurpose::ClientAuth),
            "server auth" => extended.push(ExtendedKeyUsagePurpose::ServerAuth),
            _ => {}
        }
    }
    let subject = Subject {
        common_name: &request.common_name,
        organization: request.organizations.first().map(String::as_str),
        names: request.names,
        key_usages,
        extended,
    };
    let retried = |error: &dyn std::fmt::Display| Unsigned::Retried(error.to_string());
    let certificate = parameters(&subject, not_before, not_after)
        .map_err(|error| retried(&error))?
        .signed_by(&key, authority.issuer())
        .map_err(|error| retried(&error))?;
    Ok(certificate.pem())
}

/// `status.certificate` for that PEM.
pub(super) fn encoded(pem: &str) -> Value {
    Value::from(STANDARD.encode(pem))
}

/// `PermissiveSigningPolicy.apply` and the signer's `duration`, in whole seconds.
///
/// The start lies `backdate` (5 min) before now. A life of 8 h or more has its end pulled in by the same, so that the span is what
/// was asked; a shorter one keeps its end. The end is never after the CA's.
pub(super) fn validity(
    now: SystemTime,
    requested_seconds: Option<u64>,
    signing: &Signing,
    ca_end: SystemTime,
) -> Result<(SystemTime, SystemTime), String> {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(unix(now));
    if ca_end <= now {
        return Err(format!("the signer has expired: NotAfter={}", rfc3339(ca_end)));
    }
    let life = match requested_seconds.map(Duration::from_secs) {
        None => signing.duration,
        Some(requested) if requested > signing.duration => signing.duration,
        Some(requested) => requested.max(SHORTEST),
    };
    let not_before = now.checked_sub(signing.backdate).unwrap_or(SystemTime::UNIX_EPOCH);
    let end = if life < SHORT { now + life } else { now + life - signing.backdate };
    Ok((not_before, end.min(ca_end)))
}

/// `ValidateKubeletClientCSR`.
fn validate_kubelet_client(object: &Value) -> Result<(), String> {
    let request = Request::of(object)?;
    if request.organizations != ["system:nodes"] {
        return Err("subject organization is not system:nodes".to_owned());
    }
    for (count, kind) in [(request.dns, "DNS"), (request.emails, "Email"), (request.ips, "IP"), (request.uris, "URI")] {
        if count > 0 {
            return Err(format!("{kind} subjectAltNames are not allowed"));
        }
    }
    if !request.common_name.starts_with("system:node:") {
        return Err("subject common name does not begin with system:node:".to_owned());
    }
    usages_are(object, &["client auth", "digital signature"])
}

/// `ValidateKubeletServingCSR`.
fn validate_kubelet_serving(object: &Value) -> Result<(), String> {
    let request = Request::of(object)?;
    if request.organizations != ["system:nodes"] {
        return Err("subject organization is not system:nodes".to_owned());
    }
    if request.dns == 0 && request.ips == 0 {
        return Err("DNS or IP subjectAltName is required".to_owned());
    }
    for (count, kind) in [(request.emails, "Email"), (request.uris, "URI")] {
        if count > 0 {
            return Err(format!("{kind} subjectAltNames are not allowed"));
        }
    }
    if !request.common_name.starts_with("system:node:") {
        return Err("subject common name does not begin with system:node:".to_owned());
    }
    usages_are(object, &["digital signature", "server auth"])
}

/// Exactly these, or these and `key encipherment`, which clients with RSA keys add.
fn usages_are(object: &Value, wanted: &[&str; 2]) -> Result<(), String> {
    let got: Vec<&str> = usages(object).into_iter().filter(|usage| *usage != "key encipherment").collect();
    if got == wanted { Ok(()) } else { Err(format!("usages did not match [{}]", wanted.join(" "))) }
}

#[cfg(test)]
mod tests {
    use super::super::csr::fixture;
    use super::*;

    const HOUR: u64 = 3600;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn dates_are_the_controller_managers() {
        let now = 1_000_000;
        let far = 100_000_000;
        for (name, signing, requested, ca_end, want) in [
            // Measured on a real 1.36: 71 h 55 min to go, span exactly 72 h.
            ("Typhoon's 72 h", 72 * HOUR, None, far, (now - 300, now + 72 * HOUR - 300)),
            ("24 h asked: span 24 h", 72 * HOUR, Some(24 * HOUR), far, (now - 300, now + 24 * HOUR - 300)),
            ("10 days asked, 72 h got", 72 * HOUR, Some(240 * HOUR), far, (now - 300, now + 72 * HOUR - 300)),
            ("600 s asked: span 15 min", 72 * HOUR, Some(600), far, (now - 300, now + 600)),
            ("below the floor", 72 * HOUR, Some(60), far, (now - 300, now + 600)),
            ("just under 8 h", 72 * HOUR, Some(8 * HOUR - 1), far, (now - 300, now + 8 * HOUR - 1)),
            ("exactly 8 h", 72 * HOUR, Some(8 * HOUR), far, (now - 300, now + 8 * HOUR - 300)),
            ("seconds", 5, None, far, (now - 300, now + 5)),
            ("seconds, more asked", 5, Some(3600), far, (now - 300, now + 5)),
            ("the CA ends first", 72 * HOUR, None, now + HOUR, (now - 300, now + HOUR)),
            ("the CA ends in a second", 72 * HOUR, None, now + 1, (now - 300, now + 1)),
        ] {
            let signing = Signing { duration: Duration::from_secs(signing), ..Signing::default() };
            let got = validity(at(now) + Duration::from_millis(999), requested, &signing, at(ca_end)).unwrap();
            assert_eq!(got, (at(want.0), at(want.1)), "{name}");
        }
        let ended = validity(at(now), None, &Signing::default(), at(now)).unwrap_err();
        assert!(ended.starts_with("the signer has expired"), "{ended}");
    }

    #[test]
    fn the_signers_rules() {
        let (own, nodes) = ("system:node:a", "system:nodes");
        let client = ["digital signature", "client auth"];
        let with_rsa = ["key encipherment", "digital signature", "client auth"];
        let server = ["digital signature", "server auth"];
        for (name, common_name, organization, names, usages, client_says, serving_says) in [
            ("client", own, nodes, &[][..], &client[..], "", "DNS or IP subjectAltName is required"),
            ("client with RSA's usage", own, nodes, &[], &with_rsa, "", "DNS or IP subjectAltName is required"),
            ("serving", own, nodes, &["a", "10.0.0.1"], &server, "DNS subjectAltNames are not allowed", ""),
            (
                "IP name",
                own,
                nodes,
                &["10.0.0.1"],
                &client,
                "IP subjectAltNames are not allowed",
                "usages did not match",
            ),
            (
                "other organisation",
                own,
                "system:masters",
                &["a"],
                &client,
                "subject organization is not",
                "subject organization is not",
            ),
            ("no node", "jane", nodes, &[], &client, "subject common name does not begin", "DNS or IP subjectAltName"),
            (
                "no client auth",
                own,
                nodes,
                &[],
                &["digital signature"],
                "usages did not match",
                "DNS or IP subjectAltName",
            ),
            (
                "one usage more",
                own,
                nodes,
                &[],
                &["digital signature", "client auth", "server auth"],
                "usages did not match",
                "DNS or IP",
            ),
        ] {
            let object = fixture(common_name, organization, names, usages);
            for (signer, got, want) in [
                ("client", validate_kubelet_client(&object), client_says),
                ("serving", validate_kubelet_serving(&object), serving_says),
            ] {
                let got = got.err().unwrap_or_default();
                assert_eq!(got.is_empty(), want.is_empty(), "{name} for {signer}: {got}");
                assert!(got.starts_with(want), "{name} for {signer}: {got}");
            }
        }
    }

    #[test]
    fn an_approver_knows_the_addresses_of_a_node() {
        let node = serde_json::json!({"status": {"addresses": [
            {"type": "Hostname", "address": "a"}, {"type": "InternalIP", "address": "10.0.0.1"},
        ]}});
        for (name, user, names, node, want) in [
            ("its own addresses", "system:node:a", &["a", "10.0.0.1"][..], Some(&node), ""),
            ("some of them", "system:node:a", &["10.0.0.1"], Some(&node), ""),
            ("another's address", "system:node:a", &["a", "10.0.0.2"], Some(&node), "10.0.0.2 is no address"),
            ("asked by another", "system:node:b", &["a"], Some(&node), "the requester is not"),
            ("no Node", "system:node:a", &["a"], None, "there is no such node"),
            ("no names", "system:node:a", &[], Some(&node), "DNS or IP subjectAltName"),
        ] {
            let mut object = fixture("system:node:a", "system:nodes", names, &["digital signature", "server auth"]);
            object["spec"]["username"] = Value::from(user);
            let got = may_serve(&object, node).err().unwrap_or_default();
            assert!(got.starts_with(want) && got.is_empty() == want.is_empty(), "{name}: {got}");
        }
    }

    #[test]
    fn a_signed_certificate_has_what_the_request_may_have() {
        let authority = Authority::new("kubernetes-ca", at(0), at(100_000_000)).unwrap();
        let object = fixture("system:node:a", "system:nodes", &[], &["digital signature", "client auth"]);
        let signing = Signing { duration: Duration::from_secs(60), ..Signing::default() };
        let pem = sign(&object, &authority, &signing, at(1_000_000)).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        let certificate = pem.parse_x509().unwrap();
        assert_eq!(certificate.subject().to_string(), "O=system:nodes, CN=system:node:a");
        assert_eq!(certificate.issuer().to_string(), "CN=kubernetes-ca");
        let validity = certificate.validity();
        assert_eq!((validity.not_before.timestamp(), validity.not_after.timestamp()), (999_700, 1_000_060));
        assert_eq!(certificate.public_key().raw, Request::of(&object).unwrap().public_key);
        let usage = certificate.extended_key_usage().unwrap().unwrap();
        assert!(usage.value.client_auth && !usage.value.server_auth && !usage.value.any);
        let usage = certificate.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.digital_signature() && !usage.value.key_encipherment());
        assert!(!certificate.basic_constraints().unwrap().unwrap().value.ca);
        certificate
            .verify_signature(Some(
                &x509_parser::parse_x509_certificate(authority.certificate()).unwrap().1.tbs_certificate.subject_pki,
            ))
            .unwrap();

        let mut strange = object.clone();
        strange["spec"]["signerName"] = Value::from("example.org/mine");
        assert_eq!(sign(&strange, &authority, &signing, at(1_000_000)), Err(Unsigned::NotOurs));
        let late = sign(&object, &authority, &signing, at(100_000_000));
        assert!(matches!(late, Err(Unsigned::Retried(_))), "the CA has ended: {late:?}");
    }

    #[test]
    fn an_ed25519_key_is_signed_too() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "system:nodes");
        params.distinguished_name.push(rcgen::DnType::CommonName, "system:node:a");
        let mut object = fixture("x", "x", &[], &["digital signature", "client auth"]);
        object["spec"]["request"] = encoded(&params.serialize_request(&key).unwrap().pem().unwrap());
        let authority = Authority::new("kubernetes-ca", at(0), at(100_000_000)).unwrap();
        assert!(sign(&object, &authority, &Signing::default(), at(1_000_000)).is_ok());
    }

    #[test]
    fn an_own_backdate_is_obeyed() {
        let signing = Signing { duration: Duration::from_secs(4), backdate: Duration::ZERO, ..Signing::default() };
        assert_eq!(validity(at(1000), None, &signing, at(9999)).unwrap(), (at(1000), at(1004)));
    }
}
