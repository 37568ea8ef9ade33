//! The memory tier: bounds bytes and nothing else.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use moka::ops::compute::Op;
use moka::sync::Cache;

use super::Entry;
use super::site::Site;
use crate::docs::StorageKey;
use crate::lately::{Changes, Lately, mark};
use crate::telemetry::MemoryUse;

/// Bytes that an entry costs beyond its key, its body and its tag, as `benches/memory.rs` measures them: some 300 are the
/// records of the cache crate, the rest is the entry itself and what is lost to the allocator.
const OVERHEAD: usize = 480;

/// Bytes that a site costs beyond its names: itself, its place among all sites, and what the allocator adds.
const SITE: usize = size_of::<Site>() + 128;

thread_local! {
    /// Entries that this thread found. They keep nothing in memory that the tier has given up.
    static FOUND: RefCell<Lately<Box<str>, Weak<Entry>>> = const { RefCell::new(Lately::new()) };
}

/// Entries by key, bounded by bytes; clones share them.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    entries: Cache<StorageKey, Arc<Entry>>,
    changes: Arc<Changes>,
}

/// Bytes that an entry takes.
pub(super) fn weight(key: &StorageKey, entry: &Entry) -> u64 {
    // A site is shared by its entries. The one that it always has, and one that may be all that it ever has, pay for it.
    let pays_for_site = key.is_metadata() || !entry.is_present();
    let site = if pays_for_site { SITE + 2 * key.site().len() } else { 0 };
    (OVERHEAD + key.as_str().len() + entry.bytes_apart() + site) as u64
}

impl Memory {
    pub(super) fn new(max_bytes: u64) -> Self {
        let weigher = |key: &StorageKey, entry: &Arc<Entry>| u32::try_from(weight(key, entry)).unwrap_or(u32::MAX);
        let entries = Cache::builder().max_capacity(max_bytes).weigher(weigher).build();
        Self { entries, changes: Arc::default() }
    }

    pub(super) fn get(&self, key: &StorageKey) -> Option<Arc<Entry>> {
        self.get_by_text(key.as_str())
    }

    /// What is held under the key of this text.
    pub(super) fn get_by_text(&self, key: &str) -> Option<Arc<Entry>> {
        let look = self.changes.look(mark(key));
        let found = FOUND.with_borrow(|found| found.find(look, |noted| **noted == *key).and_then(Weak::upgrade));
        if found.is_some() {
            return found;
        }
        let entry = self.entries.get(key)?;
        FOUND.with_borrow_mut(|found| found.note(look, || (key.into(), Arc::downgrade(&entry))));
        Some(entry)
    }

    /// Replaces what is held under `key`, or leaves it where `replace` says so.
    pub(super) fn replace(&self, key: StorageKey, replace: impl FnOnce(&Entry) -> Option<Entry>) {
        let replace = |held: Option<moka::Entry<StorageKey, Arc<Entry>>>| {
            held.and_then(|held| replace(held.value())).map_or(Op::Nop, |entry| Op::Put(Arc::new(entry)))
        };
        let mark = mark(key.as_str());
        let _ = self.entries.entry(key).and_compute_with(replace);
        self.changes.changed(mark);
    }

    /// How many entries there are of each that `is_counted` says yes to.
    pub(super) fn count(&self, is_counted: impl Fn(&Entry) -> bool) -> usize {
        self.entries.iter().filter(|(_, entry)| is_counted(entry)).count()
    }

    pub(super) fn put(&self, key: StorageKey, entry: Arc<Entry>) {
        let mark = mark(key.as_str());
        self.entries.insert(key, entry);
        self.changes.changed(mark);
    }

    pub(super) fn forget(&self, key: &StorageKey) {
        self.entries.invalidate(key);
        self.changes.changed(mark(key.as_str()));
    }

