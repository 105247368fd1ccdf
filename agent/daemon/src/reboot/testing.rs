//! For the tests of this part: the API stand-in, and ways to it as one of its nodes.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ::tests::apiserver::{ApiServer, Options};
use eyewall_core::kubeconfig;
use eyewall_core::reboot::{BootId, Entry};
use eyewall_core::time::Time;

use super::reach::{AGENT, Connecting, Reach, away};
use crate::api::{Bearer, Endpoint};

/// An API server and its cluster.
#[derive(Debug)]
pub struct Cluster {
    pub api: ApiServer,
}

/// The way of one node.
#[derive(Debug)]
struct Node {
    endpoint: Endpoint,
    pem: String,
    now: SystemTime,
}

impl Reach for Node {
    fn connect(&self) -> Connecting<'_> {
        Box::pin(async {
            let bearer = Bearer::from_pem(&self.pem, &self.pem).map_err(|error| away(&error))?;
            let client = self.endpoint.connect(bearer, self.now).await.map_err(|error| away(&error))?;
            Ok(client.called(AGENT))
        })
    }
}

impl Cluster {
    pub async fn start() -> Self {
        Self { api: ApiServer::start(Options::default()).await.expect("the stand-in starts") }
    }

    /// The way of the node with this name, with a certificate of a day.
    pub fn reach(&self, node: &str) -> Arc<dyn Reach> {
        let now = self.api.now();
        let before = now.checked_sub(Duration::from_secs(300)).expect("it is later than 1970");
        let pem = self.api.issue_node_certificate(node, before, now + Duration::from_secs(86_400)).expect("signed");
        let bootstrap = kubeconfig::parse(&self.api.bootstrap_kubeconfig()).expect("the stand-in's own");
        let endpoint = Endpoint::new(&bootstrap, self.api.ca_pem()).expect("the stand-in's own");
        Arc::new(Node { endpoint, pem, now })
    }
}

/// An entry of this boot.
pub fn entry(boot: &str) -> Entry {
    Entry {
        boot_id: BootId(boot.to_owned()),
        reason: "a test".to_owned(),
        since: Time::from_unix(1_795_486_508),
        cordoned: false,
        wanted: None,
        from: None,
        let_go: None,
    }
}
