//! How often something may be done.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;

/// How many may be done at once after a quiet time.
const BURST: u32 = 4;

/// How long one takes to be allowed again.
const EVERY: Duration = Duration::from_secs(10);

/// Allows ten things in any 60 seconds (Backstage's limit for forced reloads, `JwksClient`): four at once, then one
/// every ten seconds. Ten at once would fit the limit as well, but would leave an issuer's new key unread for a whole
/// minute after a stranger has used them up.
///
/// It is a generic cell rate algorithm: all there is to keep is when the budget will be full again.
#[derive(Debug)]
pub struct Budget {
    full_again_at: Mutex<Timestamp>,
    burst: u32,
    every: Duration,
}

impl Budget {
    /// Ten in any 60 seconds.
    pub const fn ten_a_minute() -> Self {
        Self::new(BURST, EVERY)
    }

    /// `burst` at once, and one more `every` so often.
    pub const fn new(burst: u32, every: Duration) -> Self {
        Self { full_again_at: Mutex::new(Timestamp::from_millis(0)), burst, every }
    }

    /// Whether [`Budget::take`] would be granted.
    pub(super) fn has_room(&self, now: Timestamp) -> bool {
        self.with_one_more(&mut self.lock(), now).is_ok()
    }

    /// Takes one, or says how long it is until there is one again.
    ///
    /// # Errors
    ///
    /// Where there is none just now.
    pub fn take(&self, now: Timestamp) -> Result<(), Duration> {
        let full_again_at = &mut *self.lock();
        *full_again_at = self.with_one_more(full_again_at, now)?;
        Ok(())
    }

    /// When the budget will be full again once one more is taken, or how long it is until one can be.
    fn with_one_more(&self, full_again_at: &mut Timestamp, now: Timestamp) -> Result<Timestamp, Duration> {
        let latest = now.plus(self.every.saturating_mul(self.burst));
        // Beyond that it can only be because the clock was set back: go on from an empty budget.
        *full_again_at = (*full_again_at).min(latest);
        let later = (*full_again_at).max(now).plus(self.every);
        if later <= latest { Ok(later) } else { Err(later.since(latest)) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Timestamp> {
        self.full_again_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_ten_in_any_minute() {
        let budget = Budget::ten_a_minute();
        let taken: Vec<u64> =
            (0..300_000).step_by(50).filter(|&t| budget.take(Timestamp::from_millis(t)).is_ok()).collect();
        for &start in &taken {
            assert!(taken.iter().filter(|&&t| t >= start && t < start + 60_000).count() <= 10);
        }
        assert_eq!(taken.iter().filter(|&&t| t < 60_000).count(), 9);
        assert_eq!(taken[..4], [0, 50, 100, 150]);
    }

    #[test]
    fn clock_set_back_does_not_lock_out() {
        let budget = Budget::ten_a_minute();
        let late = Timestamp::from_secs(1_000_000);
        while budget.take(late).is_ok() {}
        let early = Timestamp::from_secs(1_000);
        assert_eq!(budget.take(early), Err(EVERY));
        assert_eq!(budget.take(early.plus(EVERY)), Ok(()));
    }
}
