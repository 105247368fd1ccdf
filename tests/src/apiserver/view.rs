//! What a test sees of the cluster.

use std::collections::BTreeSet;

use serde_json::Value;

use super::csr::{self, Request, condition};
use super::requests::RequestRecord;
use super::resources::{CSRS, by_plural};
use super::world::World;

/// Where a request for a certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CsrState {
    /// Nobody decided yet.
    Pending,
    /// Approved, and not signed yet.
    Approved,
    /// There is a certificate.
    Issued,
    /// The approver said no.
    Denied,
    /// The signer could not.
    Failed,
}

/// A `CertificateSigningRequest`, as far as tests ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsrView {
    /// `metadata.name`.
    pub name: String,
    /// The node its common name names; the whole common name when it is not a node's.
    pub node: String,
    /// Who sent it.
    pub requester: String,
    /// `spec.signerName`.
    pub signer: String,
    /// `spec.usages`, sorted.
    pub usages: Vec<String>,
    /// The names and addresses that it asks to serve, sorted.
    pub names: Vec<String>,
    /// Where it stands.
    pub state: CsrState,
    /// Reason and message of the condition that decided last, or empty.
    pub why: String,
    /// SubjectPublicKeyInfo of its key, DER.
    pub public_key: Vec<u8>,
    /// The PEM that was issued, decoded.
    pub certificate: Option<String>,
}

impl CsrView {
    /// There is a certificate.
    pub fn issued(&self) -> bool {
        self.state == CsrState::Issued
    }

    fn of(object: &Value) -> Self {
        use base64::Engine as _;

        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let certificate = object["status"]["certificate"].as_str().and_then(|encoded| {
            let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
            String::from_utf8(bytes).ok()
        });
        let decided = ["Failed", "Denied", "Approved"].into_iter().find_map(|kind| {
            let condition = condition(object, kind)?;
            Some((kind, format!("{}: {}", text(&condition["reason"]), text(&condition["message"]))))
        });
        let state = match &decided {
            _ if certificate.is_some() => CsrState::Issued,
            Some(("Failed", _)) => CsrState::Failed,
            Some(("Denied", _)) => CsrState::Denied,
            Some(_) => CsrState::Approved,
            None => CsrState::Pending,
        };
        let request = Request::of(object).ok();
        let common_name = request.as_ref().map(|r| r.common_name.clone()).unwrap_or_default();
        Self {
            name: text(&object["metadata"]["name"]),
            node: common_name.strip_prefix("system:node:").unwrap_or(&common_name).to_owned(),
            requester: text(&object["spec"]["username"]),
            signer: text(&object["spec"]["signerName"]),
            usages: csr::usages(object).into_iter().map(str::to_owned).collect(),
            names: request
                .iter()
                .flat_map(|r| r.names.iter().map(csr::text_of))
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
            state,
            why: decided.map(|(_, why)| why).unwrap_or_default(),
            public_key: request.map(|r| r.public_key).unwrap_or_default(),
            certificate,
        }
    }
}

/// The cluster at one moment.
#[derive(Debug)]
pub struct View<'a> {
    pub(super) world: &'a World,
}

impl View<'_> {
    /// All requests for certificates, by name.
    pub fn csrs(&self) -> Vec<CsrView> {
        self.world.store.list(&CSRS, "").map(CsrView::of).collect()
    }

    /// All answered requests, oldest first.
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.world.requests.iter().cloned().collect()
    }

    /// How many requests of that method there were whose path begins so.
    pub fn count(&self, method: &str, path_prefix: &str) -> usize {
        self.world.requests.iter().filter(|r| r.method == method && r.path.starts_with(path_prefix)).count()
    }

    /// The newest request.
    pub fn last_request(&self) -> Option<RequestRecord> {
        self.world.requests.iter().next_back().cloned()
    }

    /// An object by the plural name of its kind; an empty namespace is for what has none.
    pub fn object(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        self.world.store.get(by_plural(plural)?, namespace, name).cloned()
    }

    /// All objects of a kind, of every namespace.
    pub fn objects(&self, plural: &str) -> Vec<Value> {
        by_plural(plural).map(|resource| self.world.store.list(resource, "").cloned().collect()).unwrap_or_default()
    }

    /// Connections since the stand-in was made.
    pub fn connections_opened(&self) -> u64 {
        self.world.connections_opened
    }

    /// Connections that are open now.
    pub fn connections_open(&self) -> u64 {
        self.world.connections_open
    }
}
