//! What the cache holds of one key.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::HeaderValue;
use serde::de::IgnoredAny;

use super::generation::Generation;
use super::hearing::Epoch;
use super::rumour::is_same;
use super::site::Site;
use super::variants::{self, Apart, Body, Variant};
use crate::clock::Timestamp;
use crate::docs::{StorageKey, is_compressible, is_fingerprinted, media_type};
use crate::http::negotiation::Coding;
use crate::storage::{Filling, ObjectBody, ObjectMeta, Opened};

/// What the cache holds of one key: stored bytes as they are, or the knowledge that there are none.
///
/// There may be a million of them, so header values are written per answer where that is cheap, and what is rare is
/// boxed: `benches/memory.rs` measures what an entry costs.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What storage said of the object.
    pub meta: ObjectMeta,
    /// All of its bytes, or where they come from; none where there is no such object, and where it is too large to keep.
    pub(super) body: Body,
    /// When storage last confirmed it.
    pub confirmed_at: Timestamp,
    /// `Content-Type`, by the key's extension.
    pub content_type: &'static HeaderValue,
    /// Whether there is such an object.
    pub(super) is_present: bool,
    /// Whether the key's name carries a hash of the content.
    pub fingerprinted: bool,
    /// Whether it is a site's metadata and not the JSON that it should be, as when it is only half written.
    pub broken_metadata: bool,
    /// Whether its kind is any smaller when it is compressed.
    pub(super) is_compressible: bool,
    /// How storage last failed to confirm it, if it has failed since it did.
    pub(super) failure: Option<Box<Failure>>,
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
    /// Whether storage refused this one. Where its credential may not list, that may also mean that the object is gone.
    pub(super) is_refusal: bool,
    /// The site's generation then.
    pub(super) generation: Generation,
    /// Since when this replica heard of every change then.
    pub(super) heard_since: Epoch,
}

/// The object itself.
#[derive(Debug, Clone, Copy)]
pub enum Content<'a> {
    /// All of its bytes.
    Body(&'a Arc<[u8]>),
    /// It is being fetched, and may be read along. Memory holds none such.
    Filling(&'a Filling),
    /// Too large to keep: only what it is, to be streamed when asked for.
    Large,
    /// There is no such object.
    Absent,
}

impl Content<'_> {
    /// Bytes in memory, shared, as an answer sends them.
    pub fn shared(body: &Arc<[u8]>) -> Bytes {
        Bytes::from_owner(Arc::clone(body))
    }
}

impl Entry {
    /// A document that is kept.
    pub(super) fn document(key: &StorageKey, meta: ObjectMeta, body: Arc<[u8]>, from: Provenance) -> Self {
        Self::new(key, meta, Body::Plain(body), from)
    }

    /// One that is going to be, as those see it who read along.
    pub(super) fn filling(key: &StorageKey, meta: ObjectMeta, filling: Filling, from: Provenance) -> Self {
        Self::new(key, meta, Body::apart(Apart::Filling(filling, OnceLock::new())), from)
    }

    /// One that is too large for that.
    pub(super) fn large(key: &StorageKey, meta: ObjectMeta, from: Provenance) -> Self {
        Self::new(key, meta, Body::NONE, from)
    }

    /// The same, with its body for the first who wants all of it.
    pub(super) fn with_opened(&self, opened: Opened) -> Self {
        Self { body: Body::apart(Apart::Opened(opened)), ..self.clone() }
    }

