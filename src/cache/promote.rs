//! What Redis has of a document, and whether it will do.

use std::sync::Arc;
use std::time::Duration;

use super::entry::Provenance;
use super::freshness::{Excuse, Freshness};
use super::hearing::Epoch;
use super::rumour::Rumour;
use super::shared::{Confirmation, Lease, LeaseGuard, Loaded, Record, Shared, Waited};
use super::site::Site;
use super::{Content, DocCache, Entry, Landed};
use crate::docs::StorageKey;
use crate::http::cache_status::CacheOutcome;

/// How long a replica that fetches a document for the first time keeps the others from doing the same, unless it is done
/// before; then it has probably died.
const LEASE: Duration = Duration::from_secs(5);

/// How long the others wait for it: longer than even a slow store takes, shorter than readers wait.
const PATIENCE_WITH_LEASE: Duration = Duration::from_secs(4);

/// What Redis has of a document.
pub(super) enum Promoted {
    /// What will do.
    Fit(Landed),
    /// What storage has to confirm.
    Unfit(Arc<Entry>),
    /// Nothing that is not held already.
    Nothing,
}

impl DocCache {
    /// What Redis has of a document; not its body, where that is held.
    pub(super) async fn ask_redis(&self, shared: &Shared, key: &StorageKey, held: Option<&Arc<Entry>>) -> Loaded {
        let body_held = held.filter(|entry| matches!(entry.content(), Content::Body(_))).map(|entry| &entry.meta);
        shared.load(key, body_held).await
    }

    /// What Redis has of a document, where that will do. What will not do is held all the same: storage may only have to
    /// confirm it.
    pub(super) async fn promote(
        self: &Arc<Self>,
        key: &StorageKey,
        held: Option<&Arc<Entry>>,
        loaded: Loaded,
        site: &Arc<Site>,
        rumour: &Rumour,
    ) -> Promoted {
        let Some(entry) = self.entry_of(key, held, loaded, site) else { return Promoted::Nothing };
        site.raise(entry.generation);
        let entry = Arc::new(if rumour.is_of_another_than(entry.version()) { entry.doubted() } else { entry });
        let now = self.clock.now();
        let outcome = match self.freshness(&entry, now) {
            Freshness::Fresh(_) => Some(CacheOutcome::Redis),
            Freshness::Expired { excuse: Excuse::WhileRevalidating, .. } if held.is_none() => {
                Some(CacheOutcome::Updating)
            }
            Freshness::Expired { .. } => None,
        };
        if outcome.is_none() && held.is_some_and(|held| held.confirmed_at >= entry.confirmed_at) {
            return Promoted::Nothing;
        }
        self.memory.put(key.clone(), Arc::clone(&entry));
        site.is_published(now);
        self.visited(site);
        match outcome {
            Some(outcome) if self.is_fit_once_watched(key, &entry).await => Promoted::Fit(Landed { entry, outcome }),
            _ => Promoted::Unfit(entry),
        }
    }

    /// The entry that Redis has, unless it is none or what is held here is worth more.
    fn entry_of(&self, key: &StorageKey, held: Option<&Arc<Entry>>, loaded: Loaded, site: &Arc<Site>) -> Option<Entry> {
        let confirmation = match &loaded {
            Loaded::Document(Record { confirmation, .. }) | Loaded::Same(confirmation) => *confirmation,
            Loaded::Nothing | Loaded::Unavailable => return None,
        };
        // What was confirmed before others were lost may be what one of them would have told of.
        let is_certain = confirmation.at > self.hearing.back_at();
        let from = Provenance {
            confirmed_at: confirmation.at,
            site: Arc::clone(site),
            generation: self.believable(confirmation.generation.number())?,
            heard_since: if is_certain { self.hearing.epoch() } else { Epoch::NEVER },
        };
        match (loaded, held) {
            // An older version, of which nobody has told Redis yet that it is.
            (Loaded::Document(Record { meta, .. }), Some(held))
                if held.confirmed_at > from.confirmed_at && !held.is_version(Some(&meta)) =>
            {
                None
            }
            (Loaded::Document(Record { meta, body, .. }), _) => {
                Some(Entry::document(key, meta, Arc::from(body.as_ref()), from).inheriting(held.map(Arc::as_ref)))
            }
            // What is doubted by name here has to be confirmed by storage.
            (Loaded::Same(_), Some(held)) if held.heard_since == Epoch::NEVER => None,
            (Loaded::Same(_), Some(held)) => Some(held.confirmed(from)),
            _ => None,
        }
    }

    /// Whether what Redis had will still do once its site has been looked at, which nobody here may have done for long.
    async fn is_fit_once_watched(self: &Arc<Self>, key: &StorageKey, entry: &Arc<Entry>) -> bool {
        if !entry.site.is_unwatched(self.clock.now(), self.options.publish_check) {
            return true;
        }
        // The look at the site is this very fetch, from storage.
        if key.is_metadata() {
            return false;
        }
        self.look_now(&entry.site).await;
        matches!(self.freshness(entry, self.clock.now()), Freshness::Fresh(_))
    }

    /// Waits, for a while, for another replica that fetches the same document, and takes what that has brought; else the
    /// lease to fetch it, as far as Redis gives one.
    pub(super) async fn ask_for_lease(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        key: &StorageKey,
        site: &Arc<Site>,
        rumour: &Rumour,
    ) -> (Option<LeaseGuard>, Promoted) {
        match shared.lease(key, LEASE).await {
            Lease::Mine(lease) => {
                // Whoever had it before may have come back between our look and our asking.
                let loaded = shared.load(key, None).await;
                (Some(lease), self.promote(key, None, loaded, site, rumour).await)
            }
            Lease::Unavailable => (None, Promoted::Nothing),
            Lease::Others => {
                let before = self.clock.now().minus(self.options.fresh_for);
                let is_wanted = |found: Confirmation| found.generation >= site.generation() && found.at > before;
                match shared.wait(key, None, is_wanted, PATIENCE_WITH_LEASE).await {
                    Waited::Loaded(loaded) => (None, self.promote(key, None, loaded, site, rumour).await),
                    Waited::Free | Waited::TimedOut | Waited::Unavailable => (None, Promoted::Nothing),
                }
            }
        }
    }
}
