//! The header of an answer with a document.

use std::cell::RefCell;
use std::sync::{Arc, OnceLock, Weak};

use http::header::{
    ACCEPT_RANGES, AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, LAST_MODIFIED, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Options;
use crate::cache::{Entry, Found};
use crate::http::cache_status::{CACHE_STATUS, CacheOutcome, Ttl, cache_status};
use crate::http::negotiation::Coding;
use crate::http::value;
use crate::lately::{Changes, Lately, mark_of};

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

/// How many fields' values differ from answer to answer.
const VARYING_FIELDS: usize = 6;

/// Those.
const VARYING: [HeaderName; VARYING_FIELDS] = [CACHE_STATUS, ETAG, LAST_MODIFIED, AGE, CONTENT_TYPE, CONTENT_LENGTH];

/// Their values, each in the place of its name in [`VARYING`]; none of a field that the answer does not have.
type Values = [Option<HeaderValue>; VARYING_FIELDS];

/// Fields that are the same in many answers, by what decides about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fixed {
    /// Whether the document's name carries a hash of its content.
    fingerprinted: bool,
    /// Whether other readers may be sent another coding.
    varies: bool,
    /// In which coding a body is sent along.
    coding: Coding,
}

/// How many headers differ in more than their values.
const SHAPES: usize = 1 << (VARYING_FIELDS + Fixed::BITS);

/// Makes headers.
///
/// Which fields an answer has is nearly always the same, and only some values differ. So each *shape*, once met, is kept
/// as a header of which copies are made: a copy is made at once, where each field put in costs a search for its place.
#[derive(Debug)]
pub(super) struct Heads {
    cache_control: HeaderValue,
    cache_control_fingerprinted: HeaderValue,
    /// By which fields there are, the varying ones without their values.
    shapes: Box<[OnceLock<Box<HeaderMap>>]>,
    /// None ever, but for that others make headers in their own way.
    changes: Changes,
}

/// What a header with all of a document, or none of it, was made for, beside the entry.
///
/// Until a second is over, the next one for the same entry is the same: for a page that many want at once it is copied as
/// it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Occasion {
    coding: Coding,
    /// Bytes that are sent along.
    length: Option<u64>,
    /// Seconds.
    age: u64,
    /// Seconds that the entry stays fresh.
    left: u64,
}

thread_local! {
    static MADE: RefCell<Lately<(Weak<Entry>, Occasion), HeaderMap>> = const { RefCell::new(Lately::new()) };
}

impl Occasion {
    /// That of nearly all answers: a hit in memory.
    fn of(leaving: Leaving<'_>, length: Option<u64>) -> Option<Self> {
        let Leaving { found, coding, .. } = leaving;
        match (found.outcome, found.ttl) {
            (CacheOutcome::Hit, Ttl::Left(left)) => {
                Some(Self { coding, length, age: found.age.as_secs(), left: left.as_secs() })
            }
            _ => None,
        }
    }

    fn mark(self, entry: &Arc<Entry>) -> u64 {
        let what = self.length.map_or(0, |length| length << 2 | self.coding as u64);
        mark_of(Arc::as_ptr(entry).addr() as u64 ^ what.rotate_right(8))
    }
}

impl Fixed {
    const BITS: usize = 4;

    fn bits(self) -> usize {
        usize::from(self.fingerprinted) | usize::from(self.varies) << 1 | (self.coding as usize) << 2
    }
}

impl Heads {
    pub(super) fn new(options: Options) -> Self {
        Self {
            cache_control: options.cache_control,
            cache_control_fingerprinted: options.cache_control_fingerprinted,
            shapes: (0..SHAPES).map(|_| OnceLock::new()).collect(),
            changes: Changes::new(),
        }
    }

