//! The header of an answer with a document.

use std::sync::OnceLock;

use http::header::{
    ACCEPT_RANGES, AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, LAST_MODIFIED, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Options;
use crate::cache::Found;
use crate::http::cache_status::{CACHE_STATUS, cache_status};
use crate::http::negotiation::Coding;
use crate::http::value;

/// A document that was found, and in which coding it leaves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaving<'f> {
    pub(super) found: &'f Found,
    pub(super) coding: Coding,
    /// Whether other readers may be sent another one.
    pub(super) varies: bool,
}

/// What an answer has a body of.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) content_type: HeaderValue,
    pub(super) length: u64,
}

/// How many fields an answer may have.
const MOST: usize = 11;

/// All of them, as they are sent.
const FIELDS: [HeaderName; MOST] = [
    CACHE_CONTROL,
    X_CONTENT_TYPE_OPTIONS,
    ACCEPT_RANGES,
    CACHE_STATUS,
    ETAG,
    LAST_MODIFIED,
    VARY,
    AGE,
    CONTENT_TYPE,
    CONTENT_LENGTH,
    CONTENT_ENCODING,
];

/// The values of an answer's fields, each in the place of its name in [`FIELDS`].
type Values = [Option<HeaderValue>; MOST];

/// Makes headers.
///
/// Which fields an answer has is nearly always the same, and only their values differ. So each *shape*, once met, is kept
/// as a header of which copies are made: a copy is made at once, where each field put in costs a search for its place.
#[derive(Debug)]
pub(super) struct Heads {
    cache_control: HeaderValue,
    cache_control_fingerprinted: HeaderValue,
    /// By which fields there are.
    shapes: Box<[OnceLock<Box<HeaderMap>>]>,
}

impl Heads {
    pub(super) fn new(options: Options) -> Self {
        Self {
            cache_control: options.cache_control,
            cache_control_fingerprinted: options.cache_control_fingerprinted,
            shapes: (0..1 << MOST).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The fields that 200, 206 and 304 share (RFC 9110 §15.4.5), and those of what is sent along.
    pub(super) fn of(&self, leaving: Leaving<'_>, age: u64, content: Option<Content>) -> HeaderMap {
        let Leaving { found, coding, varies } = leaving;
        let entry = &found.entry;
        let cache_control = if entry.fingerprinted { &self.cache_control_fingerprinted } else { &self.cache_control };
        let (content_type, length) = content.map(|content| (content.content_type, content.length)).unzip();
        self.with([
            Some(cache_control.clone()),
            Some(HeaderValue::from_static("nosniff")),
            Some(HeaderValue::from_static("bytes")),
            Some(cache_status(found.outcome, found.ttl, found.collapsed)),
            entry.meta.etag.as_ref().and_then(|tag| tag.header(coding)),
            entry.meta.last_modified.and_then(value::date),
            varies.then(|| HeaderValue::from_static("Accept-Encoding")),
            found.outcome.is_held().then(|| value::seconds(age)),
            content_type,
            length.map(value::number),
            coding.header().filter(|_| length.is_some()),
        ])
    }

    fn with(&self, values: Values) -> HeaderMap {
        let shape = values.iter().rev().fold(0, |shape, value| shape << 1 | usize::from(value.is_some()));
        let Some(kept) = self.shapes.get(shape) else { return put_together(values) };
        if let Some(kept) = kept.get() {
            let mut headers = HeaderMap::clone(kept);
            // In the order in which they were put in: none was ever taken out.
            for (field, value) in headers.values_mut().zip(values.into_iter().flatten()) {
                *field = value;
            }
            return headers;
        }
        let headers = put_together(values);
        let mut empty = headers.clone();
        empty.values_mut().for_each(|value| *value = HeaderValue::from_static(""));
        // Another request may have been first.
        let _ = kept.set(Box::new(empty));
        headers
    }
}

fn put_together(values: Values) -> HeaderMap {
    // With room for what an answer may get beside these.
    let mut headers = HeaderMap::with_capacity(MOST + 2);
    for (name, value) in FIELDS.into_iter().zip(values) {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_a_shape_is_what_putting_it_together_makes() {
        let text = |value: &'static str| HeaderValue::from_static(value);
        let heads = Heads::new(Options {
            cache_control: text("private"),
            cache_control_fingerprinted: text("immutable"),
            purgers: Vec::new(),
            max_uri_bytes: 100,
        });
        for shape in 0..1_usize << MOST {
            for round in ["first", "second", "third"] {
                let values: Values = std::array::from_fn(|place| {
                    let value = HeaderValue::try_from(format!("{round} {place}")).unwrap();
                    (shape >> place & 1 == 1).then_some(value)
                });
                assert_eq!(heads.with(values.clone()), put_together(values), "{shape:b}");
            }
        }
    }
}
