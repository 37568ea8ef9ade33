//! Documents kept near: freshness lives in the entry, the tier only bounds bytes, and however many wait for a key, one
//! task fetches it.

mod entry;
mod flight;
mod freshness;
mod memory;
mod options;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::docs::StorageKey;
use crate::http::cache_status::CacheOutcome;
use crate::storage::{GetOptions, Object, Reader, StoreError, Whole};
use crate::telemetry::{Instruments, MemoryUse};

pub use entry::{Content, Entry};
pub use options::Options;

use flight::Flights;
use freshness::Freshness;
use memory::Memory;

/// The cache in front of storage.
#[derive(Debug)]
pub struct DocCache {
    memory: Memory,
    flights: Flights<Result<Landed, StoreError>>,
    storage: Arc<Reader>,
    clock: Clock,
    options: Options,
}

/// A document, or the knowledge that there is none, and how it was come by.
#[derive(Debug, Clone)]
pub struct Found {
    /// What was found.
    pub entry: Arc<Entry>,
    /// What the cache did.
    pub outcome: CacheOutcome,
    /// How long the entry stays fresh.
    pub ttl: Duration,
    /// Whether this request waited for another's fetch.
    pub collapsed: bool,
}

/// What a fetch brings back to all who wait for it.
#[derive(Debug, Clone)]
struct Landed {
    entry: Arc<Entry>,
    outcome: CacheOutcome,
}

impl DocCache {
    /// An empty cache in front of `storage`.
    pub fn new(storage: Arc<Reader>, options: Options, clock: Clock, instruments: &Instruments) -> Arc<Self> {
        let memory = Memory::new(options.memory_max_bytes);
        let used = memory.clone();
        instruments.observe_memory(move || MemoryUse {
            bytes: used.bytes(),
            entries: used.entries(),
        });
        Arc::new(Self {
            memory,
            flights: Flights::default(),
            storage,
            clock,
            options,
        })
    }

    /// What memory holds of `key`, where it is fresh. The path that almost every request takes: one look-up, no
    /// waiting.
    pub fn fresh(&self, key: &StorageKey) -> Option<Found> {
        let entry = self.memory.get(key)?;
        let ttl = self.freshness(&entry).ttl()?;
        Some(Found {
            entry,
            outcome: CacheOutcome::Hit,
            ttl,
            collapsed: false,
        })
    }

    /// `key` from memory, else from storage; waits for a fetch that is under way rather than start another.
    ///
    /// The fetch is a task of its own: a client that leaves ends no fetch that others wait for.
    ///
    /// # Errors
    /// What storage answered, for all who waited; errors are not remembered. Absence is no error.
    pub async fn get(self: &Arc<Self>, key: &StorageKey) -> Result<Found, StoreError> {
        if let Some(found) = self.fresh(key) {
            return Ok(found);
        }
        let flight = self.flights.join(key, || Arc::clone(self).fetch(key.clone()));
        let collapsed = !flight.is_leader;
        let landed = flight.land().await.unwrap_or(Err(StoreError::Abandoned))?;
        let ttl = self.freshness(&landed.entry).ttl().unwrap_or_default();
        Ok(Found {
            entry: landed.entry,
            outcome: landed.outcome,
            ttl,
            collapsed,
        })
    }

    /// Opens a document that is too large to keep, in the very version that `entry` describes.
    ///
    /// # Errors
    /// [`StoreError::Changed`] where storage holds another version by now; the entry is then forgotten.
    pub async fn stream(
        &self,
        key: &StorageKey,
        entry: &Entry,
        range: Option<std::ops::Range<u64>>,
    ) -> Result<Object, StoreError> {
        // Not every store looks at If-Match, so what it answers with is compared as well.
        let options = GetOptions {
            range,
            if_match: entry.meta.etag.clone(),
            if_none_match: None,
        };
        let opened = self.storage.stream(key, &options).await.and_then(|object| {
            if object.meta == entry.meta {
                Ok(object)
            } else {
                Err(StoreError::Changed)
            }
        });
        if matches!(opened, Err(StoreError::Changed | StoreError::Absent)) {
            self.memory.forget(key);
        }
        opened
    }

    /// How old what `entry` says is: the time since storage last confirmed it.
    pub fn age(&self, entry: &Entry) -> Duration {
        self.clock.now().since(entry.confirmed_at)
    }

    async fn fetch(self: Arc<Self>, key: StorageKey) -> Result<Landed, StoreError> {
        let held = self.memory.get(&key);
        // Another flight may have landed between this request's look and its take-off.
        if let Some(entry) = held.as_ref().filter(|entry| self.freshness(entry).is_fresh()) {
            return Ok(Landed {
                entry: Arc::clone(entry),
                outcome: CacheOutcome::Hit,
            });
        }
        let known = held.as_ref().and_then(|entry| entry.meta.etag.as_ref());
        let fetched = self.storage.fetch(&key, known, self.options.max_object_bytes).await;
        let now = self.clock.now();
        let changed = if held.is_some() {
            CacheOutcome::Expired
        } else {
            CacheOutcome::Miss
        };
        let (entry, outcome) = match (fetched, &held) {
            (Ok(Whole::Body(meta, body)), _) => (Entry::document(&key, meta, body, now), changed),
            (Ok(Whole::TooLarge(meta)), _) => (Entry::large(&key, meta, now), CacheOutcome::Pass),
            (Ok(Whole::NotModified), Some(held)) => (held.confirmed(now), CacheOutcome::Revalidated),
            // 304 to a request without a condition: the store is not to be believed.
            (Ok(Whole::NotModified), None) => return Err(StoreError::Changed),
            (Err(StoreError::Absent), _) => (Entry::absent(now), changed),
            (Err(error), _) => return Err(error),
        };
        let entry = Arc::new(entry);
        self.memory.put(key, Arc::clone(&entry));
        Ok(Landed { entry, outcome })
    }

    fn freshness(&self, entry: &Entry) -> Freshness {
        Freshness::of(entry, self.clock.now(), &self.options)
    }
}
