//! What the cluster sees of a kubelet: its Node, its Lease, and a long connection.

use std::time::{Duration, SystemTime};

use anyhow::{Result, bail};
use hyper::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::flags::Flags;
use super::session::{Line, Session};
use super::{Never, say};
use crate::client::Reply;

/// The real one writes its status every 10 s to 5 min and its Lease every 10 s.
const STATUS: Duration = Duration::from_secs(5);
const LEASE: Duration = Duration::from_secs(2);
const JSON: &str = "application/json";
/// A file with the addresses that this node has, so that a test can change them.
const ADDRESSES: &str = "KUBELET_STANDIN_ADDRESSES";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

/// Registers the Node, and keeps it Ready.
pub(super) async fn keep_node(session: &Session, node: &str, flags: &Flags) -> Result<Never> {
    let mut line = Line::new(session, "node");
    loop {
        let result = report_ready(&mut line, node, flags).await;
        line.rest(result, STATUS).await;
    }
}

async fn report_ready(line: &mut Line<'_>, node: &str, flags: &Flags) -> Result<()> {
    let now = rfc3339(now());
    let status = json!({"status": {
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "the stand-in is posting ready status",
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        }],
        "addresses": addresses(node, flags),
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "nodeInfo": node_info(),
    }});
    let path = format!("/api/v1/nodes/{node}/status");
    let patch = "application/strategic-merge-patch+json";
    let reply = line.ask(Method::PATCH, &path, patch, Some(&status)).await?;
    if reply.status != StatusCode::NOT_FOUND {
        return fine(&reply, "posting the node's status");
    }
    let reply = line.ask(Method::POST, "/api/v1/nodes", JSON, Some(&registration(node, flags))).await?;
    fine(&reply, "registering the node")?;
    say(&format!("successfully registered node {node}"));
    fine(&line.ask(Method::PATCH, &path, patch, Some(&status)).await?, "posting the node's status")
}

/// The node's addresses: those of the file that [`ADDRESSES`] names, a kind and an address a line, else those that a kubelet finds
/// where there is no cloud: `--node-ip`, or the address of the default route, and the name.
fn addresses(node: &str, flags: &Flags) -> Value {
    let told = std::env::var_os(ADDRESSES).and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
    let mut found: Vec<(String, String)> = told
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(kind, address)| (kind.to_owned(), address.trim().to_owned()))
        .collect();
    if found.is_empty() {
        let own = flags.node_ip.or_else(default_route).map(|ip| ("InternalIP".to_owned(), ip.to_string()));
        found.extend(own);
        found.push(("Hostname".to_owned(), node.to_owned()));
    }
    found.into_iter().map(|(kind, address)| json!({"type": kind, "address": address})).collect()
}

/// The address from which a packet into the world would be sent; none is sent.
fn default_route() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("198.51.100.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback())
}

fn registration(node: &str, flags: &Flags) -> Value {
    let mut labels: Map<String, Value> =
        [("kubernetes.io/hostname", node), ("kubernetes.io/os", "linux"), ("kubernetes.io/arch", "amd64")]
            .into_iter()
            .chain(flags.labels())
            .map(|(key, value)| (key.to_owned(), Value::from(value.trim_matches('"'))))
            .collect();
    labels.retain(|key, _| !key.is_empty());
    let taints: Vec<Value> =
        flags.taints().map(|(key, value, effect)| json!({"key": key, "value": value, "effect": effect})).collect();
    let mut spec = Map::new();
    if !taints.is_empty() {
        spec.insert("taints".to_owned(), Value::Array(taints));
    }
    if let Some(provider) = &flags.provider_id {
        spec.insert("providerID".to_owned(), Value::from(provider.clone()));
    }
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "labels": labels}, "spec": spec})
}

fn node_info() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    json!({
        "machineID": read("/etc/machine-id"), "bootID": read("/proc/sys/kernel/random/boot_id"),
        "kernelVersion": read("/proc/sys/kernel/osrelease"), "kubeletVersion": "v1.36.1", "operatingSystem": "linux",
    })
}

/// Creates the Lease, and renews it.
pub(super) async fn keep_lease(session: &Session, node: &str) -> Result<Never> {
    let mut line = Line::new(session, "lease");
    let mut held: Option<Value> = None;
    loop {
        let result = renew(&mut line, node, &mut held).await;
        line.rest(result, LEASE).await;
    }
}

