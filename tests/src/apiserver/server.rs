//! The way in: connections, requests, faults, and answers on the wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, DATE, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::authn::{Authentication, Identity};
use super::authz::{decide, forbidden, path_allowed};
use super::body::{AnswerBody, pieces, whole};
use super::clock::http_date;
use super::faults::{FaultAction, strike};
use super::random::uuid;
use super::refusal::Refusal;
use super::requests::RequestRecord;
use super::rest::{Answer, Asked};
use super::route::{Query, Route};
use super::tls::Wire;
use super::watch;
use super::world::Shared;

/// The API server's own limit of a body, in bytes.
const BODY_LIMIT: usize = 3 * 1024 * 1024;
/// A client that does not finish its handshake, and the longest a fault holds a request.
const HANDSHAKE: Duration = Duration::from_secs(10);
const HANG: Duration = Duration::from_secs(600);
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// The connection ends here, without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the test cuts this connection")]
struct Cut;

/// Takes connections until it is dropped.
pub(super) async fn serve(shared: Arc<Shared>, listener: TcpListener, acceptor: TlsAcceptor) {
    loop {
        match listener.accept().await {
            Ok((tcp, _)) => {
                let number = shared.change(|world| {
                    world.connections_opened += 1;
                    world.connections_open += 1;
                    world.connections_opened
                });
                let (shared, acceptor) = (Arc::clone(&shared), acceptor.clone());
                tokio::spawn(async move {
                    let open = Open(Arc::clone(&shared));
                    connection(shared, tcp, &acceptor, number).await;
                    drop(open);
                });
            }
            // Out of file descriptors, most likely: other connections may end meanwhile.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Counts a connection as open for as long as it lives.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.change(|world| world.connections_open -= 1);
    }
}

/// What is the same for all requests of a connection.
struct Connection {
    shared: Arc<Shared>,
    number: u64,
    chain: Vec<CertificateDer<'static>>,
    reset: Arc<AtomicBool>,
}

async fn connection(shared: Arc<Shared>, tcp: TcpStream, acceptor: &TlsAcceptor, number: u64) {
    let _ = tcp.set_nodelay(true);
    let (wire, reset) = Wire::new(tcp);
    let Ok(Ok(tls)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(wire)).await else { return };
    let chain = tls.get_ref().1.peer_certificates().unwrap_or_default();
    let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
    let connection = Arc::new(Connection { shared, number, chain, reset });
    let service = service_fn(move |request| {
        let connection = Arc::clone(&connection);
        async move { connection.answer(request).await }
    });
    // A client that goes away is no news here: the test sees it on its own side.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tls), service).await;
}

impl Connection {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<AnswerBody>, Cut> {
        let mut record = RequestRecord {
            at: self.shared.now(),
            connection: self.number,
            method: request.method().to_string(),
            path: request.uri().to_string(),
            user: "-".to_owned(),
            user_agent: text(request.headers(), &USER_AGENT),
            status: 0,
        };
        let query = Query::parse(request.uri());
        let fault = self.shared.change_if(|world| {
            let fault = strike(&mut world.faults, request.method(), &record.path, query.watch);
            (fault.is_some(), fault)
        });
        let result = match &fault {
            Some(FaultAction::Reset) => {
                self.reset.store(true, Ordering::Relaxed);
                Err(Cut)
            }
            Some(FaultAction::Hang) => {
                // At once: a client that gives up takes this future with it.
                self.log(record);
                tokio::time::sleep(HANG).await;
                return Err(Cut);
            }
            Some(FaultAction::Status { code, retry_after, body }) => {
                Ok(prescribed(*code, *retry_after, body.as_deref()))
            }
            Some(FaultAction::RetryAt { code, seconds }) => {
                let mut response = prescribed(*code, None, None);
                let at = http_date(self.shared.now() + Duration::from_secs(*seconds));
                if let Ok(at) = HeaderValue::from_str(&at) {
                    response.headers_mut().insert(RETRY_AFTER, at);
                }
                Ok(response)
            }
            Some(FaultAction::Huge(length)) => Ok(json_response(StatusCode::OK, Bytes::from(vec![b' '; *length]))),
            Some(FaultAction::EndWatch { lines }) => Ok(json_response(
                StatusCode::OK,
                Bytes::from(lines.iter().map(|line| format!("{line}\n")).collect::<String>()),
            )),
            Some(FaultAction::Garbage) => {
                Ok(json_response(StatusCode::OK, Bytes::from_static(b"{\"kind\": \xff\xfe\x00 not json")))
            }
            Some(FaultAction::Delay(span)) => {
                tokio::time::sleep(*span).await;
                Ok(self.honest(request, &query, &mut record, None).await)
            }
            Some(FaultAction::CloseMidWatch { after_lines }) => {
                Ok(self.honest(request, &query, &mut record, Some(*after_lines)).await)
            }
            Some(FaultAction::SlowBody(_) | FaultAction::HalfBody) | None => {
                Ok(self.honest(request, &query, &mut record, None).await)
            }
        };
        let result = match (result, fault) {
            (Ok(response), Some(FaultAction::SlowBody(pause))) => Ok(slowed(response, pause).await),
            (Ok(response), Some(FaultAction::HalfBody)) => Ok(halved(response).await),
            (result, _) => result,
        };
        let result = result.map(|mut response| {
            self.add_headers(response.headers_mut());
            response
        });
        record.status = result.as_ref().map_or(0, |response| response.status().as_u16());
        self.log(record);
        result
    }

    fn log(&self, record: RequestRecord) {
        if let Some(tell) = &self.shared.options.on_request {
            tell(&record);
        }
        self.shared.change(|world| world.requests.add(record));
    }

    /// The answer by the rules.
    async fn honest(
        &self,
        request: Request<Incoming>,
        query: &Query,
        record: &mut RequestRecord,
        cut_after: Option<usize>,
    ) -> Response<AnswerBody> {
        match self.judged(request, query, record).await {
            Ok(Reply::Text(text)) => {
                let mut response = Response::new(whole(text));
                response.headers_mut().insert(CONTENT_TYPE, TEXT);
                response
            }
            Ok(Reply::Object(Answer::Object(status, object))) => json_response(status, encoded(&object)),
            Ok(Reply::Object(Answer::Watch(start))) => {
                let (lines, body) = pieces();
                tokio::spawn(watch::run(Arc::clone(&self.shared), *start, lines, cut_after));
                let mut response = Response::new(body);
                response.headers_mut().insert(CONTENT_TYPE, JSON);
                response
            }
            Err(refusal) => refused(&refusal),
        }
    }

    async fn judged(
        &self,
        request: Request<Incoming>,
        query: &Query,
        record: &mut RequestRecord,
    ) -> Result<Reply, Refusal> {
        let shared = &self.shared;
        let who = self.authenticate(request.headers())?;
        record.user.clone_from(&who.username);
        let what = match Route::parse(request.method(), request.uri(), query) {
            Route::Path => {
                let path = request.uri().path();
                path_allowed(&who, path)?;
                return at_path(path);
            }
            Route::Resource(what) => what,
        };
        shared.look(|world| {
            let decision = decide(&who, &what, &world.rules, &world.store);
            if decision.allowed { Ok(()) } else { Err(forbidden(&who, &what, &decision.reason)) }
        })?;
        let content_type = text(request.headers(), &CONTENT_TYPE);
        let body = Limited::new(request.into_body(), BODY_LIMIT);
        let body = body.collect().await.map_err(|_| Refusal::too_large(BODY_LIMIT))?.to_bytes();
        let asked = Asked {
            who: &who,
            what: &what,
            query,
            content_type: &content_type,
            body: &body,
            now: shared.now(),
            pod_stop: shared.options.pod_stop,
            watch_progress: shared.options.watch_progress,
        };
        let answer = shared.change_if(|world| {
            let before = world.store.version();
            let answer = asked.act(world);
            (world.store.version() != before, answer)
        });
        answer.map(Reply::Object)
    }

    fn authenticate(&self, headers: &HeaderMap) -> Result<Identity, Refusal> {
        let shared = &self.shared;
        shared.look(|world| {
            let authentication = Authentication {
                authority: &shared.authority,
                tokens: &world.tokens,
                anonymous: shared.options.anonymous,
                now: shared.now(),
            };
            authentication.judge(&self.chain, headers)
        })
    }

    fn add_headers(&self, headers: &mut HeaderMap) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
        if let Ok(date) = HeaderValue::from_str(&http_date(self.shared.now())) {
            headers.insert(DATE, date);
        }
        if let Some(id) = uuid().ok().and_then(|id| HeaderValue::from_str(&id).ok()) {
            headers.insert("audit-id", id);
        }
    }
}

