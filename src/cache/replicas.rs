//! What one replica finds, the others hear.
//!
//! Three things are said: which version of a document storage has, told by whoever fetched it; which generation of a site
//! began; and which sites were purged together. A replica that hears of another version than it holds doubts what it
//! holds: the next reader has it confirmed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::DocCache;
use super::generation::Generation;
use super::message::{Message, Said, SiteRecord, Written, encoded};
use super::shared::{NoAnswer, Shared, Unsaid};
use super::site::{Site, Version};
use super::sites::{Floors, Sites};
use crate::clock::Timestamp;
use crate::docs::StorageKey;
use crate::redis::Heard;
use crate::storage::ObjectMeta;
use crate::telemetry::{BadValue, NewGeneration};

/// What messages are sealed for.
const MESSAGE: &str = "message";

/// Under which name purges of many sites are kept; no site has it.
const FLOORS: &str = "*";

/// Bytes of a message; longer ones are nobody's.
const LONGEST_MESSAGE: usize = 64 * 1024;

/// How long what is agreed on about a site lasts until something is found in it: whoever asks for sites that do not exist
/// must not fill Redis.
const UNTIL_FOUND: Duration = Duration::from_secs(60);

/// How long to wait before Redis is asked again what was missed, where it gave no answer.
const CATCH_UP_PAUSE: Duration = Duration::from_millis(500);

/// Sites about which Redis is asked at a time, once it is back.
const SITES_AT_A_TIME: usize = 32;

/// A generation that lies further ahead than any clock goes wrong was made up, and would never end.
const FURTHEST_AHEAD: Duration = Duration::from_secs(24 * 60 * 60);

impl DocCache {
    /// Listens to other replicas for as long as it runs; ends at once where there are none.
    pub async fn keep_hearing(self: Arc<Self>) {
        let Some(shared) = self.shared.clone() else { return };
        let mut heard = shared.listen();
        while let Some(heard) = heard.recv().await {
            match heard {
                Heard::Connected => {
                    let turn = self.turns.fetch_add(1, Ordering::AcqRel) + 1;
                    tokio::spawn(Arc::clone(&self).catch_up(Arc::clone(&shared), turn));
                }
                Heard::Lost => {
                    self.turns.fetch_add(1, Ordering::AcqRel);
                    self.hears(false);
                }
                Heard::Message(sealed) => self.hear(&shared, &sealed),
            }
        }
    }

    fn hears(&self, others: bool) {
        if self.hearing.turn(!others, self.clock.now()) {
            if others {
                tracing::info!("other replicas are heard");
            } else {
                tracing::warn!("other replicas are not heard: what is held is confirmed before it is served");
            }
        }
    }

    fn hear(self: &Arc<Self>, shared: &Shared, sealed: &[u8]) {
        let message = (sealed.len() <= LONGEST_MESSAGE).then(|| shared.seal().open(MESSAGE, sealed)).flatten();
        let Some(Message { from, said }) = message.and_then(|text| serde_json::from_slice(&text).ok()) else {
            self.instruments.shared_tier.bad_value(BadValue::Format);
            return tracing::debug!("a message that no replica of this version can have sent is ignored");
        };
        if from == self.id {
            return;
        }
        match said {
            Said::Document { key, version } => {
                self.hear_of_document(shared, &key, version.map(|written| written.read()));
            }
            Said::Site { name, record } => {
                if let Some(site) = self.sites.named(&name)
                    && self.take_over(&site, &record)
                {
                    self.instruments.sites.new_generation(NewGeneration::Told, 1);
                }
            }
            Said::Below { prefix, generation } => {
                if let Some(generation) = self.believable(generation) {
                    let raised = self.sites.raise_below(&prefix, generation);
                    self.instruments.sites.new_generation(NewGeneration::Told, raised.len());
                }
            }
        }
    }

    fn hear_of_document(self: &Arc<Self>, shared: &Shared, key: &str, version: Option<ObjectMeta>) {
        // Whoever is fetching it now is told before what is held is looked at: it lands in between at most.
        self.flights.spread(key, version.clone());
        let Some(held) = self.memory.get_by_text(key).filter(|held| !held.is_version(version.as_ref())) else { return };
        // Its site may be in the middle of a publish; whoever found it has it looked at.
        held.site.settle(self.clock.now(), self.options.settle_for);
        let file = key.strip_prefix(held.site.name()).and_then(|file| file.strip_prefix('/'));
        if let Some(key) = file.and_then(|file| held.site.metadata.sibling(file)) {
            if held.is_present() {
                shared.disown(&key, held.meta.clone());
            }
            self.memory.replace(key, |held| (!held.is_version(version.as_ref())).then(|| held.doubted()));
        }
    }

    /// Takes over what others know of a site; whether that was news.
    fn take_over(&self, site: &Site, record: &SiteRecord) -> bool {
        let Some(generation) = self.believable(record.generation) else { return false };
        let now = self.clock.now();
        if generation < site.generation() {
            return false;
        }
        let is_news = site.raise(generation);
        match record.version() {
            Version::Unknown => {}
            version if is_news || *site.version() == Version::Unknown => site.adopt(version),
            version if site.version().is_same(&version) => {}
            // Two looked at about the same time and saw different things: the next look tells.
            _ => site.hurry(now),
        }
        // A publish settles by this clock; a purge has nothing to settle.
        if is_news && record.settles_at > record.generation {
            site.settle(now, self.options.settle_for);
        }
        is_news
    }

    /// A generation that somebody else names, unless it can't be.
    pub(super) fn believable(&self, generation: u64) -> Option<Generation> {
        (generation <= self.clock.now().plus(FURTHEST_AHEAD).as_millis()).then(|| Generation::new(generation))
    }

