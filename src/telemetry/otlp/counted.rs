//! The SDK's processors and exporters with a tally around them. The SDK drops what its queue has no room for, and tells
//! nobody how much before it is shut down; the bound is kept here, so that it can be counted.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::logs::Severity;
use opentelemetry::{Context, InstrumentationScope};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{BatchLogProcessor, LogBatch, LogExporter, LogProcessor, SdkLogRecord};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor};

use super::Tally;

/// An exporter whose outcomes are counted.
#[derive(Debug)]
pub(in crate::telemetry) struct Counted<E> {
    inner: E,
    tally: Arc<Tally>,
    signal: &'static str,
}

impl<E> Counted<E> {
    pub(super) fn new(inner: E, tally: &Arc<Tally>, signal: &'static str) -> Self {
        Self { inner, tally: Arc::clone(tally), signal }
    }

    fn count(&self, items: usize, result: OTelSdkResult) -> OTelSdkResult {
        let failure = result.as_ref().err().map(|error| error as &(dyn std::error::Error + 'static));
        self.tally.left(items as u64, failure, self.signal);
        result
    }
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.count(spans, self.inner.export(batch).await)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: LogExporter> LogExporter for Counted<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let records = batch.iter().count();
        self.count(records, self.inner.export(batch).await)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn event_enabled(&self, level: Severity, target: &str, name: Option<&str>) -> bool {
        self.inner.event_enabled(level, target, name)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Counted<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.count(1, self.inner.export(metrics).await)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.inner.temporality()
    }
}

/// A queue of spans.
#[derive(Debug)]
pub(super) struct CountedSpans {
    inner: BatchSpanProcessor,
    tally: Arc<Tally>,
    places: u64,
}

impl CountedSpans {
    pub(super) fn new(inner: BatchSpanProcessor, tally: &Arc<Tally>, places: usize) -> Self {
        Self { inner, tally: Arc::clone(tally), places: places as u64 }
    }
}

impl SpanProcessor for CountedSpans {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        // What is made only to carry a trace on takes no place.
        if span.span_context.is_sampled() && self.tally.enter(self.places) {
            self.inner.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// A queue of log records.
#[derive(Debug)]
pub(super) struct CountedLogs {
    inner: BatchLogProcessor,
    tally: Arc<Tally>,
    places: u64,
}

impl CountedLogs {
    pub(super) fn new(inner: BatchLogProcessor, tally: &Arc<Tally>, places: usize) -> Self {
        Self { inner, tally: Arc::clone(tally), places: places as u64 }
    }
}

impl LogProcessor for CountedLogs {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        if self.tally.enter(self.places) {
            self.inner.emit(record, scope);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn event_enabled(&self, level: Severity, target: &str, name: Option<&str>) -> bool {
        self.inner.event_enabled(level, target, name)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
