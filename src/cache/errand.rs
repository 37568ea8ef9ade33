//! What a flight does for all who wait for it: Redis, then storage, then both tiers.

use std::sync::Arc;

use super::entry::{Failure, Provenance};
use super::flight::Rumour;
use super::freshness::{Excuse, Freshness};
use super::site::{Site, Version};
use super::{DocCache, Entry, Landed, Landing};
use crate::chain::chain;
use crate::docs::StorageKey;
use crate::http::cache_status::CacheOutcome;
use crate::storage::{StoreError, Whole};

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
        // Another flight may have landed between the request's look and this take-off.
        if errand != Errand::Check
            && let Some(found) = self.memory.get(&key).and_then(|entry| self.judged_fresh(entry, self.clock.now()))
        {
            return Ok(Landed { entry: found.entry, outcome: found.outcome });
        }
        self.ask_storage(key, errand, &site, &rumour).await
    }

    /// The site of `key`, with what others know of it.
    async fn site_of(&self, key: &StorageKey) -> Arc<Site> {
        let site = self.sites.of(key);
        site.introduced
            .get_or_init(async || {
                site.begin_generation(self.clock.now());
            })
            .await;
        site
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
            Errand::Behind | Errand::Check => self.storage.fetch(&key, known, largest).await,
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
            _ => return site.check_failed(),
        };
        self.learn(site, version, from.confirmed_at);
        from.generation = site.generation();
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
        if entry.is_present() {
            entry.site.is_published(self.clock.now());
        }
        if is_changed && !key.is_metadata() {
            self.found_changed(&entry.site);
        }
        Ok(Landed { entry, outcome })
    }

    /// What becomes of an entry that storage failed to confirm. The failure is kept with it either way: later readers go
    /// by the last one.
    fn excused_by(&self, key: StorageKey, held: &Entry, error: StoreError) -> Landing {
        let is_refusal = matches!(error, StoreError::Denied(_));
        let now = self.clock.now();
        let entry = Arc::new(held.unconfirmed(Failure { at: now, is_refusal }));
        self.memory.put(key.clone(), Arc::clone(&entry));
        match self.freshness(&entry, now) {
            Freshness::Expired { over, excuse } if excuse != Excuse::None => {
                let over = over.as_secs();
                tracing::warn!(%key, error = chain(&error), over, "storage failed: an old copy is served");
                Ok(Landed { entry, outcome: CacheOutcome::Stale })
            }
            _ => Err(error),
        }
    }
}
