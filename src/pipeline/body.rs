//! The bodies that leave.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;

use super::record::Record;
use crate::storage::StoreError;

/// A response's body: shared bytes, or a stream from storage. Carries the request's record to its end, so that
/// what is written down is what was sent.
#[derive(Debug)]
pub struct Body {
    content: Content,
    record: Option<Box<Record>>,
}

enum Content {
    /// Pieces in memory: a document, or some of its ranges with the lines between them.
    Pieces(VecDeque<Bytes>),
    /// One piece in memory, the usual case, which needs no queue.
    Whole(Option<Bytes>),
    /// Bytes that are still to come, and how many.
    Stream { body: BoxStream<'static, Result<Bytes, StoreError>>, left: u64 },
    /// Lines that somebody writes meanwhile, who is told when nobody takes them any more.
    Lines(mpsc::Receiver<Bytes>),
}

impl Body {
    /// Nothing.
    pub fn empty() -> Self {
        Self::new(Content::Whole(None))
    }

    /// Bytes in memory.
    pub fn whole(bytes: Bytes) -> Self {
        Self::new(Content::Whole((!bytes.is_empty()).then_some(bytes)))
    }

    pub(super) fn pieces(pieces: VecDeque<Bytes>) -> Self {
        Self::new(Content::Pieces(pieces))
    }

    /// A stream of `length` bytes.
    pub(super) fn stream(body: BoxStream<'static, Result<Bytes, StoreError>>, length: u64) -> Self {
        Self::new(Content::Stream { body, left: length })
    }

    /// Lines, until their writer is done.
    pub(super) fn lines(lines: mpsc::Receiver<Bytes>) -> Self {
        Self::new(Content::Lines(lines))
    }

    pub(super) fn recorded(mut self, record: Box<Record>) -> Self {
        self.record = Some(record);
        self
    }

    fn new(content: Content) -> Self {
        Self { content, record: None }
    }

    /// Bytes that are still to be sent, as far as that is known.
    pub(super) fn left(&self) -> u64 {
        match &self.content {
            Content::Whole(bytes) => bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            Content::Pieces(pieces) => pieces.iter().map(|piece| piece.len() as u64).sum(),
            Content::Stream { left, .. } => *left,
            Content::Lines(_) => 0,
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = StoreError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StoreError>>> {
        let next = match &mut self.content {
            Content::Whole(bytes) => bytes.take().map(Ok),
            Content::Pieces(pieces) => pieces.pop_front().map(Ok),
            Content::Stream { body, left } => {
                let next = ready!(body.as_mut().poll_next(context));
                if let Some(Ok(chunk)) = &next {
                    *left = left.saturating_sub(chunk.len() as u64);
                }
                next
            }
            Content::Lines(lines) => ready!(lines.poll_recv(context)).map(Ok),
        };
        if let Some(record) = &mut self.record {
            match &next {
                Some(Ok(chunk)) => record.sent(chunk.len()),
                Some(Err(error)) => record.cut_off(error),
                None => {}
            }
        }
        Poll::Ready(next.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        !matches!(self.content, Content::Lines(_)) && self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        match self.content {
            Content::Lines(_) => SizeHint::default(),
            _ => SizeHint::with_exact(self.left()),
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pieces(pieces) => write!(f, "Pieces({})", pieces.len()),
            Self::Whole(bytes) => write!(f, "Whole({})", bytes.as_ref().map_or(0, Bytes::len)),
            Self::Stream { left, .. } => write!(f, "Stream({left})"),
            Self::Lines(_) => write!(f, "Lines"),
        }
    }
}