async fn renew(line: &mut Line<'_>, node: &str, held: &mut Option<Value>) -> Result<()> {
    let own = format!("{LEASES}/{node}");
    let renewed = micro_time(now());
    let mut lease = match held.take() {
        Some(lease) => lease,
        None => {
            let reply = line.ask(Method::GET, &own, "", None).await?;
            if reply.status == StatusCode::NOT_FOUND {
                let lease = json!({
                    "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": {"name": node, "namespace": "kube-node-lease"},
                    "spec": {"holderIdentity": node, "leaseDurationSeconds": 40, "renewTime": renewed},
                });
                let reply = line.ask(Method::POST, LEASES, JSON, Some(&lease)).await?;
                fine(&reply, "creating the lease")?;
                *held = Some(reply.json());
                return Ok(());
            }
            fine(&reply, "reading the lease")?;
            reply.json()
        }
    };
    lease["spec"]["renewTime"] = Value::from(renewed);
    let reply = line.ask(Method::PUT, &own, JSON, Some(&lease)).await?;
    fine(&reply, "renewing the lease")?;
    *held = Some(reply.json());
    Ok(())
}

/// Holds one long connection, a watch on the own Node, and tells when and why it is cut.
pub(super) async fn keep_watch(session: &Session, node: &str) -> Result<Never> {
    let mut line = Line::new(session, "watch");
    loop {
        let result = hold(&mut line, node).await;
        line.rest(result, Duration::from_millis(200)).await;
    }
}

async fn hold(line: &mut Line<'_>, node: &str) -> Result<()> {
    let reply = line.ask(Method::GET, &format!("/api/v1/nodes/{node}"), "", None).await?;
    if reply.status == StatusCode::NOT_FOUND {
        // Not registered yet; nothing to tell.
        return Ok(());
    }
    fine(&reply, "reading the node")?;
    let node_now = reply.json();
    let version = node_now["metadata"]["resourceVersion"].as_str().unwrap_or("0");
    let path = format!(
        "/api/v1/nodes?fieldSelector=metadata.name%3D{node}&watch=true&resourceVersion={version}\
         &allowWatchBookmarks=true&timeoutSeconds=300"
    );
    let (client, mut cuts) = line.hand_over()?;
    let mut watch = client.watch(&path).await?;
    say("watch opened");
    loop {
        tokio::select! {
            next = watch.next() => match next {
                Ok(Some(event)) if event["type"] == "ERROR" => {
                    say(&format!("watch ended: the server says {}", event["object"]["message"]));
                    return Ok(());
                }
                Ok(Some(_)) => {}
                Ok(None) => {
                    say("watch ended: in order, by the server");
                    return Ok(());
                }
                Err(error) => {
                    say(&format!("watch cut: {error:#}"));
                    return Ok(());
                }
            },
            _ = cuts.changed() => {
                say("watch cut: by this side, the certificate changed");
                return Ok(());
            }
        }
    }
}

fn fine(reply: &Reply, doing: &str) -> Result<()> {
    if reply.status.is_success() {
        return Ok(());
    }
    bail!("{doing}: {} {}", reply.status, reply.json()["message"])
}

/// Leases have microseconds, always six digits.
fn micro_time(time: SystemTime) -> String {
    let micros = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_micros());
    let stamp = jiff::Timestamp::from_microsecond(i64::try_from(micros).unwrap_or(0)).unwrap_or_default();
    stamp.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

fn rfc3339(time: SystemTime) -> String {
    eyewall_core::time::Time(time).to_string()
}

#[expect(clippy::disallowed_methods, reason = "the one place where this stand-in reads the clock")]
fn now() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn a_node_registers_with_what_its_flags_say() {
        let line = "kubelet --node-labels=node.kubernetes.io/controller=\"true\" --node-labels= --provider-id=p \
                    --register-with-taints=node-role.kubernetes.io/controller=:NoSchedule";
        let flags = Flags::try_parse_from(line.split_whitespace()).unwrap();
        let node = registration("a", &flags);
        assert_eq!(node["metadata"]["labels"]["node.kubernetes.io/controller"], "true");
        assert_eq!(node["metadata"]["labels"]["kubernetes.io/hostname"], "a");
        let taint = json!({"key": "node-role.kubernetes.io/controller", "value": "", "effect": "NoSchedule"});
        assert_eq!(node["spec"], json!({"taints": [taint], "providerID": "p"}));
    }

    #[test]
    fn micro_times_have_six_digits() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_486_508_050);
        assert_eq!(micro_time(time), "2026-11-24T02:15:08.050000Z");
    }
}
