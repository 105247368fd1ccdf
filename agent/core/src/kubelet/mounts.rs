//! What of the host the kubelet's container sees: Typhoon's mounts, and what a configuration moved out of them.

use std::fmt;
use std::path::{Path, PathBuf};

use super::Host;
use crate::config::{Config, Owner};
use crate::os::Selinux;

/// One `--volume`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    host: PathBuf,
    container: PathBuf,
    options: Vec<&'static str>,
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host.display(), self.container.display())?;
        for (index, option) in self.options.iter().enumerate() {
            f.write_str(if index == 0 { ":" } else { "," })?;
            f.write_str(option)?;
        }
        Ok(())
    }
}

/// A line of Typhoon's list.
#[derive(Clone, Copy)]
struct Line {
    host: &'static str,
    /// Where it is another path in the container.
    container: Option<&'static str>,
    option: Option<&'static str>,
    /// Shared with other containers, so it is relabelled for all of them (`z`) where SELinux counts.
    relabel: bool,
    /// Only where SELinux counts.
    selinux: bool,
}

const fn line(host: &'static str, option: Option<&'static str>) -> Line {
    Line { host, container: None, option, relabel: false, selinux: false }
}

const fn relabelled(host: &'static str, option: Option<&'static str>) -> Line {
    Line { relabel: true, ..line(host, option) }
}

const fn of_selinux(line: Line) -> Line {
    Line { selinux: true, ..line }
}

/// Typhoon's list, in its order (`fedora-coreos/kubernetes/workers/butane/worker.yaml`; the `flatcar-linux` one is
/// the same without what is `of_selinux` and without labels). `/var/lib/kubelet` alone is shared in both directions,
/// because pods' volumes are mounted there; `/run` has the sockets of containerd and D-Bus.
const TYPHOON: [Line; 14] = [
    relabelled("/etc/cni/net.d", Some("ro")),
    relabelled("/etc/kubernetes", Some("ro")),
    line("/etc/machine-id", Some("ro")),
    Line { container: Some("/etc/os-release"), ..line("/usr/lib/os-release", Some("ro")) },
    line("/lib/modules", Some("ro")),
    line("/run", None),
    line("/sys/fs/cgroup", None),
    of_selinux(line("/etc/selinux", None)),
    of_selinux(line("/sys/fs/selinux", None)),
    line("/var/lib/containerd", None),
    relabelled("/var/lib/kubelet", Some("rshared")),
    line("/var/log", None),
    of_selinux(relabelled("/var/run/lock", None)),
    relabelled("/opt/cni/bin", None),
];

/// The mounts, in the order in which they are passed.
pub(super) fn mounts(config: &Config, host: &Host) -> Vec<Mount> {
    let selinux = match host.os.selinux {
        Selinux::Enforcing => true,
        Selinux::Permissive => false,
        Selinux::AsFound => host.selinux,
    };
    let label = |relabel: bool| (relabel && selinux).then_some("z");
    let mut mounts: Vec<Mount> = TYPHOON
        .iter()
        .filter(|line| selinux || !line.selinux)
        .map(|line| Mount {
            host: line.host.into(),
            container: line.container.unwrap_or(line.host).into(),
            options: line.option.into_iter().chain(label(line.relabel)).collect(),
        })
        .collect();
    // The kubelet must see the files it is told to use, wherever a configuration puts them. By default they are all in the list.
    let c = config;
    let kubelet_writes = c.certificates.owner == Owner::Kubelet;
    let needed = [
        (c.kubelet.config.parent(), false),
        (c.certificates.kubeconfig.parent(), kubelet_writes),
        // Its self-signed serving pair is there too.
        (Some(c.certificates.directory.as_path()), true),
        (c.cluster.bootstrap_kubeconfig.parent().filter(|_| kubelet_writes), false),
    ];
    for (directory, writable) in needed {
        let Some(directory) = directory else { continue };
        if mounts.iter().any(|mount| is_seen(mount, directory)) {
            continue;
        }
        let access = (!writable).then_some("ro");
        mounts.push(Mount {
            host: directory.to_owned(),
            container: directory.to_owned(),
            options: access.into_iter().chain(label(true)).collect(),
        });
    }
    mounts
}

fn is_seen(mount: &Mount, directory: &Path) -> bool {
    mount.host == mount.container && directory.starts_with(&mount.host)
}
