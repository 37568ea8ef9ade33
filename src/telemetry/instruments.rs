//! Every metric, declared once. Labels are closed sets of words, so a client can't grow them.

use std::sync::OnceLock;
use std::time::Duration;

use http::StatusCode;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundCounter, BoundHistogram, Counter, Histogram, Meter, MeterProvider};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TextEncoder};

use super::LimitInstruments;
use crate::http::cache_status::CacheOutcome;

/// Seconds. From a hit in memory (tens of microseconds) to a storage deadline.
const DURATION_BUCKETS: [f64; 18] = [
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0,
];

/// The statuses that the program answers with; any other would be counted under the last.
const STATUSES: [u16; 18] = [200, 206, 304, 400, 401, 403, 404, 405, 412, 413, 414, 416, 429, 499, 502, 503, 504, 500];

/// Values of the label `http_route`.
const ROUTES: [&str; 4] = ["static", "metadata", "health", "other"];

/// Without a cache outcome: errors before the cache, health.
const NO_OUTCOME: &str = "none";

const OUTCOMES: usize = CacheOutcome::ALL.len() + 1;

/// What a storage operation was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Stream => "stream",
            Self::Stat => "stat",
            Self::List => "list",
        }
    }
}

/// How a TLS handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// The connection is up.
    Done,
    /// One side refused the other, or the client left.
    Failed,
    /// The client took too long.
    TimedOut,
}

impl Handshake {
    /// As they are declared, which is how they are counted.
    const ALL: [Self; 3] = [Self::Done, Self::Failed, Self::TimedOut];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::TimedOut => "timeout",
        }
    }
}

/// How full the memory tier is.
#[derive(Debug, Clone, Copy)]
pub struct MemoryUse {
    /// Bytes held, overhead included.
    pub bytes: u64,
    /// Entries held.
    pub entries: u64,
}

/// What a finished request is counted under.
#[derive(Debug, Clone, Copy)]
pub struct RequestLabels {
    /// `static`, `metadata`, `health`; anything else counts as `other`.
    pub route: &'static str,
    /// The status answered; 499 where the client left before there was one.
    pub status: StatusCode,
    /// What the cache did, where the request came that far.
    pub outcome: Option<CacheOutcome>,
}

/// The instruments of one running program.
#[derive(Debug)]
pub struct Instruments {
    /// Those of limits and connections.
    pub limits: LimitInstruments,
    registry: Registry,
    /// Keeps the instruments alive.
    _provider: SdkMeterProvider,
    meter: Meter,
    requests: Histogram<f64>,
    bound_requests: Vec<OnceLock<BoundHistogram<f64>>>,
    storage: Histogram<f64>,
    tokens: Counter<u64>,
    remembered_tokens: BoundCounter<u64>,
    access_lines_dropped: BoundCounter<u64>,
    handshakes: [BoundCounter<u64>; Handshake::ALL.len()],
}

impl Instruments {
    /// A set of instruments, all at zero, that [`Instruments::prometheus`] shows.
    ///
    /// # Errors
    /// Where the exporter can't be registered.
    pub fn new() -> anyhow::Result<Self> {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .without_target_info()
            .build()?;
        let provider = SdkMeterProvider::builder().with_reader(exporter).build();
        let meter = provider.meter("callboard");
        let histogram = |name: &'static str, description: &'static str| {
            let builder = meter.f64_histogram(name).with_unit("s").with_description(description);
            builder.with_boundaries(DURATION_BUCKETS.to_vec()).build()
        };
        let requests =
            histogram("http.server.request.duration", "From a request's header to the last byte of its answer.");
        let storage =
            histogram("callboard.storage.operation.duration", "How long storage took, by operation and result.");
        let tokens = meter
            .u64_counter("callboard.auth.tokens")
            .with_description("Tokens looked at: remembered, verified, or refused for a reason.")
            .build();
        let access_lines_dropped = meter
            .u64_counter("callboard.access_log.dropped")
            .with_description("Access-log lines dropped because the log could not be written fast enough.")
            .build()
            .bind(&[]);
        let handshakes = meter
            .u64_counter("callboard.tls.handshakes")
            .with_description("TLS handshakes on the main listener, by how they ended.")
            .build();
        let handshakes = Handshake::ALL.map(|ended| handshakes.bind(&[KeyValue::new("result", ended.as_str())]));
        let remembered_tokens = tokens.bind(&[KeyValue::new("result", "remembered")]);
        let bound_requests = (0..ROUTES.len() * OUTCOMES * STATUSES.len()).map(|_| OnceLock::new()).collect();
        Ok(Self {
            limits: LimitInstruments::new(&meter),
            registry,
            _provider: provider,
            meter,
            requests,
            bound_requests,
            storage,
            tokens,
            remembered_tokens,
            access_lines_dropped,
            handshakes,
        })
    }

