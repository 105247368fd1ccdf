//! The daemon runs anywhere: without a system bus, without kubelet.service, without root, started by hand, by socket
//! activation or by systemd's own tools; what it cannot see it shows as unknown, with the reason.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use anyhow::{Context as _, Result};
use eyewall_core::status::Health;
use tests::apiserver::{ApiServer, Options};
use tests::node::{Node, binary};

const SOON: Duration = Duration::from_secs(10);

async fn cluster() -> Result<(ApiServer, Node)> {
    let (api, node) = (ApiServer::start(Options::default()).await?, Node::new("node-a")?);
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    Ok((api, node))
}

#[tokio::test]
async fn without_a_system_bus_the_rest_goes_on() -> Result<()> {
    let (_api, mut node) = cluster().await?;
    node.start()?;
    let status = node
        .wait(SOON, |status| {
            status.certificates.state.as_str() == "valid" && status.kubelet.reason.kind == "no-system-bus"
        })
        .await?;
    assert_eq!(status.kubelet.health, Health::Unknown, "not being able to look is not good and not bad");
    assert_eq!(status.health, Health::Unknown);
    let (code, _) = node.request("GET", "/healthz").await?;
    assert_eq!(code, 200, "the daemon itself is well");
    let (code, _) = node.request("GET", "/readyz").await?;
    assert_eq!(code, 503, "the node is not known to be");
    let shown = node.command(&["status"])?.output().await?;
    assert_eq!(shown.status.code(), Some(1));
    Ok(())
}

#[tokio::test]
async fn without_root_it_does_what_it_can() -> Result<()> {
    let (_api, mut node) = cluster().await?;
    // Everything of the node belongs to a user who is nobody; the binary stays where it is.
    for path in ["", "etc", "pki", "run", "kubernetes", "kubernetes/kubeconfig", "etc/eyewall.toml"] {
        std::os::unix::fs::chown(node.path(path), Some(65_534), Some(65_534))?;
    }
    // A directory that only root may enter cannot hold what nobody is to run.
    let copy = node.path("eyewall");
    // By another process: a test beside this one that starts a program takes what is open for writing along for a moment, and then the copy
    // is too busy to be run.
    let copied = std::process::Command::new("cp").arg(binary()?).arg(&copy).status()?;
    anyhow::ensure!(copied.success(), "cp: {copied}");
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755))?;
    node.wrapper(&["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
    node.program(&copy);
    node.start()?;
    let status = node.wait_for(SOON, "valid", "certificate-valid").await?;
    let limits: Vec<_> = status.agent.limits.iter().map(|reason| reason.kind.as_str()).collect();
    assert!(limits.contains(&"not-root"), "{limits:?}");
    let (code, _) = node.request("POST", "/v1/certificates/renew").await?;
    assert!(code == 202 || code == 200, "root may command, whoever runs the daemon: {code}");
    Ok(())
}

#[tokio::test]
async fn systemd_hands_over_the_socket() -> Result<()> {
    let (_api, mut node) = cluster().await?;
    let socket = node.socket().display().to_string();
    node.wrapper(&["systemd-socket-activate", "--listen", &socket]);
    node.start()?;
    // The first connection starts the daemon, and its question waits for the answer.
    let status = node.wait_for(SOON, "valid", "certificate-valid").await?;
    assert_eq!(status.agent.pid, node.pid().context("it runs")?);
    node.stop().await?;
    assert!(node.socket().exists(), "the socket is systemd's, not ours to remove");
    Ok(())
}

#[tokio::test]
async fn a_second_daemon_on_the_same_socket_says_so() -> Result<()> {
    let (_api, mut node) = cluster().await?;
    node.start()?;
    node.wait_for(SOON, "valid", "certificate-valid").await?;
    let second = node.command(&["run"])?.output().await?;
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("another eyewall"), "{said}");
    node.status().await.context("the first goes on")?;
    Ok(())
}

#[tokio::test]
async fn killed_and_started_again_it_takes_its_socket_back() -> Result<()> {
    let (_api, mut node) = cluster().await?;
    node.start()?;
    let before = node.wait_for(SOON, "valid", "certificate-valid").await?;
    node.kill().await?;
    assert!(node.socket().exists(), "a stale socket is left");
    node.start()?;
    let after = node.wait_for(SOON, "valid", "certificate-valid").await?;
    assert_eq!(before.certificates.current, after.certificates.current);
    assert_eq!(node.stop().await?, Some(0), "SIGTERM is a good end");
    Ok(())
}

#[tokio::test]
async fn a_config_with_five_faults_tells_all_five_and_exits_78() -> Result<()> {
    let (_api, mut node) = cluster().await?;
    node.drop_in(
        "10-wrong.toml",
        "[certificates]\nkeep = 0\nrenew_at = [0.9, 0.1]\n[kubelet]\nimages = []\ncolour = \"red\"\n[reboot]\ndrain_timeout = \"soon\"\n",
    )?;
    node.start()?;
    assert_eq!(node.ended(SOON).await?, Some(78));
    let log = node.log();
    for (line, key) in [(2, "keep"), (3, "renew_at"), (5, "images"), (6, "colour"), (8, "drain_timeout")] {
        let told = log.lines().any(|said| said.contains(&format!("10-wrong.toml:{line}:")) && said.contains(key));
        assert!(told, "{key} on line {line}: {log}");
    }
    let file = node.path("etc/eyewall.toml.d/10-wrong.toml").display().to_string();
    let validated = tokio::process::Command::new(binary()?).args(["validate", &file]).output().await?;
    assert_eq!(validated.status.code(), Some(78));
    Ok(())
}

#[tokio::test]
async fn a_changed_config_is_taken_over_and_a_bad_one_refused() -> Result<()> {
    let (_api, mut node) = cluster().await?;
    node.start()?;
    node.wait_for(SOON, "valid", "certificate-valid").await?;
    node.drop_in("10-owner.toml", "[certificates]\nowner = \"kubelet\"\n")?;
    node.wait(SOON, |status| status.certificates.owner == "kubelet").await?;
    node.drop_in("10-owner.toml", "[certificates]\nowner = \"nobody\"\n")?;
    let status = node.wait(SOON, |status| status.agent.config.refused.is_some()).await?;
    assert_eq!(status.certificates.owner, "kubelet", "what was in force stays in force");
    node.drop_in("10-owner.toml", "")?;
    node.wait(SOON, |status| status.certificates.owner == "eyewall" && status.agent.config.refused.is_none()).await?;
    let events: Vec<_> = node.events().await?.into_iter().map(|event| event.event).collect();
    assert!(
        events.contains(&"config-applied".to_owned()) && events.contains(&"config-refused".to_owned()),
        "{events:?}"
    );
    Ok(())
}

#[tokio::test]
async fn wrong_words_exit_64() -> Result<()> {
    for words in [&["fly"][..], &["run", "--fast"], &[], &["status", "extra"]] {
        let output = tokio::process::Command::new(binary()?).args(words).output().await?;
        assert_eq!(output.status.code(), Some(64), "{words:?}");
        assert!(!output.stderr.is_empty(), "{words:?}");
    }
    let help = tokio::process::Command::new(binary()?).arg("--help").output().await?;
    assert_eq!(help.status.code(), Some(0));
    Ok(())
}
