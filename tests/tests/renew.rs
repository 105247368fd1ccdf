//! Renewal: early, with the certificate in force, without anything being restarted; adoption and observation.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use eyewall_core::status::{CertificateState, Health, RecoveryView};
use tests::apiserver::{ApiServer, Kubeconfig, Options, Token};
use tests::node::Node;

const SOON: Duration = Duration::from_secs(10);
const HOUR: Duration = Duration::from_secs(3_600);

async fn cluster() -> Result<(ApiServer, Node)> {
    Ok((ApiServer::start(Options::default()).await?, Node::new("node-a")?))
}

#[expect(clippy::disallowed_methods, reason = "certificates made for a test end after today")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Puts a certificate in force as the kubelet leaves it: dated file, absolute link.
fn in_force(node: &Node, pem: &str) -> Result<()> {
    let dated = node.pki().join("kubelet-client-2026-01-01-00-00-00.pem");
    std::fs::write(&dated, pem)?;
    std::os::unix::fs::symlink(&dated, node.current())?;
    Ok(())
}

#[tokio::test]
async fn short_lives_are_renewed_with_the_certificate_in_force_and_old_files_pruned() -> Result<()> {
    let (api, mut node) = cluster().await?;
    // Six seconds of life, and the signer's five minutes of backdating before it.
    api.set_signing_duration(Duration::from_secs(6));
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    node.start()?;
    let status = node.wait(Duration::from_secs(60), |status| status.certificates.installed_total >= 5).await?;
    node.stop().await?;
    let csrs = api.csrs();
    assert!(csrs.len() >= 5);
    let by = |user: &str| csrs.iter().filter(|csr| csr.requester == user).count();
    assert_eq!(by("system:bootstrap:abcdef"), 1, "the first");
    assert_eq!(by("system:node:node-a"), csrs.len() - 1, "a renewal is asked for with the certificate in force");
    assert_eq!(status.certificates.failures_total, 0);
    let dated = std::fs::read_dir(node.pki())?
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("kubelet-client-2"))
        .count();
    assert_eq!(dated, 3, "keep = 3 by default");
    Ok(())
}

#[tokio::test]
async fn a_valid_certificate_that_is_there_is_adopted() -> Result<()> {
    let (api, mut node) = cluster().await?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    in_force(&node, &api.issue_node_certificate("node-a", now() - HOUR, now() + 71 * HOUR)?)?;
    node.start()?;
    node.wait_for(SOON, "valid", "certificate-valid").await?;
    let events = node.events().await?;
    assert!(events.iter().any(|event| event.event == "certificate-adopted"), "{events:?}");
    assert_eq!(api.csrs().len(), 0, "nobody is asked for what is there");
    Ok(())
}

#[tokio::test]
async fn an_expired_one_is_replaced_by_the_bootstrap_credential() -> Result<()> {
    let (api, mut node) = cluster().await?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    in_force(&node, &api.issue_node_certificate("node-a", now() - 100 * HOUR, now() - 28 * HOUR)?)?;
    node.start()?;
    node.wait_for(SOON, "valid", "certificate-valid").await?;
    assert_eq!(api.csrs()[0].requester, "system:bootstrap:abcdef");
    let events: Vec<_> = node.events().await?.into_iter().map(|event| event.event).collect();
    assert!(events.contains(&"certificate-expired".to_owned()), "{events:?}");
    assert!(events.contains(&"certificate-recovered".to_owned()), "{events:?}");
    Ok(())
}

#[tokio::test]
async fn a_certificate_of_another_name_is_replaced_and_serves_until_then() -> Result<()> {
    let (api, mut node) = cluster().await?;
    let pem = api.issue_node_certificate("node-b", now() - HOUR, now() + 71 * HOUR)?;
    in_force(&node, &pem)?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    api.stop();
    node.start()?;
    node.wait_for(SOON, "renewal-due", "server-unreachable").await?;
    assert_eq!(std::fs::read_to_string(node.current())?, pem, "what works is not taken away");
    api.start_again()?;
    node.wait_for(Duration::from_secs(70), "valid", "certificate-valid").await?;
    assert_eq!(api.csrs()[0].node, "node-a");
    Ok(())
}

#[tokio::test]
async fn a_new_ca_is_taken_over_with_the_certificate_it_vouches_for() -> Result<()> {
    let (old, mut node) = cluster().await?;
    let new = ApiServer::start(Options::default()).await?;
    node.give_kubeconfig(&old.bootstrap_kubeconfig())?;
    node.start()?;
    node.wait_for(SOON, "valid", "certificate-valid").await?;
    let trusted = node.pki().join("cluster-ca.crt");
    assert_eq!(std::fs::read_to_string(&trusted)?, old.ca_pem());
    // A kubeconfig of a cluster that cannot be reached must not take the old trust away.
    let unreachable = Kubeconfig::typhoon("https://127.0.0.1:9", new.ca_pem(), &new.token()).to_yaml();
    node.give_kubeconfig(&unreachable)?;
    node.wait_for(SOON, "renewal-due", "server-unreachable").await?;
    assert_eq!(std::fs::read_to_string(&trusted)?, old.ca_pem(), "the old trust stays until the new is proved");
    node.give_kubeconfig(&new.bootstrap_kubeconfig())?;
    node.wait_for(Duration::from_secs(2), "valid", "certificate-valid").await?;
    assert_eq!(std::fs::read_to_string(&trusted)?, new.ca_pem());
    let kubeconfig = std::fs::read_to_string(node.path("kubelet.kubeconfig"))?;
    assert!(kubeconfig.contains(&new.url()), "the kubelet is told the new server");
    Ok(())
}

