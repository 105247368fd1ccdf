//! Certificates of seconds are renewed while the kubelet holds its connection: nothing restarts, nothing is refused.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use vm_tests::scene::short_lived;
use vm_tests::{Runtime, Scene, Vm};

use crate::expect::{clean_host, good, one_identity};

/// The life of a certificate. It is renewed with some 15 s left, which an emulated host on a busy machine needs.
const LIFE: Duration = Duration::from_secs(40);
/// How many renewals the kubelet must have taken over.
const RENEWALS: usize = 3;

#[tokio::test]
async fn renewals_restart_nothing() -> Result<()> {
    let scene = Scene::open(short_lived(LIFE)).await?;
    let vm = Vm::boot(&scene.lab, &scene.worker(Runtime::Podman)).await?;
    let before = good(&vm).await?;
    let container = "podman inspect --format '{{.Id}} {{.State.Pid}} {{.State.StartedAt}}' kubelet";
    let container_before = vm.guest().get(container).await?;

    let wanted = RENEWALS + 1;
    let serials = vm
        .wait_for("several certificates that the kubelet has used", LIFE * 12, async |vm| {
            let log = vm.guest().get("podman logs kubelet 2>&1").await?;
            let used: BTreeSet<String> = log.lines().filter_map(serial_in).map(str::to_owned).collect();
            ensure!(used.len() >= wanted, "the kubelet has used {} of {wanted} certificates: {used:?}", used.len());
            Ok(used)
        })
        .await?;
    println!("the kubelet has used {} certificates: {serials:?}", serials.len());

    let after = good(&vm).await?;
    ensure!(before.agent.pid == after.agent.pid, "the agent was restarted: {after:#?}");
    ensure!(before.kubelet.main_pid == after.kubelet.main_pid, "kubelet.service was restarted: {after:#?}");
    let container_after = vm.guest().get(container).await?;
    ensure!(container_before == container_after, "the kubelet was restarted: {container_before} -> {container_after}");
    // With anonymous-auth off a certificate that had ended would be a 401. (The posture asks /api without a credential, to be refused.)
    let refused: Vec<_> =
        scene.api.requests_about_certificates().into_iter().filter(|request| request.status == 401).collect();
    ensure!(refused.is_empty(), "the API server refused: {refused:#?}");
    one_identity(&scene.api, "node-a")?;
    clean_host(&vm, &scene.api).await
}

/// The stand-in's line says which certificate it uses from now on.
fn serial_in(line: &str) -> Option<&str> {
    line.split_once("certificate serial=")?.1.split_whitespace().next()
}
