//! Every system call of a scene that changes a file or tells a peer something, as a place to kill the daemon at or to
//! make a call fail at. strace does both, so no hook is needed in the binary.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use eyewall_core::cert::{CertView, bundle};

use crate::apiserver::{ApiServer, Authority, Options};
use crate::node::Node;
use crate::trust::vouched_for;

const SOON: Duration = Duration::from_secs(20);
/// How long a cut is waited for that was not met before the end.
const LATE: Duration = Duration::from_secs(5);
/// The calls that change a file or tell a peer something.
const CALLS: [&str; 12] = [
    "connect", "sendto", "writev", "write", "fsync", "rename", "symlink", "unlink", "mkdir", "link", "openat", "fchmod",
];
/// The file that a scene puts in force before the daemon starts has this in its name.
const BEFORE: &str = "2026-01-01";

/// Makes a node about to do something.
pub type Scene = fn(&ApiServer, &Node) -> Result<()>;

/// A first boot.
///
/// # Errors
/// The kubeconfig cannot be written.
pub fn bootstrap(api: &ApiServer, node: &Node) -> Result<()> {
    node.give_kubeconfig(&api.bootstrap_kubeconfig())
}

/// A certificate past its renewal point is in force.
///
/// # Errors
/// The files cannot be written.
pub fn renewal(api: &ApiServer, node: &Node) -> Result<()> {
    bootstrap(api, node)?;
    std::fs::write(node.pki().join("cluster-ca.crt"), api.ca_pem())?;
    let hour = Duration::from_secs(3_600);
    in_force(node, &api.issue_node_certificate("node-a", now() - 50 * hour, now() + 22 * hour)?)
}

/// A certificate and a CA are in force that the bootstrap kubeconfig's has taken the place of.
///
/// # Errors
/// The files cannot be written.
pub fn replaced_authority(api: &ApiServer, node: &Node) -> Result<()> {
    bootstrap(api, node)?;
    let hour = Duration::from_secs(3_600);
    let old = Authority::new("kubernetes-ca", now() - 300 * 24 * hour, now() + 65 * 24 * hour)?;
    std::fs::write(node.pki().join("cluster-ca.crt"), old.certificate_pem())?;
    in_force(node, &old.issue_node_certificate("node-a", now() - hour, now() + 71 * hour)?)
}

/// A corrupt file is in force.
///
/// # Errors
/// The files cannot be written.
pub fn quarantine(api: &ApiServer, node: &Node) -> Result<()> {
    bootstrap(api, node)?;
    in_force(node, "-----BEGIN CERTIFICATE-----\ncut short")
}

fn in_force(node: &Node, pem: &str) -> Result<()> {
    let dated = node.pki().join(format!("kubelet-client-{BEFORE}-00-00-00.pem"));
    std::fs::write(&dated, pem)?;
    // Installed long ago: what has just been installed is not renewed yet, whatever its dates are.
    let long_ago = now() - Duration::from_secs(50 * 3_600);
    std::fs::File::options().append(true).open(&dated)?.set_modified(long_ago)?;
    std::os::unix::fs::symlink(&dated, node.current())?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "certificates made for a test end after today")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// A certificate of today is in force, and its request is tidied away.
fn is_done(pki: &Path) -> bool {
    let target = std::fs::read_link(pki.join("kubelet-client-current.pem"));
    let today = target.is_ok_and(|target| !target.to_string_lossy().contains(BEFORE));
    today && !pki.join("kubelet-client-request.pem").exists()
}

/// Waits for [`is_done`] and a moment more, or for longer than any run takes. By its files: a question over the socket
/// would be calls that the runs to come do not make.
async fn until_done(pki: &Path) {
    for _ in 0..200 {
        if is_done(pki) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
}

/// A call of the main thread: its name, and which one of its kind it is.
pub type Point = (String, u32);

/// The cut points of a scene, in their order: of the opened files only those that are made, since looking changes nothing.
///
/// # Errors
/// The scene does not end well even when nothing is done to it.
pub async fn points(scene: Scene) -> Result<Vec<Point>> {
    let api = ApiServer::start(Options::default()).await?;
    let mut node = Node::new("node-a")?;
    scene(&api, &node)?;
    let trace = node.path("trace").display().to_string();
    let calls = format!("trace={}", CALLS.join(","));
    node.wrapper(&["strace", "-D", "-f", "-qq", "-e", &calls, "-e", "signal=none", "-o", &trace]);
    node.start()?;
    let main = node.pid().context("it runs")?.to_string();
    until_done(&node.pki()).await;
    ensure!(is_done(&node.pki()), "the dry run does not end well: {}", node.log());
    node.kill().await?;
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let mut points = Vec::new();
    for line in std::fs::read_to_string(node.path("trace"))?.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let Some((name, arguments)) = call.trim_start().split_once('(') else { continue };
        // strace counts per thread, and another than the main one only waits for inotify.
        if thread != main {
            continue;
        }
        let nth = counts.entry(name.to_owned()).or_default();
        *nth += 1;
        if name != "openat" || arguments.contains("O_CREAT") {
            points.push((name.to_owned(), *nth));
        }
    }
    ensure!(counts.contains_key("fsync") && counts.contains_key("rename"), "the trace saw no writing: {counts:?}");
    Ok(points)
}

