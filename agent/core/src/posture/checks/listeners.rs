//! "Cloud firewalls limit access": the rule is outside of the machine, so what is judged is what would be behind it: every socket that listens beyond
//! the loopback, by its owner, against what a node of this role has.

mod table;

use super::kubelet::PODS;
use crate::config::Role;
use crate::posture::claim::FIREWALLS;
use crate::posture::read::cgroup::Owner;
use crate::posture::read::cluster::{PodView, Pods};
use crate::posture::read::sock_diag::{Protocol, SocketView, Sockets};
use crate::posture::units::{self, UNITS, Units};
use crate::posture::{
    Accepts, Check, Grade, Judged, Seen, Severity, Source, Unseen, Worth, also, needs, nothing_promised,
};

use table::{Match, is_sshd};

/// [`Sockets`]: listening TCP sockets and bound UDP sockets of the host's own network, from the kernel.
pub const SOCKETS: Source = Source::record("netlink:sockets");

const BASE: Check = Check {
    id: "",
    title: "",
    claim: &FIREWALLS,
    severity: Severity::Medium,
    reads: &[needs(&SOCKETS), needs(&UNITS), also(&PODS)],
    judge: expected,
    worth: Worth::Reports(""),
    not: "",
    cis: &[],
    expects: Accepts::Nothing,
    promised: nothing_promised,
};

/// The family.
pub const CHECKS: &[Check] = &[
    Check {
        id: "listeners-expected",
        title: "Nothing listens beyond the loopback but what a node of this role has",
        worth: Worth::Reports(
            "Every listener that the kernel names is one that a Typhoon node of this role has, by port and by owner.",
        ),
        not: "The firewall's rules. A port that is forwarded by address translation (a pod's hostPort, a DNAT on port 22) has no listener and is not seen here.",
        expects: Accepts::Names("listeners that may be there, like 9100/tcp"),
        ..BASE
    },
    Check {
        id: "control-plane-ports",
        title: "A worker has no port of etcd or of the API server",
        severity: Severity::High,
        reads: &[needs(&SOCKETS)],
        judge: control_plane,
        worth: Worth::Proves("Nothing on this worker listens on 2379, 2380, 2381 or 6443."),
        not: "What listens in another network namespace.",
        ..BASE
    },
    Check {
        id: "ssh-port",
        title: "sshd listens on port 22 and on no other",
        severity: Severity::High,
        reads: &[needs(&SOCKETS), needs(&UNITS)],
        judge: ssh,
        worth: Worth::Proves("Every listener of sshd's units is on port 22."),
        not: "That what answers on port 22 is this sshd: a DNAT is invisible here, and the SSH claim's checks compare the host key.",
        ..BASE
    },
    Check {
        id: "pod-host-ports",
        title: "No pod takes a port of the host that a node of this role does not give",
        reads: &[needs(&PODS)],
        judge: host_ports,
        worth: Worth::Reports("The pods that the API server has on this node ask for no other host port."),
        not: "What a pod with the host's network opens without asking: see listeners-expected.",
        expects: Accepts::Names("host ports that pods may have, like 9100/tcp"),
        ..BASE
    },
];

/// Sockets with their owners. A socket of a `.socket` unit is made by PID 1, so its owner is found by the port.
struct Owned<'s> {
    socket: &'s SocketView,
    owner: Option<Owner>,
    /// The `.socket` unit that listens here, for one that PID 1 holds.
    unit: Option<String>,
}

fn owned<'s>(sockets: &'s [SocketView], units: &Units) -> Vec<Owned<'s>> {
    let listens = |socket: &SocketView| {
        let kind = match socket.protocol {
            Protocol::Tcp => "Stream ",
            Protocol::Udp => "Datagram ",
        };
        let port = format!(":{}", socket.port);
        let here = |address: &String| {
            address
                .strip_prefix(kind)
                .is_some_and(|at| !at.starts_with(['/', '@']) && (at.ends_with(&port) || at == &port[1..]))
        };
        units.units.iter().find(|unit| unit.is_up() && unit.listens.iter().any(here)).map(|unit| unit.name.clone())
    };
    sockets
        .iter()
        .map(|socket| {
            let owner = socket.cgroup.as_deref().map(Owner::of);
            let unit = if owner == Some(Owner::Init) { listens(socket) } else { None };
            Owned { socket, owner, unit }
        })
        .collect()
}

impl Owned<'_> {
    /// The unit, service or socket, that it belongs to.
    fn unit_name(&self) -> Option<&str> {
        match &self.owner {
            Some(Owner::Unit(unit)) => Some(unit),
            _ => self.unit.as_deref(),
        }
    }

    /// For people: `22/tcp on 0.0.0.0 by sshd.service`. A pod is named if the API server named it.
    fn shown(&self, pods: &[PodView]) -> String {
        let owner = match &self.owner {
            None => "an unknown owner".to_owned(),
            Some(Owner::Pod { uid, .. }) => {
                let pod = pods.iter().find(|pod| pod.uid == *uid);
                pod.map_or_else(|| format!("pod {uid}"), |pod| format!("pod {}", pod.path()))
            }
            Some(owner) => self.unit.clone().unwrap_or_else(|| owner.name()),
        };
        format!("{} on {} by {owner}", self.socket.port_name(), self.socket.address)
    }
}

