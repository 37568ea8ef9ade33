//! One rate and the buckets of all whom it is for.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::{NotUntil, Quota, RateLimiter};

use super::Rate;
use super::buckets::{Buckets, Looking, Taking};
use super::time::{Time, until};
use crate::clock::Clock;
use crate::telemetry::LimitReason;

/// Buckets that one budget holds at most, about 2 MiB of them. More callers than that within the time that a bucket
/// takes to fill up again share one.
pub(super) const MOST_BUCKETS: usize = 65_536;

/// A caller is beyond its budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limited {
    /// Which budget.
    pub reason: LimitReason,
    /// What the bucket holds when it is full.
    pub burst: u32,
    /// In which time an empty one fills up.
    pub window: Duration,
    /// When there will be something in it again.
    pub wait: Duration,
}

/// A rate, with a bucket for each key.
///
/// A bucket is found by a hash of its key with a random secret, so that a look takes no copy of the key. Two of a
/// thousand keys share a bucket once in 2^45 starts of the program.
pub(super) struct Budget {
    reason: LimitReason,
    quota: Quota,
    secret: RandomState,
    time: Time,
    taking: By<Taking>,
    looking: By<Looking>,
}

/// A limiter that measures in its own way.
type By<S> = RateLimiter<u64, S, Time, NoOpMiddleware<Nanos>>;

impl Budget {
    pub(super) fn new(reason: LimitReason, rate: Rate, most: usize, clock: &Clock) -> Self {
        let quota = quota(rate);
        let time = Time::from(clock.clone());
        let buckets = Arc::new(Buckets::new(most));
        Self {
            reason,
            quota,
            secret: RandomState::new(),
            taking: RateLimiter::new(quota, Taking(Arc::clone(&buckets)), time.clone()),
            looking: RateLimiter::new(quota, Looking(buckets), time.clone()),
            time,
        }
    }

    /// Takes one from the bucket of `key`.
    pub(super) fn take(&self, key: impl Hash) -> Result<(), Limited> {
        self.taking.check_key(&self.secret.hash_one(key)).map_err(|empty| self.limited(&empty))
    }

    /// Whether there is anything in the bucket of `key`.
    pub(super) fn look(&self, key: impl Hash) -> Result<(), Limited> {
        self.looking.check_key(&self.secret.hash_one(key)).map_err(|empty| self.limited(&empty))
    }

    /// Forgets the buckets that are full again.
    pub(super) fn sweep(&self) {
        self.taking.retain_recent();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.taking.len()
    }

    fn limited(&self, empty: &NotUntil<Nanos>) -> Limited {
        Limited {
            reason: self.reason,
            burst: self.quota.burst_size().get(),
            window: self.quota.burst_size_replenished_in(),
            wait: until(empty.earliest_possible(), self.time.now()),
        }
    }
}

impl std::fmt::Debug for Budget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Budget").field("reason", &self.reason).field("quota", &self.quota).finish_non_exhaustive()
    }
}

fn quota(rate: Rate) -> Quota {
    // Nothing but a rate beyond one in a nanosecond makes it zero.
    let one = (rate.per / rate.count.get()).max(Duration::from_nanos(1));
    Quota::with_period(one).unwrap_or(Quota::per_second(rate.count)).allow_burst(rate.burst)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::clock::{Hand, Timestamp};

    fn budget(per_second: u32, burst: u32, most: usize) -> (Budget, Hand) {
        let hand = Hand::at(Timestamp::from_secs(1_800_000_000));
        let number = |number| NonZeroU32::new(number).unwrap();
        let rate = Rate { count: number(per_second), per: Duration::from_secs(1), burst: number(burst) };
        (Budget::new(LimitReason::Principal, rate, most, &Clock::Manual(hand.clone())), hand)
    }

    fn taken(budget: &Budget, key: &str) -> usize {
        (0..1000).filter(|_| budget.take(key).is_ok()).count()
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_what_flows_in() {
        let (budget, hand) = budget(10, 20, 8);
        assert_eq!(taken(&budget, "a"), 20);
        let limited = budget.take("a").unwrap_err();
        assert_eq!((limited.burst, limited.window), (20, Duration::from_secs(2)));
        assert_eq!(limited.wait, Duration::from_millis(100));
        hand.advance(Duration::from_millis(500));
        assert_eq!(taken(&budget, "a"), 5);
        hand.advance(Duration::from_secs(3600));
        assert_eq!(taken(&budget, "a"), 20);
        assert_eq!(taken(&budget, "b"), 20, "each has its own");
    }

    #[test]
    fn a_look_takes_nothing() {
        let (budget, _hand) = budget(1, 3, 8);
        for _ in 0..100 {
            assert!(budget.look("a").is_ok());
        }
        assert_eq!(budget.len(), 0);
        assert_eq!(taken(&budget, "a"), 3);
        assert_eq!(budget.look("a").unwrap_err().wait, Duration::from_secs(1));
    }

    #[test]
    fn buckets_are_bounded_and_those_without_room_share_one() {
        let (budget, _hand) = budget(1, 5, 100);
        for key in 0..100 {
            assert!(budget.take(key).is_ok());
        }
        let newcomers = (100..10_000).filter(|key| budget.take(key).is_ok()).count();
        assert_eq!((newcomers, budget.len()), (5, 100));
        assert!(budget.take(20_000).is_err(), "the shared bucket is empty");
        assert!(budget.look(20_000).is_ok(), "who has done nothing yet answers for nobody");
        assert!(budget.take(7).is_ok(), "who has a bucket keeps it");
    }

    #[test]
    fn a_sweep_forgets_full_buckets_and_no_others() {
        let (budget, hand) = budget(1, 5, 100);
        assert_eq!(taken(&budget, "busy"), 5);
        assert!(budget.take("quiet").is_ok());
        hand.advance(Duration::from_secs(3));
        budget.sweep();
        assert_eq!(budget.len(), 1);
        assert_eq!(taken(&budget, "busy"), 3);
        hand.advance(Duration::from_secs(60));
        budget.sweep();
        assert_eq!(budget.len(), 0);
    }
}
