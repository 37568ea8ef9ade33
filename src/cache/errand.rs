//! What a flight does for all who wait for it: Redis, then storage, then both tiers.

use std::sync::Arc;
use std::time::Duration;

use super::entry::{Failure, Provenance};
use super::flight::Rumour;
use super::freshness::{Excuse, Freshness};
use super::hearing::Epoch;
use super::shared::{Confirmation, Lease, LeaseGuard, Loaded, Record, Shared, Waited};
use super::site::{Site, Version};
use super::{Content, DocCache, Entry, Landed, Landing};
use crate::chain::chain;
use crate::docs::StorageKey;
use crate::http::cache_status::CacheOutcome;
use crate::storage::{StoreError, Whole};
use crate::telemetry::SiteLook;

/// How long a replica that fetches a document for the first time keeps the others from doing the same, unless it is done
/// before; then it has probably died.
const LEASE: Duration = Duration::from_secs(5);

/// How long the others wait for it: longer than even a slow store takes, shorter than readers wait.
const PATIENCE_WITH_LEASE: Duration = Duration::from_secs(4);

/// Whom a flight is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Errand {
    /// A reader waits for it.
    Reader,
    /// Readers are served what is held meanwhile: it may wait, and takes no place from those who can't.
    Behind,
    /// To hear from storage itself how things are, whatever the tiers hold.
    Check,
}

impl DocCache {
    /// One fetch for all who wait.
    pub(super) async fn run(self: Arc<Self>, key: StorageKey, errand: Errand, rumour: Rumour) -> Landing {
        let site = self.site_of(&key).await;
        if errand == Errand::Check {
            return self.ask_storage(key, errand, &site, &rumour).await;
        }
        let landing = self.ask_tiers(key, errand, &site, &rumour).await;
        // Somebody reads it: if there is something in it, it is looked at from now on.
        self.is_watched(&site, self.clock.now());
        landing
    }

    async fn ask_tiers(
        self: &Arc<Self>,
        key: StorageKey,
        errand: Errand,
        site: &Arc<Site>,
        rumour: &Rumour,
    ) -> Landing {
        // Another flight may have landed between the request's look and this take-off.
        let held = self.memory.get(&key);
        if let Some(found) = held.clone().and_then(|entry| self.judged_fresh(entry, self.clock.now())) {
            return Ok(Landed { entry: found.entry, outcome: found.outcome });
        }
        let mut lease = None;
        if let Some(shared) = &self.shared {
            if let Some(landed) = self.ask_redis(shared, &key, held.as_ref(), site, rumour).await {
                return Ok(landed);
            }
            if held.is_none() && errand == Errand::Reader {
                match self.ask_for_lease(shared, &key, site, rumour).await {
                    Ok(ours) => lease = ours,
                    Err(landed) => return Ok(landed),
                }
            }
        }
        let landing = self.ask_storage(key, errand, site, rumour).await;
        // Not before what was fetched is on its way to Redis.
        drop(lease);
        landing
    }

    /// The site of `key`, with what others know of it.
    pub(super) async fn site_of(&self, key: &StorageKey) -> Arc<Site> {
        let site = self.sites.of(key);
        site.introduced.get_or_init(async || self.introduce(&site).await).await;
        site
    }

    /// What Redis has of a document, where that will do. What will not do is held all the same: storage may only have to
    /// confirm it.
    async fn ask_redis(
        &self,
        shared: &Shared,
        key: &StorageKey,
        held: Option<&Arc<Entry>>,
        site: &Arc<Site>,
        rumour: &Rumour,
    ) -> Option<Landed> {
        let epoch = self.hearing.epoch();
        let body_held = held.filter(|entry| matches!(entry.content, Content::Body(_))).map(|entry| &entry.meta);
        let loaded = shared.load(key, body_held).await;
        self.promote(key, held, loaded, (site, epoch), rumour)
    }

