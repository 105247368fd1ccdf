//! The whole task on a paused clock: a year of 72-hour certificates, every renewal with its real key, request, proof and
//! installation, and the end of the CA. Only the network is not there (`year/cluster.rs`) and the disk is memory.

mod cluster;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use eyewall_core::config::Config;
use eyewall_core::rotation::LOOK_AGAIN;
use eyewall_core::status::{CertificateState as State, CertificatesStatus};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Deps, run};
use crate::clock_steps::ClockSteps;
use crate::events::Events;
use crate::renewals::Renewals;
use crate::supervisor::Heartbeats;
use cluster::Cluster;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

thread_local! {
    /// Where this test's wall clock and its paused clock stood at its start.
    static START: Cell<Option<(SystemTime, Instant)>> = const { Cell::new(None) };
}

/// A wall clock that moves with tokio's.
fn now() -> SystemTime {
    let (wall, paused) = START.get().expect("the test has started the clock");
    wall + paused.elapsed()
}

#[expect(clippy::disallowed_methods, reason = "the files that the store writes are dated by the kernel's clock")]
fn start_the_clock() {
    START.set(Some((SystemTime::now(), Instant::now())));
}

#[expect(clippy::disallowed_methods, reason = "how long the year takes is printed")]
fn stopwatch() -> impl Fn() -> Duration {
    let start = std::time::Instant::now();
    move || start.elapsed()
}

/// What came of it.
struct Lived {
    cluster: Cluster,
    /// How often each event was told.
    told: BTreeMap<String, u32>,
    /// The states in their order, each until the next, with when it began.
    states: Vec<(State, SystemTime)>,
    last: CertificatesStatus,
}

/// Lets the task keep a node's certificate for `span`, in a cluster whose CA lives for `authority`.
async fn live(span: Duration, authority: Duration, look_again: Duration) -> Lived {
    start_the_clock();
    let memory = std::path::Path::new("/dev/shm");
    let root = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let cluster = Cluster::new(now, authority, 72 * HOUR);
    let mut config = Config::default();
    config.node.name = Some("node-a".to_owned());
    // In a directory of its own, where nothing changes, so that no hint comes from a clock that is not paused.
    std::fs::create_dir(root.path().join("kubernetes")).unwrap();
    config.cluster.bootstrap_kubeconfig = root.path().join("kubernetes/kubeconfig");
    config.certificates.directory = root.path().join("pki");
    config.certificates.kubeconfig = root.path().join("kubelet.kubeconfig");
    std::fs::write(&config.cluster.bootstrap_kubeconfig, cluster.kubeconfig()).unwrap();

    let events = Events::new();
    let (_config, config) = watch::channel(Arc::new(config));
    let (status, mut published) = watch::channel(None);
    let (_renewals, wishes) = Renewals::new(published.clone());
    let heartbeat = Heartbeats::new(events.clone()).register("certificates", 4 * HOUR);
    let (_, mut story) = events.follow();
    let task = tokio::spawn(run(Deps {
        config,
        status,
        limits: crate::limits::Limits::new(events.clone()),
        events,
        wishes,
        heartbeat,
        dial: Arc::new(cluster.clone()),
        look_again,
        clock: now,
        since_boot: || START.get().expect("the test has started the clock").1.elapsed(),
        clock_steps: ClockSteps::deaf(),
        hostname: || "node-a".to_owned(),
        draw: || 0.5,
    }));
    let mut told = BTreeMap::new();
    let mut states: Vec<(State, SystemTime)> = Vec::new();
    let end = Instant::now() + span;
    loop {
        tokio::select! {
            biased;
            record = story.recv() => *told.entry(record.expect("none is missed").event.clone()).or_default() += 1,
            changed = published.changed() => {
                changed.expect("the task lives");
                let status: CertificatesStatus = published.borrow_and_update().clone().expect("a status");
                // Whatever is told at any time is true of the file that the kubelet reads.
                if let Some(current) = &status.current {
                    let pem = std::fs::read_to_string(root.path().join("pki/kubelet-client-current.pem")).unwrap();
                    assert!(!pem.is_empty(), "the placeholder in place of {}", current.serial);
                    let dead = now() >= current.not_after.0;
                    assert!(!dead || now() >= cluster.ca_end(), "idle past the end of {}", current.serial);
                }
                if states.last().is_none_or(|(state, _)| *state != status.state) {
                    states.push((status.state, now()));
                }
            }
            () = tokio::time::sleep_until(end) => break,
        }
    }
    task.abort();
    let last = published.borrow().clone().expect("a status");
    Lived { cluster, told, states, last }
}

