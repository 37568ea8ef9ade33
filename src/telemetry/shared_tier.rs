//! What the cache's tier in Redis does.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundCounter, BoundHistogram, BoundUpDownCounter, Meter};

use super::instruments::histogram;

/// What came of looking for a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedLoad {
    /// It is there.
    Hit,
    /// It is there, in the version that memory has.
    Same,
    /// It is not there.
    Miss,
    /// What is there is no good.
    Bad,
    /// Redis gave no answer.
    Unavailable,
}

impl SharedLoad {
    /// In the order of their discriminants.
    const ALL: [Self; 5] = [Self::Hit, Self::Same, Self::Miss, Self::Bad, Self::Unavailable];

    /// The word for it in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Same => "same",
            Self::Miss => "miss",
            Self::Bad => "bad",
            Self::Unavailable => "unavailable",
        }
    }
}

/// What became of something that was to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedWrite {
    /// It is there with its body.
    Stored,
    /// What was there is confirmed.
    Renewed,
    /// It is there no more.
    Removed,
    /// Redis holds another version than the one that was to be confirmed, or none.
    Outdated,
    /// It was not even tried, because too much waited already.
    Dropped,
    /// Redis refused, or gave no answer.
    Failed,
}

impl SharedWrite {
    /// In the order of their discriminants.
    const ALL: [Self; 6] = [Self::Stored, Self::Renewed, Self::Removed, Self::Outdated, Self::Dropped, Self::Failed];

    /// The word for it in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Renewed => "renewed",
            Self::Removed => "removed",
            Self::Outdated => "outdated",
            Self::Dropped => "dropped",
            Self::Failed => "failed",
        }
    }
}

/// Why a value is no good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadValue {
    /// It can't be taken apart.
    Format,
    /// It was written in another format, by an older or a newer Callboard.
    Version,
    /// It is not what a Callboard with this key wrote here.
    Integrity,
    /// It was replaced while it was read, or a part of it is missing.
    Torn,
    /// It is larger or smaller than it says, or larger than may be kept.
    Size,
}

impl BadValue {
    /// In the order of their discriminants.
    const ALL: [Self; 5] = [Self::Format, Self::Version, Self::Integrity, Self::Torn, Self::Size];

    /// The word for it in the log and the metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Version => "version",
            Self::Integrity => "integrity",
            Self::Torn => "torn",
            Self::Size => "size",
        }
    }
}

/// The instruments of the tier, each series there from the start.
#[derive(Debug)]
pub struct SharedTierInstruments {
    loads: [BoundHistogram<f64>; SharedLoad::ALL.len()],
    writes: [BoundCounter<u64>; SharedWrite::ALL.len()],
    bad_values: [BoundCounter<u64>; BadValue::ALL.len()],
    queued: BoundUpDownCounter<i64>,
    queued_bytes: BoundUpDownCounter<i64>,
}

impl SharedTierInstruments {
    pub(super) fn new(meter: &Meter) -> Self {
        let loads = histogram(
            meter,
            "callboard.cache.shared.load.duration",
            "How long looking into the shared tier took, by what came of it.",
        );
        let writes = meter
            .u64_counter("callboard.cache.shared.writes")
            .with_description("What was to be written to the shared tier, by what became of it.")
            .build();
        let bad_values = meter
            .u64_counter("callboard.cache.shared.bad_values")
            .with_description("Values in the shared tier that were no good, by what was wrong with them.")
            .build();
        let queued = meter
            .i64_up_down_counter("callboard.cache.shared.queue.operations")
            .with_description("Writes to the shared tier that wait or are under way.")
            .build();
        let queued_bytes = meter
            .i64_up_down_counter("callboard.cache.shared.queue.size")
            .with_unit("By")
            .with_description("Bytes of bodies that wait to be written to the shared tier.")
            .build();
        let instruments = Self {
            loads: SharedLoad::ALL.map(|result| loads.bind(&[KeyValue::new("result", result.as_str())])),
            writes: SharedWrite::ALL.map(|result| writes.bind(&[KeyValue::new("result", result.as_str())])),
            bad_values: BadValue::ALL.map(|reason| bad_values.bind(&[KeyValue::new("reason", reason.as_str())])),
            queued: queued.bind(&[]),
            queued_bytes: queued_bytes.bind(&[]),
        };
        instruments.queued(0, 0);
        instruments
    }

    /// Counts a look for a document and how long it took.
    pub fn loaded(&self, result: SharedLoad, duration: Duration) {
        if let Some(histogram) = self.loads.get(result as usize) {
            histogram.record(duration.as_secs_f64());
        }
    }

    /// Counts something that was to be written.
    pub fn written(&self, result: SharedWrite) {
        if let Some(counter) = self.writes.get(result as usize) {
            counter.add(1);
        }
    }

    /// Counts a value that is no good.
    pub fn bad_value(&self, reason: BadValue) {
        if let Some(counter) = self.bad_values.get(reason as usize) {
            counter.add(1);
        }
    }

    /// So many more writes, and bytes of bodies with them, wait; or less, where these are negative.
    pub fn queued(&self, operations: i64, bytes: i64) {
        self.queued.add(operations);
        self.queued_bytes.add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Instruments;

    #[test]
    fn every_series_is_there_from_the_start() {
        let instruments = Instruments::new().unwrap();
        instruments.shared_tier.loaded(SharedLoad::Same, Duration::from_millis(1));
        instruments.shared_tier.written(SharedWrite::Failed);
        instruments.shared_tier.bad_value(BadValue::Size);
        instruments.shared_tier.queued(3, 700);
        instruments.shared_tier.queued(-1, -200);
        let text = instruments.prometheus().unwrap();
        for line in [
            r#"callboard_cache_shared_load_duration_seconds_count{result="same"} 1"#,
            r#"callboard_cache_shared_load_duration_seconds_count{result="unavailable"} 0"#,
            r#"callboard_cache_shared_writes_total{result="failed"} 1"#,
            r#"callboard_cache_shared_writes_total{result="stored"} 0"#,
            r#"callboard_cache_shared_bad_values_total{reason="size"} 1"#,
            "callboard_cache_shared_queue_operations 2",
            "callboard_cache_shared_queue_size_bytes 500",
        ] {
            assert!(text.contains(line), "{line} in:\n{text}");
        }
    }
}
