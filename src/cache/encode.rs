//! Making variants, behind the readers: one at a time, on a thread that gives way to all others. A reader who comes before
//! there is one is sent the document as it is.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::compress::compress;
use super::shared::{Shared, VariantOf, sha256};
use super::variants::{Variant, is_worthwhile};
use super::{Content, DocCache, Entry};
use crate::chain::chain;
use crate::docs::StorageKey;
use crate::http::negotiation::{Accepted, Coding};
use crate::telemetry::VariantResult;

/// Variants that may wait to be made: the pages of a large site. Only their keys wait.
const MOST_WAITING: usize = 1024;

/// How much the thread that compresses gives way: on a machine that is busy throughout it still gets a tenth of a core,
/// so that readers are not sent large answers for ever because of large answers.
const NICENESS: i32 = 10;

/// Variants that are to be made.
#[derive(Debug, Default)]
pub(super) struct Encoding(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    queue: VecDeque<(StorageKey, Coding)>,
    /// The documents in the queue, and the one that is being compressed.
    documents: HashSet<StorageKey>,
    is_worked_off: bool,
}

/// Ends however the work on the queue ends.
struct Shift {
    cache: Arc<DocCache>,
    is_over: bool,
}

impl DocCache {
    /// Whether readers may be sent different bytes of a document, by what they accept.
    pub fn varies(&self, entry: &Entry) -> bool {
        self.options.compression && entry.may_have_variants()
    }

    /// The variant of a document that whoever accepts this would rather have than its bytes as they are, if there is one.
    /// If there may be a better one than there is, it will be made.
    pub fn variant<'e>(
        self: &Arc<Self>,
        key: &StorageKey,
        entry: &'e Entry,
        accepted: Accepted,
    ) -> Option<(Coding, &'e Arc<[u8]>)> {
        let wanted = accepted.best(|coding| *entry.variant(coding) != Variant::Useless);
        let is_to_be_made = *entry.variant(wanted) == Variant::Unmade && wanted != Coding::Identity;
        if is_to_be_made && !entry.is_wanted_later(wanted) {
            self.ask_for_variant(key, wanted);
        }
        let made = |coding| if let Variant::Made(bytes) = entry.variant(coding) { Some(bytes) } else { None };
        let best = accepted.best(|coding| made(coding).is_some());
        made(best).map(|bytes| (best, bytes))
    }

    pub(super) fn ask_for_variant(self: &Arc<Self>, key: &StorageKey, coding: Coding) {
        // Elsewhere nobody could work on it.
        let Ok(runtime) = Handle::try_current() else { return };
        let mut waiting = self.encoding.waiting();
        if waiting.documents.contains(key) {
            return;
        }
        if waiting.documents.len() >= MOST_WAITING {
            drop(waiting);
            return self.instruments.variants.asked_for(coding, VariantResult::Dropped);
        }
        waiting.documents.insert(key.clone());
        waiting.queue.push_back((key.clone(), coding));
        if !std::mem::replace(&mut waiting.is_worked_off, true) {
            drop(waiting);
            runtime.spawn(Shift { cache: Arc::clone(self), is_over: false }.work());
        }
    }

    /// Makes a variant and keeps it, unless the document is another by then.
    async fn make_variant(&self, key: &StorageKey, coding: Coding) -> Option<VariantResult> {
        let Some(held) = self.memory.get(key) else { return Some(VariantResult::Outdated) };
        // Whoever asked for it may have read the document before it was made.
        let bytes = held.identity().filter(|_| *held.variant(coding) == Variant::Unmade).map(Arc::clone)?;
        drop(held);
        let shared = self.shared_variant(key, coding, &bytes).await;
        let (variant, result) = self.come_by_variant(key, coding, &bytes, shared.as_ref()).await;
        let is_news = matches!(result, VariantResult::Made | VariantResult::Useless);
        let told = if let Variant::Made(variant) = &variant { Content::shared(variant) } else { Bytes::new() };
        let mut is_kept = false;
        self.memory.replace(key.clone(), |held| {
            let varied = held.with_variant(&bytes, coding, variant);
            is_kept = varied.is_some();
            varied
        });
        if !is_kept {
            return Some(VariantResult::Outdated);
        }
        if let Some((shared, variant)) = shared.filter(|_| is_news) {
            shared.store_variant(variant, told);
        }
        Some(result)
    }

    /// What the variant of these bytes is in Redis, where there is one.
    async fn shared_variant(
        &self,
        key: &StorageKey,
        coding: Coding,
        bytes: &Arc<[u8]>,
    ) -> Option<(&Arc<Shared>, VariantOf)> {
        let shared = self.shared.as_ref()?;
        let digest = on_its_own_thread(bytes, sha256).await?;
        Some((shared, VariantOf { key: key.clone(), coding, digest }))
    }

    /// The variant that another replica has made, or else a new one.
    async fn come_by_variant(
        &self,
        key: &StorageKey,
        coding: Coding,
        bytes: &Arc<[u8]>,
        shared: Option<&(&Arc<Shared>, VariantOf)>,
    ) -> (Variant, VariantResult) {
        if let Some((shared, variant)) = shared
            && let Some(found) = shared.variant(variant, bytes.len()).await
        {
            let variant = if found.is_empty() { Variant::Useless } else { Variant::Made(Arc::from(found.as_ref())) };
            return (variant, VariantResult::Redis);
        }
        let compressed = match on_its_own_thread(bytes, move |bytes| compress(coding, bytes)).await {
            Some(Ok(compressed)) => compressed,
            Some(Err(error)) => {
                tracing::warn!(%key, coding = coding.as_str(), error = chain(&error), "a document can't be compressed");
                return (Variant::Useless, VariantResult::Failed);
            }
            None => return (Variant::Useless, VariantResult::Failed),
        };
        if !is_worthwhile(bytes.len(), compressed.len()) {
            return (Variant::Useless, VariantResult::Useless);
        }
        self.instruments.variants.compressed(coding, bytes.len(), compressed.len());
        (Variant::Made(compressed.into()), VariantResult::Made)
    }
}

