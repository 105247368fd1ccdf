//! A node reboots in the middle of its certificate's life and comes back with the same certificate.

use anyhow::{Result, ensure};
use eyewall_core::event::CERTIFICATE_ADOPTED;
use tests::apiserver::Signing;
use vm_tests::{Runtime, Scene, Vm};

use crate::expect::{clean_host, good, one_identity, serial, told};

#[tokio::test]
async fn a_reboot_keeps_the_certificate() -> Result<()> {
    let scene = Scene::open(Signing::default()).await?;
    let mut vm = Vm::boot(&scene.lab, &scene.worker(Runtime::Podman)).await?;
    let before = good(&vm).await?;

    vm.reboot().await?;

    let after = good(&vm).await?;
    ensure!(before.node.boot_id != after.node.boot_id, "it has not rebooted: {:#?}", after.node);
    ensure!(serial(&before) == serial(&after), "{before:#?}\n{after:#?}");
    let adopted = told(&vm, &CERTIFICATE_ADOPTED).await?;
    ensure!(adopted[0].field("EYEWALL_SERIAL") == serial(&after), "{adopted:#?}");
    let csrs = scene.api.csrs();
    ensure!(csrs.len() == 1, "a reboot needs no request: {csrs:#?}");
    one_identity(&scene.api, "node-a")?;
    clean_host(&vm, &scene.api).await
}
