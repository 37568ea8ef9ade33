//! What the cache runs on.

use std::time::Duration;

/// Bounds and freshness.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes that the memory tier may hold, overhead included.
    pub memory_max_bytes: u64,
    /// An object larger than this is streamed through and not kept.
    pub max_object_bytes: u64,
    /// How long an entry is served without asking storage.
    pub fresh_for: Duration,
    /// How long beyond that it is served all the same while storage fails.
    pub stale_if_error: Duration,
    /// How long absence is remembered.
    pub not_found_for: Duration,
}
