//! A store that does as it is told, and counts.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use callboard::docs::ObjectName;
use callboard::http::etag::ETag;
use callboard::storage::{DocStore, GetOptions, Object, ObjectBody, ObjectMeta, StoreError};
use futures_util::{StreamExt, stream};
use tokio::sync::{Notify, Semaphore};

/// Bytes of a piece of a body.
pub const PIECE: usize = 64 * 1024;

/// What a get does.
#[derive(Clone)]
pub enum Deed {
    /// Gives these bytes, under this tag.
    Give(Bytes, &'static str),
    /// Says this.
    Fail(StoreError),
    /// Dies.
    Panic,
    /// Announces more bytes than it gives.
    Truncate,
    /// Gives some bytes and then no more.
    Hang,
    /// Gives bytes as somebody lets them flow.
    Pour(Pour),
}

/// A body that comes piece by piece, of [`PIECE`] bytes each, as permits are given.
#[derive(Clone)]
pub struct Pour {
    bytes: Bytes,
    tag: &'static str,
    flow: Arc<Semaphore>,
    /// After so many pieces it fails, or dies.
    cut_after: usize,
    dies: bool,
}

impl Pour {
    pub fn new(bytes: Bytes, tag: &'static str) -> Self {
        Self { bytes, tag, flow: Arc::new(Semaphore::new(0)), cut_after: usize::MAX, dies: false }
    }

    /// The same, which fails after so many pieces.
    pub fn cut_after(self, pieces: usize) -> Self {
        Self { cut_after: pieces, ..self }
    }

    /// The same, whose fetch dies after so many pieces.
    pub fn dying_after(self, pieces: usize) -> Self {
        Self { cut_after: pieces, dies: true, ..self }
    }

    /// Lets so many pieces come, a failure included.
    pub fn flow(&self, pieces: usize) {
        self.flow.add_permits(pieces);
    }

    /// Lets all come that is left.
    pub fn flow_on(&self) {
        self.flow(Semaphore::MAX_PERMITS / 2);
    }

    fn body(self) -> ObjectBody {
        let pieces: Vec<_> = self.bytes.chunks(PIECE).map(|piece| Ok(self.bytes.slice_ref(piece))).collect();
        let cut = (pieces.len() > self.cut_after).then(|| Err(StoreError::unavailable("cut")));
        let pieces = pieces.into_iter().take(self.cut_after).chain(cut);
        let (flow, dies) = (self.flow, self.dies);
        stream::iter(pieces)
            .then(move |piece| {
                let flow = Arc::clone(&flow);
                async move {
                    flow.acquire().await.unwrap().forget();
                    assert!(!dies || piece.is_ok(), "a body that dies, on purpose");
                    piece
                }
            })
            .boxed()
    }
}

pub struct Scripted {
    deeds: Mutex<HashMap<String, Deed>>,
    default: Mutex<Deed>,
    gets: AtomicUsize,
    stats: AtomicUsize,
    gets_by_key: Mutex<HashMap<String, usize>>,
    /// Gets that have not answered yet, and the most that there were at a time.
    running: AtomicUsize,
    most_running: AtomicUsize,
    /// What a listing is answered with; nothing means that there is nothing.
    listing: Mutex<Option<StoreError>>,
    pieces: Arc<AtomicUsize>,
    holds_answers: AtomicBool,
    held_answers: AtomicUsize,
    arrivals: Notify,
    /// Gets wait for a permit each, so that a test can hold them.
    pub gate: Arc<Semaphore>,
}

impl Scripted {
    pub fn new(default: Deed) -> Arc<Self> {
        Arc::new(Self {
            deeds: Mutex::default(),
            default: Mutex::new(default),
            gets: AtomicUsize::new(0),
            stats: AtomicUsize::new(0),
            gets_by_key: Mutex::default(),
            running: AtomicUsize::new(0),
            most_running: AtomicUsize::new(0),
            listing: Mutex::default(),
            pieces: Arc::default(),
            holds_answers: AtomicBool::new(false),
            held_answers: AtomicUsize::new(0),
            arrivals: Notify::new(),
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        })
    }

    /// One whose gets wait until `gate` is given permits.
    pub fn held(default: Deed) -> Arc<Self> {
        let store = Self::new(default);
        store.hold();
        store
    }

    /// From now on gets wait until the gate is given permits.
    pub fn hold(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub fn gets(&self) -> usize {
        self.gets.load(Ordering::SeqCst)
    }

    /// How often it was asked what an object is.
    pub fn stats(&self) -> usize {
        self.stats.load(Ordering::SeqCst)
    }

    /// How many gets have not answered yet.
    pub fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }

    /// The most gets that ran at a time.
    pub fn most_running(&self) -> usize {
        self.most_running.load(Ordering::SeqCst)
    }

    /// How often the object of this key was asked for.
    pub fn gets_of(&self, key: &str) -> usize {
        self.gets_by_key.lock().unwrap().get(key).copied().unwrap_or_default()
    }

    /// From now on what a get answers is decided when it is asked, and held on its way back.
    pub fn hold_answers(&self, hold: bool) {
        self.holds_answers.store(hold, Ordering::SeqCst);
    }

