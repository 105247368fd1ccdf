//! Forecasts: told in status and metrics, and each threshold once when it is crossed and once when it is good again.

use std::time::Duration;

use anyhow::Result;
use eyewall_core::status::{Forecast, ForecastKind, Health, Status};
use tests::apiserver::{ApiServer, Options};
use tests::node::Node;

const SOON: Duration = Duration::from_secs(10);

async fn joined() -> Result<(ApiServer, Node)> {
    let api = ApiServer::start(Options::default()).await?;
    let mut node = Node::new("node-a")?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    node.start()?;
    node.wait_for(SOON, "valid", "certificate-valid").await?;
    Ok((api, node))
}

#[expect(clippy::expect_used, reason = "a test that finds none has failed")]
fn of(status: &Status, kind: ForecastKind) -> &Forecast {
    status.certificates.forecasts.iter().find(|forecast| forecast.kind == kind).expect("all of them, always")
}

/// How often each of these events was told.
async fn told(node: &Node, events: [&str; 2]) -> Result<[usize; 2]> {
    let all = node.events().await?;
    Ok(events.map(|name| all.iter().filter(|event| event.event == name).count()))
}

async fn alert(node: &Node, forecast: &str) -> Result<String> {
    let (_, page) = node.request("GET", "/metrics").await?;
    let name = format!("eyewall_forecast_alert{{forecast=\"{forecast}\"}} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or("none");
    Ok(line.to_owned())
}

#[tokio::test]
async fn a_good_node_has_three_good_ones() -> Result<()> {
    let (api, node) = joined().await?;
    let good = |status: &Status| status.certificates.forecasts.iter().all(|forecast| forecast.health == Health::Good);
    let status = node.wait(SOON, |status| !status.certificates.forecasts.is_empty() && good(status)).await?;
    let current = status.certificates.current.as_ref().expect("a certificate");
    let off = of(&status, ForecastKind::Off);
    assert_eq!(off.at, status.certificates.may_be_off_until);
    assert_eq!(current.not_after.0.duration_since(off.at.expect("known").0)?, Duration::from_secs(900));
    let authority = status.certificates.ca.as_ref().expect("it is in the kubeconfig");
    let ca = of(&status, ForecastKind::Authority);
    assert_eq!(ca.at, Some(authority.not_after));
    let life = authority.not_after.0.duration_since(authority.not_before.expect("known").0)?.as_secs();
    assert!(ca.threshold_seconds.abs_diff(life * 30 / 365) < 60, "30 days of 365: {ca:?} of {life} s");
    assert_eq!(
        of(&status, ForecastKind::Recovery).at,
        status.certificates.recovery.as_ref().map(|test| test.tested_at)
    );
    for forecast in ["off", "recovery", "authority"] {
        assert_eq!(alert(&node, forecast).await?, "0", "{forecast}");
    }
    let screen = node.command(&["certificates"])?.output().await?;
    let screen = String::from_utf8(screen.stdout)?;
    assert!(screen.contains("● may stay off until"), "{screen}");
    drop(api);
    Ok(())
}

#[tokio::test]
async fn a_host_that_should_be_able_to_stay_off_longer_is_warned_of() -> Result<()> {
    let (_api, node) = joined().await?;
    let events = ["off-time-short", "off-time-good"];
    assert_eq!(told(&node, events).await?, [0, 0]);
    for (warn, health, alerts, want) in [
        ("71h50m", Health::Bad, "1", [1, 0]),
        ("71h55m", Health::Bad, "1", [1, 0]),
        ("60h", Health::Good, "0", [1, 1]),
        ("auto", Health::Good, "0", [1, 1]),
        ("72h", Health::Bad, "1", [2, 1]),
    ] {
        node.drop_in("10-warn.toml", &format!("[certificates]\nwarn_off = \"{warn}\"\n"))?;
        let seconds = |status: &Status| of(status, ForecastKind::Off).threshold_seconds;
        let before = seconds(&node.status().await?);
        let status = node.wait(SOON, |status| seconds(status) != before).await?;
        assert_eq!(of(&status, ForecastKind::Off).health, health, "{warn}");
        assert_eq!(alert(&node, "off").await?, alerts, "{warn}");
        assert_eq!(told(&node, events).await?, want, "{warn}");
    }
    Ok(())
}

#[tokio::test]
async fn a_ca_near_its_end_is_told_once_and_a_ca_that_lasts_as_well() -> Result<()> {
    let (_api, node) = joined().await?;
    let events = ["ca-ending", "ca-lasting"];
    // A hundred-millionth of a year is a third of a second.
    node.drop_in("10-warn.toml", "[certificates]\nwarn_authority = 0.00000001\n")?;
    node.wait(SOON, |status| of(status, ForecastKind::Authority).health == Health::Bad).await?;
    assert_eq!(told(&node, events).await?, [1, 0]);
    assert_eq!(alert(&node, "authority").await?, "1");
    node.drop_in("10-warn.toml", "[certificates]\nwarn_authority = 0.5\n")?;
    node.wait(SOON, |status| of(status, ForecastKind::Authority).health == Health::Good).await?;
    assert_eq!(told(&node, events).await?, [1, 1]);
    Ok(())
}
