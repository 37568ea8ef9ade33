//! Whether an entry may be served without asking storage: a pure function of the entry, the time and the rules.

use std::time::{Duration, UNIX_EPOCH};

use super::entry::Failure;
use super::hearing::Hearing;
use super::{Entry, Options};
use crate::clock::Timestamp;
use crate::http::cache_status::Ttl;

/// An object written less than this long before it was read may still be being written, as a folder's files are, or be
/// the first of many changes: it stays fresh only this long.
const SETTLING: Duration = Duration::from_secs(2);

/// How long an entry stays fresh that was confirmed while its site was being published: short enough for a reader who
/// reloads a page, long enough for a page that many read.
const WHILE_PUBLISHED: Duration = Duration::from_secs(1);

/// How long an entry stays fresh while what other replicas find is not heard, where sites are not looked at.
const UNHEARD: Duration = Duration::from_secs(10);

/// How far clocks may step back without that an entry seems to come from the future.
const CLOCK_STEP: Duration = Duration::from_secs(1);

/// While storage fails, an entry is asked for again no more often than this.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How long beyond its freshness a copy is served while storage refuses it: long enough to replace a credential that has
/// run out, short enough for a page that was taken down.
const REFUSAL_EXCUSES: Duration = Duration::from_secs(3600);

/// What speaks for or against an entry beside its age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nobody knows of a newer publish of its site, and whoever did would have been heard.
    Current,
    /// Nobody here knows of one, but what other replicas find would not be heard.
    Unheard,
    /// It was confirmed when its site may have been in the middle of a publish.
    Settling,
    /// Its site was published or purged since it was confirmed, or something else was said that puts it in doubt.
    Doubtful,
    /// The same, and storage has not failed since: how it failed before excuses nothing.
    NewlyDoubtful,
}

impl Standing {
    pub(super) fn of(entry: &Entry, hearing: &Hearing) -> Self {
        let (generation, epoch) = (entry.site.generation(), hearing.epoch());
        if entry.generation < generation || entry.heard_since != epoch {
            let has_failed = |failure: &Failure| failure.generation >= generation && failure.heard_since == epoch;
            if entry.failure.as_deref().is_some_and(has_failed) { Self::Doubtful } else { Self::NewlyDoubtful }
        } else if entry.confirmed_at < entry.site.settles_at() {
            Self::Settling
        } else if hearing.is_lost() {
            Self::Unheard
        } else {
            Self::Current
        }
    }
}

/// Whether an entry may be served without asking storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// It may, for this much longer.
    Fresh(Duration),
    /// It may not any more.
    Expired {
        /// For how long already.
        over: Duration,
        /// What may be done with it all the same.
        excuse: Excuse,
    },
}

/// What may be done with an entry that is no longer fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excuse {
    /// Nothing: it is too old, or there is nothing to serve.
    None,
    /// It is hardly too old: serve it now, and ask behind the reader's back.
    WhileRevalidating,
    /// It may be served once storage has failed this time, or takes long.
    OnFailure,
    /// It may be served once storage has failed this time: there is reason to think that it is no longer true.
    OnlyOnFailure,
    /// Storage failed the last time: serve it now, and ask behind the reader's back.
    AskBehind,
    /// Storage failed just now: serve it, and leave storage alone.
    NotNow,
}

impl Freshness {
    pub(super) fn of(entry: &Entry, standing: Standing, now: Timestamp, rules: &Options) -> Self {
        let age = now.since(entry.confirmed_at);
        let lifetime = lifetime(entry, standing, rules);
        // An entry from the future was confirmed by a clock that has been set back since; its age can't be known.
        let is_from_future = entry.confirmed_at > now.plus(CLOCK_STEP);
        let is_doubtful = matches!(standing, Standing::Doubtful | Standing::NewlyDoubtful);
        if age < lifetime && !is_from_future && !is_doubtful {
            return Self::Fresh(lifetime.saturating_sub(age));
        }
        let over = age.saturating_sub(lifetime);
        Self::Expired { over, excuse: excuse(entry, standing, over, now, rules) }
    }

    /// The same for `Cache-Status`.
    pub(super) fn ttl(self) -> Ttl {
        match self {
            Self::Fresh(left) => Ttl::Left(left),
            Self::Expired { over, .. } if over.is_zero() => Ttl::Left(over),
            Self::Expired { over, .. } => Ttl::Over(over),
        }
    }
}

fn lifetime(entry: &Entry, standing: Standing, rules: &Options) -> Duration {
    let longest = match standing {
        Standing::Current | Standing::Doubtful | Standing::NewlyDoubtful => Duration::MAX,
        Standing::Settling => WHILE_PUBLISHED,
        Standing::Unheard if rules.publish_check.is_zero() => UNHEARD,
        Standing::Unheard => rules.publish_check,
    };
    if !entry.is_present() {
        return rules.not_found_for.min(longest);
    }
    let longest = if may_be_half_written(entry) { longest.min(SETTLING) } else { longest };
    rules.fresh_for.min(longest)
}

