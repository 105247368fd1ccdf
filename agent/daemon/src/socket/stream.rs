//! The bodies of answers: a document, or the events as they happen.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use eyewall_core::status::EventRecord;
use hyper::body::{Frame, SizeHint};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc, watch};
use tokio::time::Instant;

use super::cache::document;

/// Lines between the ring and a follower's connection; what does not fit waits in the broadcast, and then is missed.
pub const LINES: usize = 4;

/// When a connection is cut, if it is still open then. None: only its owner ends it.
pub type Deadline = watch::Sender<Option<Instant>>;

/// What is sent back.
#[derive(Debug)]
pub enum Body {
    /// One document.
    Document(Option<Bytes>),
    /// Lines as they come.
    Lines(mpsc::Receiver<Bytes>),
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match &mut *self {
            Self::Document(bytes) => Poll::Ready(bytes.take()),
            Self::Lines(lines) => lines.poll_recv(context),
        };
        next.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Document(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Document(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Lines(_) => SizeHint::default(),
        }
    }
}

/// Feeds a follower: first what was kept, then what comes. One that takes nothing for `stall` while there is something to
/// take is cut; one that is only slow misses records and sees it in the sequence.
pub async fn feed(
    kept: Vec<Arc<EventRecord>>,
    mut coming: broadcast::Receiver<Arc<EventRecord>>,
    lines: mpsc::Sender<Bytes>,
    deadline: Arc<Deadline>,
    stall: Duration,
    _place: OwnedSemaphorePermit,
) {
    let mut kept = VecDeque::from(kept);
    loop {
        let record = match kept.pop_front() {
            Some(record) => record,
            None => tokio::select! {
                received = coming.recv() => match received {
                    Ok(record) => record,
                    Err(RecvError::Lagged(_)) => continue,
                    Err(RecvError::Closed) => return,
                },
                () = lines.closed() => return,
            },
        };
        let Ok(line) = document(&*record) else {
            continue;
        };
        match tokio::time::timeout(stall, lines.send(line)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                deadline.send_replace(Some(Instant::now()));
                return;
            }
        }
    }
}
