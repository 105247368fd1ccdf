//! `eyewall report`: the page of a real daemon.

use std::time::Duration;

use anyhow::Result;
use tests::apiserver::{ApiServer, Options};
use tests::node::Node;

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn the_page_of_a_node_is_written_whole_or_not_at_all() -> Result<()> {
    let api = ApiServer::start(Options::default()).await?;
    let mut node = Node::new("node-a")?;
    let file = node.path("report.html");
    let output = file.display().to_string();
    std::fs::write(&file, "the one before")?;
    let nobody = node.command(&["report", "--output", &output])?.output().await?;
    assert_eq!(nobody.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("eyewall does not run"));
    assert_eq!(std::fs::read_to_string(&file)?, "the one before", "no page is no page");

    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    node.start()?;
    let status = node.wait_for(SOON, "valid", "certificate-valid").await?;
    let written = node.command(&["report", "--output", &output])?.output().await?;
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let page = std::fs::read_to_string(&file)?;
    let serial = status.certificates.current.map(|current| current.serial).unwrap_or_default();
    for wanted in
        ["<title>node-a · eyewall</title>", &serial, "installed by eyewall", "certificate-installed", "</html>\n"]
    {
        assert!(page.contains(wanted), "{wanted} is not in the page");
    }
    for secret in node.secrets() {
        assert!(!page.contains(&secret), "a secret is in the page");
    }
    let printed = node.command(&["report", "--output", "-"])?.output().await?;
    assert!(printed.status.success() && String::from_utf8_lossy(&printed.stdout).contains(&serial));
    let without = node.command(&["report"])?.output().await?;
    assert_eq!(without.status.code(), Some(64), "it must be told where to");
    let nowhere = node.command(&["report", "--output", "/nonexistent/page.html"])?.output().await?;
    assert_eq!(nowhere.status.code(), Some(1));
    let beside: Vec<_> =
        std::fs::read_dir(node.path(""))?.map(|entry| entry.map(|e| e.file_name())).collect::<Result<_, _>>()?;
    assert!(
        !beside.iter().any(|name| name.to_string_lossy().contains("report.html.")),
        "a temporary file is left: {beside:?}"
    );
    Ok(())
}
