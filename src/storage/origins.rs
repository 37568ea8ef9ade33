//! The stores that hold the sites: which of them is asked for what.
//!
//! A site is asked for where its scope says. Where several stores may hold it, one after the other, it is held by the first
//! that has its metadata: so sites move from one bucket to another by being published there. Which one that is, is
//! remembered, and found out anew each time that somebody asks for the metadata.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use moka::sync::Cache;

use super::{
    Contact, DocStore, Fill, Forbidden, GetOptions, Kept, Object, ObjectMeta, OriginOptions, Reader, Scope, Standing,
    StoreError, Whole,
};
use crate::chain::chain;
use crate::clock::{Clock, Timestamp};
use crate::docs::{Layout, ObjectName, StorageKey};
use crate::http::etag::ETag;
use crate::telemetry::{Instruments, OriginInstruments};

/// How long it is taken for granted which store holds a site, where nobody asks for its metadata.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);

/// Sites whose stores are remembered.
const SITES_REMEMBERED: u64 = 100_000;

/// One store, with what it calls things and which sites it may hold.
#[derive(Debug)]
pub struct Origin {
    name: String,
    reader: Reader,
    layout: Layout,
    scope: Scope,
    falls_through: bool,
    bucket: Option<String>,
    instruments: Arc<OriginInstruments>,
    kept: Arc<Kept>,
}

/// All stores, in the order in which they are asked.
#[derive(Debug)]
pub struct Origins {
    all: Vec<Origin>,
    holders: Cache<Box<str>, Holder>,
    clock: Clock,
}

/// What a store is going to say.
type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Which store holds a site, and when that was found out: of which generation of the site it is true.
#[derive(Debug, Clone, Copy)]
struct Holder {
    index: usize,
    found_at: Timestamp,
    generation: u64,
}

/// A file as of a generation of its site: what was found out before that began, no longer counts.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'k> {
    /// Which file.
    pub key: &'k StorageKey,
    /// The number of the generation; it only grows.
    pub generation: u64,
}

impl Origin {
    /// An origin as `options` describe it, read from `store`.
    pub fn new(store: Arc<dyn DocStore>, options: &OriginOptions, instruments: Arc<OriginInstruments>) -> Self {
        Self {
            name: options.name.clone(),
            reader: Reader::new(store, options, Arc::clone(&instruments)),
            layout: options.layout.clone(),
            scope: options.scope.clone(),
            falls_through: options.falls_through,
            bucket: options.store.bucket().map(str::to_owned),
            instruments,
            kept: Arc::default(),
        }
    }

    /// The same, with the credential that its store shows.
    pub fn keeping(self, kept: Arc<Kept>) -> Self {
        Self { kept, ..self }
    }

    /// The credential that all clients of it share.
    pub fn kept(&self) -> &Arc<Kept> {
        &self.kept
    }

    /// What people call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What counts for it.
    pub fn instruments(&self) -> &Arc<OriginInstruments> {
        &self.instruments
    }

    /// How it stands with the store.
    pub fn standing(&self) -> &Standing {
        self.reader.standing()
    }

    /// Why the store's credential can't even be shown, where that is known without asking.
    pub fn credential_trouble(&self) -> Option<String> {
        self.reader.credential_trouble()
    }

    /// Where the store's credential was found, in words, where it had to be looked for.
    pub fn credential_place(&self) -> Option<String> {
        self.reader.credential_place()
    }

    /// How the store tells an object that is absent from one that it may not read.
    pub fn forbidden(&self) -> Forbidden {
        self.reader.forbidden()
    }

    /// Looks whether the store can be read at all: lists at most `limit` objects below its root path or, where that is
    /// refused, asks for `probe`, which need not exist. What is listed is named as seen from the root path.
    ///
    /// # Errors
    /// As for [`Reader::fetch`].
    pub async fn contact(&self, limit: usize, probe: &StorageKey) -> Result<Contact, StoreError> {
        let contact = self.reader.contact(&self.layout.root_path, limit, &self.layout.place(probe)).await;
        if let Err(refusal @ StoreError::Denied(_)) = &contact {
            self.standing().everything_is_refused(refusal);
        }
        Ok(match contact? {
            Contact::Keys(names) => {
                let seen = names.iter().filter_map(|name| self.layout.seen_from_root(name));
                Contact::Keys(seen.map(str::to_owned).collect())
            }
            unlistable => unlistable,
        })
    }