#[tokio::test(start_paused = true)]
async fn a_year_of_renewals_and_the_end_of_the_ca() {
    let took = stopwatch();
    // An hour between looks in place of a minute. The instants that count (renewal, overdue, waits) are decided beforehand
    // and kept to the second whatever this is; the test below holds both against each other. What only a look finds out, that
    // the daily test of the bootstrap credential is due, comes up to an hour later.
    let Lived { cluster, told, states, last } = live(370 * DAY, 365 * DAY, HOUR).await;
    let book = cluster.book();
    let issued = book.issued.len();

    // 72 h less the signer's five minutes, renewed between 60 and 67 % of it.
    let gaps: Vec<u64> =
        book.issued_at.windows(2).map(|pair| pair[1].duration_since(pair[0]).unwrap().as_secs()).collect();
    assert!(
        gaps.iter().all(|gap| (43 * 3_600..=49 * 3_600).contains(gap)),
        "a renewal too early or too late: {gaps:?}"
    );
    assert!((180..=204).contains(&issued), "{issued} certificates in a year");
    // Never without one: each was issued in the life of the one before it, and the last ends with the CA.
    for (pair, at) in book.issued.windows(2).zip(book.issued_at.iter().skip(1)) {
        assert!(*at < pair[0].not_after.0, "{} ended before the next", pair[0].serial);
    }
    let last_end = book.issued.last().unwrap().not_after;
    assert_eq!(last_end.0, cluster.ca_end(), "the last certificate ends with the CA");
    // No renewal brought a shorter life than the CA forced on it, and there was one of those.
    let cut = book.issued.iter().filter(|leaf| leaf.not_after.0 == cluster.ca_end()).count();
    assert_eq!(cut, 1, "no flood of ever shorter certificates at the CA's end");
    assert_eq!(book.most_open, 1, "one open request at any time");

    let renewals = issued as u32 - 1;
    let wanted = [
        ("ca-ending", 1),
        ("ca-expired", 1),
        ("certificate-expired", 1),
        ("certificate-installed", renewals + 1),
        ("certificate-renewal-due", renewals),
        ("certificate-requested", renewals + 1),
        ("kubeconfig-written", 1),
        // The last certificate ends with its CA and is not renewed; and after that nobody can be asked for five days.
        ("off-time-short", 1),
        ("recovery-untested", 1),
    ];
    let mut rest = told.clone();
    for (event, times) in wanted {
        assert_eq!(rest.remove(event), Some(times), "{event}: {told:?}");
    }
    rest.remove("certificate-state-changed");
    assert_eq!(rest, BTreeMap::new(), "nothing else to tell of a good year");

    // A renewal is over before anybody could see it, so these are all that were seen, from the first certificate on.
    let seen: Vec<State> = states.iter().map(|(state, _)| *state).skip_while(|state| *state != State::Valid).collect();
    assert_eq!(seen, [State::Valid, State::CaExpired]);
    assert_eq!((last.state, last.failures_total), (State::CaExpired, 0));

    // Each certificate: clock, request, watch, proof. Each day: the bootstrap credential.
    let asked: u32 = book.requests.values().sum();
    let creates = book.requests["create"];
    assert_eq!(creates as usize, issued);
    let tests = book.requests["who-am-i"] - creates;
    assert!((349..=366).contains(&tests), "{tests} tests of the bootstrap credential");
    assert!(asked <= 6 * creates + tests, "{:?}", book.requests);
    println!("{issued} certificates, {asked} requests {:?}, one open at most, in {:?}", book.requests, took());
}

#[tokio::test(start_paused = true)]
async fn the_looks_in_between_change_no_renewal() {
    let took = stopwatch();
    let offsets = |lived: &Lived| -> Vec<u64> {
        let book = lived.cluster.book();
        book.issued_at.iter().map(|at| at.duration_since(book.issued_at[0]).unwrap().as_secs()).collect()
    };
    // The same ten days at the end of a CA, looked at every minute and every hour.
    let often = live(11 * DAY, 10 * DAY, LOOK_AGAIN).await;
    let seldom = live(11 * DAY, 10 * DAY, HOUR).await;
    assert!(often.cluster.book().issued.len() >= 5);
    for (one, other) in offsets(&often).iter().zip(offsets(&seldom)) {
        assert!(one.abs_diff(other) <= 2, "{:?} and {:?}", offsets(&often), offsets(&seldom));
    }
    assert_eq!(often.cluster.book().issued.len(), seldom.cluster.book().issued.len());
    assert_eq!(often.told, seldom.told, "the same story");
    println!("11 days by the minute and by the hour in {:?}", took());
}