/// What the rules give back.
enum Reply {
    Text(&'static str),
    Object(Answer),
}

fn at_path(path: &str) -> Result<Reply, Refusal> {
    match path {
        "/readyz" | "/livez" | "/healthz" => Ok(Reply::Text("ok")),
        "/version" => {
            let version = json!({
                "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36",
                "minCompatibilityMajor": "1", "minCompatibilityMinor": "35", "gitVersion": "v1.36.1",
                "gitCommit": "", "gitTreeState": "", "buildDate": "1970-01-01T00:00:00Z",
                "goVersion": "", "compiler": "gc", "platform": "linux/amd64",
            });
            Ok(Reply::Object(Answer::Object(StatusCode::OK, version)))
        }
        _ => Err(Refusal::no_such_path()),
    }
}

fn refused(refusal: &Refusal) -> Response<AnswerBody> {
    let status = refusal.status();
    let mut response = json_response(refusal.code, encoded(&status));
    if let Some(seconds) = status["details"]["retryAfterSeconds"].as_u64() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn prescribed(code: u16, retry_after: Option<u64>, body: Option<&str>) -> Response<AnswerBody> {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = body.map_or_else(
        || {
            let mut object = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
                "message": "the test prescribed this answer",
            });
            if let Some(reason) = status.canonical_reason() {
                object["reason"] = Value::from(reason.replace(' ', ""));
            }
            encoded(&object)
        },
        |text| Bytes::from(text.to_owned()),
    );
    let mut response = json_response(status, body);
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn json_response(status: StatusCode, body: Bytes) -> Response<AnswerBody> {
    let mut response = Response::new(whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// Go's encoder ends every object with a line feed.
fn encoded(object: &Value) -> Bytes {
    Bytes::from(format!("{object}\n"))
}

async fn slowed(response: Response<AnswerBody>, pause: Duration) -> Response<AnswerBody> {
    let (head, mut body) = response.into_parts();
    let (sender, slow) = pieces();
    tokio::spawn(async move {
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            for piece in data.chunks(16) {
                tokio::time::sleep(pause).await;
                if sender.send(Ok(Bytes::copy_from_slice(piece))).await.is_err() {
                    return;
                }
            }
        }
    });
    Response::from_parts(head, slow)
}

async fn halved(response: Response<AnswerBody>) -> Response<AnswerBody> {
    let (head, mut body) = response.into_parts();
    let (sender, half) = pieces();
    tokio::spawn(async move {
        if let Some(Ok(frame)) = body.frame().await
            && let Ok(data) = frame.into_data()
        {
            let _ = sender.send(Ok(data.slice(..data.len() / 2))).await;
        }
        watch::cut(&sender).await;
    });
    Response::from_parts(head, half)
}

fn text(headers: &HeaderMap, name: &hyper::header::HeaderName) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}
