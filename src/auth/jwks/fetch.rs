//! One look at a key set's URL.

use std::time::Duration;

use http::header::{ACCEPT, HeaderMap};
use http::{Method, StatusCode};
use url::Url;

use crate::auth::key_set::{KeySet, KeySetError};
use crate::telemetry::{Span, inject};

/// Longest key set that is read, in bytes: some 1,300 elliptic curve keys.
const MAX_BYTES: usize = 256 * 1024;

/// Why a key set could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No answer within this time.
    #[error("no complete answer within {0:?}")]
    Timeout(Duration),
    /// No connection, or it broke.
    #[error("request failed")]
    Http(#[source] reqwest::Error),
    /// Another status than 200.
    #[error("status {0}")]
    Status(StatusCode),
    /// Another place answered: key sets are trusted for their address, so that a redirection is not followed.
    #[error("redirected elsewhere")]
    Redirected,
    /// More than 256 KiB.
    #[error("answer longer than {MAX_BYTES} bytes")]
    TooLarge,
    /// Not a JWK set.
    #[error("unreadable key set")]
    KeySet(#[source] KeySetError),
    /// The program is shutting down, or the fetch panicked.
    #[error("fetch was broken off")]
    BrokenOff,
}

impl FetchError {
    /// The word for it in spans.
    const fn as_str(&self) -> &'static str {
        match self {
            Self::Timeout(_) => "timeout",
            Self::Http(_) => "connection",
            Self::Status(_) => "status",
            Self::Redirected => "redirected",
            Self::TooLarge => "too_large",
            Self::KeySet(_) => "unreadable",
            Self::BrokenOff => "broken_off",
        }
    }
}

/// What is at the URL.
#[derive(Debug)]
pub(super) enum Found {
    Keys(KeySet),
    /// 404: Backstage's answer for a plugin that isn't installed.
    Nothing,
}

/// Reads the key set at `url`, all of it within `timeout`.
pub(super) async fn fetch(client: &reqwest::Client, url: &Url, timeout: Duration) -> Result<Found, FetchError> {
    let span = Span::http_request(&Method::GET, &url.as_str().parse().unwrap_or_default());
    span.set_name("GET key set".to_owned());
    let reading = tokio::time::timeout(timeout, read(client, url, &span));
    let outcome = span.scope().run(reading).await.unwrap_or(Err(FetchError::Timeout(timeout)));
    if let Err(error) = &outcome {
        span.fail(error.as_str());
    }
    outcome
}

async fn read(client: &reqwest::Client, url: &Url, span: &Span) -> Result<Found, FetchError> {
    // The address is logged beside the error, and may hold a password.
    let failed = |error: reqwest::Error| FetchError::Http(error.without_url());
    let mut trace = HeaderMap::new();
    inject(&mut trace);
    let request = client.get(url.clone()).header(ACCEPT, "application/json").headers(trace);
    let mut response = request.send().await.map_err(failed)?;
    span.answered(response.status());
    if !same_place(response.url(), url) {
        return Err(FetchError::Redirected);
    }
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(Found::Nothing),
        status => return Err(FetchError::Status(status)),
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(FetchError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    KeySet::parse(&body).map(Found::Keys).map_err(FetchError::KeySet)
}

/// User name and password are sent as a header, and no longer in the URL that was asked in the end.
fn same_place(a: &Url, b: &Url) -> bool {
    a.origin() == b.origin() && a.path() == b.path() && a.query() == b.query()
}