    fn promote(
        &self,
        key: &StorageKey,
        held: Option<&Arc<Entry>>,
        loaded: Loaded,
        (site, heard_since): (&Arc<Site>, Epoch),
        rumour: &Rumour,
    ) -> Option<Landed> {
        let from = |Confirmation { at, generation }| Provenance {
            confirmed_at: at,
            site: Arc::clone(site),
            generation,
            heard_since,
        };
        let entry = match (loaded, held) {
            (Loaded::Document(Record { meta, body, confirmation }), _) => {
                Entry::document(key, meta, body, from(confirmation))
            }
            // What is doubted by name here has to be confirmed by storage.
            (Loaded::Same(_), Some(held)) if held.heard_since == Epoch::NEVER => return None,
            (Loaded::Same(confirmation), Some(held)) => held.confirmed(from(confirmation)),
            (Loaded::Same(_), None) | (Loaded::Nothing | Loaded::Unavailable, _) => return None,
        };
        if let Some(generation) = self.believable(entry.generation.number()) {
            site.raise(generation);
        }
        let entry = Arc::new(if rumour.is_of_another_than(entry.version()) { entry.doubted() } else { entry });
        let now = self.clock.now();
        let freshness = self.freshness(&entry, now);
        let outcome = match freshness {
            Freshness::Fresh(_) => Some(CacheOutcome::Redis),
            Freshness::Expired { excuse: Excuse::WhileRevalidating, .. } if held.is_none() => {
                Some(CacheOutcome::Updating)
            }
            Freshness::Expired { .. } => None,
        };
        if outcome.is_some() || held.is_none_or(|held| held.confirmed_at < entry.confirmed_at) {
            self.memory.put(key.clone(), Arc::clone(&entry));
            site.is_published(now);
        }
        outcome.map(|outcome| Landed { entry, outcome })
    }

    /// Waits, for a while, for another replica that fetches the same document; else the lease to fetch it, as far as Redis
    /// gives one.
    async fn ask_for_lease(
        &self,
        shared: &Arc<Shared>,
        key: &StorageKey,
        site: &Arc<Site>,
        rumour: &Rumour,
    ) -> Result<Option<LeaseGuard>, Landed> {
        let epoch = self.hearing.epoch();
        match shared.lease(key, LEASE).await {
            Lease::Mine(lease) => {
                // Whoever had it before may have come back between our look and our asking.
                let loaded = shared.load(key, None).await;
                self.promote(key, None, loaded, (site, epoch), rumour).map_or(Ok(Some(lease)), Err)
            }
            Lease::Unavailable => Ok(None),
            Lease::Others => {
                let is_wanted = |found: Confirmation| found.generation >= site.generation();
                match shared.wait(key, None, is_wanted, PATIENCE_WITH_LEASE).await {
                    Waited::Loaded(loaded) => {
                        self.promote(key, None, loaded, (site, epoch), rumour).map_or(Ok(None), Err)
                    }
                    Waited::Free | Waited::TimedOut | Waited::Unavailable => Ok(None),
                }
            }
        }
    }

    async fn ask_storage(
        self: &Arc<Self>,
        key: StorageKey,
        errand: Errand,
        site: &Arc<Site>,
        rumour: &Rumour,
    ) -> Landing {
        let held = self.memory.get(&key);
        let known = held.as_ref().and_then(|entry| entry.meta.etag.as_ref());
        // What storage says is true of no later time than this.
        let mut from = Provenance {
            confirmed_at: self.clock.now(),
            site: Arc::clone(site),
            generation: site.generation(),
            heard_since: self.hearing.epoch(),
        };
        let largest = self.options.max_object_bytes;
        let fetched = match errand {
            Errand::Reader => self.storage.fetch(&key, known, largest).await,
            Errand::Behind | Errand::Check => self.storage.fetch_behind(&key, known, largest).await,
        };
        if key.is_metadata() {
            self.hear_of_metadata(site, &fetched, held.as_deref(), &mut from);
        }
        let was_present = held.as_ref().is_some_and(|entry| entry.is_present());
        let (entry, outcome) = match (fetched, &held) {
            (Ok(Whole::Body(meta, body)), _) => {
                let outcome = if held.is_some() { CacheOutcome::Expired } else { CacheOutcome::Miss };
                (Entry::document(&key, meta, body, from), outcome)
            }
            (Ok(Whole::TooLarge(meta)), _) => (Entry::large(&key, meta, from), CacheOutcome::Pass),
            (Ok(Whole::NotModified), Some(held)) => (held.confirmed(from), CacheOutcome::Revalidated),
            // 304 to a request without a condition: the store is not to be believed.
            (Ok(Whole::NotModified), None) => return Err(StoreError::Changed),
            (Err(StoreError::Absent), _) => {
                let outcome = if was_present { CacheOutcome::Gone } else { CacheOutcome::Miss };
                (Entry::absent(from), outcome)
            }
            // The same.
            (Err(StoreError::Busy), Some(held)) if errand == Errand::Behind => {
                return Ok(Landed { entry: Arc::clone(held), outcome: CacheOutcome::Updating });
            }
            (Err(error @ StoreError::Busy), _) => return Err(error),
            (Err(error), Some(held)) => return self.excused_by(key, held, error),
            (Err(error), None) => return Err(error),
        };
        self.keep(key, entry, outcome, held.as_deref(), rumour)
    }

