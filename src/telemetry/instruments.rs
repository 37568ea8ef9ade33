//! Every metric, declared once. Labels are closed sets of words, so a client can't grow them.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use http::Method;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundCounter, Counter, Histogram, Meter, MeterProvider};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TextEncoder};

use super::otlp::{Ending, MetricReader, SCOPE, Tallies};
use super::requests::{RequestLabels, Requests};
use super::storage::OriginInstruments;
use super::{
    EventInstruments, LimitInstruments, RedisInstruments, SharedTierInstruments, SiteInstruments, VariantInstruments,
};

/// Seconds. From a hit in memory (tens of microseconds) to a storage deadline.
const DURATION_BUCKETS: [f64; 18] = [
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0,
];

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

/// Which log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Log {
    /// One line a request.
    Access,
    /// Everything else.
    Program,
}

impl Log {
    const ALL: [Self; 2] = [Self::Access, Self::Program];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Program => "program",
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

/// The instruments of one running program.
#[derive(Debug)]
pub struct Instruments {
    /// Those of limits and connections.
    pub limits: LimitInstruments,
    /// Those of the cache's tier in Redis.
    pub shared_tier: SharedTierInstruments,
    /// Those of documents' compressed variants.
    pub variants: VariantInstruments,
    /// Those of sites.
    pub sites: SiteInstruments,
    /// Those of Redis.
    pub redis: RedisInstruments,
    /// Those of the clouds' notifications.
    pub events: EventInstruments,
    registry: Registry,
    meter: Meter,
    requests: Requests,
    tokens: Counter<u64>,
    bound_tokens: OnceLock<Bound<&'static str, BoundCounter<u64>>>,
    remembered_tokens: BoundCounter<u64>,
    lines_dropped: [BoundCounter<u64>; Log::ALL.len()],
    handshakes: [BoundCounter<u64>; Handshake::ALL.len()],
    /// Keeps the instruments alive.
    provider: SdkMeterProvider,
}

/// What is bound once and then found by its labels.
type Bound<L, I> = HashMap<L, I>;

impl Instruments {
    /// A set of instruments, all at zero, that [`Instruments::prometheus`] shows.
    ///
    /// # Errors
    /// Where the exporter can't be registered.
    pub fn new() -> anyhow::Result<Self> {
        Self::exporting(None, Resource::builder_empty().build(), &Tallies::default())
    }

    /// The same, also for `reader` to send.
    pub(super) fn exporting(
        reader: Option<MetricReader>,
        resource: Resource,
        tallies: &Tallies,
    ) -> anyhow::Result<Self> {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .without_target_info()
            .build()?;
        let mut provider = SdkMeterProvider::builder().with_resource(resource).with_reader(exporter);
        if let Some(reader) = reader {
            provider = provider.with_reader(reader);
        }
        let provider = provider.build();
        let meter = provider.meter(SCOPE);
        observe_exports(&meter, tallies);
        let tokens = meter
            .u64_counter("callboard.auth.tokens")
            .with_description("Tokens looked at: remembered, verified, or refused for a reason.")
            .build();
        let lines_dropped = meter
            .u64_counter("callboard.log.lines_dropped")
            .with_description("Lines dropped because a log could not be written fast enough.")
            .build();
        let lines_dropped = Log::ALL.map(|log| lines_dropped.bind(&[KeyValue::new("log", log.as_str())]));
        let handshakes = meter
            .u64_counter("callboard.tls.handshakes")
            .with_description("TLS handshakes on the main listener, by how they ended.")
            .build();
        let handshakes = Handshake::ALL.map(|ended| handshakes.bind(&[KeyValue::new("result", ended.as_str())]));
        let remembered_tokens = tokens.bind(&[KeyValue::new("result", "remembered")]);
        Ok(Self {
            limits: LimitInstruments::new(&meter),
            shared_tier: SharedTierInstruments::new(&meter),
            variants: VariantInstruments::new(&meter),
            sites: SiteInstruments::new(&meter),
            redis: RedisInstruments::new(&meter),
            events: EventInstruments::new(&meter),
            registry,
            requests: Requests::new(&meter),
            meter,
            tokens,
            bound_tokens: OnceLock::new(),
            remembered_tokens,
            lines_dropped,
            handshakes,
            provider,
        })
    }

