//! One connection from its first byte to its last.

use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use http::header::CONNECTION;
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::activity::{Activity, Inactive};
use super::at_once::AtOnce;
use super::tls::{Acceptor, ProvenClient};
use super::watched::{WatchedBody, WatchedIo};
use super::{Handler, Limits, Stop};
use crate::auth::PeerCertificate;
use crate::chain::chain;
use crate::limit::Address;
use crate::roused::Roused;
use crate::telemetry::{ConnectionError, Instruments, OverTls};

/// hyper's own bound on header fields. Naming even the same number makes it allocate per request, so it is only named
/// where it differs.
const HYPER_MAX_HEADERS: usize = 100;

/// When the program stops: how long a request that has begun, or is due on a new connection, may take until its header
/// is whole, from the header's first byte or the connection's opening. A TLS handshake may take as long before that.
/// Who waited in the backlog may just have sent it; who says nothing must not hold up the end.
const LAST_HEADER: Duration = Duration::from_secs(1);

/// Whether a connection is encrypted.
enum Security {
    Cleartext,
    /// It is; and who its client has proven to be.
    Tls(Option<ProvenClient>),
}

impl Security {
    /// Whether it is encrypted, and the certificate that was shown.
    fn shown(&self) -> (bool, Option<Arc<PeerCertificate>>) {
        match self {
            Self::Cleartext => (false, None),
            Self::Tls(client) => (true, client.as_ref().map(|client| Arc::clone(&client.certificate))),
        }
    }

    /// Waits until the client has to prove anew who it is.
    async fn must_be_proven_again(&mut self) {
        match self {
            Self::Tls(Some(client)) => client.authorities_change().await,
            Self::Cleartext | Self::Tls(None) => std::future::pending().await,
        }
    }
}

/// How far a connection is on its way to its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// The program stops; a request may still be on its way.
    Last,
    /// What is being answered is the last.
    Closing,
}

/// What ends a connection from this side.
enum End {
    /// The program stops.
    Closing,
    /// The client has to prove anew who it is.
    Unproven,
    /// The connection has done nothing for too long.
    Inactive(Inactive),
}

/// Makes connections from sockets, all with the same bounds.
#[derive(Debug)]
pub(super) struct Connector {
    builder: auto::Builder<TokioExecutor>,
    limits: Limits,
    tls: Option<Acceptor>,
    instruments: Arc<Instruments>,
}

impl Connector {
    pub(super) fn new(limits: Limits, tls: Option<Acceptor>, instruments: Arc<Instruments>) -> Self {
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
        Self { builder, limits, tls, instruments }
    }

    /// Serves requests on `socket`, which comes from `client`, until the client leaves, does nothing for too long, or
    /// the program stops.
    pub(super) async fn serve(&self, socket: TcpStream, client: Address, handler: Arc<impl Handler>, stop: Stop) {
        match &self.tls {
            None => self.serve_on(socket, client, Security::Cleartext, handler, stop).await,
            // In a box, so that connections without TLS take no room for it.
            Some(tls) => Box::pin(self.serve_tls(tls, socket, client, handler, stop)).await,
        }
    }

    async fn serve_tls(
        &self,
        tls: &Acceptor,
        socket: TcpStream,
        client: Address,
        handler: Arc<impl Handler>,
        mut stop: Stop,
    ) {
        let too_late = async {
            stop.closing().await;
            tokio::time::sleep(LAST_HEADER).await;
        };
        let accepted = tokio::select! {
            accepted = tls.accept(socket, self.limits.header_read_timeout) => accepted,
            () = too_late => return,
        };
        if let Some((stream, known)) = accepted {
            self.serve_on(stream, client, Security::Tls(known), handler, stop).await;
        }
    }

