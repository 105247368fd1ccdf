//! One POST to a FleetLock server: http or https, a connection of its own, no redirects.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eyewall_core::reboot::fleetlock::{self, Call, HEADER};
use eyewall_core::status::Reason;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::super::reach::AGENT;

/// For name resolution, TCP and TLS together.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// The largest answer that is read, in bytes.
const LARGEST: usize = 64 * 1024;
/// Where the roots that the host trusts are: Fedora's, Flatcar's and Debian's.
const ROOTS: [&str; 3] = [
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/certs/ca-certificates.crt",
];

/// Where a server is.
#[derive(Clone, Debug)]
pub struct Server {
    host: String,
    port: u16,
    is_tls: bool,
    authority: String,
    /// The path of the base URL, without a slash at its end.
    prefix: String,
    within: Duration,
    roots: Vec<std::path::PathBuf>,
}

/// A POST that brought no yes.
#[derive(Debug)]
pub struct Fault {
    /// Why.
    pub reason: Reason,
    /// It is the server's answer. Otherwise it is not known whether it did what was asked.
    pub is_answer: bool,
}

impl Server {
    /// From `reboot.fleetlock_url`; each call has `within`, [`super::LONGEST`] at most.
    ///
    /// # Errors
    /// It is no http or https URL.
    pub fn new(url: &str, within: Duration) -> Result<Self, Reason> {
        let bad =
            |why: &str| Reason::new("fleetlock-bad-url", format!("reboot.fleetlock_url {url:?} cannot be used: {why}"));
        let uri: Uri = url.parse().map_err(|error: hyper::http::uri::InvalidUri| bad(&error.to_string()))?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(bad("it begins with neither http:// nor https://")),
        };
        let authority = uri.authority().ok_or_else(|| bad("it names no host"))?;
        if uri.query().is_some() || authority.as_str().contains('@') {
            return Err(bad("it must have neither a query nor a user"));
        }
        Ok(Self {
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            is_tls,
            authority: authority.to_string(),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            within: within.min(super::LONGEST),
            roots: ROOTS.iter().map(Into::into).collect(),
        })
    }

    /// The same, trusting the roots of this file.
    #[cfg(test)]
    pub(super) fn trusting(mut self, roots: &std::path::Path) -> Self {
        self.roots = vec![roots.to_owned()];
        self
    }

    #[cfg(test)]
    pub(super) fn parts(&self) -> (&str, u16, &str) {
        (&self.host, self.port, &self.prefix)
    }

    #[cfg(test)]
    pub(super) fn within(&self) -> Duration {
        self.within
    }

    /// Asks once.
    ///
    /// # Errors
    /// [`Fault`].
    pub(super) async fn post(&self, call: Call, body: &[u8]) -> Result<(), Fault> {
        let lost = |reason| Fault { reason, is_answer: false };
        let asked = async {
            let stream = timeout(CONNECT_WITHIN, TcpStream::connect((self.host.as_str(), self.port)))
                .await
                .map_err(|_| self.away(&format!("no connection within {} s", CONNECT_WITHIN.as_secs())))?
                .map_err(|error| self.away(&error.to_string()))?;
            if !self.is_tls {
                return self.exchange(stream, call, body).await;
            }
            let name = ServerName::try_from(self.host.clone()).map_err(|_| {
                Reason::new("fleetlock-bad-url", format!("{:?} is neither a name nor an address", self.host))
            })?;
            let connector = TlsConnector::from(Arc::new(self.tls()?));
            let stream = timeout(CONNECT_WITHIN, connector.connect(name, stream))
                .await
                .map_err(|_| self.away(&format!("no TLS handshake within {} s", CONNECT_WITHIN.as_secs())))?
                .map_err(|error| self.away(&error.to_string()))?;
            self.exchange(stream, call, body).await
        };
        let answered = match timeout(self.within, asked).await {
            Ok(answered) => answered,
            Err(_) => Err(self.away(&format!("no answer within {} s", self.within.as_secs()))),
        };
        let (status, body) = answered.map_err(lost)?;
        fleetlock::read(call, status, &body).map_err(|reason| Fault { reason, is_answer: true })
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        call: Call,
        body: &[u8],
    ) -> Result<(u16, Bytes), Reason> {
        let told = |error: hyper::Error| self.away(&error.to_string());
        let (mut sender, connection) =
            http1::Builder::new().max_buf_size(64 * 1024).handshake(TokioIo::new(stream)).await.map_err(told)?;
        let io = AbortOnDrop(tokio::spawn(async move {
            // How it ended reaches whoever waits for the answer.
            let _ = connection.await;
        }));
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{}", self.prefix, call.path()))
            .header(HOST, &self.authority)
            .header(USER_AGENT, AGENT)
            .header(CONTENT_TYPE, "application/json")
            .header(HEADER.0, HEADER.1)
            .body(Full::new(Bytes::copy_from_slice(body)))
            .map_err(|error| self.away(&error.to_string()))?;
        let response = sender.send_request(request).await.map_err(told)?;
        let status = response.status().as_u16();
        // A yes is a yes whatever comes after it.
        let body = match Limited::new(response.into_body(), LARGEST).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => Bytes::new(),
        };
        drop(io);
        Ok((status, body))
    }

    fn away(&self, why: &str) -> Reason {
        Reason::new("fleetlock-away", format!("the FleetLock server {} cannot be asked: {why}", self.authority))
    }

    /// Read anew each time: a root may be added while the agent runs.
    fn tls(&self) -> Result<ClientConfig, Reason> {
        let mut roots = RootCertStore::empty();
        for path in &self.roots {
            let Ok(found) = CertificateDer::pem_file_iter(path) else { continue };
            roots.add_parsable_certificates(found.filter_map(Result::ok));
            if !roots.is_empty() {
                break;
            }
        }
        if roots.is_empty() {
            let message = "this host has no bundle of trusted roots, so no https FleetLock server can be trusted";
            return Err(Reason::new("fleetlock-no-roots", message));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Ok(ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Reason::new("fleetlock-away", format!("TLS cannot be set up: {error}")))?
            .with_root_certificates(roots)
            .with_no_client_auth())
    }
}

#[derive(Debug)]
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
