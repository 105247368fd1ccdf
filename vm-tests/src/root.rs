//! The host's root file system: Debian 13 with systemd, both container runtimes and SELinux, labelled, ready to be copied.
//!
//! Two entries of the cache: what Debian gives (`debian-*`, a tar, a minute) and what we make of it (`root-*`, a tree, some
//! fifteen seconds), so that a change of ours does not fetch the packages again. The tree's own `semodule` and `setfiles` are
//! run in it: their formats then fit its policy whatever the machine has installed.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;

use crate::program::run;
use crate::{Cache, Entry, Key, Progress, selinux};

const SUITE: &str = "trixie";

/// Where Debian's packages come from, unless `EYEWALL_MIRROR` names another place.
const MIRROR: &str = "http://deb.debian.org/debian";

/// What a node needs of Fedora CoreOS or Flatcar, in Debian's words. `busybox-static` is for the kubelet's image.
const PACKAGES: &[&str] = &[
    "aardvark-dns",
    "busybox-static",
    "ca-certificates",
    "conmon",
    "containerd",
    "crun",
    "dbus",
    "docker-cli",
    "docker.io",
    "iproute2",
    "kmod",
    "libpam-systemd",
    "linux-image-cloud-amd64",
    "netavark",
    "nftables",
    "openssh-server",
    "podman",
    "policycoreutils",
    "selinux-policy-default",
    "selinux-utils",
    "systemd",
    "systemd-sysv",
    "udev",
];

/// Files that take room and time and that no node reads.
const LEFT_OUT: &[&str] = &["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*"];

/// Files that make Debian behave as Fedora CoreOS does where it matters here: path and content.
const FILES: &[(&str, &str)] = &[
    ("etc/ssh/sshd_config.d/40-disable-passwords.conf", include_str!("../root/sshd.conf")),
    ("usr/lib/systemd/system-preset/99-default.preset", include_str!("../root/default.preset")),
    ("etc/systemd/network/10-eth.network", include_str!("../root/eth.network")),
    ("etc/modprobe.d/eyewall-vm.conf", include_str!("../root/modprobe.conf")),
    ("etc/systemd/journald.conf.d/eyewall-vm.conf", include_str!("../root/journald.conf")),
    ("etc/selinux/config", include_str!("../root/selinux.config")),
    ("etc/resolv.conf", "nameserver 10.0.2.3\n"),
    ("etc/fstab", ""),
    // So systemd takes the first boot for one, and applies the presets that Ignition wrote.
    ("etc/machine-id", "uninitialized\n"),
];

/// Units of Debian's that would only keep an emulated CPU busy.
const MASKED: &[&str] = &[
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "dpkg-db-backup.timer",
    "fstrim.timer",
    "getty@tty1.service",
    "ldconfig.service",
    "modprobe@drm.service",
    "modprobe@efi_pstore.service",
    "netavark-dhcp-proxy.service",
    "netavark-dhcp-proxy.socket",
    "netavark-firewalld-reload.service",
    "serial-getty@ttyS0.service",
    "sshd-keygen.service",
    "systemd-firstboot.service",
    "systemd-journald-audit.socket",
    "systemd-network-generator.service",
    "systemd-networkd-persistent-storage.service",
    "systemd-networkd-wait-online.service",
    "systemd-pstore.service",
    // The test's ssh session would start a second systemd, for root.
    "user@.service",
];

/// What Fedora CoreOS has from the start and Debian makes when containerd first runs: the kubelet's container mounts it.
const DIRECTORIES: &[&str] = &["var/lib/containerd"];

/// What Debian enables when it installs it, and the node's Ignition config is to decide about.
const DISABLED: &[&str] = &[
    "multi-user.target.wants/containerd.service",
    "multi-user.target.wants/docker.service",
    "sockets.target.wants/docker.socket",
];

/// Count up when the building below changes in a way that its inputs do not show.
const VERSION: u32 = 1;

/// The root file system, in the cache.
#[derive(Debug)]
pub struct Root {
    entry: Entry,
}

impl Root {
    /// Takes it from the cache, or makes it: one to two minutes and the network, the first time.
    ///
    /// # Errors
    /// When this is not root, Debian cannot be reached, or the file system cannot hold SELinux labels.
    pub async fn get(cache: &Cache, progress: &Progress) -> Result<Self> {
        ensure!(
            nix::unistd::geteuid().is_root(),
            "only root can make the host's file system (its owners and SELinux labels): run this as root, or with sudo"
        );
        let mut key = Key::new(VERSION).with("debian", debian_key(&mirror()).finish()).with("cil", selinux::MODULE);
        for (path, content) in FILES {
            key = key.with(path, content);
        }
        for unit in MASKED.iter().chain(DISABLED).chain(DIRECTORIES) {
            key = key.with("name", unit);
        }
        let build = async |to: &Path| {
            let debian = debian(cache, progress).await?;
            progress.say("unpacking and labelling the host's file system");
            build(&debian.path().join("root.tar"), to).await
        };
        let entry = cache.entry("root", key, progress, build).await?;
        Ok(Self { entry })
    }

