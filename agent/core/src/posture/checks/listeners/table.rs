//! What listens on a Typhoon node: the ports that its cloud firewalls open (typhoon `security/network.tf`), and what the OS has beside them.

use super::Owned;
use crate::config::Role;
use crate::posture::read::cgroup::Owner;
use crate::posture::read::sock_diag::Protocol;
use crate::posture::units::Units;

/// How a listener fits the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// By port and owner.
    Yes,
    /// By port; its owner is not known.
    ByPortAlone,
    /// A UDP socket on a port of the passing kind: a client waiting for its answer.
    Passing,
    /// Not in the table.
    No,
}

/// Who may listen on a port.
#[derive(Clone, Copy, Debug)]
enum By {
    /// One of these units.
    Units(&'static [&'static str]),
    /// sshd.
    Sshd,
    /// The kubelet in its container, or in its unit.
    Kubelet,
    /// etcd in its container, or in its unit.
    Etcd,
    /// A pod with the host's network.
    Pod,
    /// Anybody: the kernel's own tunnels are in the control group of whoever made them.
    Anybody,
}

struct Expected {
    protocol: Option<Protocol>,
    ports: &'static [u16],
    by: By,
    /// `None`: on both roles.
    role: Option<Role>,
}

/// The kernel's default for ports that are handed out to clients begins here (`ip_local_port_range`).
const PASSING: u16 = 32_768;

/// Pods with the host's network, on every node: node-exporter, kube-proxy, Cilium's health, agent, operator, Envoy and Hubble metrics.
const ON_BOTH: &[u16] = &[4240, 9100, 9962, 9963, 9964, 9965, 10_249, 10_256];
/// The ingress controller's, on workers.
const ON_WORKERS: &[u16] = &[80, 443, 10_254];
/// The control plane's, on controllers.
const ON_CONTROLLERS: &[u16] = &[6443, 10_257, 10_259];

const TABLE: &[Expected] = &[
    Expected { protocol: Some(Protocol::Tcp), ports: &[22], by: By::Sshd, role: None },
    Expected { protocol: Some(Protocol::Tcp), ports: &[10_250], by: By::Kubelet, role: None },
    Expected { protocol: Some(Protocol::Tcp), ports: ON_BOTH, by: By::Pod, role: None },
    Expected { protocol: Some(Protocol::Tcp), ports: ON_WORKERS, by: By::Pod, role: Some(Role::Worker) },
    Expected { protocol: Some(Protocol::Tcp), ports: ON_CONTROLLERS, by: By::Pod, role: Some(Role::Controller) },
    Expected { protocol: Some(Protocol::Tcp), ports: &[2379, 2380, 2381], by: By::Etcd, role: Some(Role::Controller) },
    // VXLAN.
    Expected { protocol: Some(Protocol::Udp), ports: &[8472], by: By::Anybody, role: None },
    // DHCP.
    Expected {
        protocol: Some(Protocol::Udp),
        ports: &[68, 546],
        by: By::Units(&["systemd-networkd.service", "NetworkManager.service"]),
        role: None,
    },
    // Typhoon's kubelet.service wants rpc-statd.service, and that wants rpcbind. On bare metal they face the network.
    Expected { protocol: None, ports: &[111], by: By::Units(&["rpcbind.service", "rpcbind.socket"]), role: None },
    // Names of neighbours.
    Expected { protocol: None, ports: &[5353, 5355], by: By::Units(&["systemd-resolved.service"]), role: None },
];

/// Whose ports are not fixed.
const ANY_PORT: &[&str] = &["rpc-statd.service", "rpcbind.service"];

/// Does this listener fit?
pub(super) fn is_expected(owned: &Owned<'_>, role: Role) -> Match {
    let socket = owned.socket;
    let fits = |expected: &&Expected| {
        expected.protocol.is_none_or(|protocol| protocol == socket.protocol)
            && expected.ports.contains(&socket.port)
            && expected.role.is_none_or(|only| only == role)
    };
    let by_port: Vec<&Expected> = TABLE.iter().filter(fits).collect();
    if by_port.iter().any(|expected| owns(owned, expected.by))
        || owned.unit_name().is_some_and(|unit| ANY_PORT.contains(&unit))
    {
        Match::Yes
    } else if owned.owner.is_none() && !by_port.is_empty() {
        Match::ByPortAlone
    } else if socket.protocol == Protocol::Udp && socket.port >= PASSING {
        Match::Passing
    } else {
        Match::No
    }
}

fn owns(owned: &Owned<'_>, by: By) -> bool {
    let unit = owned.unit_name().unwrap_or_default();
    let in_container = |service: &str| unit == service || matches!(&owned.owner, Some(Owner::Container { .. }));
    match by {
        By::Units(units) => units.contains(&unit),
        By::Sshd => sshd_unit(unit),
        By::Kubelet => in_container("kubelet.service"),
        By::Etcd => in_container("etcd-member.service"),
        By::Pod => matches!(&owned.owner, Some(Owner::Pod { .. })),
        By::Anybody => owned.owner.is_some(),
    }
}

