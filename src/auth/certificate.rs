//! Callers that prove themselves with a client certificate.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::principal::Principal;
use crate::clock::Timestamp;

/// A name in a certificate, as its authority has vouched for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CertificateName {
    /// A URI among the alternative names (RFC 5280 §4.2.1.6), as SPIFFE has it.
    Uri(String),
    /// A DNS name among the alternative names, in lower case.
    Dns(String),
    /// A mail address among the alternative names.
    Email(String),
    /// The subject's common name, where it has exactly one.
    CommonName(String),
}

impl CertificateName {
    /// Reads a name as it is configured: `URI:…` or the URI itself, `DNS:…`, `email:…` or `CN=…`.
    pub fn parse(text: &str) -> Option<Self> {
        let after = |prefix: &str| text.strip_prefix(prefix).map(str::trim).filter(|rest| !rest.is_empty());
        after("URI:")
            .map(|uri| Self::Uri(uri.to_owned()))
            .or_else(|| after("DNS:").map(|name| Self::Dns(name.to_ascii_lowercase())))
            .or_else(|| after("email:").map(|address| Self::Email(address.to_owned())))
            .or_else(|| after("CN=").map(|name| Self::CommonName(name.to_owned())))
            .or_else(|| text.contains("://").then(|| Self::Uri(text.to_owned())))
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(uri) => write!(f, "URI:{uri}"),
            Self::Dns(name) => write!(f, "DNS:{name}"),
            Self::Email(address) => write!(f, "email:{address}"),
            Self::CommonName(name) => write!(f, "CN={name}"),
        }
    }
}

/// The certificate of a client whose connection has proven that it holds its key. Whoever makes one has verified it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// What the certificate's authority calls its holder.
    pub names: Vec<CertificateName>,
    /// When it runs out. A connection may outlive that.
    pub expires_at: Timestamp,
}

/// One entry of `callboard.tls.clientCertificates.subjects`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSubject {
    /// The name in the certificate.
    pub certificate: CertificateName,
    /// Who its holder is here: `external:…`.
    pub subject: String,
}

/// Whom each certificate makes its holder.
#[derive(Debug)]
pub(super) struct Certificates(HashMap<CertificateName, Arc<Principal>>);

impl Certificates {
    pub(super) fn new(subjects: &[CertificateSubject]) -> Self {
        let principal = |entry: &CertificateSubject| Arc::new(Principal::external(entry.subject.clone(), None));
        Self(subjects.iter().map(|entry| (entry.certificate.clone(), principal(entry))).collect())
    }

    /// Whose certificate it is; `None` where it is nobody's, or has run out meanwhile.
    pub(super) fn holder(&self, peer: &PeerCertificate, now: Timestamp) -> Option<&Arc<Principal>> {
        if now >= peer.expires_at {
            return None;
        }
        peer.names.iter().find_map(|name| self.0.get(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_with_their_kind() {
        for (text, name) in [
            ("spiffe://a.test/ci", Some("URI:spiffe://a.test/ci")),
            ("URI:urn:ci", Some("URI:urn:ci")),
            ("DNS:Build.Test", Some("DNS:build.test")),
            ("email:ci@a.test", Some("email:ci@a.test")),
            ("CN=ci", Some("CN=ci")),
            ("CN=", None),
            ("ci", None),
            ("", None),
        ] {
            assert_eq!(CertificateName::parse(text).map(|name| name.to_string()).as_deref(), name, "{text}");
        }
    }

    #[test]
    fn a_name_counts_for_its_own_kind_only_and_until_the_certificate_runs_out() {
        let subject = |certificate: &str| CertificateSubject {
            certificate: CertificateName::parse(certificate).unwrap(),
            subject: "external:ci".to_owned(),
        };
        let certificates = Certificates::new(&[subject("CN=ci"), subject("spiffe://a.test/ci")]);
        let holder = |name: CertificateName, now: u64| {
            let peer = PeerCertificate { names: vec![name], expires_at: Timestamp::from_secs(10) };
            certificates.holder(&peer, Timestamp::from_secs(now)).map(|holder| holder.subject().to_owned())
        };
        let ci = Some("external:ci".to_owned());
        assert_eq!(holder(CertificateName::CommonName("ci".to_owned()), 9), ci);
        assert_eq!(holder(CertificateName::Uri("spiffe://a.test/ci".to_owned()), 9), ci);
        assert_eq!(holder(CertificateName::Dns("ci".to_owned()), 9), None);
        assert_eq!(holder(CertificateName::CommonName("ci".to_owned()), 10), None);
    }
}