#[tokio::test]
async fn an_operator_asks_for_a_renewal() -> Result<()> {
    let (api, mut node) = cluster().await?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    node.start()?;
    let before = node.wait_for(SOON, "valid", "certificate-valid").await?;
    let renew = node.command(&["certificates", "renew"])?.output().await?;
    assert!(renew.status.success(), "{}", String::from_utf8_lossy(&renew.stderr));
    node.wait(SOON, |status| status.certificates.current != before.certificates.current).await?;
    assert_eq!(api.csrs().len(), 2);
    Ok(())
}

#[tokio::test]
async fn the_bootstrap_credential_is_tested_while_it_is_not_needed() -> Result<()> {
    let (api, mut node) = cluster().await?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    in_force(&node, &api.issue_node_certificate("node-a", now() - HOUR, now() + 71 * HOUR)?)?;
    api.revoke_token("abcdef");
    node.start()?;
    let status = node.wait(SOON, |status| status.certificates.recovery.is_some()).await?;
    let recovery = status.certificates.recovery.clone().expect("waited for");
    assert_eq!((recovery.health, recovery.reason.kind.as_str()), (Health::Bad, "credential-rejected"));
    assert_eq!(status.certificates.state, CertificateState::Valid, "the node itself is well");
    let end = status.certificates.current.expect("a certificate").not_after;
    let until = status.certificates.may_be_off_until.expect("it is in its life");
    assert_eq!(end.0.duration_since(until.0)?, Duration::from_secs(900), "the end, less what the return takes");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(api.requests_about_certificates().len(), 1, "once a day, not in a loop");
    api.put_token(Token::new("fresh0.0123456789abcdef"));
    node.give_kubeconfig(&Kubeconfig::typhoon(&api.url(), api.ca_pem(), "fresh0.0123456789abcdef").to_yaml())?;
    let good = |recovery: &RecoveryView| recovery.health == Health::Good;
    node.wait(Duration::from_secs(2), |status| status.certificates.recovery.as_ref().is_some_and(good)).await?;
    let events: Vec<_> = node.events().await?.into_iter().map(|event| event.event).collect();
    assert!(events.contains(&"recovery-credential-rejected".to_owned()), "{events:?}");
    assert!(events.contains(&"recovery-credential-good".to_owned()), "{events:?}");
    Ok(())
}

#[tokio::test]
async fn a_certificate_that_begins_in_a_moment_is_waited_for_with_its_key() -> Result<()> {
    let (api, mut node) = cluster().await?;
    // A signer ahead of this host, and without the controller-manager's five minutes of backdating.
    api.set_signing(|signing| signing.backdate = Duration::ZERO);
    api.set_clock_offset_ms(3_000);
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    node.start()?;
    node.wait_for(SOON, "requesting", "certificate-not-yet-valid").await?;
    let status = node.wait_for(SOON, "valid", "certificate-valid").await?;
    assert_eq!(api.csrs().len(), 1, "the same request, the same key");
    assert_eq!(status.certificates.failures_total, 0, "waiting is no failure");
    Ok(())
}

#[tokio::test]
async fn openssl_says_the_same_of_what_was_installed() -> Result<()> {
    let (api, mut node) = cluster().await?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    node.start()?;
    let status = node.wait_for(SOON, "valid", "certificate-valid").await?;
    let told = status.certificates.current.expect("a certificate");
    let openssl = |args: Vec<String>| async move {
        let output = tokio::process::Command::new("openssl").args(&args).output().await?;
        anyhow::ensure!(output.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok::<_, anyhow::Error>(String::from_utf8(output.stdout)?)
    };
    let (pem, ca) = (node.current().display().to_string(), node.pki().join("cluster-ca.crt").display().to_string());
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let verified = openssl(words(&format!("verify -purpose sslclient -CAfile {ca} {pem}"))).await?;
    assert!(verified.contains(": OK"), "{verified}");
    let said = openssl(words(&format!("x509 -in {pem} -noout -subject -serial -fingerprint -sha256 -nameopt RFC2253")))
        .await?;
    assert!(said.contains("CN=system:node:node-a,O=system:nodes"), "{said}");
    assert!(said.to_lowercase().contains(&format!("serial={}", told.serial)), "{said} against {}", told.serial);
    assert!(said.replace(':', "").to_lowercase().contains(&told.sha256), "{said}");
    let of_key = openssl(words(&format!("pkey -in {pem} -pubout"))).await?;
    let of_certificate = openssl(words(&format!("x509 -in {pem} -noout -pubkey"))).await?;
    assert_eq!(of_key, of_certificate, "the key is the certificate's");
    Ok(())
}
