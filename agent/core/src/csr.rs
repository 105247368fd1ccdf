//! The certificate signing request: its name, its object, and what the API server says about it.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::cert::hex;
use crate::hostname::NodeName;

/// The signer of kubelet client certificates; its requests are auto-approved on a Typhoon cluster.
pub const SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// What the certificate is to be used for: what the signer takes from an ECDSA key. Key encipherment is for RSA only
/// (client-go since 1.27).
pub const USAGES: [&str; 2] = ["digital signature", "client auth"];
/// Where requests live.
pub const PATH: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

/// Whose signature a kubelet asks for, and what it may ask for there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signer {
    /// `spec.signerName`
    pub name: &'static str,
    /// `spec.usages`, which the signer wants to be exactly these of an ECDSA key.
    pub usages: [&'static str; 2],
}

/// For the certificate with which the kubelet asks the API server.
pub const CLIENT: Signer = Signer { name: SIGNER, usages: USAGES };
/// For the certificate with which the kubelet answers. kube-controller-manager signs it and never approves it.
pub const SERVING: Signer =
    Signer { name: "kubernetes.io/kubelet-serving", usages: ["digital signature", "server auth"] };

impl Signer {
    /// The object's name, from the key and the node: whoever finds the key finds the request, so there is one open
    /// request per key, whatever crashes. The prefix is the kubelet's (`certificate/bootstrap/bootstrap.go`), whose digest is
    /// base64url; ours is hex, because people type it.
    pub fn request_name(&self, node: &NodeName, public_key: &[u8]) -> String {
        let mut digest = Sha256::new();
        digest.update(public_key);
        digest.update(b"|");
        digest.update(node.common_name().as_bytes());
        digest.update(b"|");
        digest.update(self.name);
        let digest = hex(&digest.finalize());
        format!("node-csr-{}", digest.get(..40).unwrap_or(&digest))
    }

    /// The object to POST. `request` is the PEM of the PKCS#10 request, already in base64.
    pub fn object(&self, name: &str, request: &str) -> serde_json::Value {
        serde_json::json!({
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"name": name},
            "spec": {
                "request": request,
                "signerName": self.name,
                "usages": self.usages,
            },
        })
    }
}

/// A LIST of requests. Its version is the cluster's present one, which a watch can always start from; that of an object is as
/// old as its last change, and a watch from there is refused once the API server has forgotten that far back (410 Expired).
#[derive(Debug, Deserialize)]
pub struct List {
    /// The version to watch from.
    pub metadata: Metadata,
    /// What was found.
    #[serde(default)]
    pub items: Vec<Object>,
}

/// The parts of a CertificateSigningRequest that we read.
#[derive(Clone, Debug, Deserialize)]
pub struct Object {
    /// Name and version.
    pub metadata: Metadata,
    /// What was asked.
    #[serde(default)]
    pub spec: Spec,
    /// What came of it.
    #[serde(default)]
    pub status: Status,
}

/// `metadata`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// The object's name.
    pub name: String,
    /// Which of all objects that ever had this name.
    pub uid: String,
    /// Where a watch goes on from.
    pub resource_version: String,
}

/// `spec`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// The PEM in base64, as sent.
    pub request: String,
    /// Whose signature it wants.
    pub signer_name: String,
    /// What it wants the certificate for.
    pub usages: Vec<String>,
    /// How long it wants the certificate to live.
    pub expiration_seconds: Option<i64>,
}

/// `status`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Approved, Denied, Failed.
    pub conditions: Vec<Condition>,
    /// The PEM chain in base64, once issued.
    pub certificate: Option<String>,
}

/// One of `status.conditions`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Condition {
    /// `Approved`, `Denied` or `Failed`.
    #[serde(rename = "type")]
    pub kind: String,
    /// CamelCase.
    pub reason: String,
    /// The approver's words.
    pub message: String,
}

/// What the server says about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody has decided.
    Pending,
    /// Approved, and the signer has not signed yet.
    Approved,
    /// Signed: the PEM chain.
    Issued(String),
    /// Refused by an approver.
    Denied {
        /// CamelCase.
        reason: String,
        /// Their words.
        message: String,
    },
    /// Refused by the signer.
    Failed {
        /// CamelCase.
        reason: String,
        /// Its words.
        message: String,
    },
}

impl Object {
    /// Is this the object that we would have made? Names can be seen by every node of a cluster, and whoever sees ours may put
    /// an object of their own in its place once it is gone. Who sent it does not matter: with our key and our words in it, its
    /// certificate is of use to nobody else, and a restart may have come with another credential.
    pub fn asks_the_same(&self, signer: &Signer, request: &str) -> bool {
        let Spec { request: theirs, signer_name, usages, expiration_seconds } = &self.spec;
        let same_usages =
            usages.len() == signer.usages.len() && signer.usages.iter().all(|usage| usages.iter().any(|u| u == usage));
        theirs == request && signer_name == signer.name && same_usages && expiration_seconds.is_none()
    }

