//! A host boots for the first time with nothing but its Ignition config, and is a node.

use anyhow::{Context, Result, ensure};
use eyewall_core::event::{
    AGENT_STARTED, CERTIFICATE_INSTALLED, CERTIFICATE_REQUESTED, KUBECONFIG_WRITTEN, KUBELET_HEALTHY,
    KUBELET_IMAGE_CHOSEN,
};
use eyewall_core::status::{CertificateState, Health, Status};
use tests::apiserver::Signing;
use vm_tests::{Runtime, Scene, Vm};

use crate::expect::{clean_host, good, one_identity, told};

/// What `systemd-analyze security` may say of the agent at most.
const EXPOSURE: f64 = 2.5;

#[tokio::test]
async fn a_first_boot_with_podman() -> Result<()> {
    first_boot(Runtime::Podman).await
}

#[tokio::test]
async fn a_first_boot_with_docker() -> Result<()> {
    first_boot(Runtime::Docker).await
}

async fn first_boot(runtime: Runtime) -> Result<()> {
    let scene = Scene::open(Signing::default()).await?;
    let vm = Vm::boot(&scene.lab, &scene.worker(runtime)).await?;
    let status = good(&vm).await?;

    joined(&status, runtime)?;
    one_identity(&scene.api, "node-a")?;
    let csrs = scene.api.csrs();
    ensure!(csrs.len() == 1 && csrs[0].issued(), "a first boot needs one request: {csrs:#?}");
    let node = scene.api.look(|seen| seen.object("nodes", "", "node-a"));
    ensure!(node.is_some(), "the kubelet has not registered its Node");

    story(&vm).await?;
    container(&vm, &status, runtime).await?;
    socket(&vm).await?;
    sandbox(&vm, &status).await?;
    clean_host(&vm, &scene.api).await
}

fn joined(status: &Status, runtime: Runtime) -> Result<()> {
    let certificates = &status.certificates;
    ensure!(certificates.state == CertificateState::Valid, "{certificates:#?}");
    let current = certificates.current.as_ref().context("a valid certificate is there")?;
    ensure!(current.subject.contains("system:node:node-a"), "{current:#?}");
    let kubelet = &status.kubelet;
    ensure!(kubelet.health == Health::Good, "{kubelet:#?}");
    ensure!(kubelet.runtime.as_deref() == Some(runtime.as_str()), "{kubelet:#?}");
    ensure!(kubelet.image.as_ref().is_some_and(|image| image.position == 0), "{kubelet:#?}");
    ensure!(status.agent.limits.is_empty(), "{:#?}", status.agent.limits);
    Ok(())
}

/// The journal tells it, in this order, and `journalctl -x` explains it.
async fn story(vm: &Vm) -> Result<()> {
    let mut before = std::time::Duration::ZERO;
    for event in [&AGENT_STARTED, &CERTIFICATE_REQUESTED, &CERTIFICATE_INSTALLED, &KUBELET_HEALTHY] {
        let at = told(vm, event).await?[0].monotonic;
        ensure!(at >= before, "{} came too early", event.name);
        println!("{:7.2} s from the kernel's start to {}", at.as_secs_f64(), event.name);
        before = at;
    }
    for event in [&KUBECONFIG_WRITTEN, &KUBELET_IMAGE_CHOSEN] {
        told(vm, event).await?;
    }
    let command = format!("journalctl --boot --catalog --no-pager MESSAGE_ID={}", CERTIFICATE_INSTALLED.id);
    let explained = vm.guest().get(&command).await?;
    ensure!(explained.contains("The kubelet takes it over without a restart"), "not explained:\n{explained}");
    Ok(())
}

/// The unit's container is the kubelet, as privileged as Typhoon's, and the unit's main process is the runtime itself.
async fn container(vm: &Vm, status: &Status, runtime: Runtime) -> Result<()> {
    let name = runtime.as_str();
    let format = "{{.State.Running}} {{.HostConfig.Privileged}} {{.HostConfig.NetworkMode}} {{.HostConfig.PidMode}}";
    let inspected = vm.guest().get(&format!("{name} inspect --format '{format}' kubelet")).await?;
    ensure!(inspected == "true true host host", "{inspected}");
    let pid = status.kubelet.main_pid.context("the unit runs")?;
    let program = vm.guest().get(&format!("readlink /proc/{pid}/exe")).await?;
    ensure!(program == format!("/usr/bin/{name}"), "kubelet.service runs {program}");
    let container = vm.guest().get(&format!("{name} inspect --format '{{{{.State.Pid}}}}' kubelet")).await?;
    let label = vm.guest().get(&format!("tr -d '\\0' < /proc/{container}/attr/current")).await?;
    println!("the kubelet runs as {label}");
    Ok(())
}

/// Readers are the group, nobody else.
async fn socket(vm: &Vm) -> Result<()> {
    let mode = vm.guest().get("stat --format='%a %U %G' /run/eyewall/eyewall.sock").await?;
    ensure!(mode == "660 root eyewall", "{mode}");
    let read =
        |group: &str| format!("setpriv --reuid=nobody --regid={group} --clear-groups /opt/bin/eyewall status --json");
    let member = vm.guest().run(&read("eyewall")).await?;
    ensure!(member.status.success(), "a member of the group cannot read: {}", member.stderr);
    let stranger = vm.guest().run(&read("nogroup")).await?;
    ensure!(!stranger.status.success() && stranger.stdout.is_empty(), "a stranger can read: {}", stranger.stdout);
    Ok(())
}

/// The agent works as confined as its unit says.
async fn sandbox(vm: &Vm, status: &Status) -> Result<()> {
    let pid = status.agent.pid;
    let label = vm.guest().get(&format!("tr -d '\\0' < /proc/{pid}/attr/current")).await?;
    let process = vm.guest().get(&format!("grep -E '^(CapEff|NoNewPrivs|Seccomp|VmRSS):' /proc/{pid}/status")).await?;
    println!("the agent runs as {label}\n{process}");
    let value = |name: &str| process.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    ensure!(value("NoNewPrivs:") == "1" && value("Seccomp:") == "2", "{process}");
    let analysed = vm.guest().get("systemd-analyze security --no-pager eyewall.service | tail -n 1").await?;
    println!("{analysed}");
    let exposure: Option<f64> = analysed.split_whitespace().find_map(|word| word.parse().ok());
    ensure!(exposure.is_some_and(|exposure| exposure <= EXPOSURE), "{analysed}");
    Ok(())
}
