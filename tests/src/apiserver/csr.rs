//! CertificateSigningRequests as the API server keeps them: what it checks, what it writes in, what `/approval` may do.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::SanType;
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;

use super::authn::Identity;
use super::clock::rfc3339;
use super::refusal::{FieldFault, Refusal};
use super::resources::CSRS;

/// The signer of kubelet client certificates.
pub(super) const CLIENT_KUBELET: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// The signer of kubelet serving certificates; nobody approves its requests by default.
pub(super) const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
/// The signer of other clients.
pub(super) const API_CLIENT: &str = "kubernetes.io/kube-apiserver-client";

/// What a PKCS#10 request says.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) common_name: String,
    pub(super) organizations: Vec<String>,
    pub(super) dns: usize,
    pub(super) ips: usize,
    pub(super) emails: usize,
    pub(super) uris: usize,
    pub(super) names: Vec<SanType>,
    /// SubjectPublicKeyInfo, DER.
    pub(super) public_key: Vec<u8>,
}

impl Request {
    /// Reads `spec.request` of an object.
    pub(super) fn of(object: &Value) -> Result<Self, String> {
        let text = object["spec"]["request"].as_str().unwrap_or_default();
        let pem = STANDARD.decode(text).map_err(|error| error.to_string())?;
        Self::parse(&pem)
    }

    fn parse(pem: &[u8]) -> Result<Self, String> {
        let der = CertificateSigningRequestDer::from_pem_slice(pem)
            .map_err(|_| "PEM block type must be CERTIFICATE REQUEST".to_owned())?;
        let (_, request) =
            X509CertificationRequest::from_der(&der).map_err(|error| format!("asn1: structure error: {error}"))?;
        request.verify_signature().map_err(|_| "x509: signature does not match the public key".to_owned())?;
        let info = &request.certification_request_info;
        let subject = &info.subject;
        let mut parsed = Self {
            common_name: subject.iter_common_name().next().and_then(|n| n.as_str().ok()).unwrap_or_default().to_owned(),
            organizations: subject.iter_organization().filter_map(|o| o.as_str().ok()).map(str::to_owned).collect(),
            dns: 0,
            ips: 0,
            emails: 0,
            uris: 0,
            names: Vec::new(),
            public_key: info.subject_pki.raw.to_vec(),
        };
        for extension in request.requested_extensions().into_iter().flatten() {
            if let ParsedExtension::SubjectAlternativeName(names) = extension {
                for name in &names.general_names {
                    parsed.add_name(name)?;
                }
            }
        }
        Ok(parsed)
    }

    fn add_name(&mut self, name: &GeneralName<'_>) -> Result<(), String> {
        let text = |text: &str| text.try_into().map_err(|error: rcgen::Error| error.to_string());
        let name = match name {
            GeneralName::DNSName(name) => {
                self.dns += 1;
                SanType::DnsName(text(name)?)
            }
            GeneralName::RFC822Name(name) => {
                self.emails += 1;
                SanType::Rfc822Name(text(name)?)
            }
            GeneralName::URI(name) => {
                self.uris += 1;
                SanType::URI(text(name)?)
            }
            GeneralName::IPAddress(bytes) => {
                self.ips += 1;
                SanType::IpAddress(address(bytes)?)
            }
            _ => return Ok(()),
        };
        self.names.push(name);
        Ok(())
    }
}

/// A name as people write it.
pub(super) fn text_of(name: &SanType) -> String {
    match name {
        SanType::DnsName(name) | SanType::Rfc822Name(name) | SanType::URI(name) => name.to_string(),
        SanType::IpAddress(address) => address.to_string(),
        other => format!("{other:?}"),
    }
}

fn address(bytes: &[u8]) -> Result<std::net::IpAddr, String> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Ok(four.into());
    }
    let sixteen = <[u8; 16]>::try_from(bytes).map_err(|_| "x509: cannot parse IP address".to_owned())?;
    Ok(sixteen.into())
}

/// `spec.usages` as a sorted set.
pub(super) fn usages(object: &Value) -> Vec<&str> {
    let mut usages: Vec<&str> =
        object["spec"]["usages"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    usages.sort_unstable();
    usages.dedup();
    usages
}

/// The condition of that type, if the object has it with status True.
pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    conditions(object).find(|c| c["type"] == kind && c["status"] == "True")
}

fn conditions(object: &Value) -> impl Iterator<Item = &Value> {
    object["status"]["conditions"].as_array().into_iter().flatten()
}

