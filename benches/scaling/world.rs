//! Replicas of the program's cache, their readers and publishers, on a clock that is moved by hand.
//!
//! Nothing of the cache is modelled: it is [`DocCache`] with the tasks that it has in production, one for each replica, and
//! with a real Redis where there is one. Two clocks are moved together, by a tenth of a second at a time: the cache's own
//! ([`Clock::Manual`]) and tokio's, which its timers go by. Then everything that the move has set off is waited for, so that a
//! simulated hour takes as long as its requests do. What takes no time at all in here: storage, and Redis. So no two requests
//! are ever under way at once; what becomes of those that are is what the tests are about, and not a matter of counts.
//!
//! Redis counts expiries by the machine's clock. One of them matters, and is done by hand: that of whose turn it is to look at
//! a site (two seconds).

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, ensure};
use callboard::cache::{DocCache, Options, RedisOptions};
use callboard::clock::{Clock, Hand, Timestamp};
use callboard::config::{self, Environment, Sources};
use callboard::docs::Locator;
use callboard::http::cache_status::CacheOutcome;
use callboard::redis::{self, Client};
use callboard::storage::{OriginOptions, Origins, StoreOptions};
use callboard::telemetry::Instruments;
use callboard::trust::{self, Trust};
use tokio::runtime::Handle;

use super::load::{Dice, Load, Readers, Request};
use super::redis_counts::{Monitor, Spent};
use super::server::Redis;
use super::store::{Asked, Bucket, SCALE};

/// How far the clocks are moved at a time.
pub(crate) const STEP: Duration = Duration::from_millis(100);

/// When it begins.
const NOON: Timestamp = Timestamp::from_secs(1_700_000_000);

/// After so many steps it is anyone's turn again to look at a site.
const STEPS_OF_A_TURN: u64 = 20;

/// Which replica a request goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spread {
    /// Any.
    Any,
    /// Always the same one for a site.
    BySite,
}

/// What is simulated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) load: Load,
    pub(crate) replicas: usize,
    pub(crate) spread: Spread,
    pub(crate) has_redis: bool,
    /// Of each replica, in bytes as they would be.
    pub(crate) memory: u64,
    pub(crate) fresh_for: Duration,
    pub(crate) publish_check: Duration,
    pub(crate) settle_for: Duration,
    /// Publishes of each site, a day.
    pub(crate) publishes: f64,
    /// Seconds before anything is counted, and while it is.
    pub(crate) warm_up: f64,
    pub(crate) measured: f64,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Measured {
    pub(crate) seconds: f64,
    pub(crate) requests: u64,
    /// By [`CacheOutcome::index`].
    outcomes: [u64; CacheOutcome::ALL.len()],
    pub(crate) asked: Asked,
    pub(crate) redis: Option<Spent>,
    /// In the end, of all replicas.
    pub(crate) entries: f64,
    /// As they would be.
    pub(crate) bytes: f64,
}

/// One cache with its tasks.
struct Replica {
    cache: Arc<DocCache>,
    instruments: Arc<Instruments>,
}

/// Who publishes: any site, at any time.
#[derive(Debug)]
pub(crate) struct Publishers {
    dice: Dice,
    pause: f64,
    next: f64,
    sites: usize,
}

struct World {
    scenario: Scenario,
    hand: Hand,
    bucket: Arc<Bucket>,
    locator: Locator,
    replicas: Vec<Replica>,
    monitor: Option<Monitor>,
    /// Tasks that there are while nothing goes on.
    resting: usize,
    readers: Readers,
    publishers: Publishers,
    turn: usize,
    step: u64,
    measured: Measured,
}

impl Scenario {
    /// Simulates it.
    pub(crate) fn run(&self) -> anyhow::Result<Measured> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
        // As long as some thread blocks, paused time stands still also when everybody waits.
        let (stop, stopped) = mpsc::channel::<()>();
        runtime.spawn_blocking(move || stopped.recv());
        let measured = runtime.block_on(async { World::begin(*self).await?.play().await });
        drop(stop);
        measured
    }

    fn options(&self) -> anyhow::Result<Options> {
        let environment = Environment { variables: [].into(), directory: std::env::temp_dir() };
        let defaults = config::read(&Sources { files: Vec::new(), environment })?.resolved.cache;
        Ok(Options {
            memory_max_bytes: self.memory / SCALE,
            fresh_for: self.fresh_for,
            publish_check: self.publish_check,
            settle_for: self.settle_for,
            ..defaults
        })
    }
}

