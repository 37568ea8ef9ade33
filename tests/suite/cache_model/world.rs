//! Caches, their storage and their readers, and what happens to them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use callboard::cache::DocCache;
use callboard::clock::{Clock, Hand, Timestamp};
use callboard::storage::{Bounds, OriginOptions, Origins, StoreOptions};
use callboard::telemetry::Instruments;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::Page;
use super::bucket::{Bucket, Door, Fault, Moment};
use super::replica::{PAUSE, Replica, Tier, until};
use super::rules::{Doubt, Log, RULES, Reading};
use super::script::{CACHES, RedisStep, Step};

/// When a run begins.
const NOON: Timestamp = Timestamp::from_secs(1_700_000_000);

/// How often the clock moves while time passes.
const TICK: Duration = Duration::from_millis(100);

/// How long one operation of storage may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Longer than any step takes, a frozen Redis included.
const HANGING: Duration = Duration::from_secs(30);

/// The same as [`TIMEOUT`], where time is real.
const SHORT_TIMEOUT: Duration = Duration::from_millis(200);

pub struct World {
    hand: Hand,
    clock: Clock,
    bucket: Arc<Bucket>,
    tier: Option<Tier>,
    /// When everybody had heard everything that was said before.
    syncs: Vec<(Moment, Moment)>,
    /// Whether Redis stands still.
    is_frozen: bool,
    replicas: Vec<Replica>,
    /// How many caches there have been.
    ids: usize,
    doubts: Vec<Doubt>,
    /// Which cache has served what, and when.
    served: Vec<(usize, Page, Moment)>,
    readings: Arc<Mutex<Vec<Reading>>>,
    readers: JoinSet<()>,
}

impl World {
    /// Two sites that were published long ago, and caches that know nothing yet.
    pub fn new(tier: Option<Tier>) -> Self {
        let hand = Hand::at(NOON);
        let clock = Clock::Manual(hand.clone());
        let bucket = Bucket::new(clock.clone());
        for page in Page::ALL {
            bucket.write(page, false);
        }
        hand.advance(Duration::from_secs(24 * 3600));
        let mut world = Self {
            hand,
            clock,
            bucket,
            tier,
            syncs: Vec::new(),
            is_frozen: false,
            replicas: Vec::new(),
            ids: 0,
            doubts: Vec::new(),
            served: Vec::new(),
            readings: Arc::default(),
            readers: JoinSet::new(),
        };
        world.replicas = (0..CACHES).map(|_| world.replica()).collect();
        // With Redis time is real, and only moved by hand.
        if world.tier.is_none() {
            let hand = world.hand.clone();
            world.readers.spawn(async move {
                loop {
                    tokio::time::sleep(TICK).await;
                    hand.advance(TICK);
                }
            });
        }
        world
    }

    fn replica(&mut self) -> Replica {
        let id = self.ids;
        self.ids += 1;
        let instruments = Arc::new(Instruments::new().unwrap());
        let bounds = Bounds {
            timeout: if self.tier.is_some() { SHORT_TIMEOUT } else { TIMEOUT },
            max_queue: 64,
            queue_timeout: TIMEOUT,
            reader_timeout: TIMEOUT,
            max_streams: 8,
            breaker: None,
            ..Bounds::default()
        };
        let options = OriginOptions { bounds, ..OriginOptions::new("docs", StoreOptions::Sample) };
        let door = Door { bucket: Arc::clone(&self.bucket), by: id };
        let storage = Arc::new(Origins::only(Arc::new(door), &options, &instruments, self.clock.clone()));
        let redis = self.tier.as_ref().map(|tier| tier.client(&instruments));
        let cache = DocCache::new(storage, redis, RULES, self.clock.clone(), Arc::clone(&instruments));
        let watch = tokio::spawn(Arc::clone(&cache).keep_watch());
        let hearing = tokio::spawn(Arc::clone(&cache).keep_hearing());
        Replica { id, cache, watch, hearing, instruments }
    }