    /// As [`Heads::of`], for all of a document, of which `length` bytes are sent along, or for none of it.
    pub(super) fn of_whole(&self, leaving: Leaving<'_>, length: Option<u64>) -> HeaderMap {
        let entry = &leaving.found.entry;
        let make =
            || self.of(leaving, length.map(|length| Content { content_type: entry.content_type.clone(), length }));
        let Some(occasion) = Occasion::of(leaving, length) else { return make() };
        let look = self.changes.look(occasion.mark(entry));
        let is_it =
            |(of, on): &(Weak<Entry>, Occasion)| std::ptr::eq(of.as_ptr(), Arc::as_ptr(entry)) && *on == occasion;
        let made = MADE.with_borrow(|made| made.find(look, is_it).cloned());
        made.unwrap_or_else(|| {
            let headers = make();
            MADE.with_borrow_mut(|made| made.note(look, || ((Arc::downgrade(entry), occasion), headers.clone())));
            headers
        })
    }

    /// The fields that 200, 206 and 304 share (RFC 9110 §15.4.5), and those of what is sent along.
    pub(super) fn of(&self, leaving: Leaving<'_>, content: Option<Content>) -> HeaderMap {
        let Leaving { found, coding, varies } = leaving;
        let entry = &found.entry;
        let (content_type, length) = content.map(|content| (content.content_type, content.length)).unzip();
        let sent_in = if length.is_some() { coding } else { Coding::Identity };
        let values = [
            Some(cache_status(found.outcome, found.ttl, found.collapsed)),
            entry.meta.etag.as_ref().and_then(|tag| tag.header(coding)),
            entry.meta.last_modified.and_then(value::date),
            found.outcome.is_held().then(|| value::seconds(found.age.as_secs())),
            content_type,
            length.map(value::number),
        ];
        self.with(Fixed { fingerprinted: entry.fingerprinted, varies, coding: sent_in }, values)
    }

    fn with(&self, fixed: Fixed, values: Values) -> HeaderMap {
        let present = values.iter().rev().fold(0, |shape, value| shape << 1 | usize::from(value.is_some()));
        let Some(kept) = self.shapes.get(present << Fixed::BITS | fixed.bits()) else {
            return self.put_together(fixed, values);
        };
        let kept = kept.get_or_init(|| {
            let empty = |value: &Option<HeaderValue>| value.as_ref().map(|_| HeaderValue::from_static(""));
            Box::new(self.put_together(fixed, values.each_ref().map(empty)))
        });
        let mut headers: HeaderMap = kept.as_ref().clone();
        // In the order in which they were put in, before all others: none was ever taken out.
        for (field, value) in headers.values_mut().zip(values.into_iter().flatten()) {
            *field = value;
        }
        headers
    }

    fn put_together(&self, fixed: Fixed, values: Values) -> HeaderMap {
        // With room for what an answer may get beside these.
        let mut headers = HeaderMap::with_capacity(VARYING_FIELDS + 7);
        for (name, value) in VARYING.into_iter().zip(values) {
            if let Some(value) = value {
                headers.insert(name, value);
            }
        }
        let cache_control = if fixed.fingerprinted { &self.cache_control_fingerprinted } else { &self.cache_control };
        headers.insert(CACHE_CONTROL, cache_control.clone());
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if fixed.varies {
            headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        }
        if let Some(coding) = fixed.coding.header() {
            headers.insert(CONTENT_ENCODING, coding);
        }
        headers
    }
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
        let codings = Coding::COMPRESSING.into_iter().chain([Coding::Identity]);
        let fixed = codings.flat_map(|coding| {
            let both = [false, true];
            both.into_iter().flat_map(move |fingerprinted| both.map(|varies| Fixed { fingerprinted, varies, coding }))
        });
        for fixed in fixed {
            for present in 0..1_usize << VARYING_FIELDS {
                for round in ["first", "second", "third"] {
                    let values: Values = std::array::from_fn(|place| {
                        let value = HeaderValue::try_from(format!("{round} {place}")).unwrap();
                        (present >> place & 1 == 1).then_some(value)
                    });
                    let together = heads.put_together(fixed, values.clone());
                    assert_eq!(heads.with(fixed, values), together, "{fixed:?} {present:b}");
                }
            }
        }
        assert!(heads.shapes.iter().all(|shape| shape.get().is_some()), "each has a place of its own");
    }
}
