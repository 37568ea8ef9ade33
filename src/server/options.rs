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
    /// How long requests in flight may take to finish after SIGTERM.
    pub drain_grace: Duration,
}

/// Bounds on what one client, and all of them together, may hold.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections open at a time; further ones wait in the kernel's backlog.
    pub max_connections: usize,
    /// How long a client may take to send a request's header, and so also how long an idle connection is kept. A TLS
    /// handshake may take as long.
    pub header_read_timeout: Duration,
    /// A connection on which a write makes no progress for this long is closed.
    pub write_timeout: Duration,
    /// Bytes of a request's header, request line included.
    pub max_header_bytes: usize,
    /// Header fields in a request.
    pub max_headers: usize,
    /// HTTP/2 streams open at a time on one connection.
    pub max_h2_streams: u32,
}
