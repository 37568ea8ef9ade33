//! What a flight does for all who wait for it: Redis, then storage, then both tiers.

use std::sync::Arc;

use super::entry::{Failure, Provenance};
use super::flight::{Aloft, Wanted};
use super::freshness::{Excuse, Freshness};
use super::promote::Promoted;
use super::rumour::Rumour;
use super::shared::{Confirmation, Loaded, Shared};
use super::site::{Learned, Site, Version};
use super::{Content, DocCache, Entry, Landed, Landing};
use crate::chain::chain;
use crate::docs::StorageKey;
use crate::http::cache_status::CacheOutcome;
use crate::storage::{self, Fill, StoreError, Whole};
use crate::telemetry::SiteLook;

/// Whom a flight is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Errand {
    /// A reader waits for it.
    Reader,
    /// The same, who wants no more than parts of it: of what is too large to keep, nothing else is to be fetched.
    ReaderOfParts,
    /// Readers are served what is held meanwhile: it may wait, and takes no place from those who can't.
    Behind,
    /// Nobody has asked for it yet: it waits for everyone, unless a reader comes to wait for it.
    Leisure,
    /// To hear from storage itself how things are, whatever the tiers hold.
    Check,
}

impl Errand {
    /// Whether somebody waits who is served nothing meanwhile.
    pub(super) const fn is_for_reader(self) -> bool {
        matches!(self, Self::Reader | Self::ReaderOfParts)
    }
}

impl DocCache {
    /// One fetch for all who wait.
    pub(super) async fn run(self: Arc<Self>, key: StorageKey, errand: Errand, aloft: Aloft<Landing>) -> Landing {
        let site = self.site_of(&key).await;
        if errand == Errand::Check {
            return self.ask_storage(key, errand, None, &site, &aloft).await;
        }
        let landing = self.ask_tiers(key, errand, &site, &aloft).await;
        if errand != Errand::Leisure {
            // Somebody reads it: if there is something in it, it is looked at from now on.
            self.note_reader(&site, self.clock.now());
        }
        landing
    }

