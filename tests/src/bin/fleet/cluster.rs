//! The API server as one of the fleet's nodes reaches it: the daemon's own client, with a certificate of the node's own.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow, bail};
use base64::Engine as _;
use eyewall_core::csr::{CLIENT, Verdict};
use eyewall_core::hostname::node_name;
use eyewall_core::kubeconfig::{self, Bootstrap};
use tests::apiserver::ApiServer;

use crate::api::{Bearer, Endpoint, csr};
use crate::chain;
use crate::reboot::reach::{AGENT, Connecting, Reach, away};
use crate::tally::Tally;

/// From a node's request to its certificate.
const SIGNED_WITHIN: Duration = Duration::from_secs(30);

/// Now.
#[expect(clippy::disallowed_methods, reason = "no daemon: the benchmark is its own shell")]
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// A cluster that signs certificates for nodes.
#[derive(Debug)]
pub struct Cluster {
    endpoint: Endpoint,
    bootstrap: Bootstrap,
}

impl Cluster {
    /// The stand-in.
    ///
    /// # Errors
    /// It makes no certificate for its admin.
    pub fn of_stand_in(api: &ApiServer) -> Result<Self> {
        Self::new(kubeconfig::parse(&api.admin_kubeconfig()?)?)
    }

    /// Any, by a kubeconfig of somebody whose requests for certificates of nodes are approved, e.g. of `system:masters`.
    ///
    /// # Errors
    /// It cannot be read, or not be used.
    pub fn read(kubeconfig: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(kubeconfig).with_context(|| format!("reading {}", kubeconfig.display()))?;
        let directory = kubeconfig.parent().unwrap_or(Path::new("."));
        Self::new(kubeconfig::parse(&text)?.relative_to(directory))
    }

    fn new(bootstrap: Bootstrap) -> Result<Self> {
        let endpoint = Endpoint::new(&bootstrap, &Endpoint::ca_pem(&bootstrap.ca)?)?;
        Ok(Self { endpoint, bootstrap })
    }

    /// A certificate for each node, asked for one after the other as a kubelet asks for its first one, and the ways of these nodes.
    ///
    /// # Errors
    /// One is not signed in time, or refused.
    pub async fn join(&self, names: &[String], tally: &Arc<Tally>) -> Result<Vec<Arc<dyn Reach>>> {
        let mut ways: Vec<Arc<dyn Reach>> = Vec::with_capacity(names.len());
        for name in names {
            let pem = self.certificate(name).await.with_context(|| format!("a certificate for {name}"))?;
            ways.push(Arc::new(Way { endpoint: self.endpoint.clone(), pem, tally: Arc::clone(tally) }));
        }
        Ok(ways)
    }

    async fn certificate(&self, name: &str) -> Result<String> {
        // A connection for each: the watch for the signature is the last of it.
        let bearer = Bearer::from_bootstrap(&self.bootstrap.credential)?;
        let mut client = self.endpoint.connect(bearer, now()).await?;
        let node = node_name(Some(name), "")?;
        let new = chain::new_request(&node).map_err(|why| anyhow!(why))?;
        let (public_key, _) = chain::request_facts(&new.key, &new.request).context("an own request is none")?;
        let request = base64::engine::general_purpose::STANDARD.encode(&new.request);
        let object = CLIENT.request_name(&node, &public_key);
        let sent = csr::submit(&mut client, &CLIENT, &object, &request, false).await?;
        let sent = sent.map_err(|outcome| anyhow!("refused: {outcome:?}"))?;
        match csr::wait(&mut client, sent, SIGNED_WITHIN).await?.map_err(|outcome| anyhow!("no answer: {outcome:?}"))? {
            Verdict::Issued(chain) => Ok(format!("{chain}{}", new.key.expose())),
            verdict => bail!("not signed within {} s: {verdict:?}", SIGNED_WITHIN.as_secs()),
        }
    }
}

/// The way of one node.
#[derive(Debug)]
struct Way {
    endpoint: Endpoint,
    /// Chain and key.
    pem: String,
    tally: Arc<Tally>,
}

impl Reach for Way {
    fn connect(&self) -> Connecting<'_> {
        Box::pin(async {
            // Read anew each time, as the daemon reads it from its disk.
            let bearer = Bearer::from_pem(&self.pem, &self.pem).map_err(|error| away(&error))?;
            let client = self.endpoint.connect(bearer, now()).await;
            self.tally.connected(client.is_ok());
            Ok(client.map_err(|error| away(&error))?.called(AGENT))
        })
    }
}
