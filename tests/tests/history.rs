//! The changes of the posture, as people see them: the events of the running daemon, `eyewall check --changes`, the page of `eyewall report`; and
//! over a restart. Needs root.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::namespace::{alone, lay_over};
use tests::node::Node;

const SOON: Duration = Duration::from_secs(60);
/// Who may not be there: a second account with the rights of root.
const SECOND_ROOT: &str = "toor:x:0:0::/root:/bin/bash\n";
const CHECK: &str = "accounts-root";

async fn told(node: &Node, words: &[&str]) -> Result<String> {
    let output = node.command(words)?.output().await?;
    ensure!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

async fn judged(node: &Node) -> Result<()> {
    let (code, body) = node.request("POST", "/v1/posture/check").await?;
    ensure!(code == 200, "{code} {body}");
    Ok(())
}

async fn started(node: &mut Node) -> Result<()> {
    node.start()?;
    node.wait(SOON, |status| status.posture.is_some()).await?;
    Ok(())
}

#[test]
fn a_change_is_told_wherever_people_look() -> Result<()> {
    alone(async || {
        let mut node = Node::new("node-a")?;
        let state = node.path("state");
        std::fs::create_dir(&state)?;
        node.environment("STATE_DIRECTORY", &state.display().to_string());
        let accounts = node.path("passwd");
        let good = "root:x:0:0:root:/root:/bin/bash\ncore:x:500:500::/home/core:/bin/bash\n";
        std::fs::write(&accounts, good)?;
        lay_over(&accounts, Path::new("/etc/passwd"))?;

        let nobody = node.command(&["check", "--changes"])?.output().await?;
        ensure!(nobody.status.code() == Some(1), "{nobody:?}");
        ensure!(String::from_utf8_lossy(&nobody.stderr).contains("eyewall does not run"), "{nobody:?}");

        started(&mut node).await?;
        std::fs::write(&accounts, format!("{good}{SECOND_ROOT}"))?;
        judged(&node).await?;
        std::fs::write(&accounts, good)?;
        judged(&node).await?;

        let events = told(&node, &["events"]).await?;
        for wanted in ["posture-failed", "posture-good", CHECK] {
            ensure!(events.contains(wanted), "{wanted} is not in: {events}");
        }
        let ways = |changes: &str| -> Result<Vec<(String, String)>> {
            let changes: Vec<Value> = serde_json::from_str(changes)?;
            let word = |value: &Value| value["verdict"].as_str().unwrap_or("new").to_owned();
            let of_check = changes.iter().filter(|change| change["check"] == CHECK);
            Ok(of_check.map(|change| (word(&change["before"]), word(&change["after"]))).collect())
        };
        let want = [("pass".to_owned(), "fail".to_owned()), ("fail".to_owned(), "pass".to_owned())];
        let changes = told(&node, &["check", "--changes", "--json"]).await?;
        ensure!(ways(&changes)? == want, "{changes}");
        let text = told(&node, &["check", "--changes"]).await?;
        let bad = format!("{CHECK}  pass -> fail");
        let at = text.find(&bad).with_context(|| format!("{bad} is not in: {text}"))?;
        ensure!(text[..at].contains(&format!("{CHECK}  fail -> pass")), "the newest comes first: {text}");
        let page = told(&node, &["report", "--output", "-"]).await?;
        ensure!(page.contains("Changes of the posture") && page.contains(CHECK), "{page}");

        ensure!(node.stop().await? == Some(0), "it ends well: {}", node.log());
        started(&mut node).await?;
        let changes = told(&node, &["check", "--changes", "--json"]).await?;
        ensure!(ways(&changes)? == want, "what was told is not told again, and is not forgotten: {changes}");
        let events = told(&node, &["events"]).await?;
        ensure!(!events.contains(CHECK), "{events}");

        let list = told(&node, &["check", "--list"]).await?;
        ensure!(list.contains(CHECK) && list.contains("proves:") && list.contains("not:"), "{list}");
        Ok(())
    })
}
