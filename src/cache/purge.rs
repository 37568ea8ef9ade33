//! Purging: what is held must be confirmed by storage before it is served again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::DocCache;
use super::generation::Generation;
use crate::docs::StorageKey;
use crate::telemetry::NewGeneration;

/// How far the clocks of replicas may be apart.
const CLOCKS_APART: Duration = Duration::from_secs(10);

/// What a purge did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purged {
    /// Sites that somebody reads here, and that have a new generation now.
    pub sites: usize,
    /// Documents of theirs that are held in memory here.
    pub documents: usize,
    /// Who else knows of it.
    pub replicas: Replicas,
}

/// Who else knows of a purge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replicas {
    /// There are none, as far as the configuration says.
    None,
    /// They are told, and what lies in Redis is not served unconfirmed either.
    Told,
    /// Redis can't be reached: they find out by themselves, when they next look.
    Unreachable,
}

impl Replicas {
    /// The word for it in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Told => "told",
            Self::Unreachable => "unreachable",
        }
    }
}

impl DocCache {
    /// Has everything in the site of `key` confirmed before it is served again, by all replicas.
    pub async fn purge_site(self: &Arc<Self>, key: &StorageKey) -> Purged {
        let site = self.site_of(key).await;
        let generation = site.begin_generation(self.clock.now());
        self.instruments.sites.new_generation(NewGeneration::Purge, 1);
        if let Some(shared) = &self.shared {
            self.tell_of_site(shared, &site);
        }
        let name = site.name().to_owned();
        let documents = self.count(move |site, at| site == name && at < generation).await;
        Purged { sites: 1, documents, replicas: self.replicas() }
    }

    /// The same for every site that has keys beginning with `prefix`; all of them, where it is empty.
    pub async fn purge_below(self: &Arc<Self>, prefix: &str) -> Purged {
        if let Some(shared) = &self.shared {
            // What others have purged meanwhile is not to be written over.
            let _ = self.read_floors(shared).await;
        }
        let (raised, generation) = self.begin_below(prefix);
        self.instruments.sites.new_generation(NewGeneration::Purge, raised.len());
        let names = raised.clone();
        let documents = self.count(move |site, at| at < generation && names.contains(site)).await;
        Purged { sites: raised.len(), documents, replicas: self.replicas() }
    }

    /// Begins a new generation in every site below `prefix`, on all replicas. Returns the names of those that somebody
    /// reads here.
    pub(super) fn begin_below(&self, prefix: &str) -> (HashSet<String>, Generation) {
        let highest = self.sites.all().iter().map(|site| site.generation()).max().unwrap_or_default();
        let next = Generation::new(highest.number().saturating_add(1));
        // Sites that nobody reads here may have begun theirs by a clock that is ahead.
        let generation = next.max(Generation::new(self.clock.now().plus(CLOCKS_APART).as_millis()));
        let raised = self.sites.raise_below(prefix, generation);
        if let Some(shared) = &self.shared {
            self.tell_of_floor(shared, prefix, generation);
        }
        (raised, generation)
    }

    async fn count(self: &Arc<Self>, is_counted: impl Fn(&str, Generation) -> bool + Send + 'static) -> usize {
        let memory = self.memory.clone();
        // A walk through all of memory, which may be a million entries.
        let counting =
            tokio::task::spawn_blocking(move || memory.count(|entry| is_counted(entry.site.name(), entry.generation)));
        counting.await.unwrap_or_default()
    }

    fn replicas(&self) -> Replicas {
        match &self.shared {
            None => Replicas::None,
            Some(_) if self.hearing.is_lost() => Replicas::Unreachable,
            Some(_) => Replicas::Told,
        }
    }
}
