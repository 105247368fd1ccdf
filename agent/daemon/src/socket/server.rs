//! Accepts, limits, cuts. One connection is one task; nothing here waits for another part of the agent.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use nix::errno::Errno;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::answer::{Answerer, respond};
use super::cache::document;
use super::route::Refusal;
use super::{Bound, Deps, Peer};

/// How much a peer may take. One set of values in the daemon; tests choose shorter times.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// More of them, for uid 0 alone: members of the group cannot lock root out.
    pub reserved: usize,
    /// Of all connections, those that may follow the events without an end.
    pub followers: usize,
    /// From one request's head (or the connection's start) until the next one's: a half request, a reader that does not
    /// read and an idle connection are all cut by it.
    pub patience: Duration,
    /// How long a follower may leave lines lying.
    pub stall: Duration,
    /// Octets of a request's head.
    pub head: usize,
    /// Octets of a request's body.
    pub body: usize,
    /// The wait when the system has no file descriptor or memory left for us.
    pub pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16,
            reserved: 4,
            followers: 4,
            patience: Duration::from_secs(10),
            stall: Duration::from_secs(10),
            head: 16 * 1024,
            body: 4 * 1024,
            pause: Duration::from_secs(1),
        }
    }
}

/// How long one that is turned away may take to read why.
const FAREWELL: Duration = Duration::from_millis(500);

/// Answers on `bound` until it is dropped; then every connection ends with it.
///
/// # Errors
/// Returns only if accept(2) failed in a way that waiting does not heal. The agent does without its socket then.
pub async fn serve(bound: Bound, deps: Deps) -> io::Error {
    serve_with(bound, deps, Limits::default()).await
}

pub(super) async fn serve_with(bound: Bound, deps: Deps, limits: Limits) -> io::Error {
    tracing::debug!(activated = bound.is_activated(), "the socket is served");
    let answerer = Arc::new(Answerer::new(deps, limits));
    let doors = Doors {
        all: Arc::new(Semaphore::new(limits.connections)),
        root: Arc::new(Semaphore::new(limits.reserved)),
        farewell: Arc::new(Semaphore::new(limits.connections)),
    };
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = bound.listener().accept() => accepted,
            // Ended tasks are forgotten as they end, or the set would grow for ever.
            Some(_) = connections.join_next() => continue,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => match after(&error) {
                After::Again => continue,
                After::Wait => {
                    tracing::warn!("the socket cannot accept and tries again: {error}");
                    tokio::time::sleep(limits.pause).await;
                    continue;
                }
                After::Stop => return error,
            },
        };
        // A peer that the kernel does not name is gone already.
        let Ok(peer) = Peer::of(&stream) else {
            continue;
        };
        match doors.enter(peer) {
            Some(permit) => {
                let answerer = Arc::clone(&answerer);
                connections.spawn(connection(stream, peer, answerer, limits, permit));
            }
            None => {
                // One over the limit is told so, within a limit of its own; beyond that it is only closed.
                if let Ok(permit) = Arc::clone(&doors.farewell).try_acquire_owned() {
                    connections.spawn(turn_away(stream, permit));
                }
            }
        }
    }
}

/// The permits.
struct Doors {
    all: Arc<Semaphore>,
    root: Arc<Semaphore>,
    farewell: Arc<Semaphore>,
}

impl Doors {
    fn enter(&self, peer: Peer) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.all).try_acquire_owned() {
            return Some(permit);
        }
        if !peer.may_command() {
            return None;
        }
        Arc::clone(&self.root).try_acquire_owned().ok()
    }
}

/// What to do after accept(2) failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// The fault was that connection's.
    Again,
    /// The system is short of something; it may come back.
    Wait,
    /// The listening socket itself is of no use.
    Stop,
}

fn after(error: &io::Error) -> After {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ECONNABORTED | Errno::EINTR | Errno::EAGAIN | Errno::EPROTO) => After::Again,
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => After::Wait,
        _ => After::Stop,
    }
}

/// Serves one connection until it ends or is cut. The deadline moves with each request's head, see [`Limits::patience`].
async fn connection(
    stream: UnixStream,
    peer: Peer,
    answerer: Arc<Answerer>,
    limits: Limits,
    _permit: OwnedSemaphorePermit,
) {
    let (deadline, mut changed) = watch::channel(Some(Instant::now() + limits.patience));
    let deadline = Arc::new(deadline);
    let service = service_fn(|request| respond(&answerer, peer, &deadline, request));
    let mut serving = std::pin::pin!(
        hyper::server::conn::http1::Builder::new()
            .max_buf_size(limits.head)
            .half_close(false)
            .serve_connection(TokioIo::new(stream), service)
    );
    loop {
        let until = *changed.borrow_and_update();
        tokio::select! {
            // Gone, or spoke no HTTP: hyper has answered what there was to answer.
            _ = &mut serving => return,
            _ = changed.changed() => {}
            () = at(until) => return,
        }
    }
}

async fn at(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// Says 503, and reads on for a moment: closing with unread octets would reset the connection under the answer.
async fn turn_away(mut stream: UnixStream, _permit: OwnedSemaphorePermit) {
    let refusal = Refusal::busy("Too many connections at once; try again in a moment.");
    let body = document(&refusal.body()).unwrap_or_else(|_| Bytes::new());
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         retry-after: 1\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let farewell = async {
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&body).await?;
        stream.shutdown().await?;
        let mut rest = [0; 512];
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    // It may have gone without reading; nothing is lost by that.
    let _ = timeout(FAREWELL, farewell).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_failed_accept() {
        for (errno, want) in [
            (Errno::ECONNABORTED, After::Again),
            (Errno::EINTR, After::Again),
            (Errno::EMFILE, After::Wait),
            (Errno::ENFILE, After::Wait),
            (Errno::ENOMEM, After::Wait),
            (Errno::EBADF, After::Stop),
            (Errno::EINVAL, After::Stop),
        ] {
            assert_eq!(after(&io::Error::from(errno)), want, "{errno}");
        }
        assert_eq!(after(&io::Error::other("no errno")), After::Stop);
    }

    #[test]
    fn root_has_doors_of_its_own() {
        let doors = Doors {
            all: Arc::new(Semaphore::new(1)),
            root: Arc::new(Semaphore::new(1)),
            farewell: Arc::new(Semaphore::new(1)),
        };
        let peer = |uid| Peer { uid, gid: 0, pid: 1 };
        let _hog = doors.enter(peer(1000)).expect("the one place");
        assert!(doors.enter(peer(1000)).is_none());
        let _root = doors.enter(peer(0)).expect("a reserved place");
        assert!(doors.enter(peer(0)).is_none(), "that is limited too");
    }
}
