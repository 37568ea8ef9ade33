//! What the program tells about itself: instruments, the access log, the log, trace ids.

mod access_log;
mod instruments;
mod limits;
mod log;
mod options;
mod trace_id;

pub use access_log::{AccessLine, AccessLog};
pub use instruments::{Handshake, Instruments, MemoryUse, RequestLabels, StorageOperation};
pub use limits::{LimitInstruments, LimitReason, ListenerName};
pub use log::init as init_log;
pub use options::*;
pub use trace_id::TraceId;
