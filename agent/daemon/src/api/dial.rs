//! How a connection comes about: over the network, or in a test to a server in memory, so that a year can pass on a paused clock
//! (where a real socket would look like one that never answers).

use std::pin::Pin;
use std::time::SystemTime;

use super::{ApiError, Bearer, Client, Endpoint};

/// A connection that is being made.
pub type Dialing<'a> = Pin<Box<dyn Future<Output = Result<Client, ApiError>> + Send + 'a>>;

/// Makes connections.
pub trait Dial: std::fmt::Debug + Send + Sync {
    /// Connects to `endpoint` as `bearer`, judging the server at `now`.
    fn dial<'a>(&'a self, endpoint: &'a Endpoint, bearer: Bearer, now: SystemTime) -> Dialing<'a>;
}

/// TCP and TLS.
#[derive(Clone, Copy, Debug)]
pub struct Network;

impl Dial for Network {
    fn dial<'a>(&'a self, endpoint: &'a Endpoint, bearer: Bearer, now: SystemTime) -> Dialing<'a> {
        Box::pin(endpoint.connect(bearer, now))
    }
}
