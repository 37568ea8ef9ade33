//! What the program tells about itself: instruments, spans, the access log, the log, trace ids; for Prometheus and
//! people always, over OTLP where a receiver is configured.

mod access_log;
mod events;
mod instruments;
mod limits;
mod lines;
mod log;
mod options;
mod otlp;
mod redis;
mod requests;
mod shared_tier;
mod sites;
mod span;
mod storage;
mod trace_id;
mod variants;

use std::sync::Arc;
use std::time::Duration;

pub use access_log::{AccessLine, AccessLog, truncated};
pub use events::{EventInstruments, EventResult, EventSource};
pub use instruments::{Handshake, Instruments, MemoryUse};
pub use limits::{ConnectionError, LimitInstruments, LimitReason, ListenerName};
pub use log::ProgramLog;
pub use options::*;
pub use redis::{RedisInstruments, RedisLink, RedisLinkUp, RedisOutcome};
pub use requests::{RequestLabels, route_template};
pub use shared_tier::{BadValue, SharedLoad, SharedTierInstruments, SharedWrite};
pub use sites::{NewGeneration, SiteInstruments, SiteLook, WarmedFile};
pub use span::{Kind, OverTls, Scope, Span, Tracing, inject};
pub use storage::{OriginInstruments, StorageOperation};
pub use trace_id::TraceId;
pub use variants::{VariantInstruments, VariantResult};

use crate::trust::Trust;

/// All of it for one running program.
#[derive(Debug)]
pub struct Telemetry {
    /// Every metric.
    pub instruments: Arc<Instruments>,
    /// What makes the spans of requests.
    pub tracing: Tracing,
    exports: otlp::Exports,
}

impl Telemetry {
    /// Starts what `options` ask for. Nothing connects anywhere before there is something to send; where there is
    /// something to send at all, this must be called on the runtime that shall send it.
    ///
    /// # Errors
    /// Where an exporter can't be set up.
    pub fn start(options: &Options, trust: &Trust) -> anyhow::Result<Self> {
        let tallies = otlp::Tallies::default();
        let resource = otlp::resource(&options.otlp);
        let exports = otlp::Exports::start(&options.otlp, trust, resource.clone(), &tallies)?;
        let reader = otlp::metric_reader(&options.otlp, trust, &tallies)?;
        let instruments = Instruments::exporting(reader, resource, &tallies)?;
        Ok(Self { instruments: Arc::new(instruments), tracing: exports.tracing(), exports })
    }

    /// Starts the log: to standard error, as text on a terminal and as JSON elsewhere, and over OTLP where a receiver
    /// of log records is configured.
    ///
    /// # Errors
    /// Where `log_level` is no filter, or a log has been started already.
    pub fn init_log(&self, options: &Options) -> anyhow::Result<ProgramLog> {
        log::init(options, self.exports.logs(), Arc::clone(&self.instruments))
    }

    /// Sends what is left over OTLP, and returns after `within` at the latest, whatever the receivers do.
    pub async fn stop(self, within: Duration) {
        let mut endings = self.exports.endings(within);
        endings.push(self.instruments.ending(within));
        otlp::end(endings, within).await;
    }
}
