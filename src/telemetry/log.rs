//! The program's log: queued like the access log, so that nobody who provokes a line holds up a request.

use std::io::{self, IsTerminal};
use std::sync::Arc;

use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use tracing::Metadata;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use super::access_log::FLUSH_WITHIN;
use super::instruments::{Instruments, Log};
use super::lines::Lines;
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

/// The program's log. Dropping it waits, for a moment at most, until what was logged is written.
#[derive(Debug)]
pub struct ProgramLog(Lines);

impl Drop for ProgramLog {
    fn drop(&mut self) {
        self.0.flush(FLUSH_WITHIN);
    }
}

/// Starts the log: to standard error, as text on a terminal and as JSON elsewhere, and to `receiver` where there is one.
/// Panics are told in it too.
pub(super) fn init(
    options: &Options,
    receiver: Option<&SdkLoggerProvider>,
    instruments: Arc<Instruments>,
) -> anyhow::Result<ProgramLog> {
    let filter = EnvFilter::try_new(&options.log_level)?;
    let is_terminal = io::stderr().is_terminal();
    let queue = Lines::to("log", io::stderr());
    let queued = queue.clone();
    let lines = tracing_subscriber::fmt::layer().with_writer(move || Line(queued.clone(), Arc::clone(&instruments)));
    let lines = if is_json(options.log_format, is_terminal) {
        lines.json().flatten_event(true).boxed()
    } else {
        lines.with_ansi(is_terminal).with_target(false).boxed()
    };
    let records = receiver.map(|provider| {
        OpenTelemetryTracingBridge::new(provider).with_filter(filter_fn(|metadata| !is_of_the_export(metadata)))
    });
    let started = tracing_subscriber::registry().with(filter).with(lines).with(records).try_init();
    started.map_err(|error| anyhow::anyhow!(error))?;
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a task died of a fault in the program")));
    Ok(ProgramLog(queue))
}

/// One line on its way into the queue; it is written in one piece.
struct Line(Lines, Arc<Instruments>);

impl io::Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if !self.0.write(line) {
            self.1.log_line_dropped(Log::Program);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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
