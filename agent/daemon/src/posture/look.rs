//! One look at one source, whatever it is. What several sources share (the bus, a connection to the API server) is opened once for a
//! round of looks and closed after it.

use std::net::SocketAddr;
use std::time::SystemTime;

use eyewall_core::hostname::NodeName;
use eyewall_core::posture::{Capture, Source};
use eyewall_core::time::Time;

use super::capture::{self, Paths};
use super::cluster::{AsNode, away};
use super::probes::{self, Identity};
use super::units::{Bus, UnitFault};
use super::{docker, host, sandbox, selinux};
use crate::api::Bearer;
use crate::bootstrap::{self, Joined};
use crate::store::{Found, Store};

/// Where things are that a test puts elsewhere.
#[derive(Clone, Debug)]
pub struct Places {
    /// The metadata service, [`metadata::ADDRESS`](eyewall_core::posture::read::metadata::ADDRESS).
    pub metadata: SocketAddr,
    /// The kubelet's port.
    pub kubelet: SocketAddr,
    /// etcd's client and peer port.
    pub etcd: [SocketAddr; 2],
}

impl Default for Places {
    fn default() -> Self {
        Self {
            metadata: SocketAddr::from(([169, 254, 169, 254], 80)),
            kubelet: probes::local(10_250),
            etcd: [probes::local(2_379), probes::local(2_380)],
        }
    }
}

/// A round of looks.
#[derive(Debug)]
pub struct Round<'a> {
    /// The host.
    pub paths: &'a Paths,
    /// What a test puts elsewhere.
    pub places: &'a Places,
    /// The node's name, if it has one.
    pub node: Option<&'a NodeName>,
    /// When it booted, by `/proc/stat`.
    pub booted_at: Time,
    /// The present.
    pub now: SystemTime,
    /// This process is the daemon; otherwise the daemon is looked for.
    is_daemon: bool,
    bus: Option<Result<Bus, UnitFault>>,
    as_node: Option<Result<AsNode, Capture>>,
}

impl<'a> Round<'a> {
    /// Begins.
    pub fn new(paths: &'a Paths, places: &'a Places, node: Option<&'a NodeName>, now: SystemTime) -> Self {
        Self { paths, places, node, booted_at: booted_at(paths), now, is_daemon: false, bus: None, as_node: None }
    }

    /// Begins as the daemon.
    pub fn of_daemon(paths: &'a Paths, places: &'a Places, node: Option<&'a NodeName>, now: SystemTime) -> Self {
        Self { is_daemon: true, ..Self::new(paths, places, node, now) }
    }

    /// Looks at `source`: one capture, or one for each member of a family that is there.
    pub async fn look(&mut self, source: &'static Source) -> Vec<(String, Capture)> {
        if capture::is_file(source) {
            return capture::files(self.paths, source);
        }
        vec![(source.id.to_owned(), self.record(source).await)]
    }

    async fn record(&mut self, source: &'static Source) -> Capture {
        match source.id {
            "dbus:agent-unit" => match self.bus().await {
                Ok(bus) => sandbox::unit(&bus).await,
                Err(capture) => capture,
            },
            "dbus:logind-inhibitors" => match self.bus().await {
                Ok(bus) => host::inhibitors(&bus).await,
                Err(capture) => capture,
            },
            "dbus:rpm-ostree-deployments" => match self.bus().await {
                Ok(bus) => host::deployments(&bus).await,
                Err(capture) => capture,
            },
            "dbus:units" => match self.bus().await {
                Ok(bus) => match bus.units().await {
                    Ok(units) => Capture::record(&units),
                    Err(fault) => host::on_bus(&fault),
                },
                Err(capture) => capture,
            },
            "dbus:update-engine" => match self.bus().await {
                Ok(bus) => host::update_engine(&bus).await,
                Err(capture) => capture,
            },
            "http:metadata" => {
                let line = std::fs::read_to_string(self.paths.at("/proc/cmdline")).unwrap_or_default();
                probes::metadata(&line, self.places.metadata).await
            }
            "http:own-node" => match (self.as_node().await, self.node) {
                (Ok(mut client), Some(node)) => {
                    let capture = client.node(node.as_str()).await;
                    self.as_node = Some(Ok(client));
                    capture
                }
                (Err(capture), _) => capture,
                (Ok(_), None) => no_name(),
            },
            "http:own-pods" => match (self.as_node().await, self.node) {
                (Ok(mut client), Some(node)) => {
                    let capture = client.pods(node.as_str()).await;
                    self.as_node = Some(Ok(client));
                    capture
                }
                (Err(capture), _) => capture,
                (Ok(_), None) => no_name(),
            },
            "netlink:sockets" => host::sockets(self.paths),
            "node:kubelet-binary" => host::kubelet_binary(self.paths),
            "node:kubelet-image" => match docker::kubelet_image(self.paths).await {
                Capture::Missing => host::kubelet_image(self.paths),
                found => found,
            },
            "node:selinux-denials" => selinux::denials(self.paths, self.booted_at),
            "node:selinux-permissive-types" => selinux::permissive_types(self.paths),
            "node:selinux-policy-files" => selinux::policy_files(self.paths),
            "probe:apiserver-anonymous" => match self.joined() {
                Ok(joined) => probes::api_server(&joined.bootstrap.server, "/api").await,
                Err(capture) => capture,
            },
            "probe:kubelet-anonymous" => probes::https(self.places.kubelet, "/pods", None).await,
            "probe:kubelet-as-node" => match self.identity() {
                Ok(identity) => probes::https(self.places.kubelet, "/pods", Some(identity)).await,
                Err(capture) => capture,
            },
            "probe:selinuxfs" => selinux::file_system(self.paths),
            "probe:zincati-metrics" => probes::zincati(&self.paths.at("/run/zincati/public/metrics.promsock")).await,
            "proc:agent-mounts" => self.of_agent(source, "mountinfo").await,
            "proc:agent-status" => self.of_agent(source, "status").await,
            "proc:contexts" => selinux::contexts(self.paths),
            "proc:kubelet-argv" => host::kubelet_argv(self.paths),
            "proc:pod-contexts" => selinux::pod_contexts(self.paths),
            "tls:etcd-client" => probes::stranger(self.places.etcd[0]).await,
            "tls:etcd-peer" => probes::stranger(self.places.etcd[1]).await,
            _ => Capture::failed("no-way-to-look", "This version of the agent does not know how to look there."),
        }
    }