impl World {
    async fn begin(scenario: Scenario) -> anyhow::Result<Self> {
        let hand = Hand::at(NOON);
        let clock = Clock::Manual(hand.clone());
        let bucket = Bucket::new(scenario.load.sites, clock.clone());
        let monitor = if scenario.has_redis { Some(Monitor::new(Redis::start()?).await?) } else { None };
        let mut replicas = Vec::new();
        for number in 0..scenario.replicas {
            let client = monitor.as_ref().map(|monitor| monitor.address());
            // They were not started in the same moment, so that their watches do not tick as one.
            let later = STEP * (10 * number / scenario.replicas) as u32;
            replicas.push(Replica::start(&scenario, client, &bucket, &clock, later)?);
        }
        let mut world = Self {
            scenario,
            hand,
            bucket,
            locator: Locator::new(callboard::docs::Options::default()),
            replicas,
            monitor,
            resting: 0,
            readers: Readers::new(scenario.load, 1),
            publishers: Publishers::new(&scenario),
            turn: 0,
            step: 0,
            measured: Measured::default(),
        };
        world.hear().await?;
        world.resting = alive();
        Ok(world)
    }

    /// Waits until all replicas hear each other.
    async fn hear(&mut self) -> anyhow::Result<()> {
        if self.monitor.is_none() {
            // Their tasks are up.
            tokio::task::yield_now().await;
            return Ok(());
        }
        for _ in 0..10_000 {
            let hears = |replica: &Replica| replica.gauge("callboard_redis_listening").is_ok_and(|hears| hears == 1.0);
            if self.replicas.iter().all(hears) {
                // What they have to ask Redis first.
                for _ in 0..10_000 {
                    tokio::task::yield_now().await;
                }
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
            tokio::task::yield_now().await;
        }
        anyhow::bail!("the replicas do not hear each other")
    }

    async fn play(mut self) -> anyhow::Result<Measured> {
        let steps = |seconds: f64| (seconds / STEP.as_secs_f64()) as u64;
        for _ in 0..steps(self.scenario.warm_up) {
            self.take_step(false).await?;
        }
        let before = self.bucket.counts.read();
        if let Some(monitor) = &mut self.monitor {
            monitor.begin().await?;
        }
        for _ in 0..steps(self.scenario.measured) {
            self.take_step(true).await?;
        }
        let asked = self.bucket.counts.read().since(before);
        let redis = match &mut self.monitor {
            Some(monitor) => Some(monitor.end().await?),
            None => None,
        };
        let (mut entries, mut bytes) = (0.0, 0.0);
        for replica in &self.replicas {
            entries += replica.gauge("callboard_cache_memory_entries")?;
            bytes += replica.gauge("callboard_cache_memory_size_bytes")? * SCALE as f64;
        }
        Ok(Measured { seconds: self.scenario.measured, asked, redis, entries, bytes, ..self.measured })
    }

    async fn take_step(&mut self, counts: bool) -> anyhow::Result<()> {
        self.hand.advance(STEP);
        tokio::time::advance(STEP).await;
        self.settle().await;
        self.step += 1;
        if let Some(monitor) = self.monitor.as_mut().filter(|_| self.step.is_multiple_of(STEPS_OF_A_TURN)) {
            monitor.end_turns().await?;
        }
        let now = self.step as f64 * STEP.as_secs_f64();
        self.publishers.until(now).into_iter().for_each(|site| self.bucket.publish(site));
        let mut requests = Vec::new();
        self.readers.ask(now, &mut requests);
        for request in requests {
            let outcome = self.read(request).await?;
            if counts {
                self.measured.count(outcome, 1);
            }
        }
        self.settle().await;
        Ok(())
    }

    async fn read(&mut self, request: Request) -> anyhow::Result<CacheOutcome> {
        let chosen = match self.scenario.spread {
            Spread::Any => self.turn,
            Spread::BySite => request.site,
        };
        self.turn = self.turn.wrapping_add(1);
        let replica = self.replicas.get(chosen % self.scenario.replicas).context("no replicas")?;
        let key = self.locator.locate(&request.path()).context("no such path")?.key;
        if let Some(found) = replica.cache.fresh(&key) {
            return Ok(found.outcome);
        }
        Ok(replica.cache.fetch(&key).await?.outcome)
    }

    /// Waits until nothing goes on.
    async fn settle(&self) {
        loop {
            while alive() > self.resting {
                tokio::task::yield_now().await;
            }
            if self.monitor.is_none() {
                return;
            }
            for replica in &self.replicas {
                replica.cache.flush(Duration::from_secs(1)).await;
            }
            // What was published lies at every replica's door by now, and is let in when the runtime looks at its sockets.
            for _ in 0..130 {
                tokio::task::yield_now().await;
            }
            if alive() <= self.resting {
                return;
            }
        }
    }
}

impl Publishers {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let mut dice = Dice::new(2);
        let pause = 24.0 * 3600.0 / (scenario.publishes * scenario.load.sites as f64);
        Self { next: dice.exponential(pause), dice, pause, sites: scenario.load.sites }
    }

