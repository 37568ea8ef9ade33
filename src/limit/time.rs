//! The program's clock as `governor` reads it.

use std::time::Instant;

use governor::clock::{Clock as GovernorClock, Reference as _};
use governor::nanos::Nanos;

use crate::clock::Clock;

/// Where budgets read the time.
#[derive(Debug, Clone)]
pub(super) enum Time {
    /// Since the program started, by a clock that nobody sets: if the system's were set back an hour, buckets would stay
    /// empty for an hour.
    Monotonic(Instant),
    /// A clock that is moved by hand.
    Manual(Clock),
}

impl From<Clock> for Time {
    fn from(clock: Clock) -> Self {
        match clock {
            Clock::System => Self::Monotonic(Instant::now()),
            manual @ Clock::Manual(_) => Self::Manual(manual),
        }
    }
}

impl GovernorClock for Time {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        match self {
            Self::Monotonic(start) => start.elapsed().into(),
            Self::Manual(clock) => Nanos::new(clock.now().as_millis().saturating_mul(1_000_000)),
        }
    }
}

/// How long after `now` the moment `then` is.
pub(super) fn until(then: Nanos, now: Nanos) -> std::time::Duration {
    then.duration_since(now.min(then)).into()
}
