//! What goes wrong between a node and its cluster, one after the other on one host: each has its own reason, each is got over,
//! and the kubelet is one process from the first to the last.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use eyewall_core::csr;
use serde_json::json;
use tests::apiserver::{ApiServer, ApprovalMode, Fault, FaultAction, Kubeconfig, Options, Signing, Token, View};
use tokio::time::Instant;
use vm_tests::scene::{cluster, short_lived};
use vm_tests::{Runtime, Scene, Vm};

use crate::certificate::{Kubelet, SOON, drop_kubeconfig, installed_after, recovered, renew, request, state};
use crate::expect::{clean_host, good, one_identity, serial};

const HOUR: Duration = Duration::from_secs(3_600);
/// A life whose end is worth waiting for, and a renewal in it that an emulated host is done with.
const SHORT: Duration = Duration::from_secs(25);
/// What a fresh kubeconfig may take on an emulated host; `tests/tests/unbroken.rs` holds the two seconds of a real one.
const HEALED_WITHIN: Duration = Duration::from_secs(20);
const CSRS: &str = "certificatesigningrequests";

#[tokio::test]
async fn a_node_gets_over_whatever_its_cluster_does() -> Result<()> {
    let scene = Scene::open(Signing { approval: denial(), ..short_lived(HOUR) }).await?;
    let vm = Vm::boot(&scene.lab, &scene.worker(Runtime::Podman)).await?;
    let api = &scene.api;
    let name = denied(&vm, api).await?;
    // It waits for its certificate; the kubelet, with its placeholder, has long been started.
    let kubelet = Kubelet::of(&vm).await?;
    failed(&vm, api, &name).await?;
    let name = deleted_and_taken(&vm, api, &name).await?;
    never_approved(&vm, api, &name).await?;
    good(&vm).await?;
    kubelet.goes_on(&vm).await?;
    token_revoked(&vm, api).await?;
    kubelet.goes_on(&vm).await?;
    one_identity(api, "node-a")?;

    // The same address from here on, and other clusters behind it.
    let ends = short_authority(&vm, api).await?;
    kubelet.goes_on(&vm).await?;
    authority_ended(&vm, &ends).await?;
    let last = authority_replaced(&vm, &ends).await?;
    let status = good(&vm).await?;
    kubelet.goes_on(&vm).await?;
    ensure!(status.agent.limits.is_empty(), "{:#?}", status.agent.limits);
    one_identity(&last, "node-a")?;
    clean_host(&vm, &last).await
}

fn denial() -> ApprovalMode {
    ApprovalMode::Deny { reason: "OperatorDenied".to_owned(), message: "not one of ours".to_owned() }
}

/// Denied; the operator deletes the request, and it is asked for again. Returns its name.
async fn denied(vm: &Vm, api: &ApiServer) -> Result<String> {
    let started = Instant::now();
    let status = state(vm, "denied", &["request-denied"]).await?;
    ensure!(status.certificates.reason.message.contains("delete the CSR"), "{:#?}", status.certificates);
    let name = request(&status)?;
    let asked = api.requests_about_certificates().len();
    tokio::time::sleep(Duration::from_secs(3)).await;
    ensure!(api.requests_about_certificates().len() == asked, "the server is not left alone");
    let (reason, message) = ("SignerValidationFailure".to_owned(), "no such profile".to_owned());
    api.set_approval(ApprovalMode::Fail { reason, message });
    ensure!(api.remove(CSRS, "", &name), "there is no {name}");
    renew(vm).await?;
    recovered(vm, "denied, deleted, and asked for again", started);
    Ok(name)
}

/// The signer fails; the operator deletes the request, and it is asked for again.
async fn failed(vm: &Vm, api: &ApiServer, name: &str) -> Result<()> {
    let started = Instant::now();
    let status = state(vm, "denied", &["request-failed"]).await?;
    ensure!(request(&status)? == name, "the same key has another name: {:#?}", status.certificates);
    api.set_approval(ApprovalMode::Manual);
    api.forget_requests();
    // A watch that ends, as they do, so that what it waits for is told now and not in a minute.
    api.inject(Fault::new(FaultAction::EndWatch { lines: Vec::new() }).path(csr::PATH));
    ensure!(api.remove(CSRS, "", name), "there is no {name}");
    renew(vm).await?;
    state(vm, "pending-approval", &["approval-pending"]).await?;
    recovered(vm, "failed, deleted, and asked for again", started);
    Ok(())
}

/// The request is deleted while it is watched, and before it is sent again its name is taken. Returns the new one.
async fn deleted_and_taken(vm: &Vm, api: &ApiServer, name: &str) -> Result<String> {
    let started = Instant::now();
    // Behind the watch that ended.
    let watches = |seen: &View<'_>| {
        seen.requests().iter().filter(|r| r.path.starts_with(csr::PATH) && r.path.contains("watch=true")).count()
    };
    api.wait_until(SOON, |seen| watches(seen) >= 2).await?;
    ensure!(api.remove(CSRS, "", name), "there is no {name}");
    let foreign = json!({
        "kind": "CertificateSigningRequest", "metadata": {"name": name},
        "spec": {"request": "Zm9yZWlnbg==", "signerName": csr::SIGNER, "usages": csr::USAGES, "username": "jane"},
        "status": {},
    });
    api.apply(foreign)?;
    let status = state(vm, "requesting", &["request-deleted"]).await?;
    ensure!(request(&status)? == name, "{:#?}", status.certificates);
    recovered(vm, "deleted while it was watched: told", started);

    let started = Instant::now();
    let status = state(vm, "requesting", &["request-of-another"]).await?;
    ensure!(status.certificates.reason.message.contains(name), "{:#?}", status.certificates);
    renew(vm).await?;
    let status = state(vm, "pending-approval", &["request-sent", "approval-pending"]).await?;
    let own = request(&status)?;
    ensure!(own != name, "a key of its own has a name of its own");
    ensure!(api.remove(CSRS, "", name), "the foreign object was not left alone");
    recovered(vm, "a foreign object of the same name", started);
    Ok(own)
}

