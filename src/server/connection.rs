//! One connection from its first byte to its last.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;

use super::activity::{Activity, Inactive};
use super::watched::{WatchedBody, WatchedIo};
use super::{Handler, Limits, Stop};
use crate::limit::Address;

/// hyper's own bound on header fields. Naming even the same number makes it allocate per request, so it is only named
/// where it differs.
const HYPER_MAX_HEADERS: usize = 100;

/// Makes connections from sockets, all with the same bounds.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    builder: auto::Builder<TokioExecutor>,
    limits: Limits,
}

impl Connector {
    pub(super) fn new(limits: Limits) -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            // hyper's would run while a connection is idle too, which has a patience of its own: see `activity.rs`.
            .header_read_timeout(None)
            // For what is read and for what is written alike.
            .max_buf_size(limits.max_header_bytes);
        if limits.max_headers != HYPER_MAX_HEADERS {
            builder.http1().max_headers(limits.max_headers);
        }
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.max_h2_streams)
            .max_pending_accept_reset_streams(limits.max_h2_pending_resets)
            .max_local_error_reset_streams(limits.max_h2_error_resets)
            .max_send_buf_size(limits.max_h2_send_buffer_bytes)
            .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX));
        Self { builder, limits }
    }

    /// Serves requests on `socket`, which comes from `client`, until the client leaves, does nothing for too long, or
    /// the program stops.
    pub(super) async fn serve(&self, socket: TcpStream, client: Address, handler: Arc<impl Handler>, mut stop: Stop) {
        let activity = Activity::new();
        let service = service_fn(|request: Request<Incoming>| {
            let answering = activity.answering(request.version());
            let handler = Arc::clone(&handler);
            async move {
                let response = handler.answer(request, client).await;
                Ok::<_, Infallible>(response.map(|body| WatchedBody::new(body, answering)))
            }
        });
        let io = WatchedIo::new(TokioIo::new(socket), Arc::clone(&activity));
        let mut connection = pin!(self.builder.serve_connection(io, service));
        let mut is_closing = false;
        loop {
            tokio::select! {
                // Its error is the client's: a broken request or a lost connection, which each request's record tells.
                _ = connection.as_mut() => return,
                () = stop.requested(), if !is_closing => {
                    is_closing = true;
                    connection.as_mut().graceful_shutdown();
                }
                inactive = activity.inactive(&self.limits) => {
                    if inactive != Inactive::Stalled && !is_closing {
                        connection.as_mut().graceful_shutdown();
                        // One look, so that it can say goodbye; whoever does not leave then is left.
                        poll_fn(|context| {
                            let _ = connection.as_mut().poll(context);
                            Poll::Ready(())
                        })
                        .await;
                    }
                    return;
                }
            }
        }
    }
}
