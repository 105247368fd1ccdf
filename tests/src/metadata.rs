//! The metadata services of four clouds at their own address, 169.254.169.254, inside of [`alone`](crate::namespace::alone). Each answers as its
//! provider documents it: which header it wants, which status it gives where there is nothing, what it refuses.

pub mod aws;
pub mod azure;
pub mod digitalocean;
pub mod gcp;
mod serve;

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::namespace::Neighbour;

/// The address of all four.
pub const ADDRESS: &str = "169.254.169.254";

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Asked {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The path without its query.
    pub fn place(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    /// A parameter of the query.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let (_, query) = self.path.split_once('?')?;
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Beside those of any answer.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// With a status and a body.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    /// With one more header.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// A provider's service.
pub trait Service: Send {
    /// Its answer.
    fn answer(&mut self, asked: &Asked) -> Answer;
}

/// Answers everything in the same way: a proxy, a captive portal, a server of something else.
#[derive(Clone, Debug)]
pub struct Stranger(pub Answer);

impl Service for Stranger {
    fn answer(&mut self, _: &Asked) -> Answer {
        self.0.clone()
    }
}

/// Who is at the address.
pub enum Manner {
    /// Nobody has the address.
    NoAddress,
    /// Nobody listens.
    Closed,
    /// Takes the connection, and says nothing.
    Silent,
    /// Says this, whatever is asked, and closes.
    Says(Vec<u8>),
    /// A body that does not end.
    Endless,
    /// A service in HTTP.
    Http(Box<dyn Service>),
}

impl std::fmt::Debug for Manner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoAddress => "NoAddress",
            Self::Closed => "Closed",
            Self::Silent => "Silent",
            Self::Says(_) => "Says",
            Self::Endless => "Endless",
            Self::Http(_) => "Http",
        })
    }
}

/// What happened at the address.
#[derive(Clone, Debug, Default)]
struct Seen {
    connections: usize,
    asked: Vec<Asked>,
    sent: usize,
}

/// Who is at the address, while this lives: another machine, one hop away, as every provider has it.
#[derive(Debug)]
pub struct Metadata {
    seen: Arc<Mutex<Seen>>,
    _machine: Option<Neighbour>,
}

impl Metadata {
    /// Puts somebody there. What is sent goes `hops` far: 1 is what EC2's hop limit is by default, and reaches this machine and no pod.
    ///
    /// # Errors
    /// The address or its port 80 cannot be had.
    pub async fn start(manner: Manner, hops: u32) -> Result<Self> {
        let seen = Arc::new(Mutex::new(Seen::default()));
        if matches!(manner, Manner::NoAddress) {
            return Ok(Self { seen, _machine: None });
        }
        let told = Arc::clone(&seen);
        let work = async move |ready: oneshot::Sender<()>| {
            if matches!(manner, Manner::Closed) {
                let _ = ready.send(());
                return std::future::pending().await;
            }
            let listener = TcpListener::bind((ADDRESS, 80)).await.context("port 80")?;
            listener.set_ttl(hops)?;
            let _ = ready.send(());
            serve::serve(listener, manner, told).await;
            Ok(())
        };
        let machine = Neighbour::start(ADDRESS, work).await?;
        Ok(Self { seen, _machine: Some(machine) })
    }

    /// Every request so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.seen().asked
    }

    /// Every connection so far, with a request or without.
    pub fn connections(&self) -> usize {
        self.seen().connections
    }

    /// How many bytes of a body without end were taken.
    pub fn sent(&self) -> usize {
        self.seen().sent
    }

    fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
