//! How the rest of the program reads: with deadlines, and a bounded number of operations at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::gate::Gate;
use super::{DocStore, GetOptions, Object, ObjectMeta, Options, Origin, StoreError};
use crate::docs::StorageKey;
use crate::http::etag::ETag;
use crate::telemetry::{Instruments, Kind, Span, StorageOperation};

/// Pieces of a large object that are fetched before its reader asks for them.
const PIECES_AHEAD: usize = 2;

/// A [`DocStore`] behind deadlines and gates.
///
/// Objects that are read whole and objects that are streamed have a gate each: a stream lasts as long as its reader
/// takes, and slow readers must not hold the places that everyone else's misses need.
#[derive(Debug)]
pub struct Reader {
    store: Arc<dyn DocStore>,
    fetches: Gate,
    streams: Gate,
    timeout: Duration,
    reader_timeout: Duration,
    instruments: Arc<Instruments>,
    /// For spans: which store it is.
    origin: Origin,
    has_answered: AtomicBool,
}

/// What a first look at storage found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contact {
    /// Some of the keys that it holds.
    Keys(Vec<String>),
    /// It may not be listed, but says of an object whether it is there.
    Unlistable,
}

/// An object that was to be read whole.
#[derive(Debug)]
pub enum Whole {
    /// Here it is.
    Body(ObjectMeta, Bytes),
    /// It is larger than the caller would keep.
    TooLarge(ObjectMeta),
    /// It still has the tag that the caller named.
    NotModified,
}

impl Reader {
    /// A reader of `store`, as patient as `options` says.
    pub fn new(store: Arc<dyn DocStore>, options: &Options, instruments: Arc<Instruments>) -> Self {
        instruments.storage_results(&StoreError::WORDS);
        Self {
            store,
            fetches: Gate::new(options.max_concurrent, options.max_queue, options.queue_timeout),
            // A reader of a large object that finds no place is told so at once: how long one lasts can't be known.
            streams: Gate::new(options.max_streams, 0, Duration::ZERO),
            timeout: options.timeout,
            reader_timeout: options.reader_timeout,
            instruments,
            origin: options.origin.clone(),
            has_answered: AtomicBool::new(false),
        }
    }

    /// Reads an object into memory, unless it is larger than `max_bytes` or still has the tag `known`.
    pub async fn fetch(&self, key: &StorageKey, known: Option<&ETag>, max_bytes: u64) -> Result<Whole, StoreError> {
        let options = GetOptions { if_none_match: known.cloned(), ..GetOptions::default() };
        let fetch = async {
            let _place = self.fetches.enter().await?;
            let object = match self.store.get(key, &options).await {
                Err(StoreError::NotModified) => return Ok(Whole::NotModified),
                other => other?,
            };
            if object.meta.size > max_bytes {
                return Ok(Whole::TooLarge(object.meta));
            }
            let body = collect(&object.meta, object.body).await?;
            Ok(Whole::Body(object.meta, body))
        };
        self.measured(StorageOperation::Get, key.as_str(), fetch).await
    }

    /// Opens an object, or a part of it, for a reader that takes it as fast as it can. One that takes nothing for
    /// `readerTimeout` loses its place, whatever it does to keep its connection.
    pub async fn stream(&self, key: &StorageKey, options: &GetOptions) -> Result<Object, StoreError> {
        let place = self.streams.enter().await?;
        let object = self.measured(StorageOperation::Stream, key.as_str(), self.store.get(key, options)).await?;
        let expected = options.range.as_ref().map_or(object.meta.size, |range| range.end - range.start);
        let body = pumped(patient(object.body, self.timeout, expected), self.reader_timeout, place);
        Ok(Object { meta: object.meta, body: body.boxed() })
    }

