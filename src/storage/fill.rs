//! An object on its way into memory, which all who want it read along.
//!
//! Whoever fetches it has a [`Fill`], everybody else a [`Filling`]. The pieces lie in memory once, as they came; a reader is
//! a place in them and a waker.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use futures_util::stream::{StreamExt, unfold};
use tokio::sync::watch;

use super::pieces::{Pieces, slice};
use super::{ObjectBody, ObjectMeta, StoreError};

/// How far it has come.
#[derive(Debug)]
enum Progress {
    /// This much may be read.
    Coming(Pieces),
    /// What was read up to now is not what the object is.
    Spoiled,
    /// Here it is.
    Whole(Bytes),
    /// It does not come.
    Failed(StoreError),
}

/// Where whoever fetches an object puts what has come of it. Dropped before its end, it fails for all who read along.
pub struct Fill {
    // Dropped first: who hears that it has failed finds gone what `begun` holds.
    begun: Box<dyn Fn(ObjectMeta, Filling) + Send + Sync>,
    progress: OnceLock<watch::Sender<Progress>>,
}

impl Fill {
    /// One that tells `begun` once it is known what the object is, and that it is worth being read along.
    pub fn new(begun: impl Fn(ObjectMeta, Filling) + Send + Sync + 'static) -> Self {
        Self { begun: Box::new(begun), progress: OnceLock::new() }
    }

    /// Whether anybody may be reading along.
    pub fn has_begun(&self) -> bool {
        self.progress.get().is_some()
    }

    /// From now on it may be read along.
    pub(super) fn begin(&self, meta: &ObjectMeta) {
        let (progress, seen) = watch::channel(Progress::Coming(Pieces::default()));
        if self.progress.set(progress).is_ok() {
            (self.begun)(meta.clone(), Filling(seen));
        }
    }

    /// Lets a further piece be read.
    pub(super) fn push(&self, piece: &Bytes) {
        self.modify(|progress| {
            if let Progress::Coming(pieces) = progress {
                pieces.push(piece.clone());
            }
        });
    }

    /// Takes in that the object is `whole` after all: whoever has read something else is not to take it for the object.
    pub(super) fn settle_for(&self, whole: Option<&[u8]>) {
        self.modify(|progress| {
            let fits = matches!(progress, Progress::Coming(pieces) if whole.is_some_and(|whole| pieces.begin(whole)));
            if !fits {
                *progress = Progress::Spoiled;
            }
        });
    }

    /// Ends it for all who read along: with the object, or without.
    pub fn end(&self, result: Result<Arc<[u8]>, StoreError>) {
        self.modify(|progress| {
            *progress = match (result, &*progress) {
                (Ok(_), Progress::Spoiled) => Progress::Failed(StoreError::Corrupt),
                (Ok(whole), _) => Progress::Whole(Bytes::from_owner(whole)),
                (Err(error), _) => Progress::Failed(error),
            }
        });
    }

    fn modify(&self, modify: impl FnOnce(&mut Progress)) {
        if let Some(progress) = self.progress.get() {
            progress.send_modify(modify);
        }
    }
}

impl fmt::Debug for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fill").field("progress", &self.progress).finish_non_exhaustive()
    }
}

/// An object that is being fetched, and may be read meanwhile.
#[derive(Debug, Clone)]
pub struct Filling(watch::Receiver<Progress>);

impl Filling {
    /// These bytes of it, as they come; they must lie inside the object. Its last piece comes once all of it is known to be
    /// sound: nobody is sent all of what is not.
    pub fn read(&self, range: Range<u64>) -> ObjectBody {
        unfold(Some((self.0.clone(), range)), async |place| {
            let (mut seen, mut range) = place.filter(|(_, range)| !range.is_empty())?;
            let next = match seen.wait_for(|progress| progress.has(&range)).await {
                Ok(progress) => progress.next(&range),
                Err(_) => Err(StoreError::Abandoned),
            };
            Some(match next {
                Ok(piece) => {
                    range.start += piece.len() as u64;
                    (Ok(piece), Some((seen, range)))
                }
                Err(error) => (Err(error), None),
            })
        })
        .boxed()
    }

    /// Why it does not come, once that is known.
    pub fn failure(&self) -> Option<StoreError> {
        // Looked at in this order: its end is told before it is gone.
        let is_gone = self.0.has_changed().is_err();
        match &*self.0.borrow() {
            Progress::Failed(error) => Some(error.clone()),
            Progress::Coming(_) | Progress::Spoiled if is_gone => Some(StoreError::Abandoned),
            Progress::Coming(_) | Progress::Spoiled | Progress::Whole(_) => None,
        }
    }
}

