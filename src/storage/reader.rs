//! How the rest of the program reads: with deadlines, a bounded number of operations at a time, and patience with a store
//! that fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::body::{patient, pumped};
use super::fill::{Fill, Opened};
use super::gate::Gate;
use super::rest::Rest;
use super::standing::Standing;
use super::whole::{Order, Whole, WholeReads};
use super::{DocStore, Forbidden, GetOptions, Object, ObjectBody, ObjectMeta, OriginOptions, StoreError, StoreOptions};
use crate::docs::ObjectName;
use crate::http::etag::ETag;
use crate::telemetry::{Kind, OriginInstruments, Span, StorageOperation};

/// For so many operations that readers may wait for at a time, one may run that nobody waits for.
const READERS_PER_BACKGROUND: usize = 4;

/// A [`DocStore`] behind deadlines, gates and a breaker.
///
/// There is a gate each for objects that a reader waits for, for those that nobody waits for, and for those that are
/// streamed: a stream lasts as long as its reader takes, and neither slow readers nor a storm of refreshes after an outage
/// must hold the places that everyone's misses need.
#[derive(Debug)]
pub struct Reader {
    store: Arc<dyn DocStore>,
    fetches: Gate,
    background: Gate,
    streams: Gate,
    rest: Rest,
    whole_reads: WholeReads,
    most_at_leisure: usize,
    timeout: Duration,
    reader_timeout: Duration,
    instruments: Arc<OriginInstruments>,
    /// For spans: which store it is.
    kind: StoreOptions,
    standing: Standing,
}

/// What a first look at storage found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contact {
    /// Some of the keys that it holds.
    Keys(Vec<String>),
    /// It may not be listed, but says of an object whether it is there.
    Unlistable,
    /// It may not be listed, and refuses what need not exist, as it does with all that is absent: it knows the credential,
    /// and whether anything may be read with it shows with the first object that is.
    Undecided,
}

/// On whose behalf an operation runs, which decides what it may wait for.
#[derive(Debug, Clone, Copy)]
enum Sake {
    /// A reader's, for an object that is read whole, or a look at storage.
    Reader,
    /// A reader's, for an object that is streamed.
    Stream,
    /// Nobody's who waits: now or not at all.
    Behind,
}

impl Reader {
    /// A reader of `store`, as patient as `options` says.
    pub fn new(store: Arc<dyn DocStore>, options: &OriginOptions, instruments: Arc<OriginInstruments>) -> Self {
        let bounds = &options.bounds;
        let background = (bounds.max_concurrent / READERS_PER_BACKGROUND).max(1);
        Self {
            store,
            fetches: Gate::new(bounds.max_concurrent, bounds.max_queue, bounds.queue_timeout),
            background: Gate::new(background, 0, Duration::ZERO),
            // A reader of a large object that finds no place is told so at once: how long one lasts can't be known.
            streams: Gate::new(bounds.max_streams, 0, Duration::ZERO),
            rest: Rest::new(bounds.breaker, Arc::clone(&instruments)),
            whole_reads: WholeReads::default(),
            most_at_leisure: (background / 2).max(1),
            timeout: bounds.timeout,
            reader_timeout: bounds.reader_timeout,
            instruments,
            kind: options.store.clone(),
            standing: Standing::default(),
        }
    }

    /// Reads an object that a reader waits for into memory, unless it is larger than `max_bytes` or still has the tag
    /// `known`. Where the store tells a checksum, the body has it, or else came twice the same.
    ///
    /// # Errors
    /// What the store answered; [`StoreError::Truncated`] and [`StoreError::Corrupt`] where that was not the object;
    /// [`StoreError::Busy`] where too many wait; [`StoreError::Resting`] at once while a store
    /// that keeps failing is left alone.
    pub async fn fetch(
        &self,
        name: &ObjectName<'_>,
        known: Option<&ETag>,
        max_bytes: u64,
    ) -> Result<Whole, StoreError> {
        self.fetch_unseen(self.enter(Sake::Reader), name, known, max_bytes).await
    }

    /// The same for an object of which nothing is known. Where that pays it may be read along by way of `fill`: then it may
    /// take any time, as long as it does not stand still. Of one that is too large, the body comes as [`Reader::stream`]
    /// gives it, where that has a place.
    ///
    /// # Errors
    /// As for [`Reader::fetch`].
    pub async fn fetch_along(&self, name: &ObjectName<'_>, max_bytes: u64, fill: &Fill) -> Result<Whole, StoreError> {
        let order = Order { fill: Some(fill), ..self.order(name, None, max_bytes) };
        Ok(match self.fetch_in(self.enter(Sake::Reader), order).await? {
            Whole::TooLarge(meta, opened) => {
                let body = opened.and_then(|opened| opened.take());
                let place = self.streams.try_enter().ok();
                let body = body.zip(place).map(|(body, place)| self.streamed(body, meta.size, place));
                Whole::TooLarge(meta, body.map(Opened::new))
            }
            other => other,
        })
    }