/// Adds a condition with the times the API server would write.
pub(super) fn add_condition(object: &mut Value, kind: &str, reason: &str, message: &str, now: SystemTime) {
    let now = rfc3339(now);
    let condition = json!({
        "type": kind, "status": "True", "reason": reason, "message": message,
        "lastUpdateTime": now, "lastTransitionTime": now,
    });
    match &mut object["status"]["conditions"] {
        Value::Array(list) => list.push(condition),
        other => *other = json!([condition]),
    }
}

/// What the server writes into a new object: who asks, and no status whatever the client sent.
pub(super) fn prepare_for_create(object: &mut Value, who: &Identity) {
    if !object["spec"].is_object() {
        object["spec"] = json!({});
    }
    for field in ["username", "uid", "groups", "extra"] {
        if let Some(spec) = object["spec"].as_object_mut() {
            spec.remove(field);
        }
    }
    if let Value::Object(info) = who.user_info() {
        for (field, value) in info {
            object["spec"][field] = value;
        }
    }
    object["status"] = json!({});
}

/// Bytes that are no base64 fail before any rule is asked: the object cannot be read at all.
pub(super) fn check_encoding(object: &Value) -> Result<(), Refusal> {
    let text = object["spec"]["request"].as_str().unwrap_or_default();
    STANDARD.decode(text).map(drop).map_err(|error| {
        let what = "CertificateSigningRequest in version \"v1\" cannot be handled as a CertificateSigningRequest";
        Refusal::bad_request(format!("{what}: illegal base64 data: {error}"))
    })
}

/// `ValidateCertificateSigningRequestCreate` of `pkg/apis/certificates/validation`.
pub(super) fn validate(object: &Value) -> Vec<FieldFault> {
    let mut faults = Vec::new();
    let spec = &object["spec"];
    if let Err(why) = Request::of(object) {
        let shown = format!("{:?}", spec["request"].as_str().unwrap_or_default());
        faults.push(FieldFault::invalid("spec.request", &shown, &why));
    }
    if usages(object).is_empty() {
        faults.push(FieldFault::required("spec.usages", ""));
    }
    match spec["signerName"].as_str().unwrap_or_default() {
        "" => faults.push(FieldFault::required("spec.signerName", "")),
        signer if signer.split_once('/').is_none_or(|(host, path)| !host.contains('.') || path.is_empty()) => {
            let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
            faults.push(FieldFault::invalid("spec.signerName", &format!("{signer:?}"), why));
        }
        _ => {}
    }
    if let Some(seconds) = spec["expirationSeconds"].as_i64()
        && seconds < 600
    {
        let why = "may not specify a duration less than 600 seconds (10 minutes)";
        faults.push(FieldFault::invalid("spec.expirationSeconds", &seconds.to_string(), why));
    }
    faults
}

/// A PUT to `/approval`: only the conditions are taken, and what was decided stays decided.
pub(super) fn approval(existing: &Value, sent: &Value, now: SystemTime) -> Result<Value, Refusal> {
    let name = existing["metadata"]["name"].as_str().unwrap_or_default();
    let mut next = existing.clone();
    let mut list: Vec<Value> = Vec::new();
    for condition in conditions(sent) {
        let mut condition = condition.clone();
        for field in ["lastUpdateTime", "lastTransitionTime"] {
            if condition[field].is_null() {
                condition[field] = Value::from(rfc3339(now));
            }
        }
        list.push(condition);
    }
    for decided in conditions(existing) {
        if !list.iter().any(|c| c["type"] == decided["type"]) {
            let why = format!("updates may not remove a condition of type {}", decided["type"]);
            return Err(Refusal::invalid(&CSRS, name, &[FieldFault::forbidden("status.conditions", &why)]));
        }
    }
    let has = |kind: &str| list.iter().any(|c| c["type"] == kind);
    if has("Approved") && has("Denied") {
        let why = "Approved and Denied conditions are mutually exclusive";
        let fault = FieldFault::invalid("status.conditions", "\"Denied\"", why);
        return Err(Refusal::invalid(&CSRS, name, &[fault]));
    }
    next["status"]["conditions"] = Value::Array(list);
    Ok(next)
}

/// A request as a test wants it: PEM, signed by a new key.
#[cfg(test)]
pub(super) fn fixture_pem(common_name: &str, organization: &str, names: &[&str]) -> String {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, organization);
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
}

