//! kill -9 at every step of a bootstrap and of a renewal, one run per step: the end is the same good state, with one
//! request per key.
//!
//! strace ends the daemon just before the n-th system call of a kind; a dry run tells how many there are. So every cut
//! point between two calls is met, and no hook is needed in the binary.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use eyewall_core::cert::{CertView, bundle};
use tests::apiserver::{ApiServer, Options};
use tests::node::Node;

const SOON: Duration = Duration::from_secs(20);
/// The calls that change a file or tell a peer something.
const CALLS: [&str; 12] = [
    "connect", "sendto", "writev", "write", "fsync", "rename", "symlink", "unlink", "mkdir", "link", "openat", "fchmod",
];

/// A node about to do something worth killing it for.
type Scene = fn(&ApiServer, &Node) -> Result<()>;

fn bootstrap(api: &ApiServer, node: &Node) -> Result<()> {
    node.give_kubeconfig(&api.bootstrap_kubeconfig())
}

/// A certificate past its renewal point is in force.
fn renewal(api: &ApiServer, node: &Node) -> Result<()> {
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    let hour = Duration::from_secs(3_600);
    let dated = node.pki().join("kubelet-client-2026-01-01-00-00-00.pem");
    std::fs::write(&dated, api.issue_node_certificate("node-a", now() - 50 * hour, now() + 22 * hour)?)?;
    std::os::unix::fs::symlink(&dated, node.current())?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "certificates made for a test end after today")]
fn now() -> SystemTime {
    SystemTime::now()
}

async fn is_settled(node: &Node) -> Result<()> {
    node.wait(SOON, |status| status.certificates.state.as_str() == "valid" && status.certificates.request.is_none())
        .await?;
    Ok(())
}

/// A certificate of today is in force, and its request is tidied away.
fn is_done(pki: &Path) -> bool {
    let target = std::fs::read_link(pki.join("kubelet-client-current.pem"));
    let today = target.is_ok_and(|target| !target.to_string_lossy().contains("2026-01-01"));
    today && !pki.join("kubelet-client-request.pem").exists()
}

/// Waits for [`is_done`] and a moment more, or for longer than any run takes.
async fn until_done(pki: &Path) {
    for _ in 0..100 {
        if is_done(pki) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
}

/// How often each call is made until all is well, counted from the program's own first instruction.
async fn count(scene: Scene) -> Result<BTreeMap<String, u32>> {
    let api = ApiServer::start(Options::default()).await?;
    let mut node = Node::new("node-a")?;
    scene(&api, &node)?;
    let trace = node.path("trace").display().to_string();
    let calls = format!("trace={}", CALLS.join(","));
    node.wrapper(&["strace", "-D", "-f", "-qq", "-e", &calls, "-e", "signal=none", "-o", &trace]);
    node.start()?;
    // By its files: a question over the socket would be calls that the runs to be killed do not make.
    until_done(&node.pki()).await;
    ensure!(is_done(&node.pki()), "the dry run does not end well: {}", node.log());
    node.kill().await?;
    let mut counts: BTreeMap<String, BTreeMap<String, u32>> = BTreeMap::new();
    for line in std::fs::read_to_string(node.path("trace"))?.lines() {
        let mut words = line.split_whitespace();
        let (Some(thread), Some(call)) = (words.next(), words.next()) else { continue };
        if let Some((name, _)) = call.split_once('(') {
            *counts.entry(name.to_owned()).or_default().entry(thread.to_owned()).or_default() += 1;
        }
    }
    // strace counts per thread, and the main one makes nearly all of them.
    Ok(counts.into_iter().map(|(name, threads)| (name, threads.values().copied().max().unwrap_or(0))).collect())
}

async fn killed_at(scene: Scene, call: &str, nth: u32) -> Result<bool> {
    let api = ApiServer::start(Options::default()).await?;
    let mut node = Node::new("node-a")?;
    scene(&api, &node)?;
    let inject = format!("inject={call}:signal=KILL:when={nth}");
    let only = format!("trace={call}");
    node.wrapper(&["strace", "-D", "-f", "-qq", "-e", &only, "-e", &inject, "-e", "signal=none", "-o", "/dev/null"]);
    node.start()?;
    // Either it dies, or this run makes fewer calls of the kind than the dry run did and ends well.
    let pki = node.pki();
    let died = tokio::select! {
        ended = node.ended(Duration::from_secs(30)) => ended.map(|_| true)?,
        () = until_done(&pki) => false,
    };
    if !died {
        node.kill().await?;
    }
    let cut = std::fs::read_dir(node.pki())?
        .filter_map(|entry| entry.ok())
        .map(|entry| entry.file_name())
        .collect::<Vec<_>>();
    node.wrapper(&[]);
    node.start()?;
    is_settled(&node).await.with_context(|| format!("killed at {call} {nth}; then there were {cut:?}"))?;
    let csrs = api.csrs();
    let mut keys: Vec<_> = csrs.iter().map(|csr| csr.public_key.clone()).collect();
    keys.sort();
    keys.dedup();
    ensure!(keys.len() == csrs.len(), "killed at {call} {nth}: {} requests for {} keys", csrs.len(), keys.len());
    ensure!(csrs.len() == 1, "killed at {call} {nth}: {} requests", csrs.len());
    let pem = bundle(&std::fs::read_to_string(node.current())?)?;
    let leaf = CertView::from_der(&pem.chain[0])?;
    ensure!(keys[0] == leaf.public_key, "killed at {call} {nth}: the certificate in force is the requested one");
    ensure!(pem.key.is_some(), "killed at {call} {nth}: with its key");
    for entry in std::fs::read_dir(node.pki())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        ensure!(!name.contains("request"), "killed at {call} {nth}: {name} is left");
    }
    Ok(died)
}

async fn at_every_step(name: &str, scene: Scene) -> Result<()> {
    let counts = count(scene).await?;
    let mut points = Vec::new();
    for (call, count) in &counts {
        points.extend((1..=*count).map(|nth| (call.clone(), nth)));
    }
    let (mut died, total) = (0_u32, points.len());
    ensure!(counts.contains_key("fsync") && counts.contains_key("rename"), "the trace saw no writing: {counts:?}");
    for (call, nth) in points {
        died += u32::from(killed_at(scene, &call, nth).await?);
    }
    println!("{name}: {total} cut points {counts:?}, killed at {died} of them, one request per key after each");
    ensure!(usize::try_from(died)? * 10 >= total * 9, "only {died} of {total} runs were killed");
    Ok(())
}

#[tokio::test]
async fn at_every_step_of_a_bootstrap() -> Result<()> {
    at_every_step("bootstrap", bootstrap).await
}

#[tokio::test]
async fn at_every_step_of_a_renewal() -> Result<()> {
    at_every_step("renewal", renewal).await
}
