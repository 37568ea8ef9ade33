//! What storage is asked, in closed form: `docs/scaling.md` derives it.

use super::load::{SHARE, THINK, VIEWS};
use super::world::{Scenario, Spread};

/// Intervals for which a site counts as in use after its last reader.
const INTERVALS_IN_USE: f64 = 6.0;

/// How long entries are fresh, in seconds, while a publish settles.
const WHILE_PUBLISHED: f64 = 1.0;

/// What storage and Redis are asked, a second.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Predicted {
    /// Storage, for sites' metadata.
    pub(crate) looks: f64,
    /// Storage, for documents, where nothing is published and memory holds what it is asked for.
    pub(crate) documents: f64,
    /// Of these, the ones for documents that nobody has asked for before.
    pub(crate) cold: f64,
    /// Storage, for documents, what publishes add.
    pub(crate) settling: f64,
    /// Redis, for a look that another replica has taken.
    pub(crate) elsewhere: f64,
    /// Redis, for a document that another replica has had confirmed.
    pub(crate) shared: f64,
    /// Sites that a replica has in use at any time.
    pub(crate) watched: f64,
}

/// How requests come to those who have a memory in common: one replica, or all that share a Redis.
#[derive(Debug, Clone, Copy)]
struct Holder {
    /// How many there are.
    count: f64,
    /// The part of a site's requests that one of them gets, where it gets any.
    share: f64,
    /// The part of the sites that it gets any of.
    sites: f64,
}

impl Scenario {
    /// What the formulas say of it.
    pub(crate) fn predicted(&self) -> Predicted {
        let replicas = self.replicas as f64;
        let one = match self.spread {
            Spread::Any => Holder { count: replicas, share: 1.0 / replicas, sites: 1.0 },
            Spread::BySite => Holder { count: replicas, share: 1.0, sites: 1.0 / replicas },
        };
        let all = if self.has_redis { Holder { count: 1.0, share: 1.0, sites: 1.0 } } else { one };
        // Others who may have to ask Redis for what one of them had confirmed.
        let others = if self.has_redis { one.count * one.sites - 1.0 } else { 0.0 };
        let mut predicted = Predicted::default();
        let pages: Vec<f64> = self.load.page_shares().shares().collect();
        for site in self.load.site_shares().shares() {
            let sessions = self.load.sessions() * site;
            predicted.watched += self.in_use(sessions, one) * one.sites;
            predicted.looks += self.looks(sessions, all);
            predicted.elsewhere += self.looks(sessions, one) - self.looks(sessions, all);
            let styles = [sessions * SHARE; 2];
            let of_pages = pages.iter().map(|page| sessions * VIEWS * page).flat_map(|views| [views, views * SHARE]);
            for rate in styles.into_iter().chain(of_pages) {
                predicted.add(self, rate, all, one.share, others);
            }
        }
        predicted
    }

    /// Looks of all holders at a site with so many sessions.
    fn looks(&self, sessions: f64, holder: Holder) -> f64 {
        let in_use = self.in_use(sessions, holder);
        let starts = sessions * any_view(holder.share) * (1.0 - in_use);
        holder.count * holder.sites * (in_use / self.publish_check.as_secs_f64() + starts / 2.0)
    }

    /// The part of the time that a site with so many sessions a second is in use.
    ///
    /// Each session covers its views and what follows them; what no session covers is idle. For sessions that begin at
    /// random times that is so much whatever the shape of what each covers (the Boolean model).
    fn in_use(&self, sessions: f64, holder: Holder) -> f64 {
        let window = INTERVALS_IN_USE * self.publish_check.as_secs_f64();
        let hit = later_view(holder.share);
        // From one view that comes here to the next: each pause may end the session, or lead to a view elsewhere.
        let rate = (1.0 - 1.0 / VIEWS) * hit / THINK + 1.0 / VIEWS / THINK;
        let any = any_view(holder.share);
        let more = first_view(holder.share) + (VIEWS - 1.0) * hit - any;
        let covered = any * window + more * (1.0 - (-rate * window).exp()) / rate;
        1.0 - (-sessions * covered).exp()
    }
}

