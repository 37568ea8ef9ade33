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
    /// How long beyond that it is served all the same while storage is asked behind the reader's back.
    pub stale_while_revalidate: Duration,
    /// How long beyond `fresh_for` it is served all the same while storage fails.
    pub stale_if_error: Duration,
    /// How long absence is remembered.
    pub not_found_for: Duration,
    /// How often the metadata of a site in use is looked at; zero is never.
    pub publish_check: Duration,
    /// For how long after a publish the entries of its site are fresh only briefly.
    pub settle_for: Duration,
    /// Whether a site's first page has the rest of the site fetched behind it.
    pub warm_on_first_visit: bool,
}
