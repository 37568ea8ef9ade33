//! What comes of compressing documents.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundCounter, Meter};

use crate::http::negotiation::Coding;

/// What came of asking for a variant of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VariantResult {
    /// It was compressed.
    Made,
    /// Another replica had made it or found it useless, or this one before it was started anew.
    Redis,
    /// It would save nothing.
    Useless,
    /// The document was replaced, or memory let it go, before there was one.
    Outdated,
    /// Too many documents waited already.
    Dropped,
    /// It could not be compressed.
    Failed,
}

impl VariantResult {
    /// In the order of their discriminants.
    const ALL: [Self; 6] = [Self::Made, Self::Redis, Self::Useless, Self::Outdated, Self::Dropped, Self::Failed];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Redis => "redis",
            Self::Useless => "useless",
            Self::Outdated => "outdated",
            Self::Dropped => "dropped",
            Self::Failed => "failed",
        }
    }
}

/// The instruments of variants, each series there from the start.
#[derive(Debug)]
pub struct VariantInstruments {
    asked_for: [[BoundCounter<u64>; VariantResult::ALL.len()]; Coding::COMPRESSING.len()],
    /// Before and after.
    bytes: [[BoundCounter<u64>; 2]; Coding::COMPRESSING.len()],
}

impl VariantInstruments {
    pub(super) fn new(meter: &Meter) -> Self {
        let asked_for = meter
            .u64_counter("callboard.cache.variants")
            .with_description(
                "Compressed variants of documents that readers could have been sent, by what came of them.",
            )
            .build();
        let bytes = meter
            .u64_counter("callboard.cache.variants.size")
            .with_unit("By")
            .with_description("Bytes of documents that variants were made of, before and after.")
            .build();
        let zeroed = |bound: BoundCounter<u64>| {
            bound.add(0);
            bound
        };
        let coding = |coding: Coding| KeyValue::new("coding", coding.as_str());
        Self {
            asked_for: Coding::COMPRESSING.map(|made| {
                VariantResult::ALL
                    .map(|result| zeroed(asked_for.bind(&[coding(made), KeyValue::new("result", result.as_str())])))
            }),
            bytes: Coding::COMPRESSING.map(|made| {
                ["before", "after"].map(|when| zeroed(bytes.bind(&[coding(made), KeyValue::new("when", when)])))
            }),
        }
    }

    /// Counts what came of asking for a variant.
    pub fn asked_for(&self, coding: Coding, result: VariantResult) {
        if let Some(counter) = self.asked_for.get(coding as usize).and_then(|results| results.get(result as usize)) {
            counter.add(1);
        }
    }

    /// Counts the bytes of one that was made.
    pub fn compressed(&self, coding: Coding, before: usize, after: usize) {
        if let Some([counted_before, counted_after]) = self.bytes.get(coding as usize) {
            counted_before.add(before as u64);
            counted_after.add(after as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Instruments;

    #[test]
    fn variants_are_counted_by_coding_and_by_what_came_of_them() {
        let instruments = Instruments::new().unwrap();
        instruments.variants.asked_for(Coding::Zstd, VariantResult::Made);
        instruments.variants.compressed(Coding::Zstd, 1000, 300);
        let text = instruments.prometheus().unwrap();
        for line in [
            r#"callboard_cache_variants_total{coding="zstd",result="made"} 1"#,
            r#"callboard_cache_variants_total{coding="br",result="made"} 0"#,
            r#"callboard_cache_variants_size_bytes_total{coding="zstd",when="before"} 1000"#,
            r#"callboard_cache_variants_size_bytes_total{coding="zstd",when="after"} 300"#,
        ] {
            assert!(text.contains(line), "{line} in:\n{text}");
        }
    }
}
