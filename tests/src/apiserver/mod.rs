//! A stand-in for a Kubernetes API server and its controller-manager: real TLS, real HTTP/1.1, and answers that follow
//! the rules of the real one. `tests/tests/recorded.rs` holds it against the answers of a real 1.36, one by one.
//!
//! It runs on a thread of its own, so a test may block, pause its clock or kill its own runtime.
//!
//! ```no_run
//! # async fn test() -> anyhow::Result<()> {
//! use std::time::Duration;
//! use tests::apiserver::{ApiServer, Options};
//!
//! let api = ApiServer::start(Options::default()).await?;
//! std::fs::write("bootstrap.kubeconfig", api.bootstrap_kubeconfig())?;
//! api.wait_until(Duration::from_secs(5), |seen| seen.csrs().iter().any(|csr| csr.issued())).await?;
//! # Ok(())
//! # }
//! ```

mod admission;
mod authn;
mod authz;
mod body;
mod clock;
mod controllers;
mod csr;
mod faults;
mod kubeconfig;
mod node_authorizer;
mod options;
mod patch;
mod pki;
mod pods;
mod preconditions;
mod random;
mod refusal;
mod requests;
mod resources;
mod rest;
mod reviews;
mod route;
mod server;
mod signer;
mod slots;
mod store;
mod thread;
mod tls;
mod validation;
mod view;
mod watch;
mod world;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

pub use authz::{Rule, Subject, typhoon_kubelet_delete};
pub use clock::rfc3339;
pub use faults::{Fault, FaultAction};
pub use kubeconfig::{CaForm, Credential, Kubeconfig};
pub use options::{ApprovalMode, OnRequest, Options, Signing, Token};
pub use pki::Authority;
pub use requests::RequestRecord;
pub use view::{CsrState, CsrView, View};

use clock::Clock;
use thread::Running;
use world::{Shared, World};

/// A stand-in that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct ApiServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    running: Mutex<Option<Running>>,
}

impl ApiServer {
    /// Starts one; it takes connections when this returns.
    ///
    /// # Errors
    /// When the address is taken, or keys and certificates cannot be made.
    pub async fn start(options: Options) -> Result<Self> {
        let clock = Clock::default();
        clock.set_offset_ms(options.clock_offset_ms);
        let now = clock.now();
        let authority = match &options.authority {
            Some(authority) => Arc::clone(authority),
            None => {
                let from = now.checked_sub(pki::CLUSTER_AGE).unwrap_or(SystemTime::UNIX_EPOCH);
                Arc::new(Authority::new("kubernetes-ca", from, now + options.authority_lifetime)?)
            }
        };
        let world = World {
            store: store::Store::new(),
            tokens: options.tokens.clone(),
            rules: authz::default_rules(),
            signing: options.signing.clone(),
            slots_policy: false,
            faults: Vec::new(),
            requests: requests::RequestLog::default(),
            connections_opened: 0,
            connections_open: 0,
            endings: Vec::new(),
        };
        let listen = options.listen;
        let shared = Arc::new(Shared::new(world, clock, authority, options));
        let (address, running) = Running::begin(&shared, listen)?;
        Ok(Self { shared, address, running: Mutex::new(Some(running)) })
    }

    /// Goes away: the port is closed and every connection cut. What the cluster knows stays.
    pub fn stop(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(running) = running {
            running.end();
        }
    }

