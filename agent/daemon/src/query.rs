//! The client side of the socket: what the verbs ask the daemon. One request a connection; every wait has an end.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use eyewall_core::status::{ErrorBody, Reason};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// The whole of a question and its answer; the daemon answers from memory, so a second would do.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest document that is read; the story of 256 events is the longest and far below.
const LARGEST: usize = 4 * 1024 * 1024;
/// The longest line of a stream.
const LONGEST_LINE: usize = 64 * 1024;

/// Why there is no answer. Each tells what to do.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// Nobody listens there.
    #[error(
        "eyewall does not run: nothing answers at {}. Start it with `systemctl start eyewall.service`, \
         or see why it stopped with `journalctl -u eyewall.service`", .socket.display()
    )]
    NotRunning {
        /// The socket.
        socket: PathBuf,
    },
    /// We may not connect.
    #[error(
        "you may not read {}: only root and members of the group eyewall may. Become one with \
         `usermod -aG eyewall NAME` and log in again, or use sudo", .socket.display()
    )]
    NotPermitted {
        /// The socket.
        socket: PathBuf,
    },
    /// Someone listens and says nothing.
    #[error(
        "eyewall took the connection at {} and did not answer within {} s: it may be starting or stuck. \
         See `systemctl status eyewall.service`", .socket.display(), PATIENCE.as_secs()
    )]
    Silent {
        /// The socket.
        socket: PathBuf,
    },
    /// The daemon said no, in its own words.
    #[error("{}", .reason.message)]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// Why.
        reason: Reason,
    },
    /// What came back is not what an eyewall sends.
    #[error(
        "the answer at {} cannot be read ({what}): is something else listening there, or another version of eyewall?",
        .socket.display()
    )]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// What was wrong with it.
        what: String,
    },
}

impl QueryError {
    /// The machine word.
    pub fn kind(&self) -> &str {
        match self {
            Self::NotRunning { .. } => "not-running",
            Self::NotPermitted { .. } => "not-permitted",
            Self::Silent { .. } => "silent",
            Self::Refused { reason, .. } => &reason.kind,
            Self::Broken { .. } => "broken-answer",
        }
    }
}

/// Asks one daemon.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// The lines of a stream, see [`Client::follow`].
#[derive(Debug)]
pub struct Lines {
    socket: PathBuf,
    body: Incoming,
    read: BytesMut,
    ended: bool,
}

impl Client {
    /// Of the daemon at `socket`.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// GET a document, as it came.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn document(&self, target: &'static str) -> Result<Bytes, QueryError> {
        self.within(self.ask(Method::GET, target, Bytes::new())).await
    }

    /// GET a document and read it.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn get<T: DeserializeOwned>(&self, target: &'static str) -> Result<T, QueryError> {
        let document = self.document(target).await?;
        self.read(&document)
    }

    /// POST without a body; the answer is a reason.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn post(&self, target: &'static str) -> Result<Reason, QueryError> {
        let document = self.within(self.ask(Method::POST, target, Bytes::new())).await?;
        self.read(&document)
    }

    /// POST a JSON document, to a path whose answer may take `wait` and then some; the answer is a reason.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn post_json(&self, target: &str, body: Vec<u8>, wait: Duration) -> Result<Reason, QueryError> {
        let asked = timeout(wait + PATIENCE, self.ask(Method::POST, target, body.into()));
        let document = asked.await.unwrap_or_else(|_| Err(QueryError::Silent { socket: self.socket.clone() }))?;
        self.read(&document)
    }

    /// POST without a body, to a path whose answer may take `wait` and then some.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn post_within<T: DeserializeOwned>(&self, target: &str, wait: Duration) -> Result<T, QueryError> {
        let asked = timeout(wait + PATIENCE, self.ask(Method::POST, target, Bytes::new()));
        let document = asked.await.unwrap_or_else(|_| Err(QueryError::Silent { socket: self.socket.clone() }))?;
        self.read(&document)
    }

    /// GET a stream of lines. Only its beginning has a deadline.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn follow(&self, target: &'static str) -> Result<Lines, QueryError> {
        let response = self.within(self.send(Method::GET, target, Bytes::new())).await?;
        if response.status().is_success() {
            return Ok(Lines {
                socket: self.socket.clone(),
                body: response.into_body(),
                read: BytesMut::new(),
                ended: false,
            });
        }
        let status = response.status();
        let document = self.within(self.collect(response)).await?;
        Err(self.refused(status, &document))
    }

    /// Reads a document of this daemon.
    ///
    /// # Errors
    /// [`QueryError::Broken`].
    pub fn read<T: DeserializeOwned>(&self, document: &[u8]) -> Result<T, QueryError> {
        serde_json::from_slice(document).map_err(|error| self.broken(&error))
    }

    async fn within<T>(&self, question: impl Future<Output = Result<T, QueryError>>) -> Result<T, QueryError> {
        timeout(PATIENCE, question).await.unwrap_or_else(|_| Err(QueryError::Silent { socket: self.socket.clone() }))
    }

    async fn ask(&self, method: Method, target: &str, body: Bytes) -> Result<Bytes, QueryError> {
        let response = self.send(method, target, body).await?;
        let status = response.status();
        let document = self.collect(response).await?;
        if status.is_success() { Ok(document) } else { Err(self.refused(status, &document)) }
    }

    async fn send(&self, method: Method, target: &str, body: Bytes) -> Result<Response<Incoming>, QueryError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| self.unreachable(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(&error))?;
        // Ends with the connection; what goes wrong there is told to the request.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header(hyper::header::HOST, "eyewall")
            .body(Full::new(body))
            .map_err(|error| self.broken(&error))?;
        sender.send_request(request).await.map_err(|error| self.broken(&error))
    }

    async fn collect(&self, response: Response<Incoming>) -> Result<Bytes, QueryError> {
        match Limited::new(response.into_body(), LARGEST).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(self.broken(&"it is too long")),
            Err(error) => Err(self.broken(&error)),
        }
    }

    fn refused(&self, status: StatusCode, document: &[u8]) -> QueryError {
        match serde_json::from_slice::<ErrorBody>(document) {
            Ok(body) => QueryError::Refused { status, reason: body.error },
            Err(_) => self.broken(&status),
        }
    }

    fn unreachable(&self, error: &io::Error) -> QueryError {
        let socket = self.socket.clone();
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => QueryError::NotRunning { socket },
            ErrorKind::PermissionDenied => QueryError::NotPermitted { socket },
            _ => self.broken(error),
        }
    }

    fn broken(&self, what: &dyn fmt::Display) -> QueryError {
        QueryError::Broken { socket: self.socket.clone(), what: what.to_string() }
    }
}

