//! What storage is asked, and whether it is asked at all.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundCounter, Meter};

/// What a storage operation was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StorageOperation {
    /// An object read whole.
    Get,
    /// A large object opened for streaming; its duration ends with the first byte.
    Stream,
    /// An object's metadata.
    Stat,
    /// A listing.
    List,
}

impl StorageOperation {
    pub(super) const ALL: [Self; 4] = [Self::Get, Self::Stream, Self::Stat, Self::List];

    /// The word for it in metrics and spans.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Stream => "stream",
            Self::Stat => "stat",
            Self::List => "list",
        }
    }
}

pub(super) fn storage_labels((operation, result): (StorageOperation, &'static str)) -> [KeyValue; 2] {
    [KeyValue::new("operation", operation.as_str()), KeyValue::new("result", result)]
}

/// The instruments of a breaker in front of storage.
#[derive(Debug)]
pub struct BreakerInstruments {
    meter: Meter,
    openings: BoundCounter<u64>,
}

impl BreakerInstruments {
    pub(super) fn new(meter: &Meter) -> Self {
        let openings = meter
            .u64_counter("callboard.storage.breaker.openings")
            .with_description("Times that storage had failed so often in a row that it was left alone.")
            .build()
            .bind(&[]);
        openings.add(0);
        Self { meter: meter.clone(), openings }
    }

    /// Counts that storage is left alone from now on.
    pub fn opened(&self) {
        self.openings.add(1);
    }

    /// Has `is_open` asked whenever metrics are collected.
    pub fn observe(&self, is_open: impl Fn() -> bool + Send + Sync + 'static) {
        self.meter
            .u64_observable_gauge("callboard.storage.breaker")
            .with_description("Whether storage is left alone because it keeps failing (1), or asked as ever (0).")
            .with_callback(move |gauge| gauge.observe(u64::from(is_open()), &[]))
            .build();
    }
}
