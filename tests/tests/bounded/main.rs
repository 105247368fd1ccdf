//! Every trouble between a node and its cluster has a reason of its own, and traffic that is bounded however long it lasts:
//! the real binary in a hurry, its requests counted by the stand-in.
//!
//! The bounds are those of the table in `agent/core/src/rotation/attempt.rs`, written out here once more.

mod cases;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eyewall_core::csr;
use serde_json::{Value, json};
use tests::apiserver::{ApiServer, CsrState, Options, RequestRecord};
use tests::node::{Node, binary};
use tokio::process::Command;
use tokio::time::Instant;

use cases::{Case, DECIDED, FAILING, KeepUp, Objects, REFUSED, WAITING};

/// What a state may take to show itself, in real time.
const SOON: Duration = Duration::from_secs(20);
/// The clock's verdict counts for so long, and then it costs a request (DESIGN 5.1).
const CLOCK_COUNTS_FOR: f64 = 900.0;
const CSRS: &str = "certificatesigningrequests";

#[tokio::test]
async fn an_approver_or_signer_has_decided() -> Result<()> {
    all(&DECIDED).await
}

#[tokio::test]
async fn the_request_waits_or_is_gone() -> Result<()> {
    all(&WAITING).await
}

#[tokio::test]
async fn the_credential_or_the_request_is_refused() -> Result<()> {
    all(&REFUSED).await
}

#[tokio::test]
async fn the_server_is_busy_or_failing() -> Result<()> {
    all(&FAILING).await
}

