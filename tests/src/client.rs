//! A small HTTPS client for the tests and the kubelet stand-in: one connection, kept alive, with whatever credential is
//! wanted, wrong ones too.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long a connection, and how long the head of an answer, may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a body that are read at most.
const BODY_LIMIT: usize = 16 * 1024 * 1024;

/// What the client shows of itself.
#[derive(Clone, Default)]
pub struct Login {
    /// PEM with a certificate chain and its key, for TLS.
    pub certificate: Option<String>,
    /// A bearer token.
    pub token: Option<String>,
}

impl Login {
    /// Nothing.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// A bearer token.
    pub fn token(token: &str) -> Self {
        Self { certificate: None, token: Some(token.to_owned()) }
    }

    /// A client certificate: chain and key in one PEM.
    pub fn certificate(pem: &str) -> Self {
        Self { certificate: Some(pem.to_owned()), token: None }
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { certificate, token } = self;
        f.debug_struct("Login").field("certificate", &certificate.is_some()).field("token", &token.is_some()).finish()
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: StatusCode,
    /// The head.
    pub headers: HeaderMap,
    /// The body as it came.
    pub bytes: Bytes,
}

impl Reply {
    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// One server, one login, at most one connection at a time.
pub struct Client {
    host: String,
    port: u16,
    tls: TlsConnector,
    token: Option<String>,
    user_agent: String,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, port, sender, .. } = self;
        f.debug_struct("Client").field("host", host).field("port", port).field("connected", &sender.is_some()).finish()
    }
}

impl Client {
    /// A client for `https://host[:port]` that trusts only that CA. It connects with the first request.
    ///
    /// # Errors
    /// When the URL, the CA or the login cannot be read.
    pub fn new(url: &str, ca_pem: &str, login: &Login) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
            roots.add(certificate.context("the CA")?)?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let config = match &login.certificate {
            None => config.with_no_client_auth(),
            Some(pem) => {
                let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
                let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).context("the client's key")?;
                config.with_client_auth_cert(chain.context("the client's certificate")?, key)?
            }
        };
        Self::with(url, config, login.token.clone())
    }

    /// A client without credentials that takes any server for the right one, as a health probe of a self-signed port does.
    ///
    /// # Errors
    /// When the URL cannot be read.
    pub fn trusting_anyone(url: &str) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
            .with_no_client_auth();
        Self::with(url, config, None)
    }

    fn with(url: &str, config: ClientConfig, token: Option<String>) -> Result<Self> {
        let uri: hyper::Uri = url.parse().with_context(|| format!("the URL {url:?}"))?;
        let host = uri.host().context("a URL without a host")?.trim_matches(['[', ']']).to_owned();
        Ok(Self {
            host,
            port: uri.port_u16().unwrap_or(443),
            tls: TlsConnector::from(Arc::new(config)),
            token,
            user_agent: "eyewall-tests".to_owned(),
            sender: None,
        })
    }

    /// Sets `User-Agent`.
    #[must_use]
    pub fn user_agent(mut self, name: &str) -> Self {
        name.clone_into(&mut self.user_agent);
        self
    }

    /// Another client of the same server and login, with a connection of its own.
    pub fn again(&self) -> Self {
        let Self { host, port, tls, token, user_agent, sender: _ } = self;
        let (host, token, user_agent) = (host.clone(), token.clone(), user_agent.clone());
        Self { host, port: *port, tls: tls.clone(), token, user_agent, sender: None }
    }

    /// Whether there is a connection that neither side has closed.
    pub fn is_connected(&self) -> bool {
        self.sender.as_ref().is_some_and(|sender| !sender.is_closed())
    }

    /// Closes the connection; the next request opens a new one.
    pub fn disconnect(&mut self) {
        self.sender = None;
    }

    /// Asks, and reads the whole answer.
    ///
    /// # Errors
    /// When there is no connection or no whole answer.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Option<&Value>,
    ) -> Result<Reply> {
        let response = self.head(method, path, content_type, body).await?;
        let (head, body) = response.into_parts();
        let body = tokio::time::timeout(PATIENCE, Limited::new(body, BODY_LIMIT).collect()).await;
        let bytes = match body.context("the body did not come in time")? {
            Ok(collected) => collected.to_bytes(),
            Err(error) => {
                self.sender = None;
                bail!("the body broke off: {error}");
            }
        };
        Ok(Reply { status: head.status, headers: head.headers, bytes })
    }

    /// [`Client::send`] with GET.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn get(&mut self, path: &str) -> Result<Reply> {
        self.send(Method::GET, path, "", None).await
    }

    /// [`Client::send`] with POST and JSON.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn post(&mut self, path: &str, body: &Value) -> Result<Reply> {
        self.send(Method::POST, path, "application/json", Some(body)).await
    }

    /// Starts a watch: an answer whose lines come one by one. It has the connection for itself.
    ///
    /// # Errors
    /// When there is no connection or no answer; a status other than 200 is an error with the body's text.
    pub async fn watch(mut self, path: &str) -> Result<Watch> {
        let response = self.head(Method::GET, path, "", None).await?;
        let status = response.status();
        if status != StatusCode::OK {
            let body = Limited::new(response.into_body(), BODY_LIMIT).collect().await;
            let body = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()).unwrap_or_default();
            bail!("the watch was answered {status}: {body}");
        }
        Ok(Watch { body: response.into_body(), rest: Vec::new(), _connection: self })
    }

    async fn head(
        &mut self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Option<&Value>,
    ) -> Result<Response<Incoming>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, format!("{}:{}", self.host, self.port))
            .header(USER_AGENT, &self.user_agent);
        if !content_type.is_empty() {
            request = request.header(CONTENT_TYPE, content_type);
        }
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = body.map(ToString::to_string).unwrap_or_default();
        let request = request.body(Full::new(Bytes::from(body)))?;
        let mut sender = match self.sender.take() {
            Some(sender) if !sender.is_closed() => sender,
            _ => tokio::time::timeout(PATIENCE, self.connect()).await.context("connecting took too long")??,
        };
        let response = tokio::time::timeout(PATIENCE, sender.send_request(request)).await;
        let response = response.context("no answer in time")??;
        self.sender = Some(sender);
        Ok(response)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(self.host.clone())?;
        let tls = self.tls.connect(name, tcp).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(tls)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// The lines of a watch.
#[derive(Debug)]
pub struct Watch {
    body: Incoming,
    rest: Vec<u8>,
    _connection: Client,
}

impl Watch {
    /// The next line; `None` at an orderly end.
    ///
    /// # Errors
    /// When the connection breaks, or a line is no JSON or longer than 16 MiB.
    pub async fn next(&mut self) -> Result<Option<Value>> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Ok(Some(serde_json::from_slice(&line).context("a line of the watch")?));
            }
            match self.body.frame().await {
                Some(frame) => {
                    if let Ok(data) = frame.context("the watch broke off")?.into_data() {
                        self.rest.extend_from_slice(&data);
                    }
                }
                None if self.rest.is_empty() => return Ok(None),
                None => bail!("the watch ended within a line"),
            }
            if self.rest.len() > BODY_LIMIT {
                bail!("a line of the watch is too long");
            }
        }
    }
}

/// Takes every certificate, if only its key is there.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
