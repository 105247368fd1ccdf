//! Looks at the world and says what was seen, in core's words. Reads files; changes nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use eyewall_core::cert::{CertView, NODES};
use eyewall_core::config::{Config, Owner};
use eyewall_core::csr::CLIENT;
use eyewall_core::hostname::{NodeName, NodeNameFault, node_name};
use eyewall_core::kubeconfig::Ca;
use eyewall_core::rotation::{Anchor, Current, Request};
use eyewall_core::secret::Secret;
use eyewall_core::status::Reason;
use eyewall_core::time::Time;

use super::unchanged::Unchanged;
use crate::bootstrap::{Joined, read_bootstrap};
use crate::chain;
use crate::store::{Found, Store, pair};

/// What was seen in one look.
#[derive(Debug)]
pub struct World {
    /// The node's name.
    pub node: Result<NodeName, NodeNameFault>,
    /// The bootstrap kubeconfig with its CA.
    pub bootstrap: Result<Arc<Joined>, Reason>,
    /// The PEM in force.
    pub current: Current,
    /// Its text, for asking with it; none if nothing is open to be asked for.
    pub pem: Option<Secret>,
    /// The file behind the link.
    pub file: Option<PathBuf>,
    /// The open request.
    pub request: Option<Open>,
    /// There is a request and it cannot be read.
    pub request_fault: Option<Reason>,
    /// No file of it has changed since the look before.
    pub is_unchanged: bool,
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

/// Looks, and keeps what it judged of files that have not changed since: most looks find a quiet node, and then cost a few
/// stat(2)s instead of a parser and three signatures. No key and no PEM is kept, so a look at an open request reads it anew.
#[derive(Debug, Default)]
pub struct Looker {
    kept: Option<Kept>,
}

/// What was judged, and of what.
#[derive(Debug)]
struct Kept {
    of: (PathBuf, PathBuf, PathBuf, Owner),
    unchanged: Unchanged,
    bootstrap: Result<Arc<Joined>, Reason>,
    current: Current,
    file: Option<PathBuf>,
}

impl Looker {
    /// One look.
    pub fn look(&mut self, config: &Config, store: &Store, hostname: &str) -> World {
        let node = node_name(config.node.name.as_deref(), hostname);
        let kubeconfig = &config.cluster.bootstrap_kubeconfig;
        let of = (kubeconfig.clone(), store.directory.clone(), store.kubeconfig.clone(), config.certificates.owner);
        if let Some(kept) = &self.kept
            && kept.of == of
            && kept.unchanged.still_is()
        {
            let Kept { bootstrap, current, file, .. } = kept;
            return World {
                node,
                bootstrap: bootstrap.clone(),
                current: current.clone(),
                pem: None,
                file: file.clone(),
                request: None,
                request_fault: None,
                is_unchanged: true,
            };
        }
        let before = self.kept.take().map(|kept| kept.unchanged);
        let world = look(config, store, node);
        if world.request.is_some() || world.request_fault.is_some() {
            return world;
        }
        let mut paths =
            vec![kubeconfig.clone(), store.current(), store.authority(), store.kubeconfig.clone(), store.request()];
        if let Ok(joined) = &world.bootstrap
            && let Ca::File(path) = &joined.bootstrap.ca
        {
            paths.push(path.clone());
        }
        let unchanged = Unchanged::of(paths, before);
        let (bootstrap, current, file) = (world.bootstrap.clone(), world.current.clone(), world.file.clone());
        self.kept = Some(Kept { of, unchanged, bootstrap, current, file });
        world
    }
}

fn look(config: &Config, store: &Store, node: Result<NodeName, NodeNameFault>) -> World {
    let bootstrap = read_bootstrap(&config.cluster.bootstrap_kubeconfig).map(Arc::new);
    let installed = match store.read_authority() {
        Found::Text { text, .. } => Some(text),
        // A kubelet that bootstrapped itself has the CA in its kubeconfig.
        Found::Missing => read_bootstrap(&store.kubeconfig).ok().map(|joined| Secret::new(joined.ca)),
        Found::Unreadable(_) => None,
    };
    let authorities = Authorities {
        bootstrap: bootstrap.as_ref().ok().map(|joined| joined.ca.as_str()),
        installed: installed.as_ref().map(Secret::expose),
    };
    let (current, pem, file) = match store.read_current() {
        Found::Missing => (Current::Nothing, None, None),
        Found::Unreadable(reason) => (Current::Unreadable(reason), None, None),
        // Our placeholder is nothing, to a kubelet that starts as we start it. One that rotates ends at it, again and again.
        Found::Text { text, file, .. } if config.certificates.owner == Owner::Kubelet && text.expose().is_empty() => {
            let words = format!("{} is empty, and a kubelet that renews itself ends at that", file.display());
            (Current::Unusable(Reason::new("certificate-empty", words)), None, Some(file))
        }
        Found::Text { text, written_at, file } => {
            let current = judge(text.expose(), written_at, &authorities);
            (current, Some(text), Some(file))
        }
    };
    let (open, request_fault) = match store.read_request() {
        Ok(open) => (open, None),
        Err(fault) => (None, Some(fault.reason())),
    };
    let request = node.as_ref().ok().zip(open).and_then(|(node, open)| {
        let (public_key, common_name) = chain::request_facts(&open.key, &open.request)?;
        Some(Open {
            seen: Request { name: CLIENT.request_name(node, &public_key), common_name, public_key, since: open.since },
            key: open.key,
            request: open.request,
        })
    });
    World { node, bootstrap, current, pem, file, request, request_fault, is_unchanged: false }
}

struct Authorities<'a> {
    bootstrap: Option<&'a str>,
    installed: Option<&'a str>,
}

