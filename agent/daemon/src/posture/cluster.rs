//! What the API server tells a node of itself: its own Node, and the pods on it. With the kubelet's certificate alone; another
//! node's would be refused.

use std::time::SystemTime;

use eyewall_core::posture::Capture;
use eyewall_core::posture::read::{ReadFault, cluster};
use hyper::Method;
use serde::Serialize;

use super::http::AGENT;
use crate::api::{ApiError, Bearer, Client, Endpoint};
use crate::bootstrap::Joined;

/// A connection as the node.
#[derive(Debug)]
pub struct AsNode(Client);

impl AsNode {
    /// Connects with the PEM in force.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn connect(joined: &Joined, pem: &str, now: SystemTime) -> Result<Self, ApiError> {
        let endpoint = Endpoint::new(&joined.bootstrap, &joined.ca)?;
        let client = endpoint.connect(Bearer::from_pem(pem, pem)?, now).await?;
        Ok(Self(client.called(AGENT)))
    }

    /// The own Node.
    pub async fn node(&mut self, name: &str) -> Capture {
        self.get(&format!("/api/v1/nodes/{name}"), cluster::node).await
    }

    /// The pods on the own node.
    pub async fn pods(&mut self, name: &str) -> Capture {
        self.get(&format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{name}&limit=500"), cluster::pods).await
    }

    async fn get<T: Serialize>(&mut self, path: &str, read: fn(&str) -> Result<T, ReadFault>) -> Capture {
        let answer = match self.0.call(Method::GET, path, None).await {
            Ok(answer) => answer,
            Err(error) => return away(&error),
        };
        match answer.status {
            200 => match read(&String::from_utf8_lossy(answer.body())) {
                Ok(view) => Capture::record(&view),
                Err(fault) => Capture::failed(fault.kind(), &fault.to_string()),
            },
            401 | 403 => Capture::Denied(format!("the API server's permission: {}", answer.words())),
            status => Capture::failed("api-server-refused", &format!("{status}: {}", answer.words())),
        }
    }
}

/// Why the API server told nothing.
pub fn away(error: &ApiError) -> Capture {
    Capture::failed("api-server-away", &error.to_string())
}
