//! A node whose clock is wrong, on a real kernel, which tells the agent when the clock is set. What is measured is from the moment
//! of the correction to the entry of the agent's that says that the clock is in doubt no more, both by the guest's monotonic clock.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use eyewall_core::event::{
    CERTIFICATE_EXPIRED, CERTIFICATE_INSTALLED, CERTIFICATE_QUARANTINED, CLOCK_RIGHT_AGAIN, CLOCK_SET, CLOCK_SUSPECT,
    Event,
};
use eyewall_core::status::{CertificateState, Status};
use tests::apiserver::{ApiServer, RequestRecord, Signing};
use vm_tests::{Runtime, Scene, Vm};

use crate::expect::{GOOD, clean_host, good, one_identity, serial, told};

/// From the correction to the new judgement.
const AT_ONCE: Duration = Duration::from_secs(1);
/// 2050-01-01T00:00:00Z
const Y2050: u64 = 2_524_608_000;

/// QEMU's clock says 1970, and so does the kernel when it starts. systemd then sets it to its own release (`clock_apply_epoch`, the
/// time of /usr/lib/clock-epoch or of its build): a host without a battery so believes to be a year or more in the past, and no
/// time service tells it better.
#[tokio::test]
async fn a_boot_in_1970_asks_nothing_and_joins_once_the_clock_is_right() -> Result<()> {
    let scene = Scene::open(Signing::default()).await?;
    let vm = Vm::boot_at(&scene.lab, &scene.worker(Runtime::Podman), "1970-01-01T00:00:10").await?;
    let status = suspect(&vm).await?;
    let date = vm.guest().get("date --utc --rfc-3339=seconds").await?;
    let reason = &status.certificates.reason;
    println!("the guest believes in {date}: {}: {}", reason.kind, reason.message);
    ensure!(reason.kind == "clock-impossible", "{reason:#?}");
    tokio::time::sleep(Duration::from_secs(20)).await;
    let status = vm.status().await?;
    ensure!(status.certificates.state == CertificateState::ClockSuspect, "{:#?}", status.certificates);
    let asked = by_agent(&scene.api);
    ensure!(asked.is_empty(), "the API server was asked by an impossible clock: {asked:#?}");
    ensure!(scene.api.csrs().is_empty(), "a certificate was asked for: {:#?}", scene.api.csrs());

    let corrected = set(&vm, now()).await?;
    let status = good(&vm).await?;
    let right = after(&vm, &CLOCK_RIGHT_AGAIN, corrected).await?;
    let installed = after(&vm, &CERTIFICATE_INSTALLED, corrected).await?;
    println!(
        "clock right again after {} ms, certificate in force after {} ms",
        right.as_millis(),
        installed.as_millis()
    );
    ensure!(right < AT_ONCE, "judged anew only after {right:?}");
    ensure!(told(&vm, &CLOCK_SUSPECT).await?.len() == 1, "the doubt was told more than once");
    ensure!(scene.api.csrs().len() == 1, "{:#?}", scene.api.csrs());
    ensure!(status.certificates.clock.trusted, "{:#?}", status.certificates.clock);
    one_identity(&scene.api, "node-a")?;
    clean_host(&vm, &scene.api).await
}

