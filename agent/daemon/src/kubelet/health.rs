//! Asks the kubelet's health port whether anybody is in. Nothing secret is sent and nothing that is answered is believed
//! beyond "somebody answers HTTP", so the certificate (self-signed on every node) is not checked.
//!
//! The connection is kept: a healthy kubelet costs one small request a minute and no handshake.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eyewall_core::config::Endpoint;
use eyewall_core::kubelet::Answer;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::{HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::anybody;

/// For all of a probe. The kubelet answers within milliseconds; one that takes longer than this does not work.
const WITHIN: Duration = Duration::from_secs(5);
/// The largest answer that is read to its end so that the connection can be kept, in bytes.
const BODY_MAX: usize = 16 * 1024;

type Sender = SendRequest<Empty<Bytes>>;

/// The health port and the connection to it.
#[derive(Debug)]
pub struct Probe {
    url: String,
    connection: Option<Connection>,
    tls: Option<Arc<ClientConfig>>,
}

#[derive(Debug)]
struct Connection {
    sender: Sender,
    io: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.io.abort();
    }
}

impl Probe {
    /// A probe of `url` (`kubelet.health`).
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), connection: None, tls: None }
    }

    /// What it asks.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Asks once, for at most five seconds.
    pub async fn ask(&mut self) -> Answer {
        let endpoint = match Endpoint::parse(&self.url) {
            Ok(endpoint) => endpoint,
            Err(why) => return Answer::Dead(format!("{} {why}", self.url)),
        };
        let answered = match timeout(WITHIN, self.ask_within(&endpoint)).await {
            Ok(answered) => answered,
            Err(_) => Err(format!("no answer within {} s", WITHIN.as_secs())),
        };
        match answered {
            Ok(status) if status.as_u16() < 500 => Answer::Alive(status.as_u16()),
            Ok(status) => Answer::Dead(format!("it answers {status}")),
            Err(why) => {
                // Whatever hangs on it, the next probe begins anew.
                self.connection = None;
                Answer::Dead(why)
            }
        }
    }

    async fn ask_within(&mut self, endpoint: &Endpoint) -> Result<StatusCode, String> {
        if let Some(mut connection) = self.connection.take()
            && !connection.sender.is_closed()
            && let Ok(status) = request(&mut connection.sender, endpoint).await
        {
            self.connection = Some(connection);
            return Ok(status);
        }
        // None yet, or one that the other side has closed meanwhile: a kubelet that was restarted has a new port behind it.
        let mut connection = self.connect(endpoint).await?;
        let status = request(&mut connection.sender, endpoint).await?;
        self.connection = Some(connection);
        Ok(status)
    }

    async fn connect(&mut self, endpoint: &Endpoint) -> Result<Connection, String> {
        let stream =
            TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.map_err(|error| cause(&error))?;
        if !endpoint.tls {
            return handshake(stream).await;
        }
        let name =
            ServerName::try_from(endpoint.host.clone()).map_err(|_| format!("{:?} is not a host", endpoint.host))?;
        let tls = match &self.tls {
            Some(tls) => Arc::clone(tls),
            None => Arc::clone(self.tls.insert(Arc::new(anybody::client(None)?))),
        };
        let stream = TlsConnector::from(tls).connect(name, stream).await.map_err(|error| cause(&error))?;
        handshake(stream).await
    }
}

