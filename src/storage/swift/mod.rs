//! OpenStack Swift, and the Keystone that says who may read from it.

mod answer;
mod client;
mod keystone;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt};
use http::header::{IF_MATCH, IF_NONE_MATCH, RANGE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::Response;
use reqwest::redirect::Policy;
use serde::Deserialize;
use tokio::time::Instant;

use self::answer::{bounded, object_meta, swifts};
use self::client::Client;
use self::keystone::Keystone;
use super::http::CONNECT_TIMEOUT;
use super::{Checksum, DocStore, GetOptions, Means, Object, ObjectMeta, StoreError, SwiftOptions};
use crate::docs::ObjectName;

/// Swift takes names up to this many bytes unless its operator says otherwise, so a longer one names no object.
const LONGEST_NAME: usize = 1024;

/// Names on one page of a listing; a tenth of what Swift gives at most.
const PAGE: usize = 1000;

/// Bytes of such a page at most: names of the greatest length, each byte of which is escaped.
const LARGEST_PAGE: usize = PAGE * (6 * LONGEST_NAME + 512);

/// For how long a container that has answered is not asked whether it is there. It can't be taken away before all of its
/// objects are, so this is how long an empty one that was taken away looks empty.
const SEEN_FOR: Duration = Duration::from_secs(60);

/// The container in `options`. It must be called inside a runtime, where its token is kept.
///
/// # Errors
/// Where TLS can't be set up.
pub fn swift(options: &SwiftOptions, means: &Means<'_>) -> Result<Arc<dyn DocStore>, StoreError> {
    // No bound on a request here: whoever reads sets the deadlines. And no redirections: they would take secret and token
    // elsewhere.
    let http = means.trust.http_client(false).connect_timeout(means.timeout.min(CONNECT_TIMEOUT));
    let http = http.redirect(Policy::none()).build().map_err(StoreError::unavailable)?;
    let tokens = means.kept.keeper(Keystone::new(options, http.clone()), means.instruments);
    Ok(Arc::new(SwiftStore { client: Client::new(http, tokens, &options.container), seen: Mutex::default() }))
}

#[derive(Debug)]
struct SwiftStore {
    client: Client,
    /// When the container last showed that it is there.
    seen: Mutex<Option<Instant>>,
}

impl SwiftStore {
    /// Asks for an object; an error unless the answer is one.
    async fn ask(&self, method: Method, name: &ObjectName<'_>, options: &GetOptions) -> Result<Response, StoreError> {
        if name.as_str().len() > LONGEST_NAME {
            return Err(StoreError::Absent);
        }
        let ask = self.client.object(method, name.as_str(), conditions(options)).ok_or(StoreError::Absent)?;
        let answer = self.client.send(&ask).await?;
        match answer::error(&answer, options) {
            // 404 is also what a missing container is answered with, and that is an outage, not an absent page.
            Some(StoreError::Absent) => Err(self.absent().await),
            Some(error) => Err(error),
            None => {
                self.saw();
                Ok(answer)
            }
        }
    }

    /// What a 404 for an object means. The container is asked only where it has not answered for a while.
    async fn absent(&self) -> StoreError {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_some_and(|seen| seen.elapsed() < SEEN_FOR) {
            return StoreError::Absent;
        }
        let answer = match self.client.send(&self.client.container(Method::HEAD, &[])).await {
            Ok(answer) => answer,
            Err(error) => return error,
        };
        match answer::error(&answer, &GetOptions::default()) {
            Some(StoreError::Absent) => self.no_container(),
            // Who may read its objects need not be allowed to look at the container itself: then it is there.
            Some(error) if answer.status() != StatusCode::FORBIDDEN => error,
            _ => {
                self.saw();
                StoreError::Absent
            }
        }
    }

    fn saw(&self) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn no_container(&self) -> StoreError {
        StoreError::unavailable(format!("Swift has no container {}", self.client.name()))
    }

    /// Pages of a listing, each behind the last entry of the one before, until `take` has enough or there are no more.
    /// Only an empty page is the last: a container that is spread over servers may give short ones.
    async fn pages(
        &self,
        query: &[(&str, &str)],
        mut take: impl FnMut(Entry) -> bool + Send,
    ) -> Result<(), StoreError> {
        let limit = PAGE.to_string();
        let mut marker = String::new();
        loop {
            let page = [("format", "json"), ("limit", &limit), ("marker", &marker)];
            let ask = self.client.container(Method::GET, &[query, &page].concat());
            let answer = self.client.send(&ask).await?;
            match answer::error(&answer, &GetOptions::default()) {
                Some(StoreError::Absent) => return Err(self.no_container()),
                Some(error) => return Err(error),
                None => self.saw(),
            }
            let entries: Vec<Entry> =
                serde_json::from_slice(&bounded(answer, LARGEST_PAGE).await?).map_err(StoreError::unavailable)?;
            let Some(last) = entries.last() else { return Ok(()) };
            // Behind itself a page would come for ever.
            if last.name() <= marker.as_str() {
                return Err(StoreError::unavailable("Swift lists the same names again"));
            }
            last.name().clone_into(&mut marker);
            for entry in entries {
                if !take(entry) {
                    return Ok(());
                }
            }
        }
    }
}

#[async_trait]
impl DocStore for SwiftStore {
    async fn stat(&self, name: &ObjectName<'_>) -> Result<ObjectMeta, StoreError> {
        let answer = self.ask(Method::HEAD, name, &GetOptions::default()).await?;
        object_meta(answer.headers())
    }

    async fn get(&self, name: &ObjectName<'_>, options: &GetOptions) -> Result<Object, StoreError> {
        let answer = self.ask(Method::GET, name, options).await?;
        let meta = object_meta(answer.headers())?;
        let body = answer.bytes_stream().map_err(StoreError::unavailable);
        Ok(Object { meta, body: body.boxed() })
    }

    async fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        let mut keys = Vec::new();
        if limit == 0 {
            return Ok(keys);
        }
        let take = |entry: Entry| {
            keys.extend(entry.name);
            keys.len() < limit
        };
        self.pages(&[("prefix", &folder(prefix))], take).await?;
        Ok(keys)
    }

    async fn folders(&self, parent: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        let prefix = folder(parent);
        let mut names = Vec::new();
        if limit == 0 {
            return Ok(names);
        }
        let take = |entry: Entry| {
            let inside = entry.subdir.as_deref().and_then(|subdir| subdir.strip_prefix(&prefix)?.strip_suffix('/'));
            names.extend(inside.filter(|name| !name.is_empty()).map(str::to_owned));
            names.len() < limit
        };
        self.pages(&[("prefix", &prefix), ("delimiter", "/")], take).await?;
        Ok(names)
    }

    fn credential_trouble(&self) -> Option<String> {
        self.client.trouble()
    }

    fn checksum(&self, meta: &ObjectMeta) -> Option<Checksum> {
        meta.etag.as_ref().and_then(Checksum::from_tag)
    }
}

/// What a listing tells: an object, or a folder of some.
#[derive(Deserialize)]
struct Entry {
    name: Option<String>,
    /// With the slash at its end.
    subdir: Option<String>,
}

impl Entry {
    fn name(&self) -> &str {
        self.name.as_deref().or(self.subdir.as_deref()).unwrap_or_default()
    }
}

/// What all keys below a folder begin with.
fn folder(path: &str) -> String {
    if path.is_empty() || path.ends_with('/') { path.to_owned() } else { format!("{path}/") }
}

fn conditions(options: &GetOptions) -> HeaderMap {
    let mut headers = HeaderMap::new();
    // Whatever came as a tag in a header can leave as one.
    let tag = |tag| HeaderValue::try_from(swifts(tag)).ok();
    headers.extend(options.if_none_match.as_ref().and_then(tag).map(|tag| (IF_NONE_MATCH, tag)));
    headers.extend(options.if_match.as_ref().and_then(tag).map(|tag| (IF_MATCH, tag)));
    let range = options.range.as_ref().map(|range| format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
    headers.extend(range.and_then(|range| HeaderValue::try_from(range).ok()).map(|range| (RANGE, range)));
    headers
}
