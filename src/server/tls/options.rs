//! What TLS runs on.

use std::path::PathBuf;
use std::time::Duration;

use crate::secret::Secret;

/// How the main listener speaks TLS.
#[derive(Debug, Clone)]
pub struct TlsOptions {
    /// At least one. Clients that name no server, or one that no certificate is for, get the first.
    pub certificates: Vec<CertificateSource>,
    /// Whether clients show certificates of their own.
    pub client_certificates: ClientCertificates,
    /// How often the files are looked at.
    pub reload_every: Duration,
}

/// Where a certificate chain and its key come from.
#[derive(Debug, Clone)]
pub enum CertificateSource {
    /// Two PEM files, which are read again when they change.
    Files {
        /// The chain, the server's own certificate first.
        cert: PathBuf,
        /// The key, not encrypted.
        key: PathBuf,
    },
    /// PEM text from the configuration, as Backstage's `backend.https.certificate` has it.
    Text {
        /// The chain, the server's own certificate first.
        cert: String,
        /// The key, not encrypted.
        key: Secret,
    },
}

/// Whether clients show certificates of their own.
#[derive(Debug, Clone)]
pub enum ClientCertificates {
    /// They are not asked for any.
    None,
    /// They are asked; who shows none is served too, who shows one that does not verify is not.
    Optional {
        /// PEM files of the authorities whose certificates count.
        ca_files: Vec<PathBuf>,
    },
    /// Without one there is no connection.
    Required {
        /// PEM files of the authorities whose certificates count.
        ca_files: Vec<PathBuf>,
    },
}

impl ClientCertificates {
    /// The authorities' files; none where no certificate is asked for.
    pub fn ca_files(&self) -> &[PathBuf] {
        match self {
            Self::None => &[],
            Self::Optional { ca_files } | Self::Required { ca_files } => ca_files,
        }
    }
}
