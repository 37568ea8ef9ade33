//! Any `Range` selects bytes that are there, each once, and any condition gets a verdict that the request gave reason
//! for.
//!
//! The input's first two lines are the document's length and its entity tag as a store would give it; each further
//! line is a header: its first letter says which, what follows is its value.

#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use callboard::http::conditional::{self, Validators, Verdict};
use callboard::http::etag::{self, ETag};
use callboard::http::negotiation::{Accepted, Coding};
use callboard::http::range::{self, Selection};
use http::header::{ACCEPT_ENCODING, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut lines = input.split(|&byte| byte == b'\n');
    let mut line = || std::str::from_utf8(lines.next().unwrap_or_default()).unwrap_or_default();
    let length = line().parse().unwrap_or(1000);
    let tag = ETag::from_store(line());
    let headers = headers(lines);
    check_range(&headers, length);
    check_condition(&headers, tag.as_ref());
    if let Some(tag) = &tag {
        check_tag(tag);
    }
    for tag in etag::tags(input) {
        assert!(etag::is_tag(tag));
    }
});

fn headers<'a>(lines: impl Iterator<Item = &'a [u8]>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.take(16) {
        let (name, value) = match line.split_first() {
            Some((b'A', value)) => (ACCEPT_ENCODING, value),
            Some((b'R', value)) => (RANGE, value),
            Some((b'I', value)) => (IF_RANGE, value),
            Some((b'M', value)) => (IF_MATCH, value),
            Some((b'N', value)) => (IF_NONE_MATCH, value),
            Some((b'S', value)) => (IF_MODIFIED_SINCE, value),
            Some((b'U', value)) => (IF_UNMODIFIED_SINCE, value),
            _ => continue,
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    headers
}

fn check_range(headers: &HeaderMap, length: u64) {
    match range::select(headers, length) {
        Selection::Whole => {}
        Selection::Unsatisfiable => assert!(headers.contains_key(RANGE)),
        Selection::Parts(mut parts) => {
            assert!(headers.contains_key(RANGE) && !parts.is_empty());
            assert!(parts.iter().all(|part| part.start < part.end && part.end <= length));
            parts.sort_by_key(|part| part.start);
            for (one, next) in parts.iter().zip(parts.iter().skip(1)) {
                assert!(one.end <= next.start, "{parts:?}");
            }
        }
    }
}

fn check_condition(headers: &HeaderMap, etag: Option<&ETag>) {
    for last_modified in [None, Some(UNIX_EPOCH + Duration::from_secs(1_000_000_000))] {
        let current = Validators { etag, codings: Accepted::of(headers), last_modified };
        let has = |name| headers.contains_key(name);
        match conditional::evaluate(headers, current) {
            Verdict::Proceed => assert!(headers.get(IF_NONE_MATCH).is_none_or(|value| value != "*")),
            Verdict::NotModified(Some(coding)) => assert!(has(IF_NONE_MATCH) && current.codings.accepts(coding)),
            Verdict::NotModified(None) => assert!(has(IF_NONE_MATCH) || has(IF_MODIFIED_SINCE)),
            Verdict::PreconditionFailed => {
                assert!(has(IF_MATCH) || has(IF_UNMODIFIED_SINCE));
                assert!(headers.get(IF_MATCH).is_none_or(|value| value != "*"));
            }
        }
        let applies = conditional::range_applies(headers, current);
        assert!(applies || has(IF_RANGE));
        if applies && has(IF_RANGE) {
            assert!(etag.is_some() || last_modified.is_some());
        }
    }
}

fn check_tag(tag: &ETag) {
    let written = tag.as_str().as_bytes();
    assert!(tag.header(Coding::Identity).is_some_and(|header| header.as_bytes() == written), "{tag:?}");
    assert!(etag::is_tag(written), "{tag:?}");
    assert!(tag.weakly_equals(Coding::Identity, written));
    assert_eq!(tag.strongly_equals(Coding::Identity, written), !written.starts_with(b"W/"));
    for coding in Coding::COMPRESSING {
        let header = tag.header(coding);
        assert!(header.is_some_and(|header| tag.weakly_equals(coding, header.as_bytes()) && header != written));
        assert!(!tag.weakly_equals(coding, written));
    }
    let list = [b"\"other\", ".as_slice(), written].concat();
    assert_eq!(etag::tags(&list).nth(1), Some(written));
}
