//! What a reader may be given, from what was written, asked, purged and lost: the cache's promises, and nothing of how it
//! keeps them.

use std::collections::BTreeSet;
use std::time::Duration;

use callboard::cache::{Content, Found, Options};
use callboard::http::cache_status::CacheOutcome;
use callboard::http::etag::ETag;
use callboard::storage::StoreError;

use super::Page;
use super::bucket::{Answer, Ask, Moment, Write};

/// The numbers of the promises.
pub const RULES: Options = Options {
    memory_max_bytes: 64 << 20,
    max_object_bytes: 1000,
    fresh_for: Duration::from_secs(300),
    stale_while_revalidate: Duration::from_secs(60),
    stale_if_error: Duration::from_secs(2 * 3600),
    not_found_for: Duration::from_secs(10),
    publish_check: Duration::from_secs(10),
    settle_for: Duration::from_secs(120),
    warm_on_first_visit: false,
    compression: true,
};

/// How long an entry is fresh while its site is being published.
const WHILE_PUBLISHED: Duration = Duration::from_secs(1);

/// A copy that storage refuses is served only so long beyond its freshness.
const REFUSED: Duration = Duration::from_secs(3600);

/// A reader who could have an old copy waits for storage only so long, and longer for one that is in doubt: a second and
/// five, by a clock that ticks ten times a second.
const PATIENCE: Duration = Duration::from_millis(850);
const PATIENCE_IN_DOUBT: Duration = Duration::from_millis(4850);

/// After a failure storage is left alone for so long.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A reader's request, and what came of it.
#[derive(Debug)]
pub struct Reading {
    pub by: usize,
    pub page: Page,
    pub began: Moment,
    pub ended: Moment,
    pub result: Result<Found, StoreError>,
}

/// What was confirmed before `about` is not served unconfirmed to whoever comes after `known`.
#[derive(Debug, Clone)]
pub struct Doubt {
    pub by: usize,
    pub about: Moment,
    pub known: Moment,
    pub prefix: String,
    /// It comes of not having heard the others, so what Redis holds is believed.
    pub is_deaf: bool,
}

/// Everything that happened in a run.
#[derive(Debug)]
pub struct Log {
    pub writes: Vec<Write>,
    pub asks: Vec<Ask>,
    pub doubts: Vec<Doubt>,
    /// Between the two of these everybody heard what was said before the first.
    pub syncs: Vec<(Moment, Moment)>,
    /// Which cache has served what, and when.
    pub served: Vec<(usize, Page, Moment)>,
    /// Whether what one cache is told may be served by another.
    pub is_shared: bool,
}

type Verdict = Result<(), String>;

fn must(holds: bool, rule: &str) -> Verdict {
    if holds { Ok(()) } else { Err(rule.to_owned()) }
}

impl Log {
    /// What a person needs who wants to know why.
    pub fn about(&self, reading: &Reading) -> String {
        let result = reading.result.as_ref().map(|found| (found.outcome, &found.entry.meta));
        let writes = self.writes.iter().filter(|write| write.page.site() == reading.page.site());
        let writes = writes.map(|write| format!("{:?} {:?} {:?}", write.at, write.page, write.object));
        let asks = self.asks.iter().filter(|ask| ask.page.site() == reading.page.site()).map(|ask| format!("{ask:?}"));
        let doubts = self.doubts.iter().map(|doubt| format!("{doubt:?}"));
        let doubts = doubts.chain(self.syncs.iter().map(|sync| format!("sync {sync:?}")));
        let lines: Vec<String> = writes.chain(asks).chain(doubts).collect();
        let Reading { by, page, began, ended, .. } = reading;
        format!("{by} {page:?} {began:?} {ended:?} {result:?}\n{}", lines.join("\n"))
    }

    /// Whether the rules allow what a reader was given.
    pub fn judge(&self, reading: &Reading) -> Verdict {
        let found = match &reading.result {
            Ok(found) => found,
            Err(error) => return self.judge_error(reading, error),
        };
        let tag = self.tag_of(reading, found)?;
        let mut confirmed = self.confirmed(reading, tag);
        confirmed.sort_by_key(|ask| std::cmp::Reverse(ask.began));
        let verdict = confirmed.first().ok_or("what is served was never what storage told")?;
        let verdict = self.judge_confirmed(reading, verdict, found.outcome);
        // What others are told is not known here at once, so any of it may be what is served.
        let mut others = confirmed.iter().skip(1).filter(|_| self.is_shared);
        verdict.or_else(|broken| {
            let is_right = others.any(|ask| self.judge_confirmed(reading, ask, found.outcome).is_ok());
            if is_right { Ok(()) } else { Err(broken) }
        })
    }

