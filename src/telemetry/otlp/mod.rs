//! What is sent to an OpenTelemetry receiver, and how it can't be in anyone's way.
//!
//! Each signal has a bounded queue, a thread of its own that empties it (OpenTelemetry's SDK runs it), a deadline for
//! each export, and a tally of what was exported, failed and dropped. A request's part in it is to put its span into
//! the queue, or to find it full and count that. At the end the queues are flushed within a bounded time.

mod counted;
mod tally;
mod transport;

use std::thread;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{self, BatchLogProcessor, SdkLoggerProvider};
use opentelemetry_sdk::metrics::PeriodicReader;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{self, BatchSpanProcessor, Sampler, SdkTracerProvider};

use super::span::Tracing;
use super::{Batching, OtlpOptions, Sampling};
use crate::trust::Trust;
use counted::{Counted, CountedLogs, CountedSpans};

pub(super) use tally::Tallies;
use tally::Tally;

/// The name under which spans and metrics are sent.
pub(super) const SCOPE: &str = "callboard";

/// The exporters of one running program.
#[derive(Debug, Default)]
pub(super) struct Exports {
    traces: Option<SdkTracerProvider>,
    logs: Option<SdkLoggerProvider>,
}

/// A reader that sends metrics.
pub(super) type MetricReader = PeriodicReader<Counted<opentelemetry_otlp::MetricExporter>>;

impl Exports {
    /// Starts the exporters of spans and log records that `options` ask for.
    pub(super) fn start(
        options: &OtlpOptions,
        trust: &Trust,
        resource: Resource,
        tallies: &Tallies,
    ) -> anyhow::Result<Self> {
        let traces = options.traces.as_ref().map(|receiver| {
            let exporter = Counted::new(transport::span_exporter(receiver, trust)?, &tallies.traces, "traces");
            let batches = BatchSpanProcessor::builder(exporter).with_batch_config(span_batches(options.spans)).build();
            let provider = SdkTracerProvider::builder()
                .with_span_processor(CountedSpans::new(batches, &tallies.traces, options.spans.queue))
                .with_sampler(sampler(options.sampling))
                .with_resource(resource.clone());
            anyhow::Ok(provider.build())
        });
        let logs = options.logs.as_ref().map(|receiver| {
            let exporter = Counted::new(transport::log_exporter(receiver, trust)?, &tallies.logs, "logs");
            let batches = BatchLogProcessor::builder(exporter).with_batch_config(log_batches(options.records)).build();
            let provider = SdkLoggerProvider::builder()
                .with_log_processor(CountedLogs::new(batches, &tallies.logs, options.records.queue))
                .with_resource(resource);
            anyhow::Ok(provider.build())
        });
        Ok(Self { traces: traces.transpose()?, logs: logs.transpose()? })
    }

    /// What makes spans.
    pub(super) fn tracing(&self) -> Tracing {
        self.traces.as_ref().map_or_else(Tracing::off, |provider| Tracing::with(provider.tracer(SCOPE)))
    }

    /// What takes log records.
    pub(super) const fn logs(&self) -> Option<&SdkLoggerProvider> {
        self.logs.as_ref()
    }

    /// What has to be done for the rest to be sent, one piece a signal.
    pub(super) fn endings(&self, within: Duration) -> Vec<Ending> {
        let traces =
            self.traces.clone().map(|traces| -> Ending { Box::new(move || traces.shutdown_with_timeout(within)) });
        let logs = self.logs.clone().map(|logs| -> Ending { Box::new(move || logs.shutdown_with_timeout(within)) });
        traces.into_iter().chain(logs).collect()
    }
}

/// Sends the rest of one signal; blocks while it does.
pub(super) type Ending = Box<dyn FnOnce() -> OTelSdkResult + Send>;

/// Sends what is left, all signals at the same time, and returns after `within` at the latest.
///
/// Each has a thread of its own that nobody joins: one that hangs ends with the process, where a task on the runtime
/// would keep it from ending.
pub(super) async fn end(endings: Vec<Ending>, within: Duration) {
    let (ended, mut all_ended) = tokio::sync::mpsc::channel::<()>(1);
    for ending in endings {
        let ended = ended.clone();
        let thread = thread::Builder::new().name("telemetry-flush".to_owned());
        let _ = thread.spawn(move || {
            // A failed export is counted and told where it happens.
            let _ = ending();
            drop(ended);
        });
    }
    drop(ended);
    // Nothing is ever sent: the last sender's going is the word.
    let _ = tokio::time::timeout(within, all_ended.recv()).await;
}

/// A reader that sends metrics to the receiver that `options` name.
pub(super) fn metric_reader(
    options: &OtlpOptions,
    trust: &Trust,
    tallies: &Tallies,
) -> anyhow::Result<Option<MetricReader>> {
    let Some(receiver) = &options.metrics else {
        return Ok(None);
    };
    let exporter = Counted::new(transport::metric_exporter(receiver, trust)?, &tallies.metrics, "metrics");
    Ok(Some(PeriodicReader::builder(exporter).with_interval(options.metric_interval).build()))
}

/// Who we are. From nothing, and not from the SDK's own look at the environment: the configuration room has looked
/// already.
pub(super) fn resource(options: &OtlpOptions) -> Resource {
    const INSTANCE: &str = "service.instance.id";
    let attributes = options.resource.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    // Without it the metrics of several replicas could not be told apart.
    let is_named = options.resource.iter().any(|(name, _)| name == INSTANCE);
    let instance = (!is_named).then(|| KeyValue::new(INSTANCE, format!("{:032x}", rand::random::<u128>())));
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(attributes.chain(instance))
        .build()
}

fn sampler(sampling: Sampling) -> Sampler {
    let by_ratio = Sampler::TraceIdRatioBased(sampling.ratio);
    if sampling.parent_based { Sampler::ParentBased(Box::new(by_ratio)) } else { by_ratio }
}

fn span_batches(batching: Batching) -> trace::BatchConfig {
    trace::BatchConfigBuilder::default()
        .with_max_queue_size(batching.queue)
        .with_max_export_batch_size(batching.batch)
        .with_scheduled_delay(batching.delay)
        .build()
}

fn log_batches(batching: Batching) -> logs::BatchConfig {
    logs::BatchConfigBuilder::default()
        .with_max_queue_size(batching.queue)
        .with_max_export_batch_size(batching.batch)
        .with_scheduled_delay(batching.delay)
        .build()
}
