//! One look at a key set's URL.

use std::time::Duration;

use http::StatusCode;
use http::header::ACCEPT;
use url::Url;

use crate::auth::key_set::{KeySet, KeySetError};

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

/// What is at the URL.
#[derive(Debug)]
pub(super) enum Found {
    Keys(KeySet),
    /// 404: Backstage's answer for a plugin that isn't installed.
    Nothing,
}

/// Reads the key set at `url`, all of it within `timeout`.
pub(super) async fn fetch(client: &reqwest::Client, url: &Url, timeout: Duration) -> Result<Found, FetchError> {
    match tokio::time::timeout(timeout, read(client, url)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(FetchError::Timeout(timeout)),
    }
}

async fn read(client: &reqwest::Client, url: &Url) -> Result<Found, FetchError> {
    // The address is logged beside the error, and may hold a password.
    let failed = |error: reqwest::Error| FetchError::Http(error.without_url());
    let mut response = client.get(url.clone()).header(ACCEPT, "application/json").send().await.map_err(failed)?;
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