    async fn ask_tiers(
        self: &Arc<Self>,
        key: StorageKey,
        errand: Errand,
        site: &Arc<Site>,
        aloft: &Aloft<Landing>,
    ) -> Landing {
        let rumour = &aloft.rumour;
        // Another flight may have landed between the request's look and this take-off.
        let held = self.memory.get(&key);
        if let Some(found) = held.clone().and_then(|entry| self.judged_fresh(entry, self.clock.now())) {
            return Ok(Landed { entry: found.entry, outcome: found.outcome });
        }
        let (mut lease, mut known) = (None, held.clone());
        if let Some(shared) = &self.shared {
            let loaded = self.ask_redis(shared, &key, held.as_ref()).await;
            let is_answer = loaded != Loaded::Unavailable;
            match self.promote(&key, held.as_ref(), loaded, site, rumour).await {
                Promoted::Fit(landed) => return Ok(landed),
                Promoted::Unfit(entry) => known = Some(entry),
                Promoted::Nothing => {}
            }
            if held.is_none() && is_answer && errand.is_for_reader() {
                let (ours, promoted) = self.ask_for_lease(shared, &key, site, rumour).await;
                lease = ours;
                match promoted {
                    Promoted::Fit(landed) => return Ok(landed),
                    Promoted::Unfit(entry) => known = Some(entry),
                    Promoted::Nothing => {}
                }
            }
        }
        let landing = self.ask_storage(key, errand, known, site, aloft).await;
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

    /// Asks storage, which may only have to confirm what is `known`.
    async fn ask_storage(
        self: &Arc<Self>,
        key: StorageKey,
        errand: Errand,
        known: Option<Arc<Entry>>,
        site: &Arc<Site>,
        aloft: &Aloft<Landing>,
    ) -> Landing {
        // Memory may be too full to hold for long what has been found in Redis just now.
        let held = self.memory.get(&key).or(known);
        // What storage says is true of no later time than this.
        let from = Provenance {
            confirmed_at: self.clock.now(),
            site: Arc::clone(site),
            generation: site.generation(),
            heard_since: self.hearing.epoch(),
        };
        let is_held = held.as_ref().is_some_and(|entry| entry.is_present());
        if !errand.is_for_reader() || is_held || key.is_metadata() {
            let fetched = self.fetch_unseen(&key, errand, held.as_deref(), &from, &aloft.wanted).await;
            return self.take_in(key, errand, fetched, held, from, &aloft.rumour);
        }
        let fill = self.fill(&key, held.is_some(), &from, aloft);
        let fetched = self.fetch_along(&key, errand, &from, &fill).await;
        let landing = self.take_in(key.clone(), errand, fetched, held, from, &aloft.rumour);
        if fill.has_begun() {
            // Who has been told of the end finds the tiers filled, or else nobody to join.
            aloft.leave();
            fill.end(landing.as_ref().map_or_else(
                |error| Err(error.clone()),
                |landed| landed.entry.identity().map(Arc::clone).ok_or(StoreError::Corrupt),
            ));
            if let Some(coding) = aloft.told().and_then(|ahead| ahead.ok()?.entry.wanted_later()) {
                self.ask_for_variant(&key, coding);
            }
        }
        landing
    }

    /// Fetches what nobody sees anything of before it is there, and may stay away.
    async fn fetch_unseen(
        &self,
        key: &StorageKey,
        errand: Errand,
        held: Option<&Entry>,
        from: &Provenance,
        wanted: &Wanted,
    ) -> Result<Whole, StoreError> {
        let known = held.and_then(|entry| entry.meta.etag.as_ref());
        let largest = self.options.max_object_bytes;
        let file = storage::Wanted { key, generation: from.generation.number() };
        match errand {
            Errand::Reader | Errand::ReaderOfParts => self.storage.fetch(file, known, largest).await,
            Errand::Behind => self.storage.fetch_behind(file, known, largest).await,
            Errand::Check => match self.storage.fetch_behind(file, known, largest).await {
                // Readers who keep storage busy are no reason to show them old pages for ever.
                Err(StoreError::Busy) if from.site.is_overdue(self.clock.now(), self.options.publish_check) => {
                    self.storage.fetch(file, known, largest).await
                }
                fetched => fetched,
            },
            Errand::Leisure => self.storage.fetch_at_leisure(file, known, largest, || wanted.by_reader()).await,
        }
    }

    /// Fetches what readers wait for who have nothing else, and who read along where that pays.
    async fn fetch_along(
        &self,
        key: &StorageKey,
        errand: Errand,
        from: &Provenance,
        fill: &Fill,
    ) -> Result<Whole, StoreError> {
        let largest = self.options.max_object_bytes;
        let file = storage::Wanted { key, generation: from.generation.number() };
        if errand == Errand::ReaderOfParts {
            // Only its size tells whether all of it is worth fetching.
            let meta = self.storage.stat(file).await?;
            if meta.size > largest {
                return Ok(Whole::TooLarge(meta, None));
            }
        }
        self.storage.fetch_along(file, largest, fill).await
    }

    /// Where a document is put piece by piece; all who wait are told once there is something to read.
    fn fill(&self, key: &StorageKey, was_held: bool, from: &Provenance, aloft: &Aloft<Landing>) -> Fill {
        let (key, from, herald) = (key.clone(), from.clone(), aloft.herald());
        Fill::new(move |meta, filling| {
            let entry = Arc::new(Entry::filling(&key, meta, filling, from.clone()));
            herald(Ok(Landed { entry, outcome: fetched_anew(was_held) }));
        })
    }

    /// Makes an entry of what storage said, or of what it failed to say, and fills the tiers.
    fn take_in(
        self: &Arc<Self>,
        key: StorageKey,
        errand: Errand,
        fetched: Result<Whole, StoreError>,
        held: Option<Arc<Entry>>,
        mut from: Provenance,
        rumour: &Rumour,
    ) -> Landing {
        if key.is_metadata() {
            self.hear_of_metadata(&fetched, held.as_deref(), &mut from);
        }
        let was_present = held.as_ref().is_some_and(|entry| entry.is_present());
        let mut body = None;
        let (entry, outcome) = match (fetched, &held) {
            (Ok(Whole::Body(meta, body)), _) => {
                let outcome = fetched_anew(held.is_some());
                (Entry::document(&key, meta, body, from).inheriting(held.as_deref()), outcome)
            }
            (Ok(Whole::TooLarge(meta, opened)), _) => {
                body = opened;
                (Entry::large(&key, meta, from), CacheOutcome::Pass)
            }
            (Ok(Whole::NotModified), Some(held)) => (held.confirmed(from), CacheOutcome::Revalidated),
            // 304 to a request without a condition: the store is not to be believed.
            (Ok(Whole::NotModified), None) => return Err(StoreError::Changed),
            (Err(StoreError::Absent), _) => {
                let outcome = if was_present { CacheOutcome::Gone } else { CacheOutcome::Miss };
                (Entry::absent(from), outcome)
            }
            // It has given way to readers; whoever waits for it after all tries again.
            (Err(StoreError::Busy), _) if !errand.is_for_reader() => return Err(StoreError::Busy),
            // Too many ask storage for other things; that does not say that it fails.
            (Err(error @ StoreError::Busy), Some(held)) => return self.excusing(held, error),
            (Err(error), Some(held)) => return self.excused_by(key, held, error),
            (Err(error), None) => return Err(error),
        };
        let entry = self.keep(key, entry, outcome, held.as_deref(), rumour);
        let entry = if let Some(body) = body { Arc::new(entry.with_opened(body)) } else { entry };
        Ok(Landed { entry, outcome })
    }

    /// Takes in what storage says of a site's metadata, before the entry is made: it belongs to the generation that it
    /// begins.
    fn hear_of_metadata(
        self: &Arc<Self>,
        fetched: &Result<Whole, StoreError>,
        held: Option<&Entry>,
        from: &mut Provenance,
    ) {
        let site = &from.site;
        let version = match (fetched, held) {
            (Ok(Whole::Body(meta, _) | Whole::TooLarge(meta, _)), _) => Version::Present(meta.clone()),
            (Ok(Whole::NotModified), Some(held)) => Version::Present(held.meta.clone()),
            (Err(StoreError::Absent), _) => Version::Absent,
            // It has given way to readers, and tells nothing of storage.
            (Err(StoreError::Busy), _) => return,
            _ => {
                self.instruments.sites.looked(SiteLook::Failed);
                return site.check_failed(self.clock.now());
            }
        };
        // One that began while storage was asked may be a purge, which wants it asked again.
        let is_newest = from.generation == site.generation();
        if let Learned::Changed(generation) = self.learn(site, version, from.confirmed_at)
            && is_newest
        {
            from.generation = generation;
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
    ) -> Arc<Entry> {
        let is_changed = held.is_some_and(|held| !held.is_version(entry.version()));
        let mut entry = Arc::new(entry);
        self.memory.put(key.clone(), Arc::clone(&entry));
        // Asked once it is held, so that what is said later finds it. Somebody found another version while this one was
        // on its way: it may be the older one.
        if rumour.is_of_another_than(entry.version()) {
            entry = Arc::new(entry.doubted());
            self.memory.put(key.clone(), Arc::clone(&entry));
        } else if let Some(shared) = &self.shared {
            self.share(shared, &key, &entry, outcome);
        }
        if entry.is_present() {
            entry.site.is_published(self.clock.now());
            self.visited(&entry.site);
        }
        if is_changed && !key.is_metadata() {
            self.found_changed(&entry.site);
        }
        entry
    }

    /// Has Redis, and whoever listens, know what storage said.
    fn share(&self, shared: &Shared, key: &StorageKey, entry: &Entry, outcome: CacheOutcome) {
        let confirmation = Confirmation { at: entry.confirmed_at, generation: entry.generation };
        let news = || Some(self.news_of_document(shared, key, entry.version()));
        match (entry.content(), outcome) {
            (Content::Body(body), CacheOutcome::Revalidated) => {
                shared.renew(key, entry.meta.clone(), Some(Content::shared(body)), confirmation);
            }
            (Content::Body(body), _) => {
                shared.store(key, entry.meta.clone(), Content::shared(body), confirmation, news())
            }
            // There is none such among those that are kept.
            (Content::Filling(_), _) | (Content::Large, CacheOutcome::Revalidated) => {}
            (Content::Large | Content::Absent, _) => shared.remove(key, news()),
        }
    }

    /// What becomes of an entry that storage failed to confirm. The failure is kept with it either way: later readers go
    /// by the last one.
    fn excused_by(&self, key: StorageKey, held: &Arc<Entry>, error: StoreError) -> Landing {
        let failure = Failure {
            at: self.clock.now(),
            is_refusal: matches!(error, StoreError::Denied(_)) && !self.storage.refuses_everything(&key),
            generation: held.site.generation(),
            heard_since: self.hearing.epoch(),
        };
        // Of the entry as it is now: something may have been said of it meanwhile.
        self.memory.replace(key.clone(), |now_held| Some(now_held.unconfirmed(failure)));
        let entry = self.memory.get(&key).unwrap_or_else(|| Arc::new(held.unconfirmed(failure)));
        // That it rests has been told, once for all pages.
        let is_news = !matches!(error, StoreError::Resting { .. });
        let why = is_news.then(|| chain(&error).to_string());
        let landing = self.excusing(&entry, error);
        if let (Ok(_), Some(error)) = (&landing, why) {
            let age = self.clock.now().since(entry.confirmed_at).as_secs();
            tracing::warn!(%key, error, age, "storage failed: an old copy is served");
        }
        landing
    }

    /// The entry, where the rules excuse that storage has not confirmed it; else why it has not.
    fn excusing(&self, entry: &Arc<Entry>, error: StoreError) -> Landing {
        match self.freshness(entry, self.clock.now()) {
            Freshness::Expired { excuse: Excuse::None, .. } => Err(error),
            _ => Ok(Landed { entry: Arc::clone(entry), outcome: CacheOutcome::Stale }),
        }
    }
}

/// What the cache did for a document whose body storage has sent.
const fn fetched_anew(was_held: bool) -> CacheOutcome {
    if was_held { CacheOutcome::Expired } else { CacheOutcome::Miss }
}