impl Progress {
    /// Whether there is anything to be said to whoever wants this range next.
    fn has(&self, range: &Range<u64>) -> bool {
        match self {
            Self::Coming(pieces) => pieces.length() > range.start,
            Self::Spoiled => false,
            Self::Whole(_) | Self::Failed(_) => true,
        }
    }

    fn next(&self, range: &Range<u64>) -> Result<Bytes, StoreError> {
        let piece = match self {
            Self::Coming(pieces) => pieces.next(range),
            Self::Whole(whole) => slice(whole, range.start, range.end),
            Self::Failed(error) => return Err(error.clone()),
            Self::Spoiled => Bytes::new(),
        };
        // A range beyond the object's end is a mistake of ours, and must not be asked for again and again.
        if piece.is_empty() { Err(StoreError::Changed) } else { Ok(piece) }
    }
}

/// The body of an object that was opened to be looked at, for the first who wants all of it.
pub struct Opened(Mutex<Option<ObjectBody>>);

impl Opened {
    pub(super) fn new(body: ObjectBody) -> Self {
        Self(Mutex::new(Some(body)))
    }

    /// The body, if nobody else has taken it.
    pub fn take(&self) -> Option<ObjectBody> {
        // It is there or not whenever the lock is let go.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opened")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fill of `size` bytes that has begun, and what its readers have.
    fn begun(size: u64) -> (Fill, Filling) {
        let seen = Arc::new(Mutex::new(None));
        let told = Arc::clone(&seen);
        let fill = Fill::new(move |_, filling| *told.lock().unwrap() = Some(filling));
        fill.begin(&ObjectMeta { size, etag: None, last_modified: None });
        let filling = seen.lock().unwrap().take().unwrap();
        (fill, filling)
    }

    async fn rest(body: ObjectBody) -> Vec<Result<Bytes, StoreError>> {
        body.collect().await
    }

    #[tokio::test]
    async fn all_readers_read_the_same_memory() {
        let (fill, filling) = begun(20);
        fill.push(&Bytes::from_static(b"0123456789"));
        let (mut one, mut other) = (filling.read(0..20), filling.read(5..8));
        let (first, part) = (one.next().await.unwrap().unwrap(), other.next().await.unwrap().unwrap());
        assert_eq!((first.as_ref(), part.as_ref()), (&b"0123456789"[..], &b"567"[..]));
        assert_eq!(part.as_ptr(), first[5..].as_ptr());
        assert!(other.next().await.is_none());
        let whole: Arc<[u8]> = Arc::from(&b"0123456789abcdefghij"[..]);
        fill.end(Ok(Arc::clone(&whole)));
        let last = one.next().await.unwrap().unwrap();
        assert_eq!(last.as_ptr(), whole[10..].as_ptr());
        assert!(one.next().await.is_none());
        assert_eq!(rest(filling.read(0..20)).await.len(), 1);
        assert!(filling.failure().is_none());
    }

    #[tokio::test]
    async fn who_reads_along_hears_of_every_end() {
        for end in [Some(StoreError::Corrupt), None] {
            let (fill, filling) = begun(20);
            fill.push(&Bytes::from_static(b"0123456789"));
            let reader = tokio::spawn(rest(filling.read(0..20)));
            tokio::task::yield_now().await;
            assert!(filling.failure().is_none());
            let expected = end.clone().unwrap_or(StoreError::Abandoned).as_str();
            if let Some(error) = end {
                fill.end(Err(error));
            }
            drop(fill);
            let read = reader.await.unwrap();
            let [Ok(piece), Err(error)] = &read[..] else { panic!("{read:?}") };
            assert_eq!((piece.as_ref(), error.as_str()), (&b"0123456789"[..], expected));
            assert_eq!(filling.failure().unwrap().as_str(), expected);
        }
    }

    #[tokio::test]
    async fn who_has_read_something_else_does_not_get_the_end() {
        for (whole, is_fit) in [(Some(&b"0123456789ab"[..]), true), (Some(b"0123456780ab"), false), (None, false)] {
            let (fill, filling) = begun(12);
            fill.push(&Bytes::from_static(b"0123456789"));
            fill.settle_for(whole);
            fill.end(Ok(Arc::from(whole.unwrap_or_default())));
            let read = rest(filling.read(0..12)).await;
            assert_eq!(read.iter().all(Result::is_ok), is_fit, "{read:?}");
        }
    }
}
