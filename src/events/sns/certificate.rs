//! The certificates that SNS signs with: fetched from it, and remembered.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use url::Url;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::topic::TopicArn;
use crate::auth::Budget;
use crate::clock::{Clock, Timestamp};
use crate::events::EventError;
use crate::events::fetch::{self, FetchError};
use crate::trust;

/// Certificates that are remembered. SNS has one a region, and for some days of the year two.
const MAX_REMEMBERED: usize = 32;

/// How long a certificate is believed without being looked at again, so that one which AWS takes back counts no longer.
const REMEMBERED_FOR: Duration = Duration::from_secs(24 * 3600);

/// When trying again may help after a fetch that failed.
const RETRY_AFTER: Duration = Duration::from_secs(10);

const FOREIGN: EventError = EventError::Foreign("The message's SigningCertURL is not that of SNS where the topic is");

/// What was fetched, and how to fetch more.
///
/// Who sends a message names the address of the certificate that makes it good. So nothing is asked but the host that
/// belongs to a configured topic, over TLS that is verified like any other, and of its pages only those that are called
/// as certificates are: what else that host answers may hold what a stranger made it say. The page must hold a
/// certificate made out to SNS and good now. Whoever could put a certificate of their own in such a place would be SNS.
///
/// What it is not held against is a chain of authorities: the page has none, the certificate alone is there. AWS's own
/// SDK asks for no more (`CertificateRetriever` in `aws/aws-sdk-java-v2`).
#[derive(Debug)]
pub(super) struct Certificates {
    client: reqwest::Client,
    clock: Clock,
    /// Anybody may name a page, the true ones are few: what is fetched is taken from this.
    budget: Budget,
    remembered: Mutex<Vec<Arc<Certificate>>>,
    /// Held by whoever fetches, so that the messages that wait for a new certificate fetch it once.
    fetching: tokio::sync::Mutex<()>,
}

/// A certificate that was found where it should be.
#[derive(Debug)]
pub(super) struct Certificate {
    url: Url,
    /// An RSA key as PKCS#1 has it.
    pub(super) key: Vec<u8>,
    starts_at: Timestamp,
    forgotten_at: Timestamp,
}

impl Certificates {
    pub(super) fn new(client: reqwest::Client, clock: Clock) -> Self {
        let (remembered, fetching) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { client, clock, budget: Budget::ten_a_minute(), remembered, fetching }
    }

    /// The certificate that a message from `topic` says to be found at `url`.
    pub(super) async fn find(&self, url: &str, topic: &TopicArn) -> Result<Arc<Certificate>, EventError> {
        let url = topic.own_url(url).filter(is_certificate_page).ok_or(FOREIGN)?;
        if let Some(known) = self.known(&url) {
            return Ok(known);
        }
        let _turn = self.fetching.lock().await;
        // The one before us may have brought it.
        if let Some(known) = self.known(&url) {
            return Ok(known);
        }
        let throttled = |retry_after| EventError::Unavailable { retry_after, source: None };
        self.budget.take(self.clock.now()).map_err(throttled)?;
        let page = fetch::get(&self.client, &url, "GET SNS certificate").await.map_err(failed)?;
        let now = self.clock.now();
        let certificate = Certificate::read(url, &page, topic, now).map_err(EventError::Untrusted)?;
        let certificate = Arc::new(certificate);
        self.remember(Arc::clone(&certificate), now);
        Ok(certificate)
    }

    fn known(&self, url: &Url) -> Option<Arc<Certificate>> {
        let now = self.clock.now();
        self.lock().iter().find(|known| known.url == *url && known.is_good(now)).cloned()
    }

    /// Of too many the one goes that came first.
    fn remember(&self, certificate: Arc<Certificate>, now: Timestamp) {
        let mut remembered = self.lock();
        remembered.retain(|known| known.url != certificate.url && known.is_good(now));
        if remembered.len() >= MAX_REMEMBERED {
            remembered.remove(0);
        }
        remembered.push(certificate);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Certificate>>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Certificate {
    fn is_good(&self, now: Timestamp) -> bool {
        self.starts_at <= now && now < self.forgotten_at
    }

    /// The first certificate of the page, if it is made out to the signer of the topic's messages and good now.
    fn read(url: Url, page: &[u8], topic: &TopicArn, now: Timestamp) -> Result<Self, &'static str> {
        const GARBAGE: &str = "What is at the message's SigningCertURL is no certificate";
        let certificates = trust::certificates(page).map_err(|_| GARBAGE)?;
        let der = certificates.first().ok_or(GARBAGE)?;
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| GARBAGE)?;
        if !names(&certificate).any(|name| topic.is_signer(name)) {
            return Err("The certificate at the message's SigningCertURL is not made out to SNS");
        }
        let validity = certificate.validity();
        let at = |time: i64| Timestamp::from_secs(u64::try_from(time).unwrap_or_default());
        let (starts_at, expires_at) = (at(validity.not_before.timestamp()), at(validity.not_after.timestamp()));
        let forgotten_at = expires_at.min(now.plus(REMEMBERED_FOR));
        let key = certificate.public_key().subject_public_key.data.to_vec();
        let read = Self { url, key, starts_at, forgotten_at };
        if read.is_good(now) {
            Ok(read)
        } else {
            Err("The certificate at the message's SigningCertURL is not valid now")
        }
    }
}

/// `/SimpleNotificationService-` and a hash.
fn is_certificate_page(url: &Url) -> bool {
    let hash = url.path().strip_prefix("/SimpleNotificationService-").and_then(|rest| rest.strip_suffix(".pem"));
    url.query().is_none()
        && hash
            .is_some_and(|hash| (1..=64).contains(&hash.len()) && hash.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// The names that the certificate is made out to.
fn names<'a>(certificate: &'a X509Certificate<'a>) -> impl Iterator<Item = &'a str> {
    let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let others = alternative.into_iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(*name),
        _ => None,
    });
    common.chain(others)
}

fn failed(error: FetchError) -> EventError {
    if error.is_final() {
        return EventError::Untrusted("There is nothing at the message's SigningCertURL");
    }
    EventError::Unavailable { retry_after: RETRY_AFTER, source: Some(Arc::new(error)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_that_are_called_as_certificates_are_asked_for() {
        let page = |path: &str| is_certificate_page(&Url::parse(&format!("https://sns.test{path}")).unwrap());
        assert!(page("/SimpleNotificationService-01d088a6f77103d0fe307c0069e40ed6.pem"));
        for path in [
            "/",
            "/a.pem",
            "/SimpleNotificationService-.pem",
            "/SimpleNotificationService-0.pem?Action=Publish",
            "/SimpleNotificationService-0/../1.pem",
            "/SimpleNotificationService-%2e.pem",
            "/x/SimpleNotificationService-0.pem",
            "/?Action=GetEndpointAttributes&x=/SimpleNotificationService-0.pem",
        ] {
            assert!(!page(path), "{path}");
        }
    }
}
