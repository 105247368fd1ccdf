//! The alerts that a Typhoon cluster has on its kubelets' certificates fire as they did, from the series that the agent tells.

#[path = "alerts/prometheus.rs"]
mod prometheus;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use prometheus::Prometheus;
use tests::apiserver::{ApiServer, Options};
use tests::node::Node;
use tokio::time::{Instant, sleep};

const RULES: &str = include_str!("alerts/typhoon.yaml");
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
/// The daemon's clocks run this many times as fast.
const PACE: u32 = 60;

#[expect(clippy::disallowed_methods, reason = "certificates made for a test end after today")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// A node whose certificate has lived `age` and lives on for `left`, in a cluster that is away.
async fn cut_off(age: Duration, left: Duration) -> Result<(ApiServer, Node)> {
    let api = ApiServer::start(Options::default()).await?;
    let mut node = Node::new("node-a")?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    let dated = node.pki().join("kubelet-client-2026-01-01-00-00-00.pem");
    std::fs::write(&dated, api.issue_node_certificate("node-a", now() - age, now() + left)?)?;
    // The age of the file is the age of the certificate, as where the agent has installed it.
    std::fs::File::options().append(true).open(&dated)?.set_modified(now() - age)?;
    std::os::unix::fs::symlink(&dated, node.current())?;
    api.stop();
    node.hurry(PACE)?;
    node.start()?;
    Ok((api, node))
}

/// What fired, and the minute in which each alert began to, over `span` of the node's time.
async fn alerts(node: &Node, span: Duration) -> Result<Vec<(String, u64)>> {
    let mut prometheus = Prometheus::new(RULES)?;
    let mut began = Vec::new();
    let mut before = BTreeSet::new();
    let start = Instant::now();
    while start.elapsed() * PACE < span {
        // As often as Typhoon scrapes. A scrape that a busy machine was too late for is one that is missed.
        if let Ok((200, page)) = node.request("GET", "/metrics").await {
            let at = start.elapsed() * PACE;
            let firing = prometheus.scrape(at, &page)?;
            began.extend(firing.difference(&before).map(|alert| (alert.clone(), at.as_secs() / 60)));
            before = firing;
        }
        sleep(Duration::from_secs(30) / PACE).await;
    }
    Ok(began)
}

#[tokio::test]
async fn a_renewal_that_goes_on_failing_fires_after_a_quarter_of_an_hour() -> Result<()> {
    let (_api, node) = cut_off(50 * HOUR, 22 * HOUR).await?;
    let began = alerts(&node, 20 * MINUTE).await?;
    let [(alert, minute)] = began.as_slice() else { panic!("one alert, once: {began:?}\n{}", node.log()) };
    assert_eq!(alert, "KubeletClientCertificateRenewalErrors/warning");
    assert!((15..=18).contains(minute), "{began:?}");
    Ok(())
}

#[tokio::test]
async fn a_certificate_that_ends_fires_by_its_last_hour_and_minutes() -> Result<()> {
    let (_api, node) = cut_off(71 * HOUR, 8 * MINUTE).await?;
    let began = alerts(&node, 6 * MINUTE).await?;
    let warning = began.iter().find(|(alert, _)| alert == "KubeletClientCertificateExpiration/warning");
    let critical = began.iter().find(|(alert, _)| alert == "KubeletClientCertificateExpiration/critical");
    assert_eq!(warning.map(|(_, minute)| *minute), Some(0), "{began:?}");
    assert!(critical.is_some_and(|(_, minute)| (2..=4).contains(minute)), "{began:?}");
    assert_eq!(began.len(), 2, "{began:?}");
    Ok(())
}

#[tokio::test]
async fn a_good_node_is_quiet() -> Result<()> {
    let (_api, node) = cut_off(HOUR, 71 * HOUR).await?;
    // No renewal is due, so that the cluster is away is no error of one.
    assert_eq!(alerts(&node, 20 * MINUTE).await?, []);
    Ok(())
}

#[test]
fn the_rules_mean_what_prometheus_means() -> Result<()> {
    let minutes = |count: u64| MINUTE * u32::try_from(count).unwrap_or_default();
    let page = |ttl: &str, errors: u64| {
        format!(
            "# HELP x y\nkubelet_certificate_manager_client_ttl_seconds {ttl}\n\
             kubelet_certificate_manager_client_expiration_renew_errors {errors}\n"
        )
    };
    let mut prometheus = Prometheus::new(RULES)?;
    let errors = "KubeletClientCertificateRenewalErrors/warning".to_owned();
    for minute in 0..40_u64 {
        // One error each four minutes until minute 24, then none.
        let firing = prometheus.scrape(minutes(minute), &page("+Inf", minute.min(24) / 4))?;
        // True from the first rise on (minute 4), for 15 minutes; five minutes after the last one no more.
        assert_eq!(firing.contains(&errors), (19..28).contains(&minute), "minute {minute}");
        assert_eq!(firing.len(), usize::from(firing.contains(&errors)), "+Inf is no short rest: {firing:?}");
    }
    let firing = prometheus.scrape(minutes(40), &page("-5", 6))?;
    assert_eq!(firing.len(), 2, "an ended certificate is warning and critical: {firing:?}");
    assert!(Prometheus::new("groups: [{rules: [{alert: A, expr: up == 0, labels: {severity: s}}]}]").is_err());
    Ok(())
}
