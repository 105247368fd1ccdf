//! A node whose clock is wrong: what it says, how little it asks, that nothing is thrown away, and that it comes right by itself.
//!
//! The clock is set without the kernel telling it, so it is found out at the next look; the virtual machines measure the rest.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use eyewall_core::status::{CertificateState, Status};
use tests::apiserver::{ApiServer, Options};
use tests::bus::Bus;
use tests::bus::timedate::{Answer, Timedate};
use tests::host_clock::HostClock;
use tests::node::Node;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

const SOON: Duration = Duration::from_secs(10);
const HOUR: Duration = Duration::from_secs(3_600);
/// How long a wrong clock is watched: looks come after 0, 5 and 15 s (each wait less or more by a fifth).
const WATCHED: Duration = Duration::from_secs(13);
/// The next look after that, or the first that finds the certificate in its life.
const RIGHT: Duration = Duration::from_secs(65);

#[expect(clippy::disallowed_methods, reason = "the clock that the wrong ones are set against")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Seconds from now to this instant of the wrong clock.
fn to(unix: i64) -> i64 {
    let now = now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |span| span.as_secs());
    unix - i64::try_from(now).unwrap_or(i64::MAX)
}

/// 2050-01-01T00:00:00Z
const Y2050: i64 = 2_524_608_000;

/// A node of its own cluster, whose clock is so many seconds ahead.
async fn node(ahead: i64) -> Result<(ApiServer, Node, HostClock)> {
    let api = ApiServer::start(Options::default()).await?;
    let mut node = Node::new("node-a")?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    let clock = HostClock::new(&node.path(""), ahead)?;
    let wrapper = clock.wrapper()?;
    node.wrapper(&wrapper.iter().map(String::as_str).collect::<Vec<_>>());
    Ok((api, node, clock))
}

/// Puts a certificate in force as the kubelet leaves it.
fn in_force(api: &ApiServer, node: &Node) -> Result<String> {
    let pem = api.issue_node_certificate("node-a", now() - HOUR, now() + 71 * HOUR)?;
    let dated = node.pki().join("kubelet-client-2026-01-01-00-00-00.pem");
    std::fs::write(&dated, &pem)?;
    std::os::unix::fs::symlink(&dated, node.current())?;
    Ok(pem)
}

