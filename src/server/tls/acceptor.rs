//! The handshake, and what it is configured with.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::{ProducesTickets, ServerSessionMemoryCache, StoresServerSessions, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::certificate::Served;
use super::resolver::Resolver;
use super::{ClientCertificates, Reloader, SourceError, TlsOptions, peer};
use crate::auth::PeerCertificate;
use crate::clock::Clock;
use crate::telemetry::{Handshake, Instruments};
use crate::trust::{self, FileError};

/// TLS 1.2 sessions of clients that know no tickets, all together. Such clients are rare.
const SESSIONS: usize = 4096;

/// Speaks first with whoever connects.
#[derive(Debug)]
pub struct Acceptor {
    config: watch::Receiver<Arc<ServerConfig>>,
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
        let (reloader, config) = Reloader::new(options, clock)?;
        Ok((Self { config, instruments }, reloader))
    }

    /// The handshake; `None` where there comes none of it within `patience`. Tells who the client is where it has shown
    /// a certificate.
    pub(in crate::server) async fn accept(
        &self,
        socket: TcpStream,
        patience: Duration,
    ) -> Option<(TlsStream<TcpStream>, Option<Arc<PeerCertificate>>)> {
        let config = Arc::clone(&self.config.borrow());
        let handshake = tokio::time::timeout(patience, TlsAcceptor::from(config).accept(socket));
        let outcome = handshake.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut)).flatten();
        let counted = match &outcome {
            Ok(_) => Handshake::Done,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Handshake::TimedOut,
            Err(_) => Handshake::Failed,
        };
        self.instruments.tls_handshake(counted);
        let stream = outcome.inspect_err(|error| tracing::debug!(%error, "TLS handshake failed")).ok()?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let peer = certificate.and_then(peer::peer).map(Arc::new);
        Some((stream, peer))
    }
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
