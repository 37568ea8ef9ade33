//! Looking at the sites in use: when the metadata of one has changed, it was published anew.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout, timeout_at};

use super::errand::Errand;
use super::site::{Learned, Site, Version};
use super::{DocCache, PATIENCE_WITH_COPY};
use crate::clock::Timestamp;
use crate::telemetry::{NewGeneration, SiteLook};

/// Sites that are looked at at a time.
pub(super) const LOOKS: usize = 32;

/// How long one replica has the turn to look at a site: longer than a look takes, unless it has died.
const TURN: Duration = Duration::from_secs(2);

/// How often it is looked whether there is a site to look at, at least.
const LONGEST_TICK: Duration = Duration::from_secs(1);

/// How often it is looked whether there is a site to look at, at most.
const SHORTEST_TICK: Duration = Duration::from_millis(50);

impl DocCache {
    /// Looks at the sites in use for as long as it runs, and forgets those that nobody uses.
    pub async fn keep_watch(self: Arc<Self>) {
        let publish_check = self.options.publish_check;
        let tick = if publish_check.is_zero() { LONGEST_TICK } else { publish_check / 4 };
        let tick = tick.clamp(SHORTEST_TICK, LONGEST_TICK);
        loop {
            tokio::time::sleep(tick).await;
            self.sites.sweep();
            self.make_up_for_silence().await;
            if !publish_check.is_zero() {
                self.look_at_all_due(Instant::now() + tick).await;
            }
        }
    }

    /// Looks at all sites in use that are due, as places come free; which ones find none by `until` are still due then.
    async fn look_at_all_due(self: &Arc<Self>, until: Instant) {
        let now = self.clock.now();
        let is_wanted = |site: &Arc<Site>| site.is_in_use(now, self.options.publish_check) && site.is_due(now);
        let mut due: Vec<_> = self.sites.all().into_iter().filter(is_wanted).collect();
        // With more than can be looked at in time, none is left out for ever.
        due.sort_by_cached_key(|site| site.checked_at());
        for site in due {
            let place = timeout_at(until, Arc::clone(&self.looks).acquire_owned()).await;
            let Ok(Ok(place)) = place else { return };
            if site.claim(self.clock.now()) {
                tokio::spawn(Arc::clone(self).check(site, place));
            }
        }
    }

    /// Notes that a site is read, and has it looked at where that is due.
    pub(super) fn note_reader(self: &Arc<Self>, site: &Arc<Site>, now: Timestamp) {
        if !self.options.publish_check.is_zero() {
            site.used(now);
            self.look(site, now);
        }
    }

    /// Looks at a site behind everyone's back, where that is due and nobody else does.
    pub(super) fn look(self: &Arc<Self>, site: &Arc<Site>, now: Timestamp) {
        if self.options.publish_check.is_zero() || !site.is_due(now) {
            return;
        }
        // With too many at a time this one is still due at the next tick.
        if let Ok(place) = Arc::clone(&self.looks).try_acquire_owned()
            && site.claim(now)
        {
            tokio::spawn(Arc::clone(self).check(Arc::clone(site), place));
        }
    }

    async fn check(self: Arc<Self>, site: Arc<Site>, _place: OwnedSemaphorePermit) {
        let look = async {
            if site.was_hurried() || !self.others_look(&site).await {
                self.ask_for_metadata(&site).await;
            }
        };
        let mut look = pin!(look);
        if timeout(PATIENCE_WITH_COPY, look.as_mut()).await.is_err() {
            // While storage is this slow readers had better not wait for it: they would not for as long as it takes.
            site.check_failed(self.clock.now());
            look.await;
        }
    }

    /// Looks at a site for a reader who waits for it, for a while.
    pub(super) async fn look_now(self: &Arc<Self>, site: &Arc<Site>) {
        let look = async {
            if !self.others_look(site).await || site.is_unwatched(self.clock.now(), self.options.publish_check) {
                self.ask_for_metadata(site).await;
            }
        };
        if timeout(PATIENCE_WITH_COPY, look).await.is_err() {
            // While storage takes longer, what is held is as good as it was, and nobody else need wait to find that out.
            site.check_failed(self.clock.now());
        }
    }

    /// Whether another replica has looked at a site lately, or does now: one looks for all, as long as all hear of what it
    /// finds.
    async fn others_look(&self, site: &Site) -> bool {
        let Some(shared) = self.shared.as_ref().filter(|_| !self.hearing.is_lost()) else { return false };
        let now = self.clock.now();
        if let Some(looked_at) = self.looked_at_elsewhere(shared, site).await {
            let looked_at = looked_at.min(now);
            let due_at = looked_at.plus(self.options.publish_check);
            if due_at > now {
                self.instruments.sites.looked(SiteLook::Elsewhere);
                site.checked(looked_at, due_at);
                return true;
            }
        }
        !shared.take_turn(site.name(), self.id, TURN).await
    }

    async fn ask_for_metadata(self: &Arc<Self>, site: &Arc<Site>) {
        let now = self.clock.now();
        for _ in 0..2 {
            let mut flight = self.take_off(&site.metadata, Errand::Check);
            let is_ours = flight.is_leader;
            flight.land().await;
            if is_ours || site.checked_at() >= now {
                return;
            }
            // The flight was somebody's who was content with what a tier holds.
        }
    }

