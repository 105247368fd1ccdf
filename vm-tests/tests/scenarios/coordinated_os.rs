//! The same with the OS's own updaters on the real system bus: rpm-ostreed of Fedora CoreOS, which asks logind for block locks before it finalises, and
//! update_engine of Flatcar. Stand-ins speak for them; logind, the bus and the reboots are real.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eyewall_core::reboot::RebootState as State;
use tests::apiserver::Signing;
use vm_tests::{Runtime, Scene, Vm};

use crate::coordinated::{
    self, CONFIG, SOON, cordon, draining, holders, kept_pod, let_the_pod_go, never_more, other_holder, put_right,
    reboots, refused, state,
};
use crate::expect::{clean_host, good};

/// An updater, as a scenario moves it.
struct Updater {
    /// Its name for `os-standin`.
    name: &'static str,
    bus_name: &'static str,
    /// A release is there, and waits for its reboot.
    offer: &'static str,
    release: &'static str,
}

const RPM_OSTREE: Updater = Updater {
    name: "rpm-ostree",
    bus_name: "org.projectatomic.rpmostree1",
    offer: "/org/projectatomic/rpmostree1/Sysroot io.eyewall.Standin Stage sb 44.2 true",
    release: "44.2",
};
const UPDATE_ENGINE: Updater = Updater {
    name: "update-engine",
    bus_name: "com.coreos.update1",
    offer: "/com/coreos/update1 io.eyewall.Standin Write s 4459.2.1",
    release: "4459.2.1",
};

impl Updater {
    /// Its place on the bus, and its unit. It outlives the agent's shutdown, so that it sees which one it is.
    async fn install(&self, vm: &Vm) -> Result<()> {
        let Self { name, bus_name, .. } = self;
        let os_release = if *name == "update-engine" { " --os-release=/etc/os-release" } else { "" };
        let unit = format!(
            "[Unit]\nAfter=dbus.service systemd-logind.service\nBefore=eyewall.service\n[Service]\nType=dbus\nBusName={bus_name}\n\
             ExecStart=/usr/local/bin/os-standin {name} --booted=44.1{os_release}\n[Install]\nWantedBy=multi-user.target\n"
        );
        let script = format!(
            "set -e; os-standin policy {name} > /etc/dbus-1/system.d/{bus_name}.conf; \
             printf '%s' '{unit}' > /etc/systemd/system/os-standin-{name}.service; \
             busctl call org.freedesktop.DBus / org.freedesktop.DBus ReloadConfig; systemctl daemon-reload; \
             systemctl enable --now os-standin-{name}.service"
        );
        vm.guest().get(&script).await.map(drop)
    }

    /// There is something to boot.
    async fn offer(&self, vm: &Vm) -> Result<()> {
        vm.guest().get(&format!("busctl call {} {}", self.bus_name, self.offer)).await.map(drop)
    }

    /// From the release that is there to the freed slot.
    async fn cycle(&self, scene: &Scene, vm: &mut Vm, not_yet: impl AsyncFn(&Vm, &str) -> Result<()>) -> Result<()> {
        let api = &scene.api;
        kept_pod(api)?;
        other_holder(api, "node-b", true)?;
        state(vm, State::Idle, "no-reboot-wanted").await?;
        self.offer(vm).await?;
        let waiting = state(vm, State::Waiting, "slot").await?;
        let cause = format!("{:?}", waiting.pending);
        ensure!(cause.contains(self.release), "it waits for another release: {cause}");
        not_yet(vm, &waiting.reason.message).await?;
        refused(vm, &waiting.reason.message).await?;

        other_holder(api, "node-b", false)?;
        draining(vm, api, &waiting.boot.id).await?;
        not_yet(vm, "default/web").await?;
        let_the_pod_go(api)?;
        vm.goes_down(SOON).await?;
        ensure!(holders(api)? == ["node-a"] && cordon(api).0, "{:?} {:?}", holders(api), cordon(api));
        vm.switch_on().await?;
        put_right(vm, api, &waiting.boot.id).await?;
        let booted = reboots(vm).await?.boot.release.context("a release")?;
        ensure!(booted.version == self.release, "another release runs: {booted:?}");
        vm.progress().say(&format!("{}: {} runs, and the slot is free", self.name, booted.version));
        Ok(())
    }
}

/// Whoever finalises what is staged, as Zincati does, is refused with our reason, and it stays locked.
async fn finalize_is_refused(vm: &Vm, why: &str) -> Result<()> {
    let told = vm.guest().run("os-standin finalize").await?;
    ensure!(!told.status.success(), "it was finalised: {told:?}");
    vm.progress().say(&format!("finalize: {}", told.stderr.trim().replace('\n', " / ")));
    ensure!(told.stderr.contains("eyewall") && told.stderr.contains(why), "it is not told {why:?}: {}", told.stderr);
    Ok(())
}

/// The file that tells other coordinators of a Flatcar host that we are at work.
async fn we_coordinate(vm: &Vm, _: &str) -> Result<()> {
    vm.wait_for("the coordinator's file", Duration::from_secs(30), async |vm| {
        let file = vm
            .guest()
            .get("cat /run/update-engine/coordinator.conf; ! flock -n /run/update-engine/coordinator.conf true")
            .await?;
        ensure!(file.contains("NAME=eyewall"), "{file}");
        ensure!(file.contains("reboot-planned"), "{file}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn updates_of_fedora_coreos_and_flatcar_are_booted_in_turn() -> Result<()> {
    let scene = Scene::open(Signing::default()).await?;
    coordinated::prepare(&scene.api)?;
    let mut spec = scene.worker(Runtime::Podman);
    spec.config = format!("[node]\nos = \"fcos\"\n{CONFIG}");
    spec.programs = vec![scene.binaries.os.clone()];
    let mut vm = Vm::boot(&scene.lab, &spec).await?;
    let story = async {
        good(&vm).await?;
        RPM_OSTREE.install(&vm).await?;
        RPM_OSTREE.cycle(&scene, &mut vm, finalize_is_refused).await?;
        let flatcar = "sed -i 's/\"fcos\"/\"flatcar\"/' /etc/eyewall/eyewall.toml && systemctl restart eyewall.service";
        vm.guest().get(flatcar).await?;
        UPDATE_ENGINE.install(&vm).await?;
        UPDATE_ENGINE.cycle(&scene, &mut vm, we_coordinate).await?;
        clean_host(&vm, &scene.api).await
    };
    tokio::select! {
        told = story => told,
        broken = never_more(&scene.api, 1) => broken,
    }
}
