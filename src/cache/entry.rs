//! What the cache holds of one key.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::HeaderValue;
use serde::de::IgnoredAny;

use crate::clock::Timestamp;
use crate::docs::{StorageKey, is_fingerprinted, media_type};
use crate::storage::ObjectMeta;

/// What the cache holds of one key: stored bytes as they are, or the knowledge that there are none.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What storage said of the object.
    pub meta: ObjectMeta,
    /// The object itself.
    pub content: Content,
    /// When storage last confirmed it.
    pub confirmed_at: Timestamp,
    /// `Content-Type`, by the key's extension. Header values are made once, not per request.
    pub content_type: HeaderValue,
    /// `Last-Modified`, where storage knows it.
    pub last_modified: Option<HeaderValue>,
    /// `Content-Length` of the whole document.
    pub content_length: HeaderValue,
    /// Whether the key's name carries a hash of the content.
    pub fingerprinted: bool,
    /// Whether it is a site's metadata and not the JSON that it should be, as when it is only half written.
    pub broken_metadata: bool,
    /// How storage last failed to confirm it, if it has failed since it did.
    pub(super) failure: Option<Failure>,
}

/// A failure to confirm an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    /// When it was.
    pub(super) at: Timestamp,
    /// Whether storage refused. Where its credential may not list, that may also mean that the object is gone.
    pub(super) is_refusal: bool,
}

/// The object itself.
#[derive(Debug, Clone)]
pub enum Content {
    /// All of its bytes.
    Body(Bytes),
    /// Too large to keep: only what it is, to be streamed when asked for.
    Large,
    /// There is no such object.
    Absent,
}

impl Entry {
    pub(super) fn document(key: &StorageKey, meta: ObjectMeta, body: Bytes, now: Timestamp) -> Self {
        Self::new(key, meta, Content::Body(body), now)
    }

    pub(super) fn large(key: &StorageKey, meta: ObjectMeta, now: Timestamp) -> Self {
        Self::new(key, meta, Content::Large, now)
    }

    pub(super) fn absent(now: Timestamp) -> Self {
        Self {
            meta: ObjectMeta { size: 0, etag: None, last_modified: None },
            content: Content::Absent,
            confirmed_at: now,
            content_type: HeaderValue::from_static(""),
            last_modified: None,
            content_length: HeaderValue::from(0),
            fingerprinted: false,
            broken_metadata: false,
            failure: None,
        }
    }

    /// The same, confirmed by storage at `now`.
    pub(super) fn confirmed(&self, now: Timestamp) -> Self {
        Self { confirmed_at: now, failure: None, ..self.clone() }
    }

    /// The same, which storage has failed to confirm.
    pub(super) fn unconfirmed(&self, failure: Failure) -> Self {
        Self { failure: Some(failure), ..self.clone() }
    }

    /// Bytes of its body held in memory.
    pub(super) fn body_bytes(&self) -> usize {
        match &self.content {
            Content::Body(body) => body.len(),
            Content::Large | Content::Absent => 0,
        }
    }

    fn new(key: &StorageKey, meta: ObjectMeta, content: Content, now: Timestamp) -> Self {
        let broken_metadata = match &content {
            Content::Body(body) if key.is_metadata() => serde_json::from_slice::<IgnoredAny>(body).is_err(),
            _ => false,
        };
        Self {
            content,
            confirmed_at: now,
            content_type: media_type(key.file_name()),
            last_modified: meta.last_modified.and_then(http_date),
            content_length: HeaderValue::from(meta.size),
            fingerprinted: is_fingerprinted(key.file_name()),
            broken_metadata,
            failure: None,
            meta,
        }
    }
}

/// A time as HTTP writes it; `None` for one that it can't write, beyond the year 9999 (RFC 9110 §5.6.7).
fn http_date(time: SystemTime) -> Option<HeaderValue> {
    const YEAR_10000: Duration = Duration::from_secs(253_402_300_800);
    let writable = time.duration_since(UNIX_EPOCH).is_ok_and(|since| since < YEAR_10000);
    writable.then(|| HeaderValue::try_from(httpdate::fmt_http_date(time)).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_http_cant_write_is_left_out() {
        let at = |seconds| http_date(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0).unwrap(), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(at(253_402_300_799).unwrap(), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(at(253_402_300_800), None);
        assert_eq!(http_date(UNIX_EPOCH - Duration::from_secs(1)), None);
    }
}