    /// The system bus, connected once a round.
    ///
    /// # Errors
    /// Why there is none, as evidence.
    pub async fn bus(&mut self) -> Result<Bus, Capture> {
        if self.bus.is_none() {
            self.bus = Some(Bus::connect().await);
        }
        match &self.bus {
            Some(Ok(bus)) => Ok(bus.clone()),
            Some(Err(fault)) => Err(host::on_bus(fault)),
            None => Err(Capture::failed("no-system-bus", "There is no bus.")),
        }
    }

    async fn of_agent(&mut self, source: &Source, file: &str) -> Capture {
        if self.is_daemon {
            return sandbox::process(source, self.paths, file, None).await;
        }
        match self.bus().await {
            Ok(bus) => sandbox::process(source, self.paths, file, Some(&bus)).await,
            Err(capture) => capture,
        }
    }

    fn joined(&self) -> Result<Joined, Capture> {
        bootstrap::read_bootstrap(&self.paths.at(&self.paths.config.cluster.bootstrap_kubeconfig.display().to_string()))
            .map_err(|reason| Capture::failed(&reason.kind, &reason.message))
    }

    fn pem(&self) -> Result<eyewall_core::secret::Secret, Capture> {
        match Store::new(&self.paths.config.certificates).read_current() {
            Found::Text { text, .. } => Ok(text),
            Found::Missing => Err(Capture::failed("no-certificate", "The kubelet has no certificate yet.")),
            Found::Unreadable(reason) => Err(Capture::failed(&reason.kind, &reason.message)),
        }
    }

    fn identity(&self) -> Result<Identity, Capture> {
        let pem = self.pem()?;
        match Bearer::from_pem(pem.expose(), pem.expose()) {
            Ok(Bearer::Certificate(chain, key)) => Ok((chain, key)),
            _ => Err(Capture::failed("no-certificate", "The kubelet's certificate cannot be used.")),
        }
    }

    /// Taken out, and put back by whoever used it.
    async fn as_node(&mut self) -> Result<AsNode, Capture> {
        match self.as_node.take() {
            Some(Ok(client)) => return Ok(client),
            Some(Err(capture)) => {
                self.as_node = Some(Err(capture.clone()));
                return Err(capture);
            }
            None => {}
        }
        let connected = match (self.joined(), self.pem()) {
            (Ok(joined), Ok(pem)) => {
                AsNode::connect(&joined, pem.expose(), self.now).await.map_err(|error| away(&error))
            }
            (Err(capture), _) | (_, Err(capture)) => Err(capture),
        };
        if let Err(capture) = &connected {
            self.as_node = Some(Err(capture.clone()));
        }
        connected
    }
}

fn no_name() -> Capture {
    Capture::failed("no-node-name", "The node has no name yet.")
}

/// `btime` of `/proc/stat`; the epoch where that cannot be read.
fn booted_at(paths: &Paths) -> Time {
    let stat = std::fs::read_to_string(paths.at("/proc/stat")).unwrap_or_default();
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "));
    Time::from_unix(line.and_then(|seconds| seconds.trim().parse().ok()).unwrap_or(0))
}