fn sockets(seen: &Seen<'_>) -> Result<Vec<SocketView>, Unseen> {
    let item = seen.one(&SOCKETS)?;
    let Sockets { sockets } = item.record()?;
    // A list without the one port that every node has is not a list of a node's sockets.
    if sockets.iter().any(|socket| socket.protocol == Protocol::Tcp) {
        Ok(sockets)
    } else {
        Err(item.malformed("There is no TCP listener in it at all."))
    }
}

fn expected(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let (sockets, units) = (sockets(seen)?, units::loaded(seen)?);
    // Only for their names.
    let pods = seen.record::<Pods>(&PODS).unwrap_or_default().pods;
    let allowed: Vec<&str> = seen.allowed().collect();
    let (mut strange, mut unowned, mut passing, mut counted) = (Vec::new(), 0_usize, 0_usize, 0_usize);
    for owned in owned(&sockets, &units) {
        if owned.socket.is_loopback() {
            continue;
        }
        counted += 1;
        if allowed.contains(&owned.socket.port_name().as_str()) {
            continue;
        }
        match table::is_expected(&owned, seen.expect.role) {
            Match::Yes => {}
            Match::Passing => passing += 1,
            Match::ByPortAlone => unowned += 1,
            Match::No => strange.push(owned.shown(&pods)),
        }
    }
    let judged = if strange.is_empty() {
        let grade = if unowned == 0 {
            Grade::ProvedByBehaviour
        } else {
            Grade::HoldsOnlyBecause(format!(
                "{unowned} of the ports are known, but their owners are not (control groups of version 1?)"
            ))
        };
        Judged::pass(grade, "expected", "Every listener is one that a node of this role has.")
    } else {
        Judged::fail(
            "listener",
            "Something listens that a node of this role does not have: stop it, or declare it with [posture] expect.",
        )
    };
    let judged = judged.facts("listener", strange).fact("listeners", counted.to_string());
    Ok(if passing == 0 { judged } else { judged.fact("passing-udp-sockets", passing.to_string()) })
}

/// etcd's ports and the API server's.
const CONTROL_PLANE: [u16; 4] = [2379, 2380, 2381, 6443];

fn control_plane(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    if seen.expect.role == Role::Controller {
        return Ok(Judged::not_applicable("controller", "This is a controller, whose ports they are."));
    }
    let sockets = sockets(seen)?;
    let open: Vec<String> = sockets
        .iter()
        .filter(|socket| {
            socket.protocol == Protocol::Tcp && CONTROL_PLANE.contains(&socket.port) && !socket.is_loopback()
        })
        .map(|socket| {
            format!(
                "{} on {} by {}",
                socket.port_name(),
                socket.address,
                socket.cgroup.as_deref().map_or_else(|| "an unknown owner".to_owned(), |path| Owner::of(path).name())
            )
        })
        .collect();
    Ok(if open.is_empty() {
        Judged::pass(Grade::ProvedByBehaviour, "none", "No port of the control plane is open on this worker.")
    } else {
        Judged::fail(
            "control-plane",
            "A port of etcd or of the API server is open on a worker: nothing of Typhoon's listens there.",
        )
        .facts("listener", open)
    })
}

fn ssh(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let (sockets, units) = (sockets(seen)?, units::loaded(seen)?);
    let (mut elsewhere, mut here) = (Vec::new(), 0_usize);
    for owned in owned(&sockets, &units) {
        if owned.socket.protocol != Protocol::Tcp || !owned.unit_name().is_some_and(|unit| is_sshd(&units, unit)) {
            continue;
        }
        if owned.socket.port == 22 {
            here += 1;
        } else if !owned.socket.is_loopback() {
            elsewhere.push(owned.shown(&[]));
        }
    }
    let unowned = sockets.iter().any(|socket| socket.port == 22 && socket.cgroup.is_none());
    Ok(if !elsewhere.is_empty() {
        Judged::fail("another-port", "sshd listens on another port than 22, past every rule that names that one: take the Port or ListenStream out.").facts("listener", elsewhere)
    } else if here > 0 {
        Judged::pass(Grade::ProvedByBehaviour, "port-22", "sshd listens on port 22 alone.")
    } else if unowned {
        Judged::unknown(
            "unknown-owner",
            "Something listens on port 22, but its control group is not known (control groups of version 1?).",
        )
    } else {
        Judged::unknown("no-sshd", "No unit of sshd's listens at all: how is this host reached?")
    })
}

fn host_ports(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let Pods { pods } = seen.record(&PODS)?;
    let allowed: Vec<&str> = seen.allowed().collect();
    let is_known =
        |port: u16| table::is_pods(port, seen.expect.role) || allowed.contains(&format!("{port}/tcp").as_str());
    let strange: Vec<String> = pods
        .iter()
        .filter(|pod| !pod.is_over() && !pod.mirror)
        .flat_map(|pod| {
            pod.host_ports.iter().filter(|port| !is_known(**port)).map(|port| format!("{port} by {}", pod.path()))
        })
        .collect();
    let ssh = pods.iter().any(|pod| !pod.is_over() && pod.host_ports.contains(&22));
    Ok(if ssh {
        Judged::fail("port-22", "A pod has taken port 22 of this host: who logs in here may be talking to the pod.")
            .raised_to(Severity::Critical)
            .facts("host-port", strange)
    } else if strange.is_empty() {
        Judged::pass(
            Grade::Configured,
            "expected",
            "No pod asks for a host port that a node of this role does not give.",
        )
    } else {
        Judged::fail(
            "host-port",
            "A pod has taken a port of this host: give it a Service, or declare the port with [posture] expect.",
        )
        .facts("host-port", strange)
    })
}
