//! Redis and storage fail, one way after the other, while hundreds read: no reader of what is held notices, and what has
//! failed is used again as soon as it is well.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use callboard::storage::{DocStore, StoreError};

use crate::support::ailing::{Ailing, Ailment, contents};
use crate::support::load::{Load, Page, Place};
use crate::support::program::Program;
use crate::support::redis::Redis;
use crate::support::scripted::{Deed, Scripted};
use crate::support::{Callboard, Told, soak, until};

/// Of each replica; so many requests are in flight at a time.
const READERS: usize = 100;

/// How many answers are waited for before a fault, during it and after it: with [`READERS`], each reader has asked for
/// something several times.
const ROUND: usize = 1000;

const PAGES: usize = 60;

/// What may be logged of one outage after another, however many read meanwhile.
const LINES_A_TIME: usize = 30;

/// What an allocator may still take after a program has begun to work.
const GROWTH: u64 = 32 << 20;

/// What is asked of Redis and storage again and again: pages are soon no longer fresh.
const RESTLESS: &str = "freshFor: 200ms, staleWhileRevalidate: 0s";

const NO_LIMIT: &str = "  limits: { requests: { enabled: false } }\n";

fn key(name: &str) -> String {
    format!("default/component/shop/{name}")
}

fn give(store: &Scripted, pages: &[Page]) {
    store.now(Deed::Give(Bytes::from_static(b"{}"), "v1"));
    for (name, contents) in pages {
        store.set(&key(name), Deed::Give(contents.clone(), "v1"));
    }
}

/// Two replicas in front of a storage that is well, whose memory does not hold all of the pages.
struct Pair {
    replicas: [Callboard; 2],
    store: Arc<Scripted>,
    redis: Redis,
    pages: Arc<[Page]>,
    load: Load,
}

impl Pair {
    async fn start(redis: Redis) -> Self {
        let store = Scripted::new(Deed::Give(Bytes::from_static(b"{}"), "v1"));
        let pages: Arc<[Page]> = (0..PAGES)
            .map(|page| (format!("{page}.html"), Bytes::from(format!("page {page} ").repeat(5000))))
            .collect();
        let section = format!(
            "  cache: {{ {RESTLESS}, memory: {{ maxBytes: 1MiB }}, maxObjectBytes: 256KiB, redis: {} }}\n\
             \x20 site: {{ publishCheck: 1s, settleFor: 0s }}\n  storage: {{ timeout: 1s }}\n{NO_LIMIT}",
            redis.config_with(", readTimeout: 500ms")
        );
        let replica = async || {
            // What they share is told by the place that they read from.
            let publisher = Some("{ type: local, local: { publishDirectory: /site } }".to_owned());
            let store = Some(Arc::clone(&store) as Arc<dyn DocStore>);
            Callboard::told(Told { section: &section, publisher, store, in_real_time: true, ..Told::default() }).await
        };
        let replicas = [replica().await, replica().await];
        give(&store, &pages);
        let load = Load::start(&replicas.each_ref().map(Place::of), &pages, READERS).await;
        let pair = Self { replicas, store, redis, pages, load };
        pair.is_used().await;
        pair
    }

    /// The sum over a metric's series with this label, for each replica.
    async fn metrics(&self, name: &str, label: &str) -> [f64; 2] {
        let [one, two] = &self.replicas;
        [one.metric(name, &[label]).await, two.metric(name, &[label]).await]
    }

    /// Waits until both replicas find documents in Redis, keep them there, and hear each other.
    async fn is_used(&self) {
        let found = async || {
            let (hits, same) = (self.loads("hit").await, self.loads("same").await);
            [hits[0] + same[0], hits[1] + same[1]]
        };
        let kept = async || {
            let (stored, renewed) = (self.writes("stored").await, self.writes("renewed").await);
            [stored[0] + renewed[0], stored[1] + renewed[1]]
        };
        let (found_before, kept_before) = (found().await, kept().await);
        until(async || {
            let (found, kept) = (found().await, kept().await);
            let is_heard = self.metrics("callboard_redis_listening", "").await == [1.0, 1.0];
            (0..2).all(|replica| found[replica] > found_before[replica] && kept[replica] > kept_before[replica])
                && is_heard
        })
        .await;
    }

    async fn loads(&self, result: &str) -> [f64; 2] {
        self.metrics("callboard_cache_shared_load_duration_seconds_count", &format!("result=\"{result}\"")).await
    }

    async fn writes(&self, result: &str) -> [f64; 2] {
        self.metrics("callboard_cache_shared_writes_total", &format!("result=\"{result}\"")).await
    }

    /// Both replicas notice that Redis is away.
    async fn miss_redis(&self) {
        until(async || self.metrics("callboard_redis_connected", "").await == [0.0, 0.0]).await;
    }

