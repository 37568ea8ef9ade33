//! Whether an entry may be served without asking storage: a pure function of the entry, the time and the rules.

use std::time::{Duration, UNIX_EPOCH};

use super::entry::Failure;
use super::{Content, Entry, Options};
use crate::clock::Timestamp;
use crate::http::cache_status::Ttl;

/// An object written less than this long before it was read may still be being written, as a folder's files are, or be
/// the first of many changes: it stays fresh only this long.
const SETTLING: Duration = Duration::from_secs(2);

/// How far clocks may step back without that an entry seems to come from the future.
const CLOCK_STEP: Duration = Duration::from_secs(1);

/// While storage fails, an entry is asked for again no more often than this.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How long beyond its freshness a copy is served while storage refuses it: long enough to replace a credential that has
/// run out, short enough for a page that was taken down.
const REFUSAL_EXCUSES: Duration = Duration::from_secs(3600);

/// Whether an entry may be served without asking storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// It may, for this much longer.
    Fresh(Duration),
    /// It may not any more.
    Expired {
        /// For how long already.
        over: Duration,
        /// What may be done with it where storage fails.
        excuse: Excuse,
    },
}

/// What may be done with an entry that is no longer fresh while storage fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excuse {
    /// Nothing: it is too old, or there is nothing to serve.
    None,
    /// It may be served once storage has failed this time.
    OnFailure,
    /// Storage failed the last time: serve it now, and ask behind the reader's back.
    AskBehind,
    /// Storage failed just now: serve it, and leave storage alone.
    NotNow,
}

impl Freshness {
    pub(super) fn of(entry: &Entry, now: Timestamp, rules: &Options) -> Self {
        let age = now.since(entry.confirmed_at);
        let lifetime = lifetime(entry, rules);
        // An entry from the future was confirmed by a clock that has been set back since; its age can't be known.
        let is_from_future = entry.confirmed_at > now.plus(CLOCK_STEP);
        if age < lifetime && !is_from_future {
            return Self::Fresh(lifetime.saturating_sub(age));
        }
        let over = age.saturating_sub(lifetime);
        Self::Expired { over, excuse: excuse(entry, over, now, rules) }
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

fn lifetime(entry: &Entry, rules: &Options) -> Duration {
    if matches!(entry.content, Content::Absent) {
        return rules.not_found_for;
    }
    let written = entry.meta.last_modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let is_settling = written.is_some_and(|written| {
        let confirmed = Duration::from_millis(entry.confirmed_at.as_millis());
        confirmed.abs_diff(written) <= SETTLING
    });
    if is_settling || entry.broken_metadata { rules.fresh_for.min(SETTLING) } else { rules.fresh_for }
}

fn excuse(entry: &Entry, over: Duration, now: Timestamp, rules: &Options) -> Excuse {
    let longest = match entry.failure {
        Some(Failure { is_refusal: true, .. }) => rules.stale_if_error.min(REFUSAL_EXCUSES),
        _ => rules.stale_if_error,
    };
    if matches!(entry.content, Content::Absent) || over > longest {
        return Excuse::None;
    }
    match entry.failure {
        None => Excuse::OnFailure,
        Some(Failure { at, .. }) if at <= now && now.since(at) < RETRY_PAUSE => Excuse::NotNow,
        Some(_) => Excuse::AskBehind,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::docs::{Locator, Options as DocsOptions, StorageKey};
    use crate::storage::ObjectMeta;

    const RULES: Options = Options {
        memory_max_bytes: 0,
        max_object_bytes: 0,
        fresh_for: Duration::from_secs(300),
        stale_if_error: Duration::from_secs(7200),
        not_found_for: Duration::from_secs(10),
    };

    const NOON: Timestamp = Timestamp::from_secs(1_000_000);

    fn key(file: &str) -> StorageKey {
        Locator::new(DocsOptions::default()).locate(&format!("/static/docs/a/b/c/{file}")).unwrap().key
    }

    fn page(written: Duration) -> Entry {
        let meta = ObjectMeta { size: 1, etag: None, last_modified: Some(UNIX_EPOCH + written) };
        Entry::document(&key("x"), meta, Bytes::from_static(b"x"), NOON)
    }

    /// A page that storage has failed to confirm 400 seconds after noon.
    fn failed(is_refusal: bool) -> Entry {
        page(Duration::from_secs(5)).unconfirmed(Failure { at: NOON.plus(Duration::from_secs(400)), is_refusal })
    }

    fn after(entry: &Entry, seconds: u64) -> Freshness {
        Freshness::of(entry, NOON.plus(Duration::from_secs(seconds)), &RULES)
    }

    fn left(seconds: u64) -> Freshness {
        Freshness::Fresh(Duration::from_secs(seconds))
    }

    fn over(seconds: u64, excuse: Excuse) -> Freshness {
        Freshness::Expired { over: Duration::from_secs(seconds), excuse }
    }

    #[test]
    fn an_entry_is_fresh_for_as_long_as_the_rule_says() {
        let page = page(Duration::from_secs(5));
        assert_eq!(after(&page, 0), left(300));
        assert_eq!(after(&page, 299), left(1));
        assert_eq!(after(&page, 300), over(0, Excuse::OnFailure));
        assert_eq!(after(&Entry::absent(NOON), 9), left(1));
        assert_eq!(after(&Entry::absent(NOON), 10), over(0, Excuse::None));
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
        let body = Bytes::from_static(b"{\"site_name\": ");
        let entry = Entry::document(&key("techdocs_metadata.json"), meta, body, NOON);
        assert_eq!(after(&entry, 0), left(2));
    }

    #[test]
    fn a_clock_that_was_set_back_leaves_nothing_fresh() {
        let page = page(Duration::from_secs(5));
        let before = |seconds: u64| Freshness::of(&page, Timestamp::from_secs(1_000_000 - seconds), &RULES);
        assert_eq!(before(1), left(300));
        assert_eq!(before(86_400), over(0, Excuse::OnFailure));
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
}
