//! Byte ranges (RFC 9110 §14).

use std::ops::Range;

use http::HeaderMap;
use http::header::RANGE;

/// More ranges than any reader asks for. A request with more is answered as if it had no `Range`, which the RFC allows
/// (§14.2) and which keeps a short header from asking for a long answer.
const MAX_RANGES: usize = 32;

/// What a `Range` header asks for of a representation of known length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All of it: there is no `Range`, or one that is to be ignored.
    Whole,
    /// These bytes: at least one range, none empty, all inside, none overlapping another.
    Parts(Vec<Range<u64>>),
    /// None of the ranges lies inside: 416.
    Unsatisfiable,
}

/// Reads `Range` against a representation of `length` bytes.
pub fn select(headers: &HeaderMap, length: u64) -> Selection {
    let mut values = headers.get_all(RANGE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Selection::Whole;
    };
    let Some(specs) = value.to_str().ok().and_then(parse) else {
        return Selection::Whole;
    };
    let mut parts: Vec<_> = specs.iter().filter_map(|spec| spec.resolve(length)).collect();
    if parts.is_empty() {
        return Selection::Unsatisfiable;
    }
    if overlap(&parts) {
        parts = coalesced(parts);
    }
    Selection::Parts(parts)
}

/// One range as the client wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spec {
    /// `first-` and `first-last`, both inclusive.
    From { first: u64, last: Option<u64> },
    /// `-length`.
    Suffix { length: u64 },
}

impl Spec {
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-')?;
        if first.is_empty() {
            return Some(Self::Suffix { length: number(last)? });
        }
        let first = number(first)?;
        let last = if last.is_empty() { None } else { Some(number(last)?) };
        if last.is_some_and(|last| last < first) {
            return None;
        }
        Some(Self::From { first, last })
    }

    /// The bytes that it selects, end exclusive; `None` where it selects none.
    fn resolve(self, length: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::From { first, last } => first..last.map_or(length, |last| last.saturating_add(1).min(length)),
            Self::Suffix { length: wanted } => length.saturating_sub(wanted)..length,
        };
        (range.start < range.end).then_some(range)
    }
}

/// The ranges of a `bytes=` header; `None` where it is to be ignored: another unit, or not well-formed.
fn parse(value: &str) -> Option<Vec<Spec>> {
    let (unit, set) = value.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut specs = Vec::new();
    for member in set
        .split(',')
        .map(|member| member.trim_matches([' ', '\t']))
        .filter(|member| !member.is_empty())
    {
        if specs.len() == MAX_RANGES {
            return None;
        }
        specs.push(Spec::parse(member)?);
    }
    (!specs.is_empty()).then_some(specs)
}

/// A run of digits; one too large for any object counts as the largest number.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

fn overlap(parts: &[Range<u64>]) -> bool {
    let mut sorted: Vec<_> = parts.iter().collect();
    sorted.sort_by_key(|range| range.start);
    sorted
        .iter()
        .zip(sorted.iter().skip(1))
        .any(|(one, next)| next.start < one.end)
}

/// The same bytes in ascending order, each once.
fn coalesced(mut parts: Vec<Range<u64>>) -> Vec<Range<u64>> {
    parts.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(parts.len());
    for part in parts {
        match merged.last_mut() {
            Some(last) if part.start <= last.end => last.end = last.end.max(part.end),
            _ => merged.push(part),
        }
    }
    merged
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "a list of one range is what is meant")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn selection(value: &str, length: u64) -> Selection {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, value.parse().unwrap());
        select(&headers, length)
    }

    #[test]
    fn ranges_are_read_as_the_rfc_writes_them() {
        for (value, parts) in [
            ("bytes=0-499", vec![0..500]),
            ("bytes=500-999", vec![500..1000]),
            ("bytes=-500", vec![9500..10000]),
            ("bytes=9500-", vec![9500..10000]),
            ("bytes=0-0,-1", vec![0..1, 9999..10000]),
            ("BYTES= 0-0 ,\t-1 ,,", vec![0..1, 9999..10000]),
            ("bytes=500-700,601-999", vec![500..1000]),
            ("bytes=9000-9999, 0-9", vec![9000..10000, 0..10]),
            ("bytes=-20000", vec![0..10000]),
            ("bytes=9999-99999999999999999999999999", vec![9999..10000]),
            ("bytes=0-9,20000-", vec![0..10]),
        ] {
            assert_eq!(selection(value, 10000), Selection::Parts(parts), "{value}");
        }
    }

    #[test]
    fn what_is_not_a_byte_range_is_ignored() {
        for value in [
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=a-b",
            "bytes=5-2",
            "bytes=1-2-3",
            "bytes=--1",
            "items=0-1",
            "bytes=+1-2",
        ] {
            assert_eq!(selection(value, 10000), Selection::Whole, "{value}");
        }
        let many = format!("bytes={}", "0-0,".repeat(MAX_RANGES + 1));
        assert_eq!(selection(&many, 10000), Selection::Whole);
    }

    #[test]
    fn what_lies_outside_is_unsatisfiable() {
        for (value, length) in [
            ("bytes=10-", 10),
            ("bytes=10-20,30-", 10),
            ("bytes=-0", 10),
            ("bytes=0-", 0),
        ] {
            assert_eq!(
                selection(value, length),
                Selection::Unsatisfiable,
                "{value} of {length}"
            );
        }
    }

    proptest! {
        #[test]
        fn parts_lie_inside_and_apart(value in "bytes=[0-9,\\- ]{0,40}", length in 0u64..200) {
            if let Selection::Parts(parts) = selection(&value, length) {
                prop_assert!(!parts.is_empty());
                prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= length));
                prop_assert!(!overlap(&parts));
            }
        }
    }
}
