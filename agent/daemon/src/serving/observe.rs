//! Looks at the host and says what was seen, in core's words. Reads files; changes nothing.

use std::path::PathBuf;
use std::time::SystemTime;

use eyewall_core::cert::CertView;
use eyewall_core::config::Config;
use eyewall_core::csr::SERVING;
use eyewall_core::hostname::{NodeName, NodeNameFault, node_name};
use eyewall_core::secret::Secret;
use eyewall_core::serving::pair::{Half, Pair};
use eyewall_core::serving::{Current, Leaf, Request};
use eyewall_core::status::Reason;
use eyewall_core::time::Time;

use crate::bootstrap::{Joined, read_bootstrap};
use crate::chain;
use crate::store::{Found, Store, StoreFault, pair};

/// What was seen in one look.
#[derive(Debug)]
pub struct World {
    /// The node's name.
    pub node: Result<NodeName, NodeNameFault>,
    /// The bootstrap kubeconfig: which server, and which CA.
    pub bootstrap: Result<Joined, Reason>,
    /// The kubelet's client certificate.
    pub client: Result<ClientPem, Reason>,
    /// The serving certificate on disk.
    pub current: Current,
    /// Its file.
    pub file: Option<PathBuf>,
    /// What the kubelet serves from.
    pub pair: Pair,
    /// PEM files that nothing leads to any more.
    pub stale: bool,
    /// The open request.
    pub request: Option<Open>,
}

/// The kubelet's client certificate, to ask with.
#[derive(Debug)]
pub struct ClientPem {
    /// Chain and key.
    pub pem: Secret,
    /// Which one it is.
    pub sha256: String,
}

/// The open request with its key.
#[derive(Debug)]
pub struct Open {
    /// What core needs of it.
    pub seen: Request,
    /// The private key's PEM.
    pub key: Secret,
    /// The PKCS#10 PEM.
    pub request: String,
}

/// One look.
///
/// # Errors
/// Something in the store cannot be looked at, so nothing may be done to it.
pub fn look(config: &Config, store: &Store, hostname: &str, now: SystemTime) -> Result<World, StoreFault> {
    let node = node_name(config.node.name.as_deref(), hostname);
    let bootstrap = read_bootstrap(&config.cluster.bootstrap_kubeconfig);
    let ca = bootstrap.as_ref().ok().map(|joined| joined.ca.as_str());
    let pair = store.serving_pair(chain::is_pair)?;
    let others = match pair {
        // Nothing of ours was ever here: the directory may not even be.
        Pair { certificate: Half::Absent, key: Half::Absent, .. } if !store.directory.exists() => Vec::new(),
        _ => store.serving_files()?,
    };
    let (current, file) = current(store, &others, ca);
    let request = match &node {
        Ok(node) => store.read_serving_request()?.and_then(|open| {
            let (public_key, common_name, names) = chain::serving_request_facts(&open.key, &open.request)?;
            let name = SERVING.request_name(node, &public_key);
            let seen = Request { name, common_name, names, public_key, since: open.since };
            Some(Open { seen, key: open.key, request: open.request })
        }),
        Err(_) => None,
    };
    let client = client(store, &node, now);
    Ok(World { node, bootstrap, client, current, file, pair, stale: !others.is_empty(), request })
}

/// The certificate that the link leads to; if that is none that was issued, the newest other one that was.
fn current(store: &Store, others: &[PathBuf], ca: Option<&str>) -> (Current, Option<PathBuf>) {
    let (linked, file) = match store.read_serving() {
        Found::Missing => (Current::Nothing, None),
        Found::Unreadable(reason) => return (Current::Unreadable(reason), None),
        Found::Text { text, written_at, file } => (judge(&text, written_at, ca, true), Some(file)),
    };
    if linked != Current::Nothing {
        return (linked, file);
    }
    others
        .iter()
        .find_map(|other| match store.read_serving_file(other) {
            Found::Text { text, written_at, .. } => match judge(&text, written_at, ca, false) {
                usable @ Current::Usable { .. } => Some((usable, Some(other.clone()))),
                _ => None,
            },
            _ => None,
        })
        .unwrap_or((Current::Nothing, None))
}

/// What a PEM is.
fn judge(text: &Secret, written_at: SystemTime, ca: Option<&str>, linked: bool) -> Current {
    let corrupt = |why: String| {
        Current::Unusable(Reason::new(
            "certificate-corrupt",
            format!("the PEM that the kubelet serves from cannot be used: {why}"),
        ))
    };
    let pair = match pair(text.expose()) {
        Ok(pair) => pair,
        Err(fault) => return corrupt(fault.to_string()),
    };
    let Some(leaf) = pair.chain.first().and_then(|der| Leaf::from_der(der).ok()) else {
        return corrupt("its certificate cannot be parsed".to_owned());
    };
    if !chain::key_matches(&pair.key, &leaf.cert.public_key) {
        return corrupt("its key is not its certificate's".to_owned());
    }
    // What the kubelet made itself, as one PEM.
    if !leaf.is_identity_of(&leaf.cert.common_name) || !leaf.cert.common_name.starts_with("system:node:") {
        return Current::Nothing;
    }
    let anchored = ca.map(|ca| chain::verify_serving(&pair.chain, ca, leaf.cert.not_after).is_ok());
    Current::Usable { leaf: Box::new(leaf), installed_at: written_at.into(), anchored, linked }
}

/// The client certificate, if it can be asked with.
fn client(store: &Store, node: &Result<NodeName, NodeNameFault>, now: SystemTime) -> Result<ClientPem, Reason> {
    let missing = |why: &str| {
        Reason::new(
            "client-certificate-missing",
            format!("a serving certificate is asked for with the kubelet's client certificate, and {why}"),
        )
    };
    let text = match store.read_current() {
        Found::Text { text, .. } if !text.expose().is_empty() => text,
        Found::Text { .. } | Found::Missing => return Err(missing("there is none yet")),
        Found::Unreadable(reason) => return Err(reason),
    };
    let leaf = pair(text.expose()).ok().and_then(|pair| CertView::from_der(pair.chain.first()?).ok());
    let Some(leaf) = leaf else { return Err(missing("the one that is there cannot be used")) };
    let now = Time(now);
    if leaf.not_after <= now || leaf.not_before > now {
        return Err(missing("by this host's clock the one that is there is not in its life"));
    }
    match node {
        Ok(node) if leaf.common_name != node.common_name() => {
            Err(missing("the one that is there is for another node name"))
        }
        _ => Ok(ClientPem { pem: text, sha256: leaf.sha256 }),
    }
}
