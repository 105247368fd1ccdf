//! No key, token or kubeconfig content leaves: everything the daemon and its verbs write, in good and in bad scenarios, is
//! searched for what was planted.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use anyhow::Result;
use tests::apiserver::{ApiServer, ApprovalMode, Fault, FaultAction, Options, Token};
use tests::node::Node;

const SOON: Duration = Duration::from_secs(10);
const TOKEN: &str = "plantd.5ecre75ecre75ecr";

/// Every place that must stay silent, with its name.
async fn told(node: &Node) -> Result<Vec<(String, String)>> {
    let mut told = vec![("the log".to_owned(), node.log())];
    for target in [
        "/v1/status",
        "/v1/certificates",
        "/v1/kubelet",
        "/v1/events",
        "/metrics",
        "/healthz",
        "/readyz",
        "/v1/nothing",
    ] {
        if let Ok((_, body)) = node.request("GET", target).await {
            told.push((target.to_owned(), body));
        }
    }
    for verb in [
        &["status"][..],
        &["status", "--json"],
        &["certificates"],
        &["certificates", "--json"],
        &["certificates", "needs-renewal"],
        &["events"],
        &["kubelet", "--print"],
    ] {
        let output = node.command(verb)?.output().await?;
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        told.push((format!("eyewall {}", verb.join(" ")), text));
    }
    Ok(told)
}

async fn is_silent(scenario: &str, node: &Node) -> Result<()> {
    let mut secrets = node.secrets();
    secrets.push("5ecre75ecre75ecr".to_owned());
    for (place, text) in told(node).await? {
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{scenario}: {place} tells a secret");
        }
        assert!(!text.contains("PRIVATE KEY"), "{scenario}: {place} tells a key");
        assert!(!text.contains("certificate-authority-data"), "{scenario}: {place} quotes the kubeconfig");
    }
    Ok(())
}

#[tokio::test]
async fn nothing_tells_a_secret() -> Result<()> {
    type Change = fn(&ApiServer, &Node, &str) -> Result<()>;
    let scenarios: [(&str, &str, Change); 8] = [
        ("joined", "valid", |_, _, _| Ok(())),
        ("token rejected", "token-rejected", |api, _, _| {
            api.revoke_token("plantd");
            Ok(())
        }),
        ("pending", "pending-approval", |api, _, _| {
            api.set_approval(ApprovalMode::Manual);
            Ok(())
        }),
        ("denied", "denied", |api, _, _| {
            api.set_approval(ApprovalMode::Deny { reason: "No".to_owned(), message: "no".to_owned() });
            Ok(())
        }),
        ("half a kubeconfig", "absent", |_, node, text| node.give_kubeconfig(&text[..text.len() - 60])),
        ("broken YAML with a token in it", "absent", |_, node, text| {
            node.give_kubeconfig(&text.replace("    token:", "   \t- token: ["))
        }),
        ("a server that answers with our token", "server-unreachable", |api, _, _| {
            let body = format!("{{\"kind\":\"Status\",\"message\":\"no user has the token {TOKEN}\"}}");
            let action = FaultAction::Status { code: 500, retry_after: None, body: Some(body) };
            api.inject(Fault::new(action).always());
            Ok(())
        }),
        ("away", "server-unreachable", |api, _, _| {
            api.stop();
            Ok(())
        }),
    ];
    for (scenario, state, change) in scenarios {
        let api = ApiServer::start(Options { tokens: vec![Token::new(TOKEN)], ..Options::default() }).await?;
        let mut node = Node::new("node-a")?;
        let text = api.bootstrap_kubeconfig();
        assert!(text.contains(TOKEN), "the token is planted");
        node.give_kubeconfig(&text)?;
        change(&api, &node, &text)?;
        node.environment("EYEWALL_LOG", "trace");
        node.start()?;
        let seen = node.wait(SOON, |status| status.certificates.state.as_str() == state).await;
        assert!(seen.is_ok(), "{scenario}: {seen:?}");
        is_silent(scenario, &node).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_crash_leaves_no_core_with_keys_in_it() -> Result<()> {
    let api = ApiServer::start(Options { tokens: vec![Token::new(TOKEN)], ..Options::default() }).await?;
    let mut node = Node::new("node-a")?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    // The control: under the same limit and by the same signal another process does leave a core on this machine.
    let unlimited = "ulimit -c unlimited; exec \"$0\" \"$@\"";
    let mut control = tokio::process::Command::new("sh")
        .args(["-c", unlimited, "sleep", "60"])
        .current_dir(node.path(""))
        .kill_on_drop(true)
        .spawn()?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    abort(control.id().expect("it runs")).await?;
    assert!(control.wait().await?.core_dumped(), "no process leaves a core here: this test would show nothing");
    node.wrapper(&["sh", "-c", unlimited]);
    node.start()?;
    node.wait_for(SOON, "valid", "certificate-valid").await?;
    abort(node.pid().expect("it runs")).await?;
    let dumped = node.core_dumped(Duration::from_secs(5)).await?;
    assert!(!dumped, "a core was written");
    Ok(())
}

async fn abort(pid: u32) -> Result<()> {
    let sent = tokio::process::Command::new("kill").args(["-ABRT", &pid.to_string()]).status().await?;
    anyhow::ensure!(sent.success(), "SIGABRT could not be sent to {pid}");
    Ok(())
}
