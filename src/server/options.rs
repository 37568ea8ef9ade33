//! What the listeners run on.

use std::net::SocketAddr;
use std::time::Duration;

use super::tls::TlsOptions;

/// One listener and its bounds.
#[derive(Debug, Clone)]
pub struct Options {
    /// The main listener's address.
    pub listen: SocketAddr,
    /// The admin listener's address: metrics and health, no documents.
    pub admin_listen: SocketAddr,
    /// How the main listener speaks TLS; `None` for cleartext. The admin listener never does.
    pub tls: Option<TlsOptions>,
    /// Bounds on connections, the same for both listeners.
    pub limits: Limits,
    /// How long requests in flight may take to finish after SIGTERM, `drain_delay` included.
    pub drain_grace: Duration,
    /// How long new connections are still accepted after SIGTERM, until load balancers know; `drain_grace` at most.
    pub drain_delay: Duration,
}

/// Bounds on what one client, and all of them together, may hold.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections open at a time; further ones wait in the kernel's backlog.
    pub max_connections: usize,
    /// Connections open at a time from one address; further ones are closed at once.
    pub max_connections_per_address: usize,
    /// How long a client may take for a request's header: on a new connection from its opening, later from the header's
    /// first byte. A TLS handshake may take as long, before that.
    pub header_read_timeout: Duration,
    /// How long a connection may be without a request after its last one.
    pub idle_timeout: Duration,
    /// A connection on which a write makes no progress for this long is closed.
    pub write_timeout: Duration,
    /// Bytes of a request's header, request line included.
    pub max_header_bytes: usize,
    /// Header fields in a request.
    pub max_headers: usize,
    /// HTTP/2 streams open at a time on one connection.
    pub max_h2_streams: u32,
    /// HTTP/2 streams that a client has reset before they were looked at, on one connection; beyond that it is closed
    /// (CVE-2023-44487).
    pub max_h2_pending_resets: usize,
    /// HTTP/2 streams that were reset for a client's mistakes, on one connection; beyond that it is closed
    /// (CVE-2025-8671).
    pub max_h2_error_resets: usize,
    /// Bytes that one HTTP/2 stream holds for a client that is slower than storage, beside the piece that is being sent;
    /// HTTP/1 connections hold `max_header_bytes`. Documents in memory are shared, and so not held.
    pub max_h2_send_buffer_bytes: usize,
}