/// The cases beside each other: most of their time is waiting.
async fn all(cases: &'static [Case]) -> Result<()> {
    let mut running = tokio::task::JoinSet::new();
    for case in cases {
        running.spawn(async move { one(case).await.with_context(|| case.name) });
        // The first connection of each is not to wait for those of the others: its deadlines are in a hurry as well.
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    Ok(())
}

/// All requests, with our time.
type Log = Arc<Mutex<Vec<(Instant, RequestRecord)>>>;

async fn one(case: &Case) -> Result<()> {
    let log = Log::default();
    let seen = Arc::clone(&log);
    let on_request = move |request: &RequestRecord| {
        if let Ok(mut log) = seen.lock() {
            log.push((Instant::now(), request.clone()));
        }
    };
    let api = ApiServer::start(Options { on_request: Some(Arc::new(on_request)), ..Options::default() }).await?;
    (case.make)(&api);
    let mut node = Node::new("node-a")?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    let (span, pace) = case.span;
    node.hurry(pace)?;
    let started = Instant::now();
    node.start()?;
    let span = Duration::from_secs(span) / pace;
    let watched = async {
        shows(&node, case).await?;
        tokio::time::sleep_until(started + span).await;
        // What it showed first it shows to the end.
        shows(&node, case).await
    };
    tokio::select! {
        shown = watched => shown?,
        never = api.keep_pace(started, pace) => match never {},
        stopped = keep_up(case.keep_up, &api, &node) => stopped?,
    }
    let simulated = started.elapsed().as_secs_f64() * f64::from(pace);
    node.kill().await?;
    let log = log.lock().map_err(|_| anyhow::anyhow!("the log is poisoned"))?.clone();
    judge(case, simulated, &log, &api)
}

/// The state, its kind and what a person can do, as a person reads them.
async fn shows(node: &Node, case: &Case) -> Result<()> {
    let (state, kind, words) = case.shows;
    node.wait_for(SOON, state, kind).await?;
    let end = Instant::now() + SOON;
    loop {
        // Not in a hurry, as the daemon is: it gives up after some seconds.
        let screen = Command::new(binary()?).arg("certificates").arg("--config").arg(node.config()).output().await?;
        let text = String::from_utf8_lossy(&screen.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
        if text.contains(state) && text.contains(words) {
            return Ok(());
        }
        // A hurried node has little patience with a busy machine, and for a moment there may be another trouble.
        ensure!(Instant::now() < end, "the screen does not say {words:?}: {text}");
    }
}

async fn keep_up(what: KeepUp, api: &ApiServer, node: &Node) -> Result<()> {
    let look_again = Duration::from_millis(3);
    loop {
        match what {
            KeepUp::Nothing => return std::future::pending().await,
            KeepUp::Delete => {
                for csr in api.csrs() {
                    // It is to be watched by then.
                    tokio::time::sleep(Duration::from_millis(30)).await;
                    api.remove(CSRS, "", &csr.name);
                }
            }
            KeepUp::DeleteDenied => {
                for csr in api.csrs().into_iter().filter(|csr| csr.state == CsrState::Denied) {
                    tokio::time::sleep(Duration::from_millis(30)).await;
                    api.remove(CSRS, "", &csr.name);
                }
            }
            KeepUp::TakeTheName => {
                // The status names what the key on disk is about to ask with.
                let request = node.status().await.ok().and_then(|status| status.certificates.request);
                if let Some(name) = request.map(|request| request.name)
                    && api.look(|seen| seen.object(CSRS, "", &name)).is_none()
                {
                    api.apply(foreign(&name))?;
                }
            }
        }
        tokio::time::sleep(look_again).await;
    }
}

/// Somebody else's object of that name.
fn foreign(name: &str) -> Value {
    json!({
        "kind": "CertificateSigningRequest", "metadata": {"name": name},
        "spec": {
            "request": "Zm9yZWlnbg==", "signerName": csr::SIGNER, "usages": csr::USAGES, "username": "jane",
            "groups": ["system:authenticated"],
        },
        "status": {},
    })
}

/// The most steps that the documented waits allow in so many seconds, the first at once; each wait may be a fifth shorter.
fn steps((first, longest): (u64, u64), seconds: f64) -> usize {
    let (mut steps, mut at, mut wait) = (1, 0.0, first as f64);
    loop {
        at += wait.min(longest as f64) * 0.8;
        if at > seconds {
            return steps;
        }
        steps += 1;
        wait *= 2.0;
    }
}

fn judge(case: &Case, simulated: f64, log: &[(Instant, RequestRecord)], api: &ApiServer) -> Result<()> {
    let Case { name, backoff, a_step, objects, left_alone, span: (_, pace), .. } = case;
    let steps = steps(*backoff, simulated);
    let about_certificates = |record: &RequestRecord| record.path.starts_with(csr::PATH);
    let asked = log.iter().filter(|(_, record)| about_certificates(record)).count();
    let created = log.iter().filter(|(_, r)| r.method == "POST" && about_certificates(r) && r.status == 201).count();
    let others = log.len() - asked;
    // The first step has a watch more, where there is something to watch.
    let (may_ask, may_check) = (steps * a_step + 1, steps.min((simulated / CLOCK_COUNTS_FOR) as usize) + 1);
    let may_create = match objects {
        Objects::AtMost(most) => *most,
        Objects::OneAStep => steps,
    };
    println!(
        "{name:<40} {:>4.1} h: {asked:>3}/{may_ask:<3} requests for a certificate, {others:>2}/{may_check:<2} questions for the time, \
         {created:>2}/{may_create:<2} objects",
        simulated / 3_600.0,
    );
    let at = |at: &Instant| log.first().map_or(Duration::ZERO, |(first, _)| at.duration_since(*first) * *pace);
    let told = || log.iter().map(|(when, r)| format!("{:9.1?} {r}", at(when))).collect::<Vec<_>>().join("\n");
    let kept =
        asked <= may_ask && others <= may_check.max(if *left_alone > 0 { steps } else { 0 }) && created <= may_create;
    ensure!(kept, "more than it may:\n{}", told());
    ensure!(log.len() * 4 >= may_ask, "it went to sleep:\n{}", told());
    let ours: Vec<_> = api.csrs().into_iter().filter(|csr| csr.requester != "jane").collect();
    ensure!(ours.len() <= 1, "more than one object: {ours:#?}");
    for pair in log.windows(2) {
        let [(before, answered), (after, next)] = pair else { continue };
        let waited = after.duration_since(*before) * *pace;
        let early = matches!(answered.status, 429 | 503) && waited < Duration::from_secs(*left_alone);
        ensure!(!early, "{next} came {waited:?} after {answered}");
    }
    Ok(())
}
