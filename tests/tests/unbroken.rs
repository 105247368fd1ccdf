//! What a kubelet beside the agent sees while its node is in trouble and gets out of it: the same process from beginning to
//! end, and at no instant a certificate without a CA that vouches for it.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tests::apiserver::{ApiServer, ApprovalMode, Kubeconfig, Options, Token};
use tests::node::Node;
use tests::trust::watch;
use tokio::process::{Child, Command};
use tokio::time::Instant;

const SOON: Duration = Duration::from_secs(15);
/// The longest that a fresh kubeconfig may take to heal a node (issue 2).
const HEALED_WITHIN: Duration = Duration::from_secs(2);

/// The stand-in for the kubelet, with the kubeconfig that the agent writes.
struct Kubelet {
    child: Child,
    log: std::path::PathBuf,
}

impl Kubelet {
    fn start(node: &Node) -> Result<Self> {
        let log = node.path("kubelet.log");
        let child = Command::new(env!("CARGO_BIN_EXE_kubelet-standin"))
            .arg(format!("--kubeconfig={}", node.path("kubelet.kubeconfig").display()))
            .arg("--hostname-override=node-a")
            .env("KUBELET_STANDIN_LISTEN", "127.0.0.1:0")
            .env("KUBELET_STANDIN_WEDGE", node.path("wedge"))
            .stderr(Stdio::from(std::fs::File::create(&log)?))
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { child, log })
    }

    /// Waits until its log says this.
    async fn says(&mut self, text: &str) -> Result<()> {
        let end = Instant::now() + SOON;
        loop {
            let log = std::fs::read_to_string(&self.log)?;
            if log.contains(text) {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the kubelet ended ({status}): {log}");
            }
            ensure!(Instant::now() < end, "the kubelet does not say {text:?}: {log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// It is the process that was started, and it runs.
    fn runs(&mut self) -> Result<()> {
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "the kubelet ended: {ended:?}");
        Ok(())
    }
}

fn serial(status: &eyewall_core::status::Status) -> Result<String> {
    Ok(status.certificates.current.as_ref().context("a certificate")?.serial.clone())
}

#[tokio::test]
async fn a_revoked_token_and_the_end_of_the_certificate_and_a_fresh_kubeconfig() -> Result<()> {
    let api = ApiServer::start(Options { anonymous: false, ..Options::default() }).await?;
    api.set_signing(|signing| (signing.duration, signing.backdate) = (Duration::from_secs(6), Duration::from_secs(3)));
    let mut node = Node::new("node-a")?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    node.start()?;
    let agent = node.pid();
    let first = serial(&node.wait_for(SOON, "valid", "certificate-valid").await?)?;
    let mut kubelet = Kubelet::start(&node)?;
    kubelet.says(&format!("serial={first}")).await?;

    // Its renewal is not approved, and the token is gone when it has ended.
    api.set_approval(ApprovalMode::Manual);
    api.revoke_token("abcdef");
    let status = node.wait_for(SOON, "token-rejected", "credential-rejected").await?;
    assert!(status.certificates.reason.message.contains("Put a fresh bootstrap kubeconfig in its place"));
    let asked = api.requests().iter().filter(|request| request.user_agent.starts_with("eyewall/")).count();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let agents = api.requests().iter().filter(|request| request.user_agent.starts_with("eyewall/")).count();
    assert!(agents <= asked + 1, "{} requests of the agent in 4 s", agents - asked);
    kubelet.runs()?;
    assert_eq!(node.pid(), agent, "no crash loop");

    api.set_approval(ApprovalMode::Auto);
    api.set_signing_duration(Duration::from_secs(3_600));
    api.put_token(Token::new("fresh0.0123456789abcdef"));
    let fresh = Kubeconfig::typhoon(&api.url(), api.ca_pem(), "fresh0.0123456789abcdef").to_yaml();
    let dropped = Instant::now();
    node.give_kubeconfig(&fresh)?;
    let healed = node.wait_for(SOON, "valid", "certificate-valid").await?;
    let took = dropped.elapsed();
    println!("a fresh kubeconfig healed the node in {} ms", took.as_millis());
    assert!(took < HEALED_WITHIN, "{took:?}");
    kubelet.says(&format!("serial={}", serial(&healed)?)).await?;
    kubelet.runs()?;
    assert_eq!(node.pid(), agent);
    let events: Vec<_> = node.events().await?.into_iter().map(|event| event.event).collect();
    for (event, times) in [("certificate-expired", 1), ("bootstrap-token-rejected", 1), ("certificate-recovered", 1)] {
        assert_eq!(events.iter().filter(|told| *told == event).count(), times, "{event}: {events:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_cluster_that_gets_a_new_authority_at_its_old_address() -> Result<()> {
    let old = ApiServer::start(Options::default()).await?;
    let mut node = Node::new("node-a")?;
    node.give_kubeconfig(&old.bootstrap_kubeconfig())?;
    node.start()?;
    let before = serial(&node.wait_for(SOON, "valid", "certificate-valid").await?)?;
    let mut kubelet = Kubelet::start(&node)?;
    kubelet.says(&format!("serial={before}")).await?;

    let done = Arc::new(AtomicBool::new(false));
    let watching = {
        let (directory, done) = (node.pki(), Arc::clone(&done));
        std::thread::spawn(move || watch(&directory, || done.load(Ordering::Relaxed)))
    };
    let address = old.address();
    old.stop();
    let new = ApiServer::start(Options { listen: address, ..Options::default() }).await?;
    new.set_approval(ApprovalMode::Manual);
    node.give_kubeconfig(&new.bootstrap_kubeconfig())?;
    let status = node.wait_for(SOON, "renewal-due", "authority-changed").await?;
    assert_eq!(serial(&status)?, before, "the old one stays in force");
    new.wait_until(SOON, |seen| seen.csrs().len() == 1).await?;
    let trusted = std::fs::read_to_string(node.pki().join("cluster-ca.crt"))?;
    assert_eq!(trusted, old.ca_pem(), "the old trust stays until the new certificate is proved");
    let approved = Instant::now();
    new.set_approval(ApprovalMode::Auto);
    let after = serial(&node.wait_for(SOON, "valid", "certificate-valid").await?)?;
    let took = approved.elapsed();
    kubelet.says(&format!("serial={after}")).await?;
    kubelet.runs()?;
    // The new CA alone, once the certificate is its own.
    let alone = async {
        while std::fs::read_to_string(node.pki().join("cluster-ca.crt"))? != new.ca_pem() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok::<_, anyhow::Error>(())
    };
    tokio::time::timeout(SOON, alone).await.context("the old CA is still trusted")??;
    done.store(true, Ordering::Relaxed);
    let seen = watching.join().map_err(|_| anyhow::anyhow!("the watch ended"))?;
    println!(
        "a new CA and its certificate were taken over in {} ms; {} looks at the files saw {} pairs: {:?}",
        took.as_millis(),
        seen.looks,
        seen.pairs.len(),
        seen.pairs
    );
    assert!(seen.faults.is_empty(), "{:#?}", seen.faults);
    assert!(seen.pairs.first().is_some_and(|(_, serial)| *serial == before), "{:?}", seen.pairs);
    assert!(
        seen.pairs.last().is_some_and(|(authorities, serial)| (*authorities, serial) == (1, &after)),
        "{:?}",
        seen.pairs
    );
    Ok(())
}
