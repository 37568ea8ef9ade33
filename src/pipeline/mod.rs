//! From a request to its answer. [`Journey::answer`] is the table of contents.

mod body;
mod context;
mod document;
mod head;
mod health;
mod journey;
mod operate;
mod options;
mod record;
mod rejection;

pub use body::Body;
pub use health::{Audience, Health, LIVENESS, READINESS};
pub use journey::{Journey, Rooms};
pub use operate::{Notifications, Operation, Operations, PURGE, PurgeReport, PurgedSites, WARM, WarmLine};
pub use options::Options;
