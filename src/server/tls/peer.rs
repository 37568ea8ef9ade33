//! What a client's certificate says about it.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::certificate::timestamp;
use crate::auth::{CertificateName, PeerCertificate};

/// Names that are taken from one certificate; none in use has nearly as many.
const MOST_NAMES: usize = 64;

/// The names in a certificate that the handshake has verified.
pub(super) fn peer(certificate: &CertificateDer<'_>) -> Option<PeerCertificate> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let mut names = Vec::new();
    if let Ok(Some(extension)) = certificate.subject_alternative_name() {
        let alternatives = extension.value.general_names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => Some(CertificateName::Uri((*uri).to_owned())),
            GeneralName::DNSName(name) => Some(CertificateName::Dns(name.to_ascii_lowercase())),
            GeneralName::RFC822Name(address) => Some(CertificateName::Email((*address).to_owned())),
            _ => None,
        });
        names.extend(alternatives.take(MOST_NAMES));
    }
    let mut common_names = certificate.subject().iter_common_name();
    // Several would leave it to us which one the authority meant.
    if let (Some(name), None) = (common_names.next(), common_names.next())
        && let Ok(name) = name.as_str()
    {
        names.push(CertificateName::CommonName(name.to_owned()));
    }
    Some(PeerCertificate { names, expires_at: timestamp(certificate.validity().not_after.timestamp()) })
}
