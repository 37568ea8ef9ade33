//! What storage is asked, and whether it is asked at all.

use std::collections::HashMap;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundCounter, BoundHistogram, Meter};

use super::instruments::histogram;

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
    const ALL: [Self; 4] = [Self::Get, Self::Stream, Self::Stat, Self::List];

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

/// The instruments of one origin of documents. All of its series are there from the start.
#[derive(Debug)]
pub struct OriginInstruments {
    name: String,
    meter: Meter,
    operations: HashMap<(StorageOperation, &'static str), BoundHistogram<f64>>,
    breaker_openings: BoundCounter<u64>,
}

impl OriginInstruments {
    /// Those of the origin of this name, whose operations end in one of these `results`.
    pub(super) fn new(meter: &Meter, name: &str, results: &[&'static str]) -> Self {
        let durations = histogram(
            meter,
            "callboard.storage.operation.duration",
            "How long storage took, by origin, operation and result.",
        );
        let bind = |operation: StorageOperation, result: &'static str| {
            let labels = [
                KeyValue::new("origin", name.to_owned()),
                KeyValue::new("operation", operation.as_str()),
                KeyValue::new("result", result),
            ];
            ((operation, result), durations.bind(&labels))
        };
        let all = StorageOperation::ALL.into_iter();
        let operations = all.flat_map(|operation| results.iter().map(move |result| (operation, *result)));
        let openings = meter
            .u64_counter("callboard.storage.breaker.openings")
            .with_description("Times that storage had failed so often in a row that it was left alone.")
            .build()
            .bind(&[KeyValue::new("origin", name.to_owned())]);
        openings.add(0);
        Self {
            name: name.to_owned(),
            meter: meter.clone(),
            operations: operations.map(|(operation, result)| bind(operation, result)).collect(),
            breaker_openings: openings,
        }
    }

    /// The origin's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counts an operation and how long it took.
    pub fn operation(&self, operation: StorageOperation, result: &'static str, duration: Duration) {
        if let Some(durations) = self.operations.get(&(operation, result)) {
            durations.record(duration.as_secs_f64());
        }
    }

    /// Counts that the origin is left alone from now on.
    pub fn breaker_opened(&self) {
        self.breaker_openings.add(1);
    }

    /// Has `is_open` asked whenever metrics are collected.
    pub fn observe_breaker(&self, is_open: impl Fn() -> bool + Send + Sync + 'static) {
        let labels = self.labels();
        self.meter
            .u64_observable_gauge("callboard.storage.breaker")
            .with_description("Whether storage is left alone because it keeps failing (1), or asked as ever (0).")
            .with_callback(move |gauge| gauge.observe(u64::from(is_open()), &labels))
            .build();
    }

    /// Counts that a credential was asked for, and whether there was one.
    pub fn credential_renewed(&self, is_there: bool) {
        let [origin] = self.labels();
        let result = KeyValue::new("result", if is_there { "ok" } else { "failed" });
        self.meter
            .u64_counter("callboard.storage.credential.renewals")
            .with_description("Times that a credential for storage was asked for, by origin and result.")
            .build()
            .add(1, &[origin, result]);
    }

    /// Has `expires_in` asked whenever metrics are collected; `None` where the credential has no end.
    pub fn observe_credential(&self, expires_in: impl Fn() -> Option<Duration> + Send + Sync + 'static) {
        let labels = self.labels();
        self.meter
            .f64_observable_gauge("callboard.storage.credential.lifetime")
            .with_unit("s")
            .with_description("How long the credential for storage is still good for.")
            .with_callback(move |gauge| {
                if let Some(left) = expires_in() {
                    gauge.observe(left.as_secs_f64(), &labels);
                }
            })
            .build();
    }

    /// Tells whether its credential was allowed to change what is stored.
    pub fn proven(&self, is_writable: bool) {
        self.meter
            .u64_gauge("callboard.storage.writable")
            .with_description("Whether the credential for storage could write, as it was tried at the start.")
            .build()
            .record(u64::from(is_writable), &self.labels());
    }

    fn labels(&self) -> [KeyValue; 1] {
        [KeyValue::new("origin", self.name.clone())]
    }
}
