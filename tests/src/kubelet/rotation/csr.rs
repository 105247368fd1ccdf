//! One request for a certificate as client-go makes it: a new key, a random name, and a watch until it is issued.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::client::Client;
use crate::kubelet::say;

const PATH: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
/// `certificateWaitTimeout`
const WITHIN: Duration = Duration::from_secs(15 * 60);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum Missed {
    /// The server did not answer, or with a fault of its own.
    #[error("{0:#}")]
    NoAnswer(anyhow::Error),
    /// It answered, and that was no certificate.
    #[error("{0}")]
    Answered(String),
}

/// A key as the kubelet writes it (SEC1 PEM) and a request for `system:node:<node>` (PKCS#10 PEM).
pub(super) fn new_request(node: &str) -> Result<(String, String)> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
    params.distinguished_name.push(DnType::CommonName, format!("system:node:{node}"));
    Ok((sec1(&key)?, params.serialize_request(&key)?.pem()?))
}

/// Go's `x509.MarshalECPrivateKey` of a P-256 key, as PEM.
fn sec1(key: &KeyPair) -> Result<String> {
    /// version 1, and the start of an octet string of 32 bytes: where the private key begins in PKCS#8.
    const BEFORE: [u8; 5] = [2, 1, 1, 4, 32];
    /// [0] { OID prime256v1 }
    const CURVE: [u8; 12] = [0xa0, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    /// [1] { BIT STRING of 65 bytes, no unused bits }
    const POINT: [u8; 5] = [0xa1, 68, 3, 66, 0];
    let pkcs8 = key.serialize_der();
    let at = pkcs8.windows(BEFORE.len()).position(|part| part == BEFORE).context("the key is not P-256")?;
    let secret = pkcs8.get(at + BEFORE.len()..at + BEFORE.len() + 32).context("the key is too short")?;
    let public = key.public_key_raw();
    let content = [&BEFORE, secret, &CURVE, &POINT, public].concat();
    let der = [&[0x30, u8::try_from(content.len())?], content.as_slice()].concat();
    let base64 = STANDARD.encode(der);
    let mut pem = "-----BEGIN EC PRIVATE KEY-----\n".to_owned();
    for line in base64.as_bytes().chunks(64) {
        pem.push_str(std::str::from_utf8(line)?);
        pem.push('\n');
    }
    Ok(pem + "-----END EC PRIVATE KEY-----\n")
}

/// Sends the request and waits for its certificate, PEM.
pub(super) async fn issued(client: &mut Client, request: &str) -> Result<String, Missed> {
    let object = json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": {"generateName": "csr-"},
        "spec": {
            "request": STANDARD.encode(request),
            "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
            "usages": ["digital signature", "client auth"],
        },
    });
    let reply = client.post(PATH, &object).await.map_err(Missed::NoAnswer)?;
    if reply.status != StatusCode::CREATED {
        let words = format!("creating the request: {} {}", reply.status, reply.json()["message"]);
        let answered = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND].contains(&reply.status);
        return Err(if answered { Missed::Answered(words) } else { Missed::NoAnswer(anyhow!(words)) });
    }
    let name = reply.json()["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    say(&format!("request {name} was sent"));
    match timeout(WITHIN, until_issued(client, &name)).await {
        Ok(result) => result.map_err(|error| Missed::Answered(format!("{error:#}"))),
        Err(_) => Err(Missed::Answered(format!("{name} was not issued within {} s", WITHIN.as_secs()))),
    }
}

async fn until_issued(client: &mut Client, name: &str) -> Result<String> {
    loop {
        let list = client.get(&format!("{PATH}?fieldSelector=metadata.name%3D{name}&limit=500")).await?.json();
        let item = list["items"].get(0).with_context(|| format!("{name} is gone"))?;
        if let Some(certificate) = certificate(item)? {
            return Ok(certificate);
        }
        let version = list["metadata"]["resourceVersion"].as_str().unwrap_or("0");
        let path = format!(
            "{PATH}?fieldSelector=metadata.name%3D{name}&watch=true&resourceVersion={version}\
             &allowWatchBookmarks=true&timeoutSeconds=300"
        );
        let Some(found) = watch(client, &path).await? else { continue };
        return Ok(found);
    }
}

/// Watches until there is a certificate, or the watch ends.
async fn watch(client: &mut Client, path: &str) -> Result<Option<String>> {
    let mut watch = client.again().watch(path).await?;
    while let Some(event) = watch.next().await? {
        match event["type"].as_str() {
            Some("ADDED" | "MODIFIED") => {
                if let Some(certificate) = certificate(&event["object"])? {
                    return Ok(Some(certificate));
                }
            }
            Some("DELETED") => bail!("the request was deleted"),
            Some("BOOKMARK") => {}
            _ => return Ok(None),
        }
    }
    Ok(None)
}

/// The certificate of a request that is approved and issued; an error if it never will be.
fn certificate(object: &Value) -> Result<Option<String>> {
    let conditions = object["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    let has = |kind: &str| conditions.iter().find(|condition| condition["type"] == kind);
    for kind in ["Denied", "Failed"] {
        if let Some(condition) = has(kind) {
            bail!("certificate signing request is {kind}: {} {}", condition["reason"], condition["message"]);
        }
    }
    let text = object["status"]["certificate"].as_str().unwrap_or_default();
    if has("Approved").is_none() || text.is_empty() {
        return Ok(None);
    }
    Ok(Some(String::from_utf8(STANDARD.decode(text)?)?))
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::PrivateKeyDer;
    use rustls_pki_types::pem::PemObject as _;

    use super::*;

    #[test]
    fn its_key_is_one_that_rustls_knows() {
        let (key, request) = new_request("node-a").unwrap();
        assert!(request.starts_with("-----BEGIN CERTIFICATE REQUEST-----"), "{request}");
        let der = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        assert!(matches!(der, PrivateKeyDer::Sec1(_)), "SEC1, as Go writes it");
        let known = rustls::crypto::ring::sign::any_supported_type(&der).unwrap();
        assert!(known.public_key().is_some());
    }

    #[test]
    fn an_answer_is_read_to_its_end() {
        let with = |kind: &str, certificate: &str| json!({"status": {"conditions": [{"type": kind}], "certificate": certificate}});
        let pem = STANDARD.encode("PEM");
        assert_eq!(certificate(&json!({})).unwrap(), None, "pending");
        assert_eq!(certificate(&with("Approved", "")).unwrap(), None, "not signed yet");
        assert_eq!(certificate(&with("Approved", &pem)).unwrap().as_deref(), Some("PEM"));
        for kind in ["Denied", "Failed"] {
            assert!(certificate(&with(kind, "")).unwrap_err().to_string().contains(kind), "{kind}");
        }
    }
}
