//! The kubelet's serving certificate: asked for with the client certificate, for the node's addresses, approved by somebody or
//! nobody, and taken over by the same kubelet process.

use std::time::Duration;

use anyhow::Result;
use eyewall_core::status::Health;
use tests::apiserver::{ApiServer, ApprovalMode, CsrState, Options};
use tests::node::Node;
use tests::serving::{Kubelet, give_addresses, node, pair_loads, part, requests, wait_for};

const SOON: Duration = Duration::from_secs(10);
const KUBELET: &str = env!("CARGO_BIN_EXE_kubelet-standin");
const USUAL: [(&str, &str); 2] = [("InternalIP", "127.0.0.1"), ("Hostname", "node-a")];

async fn cluster(serving: ApprovalMode) -> Result<(ApiServer, Node)> {
    let api = ApiServer::start(Options::default()).await?;
    api.set_signing(|signing| signing.serving = serving);
    let node = node(&api)?;
    Ok((api, node))
}

fn names(node: &Node) -> Result<Vec<String>> {
    let mut names: Vec<String> = std::fs::read_dir(node.pki())?
        .filter_map(Result::ok)
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("kubelet-server-") || ["kubelet.crt", "kubelet.key"].contains(&name.as_str()))
        .collect();
    names.sort();
    Ok(names)
}

async fn events(node: &Node) -> Result<Vec<String>> {
    Ok(node.events().await?.into_iter().map(|event| event.event).collect())
}

#[tokio::test]
async fn without_an_approver_it_waits_and_hurts_nothing_and_then_the_same_kubelet_serves_with_it() -> Result<()> {
    let (api, mut node) = cluster(ApprovalMode::Manual).await?;
    node.start()?;
    let mut kubelet = Kubelet::start(KUBELET, &node).await?;
    let own = kubelet.serves().await?;
    let waiting = wait_for(&node, SOON, "pending-approval", "approval-pending").await?;
    let request = waiting.request.expect("an open request");
    assert!(waiting.reason.message.contains(&format!("kubectl certificate approve {}", request.name)));
    assert_eq!((waiting.health, waiting.in_force, waiting.keeper.as_str()), (Health::Unknown, false, "eyewall"));
    assert_eq!(waiting.addresses, Some(vec!["node-a".to_owned(), "127.0.0.1".to_owned()]));
    let status = node.status().await?;
    assert_eq!(status.certificates.state.as_str(), "valid", "the client certificate's line is its own");
    assert_eq!(status.certificates.health, Health::Good);
    let csr = requests(&api).remove(0);
    assert_eq!((csr.requester.as_str(), csr.state), ("system:node:node-a", CsrState::Pending));
    assert_eq!(csr.names, ["127.0.0.1", "node-a"]);
    assert_eq!(csr.usages, ["digital signature", "server auth"]);

    // Waiting is watching: nothing is sent while nothing happens.
    let by_agent = |api: &ApiServer| {
        api.requests().into_iter().filter(|request| request.user_agent.starts_with("eyewall/")).count()
    };
    let before = by_agent(&api);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(by_agent(&api) <= before + 1, "{} requests in three seconds of waiting", by_agent(&api) - before);
    assert_eq!(kubelet.serves().await?, own);
    assert_eq!(names(&node)?, ["kubelet-server-request.pem", "kubelet.crt", "kubelet.key"], "the kubelet's own pair");

    // A new start finds its request again.
    node.kill().await?;
    node.start()?;
    let again = wait_for(&node, SOON, "pending-approval", "approval-pending").await?;
    assert_eq!(again.request.map(|request| request.name), Some(request.name.clone()));
    assert_eq!(requests(&api).len(), 1, "one open request");

    assert!(api.approve(&request.name));
    let valid = wait_for(&node, SOON, "valid", "certificate-valid").await?;
    let current = valid.current.expect("a certificate");
    kubelet.wait_until_it_serves(&current.serial, Duration::from_secs(5)).await?;
    kubelet.is_the_same()?;
    assert!(valid.in_force && valid.health == Health::Good);
    let ca = node.pki().join("cluster-ca.crt");
    kubelet.verify(&ca, "node-a", "127.0.0.1").await?;
    for (name, ip) in [("node-b", "127.0.0.1"), ("node-a", "127.0.0.2")] {
        assert!(kubelet.verify(&ca, name, ip).await.is_err(), "a control: {name} {ip} must not verify");
    }
    let file = current.file.rsplit('/').next().unwrap_or_default();
    assert_eq!(names(&node)?, [file, "kubelet-server-current.pem", "kubelet.crt", "kubelet.key"]);
    let (_, metrics) = node.request("GET", "/metrics").await?;
    let left = metrics.lines().find_map(|line| line.strip_prefix("kubelet_certificate_manager_server_ttl_seconds "));
    let left: f64 = left.expect("the kubelet's series").parse()?;
    assert!((71.8 * 3_600.0..72.0 * 3_600.0).contains(&left), "{left}");
    assert!(metrics.contains("kubelet_server_expiration_renew_errors 0\n"), "{metrics}");
    let shown = node.command(&["certificates"])?.output().await?;
    let shown = String::from_utf8(shown.stdout)?;
    assert!(shown.contains("Serving") && shown.contains("the kubelet serves from it"), "{shown}");
    let told = events(&node).await?;
    assert!(told.contains(&"serving-installed".to_owned()), "{told:?}");
    Ok(())
}