    /// Takes in what storage said at `asked_at` of a site's metadata.
    pub(super) fn learn(self: &Arc<Self>, site: &Arc<Site>, version: Version, asked_at: Timestamp) -> Learned {
        site.checked(asked_at, asked_at.plus(self.options.publish_check));
        let learned = site.learn(version, self.clock.now(), &self.options);
        self.instruments.sites.looked(match learned {
            Learned::First => SiteLook::First,
            Learned::Same => SiteLook::Same,
            Learned::Changed(_) => SiteLook::Changed,
        });
        if let Learned::Changed(generation) = learned {
            self.instruments.sites.new_generation(NewGeneration::Publish, 1);
            tracing::info!(site = site.name(), generation = generation.number(), "a site was published");
        }
        match (&self.shared, learned) {
            (Some(shared), Learned::Changed(_)) => self.tell_of_site(shared, site),
            (Some(shared), Learned::First | Learned::Same) => self.keep_record_of(shared, site),
            (None, _) => {}
        }
        learned
    }

    /// Something in a site is no longer what it was: it may be in the middle of a publish, and is looked at at once.
    pub(super) fn found_changed(self: &Arc<Self>, site: &Arc<Site>) {
        let now = self.clock.now();
        site.settle(now, self.options.settle_for);
        site.hurry(now);
        self.look(site, now);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use async_trait::async_trait;
    use bytes::Bytes;
    use futures_util::{StreamExt, stream};

    use super::*;
    use crate::cache::Options;
    use crate::clock::{Clock, Hand};
    use crate::docs::{Locator, ObjectName, Options as DocsOptions};
    use crate::http::cache_status::CacheOutcome;
    use crate::http::etag::ETag;
    use crate::storage::{DocStore, GetOptions, Object, ObjectMeta, OriginOptions, Origins, StoreError, StoreOptions};
    use crate::telemetry::Instruments;

    const RULES: Options = Options {
        memory_max_bytes: 1 << 20,
        max_object_bytes: 1 << 10,
        fresh_for: Duration::from_secs(300),
        stale_while_revalidate: Duration::from_secs(60),
        stale_if_error: Duration::from_secs(3600),
        not_found_for: Duration::from_secs(10),
        publish_check: Duration::from_secs(10),
        settle_for: Duration::ZERO,
        warm_on_first_visit: false,
        compression: false,
    };

    /// Any object.
    #[derive(Debug, Default)]
    struct Counting {
        /// How often a site's metadata was asked for.
        asked: AtomicUsize,
        /// Whether that takes ten seconds.
        is_slow: AtomicBool,
    }

    #[async_trait]
    impl DocStore for Counting {
        async fn stat(&self, _key: &ObjectName<'_>) -> Result<ObjectMeta, StoreError> {
            Err(StoreError::Absent)
        }

        async fn get(&self, key: &ObjectName<'_>, _options: &GetOptions) -> Result<Object, StoreError> {
            if key.as_str().ends_with("techdocs_metadata.json") {
                self.asked.fetch_add(1, Ordering::SeqCst);
                if self.is_slow.load(Ordering::SeqCst) {
                    tokio::time::sleep(PATIENCE_WITH_COPY * 10).await;
                }
            }
            let meta = ObjectMeta { size: 2, etag: ETag::from_store("v1"), last_modified: None };
            Ok(Object { meta, body: stream::iter([Ok(Bytes::from_static(b"{}"))]).boxed() })
        }

        async fn list(&self, _prefix: &str, _limit: usize) -> Result<Vec<String>, StoreError> {
            Ok(Vec::new())
        }

        async fn folders(&self, _parent: &str, _limit: usize) -> Result<Vec<String>, StoreError> {
            Ok(Vec::new())
        }
    }

    fn cache() -> (Arc<DocCache>, Arc<Counting>, Hand) {
        let hand = Hand::at(Timestamp::from_secs(1_000_000));
        let (clock, store) = (Clock::Manual(hand.clone()), Arc::new(Counting::default()));
        let instruments = Arc::new(Instruments::new().unwrap());
        let options = OriginOptions::new("docs", StoreOptions::Sample);
        let storage = Origins::only(store.clone(), &options, &instruments, clock.clone());
        (DocCache::new(Arc::new(storage), None, RULES, clock, instruments), store, hand)
    }

    #[tokio::test(start_paused = true)]
    async fn one_reader_waits_for_a_slow_look_and_none_who_comes_after() {
        let (cache, store, hand) = cache();
        let page = Locator::new(DocsOptions::default()).locate("/static/docs/default/component/shop/index.html");
        let page = page.unwrap().key;
        cache.fetch(&page).await.unwrap();
        // The look at a site that is new.
        tokio::time::sleep(LONGEST_TICK).await;
        store.is_slow.store(true, Ordering::SeqCst);
        // Nobody has looked at it for long, and the page is fresh all the same.
        hand.advance(RULES.publish_check * 8);
        assert!(cache.fresh(&page).is_none(), "the first reader had better wait");
        let start = tokio::time::Instant::now();
        let found = cache.fetch(&page).await.unwrap();
        assert_eq!((found.outcome, start.elapsed().as_secs()), (CacheOutcome::Hit, PATIENCE_WITH_COPY.as_secs()));
        for _ in 0..100 {
            assert!(cache.fresh(&page).is_some());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn more_sites_than_are_looked_at_at_a_time_are_all_looked_at_when_they_are_due() {
        const SITES: usize = 10 * LOOKS;
        let (cache, store, hand) = cache();
        let watch = tokio::spawn(Arc::clone(&cache).keep_watch());
        let locator = Locator::new(DocsOptions::default());
        for site in 0..SITES {
            let path = format!("/static/docs/default/component/site{site}/index.html");
            cache.fetch(&locator.locate(&path).unwrap().key).await.unwrap();
        }
        tokio::time::sleep(LONGEST_TICK * 2).await;
        let before = store.asked.load(Ordering::SeqCst);
        assert_eq!(before, SITES, "each was looked at when it was first read");
        hand.advance(RULES.publish_check);
        tokio::time::sleep(LONGEST_TICK * 2).await;
        assert_eq!(store.asked.load(Ordering::SeqCst), 2 * SITES);
        watch.abort();
    }
}
