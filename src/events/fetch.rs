//! One look at a place in the cloud.

use std::time::Duration;

use http::{Method, StatusCode};
use url::Url;

use crate::telemetry::Span;

/// How long one look may take. SNS waits 15 seconds for our answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The longest page that is read, in bytes. A certificate with its chain is some 6 KB.
const MAX_BYTES: usize = 64 * 1024;

/// Why a page could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No answer in time.
    #[error("no complete answer within {TIMEOUT:?}")]
    Timeout,
    /// No connection, or it broke.
    #[error("request failed")]
    Http(#[source] reqwest::Error),
    /// Another status than 200.
    #[error("status {0}")]
    Status(StatusCode),
    /// Another place answered.
    #[error("redirected elsewhere")]
    Redirected,
    /// More than 64 KiB.
    #[error("answer longer than {MAX_BYTES} bytes")]
    TooLarge,
}

impl FetchError {
    /// Whether the place was reached and says that there is no such thing.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Status(status) => status.is_client_error() && *status != StatusCode::TOO_MANY_REQUESTS,
            Self::Redirected | Self::TooLarge => true,
            Self::Timeout | Self::Http(_) => false,
        }
    }

    /// The word for it in spans.
    const fn as_str(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Http(_) => "connection",
            Self::Status(_) => "status",
            Self::Redirected => "redirected",
            Self::TooLarge => "too_large",
        }
    }
}

/// Reads the page at `url`; `name` is its span's.
pub(super) async fn get(client: &reqwest::Client, url: &Url, name: &str) -> Result<Vec<u8>, FetchError> {
    // A query may hold a subscription's token, and spans leave it out.
    let span = Span::http_request(&Method::GET, &url.as_str().parse().unwrap_or_default());
    span.set_name(name.to_owned());
    let reading = tokio::time::timeout(TIMEOUT, read(client, url, &span));
    let outcome = span.scope().run(reading).await.unwrap_or(Err(FetchError::Timeout));
    if let Err(error) = &outcome {
        span.fail(error.as_str());
    }
    outcome
}

async fn read(client: &reqwest::Client, url: &Url, span: &Span) -> Result<Vec<u8>, FetchError> {
    let failed = |error: reqwest::Error| FetchError::Http(error.without_url());
    let mut response = client.get(url.clone()).send().await.map_err(failed)?;
    span.answered(response.status());
    if response.url() != url {
        return Err(FetchError::Redirected);
    }
    match response.status() {
        StatusCode::OK => {}
        status if status.is_redirection() => return Err(FetchError::Redirected),
        status => return Err(FetchError::Status(status)),
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(FetchError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