    /// Has it all happen, and says what was against the rules.
    pub async fn play(&mut self, script: &[Step]) -> Result<(), String> {
        let is_shared = self.tier.is_some();
        self.hear().await;
        for (number, step) in script.iter().enumerate() {
            let done = async {
                self.take(step).await;
                self.settle().await;
            };
            // Where time is paused it passes as soon as everyone waits, so that nothing can be said of hanging.
            if is_shared {
                timeout(HANGING, done).await.map_err(|_| format!("step {number}, {step:?}: it hangs"))?;
            } else {
                done.await;
            }
            self.judge().map_err(|broken| format!("step {number}, {step:?}: {broken}"))?;
        }
        self.end().await
    }

    async fn take(&mut self, step: &Step) {
        match *step {
            Step::Read { cache, page } => self.read(cache, page).await.unwrap(),
            Step::Send { cache, page } => drop(self.read(cache, page)),
            Step::Pass(millis) if self.tier.is_some() => self.hand.advance(Duration::from_millis(millis)),
            Step::Pass(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
            Step::Jump(seconds) => self.hand.advance(Duration::from_secs(seconds)),
            Step::Write { page, is_same } => self.bucket.write(page, is_same && !page.is_metadata()),
            Step::Delete(page) => self.bucket.delete(page),
            Step::Fail(page, fault) => self.bucket.fail(page, self.fault(fault)),
            Step::FailAll(fault) => {
                let pages = Page::ALL.into_iter().filter(|page| *page != Page::Beacon);
                pages.for_each(|page| self.bucket.fail(page, self.fault(fault)));
            }
            Step::PurgeSite { cache, page } => {
                let about = self.bucket.moment();
                self.replicas[cache].cache.purge_site(&page.key()).await;
                self.doubt(cache, about, page.site());
            }
            Step::PurgeBelow { cache, prefix } => {
                // Of sites that it does not read it only knows that their generations began before now.
                self.hand.advance(Duration::from_millis(1));
                let about = self.bucket.moment();
                self.replicas[cache].cache.purge_below(prefix).await;
                self.doubt(cache, about, prefix);
            }
            Step::LoseMemory(cache) => {
                self.replicas[cache] = self.replica();
                self.hear().await;
            }
            Step::Redis(step) => self.trouble(step).await,
        }
    }

    /// The same trouble in less time, where time is real.
    fn fault(&self, fault: Option<Fault>) -> Option<Fault> {
        match fault {
            Some(Fault::Slow(millis)) if self.tier.is_some() => Some(Fault::Slow(millis / 100)),
            other => other,
        }
    }

    async fn trouble(&mut self, step: RedisStep) {
        let Some(redis) = self.tier.as_ref().map(|tier| Arc::clone(&tier.redis)) else { return };
        if matches!(step, RedisStep::Flush | RedisStep::Deafen | RedisStep::Crash) {
            // A frozen one would have the test wait for ever.
            self.thaw();
        }
        match step {
            RedisStep::Sync => self.sync().await,
            RedisStep::Flush => redis.flush(),
            RedisStep::Deafen => {
                let about = self.bucket.moment();
                redis.command::<redis::Value>(&["CLIENT", "KILL", "TYPE", "pubsub"]);
                until(async || self.replicas.iter().all(|replica| !replica.hears())).await;
                self.settle().await;
                (0..CACHES).for_each(|cache| self.deafen(cache, about));
            }
            RedisStep::Crash => {
                let about = self.bucket.moment();
                redis.kill();
                until(async || self.replicas.iter().all(|replica| !replica.hears())).await;
                self.settle().await;
                (0..CACHES).for_each(|cache| self.deafen(cache, about));
                redis.restart();
            }
            RedisStep::Freeze if !self.is_frozen => {
                self.is_frozen = true;
                redis.stop();
            }
            RedisStep::Freeze => self.thaw(),
        }
    }

    fn thaw(&mut self) {
        if let Some(tier) = self.tier.as_ref().filter(|_| self.is_frozen) {
            tier.redis.cont();
            self.is_frozen = false;
        }
    }

    /// Waits until everybody hears.
    async fn hear(&mut self) {
        if self.tier.is_some() {
            self.thaw();
            until(async || self.replicas.iter().all(Replica::hears)).await;
            self.settle().await;
        }
    }

    /// Waits until everybody has heard what was said up to now: nothing waits to be said, and a purge that is said
    /// behind all that has come everywhere.
    async fn sync(&mut self) {
        self.hear().await;
        let began = self.bucket.moment();
        until(async || self.replicas.iter().all(Replica::has_said_all)).await;
        let beacon = Page::Beacon.key();
        for (from, to) in [(0, 1), (1, 0)] {
            let [from, to] = [from, to].map(|cache| &self.replicas[cache].cache);
            until(async || {
                to.fetch(&beacon).await.unwrap();
                to.fresh(&beacon).is_some()
            })
            .await;
            let mut tries = 0;
            until(async || {
                // Once more where it was lost.
                if tries % 200 == 0 {
                    from.purge_site(&beacon).await;
                }
                tries += 1;
                to.fresh(&beacon).is_none()
            })
            .await;
        }
        let ended = self.bucket.moment();
        self.syncs.push((began, ended));
    }

    fn doubt(&mut self, cache: usize, about: Moment, prefix: &str) {
        let known = self.bucket.moment();
        let prefix = prefix.to_owned();
        self.doubts.push(Doubt { by: self.replicas[cache].id, about, known, prefix, is_deaf: false });
    }

    fn deafen(&mut self, cache: usize, about: Moment) {
        let known = self.bucket.moment();
        self.doubts.push(Doubt { by: self.replicas[cache].id, about, known, prefix: String::new(), is_deaf: true });
    }

    /// A reader, as the journey's: what is fresh, else what is fetched.
    fn read(&self, cache: usize, page: Page) -> JoinHandle<()> {
        let Replica { id, cache, .. } = &self.replicas[cache];
        let (by, cache) = (*id, Arc::clone(cache));
        let (bucket, readings, key) = (Arc::clone(&self.bucket), Arc::clone(&self.readings), page.key());
        let began = bucket.moment();
        tokio::spawn(async move {
            let result = match cache.fresh(&key) {
                Some(found) => Ok(found),
                None => cache.fetch(&key).await,
            };
            let ended = bucket.moment();
            readings.lock().unwrap().push(Reading { by, page, began, ended, result });
        })
    }

    /// Lets everything go on that need not wait for time to pass.
    async fn settle(&self) {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    fn judge(&mut self) -> Result<(), String> {
        let readings = std::mem::take(&mut *self.readings.lock().unwrap());
        let (writes, asks) = self.bucket.history();
        let is_shared = self.tier.is_some();
        let mut log = Log {
            served: self.served.clone(),
            writes,
            asks,
            doubts: self.doubts.clone(),
            syncs: self.syncs.clone(),
            is_shared,
        };
        for reading in readings {
            log.served.push((reading.by, reading.page, reading.ended));
            log.judge(&reading).map_err(|rule| format!("{rule}\n{}", log.about(&reading)))?;
        }
        self.served = log.served;
        Ok(())
    }

    /// Once storage is well, and all is too old, everybody gets what there is.
    async fn end(&mut self) -> Result<(), String> {
        self.trouble(RedisStep::Sync).await;
        self.take(&Step::FailAll(None)).await;
        self.take(&Step::Pass(15_000)).await;
        self.take(&Step::Jump(400)).await;
        for cache in 0..CACHES {
            for page in Page::ALL {
                // The first may be given what storage had when it failed the last time, and with Redis it takes a while
                // until what was asked for behind has come.
                self.read(cache, page).await.unwrap();
                self.settle().await;
                self.judge().map_err(|broken| format!("in the end: {broken}"))?;
                let mut tries = if self.tier.is_some() { 1000 } else { 1 };
                while let Err(broken) = self.has_current(cache, page).await {
                    tries -= 1;
                    if tries == 0 {
                        return Err(format!("in the end: {broken}"));
                    }
                    // A fetch from before that hangs until now keeps storage from being asked for another second.
                    self.hand.advance(10 * PAUSE);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        Ok(())
    }

    /// Whether a reader is given what there is.
    async fn has_current(&mut self, cache: usize, page: Page) -> Result<(), String> {
        self.read(cache, page).await.unwrap();
        let reading = self.readings.lock().unwrap().pop().unwrap();
        let found = reading.result.map_err(|error| error.to_string())?;
        let (found, current) = (found.entry.meta.etag.clone(), self.bucket.current(page).and_then(|meta| meta.etag));
        if found == current { Ok(()) } else { Err(format!("{page:?} is {found:?} and not {current:?}")) }
    }
}