    /// How many answers are on their way.
    pub fn held_answers(&self) -> usize {
        self.held_answers.load(Ordering::SeqCst)
    }

    /// Lets all answers that are held arrive.
    pub fn release_answers(&self) {
        self.arrivals.notify_waiters();
    }

    /// How many pieces of bodies were taken, of [`PIECE`] bytes each.
    pub fn pieces(&self) -> usize {
        self.pieces.load(Ordering::SeqCst)
    }

    /// From now on.
    pub fn now(&self, deed: Deed) {
        *self.default.lock().unwrap() = deed;
    }

    /// Listings fail so from now on.
    pub fn refuse_listing(&self, error: StoreError) {
        *self.listing.lock().unwrap() = Some(error);
    }

    pub fn set(&self, key: &str, deed: Deed) {
        self.deeds.lock().unwrap().insert(key.to_owned(), deed);
    }

    fn deed(&self, key: &ObjectName<'_>) -> Deed {
        let deed = self.deeds.lock().unwrap().get(key.as_str()).cloned();
        deed.unwrap_or_else(|| self.default.lock().unwrap().clone())
    }
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scripted")
    }
}

#[async_trait]
impl DocStore for Scripted {
    async fn stat(&self, key: &ObjectName<'_>) -> Result<ObjectMeta, StoreError> {
        self.stats.fetch_add(1, Ordering::SeqCst);
        match self.deed(key) {
            Deed::Fail(error) => Err(error),
            Deed::Give(bytes, tag) | Deed::Pour(Pour { bytes, tag, .. }) => Ok(meta(bytes.len() as u64, tag)),
            _ => Err(StoreError::Absent),
        }
    }

    async fn get(&self, key: &ObjectName<'_>, options: &GetOptions) -> Result<Object, StoreError> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        *self.gets_by_key.lock().unwrap().entry(key.as_str().to_owned()).or_default() += 1;
        let _running = Running::start(self);
        self.gate.acquire().await.unwrap().forget();
        self.gate.add_permits(usize::from(self.gate.available_permits() > 1_000_000));
        let deed = self.deed(key);
        if self.holds_answers.load(Ordering::SeqCst) {
            let arrival = self.arrivals.notified();
            self.held_answers.fetch_add(1, Ordering::SeqCst);
            arrival.await;
        }
        let (bytes, tag) = match deed {
            Deed::Give(bytes, tag) => (bytes, tag),
            Deed::Fail(error) => return Err(error),
            Deed::Panic => panic!("a fetch that dies, on purpose"),
            Deed::Truncate => {
                let body = stream::iter([Ok(Bytes::from_static(b"half"))]).boxed();
                return Ok(Object { meta: meta(8, "t"), body });
            }
            Deed::Hang => {
                let body = stream::iter([Ok(Bytes::from_static(b"half"))]).chain(stream::pending()).boxed();
                return Ok(Object { meta: meta(8, "t"), body });
            }
            Deed::Pour(pour) if options.range.is_none() && options.if_none_match != ETag::from_store(pour.tag) => {
                return Ok(Object { meta: meta(pour.bytes.len() as u64, pour.tag), body: pour.body() });
            }
            Deed::Pour(Pour { bytes, tag, .. }) => (bytes, tag),
        };
        let meta = meta(bytes.len() as u64, tag);
        if options.if_none_match.is_some() && options.if_none_match == meta.etag {
            return Err(StoreError::NotModified);
        }
        if options.if_match.is_some() && options.if_match != meta.etag {
            return Err(StoreError::Changed);
        }
        let part = match &options.range {
            Some(range) => bytes.slice(range.start as usize..range.end as usize),
            None => bytes,
        };
        // In several pieces, as from a network.
        let pieces: Vec<_> = part.chunks(PIECE).map(|piece| Ok(part.slice_ref(piece))).collect();
        let taken = Arc::clone(&self.pieces);
        let body = stream::iter(pieces).inspect(move |_| {
            taken.fetch_add(1, Ordering::SeqCst);
        });
        Ok(Object { meta, body: body.boxed() })
    }

    async fn folders(&self, parent: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        if let Some(error) = self.listing.lock().unwrap().clone() {
            return Err(error);
        }
        let prefix = if parent.is_empty() { String::new() } else { format!("{parent}/") };
        let deeds = self.deeds.lock().unwrap();
        let below = deeds.keys().filter_map(|key| key.strip_prefix(&prefix)?.split_once('/'));
        let folders: BTreeSet<_> = below.map(|(folder, _)| folder.to_owned()).collect();
        Ok(folders.into_iter().take(limit).collect())
    }

    async fn list(&self, _prefix: &str, _limit: usize) -> Result<Vec<String>, StoreError> {
        self.listing.lock().unwrap().clone().map_or(Ok(Vec::new()), Err)
    }
}

/// One get; over however it ends.
struct Running<'a>(&'a Scripted);

impl<'a> Running<'a> {
    fn start(store: &'a Scripted) -> Self {
        let running = store.running.fetch_add(1, Ordering::SeqCst) + 1;
        store.most_running.fetch_max(running, Ordering::SeqCst);
        Self(store)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

fn meta(size: u64, tag: &str) -> ObjectMeta {
    ObjectMeta { size, etag: ETag::from_store(tag), last_modified: None }
}
