//! Warming: the files of a site are fetched before anyone asks for them, after everything that somebody waits for.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};

use super::errand::Errand;
use super::site::Site;
use super::{Content, DocCache, Entry};
use crate::docs::{Locator, StorageKey};
use crate::http::cache_status::CacheOutcome;
use crate::storage::StoreError;
use crate::telemetry::WarmedFile;

/// Sites that are warmed when all are, at most: more than any Backstage is known to have.
const MOST_SITES: usize = 10_000;

/// Sites that are warmed at a time because somebody came, and that wait for it.
const VISITS_AT_A_TIME: usize = 2;
const VISITS_WAITING: usize = 256;

/// Files at a time of a site that somebody came to.
const FILES_OF_VISIT: usize = 2;

/// Which sites to warm.
#[derive(Debug, Clone)]
pub enum WhichSites {
    /// Those of these keys.
    These(Vec<StorageKey>),
    /// All that storage has, found by what it calls its folders.
    All(Locator),
}

/// How far a warming is and, in the end, what it did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Warmed {
    /// The site that is being warmed, or was the last.
    pub site: String,
    /// Sites to be warmed.
    pub sites: usize,
    /// Of these, how many are done.
    pub sites_done: usize,
    /// Sites whose metadata is absent, can't be read or lists no files, so that nothing else of them was fetched.
    pub sites_unlisted: usize,
    /// Whether there are more sites than are warmed at once.
    pub sites_left_out: bool,
    /// Why storage did not tell which sites it has, in a word.
    pub listing_failed: Option<String>,
    /// Files of the sites that were begun, as their metadata lists them, and the metadata.
    pub files: usize,
    /// Files that storage sent or confirmed.
    pub fetched: usize,
    /// Files that another replica had put into Redis.
    pub from_redis: usize,
    /// Files that were held, and fresh.
    pub fresh: usize,
    /// Files that are listed and not there.
    pub absent: usize,
    /// Files that are too large to keep.
    pub too_large: usize,
    /// Files that storage failed to send.
    pub failed: usize,
    /// Names in lists of files that no file can have.
    pub bad_names: usize,
    /// Bytes of memory that the files take.
    pub bytes: u64,
    /// Whether it ended early because memory holds no more than what it had fetched by then.
    pub beyond_memory: bool,
}

/// As much of a site's metadata as it takes.
#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    files: Vec<String>,
}

/// How much is warmed at a time.
#[derive(Debug)]
pub(super) struct Warmings {
    /// Places for files, of all warmings together.
    files: Semaphore,
    /// Places for sites that somebody came to, those that wait included.
    visits: Arc<Semaphore>,
    /// Those of them that are being warmed.
    running: Semaphore,
}

impl Warmings {
    pub(super) fn new(files: usize) -> Self {
        let visits = Arc::new(Semaphore::new(VISITS_AT_A_TIME + VISITS_WAITING));
        Self { files: Semaphore::new(files), visits, running: Semaphore::new(VISITS_AT_A_TIME) }
    }
}

impl Warmed {
    /// Files that it is done with.
    pub fn files_done(&self) -> usize {
        self.fetched + self.from_redis + self.fresh + self.absent + self.too_large + self.failed
    }

    fn count(&mut self, file: WarmedFile, bytes: u64) {
        let counter = match file {
            WarmedFile::Fetched => &mut self.fetched,
            WarmedFile::Redis => &mut self.from_redis,
            WarmedFile::Fresh => &mut self.fresh,
            WarmedFile::Absent => &mut self.absent,
            WarmedFile::TooLarge => &mut self.too_large,
            WarmedFile::Failed => &mut self.failed,
        };
        *counter += 1;
        self.bytes += bytes;
    }
}

/// What became of a file.
fn fate(landed: &Result<(Arc<Entry>, CacheOutcome), StoreError>) -> WarmedFile {
    match landed {
        Err(_) | Ok((_, CacheOutcome::Stale)) => WarmedFile::Failed,
        Ok((entry, outcome)) => match (entry.content(), outcome) {
            (Content::Absent, _) => WarmedFile::Absent,
            (Content::Large, _) => WarmedFile::TooLarge,
            (Content::Body(_), CacheOutcome::Hit) => WarmedFile::Fresh,
            (Content::Body(_), CacheOutcome::Redis | CacheOutcome::Updating) => WarmedFile::Redis,
            (Content::Body(_) | Content::Filling(_), _) => WarmedFile::Fetched,
        },
    }
}

impl DocCache {
    /// Fetches what is not fresh of some sites, `concurrency` files at a time at most, and tells how far it is. Dropped, it
    /// fetches no more.
    pub async fn warm(self: &Arc<Self>, which: WhichSites, concurrency: usize, told: &watch::Sender<Warmed>) {
        let sites = match which {
            WhichSites::These(sites) => sites,
            WhichSites::All(locator) => self.sites_in_storage(&locator, told).await,
        };
        told.send_modify(|warmed| warmed.sites = sites.len());
        for metadata in sites {
            told.send_modify(|warmed| metadata.site().clone_into(&mut warmed.site));
            self.warm_site(&metadata, concurrency, told).await;
            if told.borrow().beyond_memory {
                return;
            }
            told.send_modify(|warmed| warmed.sites_done += 1);
        }
    }