/// What a PEM in force is.
fn judge(text: &str, written_at: SystemTime, authorities: &Authorities<'_>) -> Current {
    if text.is_empty() {
        return Current::Nothing;
    }
    let corrupt = |why: String| {
        Current::Unusable(Reason::new("certificate-corrupt", format!("the PEM in force cannot be used: {why}")))
    };
    let foreign = |why: String| {
        Current::Unusable(Reason::new(
            "certificate-foreign",
            format!("the PEM in force is not of this cluster's kubelets: {why}"),
        ))
    };
    let pair = match pair(text) {
        Ok(pair) => pair,
        Err(fault) => return corrupt(fault.to_string()),
    };
    let Some(leaf) = pair.chain.first().and_then(|der| CertView::from_der(der).ok()) else {
        return corrupt("its certificate cannot be parsed".to_owned());
    };
    if !chain::key_matches(&pair.key, &leaf.public_key) {
        return corrupt("its key is not its certificate's".to_owned());
    }
    if !leaf.is_identity_of(&leaf.common_name) || !leaf.common_name.starts_with("system:node:") {
        return foreign(format!(
            "it is for {:?} in {:?}, a kubelet's is for \"system:node:<name>\" in [{NODES:?}]",
            leaf.common_name, leaf.organizations
        ));
    }
    let chains = |ca: Option<&str>| ca.map(|ca| chain::verify(&pair.chain, ca, leaf.not_after));
    let anchor = match (chains(authorities.bootstrap), chains(authorities.installed)) {
        (Some(Ok(())), _) => Anchor::Bootstrap,
        (Some(Err(_)), Some(Ok(()))) => Anchor::Installed,
        (None, Some(Ok(())) | None) => Anchor::Unchecked,
        (Some(Err(why)), _) | (None, Some(Err(why))) => {
            return foreign(format!("it does not chain to the cluster CA: {why}"));
        }
    };
    Current::Usable { leaf: Box::new(leaf), installed_at: written_at.into(), anchor }
}

/// Whether an older PEM could take the place of a corrupt one: whole, of this node, of this CA, and in its life.
pub fn is_fallback(text: &str, common_name: &str, ca: Option<&str>, now: SystemTime) -> bool {
    let authorities = Authorities { bootstrap: ca, installed: None };
    match judge(text, now, &authorities) {
        Current::Usable { leaf, .. } => leaf.is_identity_of(common_name) && leaf.not_after > Time(now),
        Current::Nothing | Current::Unreadable(_) | Current::Unusable(_) => false,
    }
}
