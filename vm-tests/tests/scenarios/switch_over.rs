//! A node as Typhoon makes it today: eyewall comes beside it as an observer, takes the certificate over, gives it back through
//! both doors, and leaves. What is typed is what the README, the status and the shipped files name.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eyewall_core::event::CERTIFICATE_RENEWED_BY_KUBELET;
use eyewall_core::status::{CertificateState, Health, Status};
use vm_tests::provision::RELEASE;
use vm_tests::scene::short_lived;
use vm_tests::{MadeBy, NodeSpec, Runtime, Scene, Vm};

use crate::expect::{GOOD, clean_host, good, serial, told};

/// A kubelet renews with 12 to 36 s left, eyewall with 40 to 48 s; a restart in an emulated host takes some 10 s.
const LIFE: Duration = Duration::from_secs(120);
const RENEWAL: Duration = Duration::from_secs(300);
/// What eyewall may have on the host, beside its own.
const STORE: &str = "/var/lib/kubelet /etc/kubernetes";

#[tokio::test]
async fn a_typhoon_node_with_podman_is_taken_over_and_given_back() -> Result<()> {
    let scene = Scene::open(short_lived(LIFE)).await?;
    let vm = typhoon_node(&scene, Runtime::Podman).await?;
    observed(&scene, &vm).await?;
    taken_over(&scene, &vm).await?;
    renewed_by_eyewall(&scene, &vm).await?;
    first_door(&scene, &vm).await?;
    second_door(&scene, &vm).await?;
    given_back(&scene, &vm).await?;
    clean_host(&vm, &scene.api).await
}

#[tokio::test]
async fn a_typhoon_node_with_docker_is_taken_over_and_given_back() -> Result<()> {
    let scene = Scene::open(short_lived(LIFE)).await?;
    let vm = typhoon_node(&scene, Runtime::Docker).await?;
    observed(&scene, &vm).await?;
    taken_over(&scene, &vm).await?;
    given_back(&scene, &vm).await?;
    clean_host(&vm, &scene.api).await
}

/// Boots it; its kubelet joins with nothing of eyewall on the host. Then eyewall is installed as the README says.
async fn typhoon_node(scene: &Scene, runtime: Runtime) -> Result<Vm> {
    let spec = NodeSpec { made_by: MadeBy::Typhoon, ..scene.worker(runtime) };
    let vm = Vm::boot(&scene.lab, &spec).await?;
    let joined = |seen: &tests::apiserver::View<'_>| seen.object("nodes", "", "node-a").is_some();
    if let Err(error) = scene.api.wait_until(GOOD, joined).await {
        return Err(error).with_context(|| "Typhoon's own kubelet does not join");
    }
    ensure!(scene.api.csrs().iter().all(|csr| csr.name.starts_with("csr-")), "{:#?}", scene.api.csrs());
    vm.progress().say("Typhoon's own kubelet has joined; eyewall is installed beside it");
    typed(&vm, RELEASE, &readme(0)?).await?;
    Ok(vm)
}

