//! What a connection is doing, so that one which does nothing can be closed.
//!
//! hyper bounds how long an HTTP/1 header may take. It does not bound a connection on which nothing was ever sent, an
//! idle HTTP/2 connection, or a client that stops reading; this does, for all protocols alike.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
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
}

/// Why a connection should be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inactive {
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
        })
    }

    /// Waits until the connection has done nothing for longer than `limits` allow.
    pub(super) async fn inactive(&self, limits: &Limits) -> Inactive {
        loop {
            let (state, patience) = if self.blocked.load(Ordering::Relaxed) || self.is_sending() {
                (Some(Inactive::Stalled), limits.write_timeout)
            } else if self.answering.load(Ordering::Relaxed) > 0 {
                // The journey has deadlines of its own.
                (None, limits.write_timeout)
            } else {
                (Some(Inactive::Idle), limits.header_read_timeout)
            };
            let quiet = self
                .opened
                .elapsed()
                .saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)));
            match state {
                Some(state) if quiet >= patience => return state,
                Some(_) => tokio::time::sleep(patience.saturating_sub(quiet)).await,
                None => tokio::time::sleep(patience).await,
            }
        }
    }

    /// A request has come in; it is being answered until the guard is dropped.
    pub(super) fn answering(self: &Arc<Self>) -> Answering {
        self.progress();
        self.answering.fetch_add(1, Ordering::Relaxed);
        Answering(Arc::clone(self))
    }

    fn is_sending(&self) -> bool {
        self.sending.load(Ordering::Relaxed) > 0 && self.answering.load(Ordering::Relaxed) == 0
    }

    fn progress(&self) {
        let millis = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(millis, Ordering::Relaxed);
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Answering(Arc<Activity>);

impl Answering {
    /// The answer is there: from here on its body is being sent.
    pub(super) fn send<B>(self, body: B) -> Sent<B> {
        self.0.sending.fetch_add(1, Ordering::Relaxed);
        Sent {
            body,
            sending: Sending(Arc::clone(&self.0)),
        }
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
        Pin::new(&mut self.io).poll_read(context, buffer)
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
mod tests {
    use http_body_util::Full;

    use super::*;

    fn limits() -> Limits {
        Limits {
            max_connections: 1,
            header_read_timeout: Duration::from_secs(15),
            write_timeout: Duration::from_secs(30),
            max_header_bytes: 32 * 1024,
            max_headers: 100,
            max_h2_streams: 100,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_is_idle() {
        let start = Instant::now();
        assert_eq!(Activity::new().inactive(&limits()).await, Inactive::Idle);
        assert_eq!(start.elapsed(), Duration::from_secs(15));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_take_its_answer_is_stalled() {
        let activity = Activity::new();
        let answer = activity.answering().send(Full::new(Bytes::from_static(b"x")));
        let start = Instant::now();
        assert_eq!(activity.inactive(&limits()).await, Inactive::Stalled);
        assert_eq!(start.elapsed(), Duration::from_secs(30));
        drop(answer);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_waits_for_storage_is_not_inactive() {
        let activity = Activity::new();
        let answering = activity.answering();
        let limits = limits();
        let watch = activity.inactive(&limits);
        assert!(tokio::time::timeout(Duration::from_secs(300), watch).await.is_err());
        drop(answering);
    }
}