    /// Both replicas notice that nothing is heard.
    async fn hear_nothing(&self) {
        until(async || self.metrics("callboard_redis_listening", "").await == [0.0, 0.0]).await;
    }

    /// Both replicas notice that nothing is kept.
    async fn fail_to_keep(&self) {
        let before = self.writes("failed").await;
        until(async || {
            let now = self.writes("failed").await;
            (0..2).all(|replica| now[replica] > before[replica])
        })
        .await;
    }

    /// Has something happen to Redis, which the replicas notice as `noticed` says, and end again.
    async fn suffers(
        &self,
        what: &str,
        strike: impl FnOnce(&Redis),
        noticed: impl AsyncFnOnce(&Self),
        mend: impl FnOnce(&Redis),
    ) {
        self.load.goes_on(ROUND).await;
        strike(&self.redis);
        noticed(self).await;
        self.load.goes_on(ROUND).await;
        mend(&self.redis);
        let mended = Instant::now();
        self.is_used().await;
        println!("{what}: Redis is used again {:?} after", mended.elapsed());
        assert!(self.load.failures().is_empty(), "{what}: {:?}", self.load.failures());
    }

    /// All reads of storage do this from now on.
    fn storage_does(&self, deed: Deed) {
        self.pages.iter().for_each(|(name, _)| self.store.set(&key(name), deed.clone()));
        self.store.now(deed);
    }

