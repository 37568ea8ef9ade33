//! The memory tier: bounds bytes and nothing else.

use std::sync::Arc;

use moka::sync::Cache;

use super::Entry;
use crate::docs::StorageKey;

/// Bytes that an entry costs beyond its body and its key: the entry, its header values, and the tier's own records.
const OVERHEAD: usize = 512;

/// Entries by key, bounded by bytes; clones share them.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    entries: Cache<StorageKey, Arc<Entry>>,
}

impl Memory {
    pub(super) fn new(max_bytes: u64) -> Self {
        let weigher = |key: &StorageKey, entry: &Arc<Entry>| {
            let bytes = OVERHEAD + key.as_str().len() + entry.body_bytes();
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        Self {
            entries: Cache::builder().max_capacity(max_bytes).weigher(weigher).build(),
        }
    }

    pub(super) fn get(&self, key: &StorageKey) -> Option<Arc<Entry>> {
        self.entries.get(key)
    }

    pub(super) fn put(&self, key: StorageKey, entry: Arc<Entry>) {
        self.entries.insert(key, entry);
    }

    pub(super) fn forget(&self, key: &StorageKey) {
        self.entries.invalidate(key);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.entries.weighted_size()
    }

    pub(super) fn entries(&self) -> u64 {
        self.entries.entry_count()
    }
}