fn files(node: &Node) -> Vec<String> {
    let entries = std::fs::read_dir(node.pki()).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// One wrong clock at boot.
#[derive(Clone, Copy, Debug)]
struct Case {
    name: &'static str,
    ahead: i64,
    /// There is a certificate in force.
    joined: bool,
    kind: &'static str,
    /// Requests in the time that is watched, at most: one a look.
    requests: usize,
}

#[tokio::test]
async fn a_boot_with_a_wrong_clock_asks_little_and_comes_right() -> Result<()> {
    let cases = [
        Case { name: "1970", ahead: to(12), joined: false, kind: "clock-impossible", requests: 0 },
        Case { name: "1970, joined", ahead: to(12), joined: true, kind: "clock-impossible", requests: 0 },
        Case { name: "2050", ahead: to(Y2050), joined: false, kind: "clock-differs-from-server", requests: 3 },
        Case { name: "2050, joined", ahead: to(Y2050), joined: true, kind: "clock-differs-from-server", requests: 3 },
        Case { name: "ten minutes ahead", ahead: 600, joined: false, kind: "clock-differs-from-server", requests: 3 },
        Case { name: "ten minutes behind", ahead: -600, joined: false, kind: "clock-differs-from-server", requests: 3 },
    ];
    // All at once: most of it is waiting.
    let mut tasks = JoinSet::new();
    for case in cases {
        tasks.spawn(async move { wrong_at_boot(case).await.with_context(|| case.name) });
    }
    while let Some(done) = tasks.join_next().await {
        println!("{}", done??);
    }
    Ok(())
}

async fn wrong_at_boot(case: Case) -> Result<String> {
    let Case { name, ahead, joined, kind, requests } = case;
    let (api, mut node, clock) = node(ahead).await?;
    let pem = if joined { Some(in_force(&api, &node)?) } else { None };
    let before = files(&node);
    node.start()?;
    let status = node.wait_for(SOON, "clock-suspect", kind).await?;
    assert!(!status.certificates.clock.trusted, "{name}");
    assert_eq!(status.certificates.clock.reason.kind, kind, "{name}");
    if requests > 0 {
        let skew = status.certificates.clock.skew_seconds.context("a skew")?;
        assert!((skew - ahead).abs() <= 5, "{name}: {skew} s, and it is {ahead}");
    }
    sleep(WATCHED).await;

    let asked: Vec<_> = api.requests_about_certificates();
    assert!(asked.len() <= requests, "{name}: {asked:#?}");
    assert!(
        asked.iter().all(|request| (request.method.as_str(), request.path.as_str()) == ("GET", "/version")),
        "{name}"
    );
    assert!(api.csrs().is_empty(), "{name}: a certificate was asked for");
    node.wait_for(Duration::from_secs(1), "clock-suspect", kind).await.context("it stays so")?;
    match &pem {
        Some(pem) => {
            assert_eq!(&std::fs::read_to_string(node.current())?, pem, "{name}: the certificate in force is gone");
            assert!(
                files(&node).iter().all(|file| before.contains(file) || file == "cluster-ca.crt"),
                "{name}: {:?}",
                files(&node)
            );
        }
        None => {
            assert!(files(&node).iter().all(|file| !file.contains("key")), "{name}: a key was made: {:?}", files(&node))
        }
    }

    clock.set(0)?;
    let set_at = Instant::now();
    node.wait_for(RIGHT, "valid", "certificate-valid").await?;
    let took = set_at.elapsed();
    let events: Vec<_> = node.events().await?.into_iter().map(|event| event.event).collect();
    let count = |name: &str| events.iter().filter(|event| event.as_str() == name).count();
    assert_eq!(count("clock-suspect"), 1, "{name}: {events:?}");
    assert_eq!(count("clock-right-again"), 1, "{name}: {events:?}");
    for never in ["certificate-expired", "ca-expired", "certificate-recovered", "certificate-quarantined"] {
        assert_eq!(count(never), 0, "{name}: {never}");
    }
    let wanted = usize::from(!joined);
    assert_eq!(api.csrs().len(), wanted, "{name}: requests for a certificate");
    if let Some(pem) = pem {
        assert_eq!(std::fs::read_to_string(node.current())?, pem, "{name}: it was renewed for nothing");
    }
    Ok(format!(
        "{name}: {} requests while it was wrong (at most {requests}), right {:.1} s after it was set",
        asked.len(),
        took.as_secs_f64()
    ))
}

#[tokio::test]
async fn a_clock_that_is_set_while_the_certificate_is_good_changes_nothing() -> Result<()> {
    let (api, mut node, clock) = node(0).await?;
    let pem = in_force(&api, &node)?;
    node.start()?;
    let is_tested = |status: &Status| status.certificates.recovery.is_some();
    node.wait(SOON, is_tested).await?;
    api.forget_requests();
    for ahead in [600, -600, 0] {
        clock.set(ahead)?;
        sleep(Duration::from_secs(1)).await;
        let status = node.status().await?;
        assert_eq!(status.certificates.state, CertificateState::Valid, "{ahead} s ahead");
    }
    assert_eq!(api.requests_about_certificates(), [], "nothing has to be asked for that");
    assert_eq!(std::fs::read_to_string(node.current())?, pem);
    Ok(())
}

/// What timedated says, how far the clock is ahead, and what is made of it.
#[tokio::test]
async fn the_time_service_is_heard_where_the_server_says_otherwise() -> Result<()> {
    let agreed = Duration::from_secs(150);
    for (name, answer, ahead, kind, joins, questions) in [
        ("the server agrees", Answer::Synchronised(false), 0, "clock-agrees-with-server", true, 0),
        (
            "synchronised, and ten minutes ahead",
            Answer::Synchronised(true),
            600,
            "clock-synchronised-server-differs",
            true,
            1,
        ),
        ("synchronised, and two hours ahead", Answer::Synchronised(true), 7_200, "clock-differs-from-server", false, 1),
        ("synchronised, and in 2050", Answer::Synchronised(true), to(Y2050), "clock-differs-from-server", false, 1),
        ("not synchronised", Answer::Synchronised(false), -600, "clock-differs-from-server", false, 1),
        ("no reply ever comes", Answer::Nothing, -600, "clock-differs-from-server", false, 1),
    ] {
        let bus = Bus::start().await?;
        let timedate = Timedate::start(&bus, answer).await?;
        let (api, mut node, _clock) = node(ahead).await?;
        node.environment("DBUS_SYSTEM_BUS_ADDRESS", &bus.address());
        let started = Instant::now();
        node.start()?;
        let is = |status: &Status| status.certificates.clock.reason.kind == kind;
        let status = node.wait(SOON, is).await.context(name)?;
        // A second for a service that never answers, and the time to start in.
        assert!(started.elapsed() < Duration::from_secs(4), "{name}: only after {:?}", started.elapsed());
        assert_eq!(timedate.asked(), questions, "{name}");
        if joins {
            node.wait_for(SOON, "valid", "certificate-valid").await.context(name)?;
            let told = node.events().await?.iter().filter(|event| event.event == "clock-differs").count();
            assert_eq!(told, usize::from(ahead.unsigned_abs() > agreed.as_secs()), "{name}");
        } else {
            assert_eq!(status.certificates.state, CertificateState::ClockSuspect, "{name}");
            assert!(api.csrs().is_empty(), "{name}");
        }
        println!("{name}: {}", status.certificates.clock.reason.message);
    }
    Ok(())
}

/// The same evidence, and it is the server that is wrong: its own clock says so.
#[tokio::test]
async fn a_server_whose_certificate_has_ended_is_told_as_that() -> Result<()> {
    let four_hundred_days = 400 * 86_400 * 1_000;
    // Its certificate is of a year, and is made when it starts.
    let api = ApiServer::start(Options { clock_offset_ms: -four_hundred_days, ..Options::default() }).await?;
    api.set_clock_offset_ms(0);
    let mut node = Node::new("node-a")?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    // The CA is as old as the certificate, and lives as long.
    node.start()?;
    let status = node.wait(SOON, |status| status.certificates.clock.trusted).await?;
    assert_eq!(status.certificates.clock.reason.kind, "clock-agrees-with-server");
    let status = node.wait_for(SOON, "ca-expired", "authority-expired").await?;
    assert_eq!(api.csrs().len(), 0);
    println!("{}", status.certificates.reason.message);

    let living = Options {
        clock_offset_ms: -four_hundred_days,
        authority_lifetime: Duration::from_secs(2 * 400 * 86_400),
        ..Options::default()
    };
    let api = ApiServer::start(living).await?;
    api.set_clock_offset_ms(0);
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    let status = node.wait_for(SOON, "server-unreachable", "server-certificate-expired").await?;
    assert!(status.certificates.clock.trusted);
    println!("{}", status.certificates.reason.message);
    // Looks after 0 and 5 s.
    sleep(Duration::from_secs(7)).await;
    assert!(api.requests_about_certificates().len() <= 3, "{:#?}", api.requests_about_certificates());
    assert!(api.csrs().is_empty());
    Ok(())
}

#[tokio::test]
async fn a_kubelet_that_renews_itself_is_not_called_expired_by_a_wrong_clock() -> Result<()> {
    let (api, mut node, _clock) = node(to(Y2050)).await?;
    node.drop_in("10-owner.toml", "[certificates]\nowner = \"kubelet\"\n")?;
    let pem = in_force(&api, &node)?;
    let before = files(&node);
    node.start()?;
    node.wait_for(SOON, "clock-suspect", "clock-differs-from-server").await?;
    assert_eq!(files(&node), before);
    assert_eq!(std::fs::read_to_string(node.current())?, pem);
    Ok(())
}