    /// What it holds now. The tier counts lazily, so it is made to catch up first.
    pub(super) fn in_use(&self) -> MemoryUse {
        self.entries.run_pending_tasks();
        MemoryUse { bytes: self.entries.weighted_size(), entries: self.entries.entry_count() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::entry::{Failure, Provenance};
    use crate::cache::generation::Generation;
    use crate::cache::hearing::Epoch;
    use crate::clock::Timestamp;
    use crate::docs::Locator;
    use crate::http::etag::ETag;
    use crate::storage::ObjectMeta;

    fn key(file: &str) -> StorageKey {
        let locator = Locator::new(crate::docs::Options::default());
        locator.locate(&format!("/static/docs/default/component/shop/{file}")).unwrap().key
    }

    fn provenance(key: &StorageKey) -> Provenance {
        Provenance {
            confirmed_at: Timestamp::from_secs(0),
            site: Arc::new(Site::new(key.metadata_of_site())),
            generation: Generation::default(),
            heard_since: Epoch::NEVER,
        }
    }

    fn document(key: &StorageKey, body: &[u8]) -> Entry {
        let meta = ObjectMeta { size: body.len() as u64, etag: ETag::from_store("0123456789"), last_modified: None };
        Entry::document(key, meta, body.into(), provenance(key))
    }

    #[test]
    fn an_entry_is_taken_for_all_that_it_holds() {
        let key = key("index.html");
        let kept = document(&key, &[b'x'; 2048]);
        assert_eq!(weight(&key, &kept), (OVERHEAD + key.as_str().len() + "\"0123456789\"".len() + 2544) as u64);
        let failed = kept.unconfirmed(Failure {
            at: Timestamp::from_secs(0),
            is_refusal: false,
            generation: kept.generation,
            heard_since: kept.heard_since,
        });
        assert_eq!(weight(&key, &failed), weight(&key, &kept) + size_of::<Failure>() as u64);
    }

    #[test]
    fn an_entry_fits_its_block() {
        // With the two counts of its `Arc` and what the allocator keeps beside it, a block of 128 bytes. One field more,
        // and each of a million entries costs 16 bytes more than `OVERHEAD` was measured with.
        assert!(size_of::<Entry>() + 3 * size_of::<usize>() <= 128, "{}", size_of::<Entry>());
    }

    #[test]
    fn whoever_may_be_all_there_is_of_a_site_pays_for_it() {
        let (page, metadata) = (key("index.html"), key("techdocs_metadata.json"));
        let absent = Entry::absent(provenance(&page));
        let site = (size_of::<Site>() + 2 * page.site().len()) as u64;
        assert!(weight(&page, &absent) > (OVERHEAD + page.as_str().len()) as u64 + site);
        let longer = (metadata.as_str().len() - page.as_str().len()) as u64;
        let difference = weight(&metadata, &document(&metadata, b"{}")) - weight(&page, &document(&page, b"{}"));
        assert!(difference > longer + site, "{difference}");
    }

    #[test]
    fn what_was_found_often_is_found_as_it_is_now() {
        let memory = Memory::new(1 << 20);
        let key = key("index.html");
        let size = |memory: &Memory| memory.get(&key).map(|entry| entry.meta.size);
        let often = |memory: &Memory| (0..100).map(|_| size(memory)).collect::<std::collections::BTreeSet<_>>();
        memory.put(key.clone(), Arc::new(document(&key, b"1")));
        assert_eq!(often(&memory), [Some(1)].into());
        memory.put(key.clone(), Arc::new(document(&key, b"22")));
        assert_eq!(often(&memory), [Some(2)].into());
        memory.replace(key.clone(), |_| Some(document(&key, b"333")));
        assert_eq!(often(&memory), [Some(3)].into());
        let other = Memory::new(1 << 20);
        assert_eq!(often(&other), [None].into(), "each tier has its own");
        assert_eq!(often(&memory), [Some(3)].into());
        // By another thread, too.
        std::thread::scope(|scope| drop(scope.spawn(|| memory.put(key.clone(), Arc::new(document(&key, b"4444"))))));
        assert_eq!(often(&memory), [Some(4)].into());
        memory.forget(&key);
        assert_eq!(often(&memory), [None].into());
    }

    #[test]
    fn the_budget_holds_whatever_comes() {
        let memory = Memory::new(1 << 20);
        for number in 0..5000 {
            let key = key(&format!("{number}.html"));
            memory.put(key.clone(), Arc::new(document(&key, &vec![b'x'; number % 4000])));
            assert!(memory.in_use().bytes <= 1 << 20);
        }
        assert!(memory.in_use().bytes > 900 << 10, "{:?}", memory.in_use());
    }
}
