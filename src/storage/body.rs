//! What bodies are made to promise: to be whole, to come on, and to be given up with a reader who takes nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::pieces::Pieces;
use super::{ObjectMeta, StoreError};

/// Pieces of a large object that are fetched before its reader asks for them.
const PIECES_AHEAD: usize = 2;

/// How long a body may take.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// It must be through by then; this is how long it has had in all.
    By(Instant, Duration),
    /// It must not stand still for so long.
    Steady(Duration),
}

impl Pace {
    /// What `step` brings, where it comes in time.
    pub(super) async fn keep<T>(self, step: impl Future<Output = T>) -> Result<T, StoreError> {
        let (until, limit) = match self {
            Self::By(deadline, limit) => (deadline, limit),
            Self::Steady(limit) => (Instant::now() + limit, limit),
        };
        timeout_at(until, step).await.map_err(|_| StoreError::Timeout(limit))
    }
}

/// A body in memory. Each piece of it is shown to `seen`, with how many bytes have come up to its end.
pub(super) async fn collect(
    meta: &ObjectMeta,
    mut body: impl Stream<Item = Result<Bytes, StoreError>> + Unpin,
    pace: Pace,
    mut seen: impl FnMut(&Bytes, u64),
) -> Result<Arc<[u8]>, StoreError> {
    // The caller has bounded the size. A body of another size than was told is an error, not a larger buffer.
    let mut pieces = Pieces::default();
    while let Some(piece) = pace.keep(body.next()).await? {
        let piece = piece?;
        let received = pieces.length() + piece.len() as u64;
        if received > meta.size {
            return Err(StoreError::Truncated { expected: meta.size, received });
        }
        seen(&piece, received);
        pieces.push(piece);
    }
    if pieces.length() != meta.size {
        return Err(StoreError::Truncated { expected: meta.size, received: pieces.length() });
    }
    Ok(pieces.whole())
}

/// A body that fails when it stands still for `limit`, or does not come to `expected` bytes.
pub(super) fn patient(
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
pub(super) fn pumped(
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

    async fn collected(size: u64, chunks: &[&'static str]) -> Result<String, StoreError> {
        let whole = collect(&meta(size), body(chunks), Pace::Steady(Duration::from_secs(5)), |_, _| {}).await?;
        Ok(String::from_utf8(whole.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_body_is_whole_or_an_error() {
        assert_eq!(collected(6, &["ab", "cd", "ef"]).await.unwrap(), "abcdef");
        assert_eq!(collected(2, &["ab"]).await.unwrap(), "ab");
        assert_eq!(collected(0, &[]).await.unwrap(), "");
        for (size, chunks) in [(3, &["ab"][..]), (1, &["ab"]), (5, &["ab", "cd"]), (3, &["ab", "cd"])] {
            let error = collected(size, chunks).await.unwrap_err();
            assert!(matches!(error, StoreError::Truncated { .. }), "{size} {chunks:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_has_its_time_for_all_of_it_or_for_each_piece() {
        let (piece, limit) = (Duration::from_secs(2), Duration::from_secs(5));
        let slow = || {
            let pieces = body(&["ab", "cd", "ef"]).then(move |chunk| async move {
                tokio::time::sleep(piece).await;
                chunk
            });
            Box::pin(pieces)
        };
        let steadily = collect(&meta(6), slow(), Pace::Steady(limit), |_, _| {}).await;
        assert_eq!(steadily.unwrap().as_ref(), b"abcdef");
        let in_time = collect(&meta(6), slow(), Pace::By(Instant::now() + limit, limit), |_, _| {}).await;
        assert!(matches!(in_time, Err(StoreError::Timeout(told)) if told == limit));
        let stalled = Box::pin(slow().take(1).chain(stream::pending()));
        let standing = collect(&meta(6), stalled, Pace::Steady(limit), |_, _| {}).await;
        assert!(matches!(standing, Err(StoreError::Timeout(told)) if told == limit));
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
