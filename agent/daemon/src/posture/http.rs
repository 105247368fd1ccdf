//! One HTTP request to a port or a socket of this host or to the metadata service, for how it is answered. Redirects are not followed, proxies are not
//! asked, nothing is kept open.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper::header::{HOST, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

/// What the posture calls itself: audit logs tell its questions from those about certificates.
pub const AGENT: &str = concat!("eyewall-posture/", env!("CARGO_PKG_VERSION"));
/// The largest body that is read, in bytes: the largest user data of any platform is 256 KiB, in base64.
pub const BODY_MAX: usize = 512 * 1024;

/// What to ask.
#[derive(Debug)]
pub struct Ask<'a> {
    /// Whom.
    pub address: SocketAddr,
    /// Over TLS, taking any certificate.
    pub tls: Option<Arc<ClientConfig>>,
    /// GET or PUT.
    pub method: Method,
    /// Path and query.
    pub path: &'a str,
    /// Headers beside `Host` and `User-Agent`.
    pub headers: &'a [(&'a str, &'a str)],
    /// For all of it.
    pub within: Duration,
}

/// The answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body; it may hold credentials, so it is wiped when it goes. `None`: larger than is read.
    pub body: Option<Zeroizing<Vec<u8>>>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskFault {
    /// The port is closed.
    #[error("nothing listens there")]
    Closed,
    /// TLS was refused: an alert of the other side, or it does not speak it.
    #[error("the TLS handshake was refused: {0}")]
    Handshake(String),
    /// Something listens, and it is no HTTP.
    #[error("it does not answer in HTTP: {0}")]
    NoHttp(String),
    /// No answer in time, or no way there.
    #[error("{0}")]
    Unreachable(String),
}

impl AskFault {
    /// The word for machines.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Handshake(_) => "handshake-refused",
            Self::NoHttp(_) => "no-http",
            Self::Unreachable(_) => "unreachable",
        }
    }
}

impl Ask<'_> {
    /// Asks once.
    ///
    /// # Errors
    /// [`AskFault`].
    pub async fn send(&self) -> Result<Answer, AskFault> {
        match timeout(self.within, self.dialogue()).await {
            Ok(answered) => answered,
            Err(_) => Err(AskFault::Unreachable(format!("no answer within {} ms", self.within.as_millis()))),
        }
    }

    /// Without the port where it is the usual one, as every client writes it: some services know their own name only.
    fn host(&self) -> String {
        let usual = if self.tls.is_some() { 443 } else { 80 };
        match self.address {
            SocketAddr::V4(address) if address.port() == usual => address.ip().to_string(),
            SocketAddr::V6(address) if address.port() == usual => format!("[{}]", address.ip()),
            address => address.to_string(),
        }
    }

    async fn dialogue(&self) -> Result<Answer, AskFault> {
        let stream = TcpStream::connect(self.address).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::ConnectionRefused => AskFault::Closed,
            _ => AskFault::Unreachable(error.to_string()),
        })?;
        match &self.tls {
            None => self.exchange(stream).await,
            Some(config) => {
                let name = ServerName::from(self.address.ip());
                let stream = TlsConnector::from(Arc::clone(config))
                    .connect(name, stream)
                    .await
                    .map_err(|error| AskFault::Handshake(error.to_string()))?;
                self.exchange(stream).await
            }
        }
    }

    async fn exchange(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Answer, AskFault> {
        exchange(stream, &self.method, &self.host(), self.path, self.headers).await
    }
}

/// `GET path` of whoever listens on a socket in the file system.
///
/// # Errors
/// [`SocketFault`].
pub async fn get_from_socket(socket: &Path, path: &str, within: Duration) -> Result<Answer, SocketFault> {
    let dialogue = async {
        let stream = UnixStream::connect(socket).await.map_err(SocketFault::Connect)?;
        exchange(stream, &Method::GET, "localhost", path, &[]).await.map_err(SocketFault::Answer)
    };
    match timeout(within, dialogue).await {
        Ok(answered) => answered,
        Err(_) => {
            Err(SocketFault::Answer(AskFault::Unreachable(format!("no answer within {} ms", within.as_millis()))))
        }
    }
}

