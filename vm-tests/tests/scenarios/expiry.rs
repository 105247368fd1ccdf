//! A certificate ends: once while the host runs and its API server is away, once while the host is off. Both times the node
//! comes back by itself, with nothing but its bootstrap token.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use eyewall_core::cert::{CertView, certificates};
use eyewall_core::event::{CERTIFICATE_EXPIRED, CERTIFICATE_RECOVERED};
use eyewall_core::time::Time;
use tests::apiserver::ApiServer;
use tokio::time::Instant;
use vm_tests::scene::short_lived;
use vm_tests::{Runtime, Scene, Vm};

use crate::certificate::{Kubelet, recovered, state};
use crate::expect::{clean_host, good, one_identity, told};

/// Worth waiting for, and long enough for a renewal on an emulated host.
const LIFE: Duration = Duration::from_secs(40);

#[tokio::test]
async fn a_certificate_ends_while_the_host_runs_and_while_it_is_off() -> Result<()> {
    let scene = Scene::open(short_lived(LIFE)).await?;
    let mut vm = Vm::boot(&scene.lab, &scene.worker(Runtime::Podman)).await?;
    good(&vm).await?;
    while_it_runs(&vm, &scene.api).await?;
    while_it_is_off(&mut vm, &scene.api).await?;
    one_identity(&scene.api, "node-a")?;
    clean_host(&vm, &scene.api).await
}

/// The API server is away until the certificate has ended.
async fn while_it_runs(vm: &Vm, api: &ApiServer) -> Result<()> {
    let kubelet = Kubelet::of(vm).await?;
    let started = Instant::now();
    api.stop();
    let away = vm.status().await?;
    until_ended(api).await?;
    let status = state(vm, "server-unreachable", &["server-unreachable"]).await?;
    ensure!(status.agent.pid == away.agent.pid, "the agent was restarted: {status:#?}");
    told(vm, &CERTIFICATE_EXPIRED).await?;
    kubelet.goes_on(vm).await?;
    api.start_again()?;
    let back = Instant::now();
    good(vm).await?;
    kubelet.goes_on(vm).await?;
    told(vm, &CERTIFICATE_RECOVERED).await?;
    ensure!(by_the_token(api) == 2, "the first and the recovery, by the bootstrap token: {:#?}", api.csrs());
    vm.progress().say(&format!("the API server was back for {:.1} s", back.elapsed().as_secs_f64()));
    recovered(vm, "ended while the host ran and its API server was away", started);
    Ok(())
}

/// The host is off until its certificate has ended.
async fn while_it_is_off(vm: &mut Vm, api: &ApiServer) -> Result<()> {
    let started = Instant::now();
    let before = vm.status().await?;
    vm.power_off().await?;
    until_ended(api).await?;
    vm.switch_on().await?;
    let after = good(vm).await?;
    ensure!(before.node.boot_id != after.node.boot_id, "it was not off: {:#?}", after.node);
    told(vm, &CERTIFICATE_RECOVERED).await?;
    ensure!(by_the_token(api) == 3, "the second recovery, by the bootstrap token: {:#?}", api.csrs());
    recovered(vm, "ended while the host was off", started);
    Ok(())
}

/// Requests that were sent with the bootstrap token.
fn by_the_token(api: &ApiServer) -> usize {
    api.csrs().iter().filter(|csr| csr.requester == "system:bootstrap:abcdef").count()
}

/// Waits until every certificate that the node can have has ended; the API server signs no more meanwhile.
async fn until_ended(api: &ApiServer) -> Result<()> {
    let mut last = Time::from_unix(0);
    for pem in api.csrs().into_iter().filter_map(|csr| csr.certificate) {
        let chain = certificates(&pem)?;
        last = last.max(CertView::from_der(chain.first().context("a certificate")?)?.not_after);
    }
    while api.now() < last.0 + Duration::from_secs(1) {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}
