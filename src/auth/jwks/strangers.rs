//! Plugins that nobody configured by name but whose tokens are shown all the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::budget::Budget;
use super::endpoint::{Endpoint, NoKey};
use super::newcomers::Newcomers;
use crate::clock::Timestamp;

/// A bounded number of endpoints in two classes:
///
/// - newcomers have never shown a key. Whoever invents plugins makes us fetch no more than their common budget, and
///   remember no more than their number; that has been asked for longest ago is forgotten first;
/// - settled ones have. They are plugins for certain, so that no stranger can invent them: each has a budget of its own,
///   like a configured one, and newcomers push none of them out.
#[derive(Debug)]
pub(super) struct Strangers {
    known: Mutex<Known>,
    /// Of each class.
    capacity: usize,
    newcomers: Arc<Newcomers>,
}

#[derive(Debug, Default)]
struct Known {
    endpoints: HashMap<String, Entry>,
    /// Questions so far: a clock that is never set back.
    asked: u64,
}

#[derive(Debug)]
struct Entry {
    endpoint: Arc<Endpoint>,
    last_asked: u64,
}

impl Strangers {
    /// For plugins that no entry of `callboard.auth.allow` covers: they will not read, unless it is for a user who may,
    /// but are to be told so. At most ten fetches in any 60 seconds in all.
    pub(super) fn unwelcome() -> Self {
        Self::new(64, Budget::new(2, Duration::from_secs(12)), Budget::new(1, Duration::from_secs(30)))
    }

    /// For plugins that an entry such as `plugin:*` covers. A company may have dozens of them, all of which ask again
    /// when we start.
    pub(super) fn welcome() -> Self {
        Self::new(256, Budget::new(30, Duration::from_secs(2)), Budget::new(5, Duration::from_secs(2)))
    }

    fn new(capacity: usize, first: Budget, again: Budget) -> Self {
        Self { known: Mutex::default(), capacity, newcomers: Arc::new(Newcomers::new(first, again)) }
    }

    /// The endpoint of plugin `id`, made by `make` if it is not among those known. It is not made if nothing could be
    /// fetched from it just now, so that a flood of invented plugins pushes out newcomers only slowly.
    pub(super) fn endpoint(
        &self,
        id: &str,
        now: Timestamp,
        make: impl FnOnce() -> Option<Endpoint>,
    ) -> Result<Arc<Endpoint>, NoKey> {
        let known = &mut *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.asked += 1;
        if let Some(entry) = known.endpoints.get_mut(id) {
            entry.last_asked = known.asked;
            return Ok(Arc::clone(&entry.endpoint));
        }
        self.newcomers.has_room(id, now).map_err(|retry_after| NoKey::Throttled { retry_after })?;
        let endpoint = make().ok_or(NoKey::NoSuchIssuer)?;
        let endpoint = Arc::new(endpoint.of_stranger(id, Arc::clone(&self.newcomers)));
        known.make_room(self.capacity);
        known.endpoints.insert(id.to_owned(), Entry { endpoint: Arc::clone(&endpoint), last_asked: known.asked });
        Ok(endpoint)
    }
}

impl Known {
    /// Makes room for one newcomer, and for those that have settled since the last one came.
    fn make_room(&mut self, capacity: usize) {
        self.shrink(false, capacity.saturating_sub(1));
        self.shrink(true, capacity);
    }

    /// Forgets those that were asked for longest ago of those settled or not. It looks at all of them, but no more often
    /// than newcomers are let in.
    fn shrink(&mut self, settled: bool, to: usize) {
        let alike = self.endpoints.iter().filter(|(_, entry)| entry.endpoint.is_settled() == settled);
        let mut ages: Vec<u64> = alike.map(|(_, entry)| entry.last_asked).collect();
        ages.sort_unstable_by(|a, b| b.cmp(a));
        if let Some(&longest_ago) = ages.get(to) {
            self.endpoints.retain(|_, entry| entry.endpoint.is_settled() != settled || entry.last_asked > longest_ago);
        }
    }
}
