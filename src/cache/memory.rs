//! The memory tier: bounds bytes and nothing else.

use std::sync::Arc;

use moka::ops::compute::Op;
use moka::sync::Cache;

use super::Entry;
use crate::docs::StorageKey;
use crate::telemetry::MemoryUse;

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
        Self { entries: Cache::builder().max_capacity(max_bytes).weigher(weigher).build() }
    }

    pub(super) fn get(&self, key: &StorageKey) -> Option<Arc<Entry>> {
        self.entries.get(key)
    }

    /// What is held under the key of this text.
    pub(super) fn get_by_text(&self, key: &str) -> Option<Arc<Entry>> {
        self.entries.get(key)
    }

    /// Replaces what is held under `key`, or leaves it where `replace` says so.
    pub(super) fn replace(&self, key: StorageKey, replace: impl FnOnce(&Entry) -> Option<Entry>) {
        let replace = |held: Option<moka::Entry<StorageKey, Arc<Entry>>>| {
            held.and_then(|held| replace(held.value())).map_or(Op::Nop, |entry| Op::Put(Arc::new(entry)))
        };
        let _ = self.entries.entry(key).and_compute_with(replace);
    }

    /// How many entries there are of each that `is_counted` says yes to.
    pub(super) fn count(&self, is_counted: impl Fn(&Entry) -> bool) -> usize {
        self.entries.iter().filter(|(_, entry)| is_counted(entry)).count()
    }

    pub(super) fn put(&self, key: StorageKey, entry: Arc<Entry>) {
        self.entries.insert(key, entry);
    }

    pub(super) fn forget(&self, key: &StorageKey) {
        self.entries.invalidate(key);
    }

    /// What it holds now. The tier counts lazily, so it is made to catch up first.
    pub(super) fn in_use(&self) -> MemoryUse {
        self.entries.run_pending_tasks();
        MemoryUse { bytes: self.entries.weighted_size(), entries: self.entries.entry_count() }
    }
}