    /// Which of its sites an object of `bucket` belongs to; `site_of` finds it by the object's name as seen from the root
    /// path.
    pub fn site_of_object(
        &self,
        bucket: &str,
        name: &str,
        site_of: impl FnOnce(&str) -> Option<StorageKey>,
    ) -> Option<StorageKey> {
        let seen = (self.bucket.as_deref() == Some(bucket)).then(|| self.layout.seen_from_root(name)).flatten()?;
        let site = site_of(seen)?;
        // What is stored under another spelling is not found by readers.
        let is_found = self.layout.seen_from_root(self.layout.place(&site).as_str()) == Some(site.as_str());
        (is_found && self.scope.covers(&site)).then_some(site)
    }
}

impl Origins {
    /// These, in the order in which they are asked.
    pub fn new(all: Vec<Origin>, clock: Clock) -> Self {
        Self { all, holders: Cache::new(SITES_REMEMBERED), clock }
    }

    /// Only this one.
    pub fn only(store: Arc<dyn DocStore>, options: &OriginOptions, instruments: &Instruments, clock: Clock) -> Self {
        let instruments = Arc::new(instruments.origin(&options.name, &StoreError::RESULTS));
        Self::new(vec![Origin::new(store, options, instruments)], clock)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Origin> {
        self.all.iter()
    }

    /// Reads an object that a reader waits for: see [`Reader::fetch`].
    ///
    /// # Errors
    /// As there.
    pub async fn fetch(&self, file: Wanted<'_>, known: Option<&ETag>, max_bytes: u64) -> Result<Whole, StoreError> {
        self.ask(file, |reader, name| async move { reader.fetch(&name, known, max_bytes).await }.boxed()).await
    }

    /// Reads an object that a reader waits for, and of which nothing is known: see [`Reader::fetch_along`].
    ///
    /// # Errors
    /// As there.
    pub async fn fetch_along(&self, file: Wanted<'_>, max_bytes: u64, fill: &Fill) -> Result<Whole, StoreError> {
        self.ask(file, |reader, name| async move { reader.fetch_along(&name, max_bytes, fill).await }.boxed()).await
    }

    /// What is known of an object, for a reader who waits.
    ///
    /// # Errors
    /// As for [`Reader::fetch`].
    pub async fn stat(&self, file: Wanted<'_>) -> Result<ObjectMeta, StoreError> {
        self.ask(file, stat).await
    }

    /// Reads an object that nobody waits for: see [`Reader::fetch_behind`].
    ///
    /// # Errors
    /// As there.
    pub async fn fetch_behind(
        &self,
        file: Wanted<'_>,
        known: Option<&ETag>,
        max_bytes: u64,
    ) -> Result<Whole, StoreError> {
        self.ask(file, |reader, name| async move { reader.fetch_behind(&name, known, max_bytes).await }.boxed()).await
    }

    /// Reads an object that nobody has asked for yet: see [`Reader::fetch_at_leisure`].
    ///
    /// # Errors
    /// As there.
    pub async fn fetch_at_leisure<'a, W: Future<Output = ()> + Send + 'a>(
        &'a self,
        file: Wanted<'a>,
        known: Option<&'a ETag>,
        max_bytes: u64,
        wanted: impl Fn() -> W,
    ) -> Result<Whole, StoreError> {
        self.ask(file, |reader, name| {
            let wanted = wanted();
            async move { reader.fetch_at_leisure(&name, known, max_bytes, wanted).await }.boxed()
        })
        .await
    }

    /// Opens an object, or a part of it, for a reader that takes it as fast as it can: see [`Reader::stream`].
    ///
    /// # Errors
    /// As there.
    pub async fn stream(&self, file: Wanted<'_>, options: &GetOptions) -> Result<Object, StoreError> {
        self.ask(file, |reader, name| async move { reader.stream(&name, options).await }.boxed()).await
    }

    /// Whether a store that may hold `key` is known to refuse everything: then a refusal tells nothing of an object.
    pub fn refuses_everything(&self, key: &StorageKey) -> bool {
        let is_refused =
            |origin: &Origin| origin.standing().refusal().is_some() || origin.credential_trouble().is_some();
        self.candidates(key).into_iter().any(|(_, origin)| is_refused(origin))
    }

    /// How many objects may be fetched at leisure at a time so that refreshes find places beside them.
    pub fn most_at_leisure(&self) -> usize {
        self.all.iter().map(|origin| origin.reader.most_at_leisure()).min().unwrap_or(1)
    }

    /// The folders right below a folder as seen from the root paths, by name, at most `limit` of each store.
    ///
    /// # Errors
    /// As for [`Reader::fetch`], where any of them fails.
    pub async fn folders(&self, parent: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        let mut names = Vec::new();
        for origin in &self.all {
            names.extend(origin.reader.folders(&origin.layout.below_root(parent), limit).await?);
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// Asks whichever store holds the site of `key`.
    async fn ask<'a, T>(
        &'a self,
        file: Wanted<'a>,
        ask: impl Fn(&'a Reader, ObjectName<'a>) -> Answer<'a, T>,
    ) -> Result<T, StoreError> {
        let key = file.key;
        let candidates = self.candidates(key);
        match candidates.as_slice() {
            [] => Err(StoreError::Absent),
            [(_, only)] => ask(&only.reader, only.layout.place(key)).await,
            _ if key.is_metadata() => self.ask_in_order(file, &candidates, ask).await,
            _ => match self.holder(file, &candidates).await? {
                Some(holder) => ask(&holder.reader, holder.layout.place(key)).await,
                None => Err(StoreError::Absent),
            },
        }
    }

    /// The stores that may hold the site of `key`: those whose scope covers it, up to the first that is not passed over.
    fn candidates(&self, key: &StorageKey) -> Vec<(usize, &Origin)> {
        let covering = self.all.iter().enumerate().filter(|(_, origin)| origin.scope.covers(key));
        let mut is_over = false;
        let up_to_last = covering.take_while(|(_, origin)| !std::mem::replace(&mut is_over, !origin.falls_through));
        up_to_last.collect()
    }

    /// The store that holds the site of `key`: as remembered, or the first that has its metadata. `None` where none has.
    async fn holder<'o>(
        &self,
        file: Wanted<'_>,
        candidates: &[(usize, &'o Origin)],
    ) -> Result<Option<&'o Origin>, StoreError> {
        let now = self.clock.now();
        let remembered = self.remembered(file);
        if let Some(holder) = remembered
            && now.since(holder.found_at) >= REMEMBERED_FOR
        {
            // One finds out; those who come meanwhile go by what is remembered.
            self.remember(file, holder.index);
        } else if let Some(holder) = remembered.and_then(|holder| find(candidates, holder.index)) {
            return Ok(Some(holder));
        }
        let metadata = file.key.metadata_of_site();
        match self.ask_in_order(Wanted { key: &metadata, ..file }, candidates, stat).await {
            Ok(_) => Ok(self.remembered(file).and_then(|holder| find(candidates, holder.index))),
            Err(StoreError::Absent) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks one store after the other for a site's metadata, and remembers which has it.
    ///
    /// Where one that comes earlier fails, it may well hold the site: what a later one has is taken only where it was known
    /// to hold it, since it may be what was published there before the site moved.
    async fn ask_in_order<'a, T>(
        &'a self,
        metadata: Wanted<'a>,
        candidates: &[(usize, &'a Origin)],
        ask: impl Fn(&'a Reader, ObjectName<'a>) -> Answer<'a, T>,
    ) -> Result<T, StoreError> {
        let known = self.remembered(metadata).map(|holder| holder.index);
        for (index, origin) in candidates {
            let answer = ask(&origin.reader, origin.layout.place(metadata.key)).await;
            match answer {
                Err(StoreError::Absent) => {}
                Ok(_) | Err(StoreError::NotModified) => {
                    self.remember(metadata, *index);
                    return answer;
                }
                // That tells nothing of the store.
                Err(StoreError::Busy) => return answer,
                Err(error) if known.is_some_and(|known| known > *index) => {
                    // Where it rests, that was told once for all sites.
                    if !matches!(error, StoreError::Resting { .. }) {
                        tracing::warn!(
                            origin = origin.name,
                            site = metadata.key.site(),
                            error = chain(&error),
                            "storage failed: the site is taken to be still where it was, in an origin that comes later"
                        );
                    }
                }
                Err(error) => return Err(error),
            }
        }
        self.holders.invalidate(metadata.key.site());
        Err(StoreError::Absent)
    }

    fn remembered(&self, file: Wanted<'_>) -> Option<Holder> {
        self.holders.get(file.key.site()).filter(|holder| holder.generation >= file.generation)
    }

    fn remember(&self, file: Wanted<'_>, index: usize) {
        let holder = Holder { index, found_at: self.clock.now(), generation: file.generation };
        self.holders.insert(file.key.site().into(), holder);
    }
}

fn stat<'a>(reader: &'a Reader, name: ObjectName<'a>) -> Answer<'a, ObjectMeta> {
    async move { reader.stat(&name).await }.boxed()
}

fn find<'o>(candidates: &[(usize, &'o Origin)], index: usize) -> Option<&'o Origin> {
    candidates.iter().find(|(at, _)| *at == index).map(|(_, origin)| *origin)
}