#[tokio::test]
async fn other_addresses_are_another_certificate_for_the_same_kubelet() -> Result<()> {
    let (api, mut node) = cluster(ApprovalMode::Auto).await?;
    node.start()?;
    let mut kubelet = Kubelet::start(KUBELET, &node).await?;
    let first = wait_for(&node, SOON, "valid", "certificate-valid").await?;
    let first = first.current.expect("a certificate").serial;
    kubelet.wait_until_it_serves(&first, Duration::from_secs(5)).await?;
    std::fs::write(node.path("addresses"), "InternalIP 127.0.0.1\nExternalIP 203.0.113.9\nHostname node-a\n")?;
    let changed = |text: &str| text.contains("203.0.113.9");
    api.wait_until(SOON, |seen| seen.object("nodes", "", "node-a").is_some_and(|node| changed(&node.to_string())))
        .await?;
    // The Node is read every ten minutes; a changed configuration is a hint to read it at once.
    node.drop_in("20-hint.toml", "[certificates]\nkeep = 4\n")?;
    let renewed =
        node.wait(SOON, |status| part(status).is_some_and(|part| part.names.iter().any(|name| changed(name)))).await?;
    let renewed = part(&renewed).and_then(|part| part.current.clone()).expect("a certificate");
    assert_ne!(renewed.serial, first);
    kubelet.wait_until_it_serves(&renewed.serial, Duration::from_secs(5)).await?;
    kubelet.is_the_same()?;
    kubelet.verify(&node.pki().join("cluster-ca.crt"), "node-a", "203.0.113.9").await?;
    assert_eq!(requests(&api).len(), 2, "one for each set of addresses");
    let told = events(&node).await?;
    assert!(told.contains(&"serving-renewal-due".to_owned()), "{told:?}");
    Ok(())
}

#[tokio::test]
async fn short_lives_are_renewed_while_the_kubelet_runs() -> Result<()> {
    let (api, mut node) = cluster(ApprovalMode::Auto).await?;
    api.set_signing(|signing| (signing.duration, signing.backdate) = (Duration::from_secs(6), Duration::ZERO));
    node.start()?;
    let mut kubelet = Kubelet::start(KUBELET, &node).await?;
    let status =
        node.wait(Duration::from_secs(40), |status| part(status).is_some_and(|part| part.installed_total >= 4)).await?;
    kubelet.is_the_same()?;
    let serving = part(&status).expect("waited for");
    assert_eq!(serving.failures_total, 0);
    // Each of them was taken over, within a second of its installation.
    let taken = kubelet.log().lines().filter(|line| line.contains("serving certificate serial=")).count();
    assert!(taken >= 4, "{}", kubelet.log());
    assert_eq!(names(&node)?.iter().filter(|name| name.starts_with("kubelet-server-2")).count(), 1, "one key file");
    Ok(())
}

#[tokio::test]
async fn without_a_node_or_an_address_nothing_is_asked_for() -> Result<()> {
    let (api, mut node) = cluster(ApprovalMode::Auto).await?;
    node.start()?;
    let none = wait_for(&node, SOON, "absent", "node-not-registered").await?;
    assert!(none.reason.message.contains("there is no Node node-a yet"), "{}", none.reason.message);
    give_addresses(&api, &[("Hostname", "node-a")])?;
    wait_for(&node, SOON, "absent", "node-without-addresses").await?;
    assert_eq!(requests(&api).len(), 0);
    give_addresses(&api, &USUAL)?;
    wait_for(&node, Duration::from_secs(15), "valid", "certificate-valid").await?;
    assert_eq!(requests(&api).len(), 1);
    // There is no pair of the kubelet's own to hand over: the names are made.
    pair_loads(&node).await
}