    fn judge_confirmed(&self, reading: &Reading, confirmed: &Ask, outcome: CacheOutcome) -> Verdict {
        let newer = self.told(reading).find(|ask| ask.began > confirmed.began && is_before(ask.ended, reading.began));
        must(newer.is_none_or(|newer| tag(newer) == tag(confirmed)), "storage has told something else since")?;
        match outcome {
            CacheOutcome::Hit | CacheOutcome::Redis => self.judge_fresh(reading, confirmed),
            CacheOutcome::Updating => self.judge_updating(reading, confirmed),
            CacheOutcome::Stale => self.judge_stale(reading, confirmed),
            // Told now, or known still.
            CacheOutcome::Pass if is_before(confirmed.ended, reading.began) => self.judge_fresh(reading, confirmed),
            outcome => self.judge_told(reading, confirmed, outcome),
        }
    }

    /// That body, tag, size and time are those of one version; its tag, or nothing for absence.
    fn tag_of<'f>(&self, reading: &Reading, found: &'f Found) -> Result<Option<&'f ETag>, String> {
        let meta = &found.entry.meta;
        let body = match found.entry.content() {
            Content::Absent => return Ok(None),
            Content::Large | Content::Filling(_) => None,
            Content::Body(body) => Some(body),
        };
        let is_written = self.writes.iter().any(|write| {
            let object = write.object.as_ref().filter(|_| write.page == reading.page);
            object.is_some_and(|(written, bytes)| written == meta && body.is_none_or(|body| **body == **bytes))
        });
        must(is_written, "storage never had this under this key")?;
        Ok(meta.etag.as_ref())
    }

    /// When storage said that this is what it has.
    fn confirmed(&self, reading: &Reading, tag: Option<&ETag>) -> Vec<&Ask> {
        let asks = self.asks.iter().filter(|ask| ask.page == reading.page && is_before(ask.ended, reading.ended));
        asks.filter(|ask| match (&ask.answer, tag) {
            (Answer::Is { tag: told, .. }, Some(tag)) => told == tag && (self.is_shared || ask.by == reading.by),
            (Answer::Absent, None) => ask.by == reading.by,
            _ => false,
        })
        .collect()
    }

    /// What storage said to this cache of this page.
    fn told(&self, reading: &Reading) -> impl Iterator<Item = &Ask> {
        let own = self.asks.iter().filter(|ask| ask.by == reading.by && ask.page == reading.page);
        own.filter(|ask| matches!(ask.answer, Answer::Is { .. } | Answer::Absent))
    }

    fn failures(&self, reading: &Reading) -> impl Iterator<Item = (&Ask, Moment, bool)> {
        let own = self.asks.iter().filter(|ask| ask.by == reading.by && ask.page == reading.page);
        own.filter_map(|ask| match (&ask.answer, ask.ended) {
            (Answer::Failed { is_refusal }, Some(ended)) => Some((ask, ended, *is_refusal)),
            _ => None,
        })
    }

    fn judge_fresh(&self, reading: &Reading, confirmed: &Ask) -> Verdict {
        let age = reading.began.at.since(confirmed.began.at);
        let lifetime = if confirmed.answer == Answer::Absent { RULES.not_found_for } else { RULES.fresh_for };
        must(age < lifetime, "it is no longer fresh")?;
        must(age <= WHILE_PUBLISHED || !self.is_settling(reading, confirmed), "its site is being published")?;
        self.judge_held(reading, confirmed)
    }

    fn judge_updating(&self, reading: &Reading, confirmed: &Ask) -> Verdict {
        let age = reading.began.at.since(confirmed.began.at);
        must(age < RULES.fresh_for + RULES.stale_while_revalidate, "it is too old to be served while it is refreshed")?;
        must(confirmed.answer != Answer::Absent, "absence is not served while it is refreshed")?;
        must(!self.is_settling(reading, confirmed), "its site is being published")?;
        self.judge_held(reading, confirmed)
    }

    /// What is served without asking.
    fn judge_held(&self, reading: &Reading, confirmed: &Ask) -> Verdict {
        must(self.doubt(reading, confirmed).is_none(), "it is in doubt")?;
        must(self.is_watched(reading, confirmed), "its site was published, and nobody looked")
    }

    /// What storage said to this very request, or to one that it joined.
    fn judge_told(&self, reading: &Reading, confirmed: &Ask, outcome: CacheOutcome) -> Verdict {
        must(confirmed.by == reading.by && confirmed.ended > Some(reading.began), "storage was not asked")?;
        must(self.doubt(reading, confirmed).is_none(), "storage was asked before it was in doubt")?;
        let is_outcome = match (outcome, &confirmed.answer) {
            (CacheOutcome::Revalidated, Answer::Is { with_body, .. }) => !with_body,
            (CacheOutcome::Gone, answer) => *answer == Answer::Absent,
            (CacheOutcome::Expired | CacheOutcome::Pass, Answer::Is { with_body, .. }) => *with_body,
            (CacheOutcome::Miss, answer) => !matches!(answer, Answer::Is { with_body: false, .. }),
            _ => false,
        };
        must(is_outcome, "it was not come by as it says")
    }

    fn judge_stale(&self, reading: &Reading, confirmed: &Ask) -> Verdict {
        must(confirmed.answer != Answer::Absent, "absence is not served when it is stale")?;
        let doubt = self.doubt(reading, confirmed);
        let patience = if doubt.is_some() { PATIENCE_IN_DOUBT } else { PATIENCE };
        let is_slow = reading.ended.at.since(reading.began.at) >= patience;
        // What others know may have been heard before it was certain to be.
        let since = doubt.map_or(confirmed.began, |doubt| if self.is_shared { doubt.about } else { doubt.known });
        let mut failures = self.failures(reading).filter(|(ask, ended, _)| {
            let is_recent = reading.began.at.since(ended.at) < RETRY_PAUSE;
            (*ended > since || is_recent) && ask.began > confirmed.began && *ended < reading.ended
        });
        let refusals = self.failures(reading).filter(|(ask, ..)| ask.began > confirmed.began);
        let is_refused =
            !is_slow && refusals.map(|(.., is_refusal)| is_refusal).reduce(|all, one| all && one) == Some(true);
        must(is_slow || failures.next().is_some(), "storage has not failed")?;
        let longest = if is_refused { REFUSED } else { RULES.stale_if_error };
        let age = reading.began.at.since(confirmed.began.at);
        must(age <= RULES.fresh_for + longest, "it is too old even for when storage fails")
    }

    fn judge_error(&self, reading: &Reading, error: &StoreError) -> Verdict {
        let is_failure = matches!(
            error,
            StoreError::Unavailable(_) | StoreError::Timeout(_) | StoreError::Denied(_) | StoreError::Truncated { .. }
        );
        must(is_failure, "that is no failure of storage")?;
        let during: Vec<_> =
            self.failures(reading).filter(|(_, ended, _)| *ended > reading.began && *ended < reading.ended).collect();
        must(!during.is_empty(), "an error although storage has not failed")?;
        let Some(held) = self.told(reading).filter(|ask| is_before(ask.ended, reading.began)).last() else {
            return Ok(());
        };
        let is_refused = during.iter().any(|(.., is_refusal)| *is_refusal);
        let longest = if is_refused { REFUSED } else { RULES.stale_if_error };
        let is_excused = held.answer != Answer::Absent && reading.ended.at.since(held.began.at) < longest;
        must(!is_excused, "an error although there is an old copy")
    }

    /// What puts in doubt what was confirmed then, as far as this reader's cache knew.
    fn doubt(&self, reading: &Reading, confirmed: &Ask) -> Option<Doubt> {
        let is_from_redis = matches!(&reading.result, Ok(Found { outcome: CacheOutcome::Redis, .. }));
        let told = self.doubts.iter().filter(|doubt| reading.page.is_below(&doubt.prefix));
        let told = told.filter(|doubt| {
            let mut served = self.served.iter().filter(|(by, page, _)| (*by, *page) == (reading.by, reading.page));
            !doubt.is_deaf || !is_from_redis && !served.any(|(.., at)| (doubt.known..reading.began).contains(at))
        });
        let metadata = reading.page.metadata();
        let caches: BTreeSet<usize> = self.asks.iter().map(|ask| ask.by).collect();
        let noticed = caches.into_iter().flat_map(|by| self.changes(by, metadata));
        // Another version, found by somebody else.
        let found = self.asks.iter().filter(|ask| {
            let is_other = ask.by != reading.by && ask.page == reading.page && tag(ask) != tag(confirmed);
            is_other && matches!(ask.answer, Answer::Is { .. })
        });
        let noticed = noticed.chain(found).filter_map(|ask| {
            Some(Doubt {
                by: ask.by,
                about: self.first_asked(ask),
                known: ask.ended?,
                prefix: String::new(),
                is_deaf: false,
            })
        });
        let known = told.cloned().chain(noticed).filter_map(|doubt| {
            // What others know comes to be known here.
            let mut syncs = self.syncs.iter().filter(|(began, _)| doubt.known < *began).map(|(_, ended)| *ended);
            let known = if doubt.by == reading.by { Some(doubt.known) } else { syncs.next() };
            Some(Doubt { known: known?, ..doubt })
        });
        known
            .filter(|doubt| confirmed.began < doubt.about && doubt.known < reading.began)
            .max_by_key(|doubt| doubt.known)
    }

    /// Whether this reader's cache knew that its site had changed less than `settle_for` before that was confirmed.
    fn is_settling(&self, reading: &Reading, confirmed: &Ask) -> bool {
        let pages = Page::ALL.into_iter().filter(|page| page.site() == reading.page.site());
        // What a cache has from Redis it need not have asked for.
        let pages = pages.filter(|page| page.is_metadata() || !self.is_shared);
        let mut changes = pages.flat_map(|page| self.changes(reading.by, page));
        changes.any(|ask| {
            is_before(ask.ended, reading.began) && confirmed.began.at < self.first_asked(ask).at.plus(RULES.settle_for)
        })
    }

    /// The answers to a cache that were other than the one before.
    fn changes(&self, by: usize, page: Page) -> impl Iterator<Item = &Ask> {
        let told = self.asks.iter().filter(move |ask| ask.by == by && ask.page == page);
        let told = told.filter(|ask| matches!(ask.answer, Answer::Is { .. } | Answer::Absent));
        let pairs = told.clone().zip(told.skip(1));
        pairs.filter(|(before, ask)| tag(before) != tag(ask)).map(|(_, ask)| ask)
    }

    /// When the first cache was told the same: the others may have heard of it since.
    fn first_asked(&self, ask: &Ask) -> Moment {
        let same = self.asks.iter().filter(|other| other.page == ask.page && other.answer != Answer::None);
        let same = same.filter(|other| self.is_shared && tag(other) == tag(ask));
        same.map(|other| other.began).min().unwrap_or(ask.began)
    }

    /// Whether the site was looked at between a publish after that confirmation and this request, where it was time.
    fn is_watched(&self, reading: &Reading, confirmed: &Ask) -> bool {
        if self.is_shared {
            return true;
        }
        let metadata = reading.page.metadata();
        let is_overdue = |write: &&Write| {
            let due = write.at.at.plus(RULES.publish_check * 2);
            write.page == metadata && write.at > confirmed.began && reading.began.at > due
        };
        let Some(published) = self.writes.iter().rfind(is_overdue) else { return true };
        let looks = self.asks.iter().filter(|ask| ask.by == reading.by && ask.page == metadata);
        let told = |ask: &Ask| matches!(ask.answer, Answer::Is { .. } | Answer::Absent);
        let first = looks.clone().find(|ask| told(ask)).map(|ask| ask.began);
        looks.filter(|ask| ask.ended.is_none_or(|ended| ended > published.at)).any(|ask| {
            let is_slow = ask.ended.is_none_or(|ended| ended.at > ask.began.at);
            // A site that never had any metadata, as far as this cache knows, has not changed.
            let is_first_absence = ask.answer == Answer::Absent && first == Some(ask.began);
            is_slow || !told(ask) || is_first_absence
        })
    }
}

fn tag(ask: &Ask) -> Option<&ETag> {
    match &ask.answer {
        Answer::Is { tag, .. } => Some(tag),
        _ => None,
    }
}

/// Whether it has ended, and before that.
fn is_before(ended: Option<Moment>, moment: Moment) -> bool {
    ended.is_some_and(|ended| ended < moment)
}
