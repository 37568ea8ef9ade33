//! Storage that makes its objects up, changes them when their site is published, and counts what it is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use callboard::clock::{Clock, Timestamp};
use callboard::docs::ObjectName;
use callboard::http::etag::ETag;
use callboard::storage::{DocStore, GetOptions, Object, ObjectMeta, StoreError};
use futures_util::{StreamExt, stream};

use super::load::{File, Request, mixed};

/// Bodies are made so much smaller than they stand for that an entry's weight is this part of what it would be; so is the
/// budget of memory. What is kept and what has to go is the same, and a bench can hold it.
pub(crate) const SCALE: u64 = 16;

/// What the tier counts for an entry of these keys beside the body.
const OVERHEAD: u64 = 640;

/// A page's Brotli variant, as part of the page.
const VARIANT: f64 = 0.25;

/// How much of a site a publish changes, beside its metadata.
pub(crate) const CHANGED: f64 = 0.2;

/// All sites, as publishers left them.
#[derive(Debug)]
pub(crate) struct Bucket {
    clock: Clock,
    sites: Vec<Site>,
    pub(crate) counts: Counts,
}

#[derive(Debug)]
struct Site {
    version: AtomicU32,
    written_at: AtomicU64,
}

/// What was asked.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Documents that were sent.
    pub(crate) sent: AtomicU64,
    /// Documents that were not, since they are as they were.
    pub(crate) same: AtomicU64,
    /// Sites' metadata, sent or not: looks, almost all of them.
    pub(crate) looks: AtomicU64,
    /// Bytes that were sent, as they would be.
    pub(crate) bytes: AtomicU64,
}

/// Figures of [`Counts`].
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked {
    pub(crate) sent: u64,
    pub(crate) same: u64,
    pub(crate) looks: u64,
    pub(crate) bytes: u64,
}

impl Bucket {
    /// So many sites, published long ago.
    pub(crate) fn new(sites: usize, clock: Clock) -> Arc<Self> {
        let written_at = clock.now().minus(Duration::from_secs(24 * 3600)).as_secs();
        let site = || Site { version: AtomicU32::new(0), written_at: AtomicU64::new(written_at) };
        Arc::new(Self { clock, sites: (0..sites).map(|_| site()).collect(), counts: Counts::default() })
    }

    /// Publishes a site anew, at once.
    pub(crate) fn publish(&self, site: usize) {
        if let Some(site) = self.sites.get(site) {
            site.version.fetch_add(1, Ordering::Relaxed);
            site.written_at.store(self.clock.now().as_secs(), Ordering::Relaxed);
        }
    }

    fn find(&self, key: &str) -> Option<(ObjectMeta, Bytes, u64, bool)> {
        let request = Request::of_key(key)?;
        let site = self.sites.get(request.site)?;
        let version = last_change(&request, site.version.load(Ordering::Relaxed));
        let written_at = Timestamp::from_secs(site.written_at.load(Ordering::Relaxed));
        let body = contents(&request, version);
        let tag = format!("{:016x}{version:016x}", name(&request));
        let last_modified = Some(UNIX_EPOCH + Duration::from_millis(written_at.as_millis()));
        let meta = ObjectMeta { size: body.len() as u64, etag: ETag::from_store(&tag), last_modified };
        Some((meta, body, nominal_bytes(&request), request.file == File::Metadata))
    }
}

impl Counts {
    pub(crate) fn read(&self) -> Asked {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Asked { sent: read(&self.sent), same: read(&self.same), looks: read(&self.looks), bytes: read(&self.bytes) }
    }
}

impl Asked {
    /// What was asked after `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            sent: self.sent - earlier.sent,
            same: self.same - earlier.same,
            looks: self.looks - earlier.looks,
            bytes: self.bytes - earlier.bytes,
        }
    }
}

/// Bytes that a file has outside of the simulation.
fn nominal_bytes(request: &Request) -> u64 {
    let spread = |least: u64, most: u64| least + mixed(name(request)) % (most - least);
    match request.file {
        File::Metadata => 2_000,
        File::Style(_) => spread(40_000, 80_000),
        File::Page(_) => spread(12_000, 28_000),
        File::Figure(_) => spread(20_000, 100_000),
    }
}

/// What an entry of a site weighs outside of the simulation, on average: a page, and a figure.
pub(crate) const NOMINAL_WEIGHTS: (f64, f64) =
    (OVERHEAD as f64 + 20_000.0 * (1.0 + VARIANT), OVERHEAD as f64 + 60_000.0);

/// All files of a site.
pub(crate) fn files(pages: usize, site: usize) -> impl Iterator<Item = Request> {
    let of_pages = (0..pages).flat_map(|page| [File::Page(page), File::Figure(page)]);
    // A publisher writes the metadata last.
    let files = [File::Style(0), File::Style(1)].into_iter().chain(of_pages).chain([File::Metadata]);
    files.map(move |file| Request { site, file })
}

/// What is in it in the version that a publish made, in so few bytes that its entry's weight is right.
pub(crate) fn contents(request: &Request, version: u32) -> Bytes {
    let nominal = nominal_bytes(request);
    let variant = if let File::Page(_) | File::Style(_) = request.file { VARIANT } else { 0.0 };
    let weight = OVERHEAD + (nominal as f64 * (1.0 + variant)) as u64;
    let bytes = (weight / SCALE).saturating_sub(OVERHEAD) as usize;
    if request.file == File::Metadata {
        return format!(r#"{{"site_name":"Service","build":{version}}}"#).into();
    }
    let mut body = format!("{:016x}{version:08x}", name(request)).into_bytes();
    body.resize(bytes.max(24), b'a');
    body.into()
}

fn name(request: &Request) -> u64 {
    let file = match request.file {
        File::Metadata => 0,
        File::Style(number) => 1 + u64::from(number),
        File::Page(page) => 1000 + page as u64,
        File::Figure(page) => 1_000_000 + page as u64,
    };
    mixed((request.site as u64) << 32 | file)
}

/// Whether a publish changes the file.
pub(crate) fn is_changed(request: &Request, version: u32) -> bool {
    match request.file {
        File::Metadata => true,
        // Their names carry a hash of what is in them.
        File::Style(_) => false,
        File::Page(_) | File::Figure(_) => {
            (mixed(name(request) ^ u64::from(version)) % 1000) < (CHANGED * 1000.0) as u64
        }
    }
}

/// The last publish up to `version` that changed the file.
fn last_change(request: &Request, version: u32) -> u32 {
    (1..=version).rev().find(|version| is_changed(request, *version)).unwrap_or(0)
}

#[async_trait]
impl DocStore for Bucket {
    async fn stat(&self, _key: &ObjectName<'_>) -> Result<ObjectMeta, StoreError> {
        Err(StoreError::Absent)
    }

    async fn get(&self, key: &ObjectName<'_>, options: &GetOptions) -> Result<Object, StoreError> {
        let Some((meta, body, nominal, is_metadata)) = self.find(key.as_str()) else { return Err(StoreError::Absent) };
        let is_known = options.if_none_match.is_some() && options.if_none_match == meta.etag;
        let counter = match (is_metadata, is_known) {
            (true, _) => &self.counts.looks,
            (false, true) => &self.counts.same,
            (false, false) => &self.counts.sent,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if is_known {
            return Err(StoreError::NotModified);
        }
        self.counts.bytes.fetch_add(nominal, Ordering::Relaxed);
        Ok(Object { meta, body: stream::iter([Ok(body)]).boxed() })
    }

    async fn list(&self, _prefix: &str, _limit: usize) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    async fn folders(&self, _parent: &str, _limit: usize) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }
}
