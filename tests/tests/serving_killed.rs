//! kill -9 before every system call that changes a name of the serving pair, from the kubelet's own two files to the agent's one:
//! at each instant a kubelet that reads its pair finds a certificate and its own key, and a new start comes to the same end.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::apiserver::{ApiServer, ApprovalMode, Options};
use tests::node::Node;
use tests::serving::{give_addresses, node, pair_loads, requests, wait_for};

const SOON: Duration = Duration::from_secs(30);
const CALLS: [&str; 4] = ["rename", "symlink", "unlink", "openat"];
/// Runs beside each other.
const ABREAST: usize = 6;

/// A node whose kubelet serves with what it signed itself, in a cluster with an approver.
async fn scene() -> Result<(ApiServer, Node)> {
    let api = ApiServer::start(Options::default()).await?;
    api.set_signing(|signing| signing.serving = ApprovalMode::Auto);
    give_addresses(&api, &[("InternalIP", "127.0.0.1"), ("Hostname", "node-a")])?;
    let node = node(&api)?;
    let own = rcgen::generate_simple_self_signed(["node-a".to_owned()])?;
    std::fs::write(node.pki().join("kubelet.crt"), own.cert.pem())?;
    std::fs::write(node.pki().join("kubelet.key"), own.signing_key.serialize_pem())?;
    Ok((api, node))
}

/// The serving PEMs and the open request that lie in the directory.
fn ours(pki: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(pki).into_iter().flatten().filter_map(Result::ok);
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains("kubelet-server-") && name != "kubelet-server-current.pem").collect()
}

/// In force, the request tidied away, and nothing left over.
fn is_done(pki: &Path) -> bool {
    let files = ours(pki);
    let is_dated = files.first().is_some_and(|name| name.starts_with("kubelet-server-2"));
    files.len() == 1 && is_dated && std::fs::read_link(pki.join("kubelet.key")).is_ok()
}

async fn until_done(pki: &Path) {
    for _ in 0..400 {
        if is_done(pki) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
}

/// The calls of the main thread that change a name of the serving pair: which of its kind each is.
async fn points() -> Result<Vec<(String, u32)>> {
    let (_api, mut node) = scene().await?;
    let trace = node.path("trace").display().to_string();
    let calls = format!("trace={}", CALLS.join(","));
    node.wrapper(&["strace", "-D", "-f", "-qq", "-e", &calls, "-e", "signal=none", "-o", &trace]);
    node.start()?;
    let main = node.pid().context("it runs")?.to_string();
    until_done(&node.pki()).await;
    ensure!(is_done(&node.pki()), "the dry run does not end well: {:?}\n{}", ours(&node.pki()), node.log());
    node.kill().await?;
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let mut points = Vec::new();
    for line in std::fs::read_to_string(node.path("trace"))?.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let Some((name, arguments)) = call.trim_start().split_once('(') else { continue };
        if thread != main {
            continue;
        }
        let nth = counts.entry(name.to_owned()).or_default();
        *nth += 1;
        let is_ours = ["kubelet-server-", "kubelet.crt", "kubelet.key"].iter().any(|word| arguments.contains(word));
        if is_ours && (name != "openat" || arguments.contains("O_CREAT")) {
            points.push((name.to_owned(), *nth));
        }
    }
    Ok(points)
}

/// One run, killed before the `nth` call of a kind. Returns whether that was met.
async fn run(call: &str, nth: u32) -> Result<bool> {
    let (api, mut node) = scene().await?;
    let (inject, only) = (format!("inject={call}:signal=KILL:when={nth}"), format!("trace={call}"));
    let trace = node.path("trace").display().to_string();
    node.wrapper(&["strace", "-D", "-f", "-qq", "-e", &only, "-e", &inject, "-e", "signal=none", "-o", &trace]);
    node.start()?;
    let pki = node.pki();
    let met = tokio::select! {
        ended = node.ended(SOON) => ended.map(|_| true)?,
        () = until_done(&pki) => false,
    };
    pair_loads(&node).await.context("a kubelet that started now would end")?;
    if !met {
        node.kill().await?;
    }
    node.wrapper(&[]);
    node.start()?;
    wait_for(&node, SOON, "valid", "certificate-valid").await?;
    until_done(&pki).await;
    ensure!(is_done(&pki), "left over: {:?}", ours(&pki));
    pair_loads(&node).await?;
    ensure!(requests(&api).len() == 1, "{} requests", requests(&api).len());
    Ok(met)
}

#[tokio::test]
async fn at_every_step_of_the_first_switch_there_is_a_pair() -> Result<()> {
    let points = points().await?;
    ensure!(points.iter().filter(|(call, _)| call == "rename").count() >= 6, "the trace saw no switch: {points:?}");
    let mut met = 0;
    for some in points.chunks(ABREAST) {
        let mut runs = tokio::task::JoinSet::new();
        for (call, nth) in some.iter().cloned() {
            runs.spawn(async move { run(&call, nth).await.with_context(|| format!("killed at {call} {nth}")) });
        }
        while let Some(ended) = runs.join_next().await {
            met += usize::from(ended??);
        }
    }
    println!(
        "the first switch: {} cut points, killed at {met} of them, a pair and one request after each",
        points.len()
    );
    ensure!(met * 10 >= points.len() * 9, "only {met} of {} runs were cut", points.len());
    Ok(())
}
