//! Port 10250, as somebody without credentials sees it: the serving pair of the certificate directory, and 401 for everything.

mod pair;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::server::ResolvesServerCert;
use rustls::sign::SingleCertAndKey;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{Never, say};
use pair::Pair;

/// Where to listen, if not where the real one does.
const LISTEN: &str = "KUBELET_STANDIN_LISTEN";
/// The file whose presence wedges this server, if not the one below.
const WEDGE: &str = "KUBELET_STANDIN_WEDGE";
const WEDGE_FILE: &str = "/run/kubelet-standin.wedge";
/// How long a peer may take for its handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Serves until it is dropped. While the wedge file is there, connections are taken and nothing is answered.
/// The pair is that of `directory`; where there is none (the real kubelet would make it), it is in no file.
pub(super) async fn serve(node: &str, directory: &Path) -> Result<Never> {
    let address = std::env::var(LISTEN).unwrap_or_else(|_| "0.0.0.0:10250".to_owned());
    let wedge = Arc::new(std::env::var_os(WEDGE).map_or_else(|| PathBuf::from(WEDGE_FILE), PathBuf::from));
    let listener = TcpListener::bind(&address).await.with_context(|| format!("listening on {address}"))?;
    let pair = directory.is_dir().then(|| Pair::begin(directory, node).map(Arc::new)).transpose()?;
    let acceptor = match &pair {
        Some(pair) => acceptor(Arc::clone(pair) as Arc<dyn ResolvesServerCert>)?,
        None => acceptor(Arc::new(SingleCertAndKey::from(pair::in_memory(node)?)))?,
    };
    say(&format!("serving on {}", listener.local_addr()?));
    let looking = async {
        match &pair {
            Some(pair) => pair.keep_looking().await,
            None => std::future::pending().await,
        }
    };
    let serving = answer(listener, acceptor, wedge);
    tokio::try_join!(looking, serving).map(|(never, _)| never)
}

async fn answer(listener: TcpListener, acceptor: TlsAcceptor, wedge: Arc<PathBuf>) -> Result<Never> {
    loop {
        match listener.accept().await {
            Ok((tcp, _)) => {
                tokio::spawn(connection(tcp, acceptor.clone(), Arc::clone(&wedge)));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

fn acceptor(pair: Arc<dyn ResolvesServerCert>) -> Result<TlsAcceptor> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(pair);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn connection(tcp: TcpStream, acceptor: TlsAcceptor, wedge: Arc<PathBuf>) {
    while_wedged(&wedge).await;
    let Ok(Ok(tls)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(tcp)).await else { return };
    let service = service_fn(move |_: Request<Incoming>| {
        let wedge = Arc::clone(&wedge);
        async move {
            while_wedged(&wedge).await;
            Ok::<_, std::convert::Infallible>(unauthorized())
        }
    });
    // Whoever probes may go away when it likes.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tls), service).await;
}

async fn while_wedged(wedge: &PathBuf) {
    while tokio::fs::try_exists(wedge).await.unwrap_or(false) {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn unauthorized() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"Unauthorized")));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
