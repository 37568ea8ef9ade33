//! The program's log.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use super::{LogFormat, Options};

/// Starts the log: to standard error, as text on a terminal and as JSON elsewhere.
///
/// # Errors
/// Where `log_level` is no filter, or a log has been started already.
pub fn init(options: &Options) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&options.log_level)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(BoxMakeWriter::new(io::stderr));
    let started = if is_json(options.log_format, io::stderr().is_terminal()) {
        builder.json().flatten_event(true).try_init()
    } else {
        builder
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .try_init()
    };
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
