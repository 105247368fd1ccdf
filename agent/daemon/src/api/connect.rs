//! TCP and TLS to the one server, trusting the one CA.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use eyewall_core::kubeconfig::{self, Bootstrap, Ca, Credential, Material, Server};
use eyewall_core::rotation::clock::End;
use eyewall_core::secret::Secret;
use eyewall_core::time::Time;
use hyper::header::HeaderValue;
use hyper_util::rt::TokioIo;
use rustls::client::Resumption;
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{AGENT, ApiError, Client};
use crate::store::files;

/// Larger than any file with a credential.
const LARGEST: u64 = 256 * 1024;
/// For name resolution and TCP together, and again for TLS.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Whom to speak to and whom to trust.
#[derive(Clone, Debug)]
pub struct Endpoint {
    server: Server,
    name: ServerName<'static>,
    roots: Arc<RootCertStore>,
}

/// Who we are on a connection.
#[derive(Debug)]
pub enum Bearer {
    /// A bearer token.
    Token(Secret),
    /// Nobody: for what everybody may see.
    Nobody,
    /// A client certificate: chain and key.
    Certificate(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
}

impl Bearer {
    /// From a PEM with chain and key.
    ///
    /// # Errors
    /// [`ApiError::Credential`].
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, ApiError> {
        let fault = |what| ApiError::Credential(format!("the client {what} cannot be read"));
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| fault("certificate"))?;
        if chain.is_empty() {
            return Err(fault("certificate"));
        }
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| fault("key"))?;
        Ok(Self::Certificate(chain, key))
    }

    /// The bootstrap kubeconfig's identity; reads the files it names.
    ///
    /// # Errors
    /// [`ApiError::Credential`] naming the file.
    pub fn from_bootstrap(credential: &Credential) -> Result<Self, ApiError> {
        let read = |path: &Path| {
            files::read(path, LARGEST)
                .map(|content| content.text)
                .map_err(|error| ApiError::Credential(format!("{} cannot be read: {error}", path.display())))
        };
        let material = |material: &Material| match material {
            Material::Inline(pem) => Ok(pem.clone()),
            Material::File(path) => read(path),
        };
        match credential {
            Credential::Token(token) => Ok(Self::Token(token.clone())),
            Credential::TokenFile(path) => Ok(Self::Token(Secret::new(read(path)?.expose().trim().to_owned()))),
            Credential::Certificate { certificate, key } => {
                Self::from_pem(material(certificate)?.expose(), material(key)?.expose())
            }
            Credential::Sealed { kubeconfig, .. } => {
                let fault = |why: String| ApiError::Credential(format!("{}: {why}", kubeconfig.display()));
                let found = kubeconfig::parse(read(kubeconfig)?.expose()).map_err(|error| fault(error.to_string()))?;
                let found = found.relative_to(kubeconfig.parent().unwrap_or(Path::new("/"))).credential;
                // Another server may stand beside another credential.
                if found.clone().sealed(kubeconfig) != *credential {
                    return Err(fault("it was replaced a moment ago, and is read again as a whole".to_owned()));
                }
                Self::from_bootstrap(&found)
            }
        }
    }
}

