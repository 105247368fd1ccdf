//! A disk for one node: a copy of the root file system, the Ignition config that `ignition/` ships, and the real Ignition
//! that applies it.
//!
//! What only this VM needs (its hostname, the test's ssh key, the unit that loads the kubelet's image) is a config of its
//! own, which merges eyewall's fragment as Typhoon's snippets are merged.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use eyewall_ignition::{Binary, Options, Os, Platform, Role};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::program::run;
use crate::root::Root;
use crate::{KubeletImage, selinux};

/// Debian puts the binary where dracut finds it, not into the search path.
const IGNITION: &str = "/usr/lib/dracut/modules.d/30ignition/ignition";

/// Room on the disk; the file is sparse.
const DISK: &str = "4G";

/// Where the kubelet's image lies on the host until it is loaded.
const IMAGE: &str = "/var/lib/eyewall-vm/kubelet.tar";

/// podman's generator of units from files that no node here has. It runs at each `systemctl daemon-reload`, and Debian's policy has
/// no rule that lets it look into /run/containers; masked (systemd.generator(7)), it is denied nothing.
const QUADLET: &str = "/etc/systemd/system-generators/podman-system-generator";

/// Where eyewall's release lies on a host that Typhoon made, to be installed by hand.
pub const RELEASE: &str = "/var/lib/eyewall-vm/release";

/// Who makes the node what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MadeBy {
    /// eyewall's Ignition fragment.
    Eyewall,
    /// Typhoon's own config of today: its kubelet.service and kubelet.yaml. eyewall is not installed; its release is at [`RELEASE`].
    Typhoon,
}

/// What runs the kubelet's container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// As on Fedora CoreOS.
    Podman,
    /// As on Flatcar.
    Docker,
}

impl Runtime {
    /// Its command, and its name in eyewall.toml.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Podman => "podman",
            Self::Docker => "docker",
        }
    }

    fn os(self) -> Os {
        match self {
            Self::Podman => Os::Fcos,
            Self::Docker => Os::Flatcar,
        }
    }
}

/// One node, as it is to be.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// The hostname, and so the Node's name.
    pub name: String,
    /// What runs the kubelet.
    pub runtime: Runtime,
    /// Who makes it.
    pub made_by: MadeBy,
    /// The `eyewall` binary.
    pub eyewall: PathBuf,
    /// The kubelet's image.
    pub image: KubeletImage,
    /// What Typhoon would put at /etc/kubernetes/kubeconfig.
    pub bootstrap_kubeconfig: String,
    /// More for eyewall.toml, without the section `[kubelet]`; empty is Typhoon's.
    pub config: String,
    /// Should containerd run? A real kubelet needs it, the stand-in starts no pods.
    pub containerd: bool,
    /// Memory of the machine, MiB.
    pub memory: u32,
    /// More programs, for /usr/local/bin.
    pub programs: Vec<PathBuf>,
}

impl NodeSpec {
    /// eyewall's fragment, as `eyewall-ignition` prints it.
    ///
    /// # Errors
    /// When the binary cannot be read or the options do not fit together.
    fn fragment(&self) -> Result<String> {
        let binary = std::fs::read(&self.eyewall)
            .with_context(|| format!("the binary {} cannot be read", self.eyewall.display()))?;
        let config = format!("{}\n[kubelet]\nruntime = \"{}\"\n", self.config, self.runtime.as_str());
        let options = Options {
            os: self.runtime.os(),
            role: Role::Worker,
            platform: Platform::Qemu,
            binary: Binary::Inline(binary),
            config_file: Some(config),
            bootstrap_kubeconfig: Some(self.bootstrap_kubeconfig.clone()),
            name: None,
            images: vec![self.image.reference.clone()],
        };
        Ok(eyewall_ignition::render(&options, false)?)
    }

    /// What Typhoon's own config makes of the kubelet: its unit, its configuration, and the bootstrap kubeconfig as it comes.
    fn typhoon(&self) -> String {
        let (kubelet, docker) = match self.runtime {
            Runtime::Podman => {
                let unit = include_str!("../../ignition/tests/typhoon/kubelet-fcos.service");
                (unit, json!({"name": "docker.service", "mask": true}))
            }
            Runtime::Docker => {
                let unit = include_str!("../../ignition/tests/typhoon/kubelet-flatcar.service");
                (unit, json!({"name": "docker.service", "enabled": true}))
            }
        };
        let kubelet = kubelet
            .replace("quay.io/poseidon/kubelet:v1.36.2", &self.image.reference)
            .replace("--hostname-override=node-a", &format!("--hostname-override={}", self.name));
        let file = |path: &str, text: &str| json!({"path": path, "mode": 0o644, "overwrite": true, "contents": {"source": data_url(text)}});
        json!({
            "ignition": {"version": "3.3.0"},
            "storage": {"files": [
                file("/etc/kubernetes/kubeconfig", &self.bootstrap_kubeconfig),
                file("/etc/kubernetes/kubelet.yaml", include_str!("../../ignition/tests/typhoon/kubelet.yaml")),
            ]},
            "systemd": {"units": [{"name": "kubelet.service", "enabled": true, "contents": kubelet}, docker]},
        })
        .to_string()
    }

