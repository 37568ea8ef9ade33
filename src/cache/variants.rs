//! A body and its variants: the same document in other codings, made once and kept beside it.
//!
//! A variant is kept only where it saves a reader something: a tenth of the bytes, and a packet.

use std::sync::{Arc, OnceLock};

use crate::http::negotiation::Coding;
use crate::storage::{Filling, Opened};

/// Bytes of a packet that are an answer's, and how many of the first one its header takes up. A document that leaves in
/// as many packets when it is compressed is there no sooner.
const PACKET_BYTES: usize = 1400;
const HEADER_BYTES: usize = 500;

/// A variant must be this much smaller, in percent, to be worth the memory that it takes.
const WORTHWHILE_PERCENT: usize = 10;

/// Bytes that the two counts of an `Arc` add to what lies in one.
const COUNTS: usize = 2 * size_of::<usize>();

/// Bytes that the allocator takes for so many in an `Arc`. It has four sizes of blocks to each power of two, so that up to
/// a fifth of one may be room that nobody uses: a budget is one of memory, and that is memory.
fn block(bytes: usize) -> usize {
    const SMALLEST_STEP: usize = 16;
    let bytes = bytes + COUNTS;
    let step = bytes.checked_ilog2().map_or(0, |power| (1_usize << power) / 4).max(SMALLEST_STEP);
    bytes.div_ceil(step) * step
}

/// A document's bytes, with the variants that there are of them.
///
/// There may be a million without any, so these are no larger than the bytes' own `Arc`: an `Option` around it would be.
#[derive(Debug, Clone)]
pub(super) enum Body {
    /// Nobody has asked for a variant yet.
    Plain(Arc<[u8]>),
    /// Somebody has, or it is none that is kept; none at all is nothing.
    Apart(Option<Arc<Apart>>),
}

/// What is no plain body.
#[derive(Debug)]
pub(super) enum Apart {
    /// One with variants.
    Varied(Varied),
    /// One that is being fetched, and the coding that somebody would rather have had it in.
    Filling(Filling, OnceLock<Coding>),
    /// One that is not kept, and that was opened to be looked at.
    Opened(Opened),
}

/// A body with what has come of making its variants.
#[derive(Debug, Clone)]
pub(super) struct Varied {
    identity: Arc<[u8]>,
    variants: [Variant; Coding::COMPRESSING.len()],
}

/// What is known of a variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Variant {
    /// Nobody has tried yet.
    Unmade,
    /// It would save nothing.
    Useless,
    /// Its bytes.
    Made(Arc<[u8]>),
}

impl Body {
    /// No body.
    pub(super) const NONE: Self = Self::Apart(None);

    pub(super) fn apart(apart: Apart) -> Self {
        Self::Apart(Some(Arc::new(apart)))
    }

    /// The bytes as they are in storage.
    pub(super) fn identity(&self) -> Option<&Arc<[u8]>> {
        match self {
            Self::Plain(bytes) => Some(bytes),
            Self::Apart(apart) => match apart.as_deref()? {
                Apart::Varied(varied) => Some(&varied.identity),
                Apart::Filling(..) | Apart::Opened(_) => None,
            },
        }
    }

    /// What it is, where it is no plain body.
    pub(super) fn as_apart(&self) -> Option<&Apart> {
        match self {
            Self::Plain(_) => None,
            Self::Apart(apart) => apart.as_deref(),
        }
    }

    pub(super) fn variant(&self, coding: Coding) -> &Variant {
        match self {
            Self::Plain(_) => &Variant::Unmade,
            Self::Apart(apart) => match apart.as_deref() {
                Some(Apart::Varied(varied)) => varied.variants.get(coding as usize).unwrap_or(&Variant::Useless),
                Some(Apart::Filling(..)) => &Variant::Unmade,
                Some(Apart::Opened(_)) | None => &Variant::Useless,
            },
        }
    }

    /// The same with this variant. Where one is useless, so are those that are no smaller.
    pub(super) fn with(&self, coding: Coding, variant: Variant) -> Self {
        let mut varied = match (self, self.as_apart()) {
            (Self::Plain(bytes), _) => {
                Varied { identity: Arc::clone(bytes), variants: [const { Variant::Unmade }; Coding::COMPRESSING.len()] }
            }
            (_, Some(Apart::Varied(varied))) => varied.clone(),
            (_, _) => return Self::NONE,
        };
        let mut from_here = varied.variants.iter_mut().skip(coding as usize);
        let is_useless = variant == Variant::Useless;
        if let Some(here) = from_here.next() {
            *here = variant;
        }
        if is_useless {
            from_here.filter(|other| **other == Variant::Unmade).for_each(|other| *other = Variant::Useless);
        }
        Self::apart(Apart::Varied(varied))
    }

