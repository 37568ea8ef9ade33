//! Whether an entry may be served without asking storage: a pure function of the entry, the time and the rules.

use std::time::Duration;

use super::{Content, Entry, Options};
use crate::clock::Timestamp;

/// Whether an entry may be served without asking storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// It may, for this much longer.
    Fresh(Duration),
    /// It may not any more.
    Expired,
}

impl Freshness {
    pub(super) fn of(entry: &Entry, now: Timestamp, rules: &Options) -> Self {
        let lifetime = match entry.content {
            Content::Body(_) | Content::Large => rules.fresh_for,
            Content::Absent => rules.not_found_for,
        };
        let age = now.since(entry.confirmed_at);
        if age < lifetime {
            Self::Fresh(lifetime.saturating_sub(age))
        } else {
            Self::Expired
        }
    }

    pub(super) fn is_fresh(self) -> bool {
        self != Self::Expired
    }

    /// How long it stays fresh; `None` where it is not.
    pub(super) fn ttl(self) -> Option<Duration> {
        match self {
            Self::Fresh(ttl) => Some(ttl),
            Self::Expired => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_fresh_for_as_long_as_the_rule_says() {
        let rules = Options {
            memory_max_bytes: 0,
            max_object_bytes: 0,
            fresh_for: Duration::from_secs(300),
            not_found_for: Duration::from_secs(10),
        };
        let entry = Entry::absent(Timestamp::from_secs(1000));
        let at = |millis| Freshness::of(&entry, Timestamp::from_millis(millis), &rules);
        assert_eq!(at(1_000_000), Freshness::Fresh(Duration::from_secs(10)));
        assert_eq!(at(1_009_999), Freshness::Fresh(Duration::from_millis(1)));
        assert_eq!(at(1_010_000), Freshness::Expired);
        // The system's clock was set back: the entry counts as just confirmed, and expires by the new time.
        assert_eq!(at(500_000), Freshness::Fresh(Duration::from_secs(10)));
    }
}
