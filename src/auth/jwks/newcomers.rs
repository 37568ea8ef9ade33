//! How often plugins are asked for keys that have never shown any.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::budget::Budget;
use crate::clock::Timestamp;

/// How the time is divided for [`TurnedAway`]: a caller that does as `Retry-After` says comes back in the next period.
const PERIOD: Duration = Duration::from_secs(10);

/// How many of those turned away in one period are remembered. A flood fills it in the end, but leaves a plugin that is
/// real some seconds of each period to get in.
const MAX_TURNED_AWAY: usize = 16_384;

/// What may be fetched from plugins that have never shown a key: the only fetches that a stranger can bring about by
/// inventing plugins, and so the only ones for which plugins that are real and invented ones compete.
///
/// They compete only until a real one has been asked once, and not quite on equal terms. Whoever invents names to keep
/// the budget empty will mostly invent new ones, while a plugin that is real comes back under its own: a part is kept
/// for those that were turned away before.
#[derive(Debug)]
pub(super) struct Newcomers {
    first: Budget,
    again: Budget,
    turned_away: Mutex<TurnedAway>,
}

impl Newcomers {
    pub(super) fn new(first: Budget, again: Budget) -> Self {
        Self { first, again, turned_away: Mutex::default() }
    }

    /// Takes one fetch for plugin `id`, or says when to come back.
    pub(super) fn take(&self, id: &str, now: Timestamp) -> Result<(), Duration> {
        self.admit(id, now, |budget| budget.take(now).is_ok())
    }

    /// Whether [`Newcomers::take`] would be granted, or when to come back.
    pub(super) fn has_room(&self, id: &str, now: Timestamp) -> Result<(), Duration> {
        self.admit(id, now, |budget| budget.has_room(now))
    }

    fn admit(&self, id: &str, now: Timestamp, granted: impl Fn(&Budget) -> bool) -> Result<(), Duration> {
        if granted(&self.first) {
            return Ok(());
        }
        let came_back = self.turned_away.lock().unwrap_or_else(PoisonError::into_inner).note(id, now);
        if came_back && granted(&self.again) { Ok(()) } else { Err(next_period(now)) }
    }
}

/// How long it is until the next period, in whole seconds.
fn next_period(now: Timestamp) -> Duration {
    let period = PERIOD.as_secs();
    Duration::from_secs(period - now.as_secs() % period)
}

/// Which plugins were turned away in this period and in the last. Hashes are kept, with a key of their own so that none
/// can be made to pass for another.
#[derive(Debug, Default)]
struct TurnedAway {
    period: u64,
    this: HashSet<u64>,
    last: HashSet<u64>,
    hasher: RandomState,
}

impl TurnedAway {
    /// Notes that the plugin was turned away, and says whether it was in the last period.
    fn note(&mut self, id: &str, now: Timestamp) -> bool {
        self.turn_to(now.as_secs() / PERIOD.as_secs());
        let hash = self.hasher.hash_one(id);
        if self.this.len() < MAX_TURNED_AWAY {
            self.this.insert(hash);
        }
        self.last.contains(&hash)
    }

    /// Starts anew if the clock was set back, or if nobody was turned away for longer than a period.
    fn turn_to(&mut self, period: u64) {
        if period == self.period {
            return;
        }
        let this = std::mem::take(&mut self.this);
        self.last = if period.checked_sub(1) == Some(self.period) { this } else { HashSet::new() };
        self.period = period;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn newcomers() -> Newcomers {
        Newcomers::new(Budget::new(2, SECOND * 2), Budget::new(1, SECOND * 5))
    }

    #[test]
    fn whoever_comes_back_is_not_kept_out_by_ever_new_names() {
        let newcomers = newcomers();
        let mut now = Timestamp::from_secs(1_000);
        let flood = |now: Timestamp| (0..100).filter(|n| newcomers.take(&format!("{n}-{now:?}"), now).is_ok()).count();
        let mut granted = flood(now);
        let retry_after = newcomers.take("catalog", now).unwrap_err();
        for _ in 0..retry_after.as_secs() {
            now = now.plus(SECOND);
            granted += flood(now);
        }
        assert_eq!(newcomers.take("catalog", now), Ok(()));
        assert_eq!(granted, 2 + 5);
    }

    #[test]
    fn coming_back_at_once_or_much_later_or_after_the_clock_was_set_back_is_nothing_special() {
        let newcomers = newcomers();
        let now = Timestamp::from_secs(1_000);
        while newcomers.take("x", now).is_ok() {}
        assert!(newcomers.take("catalog", now).is_err() && newcomers.take("catalog", now).is_err());
        for later in [Timestamp::from_secs(1_020), Timestamp::from_secs(900)] {
            while newcomers.first.take(later).is_ok() {}
            assert!(newcomers.take("catalog", later).is_err());
        }
    }

    #[test]
    fn memory_of_those_turned_away_is_bounded() {
        let mut turned_away = TurnedAway::default();
        for n in 0..3 * MAX_TURNED_AWAY as u64 {
            turned_away.note(&n.to_string(), Timestamp::from_secs(1_000 + n / 30_000 * 10));
            assert!(turned_away.this.len() <= MAX_TURNED_AWAY && turned_away.last.len() <= MAX_TURNED_AWAY);
        }
    }
}
