//! What a connection is doing, so that one which does nothing can be closed.
//!
//! hyper bounds how long an HTTP/1 header may take, and an idle connection by the same time. It does not bound one on
//! which nothing was ever sent, an idle HTTP/2 connection, or a client that stops reading. This does all of it, with a
//! patience for each: a header that has begun should be whole soon, while an idle connection must outlast the patience
//! of the load balancer in front, which would otherwise send a request just when it is closed.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Version;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::time::Instant;

use super::Limits;

/// What a connection is doing, told by its parts as they work.
#[derive(Debug)]
pub(super) struct Activity {
    opened: Instant,
    /// Milliseconds after `opened` when a request came in or bytes went out.
    last: AtomicU64,
    /// Requests that are being answered.
    answering: AtomicUsize,
    /// Answers whose bodies are not yet handed over whole.
    sending: AtomicUsize,
    /// Whether the client's side of the socket takes no more bytes.
    blocked: AtomicBool,
    /// Milliseconds after `opened` when the header that is being read began; [`NO_HEADER`] where none is.
    header_since: AtomicU64,
    /// Whether it is known to be HTTP/2, where bytes that come in need not be of a header.
    is_h2: AtomicBool,
}

/// No header is being read.
const NO_HEADER: u64 = u64::MAX;

/// Why a connection should be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inactive {
    /// A request's header is not whole after too long; on a new connection also where none has begun.
    Unheaded,
    /// No request for too long.
    Idle,
    /// An answer is there and the client does not take it.
    Stalled,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            opened: Instant::now(),
            last: AtomicU64::new(0),
            answering: AtomicUsize::new(0),
            sending: AtomicUsize::new(0),
            blocked: AtomicBool::new(false),
            // The first request is due from the start.
            header_since: AtomicU64::new(0),
            is_h2: AtomicBool::new(false),
        })
    }

    /// Waits until the connection has done nothing for longer than `limits` allow.
    pub(super) async fn inactive(&self, limits: &Limits) -> Inactive {
        // What the connection does may change while this sleeps, so no sleep is longer than the shortest patience.
        let longest_sleep = limits.header_read_timeout.min(limits.idle_timeout).min(limits.write_timeout);
        loop {
            let left = match self.lack() {
                Some(lack) => {
                    let left = match lack {
                        Inactive::Unheaded => limits.header_read_timeout.saturating_sub(self.reading_header()),
                        Inactive::Idle => limits.idle_timeout.saturating_sub(self.quiet()),
                        Inactive::Stalled => limits.write_timeout.saturating_sub(self.quiet()),
                    };
                    if left.is_zero() {
                        return lack;
                    }
                    left
                }
                None => longest_sleep,
            };
            tokio::time::sleep(left.min(longest_sleep)).await;
        }
    }

    /// What the connection lacks just now; `None` while a request is being answered, which has deadlines of its own.
    fn lack(&self) -> Option<Inactive> {
        let is_answering = self.answering.load(Ordering::Relaxed) > 0;
        let is_sending = self.sending.load(Ordering::Relaxed) > 0;
        let has_header = self.header_since.load(Ordering::Relaxed) != NO_HEADER;
        if self.blocked.load(Ordering::Relaxed) || (is_sending && !is_answering) {
            Some(Inactive::Stalled)
        } else if is_answering {
            None
        } else {
            Some(if has_header { Inactive::Unheaded } else { Inactive::Idle })
        }
    }

    /// For how long a header has been read.
    fn reading_header(&self) -> Duration {
        self.since(self.header_since.load(Ordering::Relaxed))
    }

    /// How long nothing has happened.
    fn quiet(&self) -> Duration {
        self.since(self.last.load(Ordering::Relaxed))
    }

    fn since(&self, millis: u64) -> Duration {
        self.opened.elapsed().saturating_sub(Duration::from_millis(millis))
    }

    /// A request has come in; it is being answered until the guard is dropped.
    pub(super) fn answering(self: &Arc<Self>, version: Version) -> Answering {
        self.progress();
        self.header_since.store(NO_HEADER, Ordering::Relaxed);
        if version == Version::HTTP_2 {
            self.is_h2.store(true, Ordering::Relaxed);
        }
        self.answering.fetch_add(1, Ordering::Relaxed);
        Answering(Arc::clone(self))
    }

    /// Bytes have come in. In HTTP/1, and between two requests, they begin a header. A header whose first bytes came
    /// along with the request before is noticed with the next that come, and so has the idle patience before.
    fn read(&self) {
        let is_between = self.answering.load(Ordering::Relaxed) == 0 && !self.is_h2.load(Ordering::Relaxed);
        if is_between && self.header_since.load(Ordering::Relaxed) == NO_HEADER {
            self.header_since.store(self.millis(), Ordering::Relaxed);
        }
    }

    fn progress(&self) {
        self.last.store(self.millis(), Ordering::Relaxed);
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(NO_HEADER - 1)
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Answering(Arc<Activity>);

impl Answering {
    /// The answer is there: from here on its body is being sent.
    pub(super) fn send<B>(self, body: B) -> Sent<B> {
        self.0.sending.fetch_add(1, Ordering::Relaxed);
        Sent { body, sending: Sending(Arc::clone(&self.0)) }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answering.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body that tells when it gets on.
#[derive(Debug)]
pub(super) struct Sent<B> {
    body: B,
    sending: Sending,
}

#[derive(Debug)]
struct Sending(Arc<Activity>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.sending.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Sent<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        // Waiting for storage is no stall of the client's: storage has deadlines of its own.
        self.sending.0.progress();
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection's socket that tells when bytes go out, and when they can't.
#[derive(Debug)]
pub(super) struct WatchedIo<I> {
    io: I,
    activity: Arc<Activity>,
}

impl<I> WatchedIo<I> {
    pub(super) fn new(io: I, activity: Arc<Activity>) -> Self {
        Self { io, activity }
    }

    fn wrote<T>(&self, polled: Poll<T>) -> Poll<T> {
        self.activity.blocked.store(polled.is_pending(), Ordering::Relaxed);
        if polled.is_ready() {
            self.activity.progress();
        }
        polled
    }
}

impl<I: Read + Unpin> Read for WatchedIo<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_read(context, buffer);
        // The end of what the client sends counts as well, which does no harm: the connection is over then.
        if matches!(polled, Poll::Ready(Ok(()))) {
            self.activity.read();
        }
        polled
    }
}

impl<I: Write + Unpin> Write for WatchedIo<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(context, bytes);
        self.wrote(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