/// The same as an object for the signer of kubelet client certificates.
#[cfg(test)]
pub(super) fn fixture(common_name: &str, organization: &str, names: &[&str], usages: &[&str]) -> Value {
    let request = STANDARD.encode(fixture_pem(common_name, organization, names));
    let spec = json!({"request": request, "signerName": CLIENT_KUBELET, "usages": usages});
    json!({"metadata": {"name": "x", "uid": "u"}, "spec": spec})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(pem: &str, signer: &str, usages: &[&str]) -> Value {
        json!({"metadata": {"name": "x"}, "spec": {"request": STANDARD.encode(pem), "signerName": signer, "usages": usages}})
    }

    #[test]
    fn a_request_is_read() {
        let pem = fixture_pem("system:node:a", "system:nodes", &["a.example", "127.0.0.1"]);
        let request = Request::parse(pem.as_bytes()).unwrap();
        assert_eq!(request.common_name, "system:node:a");
        assert_eq!(request.organizations, ["system:nodes"]);
        assert_eq!((request.dns, request.ips, request.emails, request.uris), (1, 1, 0, 0));
    }

    #[test]
    fn every_fault_is_told() {
        let good = fixture_pem("system:node:a", "system:nodes", &[]);
        let mut tampered = pem_with_another_key();
        let with_seconds = |seconds: i64| {
            let mut object = object(&good, CLIENT_KUBELET, &["client auth"]);
            object["spec"]["expirationSeconds"] = json!(seconds);
            object
        };
        for (name, object, want) in [
            ("good", object(&good, CLIENT_KUBELET, &["client auth"]), ""),
            ("not PEM", object("junk", CLIENT_KUBELET, &["client auth"]), "PEM block type must be CERTIFICATE REQUEST"),
            (
                "a certificate",
                object(&good.replace("CERTIFICATE REQUEST", "CERTIFICATE"), CLIENT_KUBELET, &["client auth"]),
                "PEM block type",
            ),
            (
                "signed by another key",
                object(&std::mem::take(&mut tampered), CLIENT_KUBELET, &["client auth"]),
                "x509: signature",
            ),
            ("no usages", object(&good, CLIENT_KUBELET, &[]), "spec.usages: Required value"),
            ("no signer", object(&good, "", &["client auth"]), "spec.signerName: Required value"),
            (
                "signer without path",
                object(&good, "example.com", &["client auth"]),
                "must be a fully qualified domain and path",
            ),
            ("one second too short", with_seconds(599), "spec.expirationSeconds: Invalid value: 599"),
            ("just long enough", with_seconds(600), ""),
            ("two faults", object("junk", "", &["client auth"]), "is invalid: [spec.request"),
        ] {
            let faults = validate(&object);
            let told = Refusal::invalid(&CSRS, "x", &faults).status().to_string().replace("\\\"", "\"");
            assert_eq!(faults.is_empty(), want.is_empty(), "{name}: {told}");
            assert!(told.contains(want), "{name}: {told}");
        }
    }

    fn pem_with_another_key() -> String {
        // The signature is the last thing in the DER: a changed last byte is the signature of nobody.
        let good = fixture_pem("system:node:a", "system:nodes", &[]);
        let der = CertificateSigningRequestDer::from_pem_slice(good.as_bytes()).unwrap();
        let mut bytes = der.as_ref().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        let body = STANDARD.encode(bytes);
        format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n")
    }

    #[test]
    fn what_was_decided_stays_decided() {
        let now = SystemTime::UNIX_EPOCH;
        let with = |kinds: &[&str]| {
            let mut object = object("", CLIENT_KUBELET, &[]);
            for kind in kinds {
                add_condition(&mut object, kind, "R", "m", now);
            }
            object
        };
        for (name, before, sent, want) in [
            ("approve", vec![], vec!["Approved"], None),
            ("deny", vec![], vec!["Denied"], None),
            ("again", vec!["Approved"], vec!["Approved"], None),
            ("both", vec![], vec!["Approved", "Denied"], Some(422)),
            ("deny what was approved", vec!["Approved"], vec!["Approved", "Denied"], Some(422)),
            ("take back", vec!["Approved"], vec![], Some(422)),
        ] {
            let got = approval(&with(&before), &with(&sent), now).err().map(|refusal| refusal.code.as_u16());
            assert_eq!(got, want, "{name}");
        }
    }
}
