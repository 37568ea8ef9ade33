//! The handshake, and what it is configured with.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::{ProducesTickets, ServerSessionMemoryCache, StoresServerSessions, WebPkiClientVerifier};
use rustls::{CipherSuite, RootCertStore, ServerConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::certificate::Served;
use super::reload::Current;
use super::resolver::Resolver;
use super::{ClientCertificates, Reloader, SourceError, TlsOptions, peer};
use crate::auth::PeerCertificate;
use crate::clock::Clock;
use crate::telemetry::{Handshake, Instruments};
use crate::trust::{self, FileError};

/// TLS 1.2 sessions of clients that know no tickets, all together. Such clients are rare.
const SESSIONS: usize = 4096;

/// An alert record in TLS 1.2's form: fatal, `inappropriate_fallback` (RFC 7507 §3).
const INAPPROPRIATE_FALLBACK: [u8; 7] = [21, 3, 3, 0, 2, 2, 86];

/// Speaks first with whoever connects.
#[derive(Debug)]
pub struct Acceptor {
    current: Current,
    instruments: Arc<Instruments>,
}

/// Why TLS can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A certificate or its key can't be served.
    #[error("{place} {error}")]
    Certificate {
        /// The file or key of the configuration.
        place: String,
        /// Why.
        error: SourceError,
    },
    /// The authorities of clients' certificates can't be had.
    #[error("{} {error}", file.display())]
    Authorities {
        /// The file.
        file: PathBuf,
        /// Why.
        error: FileError,
    },
    /// The library refuses the whole.
    #[error("TLS can't be set up")]
    Rustls(#[from] rustls::Error),
    /// The library refuses the authorities of clients' certificates.
    #[error("clients' certificates can't be verified")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// A client that has shown a certificate.
#[derive(Debug)]
pub(in crate::server) struct ProvenClient {
    /// What the certificate says.
    pub(in crate::server) certificate: Arc<PeerCertificate>,
    authorities: watch::Receiver<()>,
}

impl ProvenClient {
    /// Waits until other authorities count than those that the certificate was verified with.
    pub(in crate::server) async fn authorities_change(&mut self) {
        if self.authorities.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

impl Acceptor {
    /// An acceptor, and what keeps its certificates up to date.
    ///
    /// # Errors
    /// Where a certificate, a key or an authority can't be used.
    pub fn new(
        options: TlsOptions,
        clock: Clock,
        instruments: Arc<Instruments>,
    ) -> Result<(Self, Reloader), SetupError> {
        let (reloader, current) = Reloader::new(options, clock)?;
        Ok((Self { current, instruments }, reloader))
    }

    /// The handshake; `None` where there comes none of it within `patience`. Tells who the client is where it has shown
    /// a certificate.
    pub(in crate::server) async fn accept(
        &self,
        socket: TcpStream,
        patience: Duration,
    ) -> Option<(TlsStream<TcpStream>, Option<ProvenClient>)> {
        // From before the handshake, so that no change is missed.
        let mut authorities = self.current.authorities.clone();
        authorities.mark_unchanged();
        let outcome = tokio::time::timeout(patience, self.shake_hands(socket)).await;
        let outcome = outcome.map_err(|_| io::Error::from(io::ErrorKind::TimedOut)).flatten();
        let counted = match &outcome {
            Ok(_) => Handshake::Done,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Handshake::TimedOut,
            Err(_) => Handshake::Failed,
        };
        self.instruments.tls_handshake(counted);
        let stream = outcome.inspect_err(|error| tracing::debug!(%error, "TLS handshake failed")).ok()?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let peer = certificate.and_then(peer::peer).map(Arc::new);
        Some((stream, peer.map(|certificate| ProvenClient { certificate, authorities })))
    }

    async fn shake_hands(&self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let mut start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), socket).await?;
        if is_fallback(start.client_hello().cipher_suites()) {
            start.io.write_all(&INAPPROPRIATE_FALLBACK).await?;
            return Err(io::Error::other("the client was talked out of TLS 1.3"));
        }
        let config = Arc::clone(&self.current.config.borrow());
        start.into_stream(config).await
    }
}

/// Whether the client says that it knows TLS 1.3 and offers less only because that had failed before (RFC 7507). The
/// library leaves this to TLS 1.3's own protection; clients without that one are protected as well so.
fn is_fallback(suites: &[CipherSuite]) -> bool {
    const FALLBACK: u16 = 0x5600;
    let is_of_tls13 = |suite: &CipherSuite| u16::from(*suite) >> 8 == 0x13;
    suites.iter().any(|suite| u16::from(*suite) == FALLBACK) && !suites.iter().any(is_of_tls13)
}

/// What lets clients come back without a full handshake. It is replaced where other clients are let in than before: a
/// ticket must not be worth more than the certificate that it was given for.
pub(super) struct Resumption {
    tickets: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
}

impl Resumption {
    pub(super) fn new() -> Result<Self, rustls::Error> {
        // Its keys are made here, live for some hours, and never leave.
        let tickets = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        Ok(Self { tickets, sessions: ServerSessionMemoryCache::new(SESSIONS) })
    }
}

/// The authorities of clients' certificates.
pub(super) fn read_authorities(clients: &ClientCertificates) -> Result<RootCertStore, SetupError> {
    let mut store = RootCertStore::empty();
    for file in clients.ca_files() {
        let authorities = trust::read_authorities(file);
        let authorities = authorities.map_err(|error| SetupError::Authorities { file: file.clone(), error })?;
        store.add_parsable_certificates(authorities);
    }
    Ok(store)
}

/// TLS 1.2 and 1.3 with the library's cipher suites, all of which have forward secrecy.
pub(super) fn server_config<'s>(
    served: impl IntoIterator<Item = &'s Served>,
    clients: &ClientCertificates,
    authorities: &RootCertStore,
    resumption: &Resumption,
) -> Result<Arc<ServerConfig>, SetupError> {
    let provider = trust::provider();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let verifier = || WebPkiClientVerifier::builder_with_provider(Arc::new(authorities.clone()), provider);
    let builder = match clients {
        ClientCertificates::None => builder.with_no_client_auth(),
        ClientCertificates::Optional { .. } => {
            builder.with_client_cert_verifier(verifier().allow_unauthenticated().build()?)
        }
        ClientCertificates::Required { .. } => builder.with_client_cert_verifier(verifier().build()?),
    };
    let mut config = builder.with_cert_resolver(Arc::new(Resolver::new(served)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = Arc::clone(&resumption.tickets);
    config.session_storage = Arc::clone(&resumption.sessions);
    Ok(Arc::new(config))
}
