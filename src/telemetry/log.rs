//! The program's log.

use std::io::{self, IsTerminal};

use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use tracing::Metadata;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use super::{LogFormat, Options};

/// What sending log records makes use of. Its own records stay out of what is sent, or each export would make the
/// next one.
const OF_THE_EXPORT: [&str; 9] = [
    "callboard::telemetry::otlp::transport",
    "opentelemetry",
    "tonic",
    "h2",
    "hyper",
    "reqwest",
    "rustls",
    "tower",
    "tokio",
];

/// Starts the log: to standard error, as text on a terminal and as JSON elsewhere, and to `receiver` where there is one.
pub(super) fn init(options: &Options, receiver: Option<&SdkLoggerProvider>) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&options.log_level)?;
    let is_terminal = io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(BoxMakeWriter::new(io::stderr));
    let lines = if is_json(options.log_format, is_terminal) {
        lines.json().flatten_event(true).boxed()
    } else {
        lines.with_ansi(is_terminal).with_target(false).boxed()
    };
    let records = receiver.map(|provider| {
        OpenTelemetryTracingBridge::new(provider).with_filter(filter_fn(|metadata| !is_of_the_export(metadata)))
    });
    let started = tracing_subscriber::registry().with(filter).with(lines).with(records).try_init();
    started.map_err(|error| anyhow::anyhow!(error))
}

/// Whether lines are to be JSON.
pub(super) fn is_json(format: LogFormat, to_terminal: bool) -> bool {
    match format {
        LogFormat::Auto => !to_terminal,
        LogFormat::Json => true,
        LogFormat::Text => false,
    }
}

fn is_of_the_export(metadata: &Metadata<'_>) -> bool {
    OF_THE_EXPORT.iter().any(|name| metadata.target().starts_with(name))
}
