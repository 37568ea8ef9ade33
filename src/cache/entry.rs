//! What the cache holds of one key.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::HeaderValue;
use serde::de::IgnoredAny;

use super::flight::is_same;
use super::generation::Generation;
use super::hearing::Epoch;
use super::site::Site;
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
    /// The site that it belongs to.
    pub(super) site: Arc<Site>,
    /// That site's generation when storage was asked.
    pub(super) generation: Generation,
    /// Since when this replica hears of every change to it.
    pub(super) heard_since: Epoch,
}

/// Where an entry comes from, and when it did.
#[derive(Debug, Clone)]
pub(super) struct Provenance {
    /// When storage was asked.
    pub(super) confirmed_at: Timestamp,
    /// The site that it belongs to.
    pub(super) site: Arc<Site>,
    /// That site's generation at that time.
    pub(super) generation: Generation,
    /// Since when this replica hears of every change to it.
    pub(super) heard_since: Epoch,
}

/// A failure to confirm an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    /// When it was.
    pub(super) at: Timestamp,
    /// Whether storage refused. Where its credential may not list, that may also mean that the object is gone.
    pub(super) is_refusal: bool,
    /// The site's generation then.
    pub(super) generation: Generation,
    /// Since when this replica heard of every change then.
    pub(super) heard_since: Epoch,
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
    /// A document that is kept.
    pub(super) fn document(key: &StorageKey, meta: ObjectMeta, body: Bytes, from: Provenance) -> Self {
        Self::new(key, meta, Content::Body(body), from)
    }

    /// One that is too large for that.
    pub(super) fn large(key: &StorageKey, meta: ObjectMeta, from: Provenance) -> Self {
        Self::new(key, meta, Content::Large, from)
    }

    pub(super) fn absent(from: Provenance) -> Self {
        let Provenance { confirmed_at, site, generation, heard_since } = from;
        Self {
            meta: ObjectMeta { size: 0, etag: None, last_modified: None },
            content: Content::Absent,
            confirmed_at,
            content_type: HeaderValue::from_static(""),
            last_modified: None,
            content_length: HeaderValue::from(0),
            fingerprinted: false,
            broken_metadata: false,
            failure: None,
            site,
            generation,
            heard_since,
        }
    }

    /// The same, confirmed anew.
    pub(super) fn confirmed(&self, from: Provenance) -> Self {
        let Provenance { confirmed_at, site, generation, heard_since } = from;
        Self { confirmed_at, site, generation, heard_since, failure: None, ..self.clone() }
    }

    /// The same, which storage has failed to confirm.
    pub(super) fn unconfirmed(&self, failure: Failure) -> Self {
        Self { failure: Some(failure), ..self.clone() }
    }

    /// The same, which something said elsewhere puts in doubt. That storage failed before that excuses nothing.
    pub(super) fn doubted(&self) -> Self {
        Self { heard_since: Epoch::NEVER, failure: None, ..self.clone() }
    }

    /// Whether there is such a document.
    pub(super) fn is_present(&self) -> bool {
        !matches!(self.content, Content::Absent)
    }

    /// Whether it is this version of the document, or its absence.
    pub(super) fn is_version(&self, version: Option<&ObjectMeta>) -> bool {
        is_same(self.version(), version)
    }

    /// What tells this version of the document from others; `None` for its absence.
    pub(super) fn version(&self) -> Option<&ObjectMeta> {
        self.is_present().then_some(&self.meta)
    }

    /// Bytes of its body held in memory.
    pub(super) fn body_bytes(&self) -> usize {
        match &self.content {
            Content::Body(body) => body.len(),
            Content::Large | Content::Absent => 0,
        }
    }

    fn new(key: &StorageKey, meta: ObjectMeta, content: Content, from: Provenance) -> Self {
        let Provenance { confirmed_at, site, generation, heard_since } = from;
        let broken_metadata = match &content {
            Content::Body(body) if key.is_metadata() => serde_json::from_slice::<IgnoredAny>(body).is_err(),
            _ => false,
        };
        Self {
            content,
            confirmed_at,
            content_type: media_type(key.file_name()),
            last_modified: meta.last_modified.and_then(http_date),
            content_length: HeaderValue::from(meta.size),
            fingerprinted: is_fingerprinted(key.file_name()),
            broken_metadata,
            failure: None,
            meta,
            site,
            generation,
            heard_since,
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