/// `sshd.service`, `sshd@….service`, `sshd.socket`; Debian's are called `ssh`.
fn sshd_unit(unit: &str) -> bool {
    let name = unit.split(['@', '.']).next().unwrap_or_default();
    matches!(name, "sshd" | "ssh")
}

/// Is the unit sshd's, by its name or by what it runs?
pub(super) fn is_sshd(units: &Units, unit: &str) -> bool {
    let base = unit.split(['@', '.']).next().unwrap_or_default();
    let of_service = |name: &str| units.get(name).is_some_and(|unit| unit.runs("sshd"));
    sshd_unit(unit)
        || of_service(unit)
        || of_service(&format!("{base}.service"))
        || of_service(&format!("{base}@.service"))
}

/// May a pod take this port of the host?
pub(super) fn is_pods(port: u16, role: Role) -> bool {
    let of_role = match role {
        Role::Worker => ON_WORKERS,
        Role::Controller => ON_CONTROLLERS,
    };
    ON_BOTH.contains(&port) || of_role.contains(&port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::posture::read::sock_diag::SocketView;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn listeners_fit_by_port_owner_and_role() {
        use Match::{ByPortAlone, No, Passing, Yes};
        use Protocol::{Tcp, Udp};
        let pod = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1f2e3d4c_0000_4000_8000_0123456789ab.slice/cri-containerd-x.scope";
        let podman = format!("/machine.slice/libpod-{ID}.scope/container");
        for (protocol, port, cgroup, unit, role, want) in [
            (Tcp, 22, Some("/system.slice/sshd.service"), None, Role::Worker, Yes),
            (Tcp, 22, Some("/init.scope"), Some("sshd.socket"), Role::Worker, Yes),
            (Tcp, 22, Some("/init.scope"), None, Role::Worker, No),
            (Tcp, 22, Some(pod), None, Role::Worker, No),
            (Tcp, 22, None, None, Role::Worker, ByPortAlone),
            (Tcp, 2222, Some("/system.slice/sshd.service"), None, Role::Worker, No),
            (Tcp, 2222, None, None, Role::Worker, No),
            (Tcp, 10_250, Some(podman.as_str()), None, Role::Worker, Yes),
            (Tcp, 10_250, Some("/system.slice/kubelet.service"), None, Role::Worker, Yes),
            (Tcp, 10_250, Some("/system.slice/evil.service"), None, Role::Worker, No),
            (Tcp, 80, Some(pod), None, Role::Worker, Yes),
            (Tcp, 80, Some(pod), None, Role::Controller, No),
            (Tcp, 80, Some("/system.slice/nginx.service"), None, Role::Worker, No),
            (Tcp, 6443, Some(pod), None, Role::Controller, Yes),
            (Tcp, 6443, Some(pod), None, Role::Worker, No),
            (Tcp, 2379, Some("/system.slice/etcd-member.service"), None, Role::Controller, Yes),
            (Tcp, 2379, Some(podman.as_str()), None, Role::Worker, No),
            (Udp, 8472, Some("/"), None, Role::Worker, Yes),
            (Tcp, 8472, Some("/"), None, Role::Worker, No),
            (Udp, 68, Some("/system.slice/systemd-networkd.service"), None, Role::Worker, Yes),
            (Udp, 111, Some("/init.scope"), Some("rpcbind.socket"), Role::Worker, Yes),
            (Tcp, 39_333, Some("/system.slice/rpc-statd.service"), None, Role::Worker, Yes),
            (Udp, 39_333, Some("/system.slice/chronyd.service"), None, Role::Worker, Passing),
            (Tcp, 39_333, Some("/system.slice/chronyd.service"), None, Role::Worker, No),
            (Tcp, 9090, Some("/system.slice/cockpit.service"), None, Role::Worker, No),
        ] {
            let socket = SocketView {
                protocol,
                address: std::net::IpAddr::from([0, 0, 0, 0]),
                port,
                uid: 0,
                cgroup: cgroup.map(str::to_owned),
            };
            let owned = Owned { socket: &socket, owner: cgroup.map(Owner::of), unit: unit.map(str::to_owned) };
            assert_eq!(is_expected(&owned, role), want, "{port}/{protocol:?} {cgroup:?} {unit:?} {role:?}");
        }
    }

    #[test]
    fn sshd_is_known_by_name_or_program() {
        let units: Units = serde_json::from_value(serde_json::json!({"units": [
            {"name": "backdoor.service", "load": "loaded", "active": "active", "sub": "running", "file_state": "", "commands": [["/usr/sbin/sshd", "-p", "2222"]]},
            {"name": "x@.service", "load": "loaded", "active": "active", "sub": "running", "file_state": "", "commands": [["/usr/sbin/sshd", "-i"]]},
        ]}))
        .expect("units");
        for (unit, want) in [
            ("sshd.service", true),
            ("sshd@1-10.0.0.1:22-10.0.0.2:5.service", true),
            ("sshd.socket", true),
            ("ssh.service", true),
            ("backdoor.service", true),
            ("x.socket", true),
            ("sshguard.service", false),
            ("nginx.service", false),
        ] {
            assert_eq!(is_sshd(&units, unit), want, "{unit}");
        }
    }
}