    /// The sites that are published before `until`, in seconds.
    pub(crate) fn until(&mut self, until: f64) -> Vec<usize> {
        let mut published = Vec::new();
        while self.next < until {
            published.push(self.dice.below(self.sites));
            self.next += self.dice.exponential(self.pause);
        }
        published
    }
}

impl Replica {
    fn start(
        scenario: &Scenario,
        redis: Option<redis::Address>,
        bucket: &Arc<Bucket>,
        clock: &Clock,
        later: Duration,
    ) -> anyhow::Result<Self> {
        let instruments = Arc::new(Instruments::new()?);
        let origin = OriginOptions::new("made-up", StoreOptions::Sample);
        let store = Arc::clone(bucket) as Arc<dyn callboard::storage::DocStore>;
        let storage = Arc::new(Origins::only(store, &origin, &instruments, clock.clone()));
        let redis = match redis {
            Some(address) => Some(client(address, &instruments)?),
            None => None,
        };
        let cache = DocCache::new(storage, redis, scenario.options()?, clock.clone(), Arc::clone(&instruments));
        let watched = Arc::clone(&cache);
        tokio::spawn(async move {
            tokio::time::sleep(later).await;
            watched.keep_watch().await;
        });
        tokio::spawn(Arc::clone(&cache).keep_hearing());
        Ok(Self { cache, instruments })
    }

    fn gauge(&self, name: &str) -> anyhow::Result<f64> {
        let text = self.instruments.prometheus()?;
        let line = text.lines().find(|line| line.split([' ', '{']).next() == Some(name));
        Ok(line.and_then(|line| line.rsplit(' ').next()).with_context(|| format!("no metric {name}"))?.parse()?)
    }
}

fn client(address: redis::Address, instruments: &Arc<Instruments>) -> anyhow::Result<(Client, RedisOptions)> {
    let options = redis::Options {
        form: redis::Form::Standalone(address),
        username: None,
        password: None,
        database: 0,
        tls: None,
        key_prefix: "callboard:".to_owned(),
        read_timeout: Duration::from_secs(1),
        connect_timeout: Duration::from_secs(1),
        integrity_key: None,
    };
    let own = RedisOptions { key_prefix: options.key_prefix.clone(), integrity_key: None };
    let trust = Trust::load(&trust::Options::default())?;
    Ok((Client::new(options, &trust, Arc::clone(instruments))?, own))
}

fn alive() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

impl Measured {
    pub(crate) fn count(&mut self, outcome: CacheOutcome, requests: u64) {
        self.requests += requests;
        if let Some(count) = self.outcomes.get_mut(outcome.index()) {
            *count += requests;
        }
    }

    pub(crate) fn outcome(&self, outcome: CacheOutcome) -> u64 {
        self.outcomes.get(outcome.index()).copied().unwrap_or_default()
    }

    /// Of all requests, those that were answered from memory without waiting.
    pub(crate) fn memory_ratio(&self) -> f64 {
        let near = [CacheOutcome::Hit, CacheOutcome::Updating].map(|outcome| self.outcome(outcome));
        near.iter().sum::<u64>() as f64 / self.requests as f64
    }

    /// Of those, the ones that Redis answered.
    pub(crate) fn redis_ratio(&self) -> f64 {
        self.outcome(CacheOutcome::Redis) as f64 / self.requests as f64
    }

    /// A second.
    pub(crate) fn rate(&self, count: u64) -> f64 {
        count as f64 / self.seconds
    }

    /// Makes sure that nothing failed.
    pub(crate) fn checked(self) -> anyhow::Result<Self> {
        let failed = self.outcome(CacheOutcome::Stale) + self.outcome(CacheOutcome::Gone);
        ensure!(failed == 0, "{failed} answers for want of storage");
        Ok(self)
    }
}