impl Shift {
    async fn work(mut self) {
        while let Some((key, coding)) = self.next() {
            let result = self.cache.make_variant(&key, coding).await;
            // Only now may it be asked for again.
            self.cache.encoding.waiting().documents.remove(&key);
            if let Some(result) = result {
                self.cache.instruments.variants.asked_for(coding, result);
            }
        }
    }

    fn next(&mut self) -> Option<(StorageKey, Coding)> {
        let mut waiting = self.cache.encoding.waiting();
        let next = waiting.queue.pop_front();
        if next.is_none() {
            // Under the same lock, so that whoever comes next finds either this one or nobody.
            waiting.is_worked_off = false;
            self.is_over = true;
        }
        next
    }
}

impl Drop for Shift {
    fn drop(&mut self) {
        if !self.is_over {
            *self.cache.encoding.waiting() = Waiting::default();
        }
    }
}

impl Encoding {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // What is in it is whole whenever the lock is let go, also by a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What comes of `work`, on a thread that is taken from nobody who serves; `None` where that died or there is none.
async fn on_its_own_thread<T: Send + 'static>(
    bytes: &Arc<[u8]>,
    work: impl FnOnce(&[u8]) -> T + Send + 'static,
) -> Option<T> {
    let (done, result) = oneshot::channel();
    let bytes = Arc::clone(bytes);
    let thread = thread::Builder::new().name("variants".to_owned()).spawn(move || {
        // On Linux that is about this thread alone. Where it is not allowed there is nothing to be done.
        let _ = rustix::process::nice(NICENESS);
        let _ = done.send(work(&bytes));
    });
    thread.ok()?;
    result.await.ok()
}
