//! Looking at the sites in use: when the metadata of one has changed, it was published anew.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::errand::Errand;
use super::site::{Learned, Site, Version};
use super::{DocCache, PATIENCE_WITH_COPY};
use crate::clock::Timestamp;
use crate::telemetry::{NewGeneration, SiteLook};

/// Sites that are looked at at a time.
pub(super) const LOOKS: usize = 32;

/// How long one replica has the turn to look at a site: longer than a look takes, unless it has died.
const TURN: Duration = Duration::from_secs(2);

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
            self.make_up_for_silence().await;
            let now = self.clock.now();
            for site in self.sites.all() {
                if site.is_in_use(now, publish_check) {
                    self.look(&site, now);
                }
            }
        }
    }

    /// Notes that a site is read, and has it looked at where that is due.
    pub(super) fn note_reader(self: &Arc<Self>, site: &Arc<Site>, now: Timestamp) {
        if !self.options.publish_check.is_zero() {
            site.used(now);
            self.look(site, now);
        }
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
        if site.was_hurried() || !self.others_look(&site).await {
            self.ask_for_metadata(&site).await;
        }
    }

    /// Looks at a site for a reader who waits for it, for a while.
    pub(super) async fn look_now(self: &Arc<Self>, site: &Arc<Site>) {
        let look = async {
            if !self.others_look(site).await || site.is_unwatched(self.clock.now(), self.options.publish_check) {
                self.ask_for_metadata(site).await;
            }
        };
        // While storage takes longer, what is held is as good as it was.
        let _ = timeout(PATIENCE_WITH_COPY, look).await;
    }

    /// Whether another replica has looked at a site lately, or does now: one looks for all, as long as all hear of what it
    /// finds.
    async fn others_look(&self, site: &Site) -> bool {
        let Some(shared) = self.shared.as_ref().filter(|_| !self.hearing.is_lost()) else { return false };
        let now = self.clock.now();
        if let Some(looked_at) = self.looked_at_elsewhere(shared, site).await {
            let looked_at = looked_at.min(now);
            let due_at = looked_at.plus(self.options.publish_check);
            if due_at > now {
                self.instruments.sites.looked(SiteLook::Elsewhere);
                site.checked(looked_at, due_at);
                return true;
            }
        }
        !shared.take_turn(site.name(), self.id, TURN).await
    }

    async fn ask_for_metadata(self: &Arc<Self>, site: &Arc<Site>) {
        let now = self.clock.now();
        for _ in 0..2 {
            let mut flight = self.take_off(&site.metadata, Errand::Check);
            let is_ours = flight.is_leader;
            flight.land().await;
            if is_ours || site.checked_at() >= now {
                return;
            }
            // The flight was somebody's who was content with what a tier holds.
        }
    }

    /// Takes in what storage said at `asked_at` of a site's metadata.
    pub(super) fn learn(self: &Arc<Self>, site: &Arc<Site>, version: Version, asked_at: Timestamp) -> Learned {
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
        match (&self.shared, learned) {
            (Some(shared), Learned::Changed(_)) => self.tell_of_site(shared, site),
            (Some(shared), Learned::First | Learned::Same) => self.keep_record_of(shared, site),
            (None, _) => {}
        }
        learned
    }

    /// Something in a site is no longer what it was: it may be in the middle of a publish, and is looked at at once.
    pub(super) fn found_changed(self: &Arc<Self>, site: &Arc<Site>) {
        let now = self.clock.now();
        site.settle(now, self.options.settle_for);
        site.hurry(now);
        self.look(site, now);
    }
}