/// Why a socket in the file system did not answer.
#[derive(Debug, thiserror::Error)]
pub enum SocketFault {
    /// There is none, or it may not be used.
    #[error("{0}")]
    Connect(std::io::Error),
    /// Something listens, and there is no answer.
    #[error("{0}")]
    Answer(AskFault),
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    method: &Method,
    host: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<Answer, AskFault> {
    // In TLS 1.3 a server that wants a client certificate says so only after the client believes to be done.
    let no_http = |error: hyper::Error| {
        if alert(&error) { AskFault::Handshake(told(&error)) } else { AskFault::NoHttp(told(&error)) }
    };
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(64 * 1024).handshake(TokioIo::new(stream)).await.map_err(no_http)?;
    let io = AbortOnDrop(tokio::spawn(async move {
        // How it ended reaches whoever waits for an answer on it.
        let _ = connection.await;
    }));
    let mut request = Request::builder().method(method).uri(path).header(HOST, host).header(USER_AGENT, AGENT);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| AskFault::Unreachable(error.to_string()))?;
    let response = sender.send_request(request).await.map_err(no_http)?;
    let (head, body) = response.into_parts();
    let body = match Limited::new(body, BODY_MAX).collect().await {
        Ok(body) => Some(Zeroizing::new(body.to_bytes().to_vec())),
        Err(error) if error.is::<LengthLimitError>() => None,
        Err(error) => return Err(AskFault::NoHttp(error.to_string())),
    };
    drop(io);
    Ok(Answer { status: head.status.as_u16(), body })
}

#[derive(Debug)]
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// hyper's own sentence says only that something went wrong; what did is behind it.
fn told(error: &hyper::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

fn alert(error: &hyper::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if inner
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
            .is_some_and(|inner| inner.is::<rustls::Error>())
        {
            return true;
        }
        cause = inner.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    async fn answering(answer: Vec<u8>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut asked = [0; 1024];
                let _ = stream.read(&mut asked).await;
                let _ = stream.write_all(&answer).await;
            }
        });
        address
    }

    async fn ask(address: SocketAddr) -> Result<Answer, AskFault> {
        let within = Duration::from_millis(500);
        Ask { address, tls: None, method: Method::GET, path: "/", headers: &[("Metadata", "true")], within }
            .send()
            .await
    }

    #[test]
    fn the_usual_port_is_not_told() {
        for (address, want) in [
            ("169.254.169.254:80", "169.254.169.254"),
            ("127.0.0.1:10250", "127.0.0.1:10250"),
            ("[::1]:80", "[::1]"),
            ("[::1]:443", "[::1]:443"),
        ] {
            let ask = Ask {
                address: address.parse().unwrap(),
                tls: None,
                method: Method::GET,
                path: "/",
                headers: &[],
                within: Duration::ZERO,
            };
            assert_eq!(ask.host(), want, "{address}");
        }
    }

    #[tokio::test]
    async fn every_kind_of_answer_is_told_apart() {
        let good = ask(answering(b"HTTP/1.1 401 No\r\ncontent-length: 2\r\n\r\nno".to_vec()).await).await.unwrap();
        assert_eq!((good.status, good.body.as_deref().map(Vec::as_slice)), (401, Some(&b"no"[..])));
        let mut huge = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec();
        huge.resize(huge.len() + BODY_MAX + 1, b'a');
        assert!(ask(answering(huge).await).await.unwrap().body.is_none(), "a body without end is not read");
        let banner = ask(answering(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()).await).await.unwrap_err();
        assert_eq!(banner.kind(), "no-http", "{banner}");
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert_eq!(ask(closed).await.unwrap_err(), AskFault::Closed);
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        assert_eq!(ask(silent.local_addr().unwrap()).await.unwrap_err().kind(), "unreachable");
    }
}
