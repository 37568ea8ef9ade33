//! What the cache runs on.

use std::time::Duration;

use super::shared::{QueueBounds, SharedOptions};
use crate::secret::Secret;

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
    /// Whether documents are kept compressed beside their bytes.
    pub compression: bool,
}

/// What the tier in Redis runs on.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// What all names in Redis begin with. Replicas of one Callboard have the same, and no other Callboard has.
    pub key_prefix: String,
    /// What values are sealed with, so that nobody else can plant any.
    pub integrity_key: Option<Secret>,
}

/// What may wait to be written to Redis: some seconds' worth, and no more memory than a few large documents.
const QUEUE_OPERATIONS: usize = 4096;
const QUEUE_BYTES: usize = 32 << 20;

impl RedisOptions {
    pub(super) fn of(self, options: &Options) -> SharedOptions {
        SharedOptions {
            key_prefix: self.key_prefix,
            integrity_key: self.integrity_key,
            expire_after: options.kept_for(),
            max_object_bytes: options.max_object_bytes,
            // The largest document must find a place, or Redis would never have it.
            queue: QueueBounds {
                operations: QUEUE_OPERATIONS,
                bytes: usize::try_from(options.max_object_bytes).unwrap_or(QUEUE_BYTES).max(QUEUE_BYTES),
            },
        }
    }
}

impl Options {
    /// How long an entry may be of any use after storage confirmed it.
    pub(super) fn kept_for(&self) -> Duration {
        self.fresh_for + self.stale_if_error.max(self.stale_while_revalidate)
    }
}