    /// The tree. It is shared: copy it, never write to it.
    #[must_use]
    pub fn tree(&self) -> PathBuf {
        self.entry.path().join("tree")
    }

    /// The kernel, as QEMU boots it. ext4, NVMe and the serial console are built into it, so there is no initrd.
    #[must_use]
    pub fn kernel(&self) -> PathBuf {
        self.entry.path().join("vmlinuz")
    }
}

fn mirror() -> String {
    std::env::var("EYEWALL_MIRROR").unwrap_or_else(|_| MIRROR.to_owned())
}

fn debian_key(mirror: &str) -> Key {
    let key = Key::new(VERSION).with("suite", SUITE).with("mirror", mirror);
    let key = PACKAGES.iter().fold(key, |key, package| key.with("package", package));
    LEFT_OUT.iter().fold(key, |key, pattern| key.with("left out", pattern))
}

async fn debian(cache: &Cache, progress: &Progress) -> Result<Entry> {
    let mirror = mirror();
    let build = async |to: &Path| {
        progress.say("fetching Debian 13 with mmdebstrap (once; about a minute)");
        let mut command = Command::new("mmdebstrap");
        command.args(["--quiet", "--mode=root", "--variant=minbase"]);
        command.arg(format!("--include={}", PACKAGES.join(",")));
        command.args(LEFT_OUT.iter().map(|pattern| format!("--dpkgopt=path-exclude={pattern}")));
        command.arg(SUITE).arg(to.join("root.tar")).arg(&mirror);
        run(&mut command, Duration::from_secs(15 * 60)).await?;
        Ok(())
    };
    cache.entry("debian", debian_key(&mirror), progress, build).await
}

async fn build(tar: &Path, to: &Path) -> Result<()> {
    let tree = to.join("tree");
    std::fs::create_dir(&tree)?;
    std::fs::set_permissions(&tree, std::fs::Permissions::from_mode(0o755))?;
    let mut unpack = Command::new("tar");
    unpack.args(["--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf"]).arg(tar).arg("-C").arg(&tree);
    run(&mut unpack, Duration::from_secs(300)).await?;
    std::fs::copy(kernel_in(&tree.join("boot"))?, to.join("vmlinuz"))?;

    for (path, content) in FILES {
        write(&tree.join(path), content)?;
    }
    for path in DIRECTORIES {
        std::fs::create_dir_all(tree.join(path))?;
    }
    for unit in MASKED {
        mask(&tree, unit)?;
    }
    for unit in DISABLED {
        std::fs::remove_file(tree.join("etc/systemd/system").join(unit))
            .with_context(|| format!("{unit} is not enabled any more"))?;
    }
    enable(&tree, "systemd-networkd.service", "multi-user.target.wants")?;
    for kind in ["rsa", "ecdsa"] {
        for suffix in ["", ".pub"] {
            std::fs::remove_file(tree.join(format!("etc/ssh/ssh_host_{kind}_key{suffix}")))?;
        }
    }
    selinux::install_module(&tree).await?;
    selinux::label(&tree).await
}

fn kernel_in(boot: &Path) -> Result<PathBuf> {
    for file in std::fs::read_dir(boot)? {
        let path = file?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-")) {
            return Ok(path);
        }
    }
    bail!("no kernel in {}", boot.display())
}

/// Writes a file of root's, 0644, with the directories above it.
pub(crate) fn write(path: &Path, content: &str) -> Result<()> {
    let parent = path.parent().context("a file has a directory")?;
    std::fs::create_dir_all(parent)?;
    std::fs::write(path, content).with_context(|| format!("{} cannot be written", path.display()))
}

fn mask(tree: &Path, unit: &str) -> Result<()> {
    link(Path::new("/dev/null"), &tree.join("etc/systemd/system").join(unit))
}

fn enable(tree: &Path, unit: &str, wants: &str) -> Result<()> {
    let link_path = tree.join("etc/systemd/system").join(wants).join(unit);
    link(&Path::new("/usr/lib/systemd/system").join(unit), &link_path)
}

fn link(target: &Path, path: &Path) -> Result<()> {
    let parent = path.parent().context("a link has a directory")?;
    std::fs::create_dir_all(parent)?;
    if path.symlink_metadata().is_ok() {
        std::fs::remove_file(path)?;
    }
    symlink(target, path).with_context(|| format!("{} cannot be made", path.display()))
}
