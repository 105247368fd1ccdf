//! A node joins: from a bootstrap kubeconfig to a proved certificate in force.

use std::time::Duration;

use anyhow::Result;
use eyewall_core::cert::{CertView, bundle};
use tests::apiserver::{ApiServer, CaForm, Credential, Options};
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

/// What people write instead of Typhoon's kubeconfig: the CA in a file, a named context, a client certificate for a token.
#[tokio::test]
async fn the_other_kubeconfigs_join_as_well() -> Result<()> {
    for name in ["CA by file", "named context", "client certificate"] {
        let api = ApiServer::start(Options::default()).await?;
        let mut node = Node::new("node-a")?;
        let ca = node.path("kubernetes/boot-ca.crt");
        std::fs::write(&ca, api.ca_pem())?;
        let mut kubeconfig = api.kubeconfig();
        match name {
            "CA by file" => kubeconfig.ca = CaForm::File(ca.display().to_string()),
            "named context" => kubeconfig.context = Some("boot".to_owned()),
            _ => {
                let day = Duration::from_secs(86_400);
                let pem = api.authority().issue_client_certificate(
                    "bootstrapper",
                    Some("system:bootstrappers"),
                    api.now() - day,
                    api.now() + day,
                )?;
                kubeconfig.credential = Credential::InlineCertificate(pem);
            }
        }
        node.give_kubeconfig(&kubeconfig.to_yaml())?;
        node.start()?;
        let joined = node.wait_for(SOON, "valid", "certificate-valid").await;
        assert!(joined.is_ok(), "{name}: {joined:?}");
        let requester = if name == "client certificate" { "bootstrapper" } else { "system:bootstrap:abcdef" };
        assert_eq!(api.csrs()[0].requester, requester, "{name}");
    }
    Ok(())
}