    /// The same for an object that nobody waits for, since a copy of it has been served: in one of a few places of its
    /// own, at once or not at all, and not while readers wait for theirs. So the refreshes that an outage leaves behind
    /// are spread over the readers who come after it.
    ///
    /// # Errors
    /// As for [`Reader::fetch`]; [`StoreError::Busy`] where there is no place.
    pub async fn fetch_behind(
        &self,
        name: &ObjectName<'_>,
        known: Option<&ETag>,
        max_bytes: u64,
    ) -> Result<Whole, StoreError> {
        self.fetch_unseen(self.enter(Sake::Behind), name, known, max_bytes).await
    }

    /// The same for an object that nobody has asked for yet: in one of the same few places, whenever there is one, and
    /// after all readers who wait. Once `wanted` says that somebody has, it takes a reader's place instead, unless it
    /// has one already. Whoever asks for many asks for no more than [`Reader::most_at_leisure`] at a time.
    ///
    /// # Errors
    /// As for [`Reader::fetch`], but it is not too busy before it is wanted.
    pub async fn fetch_at_leisure(
        &self,
        name: &ObjectName<'_>,
        known: Option<&ETag>,
        max_bytes: u64,
        wanted: impl Future<Output = ()>,
    ) -> Result<Whole, StoreError> {
        let place = async {
            tokio::select! {
                place = self.enter_at_leisure() => place,
                () = wanted => self.fetches.enter().await,
            }
        };
        self.fetch_unseen(place, name, known, max_bytes).await
    }

    /// How many objects may be fetched at leisure at a time so that refreshes find places beside them.
    pub fn most_at_leisure(&self) -> usize {
        self.most_at_leisure
    }

    /// The folders right below a folder, by name, at most `limit`.
    ///
    /// # Errors
    /// As for [`Reader::fetch`].
    pub async fn folders(&self, parent: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        let list = self.in_time(self.store.folders(parent, limit));
        let (folders, _place) = self.operate(self.enter_at_leisure(), StorageOperation::List, parent, list).await?;
        Ok(folders)
    }

    /// Reads an object whole that nobody sees anything of before.
    async fn fetch_unseen(
        &self,
        place: impl Future<Output = Result<OwnedSemaphorePermit, StoreError>>,
        name: &ObjectName<'_>,
        known: Option<&ETag>,
        max_bytes: u64,
    ) -> Result<Whole, StoreError> {
        Ok(match self.fetch_in(place, self.order(name, known, max_bytes)).await? {
            Whole::TooLarge(meta, _) => Whole::TooLarge(meta, None),
            other => other,
        })
    }

    async fn fetch_in(
        &self,
        place: impl Future<Output = Result<OwnedSemaphorePermit, StoreError>>,
        order: Order<'_>,
    ) -> Result<Whole, StoreError> {
        let fetch = self.whole_reads.read(order);
        let (whole, _place) = self.operate(place, StorageOperation::Get, order.name.as_str(), fetch).await?;
        Ok(whole)
    }

    fn order<'a>(&'a self, name: &'a ObjectName<'a>, known: Option<&'a ETag>, max_bytes: u64) -> Order<'a> {
        Order { store: &*self.store, name, known, max_bytes, limit: self.timeout, fill: None }
    }

    /// Opens an object, or a part of it, for a reader that takes it as fast as it can. One that takes nothing for
    /// `readerTimeout` loses its place, whatever it does to keep its connection.
    ///
    /// # Errors
    /// As for [`Reader::fetch`].
    pub async fn stream(&self, name: &ObjectName<'_>, options: &GetOptions) -> Result<Object, StoreError> {
        let open = self.in_time(self.store.get(name, options));
        let (object, place) =
            self.operate(self.enter(Sake::Stream), StorageOperation::Stream, name.as_str(), open).await?;
        let expected = options.range.as_ref().map_or(object.meta.size, |range| range.end - range.start);
        Ok(Object { meta: object.meta, body: self.streamed(object.body, expected, place) })
    }

    /// A body of `expected` bytes for a reader that takes it as fast as it can, and that has this place.
    fn streamed(&self, body: ObjectBody, expected: u64, place: OwnedSemaphorePermit) -> ObjectBody {
        pumped(patient(body, self.timeout, expected), self.reader_timeout, place).boxed()
    }