impl Lines {
    /// The next whole line without its end; none when the daemon closed the stream. May be dropped and asked again.
    ///
    /// # Errors
    /// [`QueryError::Broken`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, QueryError> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let mut line = self.read.split_to(end + 1);
                line.truncate(end);
                return Ok(Some(line.freeze()));
            }
            if self.read.len() > LONGEST_LINE {
                return Err(self.broken("a line is too long"));
            }
            if self.ended {
                return Ok(None);
            }
            match self.body.frame().await {
                None => self.ended = true,
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.read.extend_from_slice(data);
                    }
                }
                // Killed in the middle of it: as good as an end, the caller looks whether it comes back.
                Some(Err(_)) => self.ended = true,
            }
        }
    }

    fn broken(&self, what: &str) -> QueryError {
        QueryError::Broken { socket: self.socket.clone(), what: what.to_owned() }
    }
}

/// An error of a verb for a person: the sentence, and the word to search for.
pub fn sentence(error: &anyhow::Error) -> String {
    match error.downcast_ref::<QueryError>() {
        Some(query) => format!("{query} [{}]", query.kind()),
        None => format!("{error:#}"),
    }
}

/// The runtime of a verb that asks the daemon: one thread.
///
/// # Errors
/// What the system said, as when no file descriptor is left.
pub fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    use super::*;

    /// Answers one connection with these octets and closes it.
    fn once(answer: &'static [u8]) -> (tempfile::TempDir, Client) {
        let root = tempfile::tempdir().expect("a directory");
        let socket = root.path().join("s");
        let listener = UnixListener::bind(&socket).expect("bound");
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut asked = [0; 1024];
            let _ = stream.read(&mut asked).expect("a request");
            stream.write_all(answer).expect("written");
        });
        let client = Client::new(&socket);
        (root, client)
    }

    #[tokio::test]
    async fn answers_of_all_kinds() {
        for (name, answer, want) in [
            (
                "a refusal",
                &b"HTTP/1.1 403 Forbidden\r\ncontent-length: 46\r\n\r\n{\"error\":{\"kind\":\"not-root\",\"message\":\"only\"}} "[..],
                "not-root",
            ),
            ("not HTTP", b"SSH-2.0-OpenSSH_9.2\r\n", "broken-answer"),
            ("nothing", b"", "broken-answer"),
            (
                "not JSON",
                b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
                "broken-answer",
            ),
            (
                "cut short",
                b"HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\n{",
                "broken-answer",
            ),
        ] {
            let (_root, client) = once(answer);
            let error = client.get::<Reason>("/v1/status").await.expect_err(name);
            assert_eq!(error.kind(), want, "{name}: {error}");
        }
    }

    #[tokio::test]
    async fn nobody_there() {
        let root = tempfile::tempdir().expect("a directory");
        let socket = root.path().join("s");
        let ask = || async { Client::new(&socket).get::<Reason>("/v1/status").await };
        let error = ask().await.expect_err("no file");
        assert_eq!(error.kind(), "not-running");
        assert!(error.to_string().contains("systemctl start eyewall.service"));
        drop(UnixListener::bind(&socket).expect("bound"));
        assert_eq!(ask().await.expect_err("a dead file").kind(), "not-running");
    }

    #[test]
    fn an_error_of_a_verb_has_its_word() {
        let socket = PathBuf::from("/s");
        let query = anyhow::Error::from(QueryError::NotRunning { socket });
        assert!(sentence(&query).ends_with(" [not-running]"), "{}", sentence(&query));
        let other = anyhow::anyhow!("inner").context("outer");
        assert_eq!(sentence(&other), "outer: inner");
    }

    #[test]
    fn not_permitted_names_the_group() {
        let client = Client::new(Path::new("/run/eyewall/eyewall.sock"));
        let error = client.unreachable(&ErrorKind::PermissionDenied.into());
        assert_eq!(error.kind(), "not-permitted");
        assert!(error.to_string().contains("group eyewall"), "{error}");
    }

    #[tokio::test]
    async fn lines_over_frames() {
        let (_root, client) = once(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n{a}\r\n4\r\n\n{b}\r\n6\r\n\n{c}\n{\r\n0\r\n\r\n",
        );
        let mut lines = client.follow("/v1/events?follow=1").await.expect("a stream");
        let mut got = Vec::new();
        while let Some(line) = lines.next().await.expect("readable") {
            got.push(String::from_utf8(line.to_vec()).expect("text"));
        }
        assert_eq!(got, ["{a}", "{b}", "{c}"], "half a line at the end is dropped");
    }
}