impl Endpoint {
    /// From the kubeconfig and the PEM of its CA.
    ///
    /// # Errors
    /// [`ApiError::Credential`]: a host that is none, or a CA that rustls does not take.
    pub fn new(bootstrap: &Bootstrap, ca: &str) -> Result<Self, ApiError> {
        let host = bootstrap.tls_server_name.as_ref().unwrap_or(&bootstrap.server.host);
        let name = ServerName::try_from(host.clone())
            .map_err(|_| ApiError::Credential(format!("{host:?} is neither a DNS name nor an IP address")))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
            certificate.ok().and_then(|certificate| roots.add(certificate).ok()).ok_or_else(|| {
                ApiError::Credential("the cluster CA has a certificate that cannot be read".to_owned())
            })?;
        }
        if roots.is_empty() {
            return Err(ApiError::Credential("the cluster CA holds no certificate".to_owned()));
        }
        Ok(Self { server: bootstrap.server.clone(), name, roots: Arc::new(roots) })
    }

    /// The PEM of the kubeconfig's CA.
    ///
    /// # Errors
    /// [`ApiError::Credential`] naming the file.
    pub fn ca_pem(ca: &Ca) -> Result<String, ApiError> {
        match ca {
            Ca::Inline(pem) => Ok(pem.clone()),
            Ca::File(path) => std::fs::read_to_string(path).map_err(|error| {
                ApiError::Credential(format!("the cluster CA {} cannot be read: {error}", path.display()))
            }),
        }
    }

    /// Connects as `bearer`, judging the server's certificate at `now`.
    ///
    /// # Errors
    /// [`ApiError`], told apart as unreachable, untrusted and out of time.
    pub async fn connect(&self, bearer: Bearer, now: SystemTime) -> Result<Client, ApiError> {
        let (config, authorization) = self.tls(bearer, now)?;
        let authority = self.server.authority();
        let dial = async {
            let stream = TcpStream::connect((self.server.host.as_str(), self.server.port)).await?;
            stream.set_nodelay(true)?;
            Ok::<_, std::io::Error>(stream)
        };
        let stream = match timeout(CONNECT_WITHIN, dial).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(ApiError::Unreachable(format!("{authority}: {error}"))),
            Err(_) => {
                return Err(ApiError::Unreachable(format!(
                    "{authority}: no connection within {} s",
                    CONNECT_WITHIN.as_secs()
                )));
            }
        };
        let connector = TlsConnector::from(Arc::new(config));
        let stream = match timeout(CONNECT_WITHIN, connector.connect(self.name.clone(), stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(refused(&authority, &error)),
            Err(_) => {
                return Err(ApiError::Unreachable(format!(
                    "{authority}: no TLS handshake within {} s",
                    CONNECT_WITHIN.as_secs()
                )));
            }
        };
        self.speak(stream, authorization).await
    }

    /// A client on a stream that leads to the server already.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn speak(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        authorization: Option<HeaderValue>,
    ) -> Result<Client, ApiError> {
        let authority = self.server.authority();
        let (sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(64 * 1024)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| ApiError::Unreachable(format!("{authority}: {error}")))?;
        let io = tokio::spawn(async move {
            // How it ended reaches whoever waits for an answer on it.
            let _ = connection.await;
        });
        let host = HeaderValue::from_str(&authority)
            .map_err(|_| ApiError::Credential(format!("{authority:?} is not a host")))?;
        Ok(Client { sender, host, prefix: self.server.prefix.clone(), authorization, agent: AGENT, io })
    }

    fn tls(&self, bearer: Bearer, now: SystemTime) -> Result<(ClientConfig, Option<HeaderValue>), ApiError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_details(provider, Arc::new(At(now)))
            .with_safe_default_protocol_versions()
            .map_err(|error| ApiError::Credential(format!("TLS cannot be set up: {error}")))?
            .with_root_certificates(Arc::clone(&self.roots));
        let (mut config, authorization) = match bearer {
            Bearer::Certificate(chain, key) => (
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| ApiError::Credential(format!("the client certificate cannot be used: {error}")))?,
                None,
            ),
            Bearer::Nobody => (builder.with_no_client_auth(), None),
            Bearer::Token(token) => {
                let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
                    .map_err(|_| ApiError::Credential("the token has characters that no token has".to_owned()))?;
                // hyper then keeps it out of its own Debug.
                value.set_sensitive(true);
                (builder.with_no_client_auth(), Some(value))
            }
        };
        // Each connection is judged by itself: a resumed session would skip the certificate.
        config.resumption = Resumption::disabled();
        Ok((config, authorization))
    }
}

/// The instant at which a connection judges certificates: our clock, read once by the caller.
#[derive(Debug)]
struct At(SystemTime);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        self.0.duration_since(SystemTime::UNIX_EPOCH).ok().map(UnixTime::since_unix_epoch)
    }
}

fn refused(authority: &str, error: &std::io::Error) -> ApiError {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let words = format!("{authority}: {error}");
    let Some(rustls::Error::InvalidCertificate(fault)) = tls else {
        return ApiError::Unreachable(words);
    };
    let time = |time: &UnixTime| Time::from_unix(time.as_secs());
    match fault {
        CertificateError::ExpiredContext { not_after, .. } => {
            ApiError::OutOfTime { words, end: End::Ended(time(not_after)) }
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            ApiError::OutOfTime { words, end: End::Begins(time(not_before)) }
        }
        CertificateError::Expired | CertificateError::NotValidYet => ApiError::OutOfTime { words, end: End::Unknown },
        _ => ApiError::Untrusted(words),
    }
}
