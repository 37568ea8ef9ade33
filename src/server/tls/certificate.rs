//! A certificate chain and its key, checked before they are shown to anyone.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error as RustlsError, InconsistentKeys};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::CertificateSource;
use crate::clock::Timestamp;
use crate::trust::{self, FileError};

/// A certificate that is about to run out is warned of this long before, or for the last third of its life where it
/// lives shorter than three times that.
const WARN_BEFORE: Duration = Duration::from_secs(14 * 24 * 3600);

/// SHA-256 of what was read, to know it again without keeping it.
pub(super) type Fingerprint = [u8; 32];

/// A pair that can be served.
#[derive(Debug, Clone)]
pub struct Served {
    pub(super) key: Arc<CertifiedKey>,
    names: Vec<String>,
    not_before: Timestamp,
    not_after: Timestamp,
}

/// Which half of a pair is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The certificate chain.
    Cert,
    /// The private key.
    Key,
}

/// Why a pair can't be served; worded to stand after the place of the half that it is about.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The chain can't be had.
    #[error(transparent)]
    Cert(FileError),
    /// The key can't be had.
    #[error(transparent)]
    Key(FileError),
    /// There is no key in the PEM text.
    #[error("holds no private key in PEM form that can be used; an encrypted one can't")]
    NoKey,
    /// The key is of a kind, or a size, that is not served.
    #[error("holds a private key that can't be used: {0}")]
    UnusableKey(RustlsError),
    /// A certificate in the chain can't be read.
    #[error("holds a certificate that can't be read: {0}")]
    UnreadableCertificate(String),
    /// The two don't belong together.
    #[error("is not the private key of the certificate")]
    Mismatch,
    /// A certificate of the chain has run out.
    #[error("has run out: it was valid until {}", date(*.0))]
    Expired(Timestamp),
    /// A certificate of the chain is for later.
    #[error("is not valid before {}", date(*.0))]
    NotYetValid(Timestamp),
}

impl SourceError {
    /// The half that it is about.
    pub const fn part(&self) -> Part {
        match self {
            Self::Key(_) | Self::NoKey | Self::UnusableKey(_) | Self::Mismatch => Part::Key,
            Self::Cert(_) | Self::UnreadableCertificate(_) | Self::Expired(_) | Self::NotYetValid(_) => Part::Cert,
        }
    }
}

impl CertificateSource {
    /// Reads and checks the pair.
    ///
    /// # Errors
    /// Where it can't be served at `now`.
    pub fn load(&self, now: Timestamp) -> Result<Served, SourceError> {
        self.read().1.and_then(|pem| Served::new(&pem, now))
    }

    /// What stands there, and by what to know it again; that it can't be read is known again too.
    pub(super) fn read(&self) -> (Fingerprint, Result<Pem, SourceError>) {
        let pem = match self {
            Self::Text { cert, key } => Ok(Pem { cert: cert.clone().into_bytes(), key: key.expose().to_vec() }),
            Self::Files { cert, key } => trust::read(cert).map_err(SourceError::Cert).and_then(|cert| {
                let key = trust::read(key).map_err(SourceError::Key)?;
                Ok(Pem { cert, key })
            }),
        };
        let fingerprint = match &pem {
            Ok(pem) => fingerprint([pem.cert.as_slice(), &pem.key]),
            Err(error) => fingerprint([error.to_string().as_bytes()]),
        };
        (fingerprint, pem)
    }

    /// Where the half is, for messages.
    pub fn place(&self, part: Part) -> String {
        match (self, part) {
            (Self::Files { cert, .. }, Part::Cert) => cert.display().to_string(),
            (Self::Files { key, .. }, Part::Key) => key.display().to_string(),
            (Self::Text { .. }, Part::Cert) => "the PEM text of the certificate".to_owned(),
            (Self::Text { .. }, Part::Key) => "the PEM text of the key".to_owned(),
        }
    }
}