    /// Serves requests on a connection that is up.
    async fn serve_on(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        client: Address,
        mut security: Security,
        handler: Arc<impl Handler>,
        mut stop: Stop,
    ) {
        let (is_tls, certificate) = security.shown();
        let activity = Activity::new(stop.draining());
        let service = service_fn(|mut request: Request<Incoming>| {
            if is_tls {
                request.extensions_mut().insert(OverTls);
            }
            if let Some(certificate) = &certificate {
                request.extensions_mut().insert(Arc::clone(certificate));
            }
            let answering = activity.answering(request.version());
            AtOnce::new(Arc::clone(&handler).answer(request, client)).map(|mut response| {
                // On a new connection it may find another replica.
                if answering.should_be_last() {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response.map(|body| WatchedBody::new(body, answering)))
            })
        });
        let io = WatchedIo::new(TokioIo::new(stream), Arc::clone(&activity));
        let mut connection = pin!(self.builder.serve_connection(io, service));
        let mut phase = Phase::Open;
        loop {
            let end = pin!(self.end(phase, &activity, &mut stop, &mut security));
            let end = tokio::select! {
                // First of all what the client has sent is taken in, so that a request that is there is not missed.
                biased;
                ended = poll_fn(|context| activity.during(|| connection.as_mut().poll(context))) => {
                    if let Err(error) = ended {
                        self.failed(error.as_ref());
                    }
                    return;
                }
                () = until(|| !activity.awaits_header()), if phase == Phase::Last => {
                    phase = Phase::Closing;
                    connection.as_mut().graceful_shutdown();
                    continue;
                }
                end = Roused::new(end) => end,
            };
            match end {
                End::Closing => phase = Phase::Last,
                // Its next connection will tell whether its certificate still counts.
                End::Unproven => {
                    phase = Phase::Closing;
                    connection.as_mut().graceful_shutdown();
                }
                End::Inactive(inactive) => {
                    // Who is idle has done nothing wrong, nor has who is given less time than usual.
                    if inactive != Inactive::Idle && phase == Phase::Open {
                        self.instruments.limits.connection_failed(ConnectionError::Timeout);
                        tracing::debug!(?inactive, "a connection is closed");
                    }
                    if inactive != Inactive::Stalled && phase != Phase::Closing {
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

    /// Waits for what ends a connection in this phase from this side.
    async fn end(&self, phase: Phase, activity: &Activity, stop: &mut Stop, security: &mut Security) -> End {
        let is_open = phase == Phase::Open;
        let longest = if is_open { Duration::MAX } else { LAST_HEADER };
        let header_timeout = self.limits.header_read_timeout.min(longest);
        tokio::select! {
            _ = stop.closing(), if is_open => End::Closing,
            () = security.must_be_proven_again(), if is_open => End::Unproven,
            inactive = activity.inactive(&self.limits, header_timeout) => End::Inactive(inactive),
        }
    }

    /// Counts the end of a connection that was no orderly one. Requests that were understood have records of their own;
    /// of those that hyper refuses, such as with 400 or 431, this is the only trace.
    fn failed(&self, error: &(dyn Error + Send + Sync + 'static)) {
        let kind = kind(error);
        self.instruments.limits.connection_failed(kind);
        tracing::debug!(kind = kind.as_str(), error = chain(error), "a connection has failed");
    }
}

/// What hyper says, in one word.
fn kind(error: &(dyn Error + 'static)) -> ConnectionError {
    let kind_of = |error: &(dyn Error + 'static)| {
        if error.is::<io::Error>() {
            return Some(ConnectionError::Io);
        }
        let error = error.downcast_ref::<hyper::Error>()?;
        if error.is_parse() {
            Some(ConnectionError::Parse)
        } else if error.is_timeout() {
            Some(ConnectionError::Timeout)
        } else if error.is_incomplete_message() || error.is_closed() || error.is_body_write_aborted() {
            Some(ConnectionError::Io)
        } else {
            None
        }
    };
    std::iter::successors(Some(error), |&error| error.source()).find_map(kind_of).unwrap_or(ConnectionError::Other)
}

/// Waits until `holds`, which is asked whenever the connection is looked at anyway.
async fn until(holds: impl Fn() -> bool) {
    poll_fn(|_| if holds() { Poll::Ready(()) } else { Poll::Pending }).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_connection_is_one_whatever_wraps_it() {
        let lost = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(kind(&lost), ConnectionError::Io);
        assert_eq!(kind(&std::fmt::Error), ConnectionError::Other);
    }
}
