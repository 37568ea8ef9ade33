//! The `kid`s that an issuer was lately found not to publish.

use std::collections::HashMap;
use std::time::Duration;

use super::state::lasts;
use crate::clock::Timestamp;

/// How long a `kid` is taken for unknown without another look. Backstage publishes a key before it signs with it, so
/// that a real one is unknown only if a replica lags behind.
const UNKNOWN_FOR: Duration = Duration::from_secs(10);

/// How many are remembered for one endpoint.
const MAX_KIDS: usize = 256;

/// A bounded memory: once full of entries that are all still good it forgets them all, which the reload budget
/// makes good for.
#[derive(Debug, Default)]
pub(super) struct UnknownKids(HashMap<String, Timestamp>);

impl UnknownKids {
    pub(super) fn contains(&self, kid: &str, now: Timestamp) -> bool {
        self.0.get(kid).is_some_and(|&since| lasts(since, UNKNOWN_FOR, now))
    }

    pub(super) fn insert(&mut self, kid: &str, now: Timestamp) {
        if self.0.len() >= MAX_KIDS {
            self.0.retain(|_, &mut since| lasts(since, UNKNOWN_FOR, now));
        }
        if self.0.len() >= MAX_KIDS {
            self.0.clear();
        }
        self.0.insert(kid.to_owned(), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kids_are_forgotten_after_a_while_and_never_grow_in_number() {
        let mut kids = UnknownKids::default();
        let now = Timestamp::from_secs(100);
        for n in 0..10_000 {
            kids.insert(&n.to_string(), now);
            assert!(kids.0.len() <= MAX_KIDS);
        }
        assert!(kids.contains("9999", now));
        assert!(!kids.contains("9999", now.plus(UNKNOWN_FOR)));
        assert!(!kids.contains("9999", Timestamp::from_secs(99)), "the clock was set back");
    }
}
