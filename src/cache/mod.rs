//! Documents kept near: freshness lives in the entry, the tiers only bound bytes, and however many wait for a key, one
//! task fetches it.
//!
//! What a reader meets, in this order:
//!
//! 1. [`DocCache::fresh`]: memory, by the rules in `freshness.rs`; `sites.rs` and `site.rs` know which publish of a site is
//!    the newest, `watch.rs` looks;
//! 2. [`DocCache::fetch`]: an old copy where the rules excuse it, else one flight (`flight.rs`) for all who wait;
//! 3. the flight's errand (`errand.rs`): Redis (`promote.rs`), then storage, then both tiers; who has nothing else reads along
//!    as it comes;
//! 4. [`DocCache::variant`]: a document that was compressed before (`variants.rs`); what was not is compressed behind
//!    (`encode.rs`);
//! 5. `replicas.rs`: what one replica finds, the others hear, and doubt what they hold.
//!
//! Beside readers there are operators, who purge (`purge.rs`) and warm (`warm.rs`), and clouds that tell of changed objects
//! (`touch.rs`).

mod compress;
mod encode;
mod entry;
mod errand;
mod flight;
mod freshness;
mod generation;
mod hearing;
mod memory;
mod message;
mod options;
mod promote;
mod purge;
mod replicas;
mod rumour;
pub mod shared;
mod site;
mod sites;
mod touch;
mod variants;
mod warm;
mod watch;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::clock::{Clock, Timestamp};
use crate::docs::StorageKey;
use crate::http::cache_status::{CacheOutcome, Ttl};
use crate::redis::Client;
use crate::storage::{GetOptions, Object, Origins, StoreError, Wanted};
use crate::telemetry::Instruments;

pub use entry::{Content, Entry};
pub use options::{Options, RedisOptions};
pub use purge::{Purged, Replicas};
pub use warm::{Warmed, WhichSites};

use encode::Encoding;
use errand::Errand;
use flight::{Flights, Ticket};
use freshness::{Excuse, Freshness, Standing};
use hearing::Hearing;
use memory::Memory;
use shared::Shared;
use sites::Sites;
use touch::Strangers;
use warm::Warmings;

/// How long a reader waits for storage to confirm an old copy before it is served unconfirmed.
const PATIENCE_WITH_COPY: Duration = Duration::from_secs(1);

/// The same for a copy that there is reason to think is no longer true: longer than a slow store takes, and shorter than
/// a client waits.
const PATIENCE_WITH_DOUBTFUL: Duration = Duration::from_secs(5);

/// The cache in front of storage.
#[derive(Debug)]
pub struct DocCache {
    memory: Memory,
    flights: Flights<Landing>,
    sites: Sites,
    strangers: Strangers,
    warmings: Warmings,
    encoding: Encoding,
    hearing: Hearing,
    /// The tier that all replicas share, where there is one.
    shared: Option<Arc<Shared>>,
    /// Tells this replica from others.
    id: u128,
    /// Counts the times that others were heard or lost.
    turns: AtomicU64,
    storage: Arc<Origins>,
    /// Places for looking at sites.
    looks: Arc<Semaphore>,
    clock: Clock,
    options: Options,
    instruments: Arc<Instruments>,
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
    /// How old what it says is: the time since storage last confirmed it.
    pub age: Duration,
    /// Whether this request waited for another's fetch.
    pub collapsed: bool,
}

impl Found {
    /// An entry as it was judged at `now`, which nobody else waited for.
    fn judged(entry: Arc<Entry>, outcome: CacheOutcome, freshness: Freshness, now: Timestamp) -> Self {
        let age = now.since(entry.confirmed_at);
        Self { entry, outcome, ttl: freshness.ttl(), age, collapsed: false }
    }
}

/// What a fetch brings back to all who wait for it.
#[derive(Debug, Clone)]
struct Landed {
    entry: Arc<Entry>,
    outcome: CacheOutcome,
}

type Landing = Result<Landed, StoreError>;

