//! What the agent cannot see or do is told as long as it is so; and its metrics as a file.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use anyhow::Result;
use eyewall_core::status::Status;
use tests::apiserver::{ApiServer, Options};
use tests::bus::Bus;
use tests::node::Node;

const SOON: Duration = Duration::from_secs(10);

fn kinds(status: &Status) -> Vec<&str> {
    status.agent.limits.iter().map(|limit| limit.kind.as_str()).collect()
}

async fn told(node: &Node, event: &str, kind: &str) -> Result<usize> {
    let all = node.events().await?;
    Ok(all
        .iter()
        .filter(|record| record.event == event && record.fields.get("kind").is_some_and(|k| k == kind))
        .count())
}

#[tokio::test]
async fn a_bus_that_goes_is_a_limit_until_it_is_back() -> Result<()> {
    let mut bus = Bus::start().await?;
    let mut node = Node::new("node-a")?;
    node.environment("DBUS_SYSTEM_BUS_ADDRESS", &bus.address());
    bus.go_away().await?;
    node.hurry(20)?;
    node.start()?;
    node.wait(SOON, |status| kinds(status).contains(&"no-system-bus")).await?;
    assert_eq!(told(&node, "agent-limited", "no-system-bus").await?, 1);
    bus.come_back().await?;
    node.wait(SOON, |status| !kinds(status).contains(&"no-system-bus")).await?;
    assert_eq!(told(&node, "agent-unlimited", "no-system-bus").await?, 1);
    bus.go_away().await?;
    node.wait(3 * SOON, |status| kinds(status).contains(&"no-system-bus")).await?;
    assert_eq!(told(&node, "agent-limited", "no-system-bus").await?, 2);
    Ok(())
}

#[tokio::test]
async fn a_stderr_that_is_no_journal_is_told() -> Result<()> {
    let mut node = Node::new("node-a")?;
    node.start()?;
    node.wait(SOON, |status| kinds(status).contains(&"no-journal")).await?;
    assert_eq!(told(&node, "agent-limited", "no-journal").await?, 1);
    Ok(())
}

#[tokio::test]
async fn without_inotify_it_is_a_limit_and_the_agent_works_all_the_same() -> Result<()> {
    let api = ApiServer::start(Options::default()).await?;
    let mut node = Node::new("node-a")?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    // Below /proc/sys/user each user namespace has limits of its own (namespaces(7)); those below /proc/sys/fs are the machine's.
    let script = "echo 0 > /proc/sys/user/max_inotify_instances && exec \"$0\" \"$@\"";
    let of_the_machine = || std::fs::read_to_string("/proc/sys/user/max_inotify_instances");
    let before = of_the_machine()?;
    node.wrapper(&["unshare", "--user", "--map-root-user", "sh", "-c", script]);
    node.start()?;
    let status = node.wait_for(SOON, "valid", "certificate-valid").await?;
    assert!(kinds(&status).contains(&"no-inotify"), "{:?}", kinds(&status));
    assert_eq!(told(&node, "agent-limited", "no-inotify").await?, 1, "once, whoever finds it");
    assert_eq!(of_the_machine()?, before, "the machine's own limit is left alone");
    Ok(())
}

#[tokio::test]
async fn the_metrics_are_written_to_the_file_that_is_named() -> Result<()> {
    let api = ApiServer::start(Options::default()).await?;
    let mut node = Node::new("node-a")?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    let file = node.path("run/eyewall.prom");
    node.drop_in("10-metrics.toml", &format!("[metrics]\ntextfile = {:?}\n", file.display().to_string()))?;
    node.start()?;
    node.wait_for(SOON, "valid", "certificate-valid").await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let page = std::fs::read_to_string(&file)?;
    assert!(page.contains("eyewall_certificate_state{state=\"valid\"} 1"), "{page}");
    assert_eq!(std::fs::metadata(&file)?.mode() & 0o7777, 0o644, "for the collector's user");
    node.drop_in("10-metrics.toml", "[metrics]\ntextfile = \"/proc/eyewall.prom\"\n")?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let events = node.events().await?;
    let failed: Vec<_> = events.iter().filter(|event| event.event == "metrics-not-written").collect();
    assert_eq!(failed.len(), 1, "{events:?}");
    assert_eq!(failed[0].fields["file"], "/proc/eyewall.prom");
    assert!(!file.exists(), "what nobody writes any more is not read for ever");
    Ok(())
}