    /// Reads conditions and certificate. Denied and Failed win over a certificate: the API server allows no
    /// certificate on a denied request, so one that has both is not to be used.
    pub fn verdict(&self) -> Verdict {
        let find = |kind: &str| self.status.conditions.iter().find(|condition| condition.kind == kind);
        if let Some(denied) = find("Denied") {
            return Verdict::Denied { reason: denied.reason.clone(), message: denied.message.clone() };
        }
        if let Some(failed) = find("Failed") {
            return Verdict::Failed { reason: failed.reason.clone(), message: failed.message.clone() };
        }
        let approved = find("Approved").is_some();
        match self.status.certificate.as_deref().filter(|text| !text.is_empty()) {
            Some(data) if approved => Verdict::Issued(decode(data)),
            _ if approved => Verdict::Approved,
            _ => Verdict::Pending,
        }
    }
}

/// A certificate that is not base64 of text becomes the empty text, which no proof accepts.
fn decode(data: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(data)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostname::node_name;

    #[test]
    fn the_name_follows_key_node_and_signer_and_nothing_else() {
        let (a, b) = (node_name(Some("node-a"), "").unwrap(), node_name(Some("node-b"), "").unwrap());
        let one = CLIENT.request_name(&a, b"key-1");
        assert_eq!(one, CLIENT.request_name(&a, b"key-1"));
        assert_ne!(one, CLIENT.request_name(&a, b"key-2"));
        assert_ne!(one, CLIENT.request_name(&b, b"key-1"));
        assert_ne!(one, SERVING.request_name(&a, b"key-1"));
        assert_eq!(one.len(), "node-csr-".len() + 40);
    }

    #[test]
    fn what_is_ours_and_what_only_has_our_name() {
        let ours = || CLIENT.object("node-csr-1", "cmVxdWVzdA==");
        for (name, path, value, want) in [
            ("ours", "/metadata/labels", serde_json::json!({}), true),
            ("sent by another", "/spec/username", serde_json::json!("system:bootstrap:other1"), true),
            ("usages in another order", "/spec/usages", serde_json::json!(["client auth", "digital signature"]), true),
            ("another key", "/spec/request", serde_json::json!("b3RoZXI="), false),
            ("another signer", "/spec/signerName", serde_json::json!("kubernetes.io/kube-apiserver-client"), false),
            ("one usage less", "/spec/usages", serde_json::json!(["client auth"]), false),
            ("another usage", "/spec/usages", serde_json::json!(["server auth", "client auth"]), false),
            ("a short life", "/spec/expirationSeconds", serde_json::json!(600), false),
        ] {
            let mut object = ours();
            let (above, field) = path.rsplit_once('/').unwrap();
            object.pointer_mut(above).unwrap()[field] = value;
            let object: Object = serde_json::from_value(object).unwrap();
            assert_eq!(object.asks_the_same(&CLIENT, "cmVxdWVzdA=="), want, "{name}");
        }
    }

    #[test]
    fn conditions_decide() {
        let condition = |kind: &str| serde_json::json!({"type": kind, "status": "True", "reason": "R", "message": "m"});
        let (denied, failed) = (
            Verdict::Denied { reason: "R".to_owned(), message: "m".to_owned() },
            Verdict::Failed { reason: "R".to_owned(), message: "m".to_owned() },
        );
        for (name, status, want) in [
            ("new", serde_json::json!({}), Verdict::Pending),
            ("approved", serde_json::json!({"conditions": [condition("Approved")]}), Verdict::Approved),
            (
                "issued",
                serde_json::json!({"conditions": [condition("Approved")], "certificate": "aGVsbG8="}),
                Verdict::Issued("hello".to_owned()),
            ),
            ("a certificate nobody approved", serde_json::json!({"certificate": "aGVsbG8="}), Verdict::Pending),
            ("denied", serde_json::json!({"conditions": [condition("Denied")]}), denied.clone()),
            (
                "denied with a certificate",
                serde_json::json!({"conditions": [condition("Denied"), condition("Approved")], "certificate": "aGVsbG8="}),
                denied,
            ),
            ("failed", serde_json::json!({"conditions": [condition("Approved"), condition("Failed")]}), failed),
            (
                "rubbish for a certificate",
                serde_json::json!({"conditions": [condition("Approved")], "certificate": "%"}),
                Verdict::Issued(String::new()),
            ),
        ] {
            let object: Object =
                serde_json::from_value(serde_json::json!({"metadata": {"name": "x"}, "status": status})).unwrap();
            assert_eq!(object.verdict(), want, "{name}");
        }
    }
}
