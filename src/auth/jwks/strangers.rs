//! Plugins that nobody configured by name but whose tokens are shown all the same.

use std::sync::Arc;
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::budget::Budget;
use super::endpoint::{Endpoint, NoKey};
use crate::clock::Timestamp;

/// A bounded number of endpoints, the least recently used of which is forgotten first, with one budget for all that
/// is fetched from them: whoever invents plugins makes us fetch no more than that, and remember no more.
#[derive(Debug)]
pub(super) struct Strangers {
    endpoints: Cache<String, Arc<Endpoint>>,
    budget: Arc<Budget>,
}

impl Strangers {
    /// For plugins that no entry of `callboard.auth.allow` covers: they will not read, but are to be told so.
    pub(super) fn unwelcome() -> Self {
        Self::new(64, Budget::ten_a_minute())
    }

    /// For plugins that an entry such as `plugin:*` covers. A company may have dozens of them, all of which ask again
    /// when we start.
    pub(super) fn welcome() -> Self {
        Self::new(256, Budget::new(30, Duration::from_secs(2)))
    }

    fn new(endpoints: u64, budget: Budget) -> Self {
        // Not TinyLFU: it would keep out a new plugin in favour of a stranger's that is asked for more often.
        let endpoints = Cache::builder().max_capacity(endpoints).eviction_policy(EvictionPolicy::lru()).build();
        Self { endpoints, budget: Arc::new(budget) }
    }

    /// The endpoint of plugin `id`, made by `make` if it is not among those known. It is not made if nothing could be
    /// fetched from it just now, so that inventing plugins can't push out those that are real.
    pub(super) fn endpoint(
        &self,
        id: &str,
        now: Timestamp,
        make: impl FnOnce() -> Option<Endpoint>,
    ) -> Result<Arc<Endpoint>, NoKey> {
        if let Some(known) = self.endpoints.get(id) {
            return Ok(known);
        }
        if !self.budget.has_room(now) {
            return Err(NoKey::Throttled);
        }
        let endpoint = make().ok_or(NoKey::NoSuchIssuer)?;
        Ok(self.endpoints.get_with_by_ref(id, || Arc::new(endpoint.of_stranger(Arc::clone(&self.budget)))))
    }
}
