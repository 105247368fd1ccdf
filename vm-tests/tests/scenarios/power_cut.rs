//! The power goes, ten times, at moments that a seed decides, while certificates are being renewed.
//!
//! `EYEWALL_SEED=…` plays the moments of a former run again; what the guest was doing then is another matter.

use std::io::Read;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use eyewall_core::event::CERTIFICATE_QUARANTINED;
use vm_tests::scene::short_lived;
use vm_tests::{Runtime, Scene, Vm};

use crate::expect::{clean_host, good, one_identity, serial};

const CUTS: u32 = 10;
/// Long enough to be still valid after a boot on a busy machine: what comes back must be what was in force.
const LIFE: Duration = Duration::from_secs(600);
/// Renewals are asked for without a pause, so that most moments lie in one.
const RENEW: &str = "systemd-run --quiet --unit=renewals sh -c 'while :; do /opt/bin/eyewall certificates renew; done'";

#[tokio::test]
async fn ten_power_cuts_during_renewals() -> Result<()> {
    let mut moments = Moments::new()?;
    println!("EYEWALL_SEED={}", moments.seed);
    let scene = Scene::open(short_lived(LIFE)).await?;
    let mut vm = Vm::boot(&scene.lab, &scene.worker(Runtime::Podman)).await?;
    let mut status = good(&vm).await?;
    let mut renewed = 0;

    for cut in 1..=CUTS {
        let before = scene.api.csrs().len();
        vm.guest().get(RENEW).await?;
        scene.api.wait_until(Duration::from_secs(60), |seen| seen.csrs().len() > before).await.context("no renewal")?;
        let moment = moments.below(Duration::from_secs(3));
        tokio::time::sleep(moment).await;
        vm.power_cut().await?;
        let asked = scene.api.csrs().len() - before;
        renewed += asked;
        vm.progress().say(&format!("power cut {cut} of {CUTS}, {} ms and {asked} renewals later", moment.as_millis()));

        vm.switch_on().await?;
        status = good(&vm).await?;
        one_identity(&scene.api, "node-a")?;
        in_force(&vm, &scene, &serial(&status)).await?;
    }
    ensure!(status.node.name.as_deref() == Some("node-a"), "{:#?}", status.node);
    println!("{CUTS} power cuts in {renewed} renewals, {} requests in all", scene.api.csrs().len());
    clean_host(&vm, &scene.api).await
}

/// The certificate in force is one that the cluster issued, whole, and nothing had to be set aside.
async fn in_force(vm: &Vm, scene: &Scene, serial: &str) -> Result<()> {
    let quarantined = vm.guest().journal(&format!("MESSAGE_ID={}", CERTIFICATE_QUARANTINED.id)).await?;
    ensure!(quarantined.is_empty(), "a file was corrupt: {quarantined:#?}");
    let pem = vm.guest().get("cat /var/lib/kubelet/pki/kubelet-client-current.pem").await?;
    let of_cluster =
        |pem: &str| scene.api.csrs().into_iter().filter_map(|csr| csr.certificate).any(|own| pem.contains(own.trim()));
    ensure!(of_cluster(&pem), "the file in force is no certificate of the cluster (serial {serial})");
    ensure!(pem.trim_end().ends_with("PRIVATE KEY-----"), "the file in force has no whole key");
    Ok(())
}

/// Moments from a seed (splitmix64: <https://prng.di.unimi.it/splitmix64.c>).
struct Moments {
    seed: u64,
    state: u64,
}

impl Moments {
    fn new() -> Result<Self> {
        let seed = match std::env::var("EYEWALL_SEED") {
            Ok(text) => text.parse().context("EYEWALL_SEED is a number")?,
            Err(_) => {
                let mut bytes = [0; 8];
                std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
                u64::from_le_bytes(bytes)
            }
        };
        Ok(Self { seed, state: seed })
    }

    fn below(&mut self, limit: Duration) -> Duration {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let limit = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(z % limit.max(1))
    }
}