/// The same states and forecasts from the kubelet's own store, and not a byte written.
async fn observed(scene: &Scene, vm: &Vm) -> Result<()> {
    let status = good(vm).await?;
    let part = &status.certificates;
    ensure!(part.owner == "kubelet" && part.state == CertificateState::Valid, "{part:#?}");
    ensure!(part.may_be_off_until.is_some() && part.ca.is_some(), "{part:#?}");
    ensure!(part.take_over == readme(1)?, "the status names other commands than the README: {:?}", part.take_over);
    let kubelet = &status.kubelet;
    let image = kubelet.image.as_ref().context("the image of Typhoon's container")?;
    ensure!(image.reference == scene.image.reference && image.position == 0, "{image:#?}");
    let runtime = kubelet.runtime.as_deref().context("its runtime")?;
    if runtime == "podman" {
        let digest =
            vm.guest().get(&format!("podman image inspect --format '{{{{.Digest}}}}' {}", image.reference)).await?;
        ensure!(image.digest.as_deref() == Some(digest.as_str()), "{image:#?}, podman says {digest}");
    }
    vm.guest().get("test ! -e /run/eyewall/kubelet.json").await?;

    // Until the kubelet renews, nothing changes, however often one looks.
    let before = files(vm).await?;
    let in_force = serial(&status);
    for _ in 0..5 {
        vm.status().await?;
    }
    if serial(&vm.status().await?) == in_force {
        ensure!(before == files(vm).await?, "an observer wrote below {STORE}");
    }
    let renewed = vm
        .wait_for("a renewal of the kubelet's own", RENEWAL, async |vm| {
            let status = vm.status().await?;
            ensure!(serial(&status) != in_force, "{:?} is still in force", serial(&status));
            Ok(status)
        })
        .await?;
    ensure!(renewed.certificates.health == Health::Good, "{renewed:#?}");
    told(vm, &CERTIFICATE_RENEWED_BY_KUBELET).await?;
    let names = |files: &BTreeSet<String>| -> BTreeSet<String> {
        // The others begin with a hash.
        files
            .iter()
            .filter(|line| line.starts_with('/'))
            .filter_map(|line| line.split(' ').next())
            .map(str::to_owned)
            .collect()
    };
    let after = files(vm).await?;
    for name in names(&after).difference(&names(&before)) {
        ensure!(name.contains("/pki/kubelet-client-20"), "{name} is new, and not the kubelet's");
    }
    ensure!(scene.api.csrs().iter().all(|csr| csr.name.starts_with("csr-")), "a request of eyewall's");
    vm.progress().say("observed: the kubelet renewed itself, and eyewall wrote nothing");
    Ok(())
}

/// The commands that the status names: adopted, one restart, no request, the kubelet's own flags.
async fn taken_over(scene: &Scene, vm: &Vm) -> Result<()> {
    let before = vm.status().await?;
    let starts = starts(vm).await?;
    let requests = requests(scene);
    typed(vm, "/", &before.certificates.take_over).await?;
    let after = owned_by(vm, "eyewall").await?;
    ensure!(serial(&before) == serial(&after), "another certificate: {before:#?}\n{after:#?}");
    ensure!(self::requests(scene) == requests, "a request was made: {requests:?} -> {:?}", self::requests(scene));
    ensure!(self::starts(vm).await? == starts + 1, "not one restart");
    vm.guest()
        .get(&format!("cmp {RELEASE}/units/take-over.conf /etc/systemd/system/kubelet.service.d/50-eyewall.conf"))
        .await?;
    let runtime = after.kubelet.runtime.clone().context("a runtime")?;
    let pid = after.kubelet.main_pid.context("it runs")?;
    let program = vm.guest().get(&format!("readlink /proc/{pid}/exe")).await?;
    ensure!(program == format!("/usr/bin/{runtime}"), "kubelet.service runs {program}");
    let flags = vm.guest().get(&format!("{runtime} inspect --format '{{{{.Args}}}}' kubelet")).await?;
    for flag in ["--rotate-certificates=false", "--hostname-override=node-a", "--node-labels=node.kubernetes.io/node"] {
        ensure!(flags.contains(flag), "{flag} is not in {flags}");
    }
    ensure!(!flags.contains("--bootstrap-kubeconfig"), "{flags}");
    vm.progress().say("taken over: the same certificate, one restart, no request");
    Ok(())
}

/// Eyewall renews the next one, and the kubelet takes it over without a restart.
async fn renewed_by_eyewall(scene: &Scene, vm: &Vm) -> Result<()> {
    let before = vm.status().await?;
    let (starts, requests) = (starts(vm).await?, requests(scene));
    let after = renewed(vm, &before).await?;
    ensure!(self::starts(vm).await? == starts, "the kubelet was restarted");
    let now = self::requests(scene);
    ensure!(now.eyewalls == requests.eyewalls + 1 && now.kubelets == requests.kubelets, "{requests:?} -> {now:?}");
    let new = serial(&after);
    let used = async |vm: &Vm| {
        let log = vm.guest().get("podman logs kubelet 2>&1").await?;
        ensure!(log.contains(&format!("certificate serial={new}")), "the kubelet does not use {new}:\n{log}");
        Ok(())
    };
    vm.wait_for("the kubelet uses eyewall's certificate", Duration::from_secs(60), used).await?;
    vm.progress().say("eyewall renewed it, and the kubelet uses it");
    Ok(())
}

