//! Reboots in turn on a real host: logind refuses root, the node waits for its slot, is drained, reboots, proves itself and hands the slot on;
//! and neither kill -9 of the agent nor the power's end leaves anything standing.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use eyewall_core::reboot::RebootState as State;
use eyewall_core::status::RebootStatus;
use serde_json::{Value, json};
use tests::apiserver::{ApiServer, Signing};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use vm_tests::{Runtime, Scene, Vm};

use crate::expect::{clean_host, good};

const NODE: &str = "node-a";
const GROUP: &str = "workers";
/// The drain has the time of everything that is done to the agent while it drains.
pub const CONFIG: &str = "[reboot]\ndrain_timeout = \"15m\"\nhealth_gate = \"3s\"\n";
/// For what is a matter of milliseconds on a host that is not emulated.
pub const SOON: Duration = Duration::from_secs(120);

/// The object that is the group's table.
fn slots(api: &ApiServer) -> Result<Value> {
    api.look(|view| view.object("configmaps", "kube-system", &format!("reboot-{GROUP}"))).context("no table of slots")
}

/// Who holds a slot.
pub fn holders(api: &ApiServer) -> Result<Vec<String>> {
    let table = slots(api)?;
    let data = table["data"].as_object().context("data")?;
    Ok(data.keys().filter_map(|key| key.strip_prefix("holder.")).map(str::to_owned).collect())
}

/// Writes or removes another node's slot, as that node would.
pub fn other_holder(api: &ApiServer, node: &str, holds: bool) -> Result<()> {
    let mut table = slots(api)?;
    let data = table["data"].as_object_mut().context("data")?;
    let entry = json!({"boot_id": "elsewhere", "reason": "release 1 is staged", "since": "2026-11-24T02:15:00Z"});
    if holds {
        data.insert(format!("holder.{node}"), Value::from(entry.to_string()));
    } else {
        data.remove(&format!("holder.{node}"));
    }
    api.apply(table).map(drop)
}

/// A cluster whose group has one slot, and a pod on the node that a budget keeps there.
pub fn prepare(api: &ApiServer) -> Result<()> {
    api.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}))?;
    api.apply_reboot_slots(GROUP, 1);
    kept_pod(api)
}

/// A pod that somebody manages, ready, which may not be evicted until the budget is gone.
pub fn kept_pod(api: &ApiServer) -> Result<()> {
    api.apply(json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
    }))?;
    api.apply(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}, "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "u-1", "controller": true},
        ]},
        "spec": {"nodeName": NODE, "containers": [{"name": "c", "image": "i"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }))?;
    Ok(())
}

/// The drain may go on.
pub fn let_the_pod_go(api: &ApiServer) -> Result<()> {
    ensure!(api.remove("poddisruptionbudgets", "default", "web"), "there was no budget");
    Ok(())
}

/// Whether the Node takes no pods, and the boot in which the agent made it so.
pub fn cordon(api: &ApiServer) -> (bool, Option<String>) {
    let node = api.look(|view| view.object("nodes", "", NODE)).unwrap_or_default();
    let by = node["metadata"]["annotations"]["eyewall.dev/cordoned-by-boot"].as_str().map(str::to_owned);
    (node["spec"]["unschedulable"] == true, by)
}

/// What the socket says of reboots.
pub async fn reboots(vm: &Vm) -> Result<RebootStatus> {
    vm.status().await?.reboot.context("nothing about reboots")
}

/// Waits until the socket says this state for a reason of this kind (`*`: any).
pub async fn state(vm: &Vm, state: State, kind: &str) -> Result<RebootStatus> {
    let started = Instant::now();
    let last = Mutex::new(String::new());
    let status = vm
        .wait_for(&format!("{state} / {kind}"), SOON, async |vm| {
            let now = reboots(vm).await?;
            let said = format!("{} / {}: {}", now.state, now.reason.kind, now.reason.message);
            let mut last = last.lock().await;
            if *last != said {
                vm.progress().say(&format!("  {said}"));
                *last = said;
            }
            let is_it = now.state == state && (kind == "*" || now.reason.kind == kind);
            ensure!(is_it, "it is {} / {}: {}", now.state, now.reason.kind, now.reason.message);
            Ok(now)
        })
        .await?;
    let seconds = started.elapsed().as_secs_f64();
    vm.progress().say(&format!("{state}, after {seconds:.1} s"));
    Ok(status)
}

