//! "Make sure that so much of the certificate's life is left", as it is asked before a reboot: over the command line and the socket.

use std::process::Output;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use tests::apiserver::{ApiServer, Options};
use tests::node::Node;
use tokio::time::Instant;

const SOON: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

#[expect(clippy::disallowed_methods, reason = "certificates made for a test end after today")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// A node with a certificate of so long ago, that lives on so long, in a cluster of these options.
async fn joined(options: Options, age: Duration, left: Duration) -> Result<(ApiServer, Node)> {
    let api = ApiServer::start(options).await?;
    let mut node = Node::new("node-a")?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    let issued = now() - age;
    let dated = node.pki().join("kubelet-client-2026-01-01-00-00-00.pem");
    std::fs::write(&dated, api.issue_node_certificate("node-a", issued, now() + left)?)?;
    // The age of the file is the age of the certificate, as where the agent has installed it.
    std::fs::File::options().append(true).open(&dated)?.set_modified(issued)?;
    std::os::unix::fs::symlink(&dated, node.current())?;
    node.start()?;
    node.wait_for(SOON, "valid", "certificate-valid").await?;
    Ok((api, node))
}

async fn ask(node: &Node, words: &[&str]) -> Result<(Option<i32>, String)> {
    let verb = [&["certificates", "renew"], words].concat();
    let Output { status, stdout, stderr } = node.command(&verb)?.output().await?;
    Ok((status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned()))
}

#[tokio::test]
async fn what_holds_is_said_at_once_and_what_does_not_is_made_to() -> Result<()> {
    let (api, node) = joined(Options::default(), 30 * HOUR, 42 * HOUR).await?;
    let (code, told) = ask(&node, &["--at-least", "24h"]).await?;
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("[certificate-lasts]"), "{told}");
    assert_eq!(api.csrs().len(), 0, "nobody is asked for what is there");
    let (code, told) = ask(&node, &["--at-least", "48h"]).await?;
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(api.csrs().len(), 1);
    let current = node.status().await?.certificates.current.expect("a certificate");
    assert!(current.not_after.0 >= now() + 71 * HOUR, "{current:?}");
    let events: Vec<_> =
        node.events().await?.into_iter().filter(|event| event.event == "certificate-renewal-due").collect();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].fields["kind"], "less-left-than-asked");
    Ok(())
}

#[tokio::test]
async fn many_who_ask_at_once_are_served_by_one_renewal() -> Result<()> {
    let (api, node) = joined(Options::default(), 30 * HOUR, 42 * HOUR).await?;
    let asked = (0..6).map(|hours| {
        let target = format!("/v1/certificates/renew?at_least={}h", 48 + hours);
        let node = &node;
        async move { node.request("POST", &target).await }
    });
    for answer in futures(asked).await {
        let (code, body) = answer?;
        let body: serde_json::Value = serde_json::from_str(&body)?;
        assert_eq!((code, &body["holds"]), (200, &serde_json::Value::Bool(true)), "{body}");
    }
    assert_eq!(api.csrs().len(), 1);
    Ok(())
}

/// All of them, at the same time.
async fn futures<T: Send + 'static>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut open: Vec<_> = all.map(|one| Box::pin(one)).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|context| {
        open.retain_mut(|one| match one.as_mut().poll(context) {
            std::task::Poll::Ready(value) => {
                done.push(value);
                false
            }
            std::task::Poll::Pending => true,
        });
        if open.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done
}

#[tokio::test]
async fn a_signer_that_gives_less_is_asked_once() -> Result<()> {
    let (api, node) = joined(Options::default(), 40 * MINUTE, 60 * MINUTE).await?;
    api.set_signing_duration(2 * HOUR);
    for round in 0..3 {
        let (code, told) = ask(&node, &["--at-least", "24h", "--wait", "20s"]).await?;
        assert_eq!(code, Some(1), "{round}: {told}");
        assert!(told.contains("[signer-gives-less]"), "{round}: {told}");
        assert_eq!(api.csrs().len(), 1, "{round}: what could be had was had once");
    }
    let (code, told) = ask(&node, &["--at-least", "90m"]).await?;
    assert_eq!(code, Some(0), "that much is left now: {told}");
    Ok(())
}

#[tokio::test]
async fn a_ca_that_ends_first_is_said_and_not_asked_again() -> Result<()> {
    let options = Options { authority_lifetime: 10 * HOUR, ..Options::default() };
    let (api, node) = joined(options, 2 * HOUR, 6 * HOUR).await?;
    for round in 0..3 {
        let (code, told) = ask(&node, &["--at-least", "24h", "--wait", "20s"]).await?;
        assert_eq!(code, Some(1), "{round}: {told}");
        assert!(told.contains("[certificate-ends-with-authority]"), "{round}: {told}");
        assert_eq!(api.csrs().len(), 1, "{round}: the last one that can be had, once");
    }
    Ok(())
}

#[tokio::test]
async fn a_deadline_that_passes_tells_what_is_in_the_way() -> Result<()> {
    let (api, node) = joined(Options::default(), 30 * HOUR, 42 * HOUR).await?;
    api.stop();
    let start = Instant::now();
    let (code, told) = ask(&node, &["--at-least", "48h", "--wait", "2s"]).await?;
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("[server-unreachable]"), "{told}");
    assert!((2..5).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    let (code, told) = ask(&node, &["--at-least", "24h"]).await?;
    assert_eq!(code, Some(0), "what holds needs no server: {told}");
    Ok(())
}

#[tokio::test]
async fn an_observer_only_says_what_is() -> Result<()> {
    let api = ApiServer::start(Options::default()).await?;
    let mut node = Node::new("node-a")?;
    node.drop_in("10-owner.toml", "[certificates]\nowner = \"kubelet\"\n")?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    std::fs::write(node.current(), api.issue_node_certificate("node-a", now() - 30 * HOUR, now() + 42 * HOUR)?)?;
    node.start()?;
    node.wait_for(SOON, "valid", "certificate-valid").await?;
    for (left, code, kind) in [("24h", 0, "certificate-lasts"), ("48h", 1, "not-the-owner")] {
        let (got, told) = ask(&node, &["--at-least", left]).await?;
        assert_eq!(got, Some(code), "{left}: {told}");
        assert!(told.contains(&format!("[{kind}]")), "{left}: {told}");
    }
    assert_eq!(api.csrs().len(), 0);
    Ok(())
}

#[tokio::test]
async fn nonsense_is_refused_with_a_word() -> Result<()> {
    let node = Node::new("node-a")?;
    for words in [
        &["--at-least", "soon"][..],
        &["--at-least", "1s"],
        &["--at-least", "400d"],
        &["--at-least", "1h", "--wait", "0s"],
        &["--at-least", "1h", "--wait", "1h"],
        &["--wait", "2m"],
    ] {
        let (code, told) = ask(&node, words).await?;
        assert_eq!(code, Some(64), "{words:?}: {told}");
    }
    let (api, node) = joined(Options::default(), HOUR, 71 * HOUR).await?;
    for query in ["at_least=soon", "at_least=1h&wait=1h", "wait=2m", "at_least=1h&at_least=2h"] {
        let (code, body) = node.request("POST", &format!("/v1/certificates/renew?{query}")).await?;
        assert_eq!(code, 400, "{query}: {body}");
        assert!(body.contains("\"kind\":\"bad-query\""), "{query}: {body}");
    }
    assert_eq!(api.csrs().len(), 0);
    Ok(())
}