/// What strace does at a cut point.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// Kills the daemon before the call is made; it is started again.
    Kill,
    /// Makes the call fail with this error; the daemon has to get over it by itself.
    Fail(&'static str),
}

/// One run, cut at the `nth` call of a kind. Whatever happens, the end must be the same good state: one request per key,
/// the certificate in force is the requested one, and nothing is left over. Returns whether the cut was met.
///
/// # Errors
/// What was not as it must be.
pub async fn run(scene: Scene, call: &str, nth: u32, cut: Cut) -> Result<bool> {
    let api = ApiServer::start(Options::default()).await?;
    let mut node = Node::new("node-a")?;
    scene(&api, &node)?;
    let what = match cut {
        Cut::Kill => "signal=KILL".to_owned(),
        Cut::Fail(error) => format!("error={error}"),
    };
    let (inject, only) = (format!("inject={call}:{what}:when={nth}"), format!("trace={call}"));
    let trace = node.path("trace").display().to_string();
    node.wrapper(&["strace", "-D", "-f", "-qq", "-e", &only, "-e", &inject, "-e", "signal=none", "-o", &trace]);
    node.start()?;
    let pki = node.pki();
    let mut died = tokio::select! {
        ended = node.ended(Duration::from_secs(30)) => ended.map(|_| true)?,
        () = until_done(&pki) => false,
    };
    if !died && matches!(cut, Cut::Kill) {
        // What else the daemon does (it looks at its host) may come later here than in the dry run, beside seven others.
        died = node.ended(LATE).await.is_ok();
    }
    goes_together(&pki).with_context(|| format!("{cut:?} at {call} {nth}"))?;
    let met = died || std::fs::read_to_string(node.path("trace"))?.contains("(INJECTED)");
    // A cut that is still to come must not meet the questions of this test. And a daemon that could not even begin says so
    // and ends; systemd starts it again.
    if died || matches!(cut, Cut::Kill) {
        if !died {
            node.kill().await?;
        }
        node.wrapper(&[]);
        node.start()?;
    }
    let settled = node
        .wait(SOON, |status| status.certificates.state.as_str() == "valid" && status.certificates.request.is_none())
        .await;
    settled.with_context(|| format!("{cut:?} at {call} {nth}"))?;
    is_good(&api, &node).with_context(|| format!("{cut:?} at {call} {nth}"))?;
    Ok(met)
}

/// Wherever it was cut: the certificate in force is one that the CA in force vouches for. A first boot has none yet, and what
/// was corrupt before is none.
fn goes_together(pki: &Path) -> Result<()> {
    let read = |name: &str| std::fs::read_to_string(pki.join(name)).unwrap_or_default();
    let (ca, pem) = (read("cluster-ca.crt"), read("kubelet-client-current.pem"));
    if bundle(&pem).is_ok_and(|found| found.key.is_some()) {
        vouched_for(&ca, &pem)?;
    }
    Ok(())
}

fn is_good(api: &ApiServer, node: &Node) -> Result<()> {
    let csrs = api.csrs();
    let mut keys: Vec<_> = csrs.iter().map(|csr| csr.public_key.clone()).collect();
    keys.sort();
    keys.dedup();
    ensure!(keys.len() == csrs.len(), "{} requests for {} keys", csrs.len(), keys.len());
    ensure!(csrs.len() == 1, "{} requests", csrs.len());
    let pem = bundle(&std::fs::read_to_string(node.current())?)?;
    let leaf = CertView::from_der(pem.chain.first().context("a chain")?)?;
    ensure!(keys.first() == Some(&leaf.public_key), "the certificate in force is not the requested one");
    ensure!(pem.key.is_some(), "the certificate in force has no key");
    for entry in std::fs::read_dir(node.pki())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        ensure!(!name.contains("request"), "{name} is left");
        let aside = name.contains(".quarantined") && bundle(&std::fs::read_to_string(entry.path())?).is_ok();
        ensure!(!aside, "{name}: a usable certificate was put aside");
    }
    Ok(())
}
