//! What stands in a node's way and is taken out of it: each case ends in a good node, with the same key wherever another
//! would not help, and with nothing asked for in vain.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use eyewall_core::csr;
use hyper::Method;
use serde_json::{Value, json};
use tests::apiserver::{ApiServer, ApprovalMode, Authority, Fault, FaultAction, Options, View};
use tests::node::Node;
use tokio::time::Instant;

const SOON: Duration = Duration::from_secs(10);
const HOUR: Duration = Duration::from_secs(3_600);
const CSRS: &str = "certificatesigningrequests";

async fn cluster() -> Result<(ApiServer, Node)> {
    Ok((ApiServer::start(Options::default()).await?, Node::new("node-a")?))
}

fn denial() -> ApprovalMode {
    ApprovalMode::Deny { reason: "OperatorDenied".to_owned(), message: "not one of ours".to_owned() }
}

/// The name of the open request.
async fn request_name(node: &Node) -> Result<String> {
    let status = node.wait(SOON, |status| status.certificates.request.is_some()).await?;
    Ok(status.certificates.request.context("waited for")?.name)
}

#[tokio::test]
async fn a_request_that_was_deleted_while_nobody_watched_is_sent_again_with_its_key() -> Result<()> {
    let (api, mut node) = cluster().await?;
    api.set_approval(ApprovalMode::Manual);
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    node.start()?;
    node.wait_for(SOON, "pending-approval", "request-sent").await?;
    let name = request_name(&node).await?;
    let key = api.csrs()[0].public_key.clone();
    node.kill().await?;
    assert!(api.remove(CSRS, "", &name));
    node.start()?;
    api.wait_until(SOON, |seen| seen.csrs().len() == 1).await?;
    assert_eq!((&api.csrs()[0].name, &api.csrs()[0].public_key), (&name, &key));
    assert!(api.approve(&name));
    node.wait_for(SOON, "valid", "certificate-valid").await?;
    Ok(())
}

#[tokio::test]
async fn a_request_that_is_deleted_while_it_is_watched_says_so_and_is_sent_again() -> Result<()> {
    let (api, mut node) = cluster().await?;
    api.set_approval(ApprovalMode::Manual);
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    node.start()?;
    node.wait_for(SOON, "pending-approval", "request-sent").await?;
    let name = request_name(&node).await?;
    let seen = std::time::Duration::from_millis(300);
    tokio::time::sleep(seen).await;
    assert!(api.remove(CSRS, "", &name));
    // At once, not when the watch is over.
    node.wait_for(Duration::from_secs(2), "requesting", "request-deleted").await?;
    let told = node.events().await?;
    assert!(
        told.iter().any(|event| event.fields.get("kind").is_some_and(|kind| kind == "request-deleted")),
        "{told:#?}"
    );
    api.set_approval(ApprovalMode::Auto);
    node.wait_for(Duration::from_secs(20), "valid", "certificate-valid").await?;
    assert_eq!(api.csrs().len(), 1);
    assert_eq!(api.csrs()[0].name, name, "the same key");
    Ok(())
}

#[tokio::test]
async fn a_denied_request_is_asked_for_again_once_it_is_deleted() -> Result<()> {
    for by_hand in [false, true] {
        let (api, mut node) = cluster().await?;
        api.set_approval(denial());
        node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
        if !by_hand {
            // The next look is two minutes away.
            node.hurry(40)?;
        }
        node.start()?;
        node.wait_for(SOON, "denied", "request-denied").await?;
        let name = request_name(&node).await?;
        api.set_approval(ApprovalMode::Auto);
        assert!(api.remove(CSRS, "", &name));
        if by_hand {
            let renew = node.command(&["certificates", "renew"])?.output().await?;
            assert!(renew.status.success(), "{}", String::from_utf8_lossy(&renew.stderr));
        }
        node.wait_for(SOON, "valid", "certificate-valid").await?;
        let csrs = api.csrs();
        assert_eq!((csrs.len(), &csrs[0].name), (1, &name), "by hand: {by_hand}");
    }
    Ok(())
}

type Change = fn(&mut Value);

/// What the node would send, as an object of its name that somebody else made first.
fn somebody_elses(node: &Node, name: &str, change: Change) -> Result<Value> {
    let text = std::fs::read_to_string(node.pki().join("kubelet-client-request.pem"))?;
    let start = text.find("-----BEGIN CERTIFICATE REQUEST").context("a request")?;
    let end = "-----END CERTIFICATE REQUEST-----";
    let stop = text.find(end).context("its end")? + end.len();
    let mut object = json!({
        "kind": "CertificateSigningRequest", "metadata": {"name": name},
        "spec": {
            "request": STANDARD.encode(format!("{}\n", &text[start..stop])),
            "signerName": csr::SIGNER, "usages": csr::USAGES,
            "username": "system:bootstrap:other0", "groups": ["system:bootstrappers", "system:authenticated"],
        },
        "status": {},
    });
    change(&mut object);
    Ok(object)
}

