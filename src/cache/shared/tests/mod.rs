//! The tier, against a redis-server that each test starts.

mod bad_values;
mod documents;
mod leases;
mod server;
mod variants;
mod writing;

use redis::cmd;

use super::*;
use crate::cache::generation::Generation;
use crate::clock::Timestamp;
use crate::docs::{Locator, Options as DocsOptions};
use crate::http::etag::ETag;
use crate::redis::Options as RedisOptions;
use crate::trust::{Options as TrustOptions, Trust};
use server::Server;

const BOUNDS: QueueBounds = QueueBounds { operations: 64, bytes: 32 * 1024 * 1024 };

struct Rig {
    server: Server,
    shared: Arc<Shared>,
    instruments: Arc<Instruments>,
}

impl Rig {
    fn start() -> Self {
        Self::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut SharedOptions)) -> Self {
        Self::on(Server::start(), change)
    }

    fn on(server: Server, change: impl FnOnce(&mut SharedOptions)) -> Self {
        let (shared, instruments) = tier(&server, change);
        Self { server, shared, instruments }
    }

    /// Waits until all that was to be written has been.
    async fn written(&self) {
        self.shared.queue.idle().await;
    }

    async fn store(&self, file: &str, tag: &str, body: &Bytes) {
        self.shared.store(&key(file), meta(tag, body), body.clone(), confirmed(1), None);
        self.written().await;
    }

    async fn load(&self, file: &str) -> Loaded {
        self.shared.load(&key(file), None).await
    }

    /// Whether Redis has anything under the document's name.
    async fn has(&self, file: &str) -> bool {
        self.server.ask(cmd("EXISTS").arg(name(file))).await
    }

    #[track_caller]
    fn counted(&self, series: &str) {
        let text = self.instruments.prometheus().unwrap();
        assert!(text.contains(&format!("callboard_cache_shared_{series}\n")), "{series} in:\n{text}");
    }
}

/// Another replica's tier on the same server.
fn tier(server: &Server, change: impl FnOnce(&mut SharedOptions)) -> (Arc<Shared>, Arc<Instruments>) {
    let mut options = SharedOptions {
        key_prefix: "callboard:".to_owned(),
        integrity_key: Some(Secret::new("an integrity key")),
        expire_after: Duration::from_secs(600),
        max_object_bytes: 8 * 1024 * 1024,
        queue: BOUNDS,
    };
    change(&mut options);
    let instruments = Arc::new(Instruments::new().unwrap());
    (Shared::new(client(server, &instruments), options, Arc::clone(&instruments)), instruments)
}

fn client(server: &Server, instruments: &Arc<Instruments>) -> Client {
    let options = RedisOptions {
        form: server.form(),
        username: None,
        password: None,
        database: 0,
        tls: None,
        key_prefix: "callboard:".to_owned(),
        read_timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(10),
        integrity_key: None,
    };
    Client::new(options, &Trust::load(&TrustOptions::default()).unwrap(), Arc::clone(instruments)).unwrap()
}

fn key(file: &str) -> StorageKey {
    Locator::new(DocsOptions::default()).locate(&format!("/static/docs/default/component/shop/{file}")).unwrap().key
}

fn name(file: &str) -> String {
    format!("callboard:{{doc:{}}}", key(file))
}

fn meta(tag: &str, body: &Bytes) -> ObjectMeta {
    ObjectMeta { size: body.len() as u64, etag: ETag::from_store(tag), last_modified: Some(std::time::UNIX_EPOCH) }
}

fn confirmed(seconds: u64) -> Confirmation {
    Confirmation { at: Timestamp::from_secs(seconds), generation: Generation::new(17) }
}

fn document(tag: &str, body: &Bytes) -> Loaded {
    Loaded::Document(Record { meta: meta(tag, body), body: body.clone(), confirmation: confirmed(1) })
}

fn text(bytes: usize) -> Bytes {
    let mut text: String = (0..=bytes / 10).map(|number| format!("<p>{number}</p>")).collect();
    text.truncate(bytes);
    text.into()
}

fn noise(bytes: usize) -> Bytes {
    let mut noise = vec![0; bytes];
    aws_lc_rs::rand::fill(&mut noise).unwrap();
    noise.into()
}
