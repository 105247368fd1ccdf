//! The way to the API server as the node. A connection is made for each errand and each watch: the certificate may have been renewed
//! since, and a connection that was idle for minutes may be dead without knowing it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use eyewall_core::config::Config;
use eyewall_core::status::Reason;
use tokio::sync::watch;

use crate::api::{ApiError, Bearer, Client, Dial, Endpoint};
use crate::bootstrap::read_bootstrap;
use crate::store::{Found, Store};

/// What the reboots call themselves: audit logs tell their requests from others', and the API server keeps the fields they write apart.
pub const AGENT: &str = concat!("eyewall-reboot/", env!("CARGO_PKG_VERSION"));

/// A connection that is being made.
pub type Connecting<'a> = Pin<Box<dyn Future<Output = Result<Client, Reason>> + Send + 'a>>;

/// Makes connections as the node: of this host, or in the fleet benchmark as one of a thousand.
pub trait Reach: std::fmt::Debug + Send + Sync {
    /// Connects, within some seconds.
    fn connect(&self) -> Connecting<'_>;
}

/// With what the kubelet has on this host: bootstrap kubeconfig (server and CA) and the certificate in force, read anew each time.
#[derive(Debug)]
pub struct AsNode {
    /// The configuration in force.
    pub config: watch::Receiver<Arc<Config>>,
    /// How a connection comes about.
    pub dial: Arc<dyn Dial>,
    /// The wall clock.
    pub clock: fn() -> SystemTime,
}

impl Reach for AsNode {
    fn connect(&self) -> Connecting<'_> {
        let config = Arc::clone(&self.config.borrow());
        Box::pin(async move {
            let joined = read_bootstrap(&config.cluster.bootstrap_kubeconfig)?;
            let pem = match Store::new(&config.certificates).read_current() {
                Found::Text { text, .. } => text,
                Found::Missing => return Err(Reason::new("no-certificate", "the kubelet has no certificate yet")),
                Found::Unreadable(reason) => return Err(reason),
            };
            let endpoint = Endpoint::new(&joined.bootstrap, &joined.ca).map_err(|error| away(&error))?;
            let bearer = Bearer::from_pem(pem.expose(), pem.expose()).map_err(|error| away(&error))?;
            let client = self.dial.dial(&endpoint, bearer, (self.clock)()).await.map_err(|error| away(&error))?;
            Ok(client.called(AGENT))
        })
    }
}

/// Why there is no answer.
pub fn away(error: &ApiError) -> Reason {
    let kind = match error {
        ApiError::Unreachable(_) => "api-server-away",
        ApiError::Untrusted(_) => "api-server-untrusted",
        ApiError::OutOfTime { .. } => "api-server-out-of-time",
        ApiError::Nonsense(_) => "api-server-nonsense",
        ApiError::Credential(_) => "credential-unreadable",
    };
    Reason::new(kind, format!("the API server cannot be asked: {error}"))
}
