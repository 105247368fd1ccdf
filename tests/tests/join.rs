//! A node joins: from a bootstrap kubeconfig to a proved certificate in force.

use std::time::Duration;

use anyhow::Result;
use eyewall_core::cert::{CertView, bundle};
use tests::apiserver::{ApiServer, Options};
use tests::node::Node;

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_fresh_node_joins() -> Result<()> {
    let api = ApiServer::start(Options::default()).await?;
    let mut node = Node::new("node-a")?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    node.start()?;
    let status = node.wait_for(SOON, "valid", "certificate-valid").await?;
    let pem = bundle(&std::fs::read_to_string(node.current())?)?;
    let leaf = CertView::from_der(&pem.chain[0])?;
    assert!(leaf.is_identity_of("system:node:node-a"));
    assert_eq!(status.certificates.current.expect("a certificate").serial, leaf.serial);
    assert_eq!(api.csrs().len(), 1);
    println!("{}", node.log());
    for event in node.events().await? {
        println!("{} {}", event.event, event.message);
    }
    Ok(())
}
