//! The sites that somebody reads.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::generation::Generation;
use super::site::Site;
use crate::docs::StorageKey;

/// Sites by name. Bounded by what holds them: entries in memory, which are bounded by bytes, and requests.
#[derive(Debug, Default)]
pub(super) struct Sites {
    by_name: Mutex<HashMap<Box<str>, Arc<Site>>>,
    floors: Mutex<Floors>,
}

/// Which generation the sites below a prefix have at least, by prefix: what purges of many sites leave behind.
pub(super) type Floors = HashMap<Box<str>, Generation>;

impl Sites {
    /// Purges by prefix that are told apart; with one more, all of them together are one of everything.
    pub(super) const MOST_FLOORS: usize = 64;

    /// The site that `key` belongs to, new where nobody has read it lately.
    pub(super) fn of(&self, key: &StorageKey) -> Arc<Site> {
        let mut by_name = self.by_name();
        if let Some(site) = by_name.get(key.site()) {
            return Arc::clone(site);
        }
        let site = Arc::new(Site::new(key.metadata_of_site()));
        by_name.insert(key.site().into(), Arc::clone(&site));
        site
    }

    /// The site of this name, where somebody has read it lately.
    pub(super) fn named(&self, name: &str) -> Option<Arc<Site>> {
        self.by_name().get(name).cloned()
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Arc<Site>> {
        self.by_name().values().cloned().collect()
    }

    /// Forgets those that nothing belongs to any more.
    pub(super) fn sweep(&self) {
        let mut by_name = self.by_name();
        by_name.retain(|_, site| Arc::strong_count(site) > 1);
        if by_name.capacity() > 4 * by_name.len() + 1024 {
            by_name.shrink_to_fit();
        }
    }

    /// Begins at least `generation` in every site below `prefix`, known or not. Returns the names of known ones that it
    /// raised.
    pub(super) fn raise_below(&self, prefix: &str, generation: Generation) -> HashSet<String> {
        let mut floors = self.floors();
        let floor = floors.entry(prefix.into()).or_default();
        *floor = generation.max(*floor);
        if floors.len() > Self::MOST_FLOORS {
            let highest = floors.values().copied().max().unwrap_or_default();
            *floors = Floors::from([(Box::default(), highest)]);
        }
        drop(floors);
        let raised = self.all().into_iter().filter(|site| covers(prefix, site.name()) && site.raise(generation));
        raised.map(|site| site.name().to_owned()).collect()
    }

    /// The generation that a site has at least.
    pub(super) fn floor_of(&self, site: &str) -> Generation {
        let floors = self.floors();
        let below = floors.iter().filter(|(prefix, _)| covers(prefix, site)).map(|(_, floor)| *floor);
        below.max().unwrap_or_default()
    }

    /// What purges of many sites have left behind.
    pub(super) fn floors(&self) -> MutexGuard<'_, Floors> {
        // The map is whole whenever the lock is let go.
        self.floors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn by_name(&self) -> MutexGuard<'_, HashMap<Box<str>, Arc<Site>>> {
        // The same.
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether keys that begin with `prefix` may belong to a site: a prefix may end anywhere, also inside of one.
fn covers(prefix: &str, site: &str) -> bool {
    site.starts_with(prefix) || prefix.strip_prefix(site).is_some_and(|inside| inside.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_covers_the_sites_that_it_reaches_into() {
        for (prefix, site, expected) in [
            ("", "default/component/shop", true),
            ("default/comp", "default/component/shop", true),
            ("default/component/shop", "default/component/shop", true),
            ("default/component/shop/guide/", "default/component/shop", true),
            ("default/component/shop", "default/component/shop-two", true),
            ("default/component/shop/guide", "default/component/sho", false),
            ("other", "default/component/shop", false),
        ] {
            assert_eq!(covers(prefix, site), expected, "{prefix} {site}");
        }
    }

    #[test]
    fn purges_by_many_prefixes_become_one_of_everything() {
        let sites = Sites::default();
        for prefix in 0..=Sites::MOST_FLOORS {
            sites.raise_below(&format!("team{prefix}/"), Generation::new(prefix as u64 + 1));
        }
        assert_eq!(sites.floors().len(), 1);
        assert_eq!(sites.floor_of("elsewhere/component/a"), Generation::new(Sites::MOST_FLOORS as u64 + 1));
    }
}
