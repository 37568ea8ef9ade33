//! What the cache holds of one key.

use bytes::Bytes;
use http::HeaderValue;

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
            meta: ObjectMeta {
                size: 0,
                etag: None,
                last_modified: None,
            },
            content: Content::Absent,
            confirmed_at: now,
            content_type: HeaderValue::from_static(""),
            last_modified: None,
            content_length: HeaderValue::from(0),
            fingerprinted: false,
        }
    }

    /// The same, confirmed by storage at `now`.
    pub(super) fn confirmed(&self, now: Timestamp) -> Self {
        Self {
            confirmed_at: now,
            ..self.clone()
        }
    }

    /// Bytes of its body held in memory.
    pub(super) fn body_bytes(&self) -> usize {
        match &self.content {
            Content::Body(body) => body.len(),
            Content::Large | Content::Absent => 0,
        }
    }

    fn new(key: &StorageKey, meta: ObjectMeta, content: Content, now: Timestamp) -> Self {
        let last_modified = meta.last_modified.map(httpdate::fmt_http_date);
        Self {
            content,
            confirmed_at: now,
            content_type: media_type(key.file_name()),
            last_modified: last_modified.and_then(|date| HeaderValue::try_from(date).ok()),
            content_length: HeaderValue::from(meta.size),
            fingerprinted: is_fingerprinted(key.file_name()),
            meta,
        }
    }
}