    /// Looks whether storage can be read at all: lists at most `limit` keys below `prefix` or, where that is refused,
    /// asks for `probe`, which need not exist.
    ///
    /// # Errors
    /// As for [`Reader::fetch`].
    pub async fn contact(&self, prefix: &str, limit: usize, probe: &ObjectName<'_>) -> Result<Contact, StoreError> {
        let list = self.in_time(self.store.list(prefix, limit));
        let refusal = match self.operate(self.enter(Sake::Reader), StorageOperation::List, prefix, list).await {
            Err(StoreError::Denied(refusal)) => refusal,
            other => return other.map(|(keys, _place)| Contact::Keys(keys)),
        };
        let stat = self.in_time(self.store.stat(probe));
        match self.operate(self.enter(Sake::Reader), StorageOperation::Stat, probe.as_str(), stat).await {
            Ok(_) | Err(StoreError::Absent) => Ok(Contact::Unlistable),
            Err(StoreError::Denied(_)) if self.store.forbidden() == Forbidden::Undecided => {
                // Who is known and refused has had an answer; a credential that is not good for anything gets another.
                self.standing.learn(None);
                Ok(Contact::Undecided)
            }
            // The first refusal says more: a HEAD is answered without a body.
            Err(StoreError::Denied(_)) => Err(StoreError::Denied(refusal)),
            Err(error) => Err(error),
        }
    }

    /// What is known of an object, for a reader who waits.
    ///
    /// # Errors
    /// As for [`Reader::fetch`].
    pub async fn stat(&self, name: &ObjectName<'_>) -> Result<ObjectMeta, StoreError> {
        let stat = self.in_time(self.store.stat(name));
        let (meta, _place) =
            self.operate(self.enter(Sake::Reader), StorageOperation::Stat, name.as_str(), stat).await?;
        Ok(meta)
    }

    /// How it stands with this store.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Why the store's credential can't even be shown, where that is known without asking.
    pub fn credential_trouble(&self) -> Option<String> {
        self.store.credential_trouble()
    }

    /// Where the store's credential was found, in words, where it had to be looked for.
    pub fn credential_place(&self) -> Option<String> {
        self.store.credential_place()
    }

    /// How the store tells an object that is absent from one that it may not read.
    pub fn forbidden(&self) -> Forbidden {
        self.store.forbidden()
    }

    /// `work`, as far as it is done in time.
    async fn in_time<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        timeout(self.timeout, work).await.unwrap_or(Err(StoreError::Timeout(self.timeout)))
    }

    /// Does `work`, which sees to its time, once it has its place, measured, and not at all while storage rests. The place
    /// comes back with what was found: what lasts longer keeps it.
    async fn operate<T>(
        &self,
        place: impl Future<Output = Result<OwnedSemaphorePermit, StoreError>>,
        operation: StorageOperation,
        key: &str,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<(T, OwnedSemaphorePermit), StoreError> {
        let start = Instant::now();
        let span = self.span(operation, key);
        let operate = async {
            self.rest.check()?;
            let place = place.await?;
            // It may have begun to rest while this one waited.
            let found = self.rest.attempt(work).await?;
            Ok((found, place))
        };
        let result: Result<_, StoreError> = span.scope().run(operate).await;
        let outcome = match &result {
            Ok(_) => "ok",
            Err(error) => error.as_str(),
        };
        self.instruments.operation(operation, outcome, start.elapsed());
        span.set("callboard.storage.result", outcome);
        if result.as_ref().is_err_and(|error| !error.is_answer()) {
            span.fail(outcome);
        }
        self.standing.learn(result.as_ref().err());
        result
    }

    async fn enter(&self, sake: Sake) -> Result<OwnedSemaphorePermit, StoreError> {
        match sake {
            Sake::Reader => self.fetches.enter().await,
            Sake::Stream => self.streams.enter().await,
            Sake::Behind if self.fetches.is_crowded() => Err(StoreError::Busy),
            Sake::Behind => self.background.try_enter(),
        }
    }

    async fn enter_at_leisure(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        let place = self.background.enter_at_leisure().await?;
        // A turn among the readers, given up at once: all who waited have had theirs.
        drop(self.fetches.enter_at_leisure().await?);
        Ok(place)
    }

    /// One span an operation; each request that the store's client makes for it is one below.
    fn span(&self, operation: StorageOperation, key: &str) -> Span {
        let span = Span::child(Kind::Client, "storage");
        if span.is_recorded() {
            span.set_name(format!("storage {}", operation.as_str()));
            span.set("callboard.storage.system", self.kind.as_str());
            span.set("callboard.storage.operation", operation.as_str());
            span.set("callboard.storage.key", key.to_owned());
            span.set("callboard.storage.origin", self.instruments.name().to_owned());
            if let StoreOptions::S3(options) = &self.kind {
                span.set("rpc.system", "aws-api");
                span.set("rpc.service", "S3");
                span.set("rpc.method", s3_method(operation));
                span.set("aws.s3.bucket", options.bucket.clone());
                span.set("aws.s3.key", key.to_owned());
            }
        }
        span
    }
}

/// What S3 calls an operation.
const fn s3_method(operation: StorageOperation) -> &'static str {
    match operation {
        StorageOperation::Get | StorageOperation::Stream => "GetObject",
        StorageOperation::Stat => "HeadObject",
        StorageOperation::List => "ListObjectsV2",
    }
}