#[tokio::test]
async fn a_refusal_is_told_as_what_it_is() -> Result<()> {
    let words = |kind: &str| (kind.to_owned(), "not on this network".to_owned());
    let (reason, message) = words("Policy");
    let deny = ApprovalMode::Deny { reason, message };
    let (reason, message) = words("SignerValidationFailure");
    let fail = ApprovalMode::Fail { reason, message };
    for (mode, kind) in [(deny, "request-denied"), (fail, "request-failed")] {
        let (api, mut node) = cluster(mode).await?;
        give_addresses(&api, &USUAL)?;
        node.start()?;
        let refused = wait_for(&node, SOON, "denied", kind).await?;
        assert!(refused.reason.message.contains("not on this network"), "{}", refused.reason.message);
        assert_eq!(refused.health, Health::Bad);
        let before = api.requests_about_certificates().len();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(api.requests_about_certificates().len() <= before + 1, "a refusal is a decision: {kind}");
        assert_eq!(node.status().await?.certificates.state.as_str(), "valid");
        let told = events(&node).await?;
        assert!(told.contains(&"serving-denied".to_owned()), "{told:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_corrupt_pair_is_healed_and_a_running_kubelet_does_not_notice() -> Result<()> {
    let (api, mut node) = cluster(ApprovalMode::Auto).await?;
    node.start()?;
    let mut kubelet = Kubelet::start(KUBELET, &node).await?;
    let before = wait_for(&node, SOON, "valid", "certificate-valid").await?.current.expect("a certificate");
    kubelet.wait_until_it_serves(&before.serial, Duration::from_secs(5)).await?;
    node.kill().await?;
    std::fs::write(&before.file, "-----BEGIN CERTIFICATE-----\ncut short")?;
    assert_eq!(kubelet.serves().await?, before.serial, "it is held back");
    node.start()?;
    let renewed = |serial: &str| serial != before.serial;
    let status = node
        .wait(SOON, |status| {
            part(status).and_then(|part| part.current.as_ref()).is_some_and(|now| renewed(&now.serial))
        })
        .await?;
    let after = part(&status).and_then(|part| part.current.clone()).expect("a certificate");
    kubelet.wait_until_it_serves(&after.serial, SOON).await?;
    kubelet.is_the_same()?;
    assert!(names(&node)?.iter().any(|name| name.ends_with(".quarantined")), "{:?}", names(&node)?);
    let told = events(&node).await?;
    assert!(told.contains(&"serving-withdrawn".to_owned()), "{told:?}");
    assert_eq!(requests(&api).len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_new_ca_is_followed_by_a_new_serving_certificate() -> Result<()> {
    let (old, mut node) = cluster(ApprovalMode::Auto).await?;
    let new = ApiServer::start(Options::default()).await?;
    new.set_signing(|signing| signing.serving = ApprovalMode::Auto);
    give_addresses(&old, &USUAL)?;
    give_addresses(&new, &USUAL)?;
    node.start()?;
    let before = wait_for(&node, SOON, "valid", "certificate-valid").await?.current.expect("a certificate");
    node.give_kubeconfig(&new.bootstrap_kubeconfig())?;
    let status = node
        .wait(SOON, |status| {
            part(status).is_some_and(|part| {
                part.state.as_str() == "valid" && part.current.as_ref().is_some_and(|now| now.serial != before.serial)
            })
        })
        .await?;
    assert_eq!(status.certificates.state.as_str(), "valid");
    let pem = node.pki().join("kubelet-server-current.pem").display().to_string();
    let ca = node.path("new-ca.crt");
    std::fs::write(&ca, new.ca_pem())?;
    let args = ["verify", "-purpose", "sslserver", "-CAfile", &ca.display().to_string(), &pem].map(str::to_owned);
    let verified = tokio::process::Command::new("openssl").args(args).output().await?;
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    Ok(())
}

#[tokio::test]
async fn switched_off_it_is_left_as_it_is_and_said_so() -> Result<()> {
    let (api, mut node) = cluster(ApprovalMode::Auto).await?;
    give_addresses(&api, &USUAL)?;
    node.start()?;
    let kept = wait_for(&node, SOON, "valid", "certificate-valid").await?.current;
    node.drop_in("10-serving.toml", "[certificates]\nserving = false\n")?;
    let off = node.wait(SOON, |status| part(status).is_some_and(|part| part.keeper == "nobody")).await?;
    let off = part(&off).expect("waited for");
    assert_eq!((&off.current, off.in_force), (&kept, true));
    assert!(off.next.contains("nobody renews it"), "{}", off.next);
    pair_loads(&node).await?;
    // And on again: what is there is taken up, not asked for anew.
    node.drop_in("10-serving.toml", "[certificates]\nserving = true\n")?;
    wait_for(&node, SOON, "valid", "certificate-valid").await?;
    assert_eq!(requests(&api).len(), 1);
    Ok(())
}

#[tokio::test]
async fn where_nobody_wants_one_there_is_no_part_and_no_request() -> Result<()> {
    let (api, mut node) = cluster(ApprovalMode::Auto).await?;
    give_addresses(&api, &USUAL)?;
    node.drop_in("10-serving.toml", "")?;
    node.start()?;
    node.wait_for(SOON, "valid", "certificate-valid").await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(node.status().await?.certificates.serving, None);
    assert_eq!(requests(&api).len(), 0);
    let read = api
        .requests_about_certificates()
        .into_iter()
        .filter(|request| request.path.starts_with("/api/v1/nodes"))
        .count();
    assert_eq!(read, 0, "the Node is none of our business");
    assert_eq!(names(&node)?, Vec::<String>::new());
    Ok(())
}