    async fn warm_site(self: &Arc<Self>, metadata: &StorageKey, concurrency: usize, told: &watch::Sender<Warmed>) {
        let site = self.site_of(metadata).await;
        site.begin_warming();
        told.send_modify(|warmed| warmed.files += 1);
        let entry = self.warm_file(metadata.clone(), told).await;
        let listed = match entry.as_ref().map(|entry| entry.content()) {
            Some(Content::Body(body)) => files_in(body),
            Some(Content::Filling(_) | Content::Large | Content::Absent) | None => Vec::new(),
        };
        let files: Vec<_> = listed.iter().map(|file| metadata.sibling(file)).collect();
        let bad_names = files.iter().filter(|file| file.is_none()).count();
        let files: Vec<_> = files.into_iter().flatten().filter(|key| !key.is_metadata()).collect();
        told.send_modify(|warmed| {
            warmed.files += files.len();
            warmed.bad_names += bad_names;
            warmed.sites_unlisted += usize::from(listed.is_empty());
        });
        let fetches = stream::iter(files).map(|key| self.warm_file(key, told));
        let mut fetches = fetches.buffer_unordered(concurrency.clamp(1, self.storage.most_at_leisure()));
        while fetches.next().await.is_some() {
            if told.borrow().bytes > self.options.memory_max_bytes {
                told.send_modify(|warmed| warmed.beyond_memory = true);
                return;
            }
        }
    }

    /// One file, where storage or Redis has it.
    async fn warm_file(self: &Arc<Self>, key: StorageKey, told: &watch::Sender<Warmed>) -> Option<Arc<Entry>> {
        let held = self.memory.get(&key).and_then(|entry| self.judged_fresh(entry, self.clock.now()));
        let landed = match held {
            Some(found) => Ok((found.entry, CacheOutcome::Hit)),
            None => {
                let _place = self.warmings.files.acquire().await.ok()?;
                let landed = self.take_off(&key, Errand::Leisure).land().await;
                landed.unwrap_or(Err(StoreError::Abandoned)).map(|landed| (landed.entry, landed.outcome))
            }
        };
        let bytes = landed.as_ref().map_or(0, |(entry, _)| super::memory::weight(&key, entry));
        let file = fate(&landed);
        self.instruments.sites.warmed(file);
        told.send_modify(|warmed| warmed.count(file, bytes));
        landed.ok().map(|(entry, _)| entry)
    }

    /// The metadata of the sites in storage: whatever folders it has three levels below the root path.
    async fn sites_in_storage(&self, locator: &Locator, told: &watch::Sender<Warmed>) -> Vec<StorageKey> {
        let mut folders = vec![locator.prefix("").trim_end_matches('/').to_owned()];
        for _ in ["namespace", "kind", "name"] {
            let mut below = Vec::new();
            for parent in folders {
                let names = match self.storage.folders(&parent, MOST_SITES + 1 - below.len()).await {
                    Ok(names) => names,
                    Err(error) => {
                        told.send_modify(|warmed| warmed.listing_failed = Some(error.as_str().to_owned()));
                        return Vec::new();
                    }
                };
                let path = |name| if parent.is_empty() { name } else { format!("{parent}/{name}") };
                below.extend(names.into_iter().map(path));
                if below.len() > MOST_SITES {
                    told.send_modify(|warmed| warmed.sites_left_out = true);
                    below.truncate(MOST_SITES);
                    break;
                }
            }
            folders = below;
        }
        folders.iter().filter_map(|folder| locator.site_of(folder)).collect()
    }

    /// Somebody has read something of a site: the first time, the rest of it is fetched behind, where that is switched on.
    pub(super) fn visited(self: &Arc<Self>, site: &Arc<Site>) {
        if !self.options.warm_on_first_visit || site.is_warming() {
            return;
        }
        // When so many wait, it is not worth it; the next reader may be luckier.
        let Ok(place) = Arc::clone(&self.warmings.visits).try_acquire_owned() else { return };
        if !site.begin_warming() {
            return;
        }
        let (cache, metadata) = (Arc::clone(self), site.metadata.clone());
        tokio::spawn(async move {
            let _turn = cache.warmings.running.acquire().await;
            let (told, seen) = watch::channel(Warmed::default());
            cache.warm(WhichSites::These(vec![metadata]), FILES_OF_VISIT, &told).await;
            let Warmed { site, files, fetched, from_redis, failed, beyond_memory, .. } = seen.borrow().clone();
            tracing::info!(
                site,
                files,
                fetched,
                from_redis,
                failed,
                beyond_memory,
                "a site was warmed for its visitors"
            );
            drop(place);
        });
    }
}

fn files_in(metadata: &[u8]) -> Vec<String> {
    serde_json::from_slice(metadata).map(|Metadata { files }| files).unwrap_or_default()
}
