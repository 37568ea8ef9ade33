//! Documents kept near: freshness lives in the entry, the tier only bounds bytes, and however many wait for a key, one
//! task fetches it.

mod entry;
mod flight;
mod freshness;
mod generation;
mod memory;
mod options;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::chain::chain;
use crate::clock::Clock;
use crate::docs::StorageKey;
use crate::http::cache_status::{CacheOutcome, Ttl};
use crate::storage::{GetOptions, Object, Reader, StoreError, Whole};
use crate::telemetry::Instruments;

pub use entry::{Content, Entry};
pub use options::Options;

use entry::Failure;
use flight::Flights;
use freshness::{Excuse, Freshness};
use memory::Memory;

/// How long a reader waits for storage to confirm an old copy before it is served unconfirmed.
const PATIENCE_WITH_COPY: Duration = Duration::from_secs(1);

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
    pub ttl: Ttl,
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
        instruments.observe_memory(move || used.in_use());
        Arc::new(Self { memory, flights: Flights::default(), storage, clock, options })
    }

    /// What memory holds of `key`, where it is fresh. The path that almost every request takes: one look-up, no
    /// waiting.
    pub fn fresh(&self, key: &StorageKey) -> Option<Found> {
        let entry = self.memory.get(key)?;
        let freshness = self.freshness(&entry);
        // Of a large object memory only knows what it is.
        let outcome = if let Content::Large = entry.content { CacheOutcome::Pass } else { CacheOutcome::Hit };
        let is_fresh = matches!(freshness, Freshness::Fresh(_));
        is_fresh.then(|| Found { entry, outcome, ttl: freshness.ttl(), collapsed: false })
    }

    /// `key` from storage, for when memory holds nothing fresh; waits for a fetch that is under way rather than start
    /// another. While storage fails, an old copy is served instead, and nobody who could have one waits for long.
    ///
    /// The fetch is a task of its own: a client that leaves ends no fetch that others wait for.
    ///
    /// # Errors
    /// What storage answered, for all who waited; errors are not remembered. Absence is no error.
    pub async fn fetch(self: &Arc<Self>, key: &StorageKey) -> Result<Found, StoreError> {
        let excused = self.excused(key);
        if let Some((stale, Excuse::NotNow)) = excused {
            return Ok(stale);
        }
        let flight = self.flights.join(key, || Arc::clone(self).fly(key.clone()));
        if let Some((stale, Excuse::AskBehind)) = excused {
            return Ok(stale);
        }
        let collapsed = !flight.is_leader;
        let landed = match excused {
            // The fetch goes on behind; when it fails, the next reader does not wait at all.
            Some((stale, Excuse::OnFailure)) => match timeout(PATIENCE_WITH_COPY, flight.land()).await {
                Ok(landed) => landed,
                Err(_) => return Ok(stale),
            },
            _ => flight.land().await,
        };
        let landed = landed.unwrap_or(Err(StoreError::Abandoned))?;
        let ttl = self.freshness(&landed.entry).ttl();
        Ok(Found { entry: landed.entry, outcome: landed.outcome, ttl, collapsed })
    }

    /// An entry that is no longer fresh, with what may be done with it while storage fails.
    fn excused(&self, key: &StorageKey) -> Option<(Found, Excuse)> {
        let entry = self.memory.get(key)?;
        let freshness = self.freshness(&entry);
        let Freshness::Expired { excuse, .. } = freshness else { return None };
        Some((Found { entry, outcome: CacheOutcome::Stale, ttl: freshness.ttl(), collapsed: false }, excuse))
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
        let options = GetOptions { range, if_match: entry.meta.etag.clone(), if_none_match: None };
        let opened = self
            .storage
            .stream(key, &options)
            .await
            .and_then(|object| if object.meta == entry.meta { Ok(object) } else { Err(StoreError::Changed) });
        if matches!(opened, Err(StoreError::Changed | StoreError::Absent)) {
            self.memory.forget(key);
        }
        opened
    }

    /// How old what `entry` says is: the time since storage last confirmed it.
    pub fn age(&self, entry: &Entry) -> Duration {
        self.clock.now().since(entry.confirmed_at)
    }

    /// One fetch for all who wait.
    async fn fly(self: Arc<Self>, key: StorageKey) -> Result<Landed, StoreError> {
        // Another flight may have landed between the request's look and this take-off.
        if let Some(Found { entry, outcome, .. }) = self.fresh(&key) {
            return Ok(Landed { entry, outcome });
        }
        let held = self.memory.get(&key);
        let known = held.as_ref().and_then(|entry| entry.meta.etag.as_ref());
        let fetched = self.storage.fetch(&key, known, self.options.max_object_bytes).await;
        let now = self.clock.now();
        let is_held = held.is_some();
        let (entry, outcome) = match (fetched, held) {
            (Ok(Whole::Body(meta, body)), _) => {
                let outcome = if is_held { CacheOutcome::Expired } else { CacheOutcome::Miss };
                (Entry::document(&key, meta, body, now), outcome)
            }
            (Ok(Whole::TooLarge(meta)), _) => (Entry::large(&key, meta, now), CacheOutcome::Pass),
            (Ok(Whole::NotModified), Some(held)) => (held.confirmed(now), CacheOutcome::Revalidated),
            // 304 to a request without a condition: the store is not to be believed.
            (Ok(Whole::NotModified), None) => return Err(StoreError::Changed),
            (Err(StoreError::Absent), _) => {
                let outcome = if is_held { CacheOutcome::Gone } else { CacheOutcome::Miss };
                (Entry::absent(now), outcome)
            }
            (Err(error), Some(held)) => return self.excused_by(key, &held, error),
            (Err(error), None) => return Err(error),
        };
        let entry = Arc::new(entry);
        self.memory.put(key, Arc::clone(&entry));
        Ok(Landed { entry, outcome })
    }

    /// What becomes of an entry that storage failed to confirm. The failure is kept with it either way: later readers go
    /// by the last one.
    fn excused_by(&self, key: StorageKey, held: &Entry, error: StoreError) -> Result<Landed, StoreError> {
        let is_refusal = matches!(error, StoreError::Denied(_));
        let entry = Arc::new(held.unconfirmed(Failure { at: self.clock.now(), is_refusal }));
        self.memory.put(key.clone(), Arc::clone(&entry));
        match self.freshness(&entry) {
            Freshness::Expired { over, excuse } if excuse != Excuse::None => {
                // That it rests has been told, once for all pages.
                if !matches!(error, StoreError::Resting { .. }) {
                    let over = over.as_secs();
                    tracing::warn!(%key, error = chain(&error), over, "storage failed: an old copy is served");
                }
                Ok(Landed { entry, outcome: CacheOutcome::Stale })
            }
            _ => Err(error),
        }
    }

    fn freshness(&self, entry: &Entry) -> Freshness {
        Freshness::of(entry, self.clock.now(), &self.options)
    }
}