    /// What sends the rest to a receiver; nothing is counted any more after that.
    pub(super) fn ending(&self, within: Duration) -> Ending {
        let provider = self.provider.clone();
        Box::new(move || provider.shutdown_with_timeout(within))
    }

    /// Counts a request that has come in.
    pub fn request_started(&self, method: &Method) {
        self.requests.started(method);
    }

    /// Counts a request that is over, and how long it took.
    pub fn request(&self, labels: RequestLabels<'_>, duration: Duration) {
        self.requests.ended(labels, duration);
    }

    /// Those of the origin of documents of this name, whose operations end in one of these `results`.
    pub fn origin(&self, name: &str, results: &[&'static str]) -> OriginInstruments {
        OriginInstruments::new(&self.meter, name, results)
    }

    /// Counts a token that was recognised without being verified again.
    pub fn token_remembered(&self) {
        self.remembered_tokens.add(1);
    }

    /// Has the series of every result of looking at a token there from the start.
    pub fn token_results(&self, refusals: &[&'static str]) {
        let results = refusals.iter().copied().chain(["verified"]);
        let bind = |result| (result, self.tokens.bind(&[KeyValue::new("result", result)]));
        self.bound_tokens.get_or_init(|| results.map(bind).collect());
    }

    /// Counts a token that was looked at in full: `verified`, or the reason why it was refused.
    pub fn token_judged(&self, result: &'static str) {
        match self.bound_tokens.get().and_then(|bound| bound.get(result)) {
            Some(bound) => bound.add(1),
            None => self.tokens.add(1, &[KeyValue::new("result", result)]),
        }
    }

    /// Counts a line that had to be dropped.
    pub(super) fn log_line_dropped(&self, log: Log) {
        if let Some(counter) = self.lines_dropped.get(log as usize) {
            counter.add(1);
        }
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
}

/// A histogram of seconds.
pub(super) fn histogram(meter: &Meter, name: &'static str, description: &'static str) -> Histogram<f64> {
    let builder = meter.f64_histogram(name).with_unit("s").with_description(description);
    builder.with_boundaries(DURATION_BUCKETS.to_vec()).build()
}

/// Has what was exported, and what was not, asked for whenever metrics are collected.
fn observe_exports(meter: &Meter, tallies: &Tallies) {
    let tallies = tallies.clone();
    meter
        .u64_observable_counter("callboard.telemetry.items")
        .with_description(
            "Spans, log records and collections of metrics sent over OTLP, failed to be sent, or dropped because too many \
             waited.",
        )
        .with_callback(move |counter| {
            for (signal, tally) in tallies.signals() {
                for (result, count) in tally.results() {
                    counter.observe(count, &[KeyValue::new("signal", signal), KeyValue::new("result", result)]);
                }
            }
        })
        .build();
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::http::cache_status::CacheOutcome;
    use crate::telemetry::StorageOperation;

    #[test]
    fn metrics_show_in_prometheus_text() {
        let instruments = Instruments::new().unwrap();
        let labels = RequestLabels {
            method: &Method::GET,
            route: "static",
            status: StatusCode::OK,
            outcome: Some(CacheOutcome::Hit),
        };
        instruments.request_started(&Method::GET);
        instruments.request(labels, Duration::from_micros(80));
        let origin = instruments.origin("techdocs", &["ok"]);
        origin.operation(StorageOperation::Get, "ok", Duration::from_millis(20));
        instruments.observe_memory(|| MemoryUse { bytes: 7, entries: 1 });
        let text = instruments.prometheus().unwrap();
        for line in [
            r#"http_server_request_duration_seconds_count{callboard_cache_outcome="hit",http_request_method="GET",http_response_status_code="200",http_route="/static/docs/{namespace}/{kind}/{name}/{file}"} 1"#,
            r#"callboard_storage_operation_duration_seconds_count{operation="get",origin="techdocs",result="ok"} 1"#,
            r#"http_server_active_requests{http_request_method="GET"} 0"#,
            "callboard_cache_memory_size_bytes 7",
            r#"callboard_auth_tokens_total{result="remembered"} 0"#,
        ] {
            assert!(text.contains(line), "{line} in:\n{text}");
        }
    }
}