    /// Looks whether storage can be read at all: lists at most `limit` keys below `prefix` or, where that is refused,
    /// asks for `probe`, which need not exist.
    pub async fn contact(&self, prefix: &str, limit: usize, probe: &StorageKey) -> Result<Contact, StoreError> {
        let _place = self.fetches.enter().await?;
        let refusal = match self.measured(StorageOperation::List, prefix, self.store.list(prefix, limit)).await {
            Err(StoreError::Denied(refusal)) => refusal,
            other => return other.map(Contact::Keys),
        };
        match self.measured(StorageOperation::Stat, probe.as_str(), self.store.stat(probe)).await {
            Ok(_) | Err(StoreError::Absent) => Ok(Contact::Unlistable),
            // The first refusal says more: a HEAD is answered without a body.
            Err(StoreError::Denied(_)) => Err(StoreError::Denied(refusal)),
            Err(error) => Err(error),
        }
    }

    /// Whether storage has answered as it should at least once.
    pub fn has_answered(&self) -> bool {
        self.has_answered.load(Ordering::Relaxed)
    }

    async fn measured<T>(
        &self,
        operation: StorageOperation,
        key: &str,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let start = Instant::now();
        let span = self.span(operation, key);
        let result = span.scope().run(timeout(self.timeout, work)).await;
        let result = result.unwrap_or(Err(StoreError::Timeout(self.timeout)));
        let outcome = result.as_ref().map_or_else(StoreError::as_str, |_| "ok");
        self.instruments.storage_operation(operation, outcome, start.elapsed());
        span.set("callboard.storage.result", outcome);
        if result.as_ref().is_err_and(|error| !error.is_answer()) {
            span.fail(outcome);
        }
        if matches!(result, Ok(_) | Err(StoreError::Absent | StoreError::NotModified)) {
            self.has_answered.store(true, Ordering::Relaxed);
        }
        result
    }

