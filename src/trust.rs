//! Whom every outbound client believes: the platform's certificate authorities, and those that the operator adds.
//!
//! There is one TLS configuration for all of them, so that a private authority is named once, and sessions with a server
//! are resumed whichever client speaks to it.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use rustls_platform_verifier::Verifier;

/// The largest file of certificates or keys that is read, in bytes. A whole platform's authorities are some 250 KB; past
/// this it is a wrong path.
const LARGEST_FILE: u64 = 1 << 20;

/// What the room runs on.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// PEM files of certificate authorities that are believed beside the platform's.
    pub ca_files: Vec<PathBuf>,
}

/// The one TLS configuration of every outbound client; clones share it.
#[derive(Debug, Clone)]
pub struct Trust {
    config: Arc<ClientConfig>,
    /// The operator's authorities.
    extra: Arc<[CertificateDer<'static>]>,
}

/// A certificate that a client shows, and its key.
#[derive(Debug)]
pub struct Identity {
    /// The client's own certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// What belongs to it.
    pub key: PrivateKeyDer<'static>,
}

/// Why a file of certificates can't be used; worded to stand after its name.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system does not let us read it.
    #[error("can't be read: {0}")]
    Unreadable(#[from] io::Error),
    /// Larger than any such file is.
    #[error("is larger than {LARGEST_FILE} bytes")]
    TooLarge,
    /// There is no PEM section with a certificate in it.
    #[error("holds no certificate in PEM form")]
    Empty,
    /// A section's contents are no certificate.
    #[error("holds something that is no certificate: {0}")]
    Garbage(String),
    /// There is no PEM section with a key that could be used.
    #[error("holds no private key in PEM form, or an encrypted one")]
    NoKey,
}

/// Why there is no TLS configuration.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// One of the operator's files can't be used.
    #[error("{} {error}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        error: FileError,
    },
    /// The platform's authorities can't be had, and there are no others.
    #[error("no certificate authority is known: install ca-certificates, or set callboard.trust.caFiles")]
    NoAuthorities(#[source] rustls::Error),
    /// TLS itself can't be set up.
    #[error("TLS can't be set up")]
    Setup(#[source] rustls::Error),
}

impl Trust {
    /// Reads the platform's authorities and those of `options`.
    ///
    /// # Errors
    /// Where one of the files can't be used, or there is no authority at all.
    pub fn load(options: &Options) -> Result<Self, TrustError> {
        let mut extra = Vec::new();
        for file in &options.ca_files {
            let certificates = read_authorities(file);
            extra.extend(certificates.map_err(|error| TrustError::File { file: file.clone(), error })?);
        }
        let config = believing(extra.clone())?.with_no_client_auth();
        Ok(Self { config: Arc::new(config), extra: extra.into() })
    }

    /// The configuration for a server that has authorities of its own, or wants to see a certificate.
    ///
    /// # Errors
    /// Where the certificate and its key don't fit together, or there is no authority at all.
    pub fn client_config_with(
        &self,
        authorities: Vec<CertificateDer<'static>>,
        identity: Option<Identity>,
    ) -> Result<Arc<ClientConfig>, TrustError> {
        let config = believing(self.extra.iter().cloned().chain(authorities).collect())?;
        let config = match identity {
            Some(Identity { chain, key }) => config.with_client_auth_cert(chain, key).map_err(TrustError::Setup)?,
            None => config.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }

    /// All authorities, the platform's among them, for a client that has to be told them one by one.
    pub fn authorities(&self) -> Vec<CertificateDer<'static>> {
        let platform = rustls_native_certs::load_native_certs().certs;
        platform.into_iter().chain(self.extra.iter().cloned()).collect()
    }

    /// The configuration itself, for clients that speak no HTTP. It offers no ALPN.
    pub fn client_config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// The beginning of an HTTP client that speaks HTTP/1.1 and, where `h2` says so, HTTP/2.
    pub fn http_client(&self, h2: bool) -> reqwest::ClientBuilder {
        let mut config = ClientConfig::clone(&self.config);
        let protocols: &[&[u8]] = if h2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            // Bodies are wanted as they were stored, whatever else in the program brings decoders along.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .user_agent(concat!("callboard/", env!("CARGO_PKG_VERSION")));
        if h2 { builder } else { builder.http1_only() }
    }
}

/// The beginning of a configuration that believes the platform's authorities and these.
fn believing(extra: Vec<CertificateDer<'static>>) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, TrustError> {
    let provider = provider();
    let verifier = Verifier::new_with_extra_roots(extra, Arc::clone(&provider)).map_err(TrustError::NoAuthorities)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TrustError::Setup)?;
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)))
}

/// The program's only provider of cryptography.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The certificates in a file, each of which can serve as an authority.
///
/// # Errors
/// Where the file can't be read, holds none, or holds anything that is none.
pub fn read_authorities(file: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    authorities(&read(file)?)
}

/// The certificates in PEM text, each of which can serve as an authority.
///
/// # Errors
/// Where it holds none, or anything that is none.
pub fn authorities(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let certificates = certificates(pem)?;
    let mut store = RootCertStore::empty();
    for certificate in &certificates {
        store.add(certificate.clone()).map_err(|error| FileError::Garbage(error.to_string()))?;
    }
    Ok(certificates)
}

/// The certificates in PEM text, whatever stands in them.
///
/// # Errors
/// Where there is none, or a section is broken.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| FileError::Garbage(error.to_string()))?;
    if certificates.is_empty() { Err(FileError::Empty) } else { Ok(certificates) }
}

/// The private key in PEM text.
///
/// # Errors
/// Where there is none that could be used.
pub fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, FileError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| FileError::NoKey)
}

/// A file's bytes, within bounds.
///
/// # Errors
/// Where it can't be read or is too large.
pub fn read(file: &Path) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    // One byte past the limit, so that what is too large is told from what just fits.
    std::fs::File::open(file)?.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_FILE { Err(FileError::TooLarge) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(contents: Option<&str>) -> Result<Trust, TrustError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        if let Some(contents) = contents {
            std::fs::write(&file, contents).unwrap();
        }
        Trust::load(&Options { ca_files: vec![file] })
    }

    #[test]
    fn a_private_authority_is_taken_in() {
        let key = rcgen::KeyPair::generate().unwrap();
        let authority = rcgen::CertificateParams::new(vec![]).unwrap().self_signed(&key).unwrap();
        assert!(load(Some(&authority.pem())).is_ok());
    }

    #[test]
    fn a_file_that_is_missing_or_holds_something_else_is_told_by_its_name() {
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (contents, reason) in [
            (None, "can't be read"),
            (Some(""), "holds no certificate"),
            (Some("hello"), "holds no certificate"),
            (Some(broken), "no certificate"),
        ] {
            let error = load(contents).unwrap_err().to_string();
            assert!(error.contains("ca.pem ") && error.contains(reason), "{error}");
        }
    }
}