/// Never ends well: there must never be more holders than this.
pub async fn never_more(api: &ApiServer, limit: usize) -> Result<()> {
    loop {
        let holders = holders(api)?;
        if holders.len() > limit {
            bail!("{} holders for {limit} slots: {holders:?}", holders.len());
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// kill -9, and systemd starts it again; how long the host was without its lock is told.
async fn kill_the_agent(vm: &Vm) -> Result<()> {
    let before = vm.status().await?.agent.pid;
    vm.guest().get("kill -KILL $(systemctl show --property=MainPID --value eyewall.service)").await?;
    let started = Instant::now();
    vm.wait_for("the agent again, with its lock", SOON, async |vm| {
        let status = vm.status().await?;
        ensure!(status.agent.pid != before, "the old agent answers");
        ensure!(status.reboot.is_some_and(|reboot| reboot.host_lock.held), "it holds no lock");
        Ok(())
    })
    .await?;
    vm.progress().say(&format!("killed, and back after {:.1} s", started.elapsed().as_secs_f64()));
    Ok(())
}

/// Root asks logind for a reboot, and is refused; whoever has systemctl look at the locks first is told by whom and why.
pub async fn refused(vm: &Vm, why: &str) -> Result<()> {
    let blunt = vm.guest().run("systemctl reboot").await?;
    ensure!(!blunt.status.success(), "root was not refused: {blunt:?}");
    // systemd 257 has no other words for a block lock that binds root.
    ensure!(blunt.stderr.contains("Access denied"), "refused for another reason: {blunt:?}");
    let told = vm.guest().run("systemctl reboot --check-inhibitors=yes").await?;
    ensure!(!told.status.success(), "root was not refused: {told:?}");
    let said = told.stdout + &told.stderr;
    vm.progress().say(&format!("systemctl reboot --check-inhibitors=yes: {}", said.lines().next().unwrap_or_default()));
    ensure!(said.contains("inhibited by \"eyewall\"") && said.contains(why), "it is not told {why:?}: {said}");
    let listed = vm.guest().get("systemd-inhibit --list --no-pager --no-legend").await?;
    let ours = listed.lines().find(|line| line.starts_with("eyewall ") && line.trim_end().ends_with("block"));
    let ours = ours.with_context(|| format!("no lock of eyewall's: {listed}"))?;
    ensure!(ours.contains("shutdown") && ours.contains(why), "the lock does not say {why:?}: {ours}");
    Ok(())
}

/// Nobody has granted anything, so root cannot reboot the host; an operator's words are what it is told.
async fn nobody_reboots(vm: &Vm) -> Result<()> {
    let idle = state(vm, State::Idle, "no-reboot-wanted").await?;
    ensure!(idle.host_lock.held && idle.host_lock.reason.is_none(), "{:#?}", idle.host_lock);
    refused(vm, "no reboot is wanted").await?;
    vm.guest().get("/opt/bin/eyewall hold --why 'the disk is being copied'").await?;
    vm.guest().get("/opt/bin/eyewall reboot request --why 'a new kernel'").await?;
    state(vm, State::Waiting, "hold").await?;
    refused(vm, "the disk is being copied").await?;
    // The request is let go with it.
    vm.guest().get("/opt/bin/eyewall release").await?;
    state(vm, State::Idle, "no-reboot-wanted").await.map(drop)
}

/// Its turn comes, it is drained, and it reboots, whatever is done to the agent meanwhile.
async fn in_turn(scene: &Scene, vm: &mut Vm) -> Result<()> {
    let api = &scene.api;
    vm.guest().get("/opt/bin/eyewall reboot request --why 'a new kernel'").await?;
    let waiting = state(vm, State::Waiting, "slot").await?;
    ensure!(waiting.reason.message.contains("by node-b"), "{}", waiting.reason.message);
    refused(vm, "1 of 1 slots are taken, by node-b").await?;
    kill_the_agent(vm).await?;
    let waiting = state(vm, State::Waiting, "slot").await?;
    let boot = waiting.boot.id;
    ensure!(cordon(api) == (false, None) && holders(api)? == ["node-b"], "{:?} {:?}", cordon(api), holders(api));

    other_holder(api, "node-b", false)?;
    draining(vm, api, &boot).await?;
    refused(vm, "default/web").await?;
    kill_the_agent(vm).await?;
    draining(vm, api, &boot).await?;
    let_the_pod_go(api)?;
    let started = Instant::now();
    vm.goes_down(SOON).await?;
    vm.progress().say(&format!("drained and down {:.1} s after the budget went", started.elapsed().as_secs_f64()));
    ensure!(holders(api)? == [NODE], "the slot of a host that is down: {:?}", holders(api));
    ensure!(cordon(api) == (true, Some(boot.clone())), "{:?}", cordon(api));
    ensure!(api.look(|view| view.object("pods", "default", "web")).is_none(), "it went down with a pod on it");

    vm.switch_on().await?;
    put_right(vm, api, &boot).await?;
    let told = vm.guest().get("journalctl --boot=-1 --unit=systemd-logind --output=cat").await?;
    ensure!(told.contains("The system will reboot now"), "logind did not reboot it: {told}");
    Ok(())
}

/// It holds the slot, is cordoned by us, and a pod is left that may not go.
pub async fn draining(vm: &Vm, api: &ApiServer, boot: &str) -> Result<()> {
    vm.wait_for("a pod that is waited for", SOON, async |vm| {
        let now = reboots(vm).await?;
        let left = now.drain.as_ref().map_or(0, |drain| drain.left.len());
        ensure!(now.state == State::Draining && left == 1, "{} with {left} pods: {}", now.state, now.reason.message);
        ensure!(now.boot.id == boot, "another boot");
        Ok(())
    })
    .await?;
    ensure!(holders(api)? == [NODE], "{:?}", holders(api));
    ensure!(cordon(api) == (true, Some(boot.to_owned())), "{:?}", cordon(api));
    Ok(())
}

/// After the boot: proved, uncordoned, and the slot is another's to take.
pub async fn put_right(vm: &Vm, api: &ApiServer, before: &str) -> Result<()> {
    let idle = state(vm, State::Idle, "no-reboot-wanted").await?;
    ensure!(idle.boot.id != before, "it has not rebooted");
    ensure!(idle.host_lock.held, "the new boot is not kept up: {:#?}", idle.host_lock);
    ensure!(idle.orders.request.is_none(), "the request is served: {:#?}", idle.orders);
    ensure!(holders(api)?.is_empty(), "{:?}", holders(api));
    ensure!(cordon(api) == (false, None), "{:?}", cordon(api));
    Ok(())
}

/// The power goes while it drains: what was done is undone by the boot that follows.
async fn power_goes(scene: &Scene, vm: &mut Vm) -> Result<()> {
    let api = &scene.api;
    kept_pod(api)?;
    let boot = reboots(vm).await?.boot.id;
    vm.guest().get("/opt/bin/eyewall reboot request --why 'another kernel'").await?;
    draining(vm, api, &boot).await?;
    vm.power_cut().await?;
    ensure!(holders(api)? == [NODE] && cordon(api).0, "{:?} {:?}", holders(api), cordon(api));
    vm.switch_on().await?;
    put_right(vm, api, &boot).await
}

#[tokio::test]
async fn a_reboot_in_turn_with_a_killed_agent_and_a_power_cut() -> Result<()> {
    let scene = Scene::open(Signing::default()).await?;
    prepare(&scene.api)?;
    other_holder(&scene.api, "node-b", true)?;
    let mut spec = scene.worker(Runtime::Podman);
    spec.config = CONFIG.to_owned();
    let mut vm = Vm::boot(&scene.lab, &spec).await?;
    let story = async {
        good(&vm).await?;
        nobody_reboots(&vm).await?;
        in_turn(&scene, &mut vm).await?;
        power_goes(&scene, &mut vm).await?;
        good(&vm).await?;
        clean_host(&vm, &scene.api).await
    };
    tokio::select! {
        told = story => told,
        broken = never_more(&scene.api, 1) => broken,
    }
}