    /// One span an operation; each request that the store's client makes for it is one below.
    fn span(&self, operation: StorageOperation, key: &str) -> Span {
        let span = Span::child(Kind::Client, "storage");
        if span.is_recorded() {
            span.set_name(format!("storage {}", operation.as_str()));
            span.set("callboard.storage.system", self.origin.as_str());
            span.set("callboard.storage.operation", operation.as_str());
            span.set("callboard.storage.key", key.to_owned());
            if let Some(bucket) = self.origin.bucket() {
                span.set("rpc.system", "aws-api");
                span.set("rpc.service", "S3");
                span.set("rpc.method", s3_method(operation));
                span.set("aws.s3.bucket", bucket.to_owned());
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

async fn collect(
    meta: &ObjectMeta,
    mut body: impl Stream<Item = Result<Bytes, StoreError>> + Unpin,
) -> Result<Bytes, StoreError> {
    // The caller has bounded the size. A body of another size than was told is an error, not a larger buffer.
    let mut whole = Vec::with_capacity(usize::try_from(meta.size).unwrap_or_default());
    let mut received = 0;
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        received += chunk.len() as u64;
        if received > meta.size {
            break;
        }
        whole.extend_from_slice(&chunk);
    }
    if received != meta.size {
        return Err(StoreError::Truncated { expected: meta.size, received });
    }
    Ok(whole.into())
}

/// A body that fails when it stands still for `limit`, or does not come to `expected` bytes.
fn patient(
    body: impl Stream<Item = Result<Bytes, StoreError>> + Send + Unpin + 'static,
    limit: Duration,
    expected: u64,
) -> impl Stream<Item = Result<Bytes, StoreError>> + Send {
    struct State<S> {
        body: S,
        received: u64,
        ended: bool,
    }
    let start = State { body, received: 0, ended: false };
    futures_util::stream::unfold(start, move |mut state| async move {
        if state.ended {
            return None;
        }
        let truncated = |received| Err(StoreError::Truncated { expected, received });
        let item = match timeout(limit, state.body.next()).await {
            Err(_) => Err(StoreError::Timeout(limit)),
            Ok(Some(Ok(chunk))) => {
                state.received += chunk.len() as u64;
                if state.received > expected { truncated(state.received) } else { Ok(chunk) }
            }
            Ok(Some(Err(error))) => Err(error),
            Ok(None) if state.received == expected => return None,
            Ok(None) => truncated(state.received),
        };
        state.ended = item.is_err();
        Some((item, state))
    })
    .boxed()
}

/// The same body through a task of its own, which ends, and with it whatever `held` holds, when the reader has gone or
/// takes nothing for `limit`.
fn pumped(
    mut body: impl Stream<Item = Result<Bytes, StoreError>> + Send + Unpin + 'static,
    limit: Duration,
    held: impl Send + 'static,
) -> impl Stream<Item = Result<Bytes, StoreError>> + Send {
    let (pieces, taken) = mpsc::channel(PIECES_AHEAD);
    let (whole, is_whole) = oneshot::channel();
    tokio::spawn(async move {
        let _held_while_streaming = held;
        while let Some(piece) = body.next().await {
            match timeout(limit, pieces.send(piece)).await {
                Ok(Ok(())) => {}
                // The reader has gone, or might as well have.
                Ok(Err(_)) | Err(_) => return,
            }
        }
        // A reader that has gone does not hear it.
        let _ = whole.send(());
    });
    futures_util::stream::unfold((taken, Some(is_whole)), move |(mut taken, mut is_whole)| async move {
        if let Some(piece) = taken.recv().await {
            return Some((piece, (taken, is_whole)));
        }
        let stalled = is_whole.take()?.await.is_err();
        stalled.then_some((Err(StoreError::ReaderStalled(limit)), (taken, None)))
    })
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn meta(size: u64) -> ObjectMeta {
        ObjectMeta { size, etag: None, last_modified: None }
    }

    fn body(chunks: &[&'static str]) -> impl Stream<Item = Result<Bytes, StoreError>> + Send + Unpin + 'static {
        let chunks: Vec<_> = chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk.as_bytes()))).collect();
        stream::iter(chunks)
    }

    #[tokio::test]
    async fn a_body_is_whole_or_an_error() {
        assert_eq!(collect(&meta(6), body(&["ab", "cd", "ef"])).await.unwrap(), "abcdef");
        assert_eq!(collect(&meta(2), body(&["ab"])).await.unwrap(), "ab");
        assert_eq!(collect(&meta(0), body(&[])).await.unwrap(), "");
        for (size, chunks) in [(3, &["ab"][..]), (1, &["ab"]), (5, &["ab", "cd"]), (3, &["ab", "cd"])] {
            let error = collect(&meta(size), body(chunks)).await.unwrap_err();
            assert!(matches!(error, StoreError::Truncated { .. }), "{size} {chunks:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_stands_still_fails() {
        let stalled = body(&["ab"]).chain(stream::pending());
        let mut patient = Box::pin(patient(stalled, Duration::from_secs(5), 10));
        assert!(patient.next().await.unwrap().is_ok());
        assert!(matches!(patient.next().await.unwrap(), Err(StoreError::Timeout(_))));
        assert!(patient.next().await.is_none());
    }

    #[tokio::test]
    async fn a_stream_that_ends_early_fails() {
        let items: Vec<_> = patient(body(&["ab"]), Duration::from_secs(5), 3).collect().await;
        assert!(matches!(items.as_slice(), [Ok(_), Err(StoreError::Truncated { expected: 3, received: 2 })]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_nothing_loses_its_place() {
        let place = Arc::new(());
        let endless = stream::repeat_with(|| Ok(Bytes::from_static(b"x")));
        let mut pumped = Box::pin(pumped(endless, Duration::from_secs(30), Arc::clone(&place)));
        assert!(pumped.next().await.unwrap().is_ok());
        assert_eq!(Arc::strong_count(&place), 2);
        tokio::time::sleep(Duration::from_secs(31)).await;
        assert_eq!(Arc::strong_count(&place), 1);
        // What was fetched ahead is still there; then it is told why there is no more.
        let rest: Vec<_> = pumped.collect().await;
        assert!(matches!(rest.last(), Some(Err(StoreError::ReaderStalled(_)))), "{rest:?}");
        assert!(rest.len() <= PIECES_AHEAD + 1);
    }

    #[tokio::test]
    async fn a_reader_that_takes_everything_gets_it() {
        let items: Vec<_> = pumped(body(&["ab", "cd", "ef"]), Duration::from_secs(30), ()).collect().await;
        let pieces: Vec<_> = items.into_iter().map(Result::unwrap).collect();
        assert_eq!(pieces.concat(), b"abcdef");
    }
}
