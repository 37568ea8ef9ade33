//! `Cache-Status` (RFC 9211): what the cache did for a request, in the words that logs and metrics use too.

use std::fmt::Write;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

/// The header's name.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What the cache did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheOutcome {
    /// Served from memory, fresh.
    Hit,
    /// Not held: fetched by this request, or by another that this one waited for.
    Miss,
    /// Held but no longer fresh: storage said that it has not changed.
    Revalidated,
    /// Held but no longer fresh: storage had another version.
    Expired,
    /// Too large to keep: streamed through.
    Pass,
}

impl CacheOutcome {
    /// All of them, in the order of [`CacheOutcome::index`].
    pub const ALL: [Self; 5] = [Self::Hit, Self::Miss, Self::Revalidated, Self::Expired, Self::Pass];

    /// The word for it in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Revalidated => "revalidated",
            Self::Expired => "expired",
            Self::Pass => "pass",
        }
    }

    /// Its place in [`CacheOutcome::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// The header's value for an outcome.
///
/// `ttl` is how long the entry stays fresh; `collapsed` says that the request waited for another's fetch.
pub fn cache_status(outcome: CacheOutcome, ttl: Duration, collapsed: bool) -> HeaderValue {
    let ttl = ttl.as_secs();
    let mut text = String::with_capacity(64);
    // Writing to a String can't fail.
    let _ = match outcome {
        CacheOutcome::Hit => write!(text, "callboard; hit; ttl={ttl}; detail=memory"),
        CacheOutcome::Miss => write!(text, "callboard; fwd=uri-miss; stored; ttl={ttl}"),
        CacheOutcome::Revalidated => write!(text, "callboard; fwd=stale; fwd-status=304; stored; ttl={ttl}"),
        CacheOutcome::Expired => write!(text, "callboard; fwd=stale; fwd-status=200; stored; ttl={ttl}"),
        CacheOutcome::Pass => write!(text, "callboard; fwd=bypass; detail=large"),
    };
    if collapsed {
        text.push_str("; collapsed");
    }
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("callboard"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_says_what_happened() {
        let ttl = Duration::from_millis(299_500);
        assert_eq!(
            cache_status(CacheOutcome::Hit, ttl, false),
            "callboard; hit; ttl=299; detail=memory"
        );
        let miss = cache_status(CacheOutcome::Miss, ttl, true);
        assert_eq!(miss, "callboard; fwd=uri-miss; stored; ttl=299; collapsed");
    }

    #[test]
    fn every_outcome_stands_at_its_index() {
        for (place, outcome) in CacheOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome.index(), place);
        }
    }
}
