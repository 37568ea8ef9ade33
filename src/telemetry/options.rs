//! What telemetry runs on.

use std::time::Duration;

use http::HeaderMap;
use url::Url;

/// Logs, and what is sent to an OpenTelemetry receiver.
#[derive(Debug, Clone)]
pub struct Options {
    /// Filter in `tracing-subscriber`'s `EnvFilter` syntax, such as `info` or `callboard=debug`.
    pub log_level: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Whether each request gets an access-log line.
    pub access_log: bool,
    /// What is sent over OTLP, and where to; nothing unless asked for.
    pub otlp: OtlpOptions,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// What is sent over OTLP, and where to.
#[derive(Debug, Clone)]
pub struct OtlpOptions {
    /// Where spans go; `None` makes none.
    pub traces: Option<Receiver>,
    /// Where metrics go, beside Prometheus.
    pub metrics: Option<Receiver>,
    /// Where log records go, beside standard error.
    pub logs: Option<Receiver>,
    /// Which requests are traced.
    pub sampling: Sampling,
    /// How often metrics are sent.
    pub metric_interval: Duration,
    /// How spans wait to be sent.
    pub spans: Batching,
    /// How log records wait to be sent.
    pub records: Batching,
    /// Who we are: `service.name` and whatever else tells this instance from others.
    pub resource: Vec<(String, String)>,
}

/// A receiver of one signal.
#[derive(Debug, Clone)]
pub struct Receiver {
    /// For HTTP the whole address, path included; for gRPC scheme, host and port count.
    pub url: Url,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Headers of each request. Their values are marked as sensitive, and so never printed.
    pub headers: HeaderMap,
    /// How long one export may take, tries and pauses between them included.
    pub timeout: Duration,
    /// Whether requests are compressed with gzip.
    pub gzip: bool,
}

/// What an OTLP receiver speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC, on port 4317 by convention.
    Grpc,
    /// Protobuf over HTTP, on port 4318 by convention.
    Http,
}

/// Which requests are traced.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Whether a caller's decision counts before the ratio, which is then for requests that come without one.
    pub parent_based: bool,
    /// The share of traces, 0 to 1.
    pub ratio: f64,
}

/// How spans or log records wait to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batching {
    /// As many wait at most, those being sent included; further ones are dropped and counted.
    pub queue: usize,
    /// As many are sent at a time.
    pub batch: usize,
    /// How long the first may wait for others.
    pub delay: Duration,
}

impl OtlpOptions {
    /// Nothing is sent anywhere.
    pub fn off() -> Self {
        Self {
            traces: None,
            metrics: None,
            logs: None,
            sampling: Sampling { parent_based: true, ratio: 1.0 },
            metric_interval: Duration::from_secs(60),
            spans: Batching::SPANS,
            records: Batching::RECORDS,
            resource: Vec::new(),
        }
    }

    /// Whether anything is sent at all.
    pub fn is_on(&self) -> bool {
        self.traces.is_some() || self.metrics.is_some() || self.logs.is_some()
    }
}

impl Batching {
    /// What OpenTelemetry's specification has for spans (`OTEL_BSP_*`).
    pub const SPANS: Self = Self { queue: 2048, batch: 512, delay: Duration::from_secs(5) };

    /// What OpenTelemetry's specification has for log records (`OTEL_BLRP_*`).
    pub const RECORDS: Self = Self { queue: 2048, batch: 512, delay: Duration::from_secs(1) };
}
