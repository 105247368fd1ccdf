//! The API server as the agent speaks to it: one TLS connection, HTTP/1.1, a handful of calls.
//!
//! hyper rather than the kube crate, measured: a third of the binary and half the memory (and the agent needs one host, a
//! kubeconfig it wrote itself, and answers it can bound). Every wait has a deadline, every body a limit.

mod answer;
mod connect;
pub mod csr;
mod dial;
pub mod node;
pub mod review;

use std::time::Duration;

pub use answer::{Answer, Lines};
use bytes::Bytes;
pub use connect::{Bearer, Endpoint};
#[cfg(test)]
pub use dial::Dialing;
pub use dial::{Dial, Network};
use eyewall_core::rotation::clock::End;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// From a call to its answer's head. A CREATE waits for etcd; a server that needs longer is in trouble.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// The largest answer that is read: a CSR object is 1.2 kB, a Node some 20.
const LARGEST_BODY: usize = 1024 * 1024;
/// What we call ourselves; shown in the API server's audit log.
const AGENT: &str = concat!("eyewall/", env!("CARGO_PKG_VERSION"));

/// Why a call got no answer. An answer with an error status is an [`Answer`], not this.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No connection, or it broke, or nothing came in time.
    #[error("{0}")]
    Unreachable(String),
    /// The server's certificate does not come from the cluster CA or is not for this name.
    #[error("{0}")]
    Untrusted(String),
    /// The server's certificate is not valid at this host's time.
    #[error("{words}")]
    OutOfTime {
        /// The verifier's words.
        words: String,
        /// Which end of its life is in the way.
        end: End,
    },
    /// An answer that is no HTTP, is too large, or is not what was asked for.
    #[error("{0}")]
    Nonsense(String),
    /// Our own credential cannot be used.
    #[error("{0}")]
    Credential(String),
}

/// How a patch is merged into the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patch {
    /// RFC 7396: `null` removes, lists are replaced.
    Merge,
    /// Kubernetes' own: lists with a merge key, such as conditions by their type, are merged by it.
    Strategic,
}

impl Patch {
    fn media_type(self) -> &'static str {
        match self {
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
        }
    }
}

/// One connection. Dropping it closes it.
#[derive(Debug)]
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
    prefix: String,
    authorization: Option<HeaderValue>,
    agent: &'static str,
    io: JoinHandle<()>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.io.abort();
    }
}

impl Client {
    /// The same, under the name of another part of the agent.
    pub fn called(mut self, agent: &'static str) -> Self {
        self.agent = agent;
        self
    }

    /// Is the connection still there?
    pub fn is_usable(&self) -> bool {
        !self.sender.is_closed()
    }

    /// One call. `body` is JSON.
    ///
    /// # Errors
    /// [`ApiError`]; never for a status, whatever it is.
    pub async fn call(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<Answer, ApiError> {
        let response = self.send(method, path, "application/json", body).await?;
        Answer::read(response, LARGEST_BODY, ANSWER_WITHIN).await
    }

    /// One PATCH.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn patch(&mut self, path: &str, how: Patch, change: &serde_json::Value) -> Result<Answer, ApiError> {
        let response = self.send(Method::PATCH, path, how.media_type(), Some(change)).await?;
        Answer::read(response, LARGEST_BODY, ANSWER_WITHIN).await
    }

    /// A call whose answer is a stream of JSON lines (a watch).
    ///
    /// # Errors
    /// [`ApiError`]. A status other than 200 comes back as the answer it is.
    pub async fn stream(&mut self, path: &str) -> Result<Result<Lines, Answer>, ApiError> {
        let response = self.send(Method::GET, path, "", None).await?;
        if response.status() == hyper::StatusCode::OK {
            Ok(Ok(Lines::new(response.into_body(), LARGEST_BODY)))
        } else {
            Ok(Err(Answer::read(response, LARGEST_BODY, ANSWER_WITHIN).await?))
        }
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        media_type: &'static str,
        body: Option<&serde_json::Value>,
    ) -> Result<hyper::Response<hyper::body::Incoming>, ApiError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.prefix))
            .header(HOST, &self.host)
            .header(USER_AGENT, self.agent)
            .header(ACCEPT, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let bytes = match body {
            None => Bytes::new(),
            Some(value) => {
                request = request.header(CONTENT_TYPE, media_type);
                Bytes::from(value.to_string())
            }
        };
        let request = request
            .body(Full::new(bytes))
            .map_err(|error| ApiError::Nonsense(format!("the request cannot be written: {error}")))?;
        let exchange = async {
            self.sender.ready().await?;
            self.sender.send_request(request).await
        };
        match timeout(ANSWER_WITHIN, exchange).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(broken(&error)),
            Err(_) => Err(ApiError::Unreachable(format!("no answer within {} s", ANSWER_WITHIN.as_secs()))),
        }
    }
}

/// A connection that ended under a call.
fn broken(error: &hyper::Error) -> ApiError {
    if error.is_parse() {
        return ApiError::Nonsense(format!("the answer is not HTTP: {error}"));
    }
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        words = format!("{words}: {inner}");
        cause = inner.source();
    }
    ApiError::Unreachable(words)
}
