//! Connections to the address.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::{Answer, Asked, Manner, Seen, Service};

/// Longer than anybody waits.
const FOR_EVER: Duration = Duration::from_secs(600);

enum Shared {
    Silent,
    Says(Vec<u8>),
    Endless,
    Http(Mutex<Box<dyn Service>>),
}

pub(super) async fn serve(listener: TcpListener, manner: Manner, seen: Arc<Mutex<Seen>>) {
    let shared = Arc::new(match manner {
        Manner::NoAddress | Manner::Closed => return,
        Manner::Silent => Shared::Silent,
        Manner::Says(bytes) => Shared::Says(bytes),
        Manner::Endless => Shared::Endless,
        Manner::Http(service) => Shared::Http(Mutex::new(service)),
    });
    while let Ok((stream, _)) = listener.accept().await {
        seen.lock().unwrap_or_else(PoisonError::into_inner).connections += 1;
        let (shared, seen) = (Arc::clone(&shared), Arc::clone(&seen));
        tokio::spawn(async move {
            match &*shared {
                Shared::Silent => sleep(FOR_EVER).await,
                Shared::Says(bytes) => says(stream, bytes).await,
                Shared::Endless => endless(stream, &seen).await,
                Shared::Http(service) => http(stream, service, &seen).await,
            }
        });
    }
}

/// Reads the beginning of a request, so that the answer is not cut off by a reset.
async fn says(mut stream: TcpStream, bytes: &[u8]) {
    let mut asked = [0; 4_096];
    let _ = stream.read(&mut asked).await;
    let _ = stream.write_all(bytes).await;
}

async fn endless(mut stream: TcpStream, seen: &Mutex<Seen>) {
    says_head(&mut stream).await;
    let piece = [b'a'; 4_096];
    while stream.write_all(&piece).await.is_ok() {
        seen.lock().unwrap_or_else(PoisonError::into_inner).sent += piece.len();
    }
}

async fn says_head(stream: &mut TcpStream) {
    let mut asked = [0; 4_096];
    let _ = stream.read(&mut asked).await;
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n").await;
}

async fn http(stream: TcpStream, service: &Mutex<Box<dyn Service>>, seen: &Mutex<Seen>) {
    let answer = |request: Request<Incoming>| {
        let asked = read(&request);
        seen.lock().unwrap_or_else(PoisonError::into_inner).asked.push(asked.clone());
        let answer = service.lock().unwrap_or_else(PoisonError::into_inner).answer(&asked);
        async move { Ok::<_, Infallible>(write(answer)) }
    };
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
}

fn read(request: &Request<Incoming>) -> Asked {
    let headers = request.headers().iter();
    Asked {
        method: request.method().to_string(),
        path: request.uri().path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        headers: headers
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
            .collect(),
    }
}

fn write(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    response.body(Full::new(answer.body.into())).unwrap_or_default()
}
