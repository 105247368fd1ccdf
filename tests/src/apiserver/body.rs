//! The body of an answer: whole, or a stream of pieces.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;

/// What every answer of the stand-in has.
pub(super) type AnswerBody = Either<Full<Bytes>, Pieces>;

/// Pieces as they come; an error cuts the connection in the middle.
#[derive(Debug)]
pub(super) struct Pieces(mpsc::Receiver<Result<Bytes, std::io::Error>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// A body of one piece.
pub(super) fn whole(bytes: impl Into<Bytes>) -> AnswerBody {
    Either::Left(Full::new(bytes.into()))
}

/// A body whose pieces are sent later. The queue is short, so a slow reader holds its writer up and not the memory.
pub(super) fn pieces() -> (mpsc::Sender<Result<Bytes, std::io::Error>>, AnswerBody) {
    let (sender, receiver) = mpsc::channel(64);
    (sender, Either::Right(Pieces(receiver)))
}