    /// Comes back after [`ApiServer::stop`], on the same port and with all it knew, but like an API server that was
    /// started again: with no history for watches.
    ///
    /// # Errors
    /// When the port was taken meanwhile, or it never went away.
    pub fn start_again(&self) -> Result<()> {
        let mut slot = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_some() {
            bail!("the stand-in is running");
        }
        self.shared.change(|world| world.store.restarted());
        let (_, running) = Running::begin(&self.shared, self.address)?;
        *slot = Some(running);
        Ok(())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `https://host:port`, with the host that is told to clients ([`Options::advertise`]).
    pub fn url(&self) -> String {
        let options = &self.shared.options;
        let host = options.advertise.as_ref().or_else(|| options.names.first());
        let host = host.map_or_else(|| self.address.ip().to_string(), Clone::clone);
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        format!("https://{host}:{}", self.address.port())
    }

    /// The cluster's CA.
    pub fn authority(&self) -> Arc<Authority> {
        Arc::clone(&self.shared.authority)
    }

    /// The CA's certificate, PEM.
    pub fn ca_pem(&self) -> &str {
        self.shared.authority.certificate_pem()
    }

    /// The first bootstrap token, `<id>.<secret>`; empty when the cluster was given none.
    pub fn token(&self) -> String {
        self.shared.look(|world| world.tokens.first().map(Token::text).unwrap_or_default())
    }

    /// What a kubeconfig for this cluster says, in Typhoon's shape; change its fields for other shapes.
    pub fn kubeconfig(&self) -> Kubeconfig {
        Kubeconfig::typhoon(&self.url(), self.ca_pem(), &self.token())
    }

    /// The text of Typhoon's bootstrap kubeconfig: inline CA, first token, unnamed context, no current-context.
    pub fn bootstrap_kubeconfig(&self) -> String {
        self.kubeconfig().to_yaml()
    }

    /// A kubeconfig of `admin` of `system:masters` with a certificate of a year, inline, with a named current context.
    ///
    /// # Errors
    /// When no certificate can be made.
    pub fn admin_kubeconfig(&self) -> Result<String> {
        let pem = self.admin_certificate()?;
        let credential = Credential::InlineCertificate(pem);
        let kubeconfig = Kubeconfig { credential, context: Some("admin".to_owned()), ..self.kubeconfig() };
        Ok(kubeconfig.to_yaml())
    }

    /// A client certificate of `admin` of `system:masters` for a year: chain and key in one PEM.
    ///
    /// # Errors
    /// When no certificate can be made.
    pub fn admin_certificate(&self) -> Result<String> {
        let now = self.now();
        let end = now + Duration::from_secs(365 * 24 * 3600);
        self.shared.authority.issue_client_certificate("admin", Some("system:masters"), now, end)
    }

    /// A kubelet's client certificate that never was asked for: chain and key in one PEM.
    ///
    /// # Errors
    /// When no certificate can be made.
    pub fn issue_node_certificate(&self, node: &str, not_before: SystemTime, not_after: SystemTime) -> Result<String> {
        self.shared.authority.issue_node_certificate(node, not_before, not_after)
    }

    /// The time by the server's clock.
    pub fn now(&self) -> SystemTime {
        self.shared.now()
    }

    /// Moves the server's clock: milliseconds ahead of the machine's, negative is behind.
    pub fn set_clock_offset_ms(&self, offset_ms: i64) {
        self.shared.clock.set_offset_ms(offset_ms);
        self.shared.change(|_| ());
    }

    /// Lets the server's clock run `pace` times as fast since `started`, beside a node in a hurry ([`crate::node::Node::hurry`]).
    pub async fn keep_pace(&self, started: tokio::time::Instant, pace: u32) -> std::convert::Infallible {
        loop {
            let ahead = started.elapsed() * pace.saturating_sub(1);
            self.set_clock_offset_ms(i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Changes approver and signer.
    pub fn set_signing(&self, change: impl FnOnce(&mut Signing)) {
        self.shared.change(|world| change(&mut world.signing));
    }

    /// Changes who approves.
    pub fn set_approval(&self, approval: ApprovalMode) {
        self.set_signing(|signing| signing.approval = approval);
    }

    /// Changes `--cluster-signing-duration`.
    pub fn set_signing_duration(&self, duration: Duration) {
        self.set_signing(|signing| signing.duration = duration);
    }

    /// Adds a bootstrap token, or replaces the one of the same id.
    pub fn put_token(&self, token: Token) {
        self.shared.change(|world| {
            world.tokens.retain(|known| known.id != token.id);
            world.tokens.push(token);
        });
    }

    /// Deletes the token's Secret: from the next request on it is worth nothing.
    pub fn revoke_token(&self, id: &str) {
        self.shared.change(|world| {
            world.tokens.iter_mut().filter(|token| token.id == id).for_each(|token| token.revoked = true);
        });
    }

    /// Binds a rule.
    pub fn grant(&self, rule: Rule) {
        self.shared.change(|world| world.rules.push(rule));
    }

    /// Takes away every rule of that role, e.g. `system:node-bootstrapper` for a cluster without RBAC for bootstrapping,
    /// or `nodeclient` for one whose requests nobody approves.
    pub fn revoke_role(&self, role: &str) {
        self.shared.change(|world| world.rules.retain(|rule| rule.role != role));
    }

    /// What `manifests/reboot-slots.yaml` applies: the ConfigMap `reboot-<group>` in kube-system with that limit, the
    /// role for `system:nodes`, and the admission policy.
    pub fn apply_reboot_slots(&self, group: &str, slots: u32) {
        let name = format!("reboot-{group}");
        let rule = Rule::new("eyewall", "system:nodes", &["get", "list", "watch", "patch"], "", &["configmaps"]);
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "kube-system", "labels": {"app.kubernetes.io/name": "eyewall"}},
            "data": {"slots": slots.to_string()},
        });
        self.shared.change(|world| {
            world.slots_policy = true;
            world.rules.push(rule.in_namespace("kube-system").named(&[&name]));
            world.put_as_cluster(map, self.shared.now());
        });
    }

    /// Takes the admission policy of the slots away, or brings it back; the ConfigMap and its role stay.
    pub fn set_slots_policy(&self, is_in_force: bool) {
        self.shared.change(|world| world.slots_policy = is_in_force);
    }

    /// Writes an object as the cluster itself would, past all rules, and returns it as stored: for Nodes, Pods, budgets
    /// and whatever else a test needs to be there.
    ///
    /// # Errors
    /// When it has no name, or is of a kind that the stand-in does not keep.
    pub fn apply(&self, object: Value) -> Result<Value> {
        let named = !object["metadata"]["name"].as_str().unwrap_or_default().is_empty();
        let now = self.shared.now();
        let kind = object["kind"].clone();
        self.shared
            .change(|world| if named { world.put_as_cluster(object, now) } else { None })
            .with_context(|| format!("no name, or a kind that is not kept: {kind}"))
    }

    /// Removes an object as the cluster itself would; says whether it was there.
    pub fn remove(&self, plural: &str, namespace: &str, name: &str) -> bool {
        let Some(resource) = resources::by_plural(plural) else { return false };
        self.shared.change(|world| world.store.remove(resource, namespace, name).is_some())
    }

    /// Approves a pending request by hand, as `kubectl certificate approve`; says whether it was there.
    pub fn approve(&self, name: &str) -> bool {
        self.decide(name, "Approved", "KubectlApprove", "This CSR was approved by kubectl certificate approve.")
    }

    /// Denies a pending request by hand with these words; says whether it was there.
    pub fn deny(&self, name: &str, reason: &str, message: &str) -> bool {
        self.decide(name, "Denied", reason, message)
    }

    fn decide(&self, name: &str, kind: &str, reason: &str, message: &str) -> bool {
        let now = self.shared.now();
        self.shared.change(|world| {
            let Some(mut request) = world.store.get(&resources::CSRS, "", name).cloned() else { return false };
            csr::add_condition(&mut request, kind, reason, message, now);
            world.store.put(&resources::CSRS, request);
            true
        })
    }

    /// Injects a fault.
    pub fn inject(&self, fault: Fault) {
        self.shared.change(|world| world.faults.push(fault));
    }

    /// Forgets all faults that did not strike yet.
    pub fn clear_faults(&self) {
        self.shared.change(|world| world.faults.clear());
    }

    /// How many faults still wait for their request.
    pub fn faults_left(&self) -> usize {
        self.shared.look(|world| world.faults.len())
    }

    /// Forgets the requests logged so far.
    pub fn forget_requests(&self) {
        self.shared.change(|world| world.requests.clear());
    }

    /// Lets the resource version run ahead to at least this, as other clients' writes do.
    pub fn advance_version_to(&self, version: u64) {
        self.shared.change(|world| world.store.advance_to(version));
    }

    /// Forgets the history of a resource up to a version: a watch from before it gets 410 Expired.
    pub fn compact(&self, plural: &str, version: u64) {
        if let Some(resource) = resources::by_plural(plural) {
            self.shared.change(|world| world.store.compact(resource, version));
        }
    }

    /// Looks at the cluster.
    pub fn look<T>(&self, at: impl FnOnce(&View<'_>) -> T) -> T {
        self.shared.look(|world| at(&View { world }))
    }

    /// All requests for certificates, by name.
    pub fn csrs(&self) -> Vec<CsrView> {
        self.look(|view| view.csrs())
    }

    /// All answered requests, oldest first.
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.look(|view| view.requests())
    }

    /// Those about certificates: without what the posture and the reboots ask, which is not in their rhythm.
    pub fn requests_about_certificates(&self) -> Vec<RequestRecord> {
        let others = ["eyewall-posture/", "eyewall-reboot/"];
        let is_other = |request: &RequestRecord| others.iter().any(|other| request.user_agent.starts_with(other));
        self.requests().into_iter().filter(|request| !is_other(request)).collect()
    }

    /// Waits until the cluster looks so. Nothing is polled: the predicate is asked after every change.
    ///
    /// # Errors
    /// When it does not within `deadline`; the error tells what was there instead.
    pub async fn wait_until(&self, deadline: Duration, mut predicate: impl FnMut(&View<'_>) -> bool) -> Result<()> {
        let mut ticks = self.shared.ticks();
        let wait = async {
            while !self.look(&mut predicate) {
                if ticks.changed().await.is_err() {
                    return;
                }
            }
        };
        if tokio::time::timeout(deadline, wait).await.is_ok() {
            return Ok(());
        }
        let (csrs, requests) = self.look(|view| (view.csrs(), view.requests()));
        let csrs: Vec<String> =
            csrs.iter().map(|c| format!("{} of {}: {:?} {}", c.name, c.node, c.state, c.why)).collect();
        let last: Vec<String> = requests.iter().rev().take(10).rev().map(ToString::to_string).collect();
        bail!(
            "not within {deadline:?}; requests for certificates: [{}]; the last of {} requests:\n{}",
            csrs.join(", "),
            requests.len(),
            last.join("\n"),
        )
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.stop();
    }
}