#[tokio::test]
async fn a_clock_that_is_set_back_and_forth_costs_no_certificate() -> Result<()> {
    let scene = Scene::open(Signing::default()).await?;
    let vm = Vm::boot(&scene.lab, &scene.worker(Runtime::Podman)).await?;
    let before = good(&vm).await?;
    scene.api.forget_requests();

    // Ten minutes ahead: the certificate is good by that clock too, and nobody has to be asked.
    let mut steps = vec![set(&vm, now() + 600).await?];
    tokio::time::sleep(Duration::from_secs(5)).await;
    let status = vm.status().await?;
    ensure!(status.certificates.state == CertificateState::Valid, "{:#?}", status.certificates);
    steps.push(set(&vm, now()).await?);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let asked = by_agent(&scene.api);
    ensure!(asked.is_empty(), "asked for nothing: {asked:#?}");

    // In 2050 the certificate, its CA and the server's certificate have all ended.
    let doubted = set(&vm, Y2050).await?;
    steps.push(doubted);
    let status = suspect(&vm).await?;
    println!("{}: {}", status.certificates.reason.kind, status.certificates.reason.message);
    let doubt = after(&vm, &CLOCK_SUSPECT, doubted).await?;
    tokio::time::sleep(Duration::from_secs(15)).await;
    let asked = by_agent(&scene.api);
    // Looks after 0, 5, 15 and 35 s, one request each; what takes longer than this waits for nothing but the machine.
    ensure!(asked.len() <= 4, "a flood: {asked:#?}");
    let corrected = set(&vm, now()).await?;
    steps.push(corrected);
    let right = after(&vm, &CLOCK_RIGHT_AGAIN, corrected).await?;

    let status = good(&vm).await?;
    println!(
        "in doubt {} ms after it was set to 2050, right {} ms after it was set back, {} requests in between",
        doubt.as_millis(),
        right.as_millis(),
        asked.len()
    );
    ensure!(right < AT_ONCE, "judged anew only after {right:?}");
    let mut set_at: Vec<_> = told(&vm, &CLOCK_SET).await?.iter().map(|entry| entry.monotonic).collect();
    // The journal may sort them by the clock that was set.
    set_at.sort();
    ensure!(set_at.len() == steps.len(), "{} steps, told were {}", steps.len(), set_at.len());
    for (step, told) in steps.iter().zip(&set_at) {
        let late = told.saturating_sub(*step);
        println!("a step was noticed after {} ms", late.as_millis());
        ensure!(late < AT_ONCE, "noticed only after {late:?}");
    }
    ensure!(serial(&status) == serial(&before), "renewed for nothing: {before:#?}\n{status:#?}");
    ensure!(status.agent.pid == before.agent.pid, "the agent was restarted: {:#?}", status.agent);
    ensure!(scene.api.csrs().len() == 1, "{:#?}", scene.api.csrs());
    for never in [&CERTIFICATE_EXPIRED, &CERTIFICATE_QUARANTINED] {
        let entries = vm.guest().journal(&format!("MESSAGE_ID={}", never.id)).await?;
        ensure!(entries.is_empty(), "{}: {entries:#?}", never.name);
    }
    one_identity(&scene.api, "node-a")?;
    clean_host(&vm, &scene.api).await
}

/// The true time, in seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "what the guest's clock is set to")]
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |span| span.as_secs())
}

/// Sets the guest's clock, as a person would; returns when, since the guest's boot.
async fn set(vm: &Vm, to: u64) -> Result<Duration> {
    let command = format!("read -r uptime _ < /proc/uptime; date --utc --set=@{to} > /dev/null && echo $uptime");
    let said = vm.guest().get(&command).await?;
    let at = Duration::from_secs_f64(said.parse().with_context(|| format!("no uptime: {said}"))?);
    vm.progress().say(&format!("the guest's clock was set to @{to}, {:.2} s after its boot", at.as_secs_f64()));
    Ok(at)
}

/// Waits until the agent doubts the clock.
async fn suspect(vm: &Vm) -> Result<Status> {
    vm.wait_for("a clock in doubt", GOOD, async |vm| {
        let status = vm.status().await?;
        ensure!(status.certificates.state == CertificateState::ClockSuspect, "{:#?}", status.certificates);
        Ok(status)
    })
    .await
}

/// How long after `since` this was told first.
async fn after(vm: &Vm, event: &Event, since: Duration) -> Result<Duration> {
    vm.wait_for(event.name, Duration::from_secs(60), async |vm| {
        let entries = vm.guest().journal(&format!("MESSAGE_ID={}", event.id)).await?;
        match entries.iter().find(|entry| entry.monotonic >= since) {
            Some(entry) => Ok(entry.monotonic - since),
            None => bail!("{} is not told yet", event.name),
        }
    })
    .await
}

/// What the agent itself has asked of the API server; the kubelet has its own name.
fn by_agent(api: &ApiServer) -> Vec<RequestRecord> {
    api.requests().into_iter().filter(|request| request.user_agent.starts_with("eyewall/")).collect()
}
