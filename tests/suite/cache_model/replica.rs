//! One cache with its tasks, and what it shares with others.

use std::sync::Arc;
use std::time::Duration;

use callboard::cache::{DocCache, RedisOptions};
use callboard::redis::Client;
use callboard::telemetry::Instruments;
use callboard::trust::{self, Trust};
use tokio::task::JoinHandle;

use crate::support::redis::Redis;

/// How often it is looked whether what is waited for has come, and for how long.
pub const PAUSE: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(20);

/// What the caches share.
pub struct Tier {
    pub redis: Arc<Redis>,
    /// What all names in it begin with: other runs have left things there.
    pub prefix: String,
}

impl Tier {
    pub fn client(&self, instruments: &Arc<Instruments>) -> (Client, RedisOptions) {
        let trust = Trust::load(&trust::Options::default()).unwrap();
        let client = Client::new(self.redis.options(), &trust, Arc::clone(instruments)).unwrap();
        (client, RedisOptions { key_prefix: self.prefix.clone(), integrity_key: None })
    }
}

/// Waits until it is so, and looks only now and then: it is not free.
pub async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("what is waited for comes");
}

/// A cache with its tasks.
pub struct Replica {
    pub id: usize,
    pub cache: Arc<DocCache>,
    pub watch: JoinHandle<()>,
    pub hearing: JoinHandle<()>,
    pub instruments: Arc<Instruments>,
}

impl Replica {
    fn shows(&self, line: &str) -> bool {
        self.instruments.prometheus().unwrap().lines().any(|shown| shown == line)
    }

    pub fn hears(&self) -> bool {
        self.shows("callboard_redis_listening 1")
    }

    pub fn has_said_all(&self) -> bool {
        self.shows("callboard_cache_shared_queue_operations 0")
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.watch.abort();
        self.hearing.abort();
    }
}