impl Predicted {
    /// Adds an object that is asked for so often.
    fn add(&mut self, scenario: &Scenario, rate: f64, all: Holder, share: f64, others: f64) {
        let publishes = scenario.publishes / (24.0 * 3600.0) * scenario.settle_for.as_secs_f64();
        let fresh_for = scenario.fresh_for.as_secs_f64();
        let (own, holders) = (rate * all.share, all.count * all.sites);
        let (at_rest, busy) = (cycles(own, fresh_for), cycles(own, WHILE_PUBLISHED));
        self.documents += holders * at_rest;
        self.settling += holders * publishes * (busy - at_rest);
        let (from, to) = (scenario.warm_up, scenario.warm_up + scenario.measured);
        self.cold += holders * ((-own * from).exp() - (-own * to).exp()) / scenario.measured;
        // Whoever is asked for it while it is fresh, and has not got it.
        let asks = |fresh_for: f64| others * (1.0 - (-rate * share * fresh_for).exp());
        self.shared += at_rest * asks(fresh_for) + publishes * (busy - at_rest) * asks(WHILE_PUBLISHED);
    }

    /// Commands that all of that costs Redis, those that its scripts run included; `docs/scaling.md` lists them by kind.
    pub(crate) fn commands(&self, replicas: usize) -> f64 {
        let confirmed = self.documents - self.cold + self.settling;
        let heartbeats = replicas as f64;
        heartbeats + 11.0 * self.looks + self.elsewhere + 8.0 * confirmed + 13.0 * self.cold + self.shared
    }
}

/// How often an object that is asked for at random times is asked of storage: once it has been fresh, by whoever comes next.
pub(crate) fn cycles(rate: f64, fresh_for: f64) -> f64 {
    rate / (1.0 + rate * fresh_for)
}

/// The chance that a view, of a page and half of the time its figure, comes to whom this part of all requests comes.
fn later_view(share: f64) -> f64 {
    1.0 - (1.0 - share) * (1.0 - share * SHARE)
}

/// The same of a session's first, with the metadata and half of the time both style sheets.
fn first_view(share: f64) -> f64 {
    let elsewhere = 1.0 - share;
    1.0 - (1.0 - later_view(share)) * elsewhere * (1.0 - SHARE + SHARE * elsewhere * elsewhere)
}

/// The same of any view of a session.
fn any_view(share: f64) -> f64 {
    let (first, later, goes_on) = (first_view(share), later_view(share), 1.0 - 1.0 / VIEWS);
    first + (1.0 - first) * goes_on * later / (1.0 - goes_on * (1.0 - later))
}

/// The part of all requests that memory answers where it holds the `entries` that are asked for the most: pages and
/// figures of all sites, as many of each that the least popular of them are asked for equally often.
pub(crate) fn best_ratio(scenario: &Scenario, bytes: f64, weights: (f64, f64)) -> f64 {
    let pages: Vec<f64> = scenario.load.page_shares().shares().collect();
    let mut objects: Vec<(f64, f64)> = Vec::new();
    for site in scenario.load.site_shares().shares() {
        objects.extend([(site, 3_000.0), (site * SHARE, weights.1), (site * SHARE, weights.1)]);
        for page in &pages {
            objects.extend([(site * VIEWS * page, weights.0), (site * VIEWS * page * SHARE, weights.1)]);
        }
    }
    objects.sort_by(|one, other| (other.0 / other.1).total_cmp(&(one.0 / one.1)));
    let all: f64 = objects.iter().map(|(rate, _)| rate).sum();
    let mut left = bytes;
    let held = objects.iter().take_while(|(_, weight)| {
        left -= weight;
        left >= 0.0
    });
    held.map(|(rate, _)| rate).sum::<f64>() / all
}
