//! `Cache-Status` (RFC 9211): what the cache did for a request, in the words that logs and metrics use too.

use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::value::Kept;

/// The header's name.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What the cache did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheOutcome {
    /// Served from memory, fresh.
    Hit,
    /// Served fresh from Redis, which all replicas share.
    Redis,
    /// Held but no longer fresh, and served all the same while storage is asked behind the reader's back.
    Updating,
    /// Not held: fetched by this request, or by another that this one waited for.
    Miss,
    /// Held but no longer fresh: storage said that it has not changed.
    Revalidated,
    /// Held but no longer fresh: storage had another version.
    Expired,
    /// Held but no longer fresh: storage has no such object.
    Gone,
    /// Held but no longer fresh, and served all the same because storage fails.
    Stale,
    /// Too large to keep: streamed through.
    Pass,
}

impl CacheOutcome {
    /// All of them, in the order of [`CacheOutcome::index`].
    pub const ALL: [Self; 9] = [
        Self::Hit,
        Self::Redis,
        Self::Updating,
        Self::Miss,
        Self::Revalidated,
        Self::Expired,
        Self::Gone,
        Self::Stale,
        Self::Pass,
    ];

    /// The word for it in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Redis => "redis",
            Self::Updating => "updating",
            Self::Miss => "miss",
            Self::Revalidated => "revalidated",
            Self::Expired => "expired",
            Self::Gone => "gone",
            Self::Stale => "stale",
            Self::Pass => "pass",
        }
    }

    /// Whether what is served was held already, and storage was not waited for.
    pub const fn is_held(self) -> bool {
        matches!(self, Self::Hit | Self::Redis | Self::Updating | Self::Stale)
    }

    /// Its place in [`CacheOutcome::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// How long an entry stays fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// For this much longer.
    Left(Duration),
    /// It has not been for this long.
    Over(Duration),
}

/// The header's value for an outcome; `collapsed` says that the request waited for another's fetch.
pub fn cache_status(outcome: CacheOutcome, ttl: Ttl, collapsed: bool) -> HeaderValue {
    static HITS: Kept = Kept::new();
    match (outcome, ttl) {
        (CacheOutcome::Hit, Ttl::Left(left)) => HITS.of(left.as_secs(), || written(outcome, ttl, collapsed)),
        _ => written(outcome, ttl, collapsed),
    }
}

fn written(outcome: CacheOutcome, ttl: Ttl, collapsed: bool) -> HeaderValue {
    let mut text = String::with_capacity(96);
    text.push_str(match outcome {
        CacheOutcome::Hit | CacheOutcome::Redis | CacheOutcome::Updating | CacheOutcome::Stale => "callboard; hit",
        CacheOutcome::Miss => "callboard; fwd=uri-miss; stored",
        CacheOutcome::Revalidated => "callboard; fwd=stale; fwd-status=304; stored",
        CacheOutcome::Expired => "callboard; fwd=stale; fwd-status=200; stored",
        CacheOutcome::Gone => "callboard; fwd=stale; fwd-status=404; stored",
        CacheOutcome::Pass => "callboard; fwd=uri-miss",
    });
    let seconds = match ttl {
        _ if outcome == CacheOutcome::Pass => None,
        Ttl::Left(left) => Some(("; ttl=", left)),
        Ttl::Over(over) => Some(("; ttl=-", over)),
    };
    if let Some((name, seconds)) = seconds {
        text.push_str(name);
        text.push_str(itoa::Buffer::new().format(seconds.as_secs()));
    }
    if collapsed && !outcome.is_held() {
        text.push_str("; collapsed");
    }
    text.push_str(match outcome {
        CacheOutcome::Hit => "; detail=memory",
        CacheOutcome::Redis => "; detail=redis",
        CacheOutcome::Updating => "; detail=stale-while-revalidate",
        CacheOutcome::Stale => "; detail=stale-if-error",
        CacheOutcome::Pass => "; detail=large",
        _ => "",
    });
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("callboard"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_says_what_happened() {
        let left = Ttl::Left(Duration::from_millis(299_500));
        for (outcome, ttl, collapsed, expected) in [
            (CacheOutcome::Hit, left, false, "callboard; hit; ttl=299; detail=memory"),
            (CacheOutcome::Hit, left, true, "callboard; hit; ttl=299; detail=memory"),
            (CacheOutcome::Redis, left, true, "callboard; hit; ttl=299; detail=redis"),
            (
                CacheOutcome::Updating,
                Ttl::Over(Duration::from_secs(7)),
                false,
                "callboard; hit; ttl=-7; detail=stale-while-revalidate",
            ),
            (CacheOutcome::Miss, left, true, "callboard; fwd=uri-miss; stored; ttl=299; collapsed"),
            (CacheOutcome::Gone, left, false, "callboard; fwd=stale; fwd-status=404; stored; ttl=299"),
            (
                CacheOutcome::Stale,
                Ttl::Over(Duration::from_secs(7)),
                false,
                "callboard; hit; ttl=-7; detail=stale-if-error",
            ),
            (CacheOutcome::Pass, left, true, "callboard; fwd=uri-miss; collapsed; detail=large"),
        ] {
            assert_eq!(cache_status(outcome, ttl, collapsed), expected);
        }
    }

    #[test]
    fn every_outcome_stands_at_its_index() {
        for (place, outcome) in CacheOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome.index(), place);
        }
    }
}