    pub(super) fn absent(from: Provenance) -> Self {
        let Provenance { confirmed_at, site, generation, heard_since } = from;
        Self {
            meta: ObjectMeta { size: 0, etag: None, last_modified: None },
            body: Body::NONE,
            is_present: false,
            confirmed_at,
            content_type: media_type(""),
            fingerprinted: false,
            broken_metadata: false,
            is_compressible: false,
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
        Self { failure: Some(Box::new(failure)), ..self.clone() }
    }

    /// The same, which something said elsewhere puts in doubt. That storage failed before that excuses nothing.
    pub(super) fn doubted(&self) -> Self {
        Self { heard_since: Epoch::NEVER, failure: None, ..self.clone() }
    }

    /// The same, with what was made of `held` where that has the same bytes.
    pub(super) fn inheriting(self, held: Option<&Self>) -> Self {
        match held.and_then(|held| held.body.identity().map(|bytes| (held, bytes))) {
            Some((held, bytes)) if self.body.identity().is_some_and(|new| new == bytes) => {
                Self { body: held.body.clone(), ..self }
            }
            _ => self,
        }
    }

    /// The same with what has come of making a variant; `None` where that was made of other bytes.
    pub(super) fn with_variant(&self, bytes: &Arc<[u8]>, coding: Coding, variant: Variant) -> Option<Self> {
        let is_of_these = self.body.identity().is_some_and(|held| Arc::ptr_eq(held, bytes));
        is_of_these.then(|| Self { body: self.body.with(coding, variant), ..self.clone() })
    }

    /// Whether compressing it may pay.
    pub(super) fn may_have_variants(&self) -> bool {
        let bytes = match self.content() {
            Content::Body(bytes) => Some(bytes.len()),
            Content::Filling(_) => usize::try_from(self.meta.size).ok(),
            Content::Large | Content::Absent => None,
        };
        self.is_compressible && bytes.is_some_and(variants::may_be_worthwhile)
    }

    /// Notes that somebody who reads along would rather have had it in this coding; whether it can be made later alone.
    pub(super) fn is_wanted_later(&self, coding: Coding) -> bool {
        let Some(Apart::Filling(_, wanted)) = self.body.as_apart() else { return false };
        // Whoever comes after the first asks again when it is there.
        let _ = wanted.set(coding);
        true
    }

    /// In which coding one of those who read along would rather have had it.
    pub(super) fn wanted_later(&self) -> Option<Coding> {
        match self.body.as_apart() {
            Some(Apart::Filling(_, wanted)) => wanted.get().copied(),
            _ => None,
        }
    }

    /// The body that it was opened with, for the first who asks.
    pub(super) fn take_opened(&self) -> Option<ObjectBody> {
        match self.body.as_apart() {
            Some(Apart::Opened(opened)) => opened.take(),
            _ => None,
        }
    }

    /// Its bytes as they are in storage, where they are kept.
    pub(super) fn identity(&self) -> Option<&Arc<[u8]>> {
        self.body.identity()
    }

    /// What is known of its variant in this coding.
    pub(super) fn variant(&self, coding: Coding) -> &Variant {
        self.body.variant(coding)
    }

    /// Whether there is such a document.
    pub(super) fn is_present(&self) -> bool {
        self.is_present
    }

    /// The object itself.
    pub fn content(&self) -> Content<'_> {
        if let Some(bytes) = self.body.identity() {
            return Content::Body(bytes);
        }
        match self.body.as_apart() {
            Some(Apart::Filling(filling, _)) => Content::Filling(filling),
            _ if self.is_present => Content::Large,
            _ => Content::Absent,
        }
    }

    /// Whether it is this version of the document, or its absence.
    pub(super) fn is_version(&self, version: Option<&ObjectMeta>) -> bool {
        is_same(self.version(), version)
    }

    /// What tells this version of the document from others; `None` for its absence.
    pub(super) fn version(&self) -> Option<&ObjectMeta> {
        self.is_present.then_some(&self.meta)
    }

    /// Bytes of its body and its variants, of its tag and of what else of it lies in memory apart from itself.
    pub(super) fn bytes_apart(&self) -> usize {
        let tag = self.meta.etag.as_ref().map_or(0, |etag| etag.as_str().len());
        let failure = if self.failure.is_some() { size_of::<Failure>() } else { 0 };
        tag + self.body.bytes() + failure
    }

    fn new(key: &StorageKey, meta: ObjectMeta, body: Body, from: Provenance) -> Self {
        let Provenance { confirmed_at, site, generation, heard_since } = from;
        let is_broken = |body: &Arc<[u8]>| key.is_metadata() && serde_json::from_slice::<IgnoredAny>(body).is_err();
        let broken_metadata = body.identity().is_some_and(is_broken);
        Self {
            body,
            is_present: true,
            confirmed_at,
            content_type: media_type(key.file_name()),
            fingerprinted: is_fingerprinted(key.file_name()),
            broken_metadata,
            is_compressible: is_compressible(key.file_name()),
            failure: None,
            meta,
            site,
            generation,
            heard_since,
        }
    }
}
