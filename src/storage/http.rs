//! The HTTP clients of stores, made by `object_store` as it sees fit and by us as everywhere else in the program.

use std::time::Duration;

use object_store::client::{HttpClient, HttpConnector};
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, RetryConfig};

use super::traced::Traced;
use crate::secret::Secret;
use crate::trust::Trust;

/// A server that does not take a connection within this time is not going to be quick once it has.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

const FIRST_BACKOFF: Duration = Duration::from_millis(50);

/// Makes clients with the program's one TLS configuration, and spans around their requests; also those that ask for
/// credentials.
pub(super) fn connector(trust: &Trust) -> impl HttpConnector {
    Traced(TrustedHttp(trust.clone()))
}

/// What a client is told. No bound on a request: whoever reads sets the deadlines, and a large object streams as long as
/// its reader takes.
pub(super) fn client_options(timeout: Duration, proxy: Option<&Secret>) -> ClientOptions {
    let options = ClientOptions::new().with_timeout_disabled().with_connect_timeout(timeout.min(CONNECT_TIMEOUT));
    match proxy {
        Some(proxy) => options.with_proxy_url(String::from_utf8_lossy(proxy.expose())),
        None => options,
    }
}

/// `attempts` tries in all, the first included, within `timeout`.
pub(super) fn retries(attempts: usize, timeout: Duration) -> RetryConfig {
    RetryConfig {
        max_retries: attempts.saturating_sub(1),
        retry_timeout: timeout,
        backoff: BackoffConfig { init_backoff: FIRST_BACKOFF, max_backoff: timeout / 4, base: 2. },
    }
}

#[derive(Debug)]
struct TrustedHttp(Trust);

impl HttpConnector for TrustedHttp {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let generic = |source: reqwest::Error| object_store::Error::Generic { store: "HTTP", source: source.into() };
        let text = |key| options.get_config_value(&key);
        // A client of its own asks the machine for credentials, in cleartext and with less patience.
        let may_be_cleartext = text(ClientConfigKey::AllowHttp).as_deref() == Some("true");
        let connect_timeout = text(ClientConfigKey::ConnectTimeout)
            .and_then(|shown| humantime::parse_duration(&shown).ok())
            .map_or(CONNECT_TIMEOUT, |timeout| timeout.min(CONNECT_TIMEOUT));
        let mut builder = self.0.http_client(false).connect_timeout(connect_timeout).https_only(!may_be_cleartext);
        if let Some(proxy) = text(ClientConfigKey::ProxyUrl) {
            builder = builder.proxy(reqwest::Proxy::all(proxy).map_err(generic)?);
        }
        Ok(HttpClient::new(builder.build().map_err(generic)?))
    }
}