impl DocCache {
    /// An empty cache in front of `storage`; with `redis`, what other replicas have fetched lies between the two.
    pub fn new(
        storage: Arc<Origins>,
        redis: Option<(Client, RedisOptions)>,
        options: Options,
        clock: Clock,
        instruments: Arc<Instruments>,
    ) -> Arc<Self> {
        let memory = Memory::new(options.memory_max_bytes);
        let used = memory.clone();
        instruments.observe_memory(move || used.in_use());
        let shared = redis.map(|(client, redis)| Shared::new(client, redis.of(&options), Arc::clone(&instruments)));
        Arc::new(Self {
            memory,
            flights: Flights::default(),
            sites: Sites::default(),
            strangers: Strangers::default(),
            warmings: Warmings::new(storage.most_at_leisure()),
            encoding: Encoding::default(),
            hearing: if shared.is_some() { Hearing::of_others() } else { Hearing::alone() },
            shared,
            id: rand::random(),
            turns: AtomicU64::new(0),
            storage,
            looks: Arc::new(Semaphore::new(watch::LOOKS)),
            clock,
            options,
            instruments,
        })
    }

    /// What memory holds of `key`, where it is fresh. The path that almost every request takes: one look-up, no
    /// waiting.
    pub fn fresh(self: &Arc<Self>, key: &StorageKey) -> Option<Found> {
        let now = self.clock.now();
        let found = self.judged_fresh(self.memory.get(key)?, now)?;
        let site = &found.entry.site;
        self.note_reader(site, now);
        // Where nobody has looked at it for long, a reader had better wait for that.
        (!site.is_unwatched(now, self.options.publish_check)).then_some(found)
    }

    /// `key` from Redis or storage, for when memory holds nothing fresh; waits for a fetch that is under way rather than
    /// start another. Where the rules excuse an old copy it is served instead, and nobody who could have one waits for
    /// long. Who has none reads along with the fetch, where the document is large enough for that.
    ///
    /// The fetch is a task of its own: a client that leaves ends no fetch that others wait for.
    ///
    /// # Errors
    /// What storage answered, for all who waited; errors are not remembered. Absence is no error.
    pub async fn fetch(self: &Arc<Self>, key: &StorageKey) -> Result<Found, StoreError> {
        self.fetch_on(Errand::Reader, key).await
    }

    /// The same for a reader who wants no more than parts of it: of what is too large to keep, nothing else is fetched.
    ///
    /// # Errors
    /// As for [`DocCache::fetch`].
    pub async fn fetch_for_parts(self: &Arc<Self>, key: &StorageKey) -> Result<Found, StoreError> {
        self.fetch_on(Errand::ReaderOfParts, key).await
    }

    async fn fetch_on(self: &Arc<Self>, errand: Errand, key: &StorageKey) -> Result<Found, StoreError> {
        if let Some(found) = self.fresh_once_watched(key).await {
            return Ok(found);
        }
        match self.excused(key) {
            Some((stale, Excuse::NotNow)) => Ok(stale),
            Some((stale, Excuse::AskBehind | Excuse::WhileRevalidating)) => {
                self.take_off(key, Errand::Behind);
                Ok(stale)
            }
            Some((stale, Excuse::OnFailure)) => self.fetched_or(errand, key, stale, PATIENCE_WITH_COPY).await,
            Some((stale, Excuse::OnlyOnFailure)) => self.fetched_or(errand, key, stale, PATIENCE_WITH_DOUBTFUL).await,
            Some((_, Excuse::None)) | None => self.fetched(errand, key).await,
        }
    }

    /// What a flight for readers brings back, or may be read of before that.
    async fn fetched(self: &Arc<Self>, errand: Errand, key: &StorageKey) -> Result<Found, StoreError> {
        let mut flight = self.take_off(key, errand);
        let collapsed = !flight.is_leader;
        let mut landed = flight.ahead().await;
        let is_to_be_repeated = match &landed {
            // That flight was for nobody who waits, and has given way to those who do.
            Some(Err(StoreError::Busy)) => collapsed,
            // Something was said meanwhile: what it brings may have been true when it took off, and not be any more.
            Some(Ok(Landed { entry, .. })) => self.is_overtaken(entry, &flight),
            _ => false,
        };
        if is_to_be_repeated {
            // As long as it is not over, it would only be joined again.
            flight.land().await;
            landed = self.take_off(key, errand).ahead().await;
        }
        let Landed { entry, outcome } = landed.unwrap_or(Err(StoreError::Abandoned))?;
        if let Content::Filling(filling) = entry.content()
            && let Some(error) = filling.failure()
        {
            return Err(error);
        }
        if outcome == CacheOutcome::Updating {
            self.take_off(key, Errand::Behind);
        }
        let now = self.clock.now();
        let freshness = self.freshness(&entry, now);
        Ok(Found { collapsed, ..Found::judged(entry, outcome, freshness, now) })
    }

