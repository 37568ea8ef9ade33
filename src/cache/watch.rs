//! Looking at the sites in use: when the metadata of one has changed, it was published anew.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::DocCache;
use super::errand::Errand;
use super::shared::Turn;
use super::site::{Learned, Site, Version};
use crate::clock::Timestamp;
use crate::telemetry::{NewGeneration, SiteLook};

/// Sites that are looked at at a time.
pub(super) const LOOKS: usize = 32;

/// How often it is looked whether there is a site to look at, at least.
const LONGEST_TICK: Duration = Duration::from_secs(1);

/// How often it is looked whether there is a site to look at, at most.
const SHORTEST_TICK: Duration = Duration::from_millis(50);

impl DocCache {
    /// Looks at the sites in use for as long as it runs, and forgets those that nobody uses.
    pub async fn keep_watch(self: Arc<Self>) {
        let publish_check = self.options.publish_check;
        let tick = if publish_check.is_zero() { LONGEST_TICK } else { publish_check / 4 };
        let tick = tick.clamp(SHORTEST_TICK, LONGEST_TICK);
        loop {
            tokio::time::sleep(tick).await;
            self.sites.sweep();
            let now = self.clock.now();
            for site in self.sites.all() {
                if site.is_in_use(now, publish_check) {
                    self.look(&site, now);
                }
            }
        }
    }

    /// Notes that a site is read, and has it looked at where that is due. Returns false where nobody has for so long
    /// that a reader should wait for it.
    pub(super) fn is_watched(self: &Arc<Self>, site: &Arc<Site>, now: Timestamp) -> bool {
        if self.options.publish_check.is_zero() {
            return true;
        }
        site.used(now);
        let is_watched = !site.is_unwatched(now, self.options.publish_check);
        if is_watched {
            self.look(site, now);
        }
        is_watched
    }

    /// Looks at a site behind everyone's back, where that is due and nobody else does.
    pub(super) fn look(self: &Arc<Self>, site: &Arc<Site>, now: Timestamp) {
        if self.options.publish_check.is_zero() || !site.is_due(now) {
            return;
        }
        // With too many at a time this one is still due at the next tick.
        if let Ok(place) = Arc::clone(&self.looks).try_acquire_owned()
            && site.claim(now)
        {
            tokio::spawn(Arc::clone(self).check(Arc::clone(site), place));
        }
    }

    async fn check(self: Arc<Self>, site: Arc<Site>, _place: OwnedSemaphorePermit) {
        let now = self.clock.now();
        let publish_check = self.options.publish_check;
        // One replica looks for all, as long as they hear of what it finds.
        if let Some(shared) = self.shared.as_ref().filter(|_| !self.hearing.is_lost())
            && let Turn::Others(left) = shared.take_turn(site.name(), self.id, publish_check).await
        {
            let left = left.min(publish_check);
            let since = publish_check.saturating_sub(left);
            self.instruments.sites.looked(SiteLook::Elsewhere);
            return site.checked(now.minus(since), now.plus(left));
        }
        for _ in 0..2 {
            let flight = self.take_off(&site.metadata, Errand::Check);
            let is_ours = flight.is_leader;
            flight.land().await;
            if is_ours || !site.is_due(now) {
                return;
            }
            // The flight was somebody's who was content with what a tier holds.
        }
    }

    /// Takes in what storage said at `asked_at` of a site's metadata.
    pub(super) fn learn(self: &Arc<Self>, site: &Arc<Site>, version: Version, asked_at: Timestamp) {
        site.checked(asked_at, asked_at.plus(self.options.publish_check));
        let learned = site.learn(version, self.clock.now(), &self.options);
        self.instruments.sites.looked(match learned {
            Learned::First => SiteLook::First,
            Learned::Same => SiteLook::Same,
            Learned::Changed(_) => SiteLook::Changed,
        });
        if let Learned::Changed(generation) = learned {
            self.instruments.sites.new_generation(NewGeneration::Publish, 1);
            tracing::info!(site = site.name(), generation = generation.number(), "a site was published");
        }
        if let (Some(shared), Learned::First | Learned::Changed(_)) = (&self.shared, learned) {
            self.tell_of_site(shared, site);
        }
    }

    /// Something in a site is no longer what it was: it may be in the middle of a publish, and is looked at at once.
    pub(super) fn found_changed(self: &Arc<Self>, site: &Arc<Site>) {
        let now = self.clock.now();
        site.settle(now, self.options.settle_for);
        site.hurry(now);
        self.look(site, now);
    }
}