async fn handshake(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Connection, String> {
    let (sender, connection) = Builder::new()
        .max_buf_size(BODY_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| format!("it does not speak HTTP: {error}"))?;
    let io = tokio::spawn(async move {
        // How it ended reaches whoever waits for an answer on it.
        let _ = connection.await;
    });
    Ok(Connection { sender, io })
}

async fn request(sender: &mut Sender, endpoint: &Endpoint) -> Result<StatusCode, String> {
    let told = |error: hyper::Error| format!("it does not answer HTTP: {error}");
    let host = if endpoint.host.contains(':') { format!("[{}]", endpoint.host) } else { endpoint.host.clone() };
    let request = Request::get(&endpoint.path)
        .header(HOST, format!("{host}:{}", endpoint.port))
        .header(USER_AGENT, "eyewall")
        .body(Empty::new())
        .map_err(|error| format!("it cannot be asked: {error}"))?;
    sender.ready().await.map_err(told)?;
    let response = sender.send_request(request).await.map_err(told)?;
    let status = response.status();
    // To the end, or the connection cannot be used again; what it says is of no interest.
    let _ = Limited::new(response.into_body(), BODY_MAX).collect().await;
    Ok(status)
}

/// The word of the system, without what stands around it.
fn cause(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// A port that answers each request with `answer`, over TLS if asked to; it counts its connections.
    async fn serve(answer: &'static str, tls: bool) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let acceptor = tls.then(self_signed);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                match &acceptor {
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            tokio::spawn(talk(stream, answer));
                        }
                    }
                    None => drop(tokio::spawn(talk(stream, answer))),
                }
            }
        });
        let scheme = if tls { "https" } else { "http" };
        (format!("{scheme}://{address}/healthz"), count)
    }

    async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &'static str) {
        let mut buffer = [0_u8; 4096];
        while let Ok(read) = stream.read(&mut buffer).await {
            let asked = String::from_utf8_lossy(&buffer[..read]);
            if read == 0 || !asked.starts_with("GET /healthz HTTP/1.1\r\n") || !asked.contains("host: 127.0.0.1:") {
                return;
            }
            if stream.write_all(answer.as_bytes()).await.is_err() || answer.contains("close") {
                return;
            }
        }
    }

    fn self_signed() -> TlsAcceptor {
        let made = rcgen::generate_simple_self_signed(["kubelet".to_owned()]).expect("a certificate");
        let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a server");
        TlsAcceptor::from(Arc::new(config))
    }

    const UNAUTHORIZED: &str = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 12\r\n\r\nUnauthorized";

    #[tokio::test]
    async fn who_answers_below_500_is_alive() {
        for (name, answer, tls, want) in [
            ("a kubelet", UNAUTHORIZED, true, Answer::Alive(401)),
            ("plain", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false, Answer::Alive(200)),
            ("forbidden", "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", true, Answer::Alive(403)),
            (
                "unwell",
                "HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n",
                true,
                Answer::Dead("it answers 500 Internal Server Error".to_owned()),
            ),
        ] {
            let (url, _) = serve(answer, tls).await;
            assert_eq!(Probe::new(&url).ask().await, want, "{name}");
        }
    }

    #[tokio::test]
    async fn the_connection_is_kept_and_a_closed_one_is_made_anew() {
        let (url, count) = serve(UNAUTHORIZED, true).await;
        let mut probe = Probe::new(&url);
        for _ in 0..3 {
            assert_eq!(probe.ask().await, Answer::Alive(401));
        }
        assert_eq!(count.load(Ordering::Relaxed), 1, "three questions, one connection");

        let closing = "HTTP/1.1 401 x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        let (url, count) = serve(closing, false).await;
        let mut probe = Probe::new(&url);
        for _ in 0..3 {
            assert_eq!(probe.ask().await, Answer::Alive(401));
        }
        assert_eq!(count.load(Ordering::Relaxed), 3, "the other side closes each");
    }

    #[tokio::test]
    async fn who_does_not_answer_is_dead_and_the_reason_is_told() {
        let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("https://{}/healthz", nobody.local_addr().expect("an address"));
        drop(nobody);
        assert_eq!(Probe::new(&url).ask().await, Answer::Dead("connection refused".to_owned()));

        let (url, _) = serve("what?", false).await;
        assert!(matches!(Probe::new(&url).ask().await, Answer::Dead(why) if why.contains("HTTP")));
        let tls = url.replace("http://", "https://");
        assert!(matches!(Probe::new(&tls).ask().await, Answer::Dead(_)), "no TLS behind it");
        assert!(matches!(Probe::new("ftp://x").ask().await, Answer::Dead(why) if why.contains("ftp://x")));
    }

    #[tokio::test]
    async fn a_port_that_hangs_does_not_hang_us() {
        let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("https://{}/healthz", silent.local_addr().expect("an address"));
        let before = tokio::time::Instant::now();
        let answer = Probe::new(&url).ask().await;
        assert_eq!(answer, Answer::Dead("no answer within 5 s".to_owned()));
        assert!(before.elapsed() < Duration::from_secs(8));
    }
}