    /// Whether something was said since a flight took off that what it brings may not know of.
    fn is_overtaken(&self, entry: &Entry, flight: &Ticket<Landing>) -> bool {
        // What is still on its way has not been held against it yet.
        let is_belied = || matches!(entry.content(), Content::Filling(_)) && flight.is_belied(entry.version());
        Standing::of(entry, &self.hearing) == Standing::NewlyDoubtful || is_belied()
    }

    /// The same within `patience`, and else what is held.
    async fn fetched_or(
        self: &Arc<Self>,
        errand: Errand,
        key: &StorageKey,
        held: Found,
        patience: Duration,
    ) -> Result<Found, StoreError> {
        match timeout(patience, self.fetched(errand, key)).await {
            // The fetch goes on behind; when it fails, the next reader does not wait at all.
            Err(_) => Ok(held),
            // Neither says anything of the document.
            Ok(Err(StoreError::Busy | StoreError::Abandoned)) => Ok(held),
            Ok(fetched) => fetched,
        }
    }

    /// Boards the flight that fetches `key`.
    fn take_off(self: &Arc<Self>, key: &StorageKey, errand: Errand) -> Ticket<Landing> {
        let work = |aloft| Arc::clone(self).run(key.clone(), errand, aloft);
        self.flights.join(key, errand.is_for_reader(), work)
    }

    /// What memory holds that is fresh now that its site has been looked at.
    async fn fresh_once_watched(self: &Arc<Self>, key: &StorageKey) -> Option<Found> {
        let entry = self.memory.get(key)?;
        if entry.site.is_unwatched(self.clock.now(), self.options.publish_check) {
            self.look_now(&entry.site).await;
        }
        self.judged_fresh(self.memory.get(key)?, self.clock.now())
    }

    fn judged_fresh(&self, entry: Arc<Entry>, now: Timestamp) -> Option<Found> {
        let freshness = self.freshness(&entry, now);
        // Of a large object memory only knows what it is.
        let outcome = if let Content::Large = entry.content() { CacheOutcome::Pass } else { CacheOutcome::Hit };
        let is_fresh = matches!(freshness, Freshness::Fresh(_));
        is_fresh.then(|| Found::judged(entry, outcome, freshness, now))
    }

    /// An entry that is no longer fresh, with what may be done with it all the same.
    fn excused(&self, key: &StorageKey) -> Option<(Found, Excuse)> {
        let entry = self.memory.get(key)?;
        let now = self.clock.now();
        let freshness = self.freshness(&entry, now);
        let Freshness::Expired { excuse, .. } = freshness else { return None };
        let outcome = if excuse == Excuse::WhileRevalidating { CacheOutcome::Updating } else { CacheOutcome::Stale };
        Some((Found::judged(entry, outcome, freshness, now), excuse))
    }

    /// Opens a document that is not in memory: one that is being fetched, to be read along, or one that is too large to
    /// keep, in the very version that `entry` describes.
    ///
    /// # Errors
    /// [`StoreError::Changed`] where storage holds another version by now; the entry is then forgotten.
    pub async fn stream(
        self: &Arc<Self>,
        key: &StorageKey,
        entry: &Entry,
        range: Option<Range<u64>>,
    ) -> Result<Object, StoreError> {
        let all = 0..entry.meta.size;
        if let Content::Filling(filling) = entry.content() {
            return Ok(Object { meta: entry.meta.clone(), body: filling.read(range.unwrap_or(all)) });
        }
        let range = range.filter(|range| *range != all);
        if range.is_none()
            && let Some(body) = entry.take_opened()
        {
            return Ok(Object { meta: entry.meta.clone(), body });
        }
        // Not every store looks at If-Match, so what it answers with is compared as well.
        let options = GetOptions { range, if_match: entry.meta.etag.clone(), if_none_match: None };
        let opened = self
            .storage
            .stream(Wanted { key, generation: entry.site.generation().number() }, &options)
            .await
            .and_then(|object| if object.meta == entry.meta { Ok(object) } else { Err(StoreError::Changed) });
        if matches!(opened, Err(StoreError::Changed | StoreError::Absent)) {
            self.memory.forget(key);
            self.found_changed(&entry.site);
        }
        opened
    }

    /// Waits until what this replica has found is in Redis, but not longer than `patience`.
    pub async fn flush(&self, patience: Duration) {
        if let Some(shared) = &self.shared {
            shared.flush(patience).await;
        }
    }

    fn freshness(&self, entry: &Entry, now: Timestamp) -> Freshness {
        Freshness::of(entry, Standing::of(entry, &self.hearing), now, &self.options)
    }
}