#[tokio::test]
async fn a_foreign_object_of_the_same_name_is_left_alone() -> Result<()> {
    let changes: [(&str, Change); 4] = [
        ("another key", |object| object["spec"]["request"] = json!("b3RoZXI=")),
        ("another signer", |object| object["spec"]["signerName"] = json!("kubernetes.io/kube-apiserver-client")),
        ("another usage", |object| object["spec"]["usages"] = json!(["digital signature", "server auth"])),
        ("a short life", |object| object["spec"]["expirationSeconds"] = json!(600)),
    ];
    for (what, change) in changes {
        let (api, mut node) = cluster().await?;
        // The key is on disk, and its request does not get through.
        let busy = FaultAction::Status { code: 500, retry_after: None, body: None };
        api.inject(Fault::new(busy).method(Method::POST).path(csr::PATH).always());
        node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
        // A new key is made half a minute later.
        node.hurry(20)?;
        node.start()?;
        node.wait_for(SOON, "server-unreachable", "server-error").await?;
        let name = request_name(&node).await?;
        api.set_approval(ApprovalMode::Manual);
        let foreign = api.apply(somebody_elses(&node, &name, change)?)?;
        api.clear_faults();
        let status = node.wait_for(SOON, "requesting", "request-of-another").await.context(what)?;
        let message = status.certificates.reason.message;
        assert!(message.contains(&name) && message.contains("left alone"), "{what}: {message}");
        api.set_approval(ApprovalMode::Auto);
        node.wait_for(SOON, "valid", "certificate-valid").await.context(what)?;
        let ours: Vec<_> = api.csrs().into_iter().filter(|csr| csr.name != name).collect();
        assert!(ours.len() == 1 && ours[0].issued(), "{what}: {ours:#?}");
        let after = api.look(|seen| seen.object(CSRS, "", &name)).context("it is still there")?;
        assert_eq!(after["spec"], foreign["spec"], "{what}");
    }
    Ok(())
}

/// Our key and our words under our name: whoever sent them, the certificate is of use to nobody else.
#[tokio::test]
async fn our_own_request_counts_whoever_sent_it() -> Result<()> {
    let (api, mut node) = cluster().await?;
    let busy = FaultAction::Status { code: 500, retry_after: None, body: None };
    api.inject(Fault::new(busy).method(Method::POST).path(csr::PATH).always());
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    node.start()?;
    node.wait_for(SOON, "server-unreachable", "server-error").await?;
    let name = request_name(&node).await?;
    api.apply(somebody_elses(&node, &name, |_| {})?)?;
    api.clear_faults();
    node.wait_for(SOON, "valid", "certificate-valid").await?;
    let csrs = api.csrs();
    assert_eq!((csrs.len(), csrs[0].requester.as_str()), (1, "system:bootstrap:other0"));
    Ok(())
}

/// A server that does not take what its own signer issued, such as one that has not read a new CA yet: the same certificate is
/// tried again, and not one object more is made.
#[tokio::test]
async fn a_certificate_that_is_not_accepted_yet_costs_one_object() -> Result<()> {
    let (api, mut node) = cluster().await?;
    let refusal = FaultAction::Status { code: 401, retry_after: None, body: None };
    let review = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    api.inject(Fault::new(refusal).method(Method::POST).path(review).always());
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    node.hurry(60)?;
    node.start()?;
    node.wait_for(SOON, "requesting", "certificate-not-accepted").await?;
    let proofs = |count: usize| move |seen: &View<'_>| seen.count("POST", review) >= count;
    api.wait_until(SOON, proofs(4)).await?;
    assert_eq!(std::fs::metadata(node.current())?.len(), 0, "what is not proved is not installed");
    api.clear_faults();
    node.wait_for(SOON, "valid", "certificate-valid").await?;
    assert_eq!(api.csrs().len(), 1);
    Ok(())
}

#[tokio::test]
async fn an_authority_that_has_ended_is_said_and_nothing_is_asked_for_in_vain() -> Result<()> {
    let day = 24 * HOUR;
    let authority = Arc::new(Authority::new("kubernetes-ca", now() - 365 * day, now() - HOUR)?);
    let api = ApiServer::start(Options { authority: Some(authority), ..Options::default() }).await?;
    let mut node = Node::new("node-a")?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    // Two hours in half a minute; `certificates/year.rs` has days of it.
    let (pace, span) = (240, Duration::from_secs(30));
    node.hurry(pace)?;
    let started = Instant::now();
    node.start()?;
    let watched = async {
        let status = node.wait_for(SOON, "ca-expired", "authority-expired").await?;
        assert!(status.certificates.reason.message.contains("the cluster needs a new CA"), "{status:#?}");
        tokio::time::sleep(span).await;
        node.wait_for(SOON, "ca-expired", "authority-expired").await
    };
    tokio::select! {
        watched = watched => drop(watched?),
        never = api.keep_pace(started, pace) => match never {},
    }
    println!(
        "a CA that has ended: {} requests in {} s",
        api.requests_about_certificates().len(),
        (started.elapsed() * pace).as_secs()
    );
    // What it asks for is the time, until it knows that the clock is right.
    assert!(api.requests_about_certificates().len() < 10, "{:#?}", api.requests_about_certificates());
    assert_eq!(in_vain(&api), 0, "{:#?}", api.requests_about_certificates());
    Ok(())
}

#[tokio::test]
async fn an_authority_that_ends_while_its_last_certificate_is_in_force() -> Result<()> {
    let lifetime = Duration::from_secs(8);
    let api = ApiServer::start(Options { authority_lifetime: lifetime, ..Options::default() }).await?;
    let mut node = Node::new("node-a")?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    node.start()?;
    node.wait_for(SOON, "valid", "certificate-valid").await?;
    api.forget_requests();
    node.wait_for(SOON, "valid", "certificate-ends-with-authority").await?;
    node.wait_for(2 * lifetime, "ca-expired", "authority-expired").await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(in_vain(&api), 0, "{:#?}", api.requests_about_certificates());
    assert!(std::fs::metadata(node.current())?.len() > 0, "the kubelet keeps what it has");
    Ok(())
}

/// Requests for a certificate.
fn in_vain(api: &ApiServer) -> usize {
    api.requests_about_certificates().iter().filter(|request| request.path.starts_with(csr::PATH)).count()
}

#[expect(clippy::disallowed_methods, reason = "certificates made for a test end after today")]
fn now() -> SystemTime {
    SystemTime::now()
}