/// Nobody approves; then somebody does.
async fn never_approved(vm: &Vm, api: &ApiServer, name: &str) -> Result<()> {
    let started = Instant::now();
    state(vm, "pending-approval", &["request-sent", "approval-pending"]).await?;
    ensure!(api.csrs().len() == 1, "{:#?}", api.csrs());
    ensure!(api.approve(name), "there is no {name}");
    state(vm, "valid", &["certificate-valid"]).await?;
    recovered(vm, "pending, and then approved", started);
    Ok(())
}

/// The certificate ends and the token is gone; a fresh kubeconfig is dropped at its path.
async fn token_revoked(vm: &Vm, api: &ApiServer) -> Result<()> {
    let started = Instant::now();
    api.set_signing(|signing| (signing.approval, signing.duration) = (ApprovalMode::Auto, SHORT));
    let before = serial(&vm.status().await?);
    renew(vm).await?;
    // Only now: the renewal to come is not to be approved, and the token is worth nothing when the certificate has ended.
    api.wait_until(SOON, |seen| seen.csrs().iter().filter(|csr| csr.issued()).count() == 2).await?;
    api.set_approval(ApprovalMode::Manual);
    api.revoke_token("abcdef");
    let status = state(vm, "token-rejected", &["credential-rejected"]).await?;
    ensure!(serial(&status) != before, "it was not renewed: {:#?}", status.certificates);
    let advice = "Put a fresh bootstrap kubeconfig in its place";
    ensure!(status.certificates.reason.message.contains(advice), "{:#?}", status.certificates);
    let agent = status.agent.pid;

    api.set_signing(|signing| (signing.approval, signing.duration) = (ApprovalMode::Auto, HOUR));
    api.put_token(Token::new("fresh0.0123456789abcdef"));
    let fresh = Kubeconfig::typhoon(&api.url(), api.ca_pem(), "fresh0.0123456789abcdef");
    let uptime = drop_kubeconfig(vm, &fresh.to_yaml()).await?;
    let status = state(vm, "valid", &["certificate-valid"]).await?;
    ensure!(status.agent.pid == agent, "the agent was restarted: {status:#?}");
    let took = installed_after(vm, uptime).await?;
    vm.progress().say(&format!("a fresh kubeconfig healed the node in {} ms by its own clock", took.as_millis()));
    ensure!(took < HEALED_WITHIN, "{took:?}");
    recovered(vm, "token revoked, certificate ended, fresh kubeconfig", started);
    Ok(())
}

/// Another cluster at the address, whose CA ends soon.
async fn short_authority(vm: &Vm, old: &ApiServer) -> Result<ApiServer> {
    another_cluster(
        vm,
        old,
        Options { authority_lifetime: SHORT + Duration::from_secs(10), ..cluster(short_lived(HOUR)) },
    )
    .await
}

/// The CA ends: that is said, and nothing is asked for in vain.
async fn authority_ended(vm: &Vm, api: &ApiServer) -> Result<()> {
    let started = Instant::now();
    let status = state(vm, "ca-expired", &["authority-expired"]).await?;
    ensure!(status.certificates.reason.message.contains("the cluster needs a new CA"), "{:#?}", status.certificates);
    api.forget_requests();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let asked: Vec<_> = api.requests().into_iter().filter(|request| request.path.starts_with(csr::PATH)).collect();
    ensure!(asked.is_empty(), "asked in vain: {asked:#?}");
    recovered(vm, "the CA has ended: told, and nothing asked", started);
    Ok(())
}

async fn authority_replaced(vm: &Vm, old: &ApiServer) -> Result<ApiServer> {
    another_cluster(vm, old, cluster(short_lived(HOUR))).await
}

/// A cluster with a CA of its own takes the place of the old one: the old trust stays until there is a certificate of the new.
async fn another_cluster(vm: &Vm, old: &ApiServer, options: Options) -> Result<ApiServer> {
    let started = Instant::now();
    let authority = "cat /var/lib/kubelet/pki/cluster-ca.crt";
    old.stop();
    let new = ApiServer::start(Options { listen: old.address(), ..options }).await?;
    ensure!(vm.guest().get(authority).await? == old.ca_pem().trim(), "the old CA is in force");
    let before = serial(&vm.status().await?);
    drop_kubeconfig(vm, &new.bootstrap_kubeconfig()).await?;
    vm.wait_for("a certificate of the new CA", SOON, async |vm| {
        let status = vm.status().await?;
        ensure!(
            status.certificates.state.as_str() == "valid" && serial(&status) != before,
            "{:#?}",
            status.certificates
        );
        ensure!(vm.guest().get(authority).await? == new.ca_pem().trim(), "the old CA is still trusted");
        Ok(())
    })
    .await?;
    let csrs = new.csrs();
    ensure!(csrs.len() == 1, "one request for the new cluster: {csrs:#?}");
    ensure!(csrs.first().context("a request")?.requester == "system:bootstrap:abcdef", "{csrs:#?}");
    recovered(vm, "the CA replaced, and the kubeconfig with it", started);
    Ok(new)
}