/// The text of both halves.
pub(super) struct Pem {
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl Served {
    pub(super) fn new(pem: &Pem, now: Timestamp) -> Result<Self, SourceError> {
        let chain = trust::certificates(&pem.cert).map_err(SourceError::Cert)?;
        let (names, not_before, not_after) = inspect(&chain)?;
        let key = PrivateKeyDer::from_pem_slice(&pem.key).map_err(|_| SourceError::NoKey)?;
        let key = CertifiedKey::from_der(chain, key, &trust::provider()).map_err(|error| match error {
            RustlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => SourceError::Mismatch,
            RustlsError::InvalidCertificate(error) => SourceError::UnreadableCertificate(error.to_string()),
            other => SourceError::UnusableKey(other),
        })?;
        if now < not_before {
            return Err(SourceError::NotYetValid(not_before));
        }
        if now >= not_after {
            return Err(SourceError::Expired(not_after));
        }
        Ok(Self { key: Arc::new(key), names, not_before, not_after })
    }

    /// The DNS names that it is for, in lower case.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The day after which it is no good.
    pub fn valid_until(&self) -> String {
        date(self.not_after)
    }

    /// Whether it should have been replaced by now.
    pub fn is_running_out(&self, now: Timestamp) -> bool {
        let patience = WARN_BEFORE.min(self.not_after.since(self.not_before) / 3);
        now.plus(patience) >= self.not_after
    }
}

/// The names of a chain's first certificate, and the span in which it is valid. Of the others clients build their own
/// chains, and one that has run out may be among them for the sake of old clients.
fn inspect(chain: &[CertificateDer<'_>]) -> Result<(Vec<String>, Timestamp, Timestamp), SourceError> {
    let mut certificates = chain.iter().map(|der| {
        let parsed = X509Certificate::from_der(der).map(|(_, certificate)| certificate);
        parsed.map_err(|error| SourceError::UnreadableCertificate(error.to_string()))
    });
    let leaf = certificates.next().ok_or_else(|| SourceError::UnreadableCertificate("none".to_owned()))??;
    certificates.try_for_each(|other| other.map(drop))?;
    let validity = leaf.validity();
    let (not_before, not_after) =
        (timestamp(validity.not_before.timestamp()), timestamp(validity.not_after.timestamp()));
    Ok((dns_names(&leaf), not_before, not_after))
}

/// The alternative names; clients have not looked at the common name for long (RFC 9525 §2).
fn dns_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = extension.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    names.collect()
}

/// A certificate's time; those before 1970 count as that.
pub(super) fn timestamp(seconds: i64) -> Timestamp {
    Timestamp::from_secs(u64::try_from(seconds).unwrap_or_default())
}

/// What was read, as something to know it again by.
pub(super) fn fingerprint<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> Fingerprint {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        // With its length, so that bytes which move from one part to the next make a difference.
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut fingerprint = Fingerprint::default();
    fingerprint.copy_from_slice(context.finish().as_ref());
    fingerprint
}

fn date(at: Timestamp) -> String {
    // `humantime` ends with the year 9999, and so do certificates (RFC 5280 §4.1.2.5).
    const LAST: Timestamp = Timestamp::from_secs(253_402_300_799);
    humantime::format_rfc3339_seconds(at.min(LAST).into()).to_string()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;
    use crate::clock::Clock;
    use crate::secret::Secret;

    fn load(cert: &str, key: &str) -> Result<Served, SourceError> {
        let source = CertificateSource::Text { cert: cert.to_owned(), key: Secret::new(key) };
        source.load(Clock::System.now())
    }

    fn params() -> CertificateParams {
        CertificateParams::new(vec!["Docs.Test".to_owned(), "*.docs.test".to_owned()]).unwrap()
    }

    #[test]
    fn a_pair_tells_its_names_and_when_it_runs_out() {
        let key = KeyPair::generate().unwrap();
        let mut params = params();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2099, 1, 1));
        let served = load(&params.self_signed(&key).unwrap().pem(), &key.serialize_pem()).unwrap();
        assert_eq!(served.names(), ["docs.test", "*.docs.test"]);
        assert_eq!(served.valid_until(), "2099-01-01T00:00:00Z");
        let day = |days: u64| served.not_after.as_secs() - days * 24 * 3600;
        assert!(!served.is_running_out(Timestamp::from_secs(day(15))));
        assert!(served.is_running_out(Timestamp::from_secs(day(14))));
    }

    #[test]
    fn what_can_not_be_served_is_refused_by_the_half_that_is_wrong() {
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let cert = params().self_signed(&key).unwrap().pem();
        let key_pem = key.serialize_pem();
        let dated = |from: i32, to: i32| {
            let mut params = params();
            (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
            params.self_signed(&key).unwrap().pem()
        };
        let half = cert.get(..cert.len() / 2).unwrap().to_owned();
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (cert, key, part, reason) in [
            (cert.as_str(), other.serialize_pem().as_str(), Part::Key, "not the private key of the certificate"),
            (&cert, "", Part::Key, "holds no private key"),
            (&cert, &cert, Part::Key, "holds no private key"),
            ("", &key_pem, Part::Cert, "holds no certificate"),
            (&half, &key_pem, Part::Cert, "no certificate"),
            (garbage, &key_pem, Part::Cert, "can't be read"),
            (&dated(2000, 2001), &key_pem, Part::Cert, "has run out: it was valid until 2001-01-01"),
            (&dated(2090, 2091), &key_pem, Part::Cert, "is not valid before 2090-01-01"),
        ] {
            let error = load(cert, key).unwrap_err();
            assert!(error.part() == part && error.to_string().contains(reason), "{reason}: {error}");
        }
    }
}