/// break-glass.toml, and back.
async fn first_door(scene: &Scene, vm: &Vm) -> Result<()> {
    let (open, shut) = door("break-glass.toml")?;
    passed(scene, vm, &open, "kubelet").await?;
    renews_itself(scene, vm, "the first door").await?;
    passed(scene, vm, &shut, "eyewall").await
}

/// break-glass-podman.conf with no eyewall at all, and back.
async fn second_door(scene: &Scene, vm: &Vm) -> Result<()> {
    let (open, shut) = door("break-glass-podman.conf")?;
    let before = vm.status().await?;
    let (starts, requests) = (starts(vm).await?, requests(scene));
    typed(vm, &format!("{RELEASE}/units"), &open).await?;
    for unit in ["eyewall.service", "eyewall.socket"] {
        // Not even when somebody starts it, as a boot does.
        let state =
            vm.guest().get(&format!("systemctl start {unit} || true; systemctl is-active {unit} || true")).await?;
        ensure!(state == "inactive", "{unit} is {state}");
    }
    ensure!(self::starts(vm).await? == starts + 1, "not one restart");
    let log = async |vm: &Vm| {
        let log = vm.guest().get("podman logs kubelet 2>&1").await?;
        ensure!(log.contains(&format!("certificate serial={}", serial(&before))), "not the same certificate:\n{log}");
        Ok(())
    };
    vm.wait_for("the kubelet goes on with the certificate in force", Duration::from_secs(60), log).await?;
    ensure!(self::requests(scene) == requests, "a request was made: {requests:?} -> {:?}", self::requests(scene));
    let own = |seen: &tests::apiserver::View<'_>| {
        let csrs = seen.csrs();
        csrs.iter().all(tests::apiserver::CsrView::issued) && Requests::of(&csrs).kubelets > requests.kubelets
    };
    scene.api.wait_until(RENEWAL, own).await.context("a renewal of the kubelet's own")?;
    ensure!(self::requests(scene).eyewalls == requests.eyewalls, "the agent asked all the same");
    vm.progress().say("the second door: the same certificate, and the kubelet renewed it without eyewall");
    let requests = self::requests(scene);
    typed(vm, "/", &shut).await?;
    owned_by(vm, "eyewall").await?;
    ensure!(self::requests(scene) == requests, "coming back made a request: {:?}", self::requests(scene));
    Ok(())
}

/// The README's way back to Typhoon's own unit.
async fn given_back(scene: &Scene, vm: &Vm) -> Result<()> {
    passed(scene, vm, &readme(2)?, "kubelet").await?;
    let unit = vm.guest().get("systemctl cat kubelet.service").await?;
    ensure!(!unit.contains("/opt/bin/eyewall"), "{unit}");
    vm.progress().say("given back: Typhoon's own unit, the same certificate");
    Ok(())
}

/// A change of owner: the same certificate, one restart, no request.
async fn passed(scene: &Scene, vm: &Vm, commands: &[String], owner: &str) -> Result<()> {
    let before = vm.status().await?;
    let (starts, requests) = (starts(vm).await?, requests(scene));
    typed(vm, &format!("{RELEASE}/units"), commands).await?;
    let after = owned_by(vm, owner).await?;
    ensure!(serial(&before) == serial(&after), "{commands:?} changed the certificate");
    ensure!(self::starts(vm).await? == starts + 1, "{commands:?}: not one restart");
    ensure!(self::requests(scene) == requests, "{commands:?} made a request: {:?}", self::requests(scene));
    Ok(())
}

/// How many requests there were, by who makes them: the kubelet's have random names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Requests {
    kubelets: usize,
    eyewalls: usize,
}

impl Requests {
    fn of(csrs: &[tests::apiserver::CsrView]) -> Self {
        let named = |start: &str| csrs.iter().filter(|csr| csr.name.starts_with(start)).count();
        Self { kubelets: named("csr-"), eyewalls: named("node-csr-") }
    }
}

fn requests(scene: &Scene) -> Requests {
    Requests::of(&scene.api.csrs())
}