    /// Takes over what was said while nothing was heard, and has Redis know what it missed; only then others count as
    /// heard, unless they have been lost again since.
    async fn catch_up(self: Arc<Self>, shared: Arc<Shared>, turn: u64) {
        while self.turns.load(Ordering::Acquire) == turn {
            if self.compare_all(&shared).await.is_ok() {
                if self.turns.load(Ordering::Acquire) == turn {
                    self.hears(true);
                }
                return;
            }
            tokio::time::sleep(CATCH_UP_PAUSE).await;
        }
    }

    async fn compare_all(&self, shared: &Arc<Shared>) -> Result<(), NoAnswer> {
        self.read_floors(shared).await?;
        let compared = stream::iter(self.sites.all()).map(|site| self.compare(shared, site));
        let results: Vec<_> = compared.buffer_unordered(SITES_AT_A_TIME).collect().await;
        results.into_iter().collect()
    }

    /// Takes over what purges of many sites have left behind.
    pub(super) async fn read_floors(&self, shared: &Shared) -> Result<(), NoAnswer> {
        let floors =
            shared.record(FLOORS).await?.and_then(|text| serde_json::from_slice::<Vec<(String, u64)>>(&text).ok());
        for (prefix, generation) in floors.into_iter().flatten().take(Sites::MOST_FLOORS) {
            if let Some(generation) = self.believable(generation) {
                self.sites.raise_below(&prefix, generation);
            }
        }
        Ok(())
    }

    async fn compare(&self, shared: &Shared, site: Arc<Site>) -> Result<(), NoAnswer> {
        let record =
            shared.record(site.name()).await?.and_then(|text| serde_json::from_slice::<SiteRecord>(&text).ok());
        let is_known = record.is_some_and(|record| {
            self.take_over(&site, &record);
            record.generation >= site.generation().number()
        });
        if !is_known {
            self.keep_record_of(shared, &site);
        }
        Ok(())
    }

    /// When another replica last looked at a site, after taking over what it found.
    pub(super) async fn looked_at_elsewhere(&self, shared: &Shared, site: &Site) -> Option<Timestamp> {
        let text = shared.record(site.name()).await.ok()??;
        let record: SiteRecord = serde_json::from_slice(&text).ok()?;
        if self.take_over(site, &record) {
            self.instruments.sites.new_generation(NewGeneration::Told, 1);
        }
        record.looked_at.map(Timestamp::from_millis)
    }

    /// Has other replicas hear of sites that Redis did not take something about: nobody knows any more what it was, so
    /// that all that is held of them must be confirmed.
    pub(super) async fn make_up_for_silence(self: &Arc<Self>) {
        let Some(shared) = &self.shared else { return };
        match shared.unsaid().await {
            None => {}
            Some(Unsaid::AboutAll) => {
                self.begin_below("");
            }
            Some(Unsaid::About(names)) => {
                for name in names {
                    match self.sites.named(&name) {
                        Some(site) => {
                            site.begin_generation(self.clock.now());
                            self.tell_of_site(shared, &site);
                        }
                        None => {
                            self.begin_below(&name);
                        }
                    }
                }
            }
        }
    }

    /// Finds out what others know of a site that is new here, and agrees with them on a generation.
    pub(super) async fn introduce(&self, site: &Site) {
        site.raise(self.sites.floor_of(site.name()));
        let own_time = self.clock.now();
        let own = Generation::new(own_time.as_millis());
        if let Some(shared) = &self.shared {
            let generation = own.max(site.generation()).number();
            let proposed = SiteRecord { generation, settles_at: 0, looked_at: None, version: None };
            let agreed = shared.agree(site.name(), &encoded(&proposed), UNTIL_FOUND).await;
            if let Some(record) = agreed.and_then(|text| serde_json::from_slice::<SiteRecord>(&text).ok())
                && self.believable(record.generation).is_some()
            {
                self.take_over(site, &record);
                let settles_at = Timestamp::from_millis(record.settles_at).min(own_time.plus(self.options.settle_for));
                site.settle(settles_at, Duration::ZERO);
                return;
            }
        }
        site.raise(own);
    }

    /// Has the others know which generation of a site this is.
    pub(super) fn tell_of_site(&self, shared: &Shared, site: &Site) {
        self.keep_record_of(shared, site);
        let said = Said::Site { name: site.name().to_owned(), record: SiteRecord::of(site) };
        shared.tell(site.name(), self.sealed(shared, said));
    }

    /// Has Redis know what is known of a site.
    pub(super) fn keep_record_of(&self, shared: &Shared, site: &Site) {
        shared.keep_record(site.name(), encoded(&SiteRecord::of(site)), self.options.kept_for());
    }

    /// Has the others know that all sites below a prefix have a new generation.
    pub(super) fn tell_of_floor(&self, shared: &Shared, prefix: &str, generation: Generation) {
        let floors: &Floors = &self.sites.floors();
        let floors: Vec<_> = floors.iter().map(|(prefix, generation)| (prefix, generation.number())).collect();
        shared.keep_record(FLOORS, encoded(&floors), self.options.kept_for());
        let below = Said::Below { prefix: prefix.to_owned(), generation: generation.number() };
        shared.tell("", self.sealed(shared, below));
    }

    /// What the others are to be told of a document.
    pub(super) fn news_of_document(&self, shared: &Shared, key: &StorageKey, version: Option<&ObjectMeta>) -> Bytes {
        let said = Said::Document { key: key.as_str().to_owned(), version: version.map(Written::of) };
        self.sealed(shared, said)
    }

    fn sealed(&self, shared: &Shared, said: Said) -> Bytes {
        shared.seal().seal(MESSAGE, &encoded(&Message { from: self.id, said }))
    }
}