    /// Counts a request and how long it took.
    pub fn request(&self, labels: RequestLabels, duration: Duration) {
        let route = ROUTES.iter().position(|route| *route == labels.route).unwrap_or(ROUTES.len() - 1);
        let status = labels.status.as_u16();
        let status = STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len() - 1);
        let outcome = labels.outcome.map_or(OUTCOMES - 1, CacheOutcome::index);
        let place = (route * OUTCOMES + outcome) * STATUSES.len() + status;
        if let Some(bound) = self.bound_requests.get(place) {
            bound.get_or_init(|| self.bind_request(route, outcome, status)).record(duration.as_secs_f64());
        }
    }

    /// Counts a storage operation and how long it took.
    pub fn storage_operation(&self, operation: StorageOperation, result: &'static str, duration: Duration) {
        let labels = [KeyValue::new("operation", operation.as_str()), KeyValue::new("result", result)];
        self.storage.record(duration.as_secs_f64(), &labels);
    }

    /// Counts a token that was recognised without being verified again.
    pub fn token_remembered(&self) {
        self.remembered_tokens.add(1);
    }

    /// Counts a token that was looked at in full: `verified`, or the reason why it was refused.
    pub fn token_judged(&self, result: &'static str) {
        self.tokens.add(1, &[KeyValue::new("result", result)]);
    }

    /// Counts an access-log line that had to be dropped.
    pub fn access_line_dropped(&self) {
        self.access_lines_dropped.add(1);
    }

    /// Counts a TLS handshake.
    pub fn tls_handshake(&self, ended: Handshake) {
        if let Some(counter) = self.handshakes.get(ended as usize) {
            counter.add(1);
        }
    }

    /// Has `read` asked for the memory tier's use whenever metrics are collected.
    pub fn observe_memory(&self, read: impl Fn() -> MemoryUse + Clone + Send + Sync + 'static) {
        let bytes = read.clone();
        self.meter
            .u64_observable_gauge("callboard.cache.memory.size")
            .with_unit("By")
            .with_description("Bytes that the memory tier holds, overhead included.")
            .with_callback(move |gauge| gauge.observe(bytes().bytes, &[]))
            .build();
        self.meter
            .u64_observable_gauge("callboard.cache.memory.entries")
            .with_description("Entries that the memory tier holds.")
            .with_callback(move |gauge| gauge.observe(read().entries, &[]))
            .build();
    }

    /// Everything in Prometheus' text format.
    ///
    /// # Errors
    /// Where a metric can't be written as text.
    pub fn prometheus(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    fn bind_request(&self, route: usize, outcome: usize, status: usize) -> BoundHistogram<f64> {
        let route = ROUTES.get(route).copied().unwrap_or_default();
        let outcome = CacheOutcome::ALL.get(outcome).map_or(NO_OUTCOME, |outcome| outcome.as_str());
        let status = STATUSES.get(status).copied().unwrap_or_default();
        self.requests.bind(&[
            KeyValue::new("http.route", route),
            KeyValue::new("http.response.status_code", i64::from(status)),
            KeyValue::new("callboard.cache.outcome", outcome),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_show_in_prometheus_text() {
        let instruments = Instruments::new().unwrap();
        let labels = RequestLabels { route: "static", status: StatusCode::OK, outcome: Some(CacheOutcome::Hit) };
        instruments.request(labels, Duration::from_micros(80));
        instruments.storage_operation(StorageOperation::Get, "ok", Duration::from_millis(20));
        instruments.observe_memory(|| MemoryUse { bytes: 7, entries: 1 });
        let text = instruments.prometheus().unwrap();
        for line in [
            r#"http_server_request_duration_seconds_count{callboard_cache_outcome="hit",http_response_status_code="200",http_route="static"} 1"#,
            r#"callboard_storage_operation_duration_seconds_count{operation="get",result="ok"} 1"#,
            "callboard_cache_memory_size_bytes 7",
            r#"callboard_auth_tokens_total{result="remembered"} 0"#,
        ] {
            assert!(text.contains(line), "{line} in:\n{text}");
        }
    }
}