    async fn stop(self) {
        let (failures, answers) = self.load.stop().await;
        println!("{answers} answers");
        assert!(failures.is_empty(), "{failures:?} of {answers}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_to_redis_no_request_fails() {
    let pair = Pair::start(Redis::plain()).await;
    pair.suffers("killed", Redis::kill, Pair::miss_redis, Redis::restart).await;
    pair.suffers("stopped", Redis::stop, Pair::hear_nothing, Redis::cont).await;
    let full = |redis: &Redis| redis.config_set("maxmemory", "1");
    pair.suffers("full", full, Pair::fail_to_keep, |redis| redis.config_set("maxmemory", "0")).await;
    // Of a master that isn't there.
    let read_only = |redis: &Redis| redis.command::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    let master = |redis: &Redis| redis.command::<()>(&["REPLICAOF", "NO", "ONE"]);
    pair.suffers("read-only", read_only, Pair::fail_to_keep, master).await;
    pair.suffers("emptied", Redis::flush, async |_| {}, |_| {}).await;
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn however_storage_fails_no_reader_of_what_only_redis_holds_notices() {
    let pair = Pair::start(Redis::plain()).await;
    // Once every page is there; what is still being fetched has other names there, too.
    until(async || pair.redis.command::<Vec<String>>(&["KEYS", "*.html}"]).len() == PAGES).await;
    for (what, deed) in [
        ("unreachable", Deed::Fail(StoreError::unavailable("connection refused"))),
        ("denied", Deed::Fail(StoreError::denied("403 Forbidden"))),
        ("cut bodies", Deed::Truncate),
        ("hanging bodies", Deed::Hang),
    ] {
        let stale = async || pair.metrics("http_server_request_duration_seconds_count", "\"stale").await;
        let before = stale().await;
        pair.storage_does(deed);
        until(async || stale().await.iter().zip(before).all(|(now, before)| *now > before)).await;
        pair.load.goes_on(ROUND).await;
        give(&pair.store, &pair.pages);
        pair.is_used().await;
        assert!(pair.load.failures().is_empty(), "{what}: {:?}", pair.load.failures());
    }
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_wrong_for_a_while_fails_no_request() {
    let pair = Pair::start(Redis::acl("docs", "right")).await;
    let wrong = |redis: &Redis| redis.set_password("wrong");
    pair.suffers("wrong password", wrong, Pair::miss_redis, |redis| redis.set_password("right")).await;
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_with_tls_that_is_killed_fails_no_request() {
    let pair = Pair::start(Redis::tls(true)).await;
    pair.suffers("killed, with TLS", Redis::kill, Pair::miss_redis, Redis::restart).await;
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_loses_a_node_fails_no_request() {
    let pair = Pair::start(Redis::cluster()).await;
    pair.suffers("a node killed", Redis::kill, Pair::fail_to_keep, Redis::restart).await;
    pair.suffers("a node stopped", Redis::stop, Pair::fail_to_keep, Redis::cont).await;
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_in_good_order_fails_no_request() {
    let pair = Pair::start(Redis::sentinel()).await;
    pair.suffers("failed over in good order", |_| {}, async |_| {}, Redis::order_failover).await;
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_over_a_dead_master_fails_no_request() {
    // One of its own: sentinels that have just failed over take their time before they do so again.
    let pair = Pair::start(Redis::sentinel()).await;
    let promoted = async |pair: &Pair| until(async || pair.redis.nodes()[1].has_role("master")).await;
    pair.suffers("failed over", Redis::kill, promoted, |_| {}).await;
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_comes_and_goes_leaves_no_trace_in_the_program() {
    let redis = Redis::plain();
    let mut program = Program::start(&[
        ("APP_CONFIG_callboard_cache_redis_url", &redis.url()),
        ("APP_CONFIG_callboard_cache_freshFor", "200ms"),
        ("APP_CONFIG_callboard_cache_staleWhileRevalidate", "0s"),
        ("APP_CONFIG_callboard_limits_requests_enabled", "false"),
        ("APP_CONFIG_callboard_telemetry_accessLog", "false"),
    ])
    .await;
    let (token, (base, name)) = (program.token.clone(), program.url.rsplit_once('/').unwrap());
    let contents = reqwest::Client::new().get(&program.url).bearer_auth(&token).send().await.unwrap();
    let pages: Arc<[Page]> = Arc::new([(name.to_owned(), contents.bytes().await.unwrap())]);
    let load = Load::start(&[Place { base: format!("{base}/"), token }], &pages, READERS).await;
    let comes_and_goes = async || {
        let is_used = async || {
            until(async || {
                load.goes_on(1).await;
                redis.command::<u64>(&["DBSIZE"]) > 1
            })
            .await;
        };
        is_used().await;
        redis.kill();
        load.goes_on(ROUND).await;
        redis.restart();
        is_used().await;
        redis.stop();
        load.goes_on(ROUND).await;
        redis.cont();
        redis.flush();
    };
    comes_and_goes().await;
    let (before, start, mut times) = (program.resident(), Instant::now(), 0);
    while times < 2 || start.elapsed() < soak().unwrap_or_default() {
        comes_and_goes().await;
        times += 1;
    }
    let after = program.resident();
    let (failures, answers) = load.stop().await;
    program.terminate();
    assert!(program.ended().await.success());
    let log = program.log().await;
    println!("{times} times, {answers} answers, memory {before} to {after}, {} lines in the log", log.lines().count());
    assert!(failures.is_empty(), "{failures:?} of {answers}");
    assert!(!log.contains("panicked"), "{log}");
    assert!(log.lines().count() <= (times + 1) * LINES_A_TIME, "{log}");
    assert!(after < before + GROWTH, "{before} {after}");
}

#[tokio::test(flavor = "multi_thread")]
async fn however_storage_fails_no_reader_of_what_is_held_notices() {
    let bucket = Ailing::start().await;
    let redis = Redis::plain();
    let section =
        format!("  cache: {{ {RESTLESS}, redis: {} }}\n  storage: {{ timeout: 1s }}\n{NO_LIMIT}", redis.config());
    let publisher = Some(bucket.publisher());
    let callboard = Callboard::told(Told { section: &section, publisher, in_real_time: true, ..Told::default() }).await;
    let pages: Arc<[Page]> =
        (0..5).map(|page| page.to_string()).map(|name| (name.clone(), contents(&key(&name)))).collect();
    let load = Load::start(&[Place::of(&callboard)], &pages, READERS).await;
    for (what, ailment) in [
        ("500", Ailment::Refusal(500, "InternalError")),
        ("503", Ailment::Refusal(503, "SlowDown")),
        ("403", Ailment::Refusal(403, "AccessDenied")),
        ("hanging", Ailment::Silence),
        ("cut bodies", Ailment::Cut),
    ] {
        load.goes_on(ROUND / 2).await;
        let failed = async || gets(&callboard, &["unavailable", "denied", "timeout", "truncated"]).await;
        let before = failed().await;
        bucket.suffers(ailment);
        until(async || failed().await > before).await;
        load.goes_on(ROUND / 2).await;
        bucket.suffers(Ailment::None);
        let mended = Instant::now();
        let confirmed = async || gets(&callboard, &["ok"]).await;
        let before = confirmed().await;
        until(async || confirmed().await > before).await;
        println!("{what}: storage is used again {:?} after", mended.elapsed());
        assert!(load.failures().is_empty(), "{what}: {:?}", load.failures());
    }
    let (failures, answers) = load.stop().await;
    println!("{answers} answers");
    assert!(failures.is_empty(), "{failures:?} of {answers}");
}

/// How often storage was read with one of these results.
async fn gets(callboard: &Callboard, results: &[&str]) -> f64 {
    let mut sum = 0.0;
    for result in results {
        let labels = ["operation=\"get\"", &format!("result=\"{result}\"")];
        sum += callboard.metric("callboard_storage_operation_duration_seconds_count", &labels).await;
    }
    sum
}
