//! What clouds tell of changed objects: their sites are looked at at once.

use std::sync::{Arc, Mutex, PoisonError};

use super::DocCache;
use super::site::{Site, Touch};
use crate::clock::Timestamp;
use crate::docs::StorageKey;
use crate::telemetry::NewGeneration;

/// Sites a second that nobody reads here and that other replicas are told of. What is beyond that they find out by
/// themselves.
const STRANGERS_A_SECOND: u32 = 50;

/// Bounds what is told of sites that nobody reads here.
#[derive(Debug, Default)]
pub(super) struct Strangers(Mutex<(u64, u32)>);

impl Strangers {
    fn admit(&self, now: Timestamp) -> bool {
        // Two numbers are whole whenever the lock is let go.
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.0 != now.as_secs() {
            *counted = (now.as_secs(), 0);
        }
        counted.1 = counted.1.saturating_add(1);
        counted.1 <= STRANGERS_A_SECOND
    }
}

impl DocCache {
    /// A site's metadata, and that of those that somebody reads here by another spelling of the same names: a store that
    /// keeps them in lower case holds all of these in one place.
    pub fn spellings_of(&self, metadata: StorageKey) -> Vec<StorageKey> {
        let lower = metadata.site().to_lowercase();
        let others = self.sites.all().into_iter().filter(|site| site.name() != metadata.site());
        let others = others.filter(|site| site.name().to_lowercase() == lower).map(|site| site.metadata.clone());
        others.chain([metadata.clone()]).collect()
    }

    /// Takes in that something in the site of `key` has been written or deleted: the site is in the middle of a publish,
    /// and what is held of it must be confirmed before it is served again, by all replicas. However many objects change,
    /// that begins anew no more than once a second.
    pub async fn site_touched(self: &Arc<Self>, key: &StorageKey) {
        let now = self.clock.now();
        let read_here = self.sites.named(key.site());
        let is_read_here = read_here.is_some();
        let site = match read_here {
            Some(site) => site,
            // Somebody may read it elsewhere.
            None if self.shared.is_some() && self.strangers.admit(now) => self.site_of(key).await,
            None => return,
        };
        site.settle(now, self.options.settle_for);
        match site.touch(now) {
            Touch::Now => self.begin_anew(&site, is_read_here),
            Touch::In(wait) => {
                let cache = Arc::clone(self);
                tokio::spawn(async move {
                    tokio::time::sleep(wait).await;
                    cache.begin_anew(&site, is_read_here);
                });
            }
            Touch::Awaited => {}
        }
    }

    fn begin_anew(self: &Arc<Self>, site: &Arc<Site>, is_read_here: bool) {
        let now = self.clock.now();
        let generation = site.begin_generation(now);
        tracing::debug!(site = site.name(), generation = generation.number(), "a site's cloud tells of a change");
        self.instruments.sites.new_generation(NewGeneration::Event, 1);
        if let Some(shared) = &self.shared {
            self.tell_of_site(shared, site);
        }
        if is_read_here {
            site.hurry(now);
            self.look(site, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::docs::{Locator, Options};

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn many_changes_begin_one_generation_a_second_and_the_last_one_counts() {
        let key = Locator::new(Options::default()).locate("/static/docs/d/c/s/x").unwrap().key;
        let site = Site::new(key.metadata_of_site());
        assert_eq!(site.touch(at(10_000)), Touch::Now);
        assert_eq!(site.touch(at(10_300)), Touch::In(Duration::from_millis(700)));
        assert_eq!(site.touch(at(10_400)), Touch::Awaited);
        assert_eq!(site.touch(at(10_999)), Touch::Awaited);
        assert_eq!(site.touch(at(11_200)), Touch::In(Duration::from_millis(800)));
        assert_eq!(site.touch(at(13_500)), Touch::Now);
        // The clock was set back.
        assert_eq!(site.touch(at(5_000)), Touch::Now);
    }

    #[test]
    fn strangers_are_bounded_by_the_second() {
        let strangers = Strangers::default();
        let admitted = (0..200).filter(|_| strangers.admit(at(1_000))).count();
        assert_eq!(admitted, STRANGERS_A_SECOND as usize);
        assert!(strangers.admit(at(2_000)));
    }
}