async fn renews_itself(scene: &Scene, vm: &Vm, how: &str) -> Result<()> {
    let (before, requests) = (vm.status().await?, requests(scene));
    renewed(vm, &before).await?;
    let now = self::requests(scene);
    ensure!(now.kubelets > requests.kubelets && now.eyewalls == requests.eyewalls, "{requests:?} -> {now:?}");
    vm.progress().say(&format!("{how}: the kubelet renewed it itself"));
    Ok(())
}

/// Waits for another certificate than that one.
async fn renewed(vm: &Vm, before: &Status) -> Result<Status> {
    vm.wait_for("another certificate", RENEWAL, async |vm| {
        let status = vm.status().await?;
        ensure!(serial(&status) != serial(before), "{} is still in force", serial(before));
        Ok(status)
    })
    .await
}

/// Waits until the node is good and the certificate is this one's.
async fn owned_by(vm: &Vm, owner: &str) -> Result<Status> {
    vm.wait_for(&format!("a good node whose certificate is the {owner}'s"), GOOD, async |vm| {
        let status = vm.status().await?;
        let (part, kubelet) = (&status.certificates, &status.kubelet);
        ensure!(part.owner == owner, "{} owns it", part.owner);
        ensure!(
            status.health == Health::Good && !kubelet.reason.message.contains("still renews"),
            "{}; {}",
            part.reason.message,
            kubelet.reason.message
        );
        Ok(status)
    })
    .await
}

/// How often systemd has started the kubelet's unit (systemd.journal-fields(7), SD_MESSAGE_UNIT_STARTED).
async fn starts(vm: &Vm) -> Result<usize> {
    let entries = vm.guest().journal("MESSAGE_ID=39f53479d3a045ac8e11786248231fbf UNIT=kubelet.service").await?;
    Ok(entries.len())
}

/// Everything below the kubelet's directories: name, times, mode, size, inode, content.
async fn files(vm: &Vm) -> Result<BTreeSet<String>> {
    let list = format!(
        "find {STORE} -xdev -printf '%p %T@ %C@ %m %s %i %l\\n'; find {STORE} -xdev -type f -exec sha256sum {{}} +"
    );
    Ok(vm.guest().get(&list).await?.lines().map(str::to_owned).collect())
}

/// Types the commands one after the other.
async fn typed(vm: &Vm, directory: &str, commands: &[String]) -> Result<()> {
    for command in commands {
        println!("# {command}");
        let said = vm.guest().get(&format!("cd {directory} && {{ {command}; }}")).await?;
        println!("{said}");
    }
    Ok(())
}

/// The commands of the README's section: 0 installs, 1 switches over, 2 goes all the way back.
fn readme(block: usize) -> Result<Vec<String>> {
    let text = shipped("README.md")?;
    let (_, section) = text.split_once("## On a cluster that runs already\n").context("the README's section")?;
    let section = section.split("\n## ").next().unwrap_or_default();
    blocks(section, "    ").into_iter().nth(block).with_context(|| format!("the README's block {block}"))
}

/// The commands that a door's file names: through it, and back.
fn door(file: &str) -> Result<(Vec<String>, Vec<String>)> {
    let text = shipped(&format!("units/{file}"))?;
    let mut blocks = blocks(&text, "#   ").into_iter();
    let two = (blocks.next(), blocks.next());
    let (Some(open), Some(shut)) = two else { anyhow::bail!("{file} does not name two lists of commands") };
    Ok((open, shut))
}

fn shipped(path: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).with_context(|| format!("{}", path.display()))
}

/// Runs of lines that begin with `indent`, without it.
fn blocks(text: &str, indent: &str) -> Vec<Vec<String>> {
    let mut blocks = vec![Vec::new()];
    for line in text.lines() {
        match line.strip_prefix(indent) {
            Some(command) => blocks.last_mut().into_iter().for_each(|block| block.push(command.to_owned())),
            None if blocks.last().is_some_and(|block| !block.is_empty()) => blocks.push(Vec::new()),
            None => {}
        }
    }
    blocks.retain(|block| !block.is_empty());
    blocks
}
