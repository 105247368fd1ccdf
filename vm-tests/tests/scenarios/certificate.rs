//! What the scenarios about certificates do to a node, and look at.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use eyewall_core::event::CERTIFICATE_INSTALLED;
use eyewall_core::status::Status;
use tokio::time::Instant;
use vm_tests::Vm;

use crate::expect::{GOOD, told};

/// From a cause to its effect in the guest, which is slow.
pub const SOON: Duration = Duration::from_secs(120);

/// A kubelet that runs: the process of its unit, its container, and how often the unit was started.
#[derive(Debug, PartialEq, Eq)]
pub struct Kubelet {
    unit: String,
    container: String,
}

impl Kubelet {
    /// The one that runs, by podman, once there is one: after a boot its image has to be loaded first.
    pub async fn of(vm: &Vm) -> Result<Self> {
        vm.wait_for("a kubelet that runs", GOOD, Self::now).await
    }

    async fn now(vm: &Vm) -> Result<Self> {
        let unit =
            "systemctl show --property=MainPID,NRestarts,ActiveState,ExecMainStartTimestampMonotonic kubelet.service";
        let container =
            "podman inspect --format '{{.Id}} {{.State.Pid}} {{.State.StartedAt}} {{.State.Running}}' kubelet";
        let now = Self { unit: vm.guest().get(unit).await?, container: vm.guest().get(container).await? };
        ensure!(
            now.unit.contains("ActiveState=active") && now.container.ends_with("true"),
            "it does not run: {now:#?}"
        );
        Ok(now)
    }

    /// Still the same one, and it runs.
    pub async fn goes_on(&self, vm: &Vm) -> Result<()> {
        let now = Self::of(vm).await?;
        ensure!(now == *self, "the kubelet was restarted:\n{self:#?}\n{now:#?}");
        ensure!(
            self.unit.contains("ActiveState=active") && self.container.ends_with("true"),
            "it does not run: {self:#?}"
        );
        Ok(())
    }
}

/// Waits until the certificate is in this state for one of these reasons.
pub async fn state(vm: &Vm, state: &str, kinds: &[&str]) -> Result<Status> {
    let what = format!("{state} / {}", kinds.join(" or "));
    vm.wait_for(&what, SOON, async |vm| {
        let status = vm.status().await?;
        let certificates = &status.certificates;
        let (is, kind) = (certificates.state.as_str(), certificates.reason.kind.as_str());
        ensure!(is == state && kinds.contains(&kind), "it is {is} / {kind}: {}", certificates.reason.message);
        Ok(status)
    })
    .await
}

/// The name of the open request.
pub fn request(status: &Status) -> Result<String> {
    Ok(status.certificates.request.as_ref().context("there is no open request")?.name.clone())
}

/// Has the agent ask at once, as an operator would.
pub async fn renew(vm: &Vm) -> Result<()> {
    vm.guest().get("/opt/bin/eyewall certificates renew").await?;
    Ok(())
}

/// Drops a bootstrap kubeconfig at its path, as one file. Returns the guest's uptime just after.
pub async fn drop_kubeconfig(vm: &Vm, text: &str) -> Result<Duration> {
    let (path, encoded) = ("/etc/kubernetes/kubeconfig", STANDARD.encode(text));
    let script =
        format!("set -e; umask 077; echo {encoded} | base64 -d > {path}.new; cat /proc/uptime; mv {path}.new {path}");
    let uptime = vm.guest().get(&script).await?;
    let seconds: f64 = uptime.split_whitespace().next().unwrap_or_default().parse().context("no uptime")?;
    Ok(Duration::from_secs_f64(seconds))
}

/// By the guest's own clock: from an instant of its uptime to the first certificate that was installed after it.
pub async fn installed_after(vm: &Vm, uptime: Duration) -> Result<Duration> {
    let installed = told(vm, &CERTIFICATE_INSTALLED).await?;
    // /proc/uptime has hundredths.
    let after = uptime.saturating_sub(Duration::from_millis(10));
    let first = installed.iter().map(|entry| entry.monotonic).find(|at| *at >= after);
    Ok(first.context("no certificate was installed after that")?.saturating_sub(uptime))
}

/// Tells what a recovery took.
pub fn recovered(vm: &Vm, what: &str, started: Instant) {
    vm.progress().say(&format!("recovered in {:.1} s: {what}", started.elapsed().as_secs_f64()));
}
