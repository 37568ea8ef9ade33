//! How often sites are looked at, what comes of it, and what is fetched of them before anyone reads it.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundCounter, Meter};

/// What a look at a site's metadata found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SiteLook {
    /// The first one: there was nothing to compare it with.
    First,
    /// Nothing new.
    Same,
    /// The site was published since.
    Changed,
    /// Storage did not answer.
    Failed,
    /// Another replica had looked, or was about to.
    Elsewhere,
}

impl SiteLook {
    /// In the order of their discriminants.
    const ALL: [Self; 5] = [Self::First, Self::Same, Self::Changed, Self::Failed, Self::Elsewhere];

    const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Same => "same",
            Self::Changed => "changed",
            Self::Failed => "failed",
            Self::Elsewhere => "elsewhere",
        }
    }
}

/// Why a site's documents have to be confirmed before they are served again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewGeneration {
    /// It was found to be published.
    Publish,
    /// Somebody purged it here.
    Purge,
    /// The store's cloud told that objects have changed.
    Event,
    /// Another replica said so.
    Told,
}

impl NewGeneration {
    /// In the order of their discriminants.
    const ALL: [Self; 4] = [Self::Publish, Self::Purge, Self::Event, Self::Told];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Purge => "purge",
            Self::Event => "event",
            Self::Told => "told",
        }
    }
}

/// What became of a file that was to be there before anyone reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WarmedFile {
    /// Storage sent or confirmed it.
    Fetched,
    /// Another replica had put it into Redis.
    Redis,
    /// It was held, and fresh.
    Fresh,
    /// There is no such file.
    Absent,
    /// It is too large to keep.
    TooLarge,
    /// Storage failed to send it.
    Failed,
}

impl WarmedFile {
    /// In the order of their discriminants.
    const ALL: [Self; 6] = [Self::Fetched, Self::Redis, Self::Fresh, Self::Absent, Self::TooLarge, Self::Failed];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Fetched => "fetched",
            Self::Redis => "redis",
            Self::Fresh => "fresh",
            Self::Absent => "absent",
            Self::TooLarge => "too_large",
            Self::Failed => "failed",
        }
    }
}

/// The instruments of sites, each series there from the start.
#[derive(Debug)]
pub struct SiteInstruments {
    looks: [BoundCounter<u64>; SiteLook::ALL.len()],
    generations: [BoundCounter<u64>; NewGeneration::ALL.len()],
    warmed: [BoundCounter<u64>; WarmedFile::ALL.len()],
}

impl SiteInstruments {
    pub(super) fn new(meter: &Meter) -> Self {
        let looks = meter
            .u64_counter("callboard.site.looks")
            .with_description("Looks at the metadata of sites in use, by what they found.")
            .build();
        let generations = meter
            .u64_counter("callboard.site.generations")
            .with_description("Times that all documents of a site had to be confirmed anew, by why.")
            .build();
        let warmed = meter
            .u64_counter("callboard.site.warmed_files")
            .with_description("Files that were to be fetched before anyone reads them, by what became of them.")
            .build();
        let zeroed = |bound: BoundCounter<u64>| {
            bound.add(0);
            bound
        };
        Self {
            looks: SiteLook::ALL.map(|look| zeroed(looks.bind(&[KeyValue::new("result", look.as_str())]))),
            generations: NewGeneration::ALL
                .map(|reason| zeroed(generations.bind(&[KeyValue::new("reason", reason.as_str())]))),
            warmed: WarmedFile::ALL.map(|file| zeroed(warmed.bind(&[KeyValue::new("result", file.as_str())]))),
        }
    }

    /// Counts a look at a site.
    pub fn looked(&self, look: SiteLook) {
        if let Some(counter) = self.looks.get(look as usize) {
            counter.add(1);
        }
    }

    /// Counts a file that was to be fetched before anyone reads it.
    pub fn warmed(&self, file: WarmedFile) {
        if let Some(counter) = self.warmed.get(file as usize) {
            counter.add(1);
        }
    }

    /// Counts sites that have a new generation.
    pub fn new_generation(&self, reason: NewGeneration, sites: usize) {
        if let Some(counter) = self.generations.get(reason as usize) {
            counter.add(sites as u64);
        }
    }
}
