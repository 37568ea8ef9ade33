//! The whole cache against what it promises: two caches in front of a storage that changes and fails, readers, time and
//! purges in any order, on a clock that is moved by hand.
//!
//! `bucket.rs` is the storage and remembers everything, `replica.rs` is one cache with its tasks, `script.rs` makes up what
//! happens, `world.rs` has it happen, and `rules.rs` says what a reader may be given.

mod bucket;
mod replica;
mod rules;
mod script;
mod world;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use callboard::docs::{Locator, Options, StorageKey};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use tokio::runtime::Builder;

use crate::support::redis::Redis;
use crate::support::soak;

use replica::Tier;
use script::Step;
use world::World;

/// An object that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Page {
    Index,
    Guide,
    /// Larger than what the cache keeps.
    Video,
    Metadata,
    /// Those of another site.
    OtherIndex,
    OtherMetadata,
    /// Nothing but a sign that everything was heard.
    Beacon,
}

impl Page {
    pub const ALL: [Self; 7] =
        [Self::Index, Self::Guide, Self::Video, Self::Metadata, Self::OtherIndex, Self::OtherMetadata, Self::Beacon];

    pub fn of(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|page| page.text() == key)
    }

    pub fn key(self) -> StorageKey {
        Locator::new(Options::default()).locate(&format!("/static/docs/{}", self.text())).unwrap().key
    }

    pub fn text(self) -> &'static str {
        match self {
            Self::Index => "default/component/shop/index.html",
            Self::Guide => "default/component/shop/guide.html",
            Self::Video => "default/component/shop/video.mp4",
            Self::Metadata => "default/component/shop/techdocs_metadata.json",
            Self::OtherIndex => "default/component/stock/index.html",
            Self::OtherMetadata => "default/component/stock/techdocs_metadata.json",
            Self::Beacon => "default/api/beacon/index.html",
        }
    }

    pub fn metadata(self) -> Self {
        match self {
            Self::Index | Self::Guide | Self::Video | Self::Metadata => Self::Metadata,
            Self::OtherIndex | Self::OtherMetadata => Self::OtherMetadata,
            Self::Beacon => Self::Beacon,
        }
    }

    /// The folder of its site.
    pub fn site(self) -> &'static str {
        match self.metadata() {
            Self::Metadata => "default/component/shop",
            Self::OtherMetadata => "default/component/stock",
            _ => "default/api/beacon",
        }
    }

    pub fn is_metadata(self) -> bool {
        matches!(self, Self::Metadata | Self::OtherMetadata)
    }

    /// Whether a purge of everything below `prefix` is about its site.
    pub fn is_below(self, prefix: &str) -> bool {
        self.site().starts_with(prefix)
    }

    /// Its contents in one version.
    pub fn body(self, version: usize) -> Bytes {
        let text = match self {
            Self::Metadata | Self::OtherMetadata => format!(r#"{{"site_name":"{}","build":{version}}}"#, self.site()),
            Self::Video => format!("{version} {}", "frame ".repeat(200)),
            Self::Index | Self::Guide | Self::OtherIndex | Self::Beacon => {
                format!("{} {version} {}", self.text(), "x".repeat(version))
            }
        };
        text.into()
    }
}

/// Runs so many scripts, or scripts for as long as somebody has asked for.
fn hold(config: Config, is_shared: bool, run: impl Fn(&[Step]) -> Result<(), String>) {
    let start = Instant::now();
    loop {
        let config = Config { failure_persistence: None, ..config.clone() };
        let held = TestRunner::new(config).run(&script::script(is_shared), |script| {
            run(&script).map_err(|broken| TestCaseError::fail(format!("{broken}\n{script:?}")))
        });
        held.unwrap_or_else(|failure| panic!("{failure}"));
        if soak().is_none_or(|soak| start.elapsed() >= soak) {
            return;
        }
    }
}

/// `CALLBOARD_SOAK_SECONDS=600 cargo test --test suite -- cache_model` makes up scripts for that long.
#[test]
fn a_cache_alone_keeps_its_promises() {
    hold(Config::with_cases(300), false, |script| {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async { World::new(None).play(script).await })
    });
}

/// The same.
#[test]
fn caches_that_share_a_redis_keep_their_promises() {
    let redis = Arc::new(Redis::plain());
    let config = Config { max_shrink_iters: 20, ..Config::with_cases(12) };
    hold(config, true, |script| {
        let tier = Tier { redis: Arc::clone(&redis), prefix: format!("{:016x}:", rand::random::<u64>()) };
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { World::new(Some(tier)).play(script).await })
    });
}