    /// The VM's own config with the node's in it.
    fn config(&self, ssh_key: &str) -> Result<Value> {
        let mut units = vec![json!({
            "name": "eyewall-vm-image.service",
            "enabled": true,
            "contents": include_str!("../root/image.service")
                .replace("@RUNTIME@", self.runtime.as_str())
                .replace("@IMAGE@", IMAGE)
                .replace("@REFERENCE@", &self.image.reference),
        })];
        if self.containerd {
            units.push(json!({"name": "containerd.service", "enabled": true}));
        }
        let node = match self.made_by {
            MadeBy::Eyewall => self.fragment()?,
            MadeBy::Typhoon => self.typhoon(),
        };
        Ok(json!({
            "ignition": {
                "version": "3.3.0",
                "config": {"merge": [{"source": data_url(&node)}]},
            },
            "passwd": {"users": [{"name": "root", "sshAuthorizedKeys": [ssh_key.trim()]}]},
            "storage": {
                "files": [{
                    "path": "/etc/hostname",
                    "mode": 0o644,
                    "overwrite": true,
                    "contents": {"source": data_url(&format!("{}\n", self.name))},
                }],
                "links": [{"path": QUADLET, "target": "/dev/null", "overwrite": true}],
            },
            "systemd": {"units": units},
        }))
    }
}

fn data_url(text: &str) -> String {
    format!("data:;base64,{}", STANDARD.encode(text))
}

/// Makes the node's disk in the (existing) directory: some seven seconds.
///
/// # Errors
/// When a copy fails, or Ignition does not accept the config.
pub async fn disk(root: &Root, spec: &NodeSpec, ssh_key: &str, directory: &Path) -> Result<PathBuf> {
    let config = directory.join("config.ign");
    std::fs::write(&config, spec.config(ssh_key)?.to_string())?;

    let tree = directory.join("tree");
    let mut copy = Command::new("cp");
    copy.args(["-a", "--reflink=auto"]).arg(root.tree()).arg(&tree);
    run(&mut copy, Duration::from_secs(120)).await?;

    let image = tree.join(IMAGE.trim_start_matches('/'));
    std::fs::create_dir_all(image.parent().context("a file has a directory")?)?;
    std::fs::copy(&spec.image.archive, &image)?;
    if spec.made_by == MadeBy::Typhoon {
        release(spec, &tree.join(RELEASE.trim_start_matches('/')))?;
    }
    for program in &spec.programs {
        let name = program.file_name().context("a program has a name")?;
        std::fs::copy(program, tree.join("usr/local/bin").join(name))
            .with_context(|| format!("{} cannot be copied", program.display()))?;
    }
    selinux::label(&tree).await?;

    // Ignition labels what it writes, as on a real host: nothing is labelled after it.
    for stage in ["fetch", "files"] {
        ignite(stage, &tree, &config, directory).await.with_context(|| format!("Ignition's stage {stage}"))?;
    }
    std::fs::remove_file(config)?;

    let disk = directory.join("disk.raw");
    let mut mkfs = Command::new("mkfs.ext4");
    mkfs.args(["-q", "-F", "-L", "root", "-d"]).arg(&tree).arg(&disk).arg(DISK);
    run(&mut mkfs, Duration::from_secs(120)).await?;
    tokio::fs::remove_dir_all(&tree).await?;
    Ok(disk)
}

/// What an operator copies to a node: the binary and `units/`.
fn release(spec: &NodeSpec, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to.join("units"))?;
    std::fs::copy(&spec.eyewall, to.join("eyewall"))?;
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../units"))? {
        let path = entry?.path();
        let name = path.file_name().context("a file has a name")?;
        std::fs::copy(&path, to.join("units").join(name))?;
    }
    Ok(())
}

/// Its cache and state files are named, because the default ones in /run would hand one node's config to the next.
async fn ignite(stage: &str, tree: &Path, config: &Path, directory: &Path) -> Result<()> {
    let mut ignition = Command::new(IGNITION);
    ignition.args(["--platform=file", "--log-to-stdout", &format!("--stage={stage}")]);
    for (flag, value) in [
        ("root", tree.to_owned()),
        ("config-cache", directory.join("ignition.json")),
        ("state-file", directory.join("ignition.state")),
        ("neednet", directory.join("ignition.neednet")),
    ] {
        ignition.arg(format!("--{flag}={}", value.display()));
    }
    ignition.env("IGNITION_CONFIG_FILE", config);
    run(&mut ignition, Duration::from_secs(120)).await?;
    Ok(())
}
