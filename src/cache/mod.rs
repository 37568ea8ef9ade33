//! Documents kept near: freshness lives in the entry, the tiers only bound bytes, and however many wait for a key, one
//! task fetches it.
//!
//! What a reader meets, in this order:
//!
//! 1. [`DocCache::fresh`]: memory, by the rules in `freshness.rs`; `sites.rs` and `site.rs` know which publish of a site is
//!    the newest, `watch.rs` looks;
//! 2. [`DocCache::fetch`]: an old copy where the rules excuse it, else one flight (`flight.rs`) for all who wait;
//! 3. the flight's errand (`errand.rs`): Redis, then storage, then both tiers;
//! 4. `replicas.rs`: what one replica finds, the others hear, and doubt what they hold.

mod entry;
mod errand;
mod flight;
mod freshness;
mod generation;
mod hearing;
mod memory;
mod options;
mod purge;
mod replicas;
pub mod shared;
mod site;
mod sites;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::clock::{Clock, Timestamp};
use crate::docs::StorageKey;
use crate::http::cache_status::{CacheOutcome, Ttl};
use crate::redis::Client;
use crate::storage::{GetOptions, Object, Reader, StoreError};
use crate::telemetry::Instruments;

pub use entry::{Content, Entry};
pub use options::{Options, RedisOptions};
pub use purge::{Purged, Replicas};