fn may_be_half_written(entry: &Entry) -> bool {
    let written = entry.meta.last_modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let is_just_written = written.is_some_and(|written| {
        let confirmed = Duration::from_millis(entry.confirmed_at.as_millis());
        confirmed.abs_diff(written) <= SETTLING
    });
    is_just_written || entry.broken_metadata
}

fn excuse(entry: &Entry, standing: Standing, over: Duration, now: Timestamp, rules: &Options) -> Excuse {
    if !entry.is_present() {
        return Excuse::None;
    }
    let Some(failure) = entry.failure.as_deref().filter(|_| standing != Standing::NewlyDoubtful) else {
        return match standing {
            Standing::Current if over < rules.stale_while_revalidate && !may_be_half_written(entry) => {
                Excuse::WhileRevalidating
            }
            _ if over > rules.stale_if_error => Excuse::None,
            Standing::Current | Standing::Unheard => Excuse::OnFailure,
            Standing::Settling | Standing::Doubtful | Standing::NewlyDoubtful => Excuse::OnlyOnFailure,
        };
    };
    let longest = if failure.is_refusal { rules.stale_if_error.min(REFUSAL_EXCUSES) } else { rules.stale_if_error };
    match failure.at {
        _ if over > longest => Excuse::None,
        at if at <= now && now.since(at) < RETRY_PAUSE => Excuse::NotNow,
        _ => Excuse::AskBehind,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cache::entry::Provenance;
    use crate::cache::site::Site;
    use crate::docs::{Locator, Options as DocsOptions, StorageKey};
    use crate::storage::ObjectMeta;

    const RULES: Options = Options {
        memory_max_bytes: 0,
        max_object_bytes: 0,
        fresh_for: Duration::from_secs(300),
        stale_while_revalidate: Duration::from_secs(60),
        stale_if_error: Duration::from_secs(7200),
        not_found_for: Duration::from_secs(10),
        publish_check: Duration::from_secs(15),
        settle_for: Duration::from_secs(120),
        warm_on_first_visit: false,
        compression: true,
    };

    const NOON: Timestamp = Timestamp::from_secs(1_000_000);

    fn key(file: &str) -> StorageKey {
        Locator::new(DocsOptions::default()).locate(&format!("/static/docs/a/b/c/{file}")).unwrap().key
    }

    fn at_noon() -> Provenance {
        let site = Arc::new(Site::new(key("x").metadata_of_site()));
        let generation = site.begin_generation(NOON);
        Provenance { confirmed_at: NOON, site, generation, heard_since: Hearing::alone().epoch() }
    }

    fn page(written: Duration) -> Entry {
        let meta = ObjectMeta { size: 1, etag: None, last_modified: Some(UNIX_EPOCH + written) };
        Entry::document(&key("x"), meta, b"x"[..].into(), at_noon())
    }

    /// A page that was written long ago.
    fn old_page() -> Entry {
        page(Duration::from_secs(5))
    }

    /// A page that storage has failed to confirm 400 seconds after noon.
    fn failed(is_refusal: bool) -> Entry {
        let entry = old_page();
        let Provenance { generation, heard_since, .. } = at_noon();
        entry.unconfirmed(Failure { at: NOON.plus(Duration::from_secs(400)), is_refusal, generation, heard_since })
    }

    fn after(entry: &Entry, seconds: u64) -> Freshness {
        judged(entry, &Hearing::alone(), seconds)
    }

    fn judged(entry: &Entry, hearing: &Hearing, seconds: u64) -> Freshness {
        Freshness::of(entry, Standing::of(entry, hearing), NOON.plus(Duration::from_secs(seconds)), &RULES)
    }

    fn left(seconds: u64) -> Freshness {
        Freshness::Fresh(Duration::from_secs(seconds))
    }

    fn over(seconds: u64, excuse: Excuse) -> Freshness {
        Freshness::Expired { over: Duration::from_secs(seconds), excuse }
    }

    #[test]
    fn an_entry_is_fresh_for_as_long_as_the_rule_says() {
        let page = old_page();
        assert_eq!(after(&page, 0), left(300));
        assert_eq!(after(&page, 299), left(1));
        assert_eq!(after(&page, 300), over(0, Excuse::WhileRevalidating));
        assert_eq!(after(&page, 359), over(59, Excuse::WhileRevalidating));
        assert_eq!(after(&page, 360), over(60, Excuse::OnFailure));
        assert_eq!(after(&page, 7500), over(7200, Excuse::OnFailure));
        assert_eq!(after(&page, 7501), over(7201, Excuse::None));
        assert_eq!(after(&Entry::absent(at_noon()), 9), left(1));
        assert_eq!(after(&Entry::absent(at_noon()), 10), over(0, Excuse::None));
    }

    #[test]
    fn what_was_written_just_now_is_looked_at_again_soon() {
        let page = page(Duration::from_secs(999_999));
        assert_eq!(after(&page, 1), left(1));
        assert_eq!(after(&page, 2), over(0, Excuse::OnFailure));
    }

    #[test]
    fn broken_metadata_is_looked_at_again_soon() {
        let meta = ObjectMeta { size: 1, etag: None, last_modified: None };
        let body = b"{\"site_name\": ";
        let entry = Entry::document(&key("techdocs_metadata.json"), meta, body[..].into(), at_noon());
        assert_eq!(after(&entry, 0), left(2));
    }

    #[test]
    fn a_clock_that_was_set_back_leaves_nothing_fresh() {
        let page = old_page();
        let before = |seconds: u64| {
            let now = Timestamp::from_secs(1_000_000 - seconds);
            Freshness::of(&page, Standing::Current, now, &RULES)
        };
        assert_eq!(before(1), left(300));
        assert_eq!(before(86_400), over(0, Excuse::WhileRevalidating));
    }

    #[test]
    fn after_a_publish_a_page_is_confirmed_before_it_is_served() {
        let page = old_page();
        page.site.begin_generation(NOON.plus(Duration::from_secs(20)));
        assert_eq!(after(&page, 21), over(0, Excuse::OnlyOnFailure));
        assert_eq!(after(&page, 310), over(10, Excuse::OnlyOnFailure), "also when it is old");
    }

    #[test]
    fn in_the_middle_of_a_publish_a_page_is_fresh_for_a_second() {
        let page = old_page();
        page.site.settle(NOON, RULES.settle_for);
        assert_eq!(after(&page, 0), left(1));
        assert_eq!(after(&page, 1), over(0, Excuse::OnlyOnFailure));
        assert_eq!(after(&page, 130), over(129, Excuse::OnlyOnFailure), "what was confirmed then is never trusted");
        let from = Provenance { confirmed_at: NOON.plus(RULES.settle_for), ..at_noon() };
        let confirmed = Entry { site: Arc::clone(&page.site), ..page.confirmed(from) };
        assert_eq!(after(&confirmed, 121), left(299), "what is confirmed later is");
        assert_eq!(
            after(&Entry { site: Arc::clone(&page.site), ..Entry::absent(at_noon()) }, 1),
            over(0, Excuse::None)
        );
    }

    #[test]
    fn while_others_are_not_heard_nothing_from_before_is_trusted_and_nothing_new_for_long() {
        let hearing = Hearing::alone();
        let page = old_page();
        hearing.turn(true, NOON);
        assert_eq!(judged(&page, &hearing, 1), over(0, Excuse::OnlyOnFailure));
        let new = page.confirmed(Provenance { heard_since: hearing.epoch(), ..at_noon() });
        assert_eq!(judged(&new, &hearing, 14), left(1));
        assert_eq!(judged(&new, &hearing, 15), over(0, Excuse::OnFailure));
        hearing.turn(false, NOON);
        assert_eq!(judged(&new, &hearing, 14), over(0, Excuse::OnlyOnFailure), "nor when they are back");
    }

    #[test]
    fn while_storage_fails_an_old_page_is_served_and_asked_for_now_and_then() {
        let page = failed(false);
        assert_eq!(after(&page, 400), over(100, Excuse::NotNow));
        assert_eq!(after(&page, 401), over(101, Excuse::AskBehind));
        assert_eq!(after(&page, 7500), over(7200, Excuse::AskBehind));
        assert_eq!(after(&page, 7501), over(7201, Excuse::None));
    }

    #[test]
    fn a_refusal_excuses_an_old_page_for_less_long() {
        let page = failed(true);
        assert_eq!(after(&page, 401), over(101, Excuse::AskBehind));
        assert_eq!(after(&page, 3900), over(3600, Excuse::AskBehind));
        assert_eq!(after(&page, 3901), over(3601, Excuse::None));
    }

    #[test]
    fn a_failure_excuses_nothing_once_there_is_a_new_reason_to_doubt() {
        let page = failed(false);
        assert_eq!(after(&page.doubted(), 500), over(200, Excuse::OnlyOnFailure));
        page.site.begin_generation(NOON.plus(Duration::from_secs(450)));
        assert_eq!(after(&page, 500), over(200, Excuse::OnlyOnFailure));
        let failure = Failure { generation: page.site.generation(), ..**page.failure.as_ref().unwrap() };
        assert_eq!(after(&page.unconfirmed(failure), 500), over(200, Excuse::AskBehind));
    }
}