    /// Bytes of it that lie in memory, but for the first block's counts.
    pub(super) fn bytes(&self) -> usize {
        let identity = self.identity().map_or(0, |bytes| block(bytes.len()) - COUNTS);
        let Some(Apart::Varied(varied)) = self.as_apart() else { return identity };
        let made = varied.variants.iter().map(|variant| match variant {
            Variant::Made(bytes) => block(bytes.len()),
            Variant::Unmade | Variant::Useless => 0,
        });
        identity + block(size_of::<Apart>()) + made.sum::<usize>()
    }
}

/// Whether a document of so many bytes could have a variant that is worth it.
pub(super) fn may_be_worthwhile(bytes: usize) -> bool {
    packets(bytes) > 1
}

/// Whether a variant of so many bytes is worth it.
pub(super) fn is_worthwhile(before: usize, after: usize) -> bool {
    after <= before - before * WORTHWHILE_PERCENT / 100 && packets(after) < packets(before)
}

fn packets(bytes: usize) -> usize {
    (HEADER_BYTES + bytes).div_ceil(PACKET_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(bytes: &[u8]) -> Body {
        Body::Plain(bytes.into())
    }

    fn made(bytes: &[u8]) -> Variant {
        Variant::Made(bytes.into())
    }

    #[test]
    fn a_body_without_variants_is_no_larger_than_its_bytes() {
        assert_eq!(size_of::<Body>(), size_of::<Arc<[u8]>>());
        assert_eq!((plain(b"page").bytes(), plain(b"").bytes(), Body::NONE.bytes()), (16, 0, 0));
    }

    #[test]
    fn variants_stand_beside_the_bytes_and_count() {
        let plain = plain(b"some page");
        assert_eq!(plain.variant(Coding::Br), &Variant::Unmade);
        let varied = plain.with(Coding::Gzip, made(b"page")).with(Coding::Br, made(b"pg"));
        assert!(Arc::ptr_eq(varied.identity().unwrap(), plain.identity().unwrap()));
        assert_eq!(varied.variant(Coding::Br), &made(b"pg"));
        assert_eq!(varied.variant(Coding::Zstd), &Variant::Unmade);
        assert_eq!(varied.variant(Coding::Gzip), &made(b"page"));
        assert_eq!(varied.bytes(), 16 + 2 * 32 + block(size_of::<Apart>()));
    }

    #[test]
    fn blocks_come_in_four_sizes_to_each_power_of_two() {
        for (bytes, expected) in
            [(0, 16), (1, 32), (100, 128), (240, 256), (2032, 2048), (2033, 2560), (20_480, 20_480 + 4096)]
        {
            assert_eq!(block(bytes), expected, "{bytes}");
        }
    }

    #[test]
    fn what_is_useless_rules_out_what_is_no_smaller() {
        let body = plain(b"some page").with(Coding::Gzip, made(b"page")).with(Coding::Br, Variant::Useless);
        let known = Coding::COMPRESSING.map(|coding| body.variant(coding).clone());
        assert_eq!(known, [Variant::Useless, Variant::Useless, made(b"page")]);
        let body = plain(b"some page").with(Coding::Gzip, Variant::Useless);
        assert_eq!(body.variant(Coding::Br), &Variant::Unmade);
        assert_eq!(Body::NONE.with(Coding::Br, made(b"pg")).bytes(), 0);
    }

    #[test]
    fn a_variant_is_worth_a_packet_and_a_tenth() {
        for (before, after, expected) in [
            (900, 100, false),
            (901, 900, false),
            (901, 810, true),
            (2000, 900, true),
            (2000, 901, false),
            (2301, 901, true),
            (2300, 901, false),
            (100_000, 90_000, true),
            (100_000, 90_001, false),
        ] {
            assert_eq!(is_worthwhile(before, after), expected, "{before} {after}");
        }
        assert!(may_be_worthwhile(901) && !may_be_worthwhile(900) && !may_be_worthwhile(0));
    }
}
