//! The stand-in itself, over its own TLS: the parts that no recording reaches.

use std::time::Duration;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};
use tests::apiserver::{ApiServer, Options};
use tests::client::{Client, Login};

const CSRS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const SOON: Duration = Duration::from_secs(10);

/// A request for a node's client certificate, and the key it is for.
fn request(name: &str, node: &str) -> (Value, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
    params.distinguished_name.push(DnType::CommonName, format!("system:node:{node}"));
    let pem = params.serialize_request(&key).unwrap().pem().unwrap();
    let object = json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name},
        "spec": {
            "request": STANDARD.encode(pem), "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
            "usages": ["digital signature", "client auth"],
        },
    });
    (object, key)
}

fn client(api: &ApiServer, login: &Login) -> Result<Client> {
    Client::new(&api.url(), api.ca_pem(), login)
}

#[tokio::test]
async fn a_node_bootstraps_and_is_known_by_its_certificate() -> Result<()> {
    let api = ApiServer::start(Options::default()).await?;
    let mut bootstrap = client(&api, &Login::token(&api.token()))?;
    let (object, key) = request("node-csr-1", "node-a");
    let created = bootstrap.post(CSRS, &object).await?;
    assert_eq!(created.status, 201, "{}", created.text());
    let version = created.json()["metadata"]["resourceVersion"].as_str().unwrap().to_owned();

    let path =
        format!("{CSRS}?watch=1&fieldSelector=metadata.name%3Dnode-csr-1&resourceVersion={version}&timeoutSeconds=5");
    let mut watch = client(&api, &Login::token(&api.token()))?.watch(&path).await?;
    let mut conditions = Vec::new();
    let certificate = loop {
        let line = watch.next().await?.expect("a line before the watch ends");
        assert_eq!(line["type"], "MODIFIED");
        conditions.push(line["object"]["status"]["conditions"][0]["reason"].as_str().unwrap().to_owned());
        if let Some(certificate) = line["object"]["status"]["certificate"].as_str() {
            break String::from_utf8(STANDARD.decode(certificate)?)?;
        }
    };
    assert_eq!(conditions, ["AutoApproved", "AutoApproved"], "approved in one line, issued in the next");

    let mut node = client(&api, &Login::certificate(&format!("{certificate}{}", key.serialize_pem())))?;
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let who = node.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", &review).await?.json();
    assert_eq!(who["status"]["userInfo"]["username"], "system:node:node-a");
    api.wait_until(SOON, |seen| seen.csrs().iter().all(|csr| csr.issued())).await?;
    Ok(())
}