    /// Takes in what storage says of a site's metadata, before the entry is made: it belongs to the generation that it
    /// begins.
    fn hear_of_metadata(
        self: &Arc<Self>,
        site: &Arc<Site>,
        fetched: &Result<Whole, StoreError>,
        held: Option<&Entry>,
        from: &mut Provenance,
    ) {
        let version = match (fetched, held) {
            (Ok(Whole::Body(meta, _) | Whole::TooLarge(meta)), _) => Version::Present(meta.clone()),
            (Ok(Whole::NotModified), Some(held)) => Version::Present(held.meta.clone()),
            (Err(StoreError::Absent), _) => Version::Absent,
            // It has given way to readers, and tells nothing of storage.
            (Err(StoreError::Busy), _) => return,
            _ => {
                self.instruments.sites.looked(SiteLook::Failed);
                return site.check_failed();
            }
        };
        // One that began while storage was asked may be a purge, which wants it asked again.
        let is_newest = from.generation == site.generation();
        self.learn(site, version, from.confirmed_at);
        if is_newest {
            from.generation = site.generation();
        }
    }

    /// Fills the tiers with what storage said, and tells whom it concerns.
    fn keep(
        self: &Arc<Self>,
        key: StorageKey,
        entry: Entry,
        outcome: CacheOutcome,
        held: Option<&Entry>,
        rumour: &Rumour,
    ) -> Landing {
        let is_changed = held.is_some_and(|held| held.version() != entry.version());
        // Somebody found another version while this one was on its way: it may be the older one.
        let is_doubtful = rumour.is_of_another_than(entry.version());
        let entry = Arc::new(if is_doubtful { entry.doubted() } else { entry });
        self.memory.put(key.clone(), Arc::clone(&entry));
        if let Some(shared) = &self.shared
            && !is_doubtful
        {
            self.share(shared, &key, &entry, outcome);
        }
        if entry.is_present() {
            entry.site.is_published(self.clock.now());
        }
        if is_changed && !key.is_metadata() {
            self.found_changed(&entry.site);
        }
        Ok(Landed { entry, outcome })
    }

    /// Has Redis, and whoever listens, know what storage said.
    fn share(&self, shared: &Shared, key: &StorageKey, entry: &Entry, outcome: CacheOutcome) {
        let confirmation = Confirmation { at: entry.confirmed_at, generation: entry.generation };
        let news = || Some(self.news_of_document(shared, key, entry.version()));
        match (&entry.content, outcome) {
            (Content::Body(body), CacheOutcome::Revalidated) => {
                shared.renew(key, entry.meta.clone(), Some(body.clone()), confirmation);
            }
            (Content::Body(body), _) => shared.store(key, entry.meta.clone(), body.clone(), confirmation, news()),
            (Content::Large, CacheOutcome::Revalidated) => {}
            (Content::Large, _) | (Content::Absent, CacheOutcome::Gone) => shared.remove(key, news()),
            (Content::Absent, _) => {}
        }
    }

    /// What becomes of an entry that storage failed to confirm. The failure is kept with it either way: later readers go
    /// by the last one.
    fn excused_by(&self, key: StorageKey, held: &Entry, error: StoreError) -> Landing {
        let is_refusal = matches!(error, StoreError::Denied(_));
        let now = self.clock.now();
        let (generation, heard_since) = (held.site.generation(), self.hearing.epoch());
        let failure = Failure { at: now, is_refusal, generation, heard_since };
        let entry = Arc::new(held.unconfirmed(failure));
        self.memory.put(key.clone(), Arc::clone(&entry));
        match self.freshness(&entry, now) {
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
}
