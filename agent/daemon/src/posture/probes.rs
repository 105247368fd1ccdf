//! Probes of ports and sockets of this host, and of the metadata service: how they behave is the evidence. No body is kept.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use eyewall_core::kubeconfig::Server;
use eyewall_core::posture::Capture;
use eyewall_core::posture::read::exposition::Samples;
use eyewall_core::posture::read::kernel_line::KernelLine;
use eyewall_core::posture::read::metadata::{self, Asked, Finding, Metadata, Platform, Question, SESSION_HEADER};
use eyewall_core::posture::read::probe::{HttpAnswer, Stranger, TlsAnswer};
use eyewall_core::posture::read::zincati::Metrics;
use hyper::Method;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::http::{Answer, Ask, AskFault};
use crate::anybody;

/// For a port of this host.
const NEAR: Duration = Duration::from_secs(3);
/// For the metadata service, which is one hop away and answers within milliseconds; where it does not exist, nobody answers.
const METADATA: Duration = Duration::from_secs(2);
/// Zincati's page is some 10 KiB.
const PAGE_MAX: u64 = 256 * 1024;

/// What the agent is on a connection.
pub type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// `GET path` over TLS, whoever answers; with the node's certificate or without.
pub async fn https(address: SocketAddr, path: &str, identity: Option<Identity>) -> Capture {
    let tls = match anybody::client(identity) {
        Ok(config) => Some(Arc::new(config)),
        Err(why) => return Capture::failed("identity-unusable", &why),
    };
    let ask = Ask { address, tls, method: Method::GET, path, headers: &[], within: NEAR };
    match ask.send().await {
        Ok(answer) => Capture::record(&HttpAnswer { status: answer.status }),
        Err(fault) => Capture::failed(fault.kind(), &format!("{address}: {fault}")),
    }
}

/// `GET path` of the API server without a credential. Its name is resolved as any client's is.
pub async fn api_server(server: &Server, path: &str) -> Capture {
    let authority = server.authority();
    let found = match timeout(NEAR, tokio::net::lookup_host((server.host.as_str(), server.port))).await {
        Ok(Ok(mut found)) => found.next(),
        Ok(Err(error)) => return Capture::failed("unreachable", &format!("{authority}: {error}")),
        Err(_) => None,
    };
    match found {
        Some(address) => https(address, path, None).await,
        None => Capture::failed("unreachable", &format!("{authority} has no address")),
    }
}

/// What a TLS server does with a client that has no certificate. In TLS 1.3 the client learns of its refusal only after the
/// handshake, when it talks.
pub async fn stranger(address: SocketAddr) -> Capture {
    let config = match anybody::client(None) {
        Ok(config) => Arc::new(config),
        Err(why) => return Capture::failed("tls-unusable", &why),
    };
    let talk = async {
        let stream = match TcpStream::connect(address).await {
            Ok(stream) => stream,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => return Ok(Stranger::Closed),
            Err(error) => return Err(error),
        };
        let mut stream = match TlsConnector::from(config).connect(address.ip().into(), stream).await {
            Ok(stream) => stream,
            Err(error) => return refusal(error),
        };
        if let Err(error) = stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await {
            return refusal(error);
        }
        let mut answer = [0; 1];
        match stream.read(&mut answer).await {
            Ok(1) => Ok(Stranger::Admitted),
            Ok(_) => Err(std::io::ErrorKind::UnexpectedEof.into()),
            Err(error) => refusal(error),
        }
    };
    match timeout(NEAR, talk).await {
        Ok(Ok(stranger)) => Capture::record(&TlsAnswer { stranger }),
        Ok(Err(error)) => Capture::failed("unclear", &format!("{address}: {error}")),
        Err(_) => Capture::failed("timeout", &format!("{address} does not answer within {} s", NEAR.as_secs())),
    }
}

/// An alert is a refusal; what is no TLS at all is told apart; anything else is nobody's answer.
fn refusal(error: std::io::Error) -> std::io::Result<Stranger> {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(_)) => Ok(Stranger::Refused),
        Some(rustls::Error::InvalidMessage(_)) => Ok(Stranger::PlainText),
        _ => Err(error),
    }
}

/// Zincati's metrics: connecting is asking, and the page ends with the connection. No HTTP.
pub async fn zincati(socket: &Path) -> Capture {
    let read = async {
        let stream = UnixStream::connect(socket).await?;
        let mut page = String::new();
        stream.take(PAGE_MAX).read_to_string(&mut page).await?;
        Ok::<_, std::io::Error>(page)
    };
    match timeout(NEAR, read).await {
        Ok(Ok(page)) => match Samples::parse(&page).and_then(|page| Metrics::of(&page)) {
            Ok(metrics) => Capture::record(&metrics),
            Err(fault) => Capture::failed(fault.kind(), &fault.to_string()),
        },
        Ok(Err(error)) => super::files::why_not(socket, &error),
        Err(_) => Capture::failed("timeout", "Zincati does not answer on its socket."),
    }
}

/// Asks the metadata service what the platform allows to be asked, one question after the other; nothing at all on metal and on
/// platforms that are not known. `address` is the service's, except in tests.
pub async fn metadata(kernel_line: &str, address: SocketAddr) -> Capture {
    let line = match KernelLine::parse(kernel_line) {
        Ok(line) => line,
        Err(fault) => return Capture::failed(fault.kind(), &fault.to_string()),
    };
    let Some(platform) = Platform::of(&line) else {
        return Capture::failed("no-platform", "The kernel's command line names no platform, so nothing may be asked.");
    };
    let mut session: Option<Zeroizing<String>> = None;
    let mut asked = Vec::new();
    for request in platform.requests() {
        let mut headers: Vec<(&str, &str)> = request.headers.to_vec();
        if request.with_session
            && let Some(session) = &session
        {
            headers.push((SESSION_HEADER, session.as_str()));
        }
        let method = if request.method == "PUT" { Method::PUT } else { Method::GET };
        let ask = Ask { address, tls: None, method, path: request.path, headers: &headers, within: METADATA };
        let answer = ask.send().await;
        let finding = metadata::read(&platform, request.question, view(&answer));
        if finding == Finding::Session
            && request.question == Question::Session
            && let Ok(Answer { body: Some(body), .. }) = &answer
        {
            session = String::from_utf8(body.to_vec()).ok().map(Zeroizing::new);
        }
        asked.push(Asked { question: request.question, finding });
    }
    Capture::record(&Metadata { platform, asked })
}

fn view(answer: &Result<Answer, AskFault>) -> metadata::Answer<'_> {
    match answer {
        Ok(Answer { status, body: Some(body), .. }) => {
            metadata::Answer::Http { status: *status, body: body.as_slice() }
        }
        Ok(Answer { body: None, .. }) => metadata::Answer::TooLong,
        Err(_) => metadata::Answer::Silence,
    }
}

/// A port of the loopback address.
pub fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}
