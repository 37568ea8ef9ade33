//! Which trace a request belongs to (W3C Trace Context). The one place that reads `traceparent`: what the access log
//! tells and what spans carry are the same by construction.

use std::fmt;

use http::{HeaderMap, HeaderName};

/// Looked for in every request: as a constant it need not be taken apart each time.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The trace id of a request: the caller's, or a new one. As bytes, big end first: a `u128` wants to lie at every
/// sixteenth, and so would a request's record, which no allocator has ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

/// A caller's place in its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TraceParent {
    pub(super) trace_id: TraceId,
    /// The caller's span.
    pub(super) span_id: u64,
    /// Whether the caller keeps the trace.
    pub(super) sampled: bool,
}

impl TraceId {
    /// The id in `traceparent`, or a random one where there is none.
    pub fn of_request(headers: &HeaderMap) -> Self {
        TraceParent::of_request(headers).map_or_else(|| Self(rand::random()), |parent| parent.trace_id)
    }

    pub(super) const fn new(id: u128) -> Self {
        Self(id.to_be_bytes())
    }

    pub(super) const fn get(self) -> u128 {
        u128::from_be_bytes(self.0)
    }

    /// Its thirty-two hex digits, for where a formatter would cost more than the digits.
    pub(super) fn hex(self) -> [u8; 32] {
        let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble };
        let mut digits = [b'0'; 32];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 0xf)]);
        }
        digits
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.get())
    }
}

impl TraceParent {
    /// What `traceparent` says (W3C Trace Context §3.2); nothing where it is absent or not well-formed.
    pub(super) fn of_request(headers: &HeaderMap) -> Option<Self> {
        parse(headers.get(TRACEPARENT)?.as_bytes())
    }
}

/// Reads `version-traceid-parentid-flags`; of later versions only these fields, as §4.3 asks.
fn parse(traceparent: &[u8]) -> Option<TraceParent> {
    let text = std::str::from_utf8(traceparent).ok()?;
    let mut fields = text.trim_ascii().split('-');
    let version = hex(fields.next()?, 2)?;
    let trace_id = hex(fields.next()?, 32)?;
    let span_id = u64::try_from(hex(fields.next()?, 16)?).ok()?;
    let flags = hex(fields.next()?, 2)?;
    let well_formed = version != 0xff && (version != 0 || fields.next().is_none());
    let sampled = flags & 1 == 1;
    (well_formed && trace_id != 0 && span_id != 0).then_some(TraceParent {
        trace_id: TraceId::new(trace_id),
        span_id,
        sampled,
    })
}

fn hex(field: &str, length: usize) -> Option<u128> {
    let is_lower_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (field.len() == length && field.bytes().all(is_lower_hex)).then(|| u128::from_str_radix(field, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_trace_is_carried_on() {
        let parent = parse(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        assert_eq!(parent.trace_id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(parent.trace_id.hex(), *b"4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!((parent.span_id, parent.sampled), (0x00f0_67aa_0ba9_02b7, true));
        let unsampled = parse(b"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02-more").unwrap();
        assert!(!unsampled.sampled);
    }

    #[test]
    fn what_is_not_well_formed_is_no_trace() {
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