use errand::Errand;
use flight::{Flights, Ticket};
use freshness::{Excuse, Freshness, Standing};
use hearing::Hearing;
use memory::Memory;
use shared::Shared;
use sites::Sites;

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
    hearing: Hearing,
    /// The tier that all replicas share, where there is one.
    shared: Option<Arc<Shared>>,
    /// Tells this replica from others.
    id: u128,
    storage: Arc<Reader>,
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
    /// Whether this request waited for another's fetch.
    pub collapsed: bool,
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
        storage: Arc<Reader>,
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
            hearing: if shared.is_some() { Hearing::of_others() } else { Hearing::alone() },
            shared,
            id: rand::random(),
            storage,
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
        self.is_watched(&found.entry.site, now).then_some(found)
    }

    /// `key` from Redis or storage, for when memory holds nothing fresh; waits for a fetch that is under way rather than
    /// start another. Where the rules excuse an old copy it is served instead, and nobody who could have one waits for
    /// long.
    ///
    /// The fetch is a task of its own: a client that leaves ends no fetch that others wait for.
    ///
    /// # Errors
    /// What storage answered, for all who waited; errors are not remembered. Absence is no error.
    pub async fn fetch(self: &Arc<Self>, key: &StorageKey) -> Result<Found, StoreError> {
        if let Some(found) = self.fresh_once_watched(key).await {
            return Ok(found);
        }
        let (stale, excuse) = self.excused(key).unzip();
        let excuse = excuse.unwrap_or(Excuse::None);
        let errand = match excuse {
            Excuse::NotNow | Excuse::AskBehind | Excuse::WhileRevalidating => Errand::Behind,
            Excuse::None | Excuse::OnFailure | Excuse::OnlyOnFailure => Errand::Reader,
        };
        if let (Excuse::NotNow, Some(stale)) = (excuse, &stale) {
            return Ok(stale.clone());
        }
        let flight = self.take_off(key, errand);
        let collapsed = !flight.is_leader;
        let patience = match excuse {
            Excuse::OnFailure => PATIENCE_WITH_COPY,
            Excuse::OnlyOnFailure => PATIENCE_WITH_DOUBTFUL,
            // The fetch goes on behind.
            Excuse::AskBehind | Excuse::WhileRevalidating | Excuse::NotNow => Duration::ZERO,
            Excuse::None => Duration::MAX,
        };
        let landed = match stale {
            Some(stale) if patience.is_zero() => return Ok(stale),
            // When it fails, the next reader does not wait at all.
            Some(stale) if patience < Duration::MAX => match timeout(patience, flight.land()).await {
                Ok(landed) => landed,
                Err(_) => return Ok(stale),
            },
            _ => flight.land().await,
        };
        let landed = match landed.unwrap_or(Err(StoreError::Abandoned)) {
            // That flight was for nobody who waits, and has given way to those who do.
            Err(StoreError::Busy) if collapsed => self.take_off(key, Errand::Reader).land().await,
            landed => Some(landed),
        };
        let mut landed = landed.unwrap_or(Err(StoreError::Abandoned))?;
        if collapsed && Standing::of(&landed.entry, &self.hearing) == Standing::NewlyDoubtful {
            landed = self.land_again(key, landed).await?;
        }
        if landed.outcome == CacheOutcome::Updating {
            let _ = self.take_off(key, Errand::Behind);
        }
        let ttl = self.freshness(&landed.entry, self.clock.now()).ttl();
        Ok(Found { entry: landed.entry, outcome: landed.outcome, ttl, collapsed })
    }

    /// Boards the flight that fetches `key`.
    fn take_off(self: &Arc<Self>, key: &StorageKey, errand: Errand) -> Ticket<Landing> {
        self.flights.join(key, |rumour| Arc::clone(self).run(key.clone(), errand, rumour))
    }

    /// What storage says now, for a reader who may have come after there was reason to doubt what `landed`: the flight that
    /// brought it had asked storage before that.
    async fn land_again(self: &Arc<Self>, key: &StorageKey, landed: Landed) -> Landing {
        let patience = if landed.entry.is_present() { PATIENCE_WITH_DOUBTFUL } else { Duration::MAX };
        match timeout(patience, self.take_off(key, Errand::Reader).land()).await {
            Ok(landing) => landing.unwrap_or(Err(StoreError::Abandoned)),
            Err(_) => Ok(Landed { outcome: CacheOutcome::Stale, ..landed }),
        }
    }

    /// What memory holds that is fresh now that its site has been looked at.
    async fn fresh_once_watched(self: &Arc<Self>, key: &StorageKey) -> Option<Found> {
        let entry = self.memory.get(key)?;
        if entry.site.is_unwatched(self.clock.now(), self.options.publish_check) {
            // While storage takes longer, what is held is as good as it was.
            let _ = timeout(PATIENCE_WITH_COPY, self.take_off(&entry.site.metadata, Errand::Check).land()).await;
        }
        self.judged_fresh(self.memory.get(key)?, self.clock.now())
    }

    fn judged_fresh(&self, entry: Arc<Entry>, now: Timestamp) -> Option<Found> {
        let freshness = self.freshness(&entry, now);
        // Of a large object memory only knows what it is.
        let outcome = if let Content::Large = entry.content { CacheOutcome::Pass } else { CacheOutcome::Hit };
        let is_fresh = matches!(freshness, Freshness::Fresh(_));
        is_fresh.then(|| Found { entry, outcome, ttl: freshness.ttl(), collapsed: false })
    }

    /// An entry that is no longer fresh, with what may be done with it all the same.
    fn excused(&self, key: &StorageKey) -> Option<(Found, Excuse)> {
        let entry = self.memory.get(key)?;
        let freshness = self.freshness(&entry, self.clock.now());
        let Freshness::Expired { excuse, .. } = freshness else { return None };
        let outcome = if excuse == Excuse::WhileRevalidating { CacheOutcome::Updating } else { CacheOutcome::Stale };
        Some((Found { entry, outcome, ttl: freshness.ttl(), collapsed: false }, excuse))
    }

    /// Opens a document that is too large to keep, in the very version that `entry` describes.
    ///
    /// # Errors
    /// [`StoreError::Changed`] where storage holds another version by now; the entry is then forgotten.
    pub async fn stream(
        self: &Arc<Self>,
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
            self.found_changed(&entry.site);
        }
        opened
    }

    /// How old what `entry` says is: the time since storage last confirmed it.
    pub fn age(&self, entry: &Entry) -> Duration {
        self.clock.now().since(entry.confirmed_at)
    }

    fn freshness(&self, entry: &Entry, now: Timestamp) -> Freshness {
        Freshness::of(entry, Standing::of(entry, &self.hearing), now, &self.options)
    }
}
