//! The posture on a real host with SELinux enforcing, as the agent sees it from inside its sandbox: what is changed is found at once,
//! named rightly, and good again when it is undone.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use vm_tests::scene::short_lived;
use vm_tests::{Runtime, Scene, Vm};

use crate::expect::good;

/// What the scene declares: Debian is no OS that promises anything.
const CONFIG: &str = "[posture]\nexpect = { \"selinux-mode\" = \"enforcing\" }\n";
/// An emulated host that is busy needs this long for what takes it milliseconds otherwise; what it took is measured by its own journal.
const SOON: Duration = Duration::from_secs(60);

async fn finding(vm: &Vm, check: &str) -> Result<Value> {
    // Exit code 1 says that something is not good, which is what is looked for.
    let text = vm.guest().get("/opt/bin/eyewall check --daemon --json || true").await?;
    let report: Value = serde_json::from_str(&text).with_context(|| format!("a report: {text:.200}"))?;
    let findings = report["findings"].as_array().context("findings")?;
    findings.iter().find(|finding| finding["check"] == check).cloned().context("the check")
}

async fn becomes(vm: &Vm, check: &str, verdict: &str) -> Result<Value> {
    vm.wait_for(&format!("{check} to be {verdict}"), SOON, async |vm| {
        let finding = finding(vm, check).await?;
        ensure!(finding["verdict"] == verdict, "{check}: {} ({})", finding["verdict"], finding["reason"]["message"]);
        Ok(finding)
    })
    .await
}

#[tokio::test]
async fn what_is_changed_is_found_and_good_again_when_it_is_undone() -> Result<()> {
    let scene = Scene::open(short_lived(Duration::from_secs(3_600))).await?;
    let mut spec = scene.worker(Runtime::Podman);
    spec.config = CONFIG.to_owned();
    let vm = Vm::boot(&scene.lab, &spec).await?;
    good(&vm).await?;
    becomes(&vm, "selinux-mode", "pass").await?;

    vm.guest().get("setenforce 0").await?;
    let left = becomes(&vm, "selinux-mode", "fail").await?;
    println!("setenforce 0: {}", left["reason"]["message"]);
    vm.guest().get("setenforce 1").await?;
    becomes(&vm, "selinux-mode", "pass").await?;
    // Faster than any poll: the mode is what it was, and the flip is not forgotten.
    vm.guest().get("setenforce 0; setenforce 1").await?;
    becomes(&vm, "selinux-transitions", "fail").await?;

    // What this host really offers, whatever its files say.
    let drop_in = "/etc/ssh/sshd_config.d/00-test.conf";
    let before = finding(&vm, "ssh-settings").await?;
    println!("ssh-settings before: {} {}", before["verdict"], before["reason"]["kind"]);
    vm.guest().get(&format!("echo 'PasswordAuthentication yes' > {drop_in}")).await?;
    let settings = becomes(&vm, "ssh-settings", "fail").await?;
    ensure!(settings["reason"]["kind"] == "password-authentication", "{settings}");
    vm.guest().get(&format!("rm {drop_in}")).await?;
    vm.wait_for("the settings of before", SOON, async |vm| {
        let now = finding(vm, "ssh-settings").await?;
        ensure!(now["reason"]["kind"] == before["reason"]["kind"], "{now}");
        Ok(())
    })
    .await
}
