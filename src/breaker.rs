//! A breaker: after several failures in a row nothing is tried for a while, then one thing at a time, as a probe.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Failures in a row that open it.
    pub failures: u32,
    /// How long it stays open at first.
    pub first_pause: Duration,
    /// Each probe that fails doubles the pause, up to this.
    pub longest_pause: Duration,
}

impl Rules {
    /// Those that fit most stores.
    pub const DEFAULT: Self =
        Self { failures: 5, first_pause: Duration::from_secs(1), longest_pause: Duration::from_secs(30) };
}

/// Keeps what fails from being tried again and again.
#[derive(Debug)]
pub struct Breaker {
    rules: Rules,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// All goes through; so many have failed in a row.
    Closed(u32),
    /// Nothing goes through until then, and what the pause was.
    Open(Instant, Duration),
    /// One is on its way to see, after this pause.
    Probing(Duration),
}

/// Nothing is let through now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    /// When it is worth asking again.
    pub retry_after: Duration,
}

/// Leave to try once. Dropped without a verdict, as where the one who tried has left, it says nothing of either.
#[derive(Debug)]
#[must_use]
pub struct Pass<'b> {
    breaker: &'b Breaker,
    is_probe: bool,
}

impl Breaker {
    /// A closed one.
    pub const fn new(rules: Rules) -> Self {
        Self { rules, state: Mutex::new(State::Closed(0)) }
    }

    /// Leave to try, unless it is open.
    ///
    /// # Errors
    /// [`Open`] where nothing is let through now.
    pub fn admit(&self) -> Result<Pass<'_>, Open> {
        let mut state = self.state();
        if let Some(retry_after) = self.left(*state) {
            return Err(Open { retry_after });
        }
        let is_probe = match *state {
            State::Open(_, pause) => {
                *state = State::Probing(pause);
                true
            }
            State::Closed(_) | State::Probing(_) => false,
        };
        Ok(Pass { breaker: self, is_probe })
    }

    /// Whether it is worth getting ready for a try: what [`Breaker::admit`] would say, without becoming the probe.
    ///
    /// # Errors
    /// [`Open`] where nothing would be let through now.
    pub fn check(&self) -> Result<(), Open> {
        let left = self.left(*self.state());
        left.map_or(Ok(()), |retry_after| Err(Open { retry_after }))
    }

    /// Whether all goes through.
    pub fn is_closed(&self) -> bool {
        matches!(*self.state(), State::Closed(_))
    }

    /// For how much longer nothing is let through; `None` where something is.
    fn left(&self, state: State) -> Option<Duration> {
        match state {
            State::Closed(_) => None,
            State::Open(until, _) => {
                Some(until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
            }
            State::Probing(pause) => Some(pause.min(self.rules.first_pause)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole whenever the lock is let go.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Open from now on, for some time around `pause`: those who wait shall not all come back at once.
    fn opened(pause: Duration) -> State {
        State::Open(Instant::now() + pause.mul_f64(rand::random_range(0.8..1.2)), pause)
    }
}

impl Pass<'_> {
    /// It answered. Whoever hears that knows that it lives, whatever others found before. Returns whether that closed the
    /// breaker.
    pub fn succeeded(self) -> bool {
        let before = std::mem::replace(&mut *self.breaker.state(), State::Closed(0));
        !matches!(before, State::Closed(_))
    }

    /// It failed. Returns whether that opened the breaker.
    pub fn failed(self) -> bool {
        let rules = self.breaker.rules;
        let mut state = self.breaker.state();
        match *state {
            State::Closed(failures) if failures + 1 < rules.failures => {
                *state = State::Closed(failures + 1);
                false
            }
            State::Closed(_) => {
                *state = Breaker::opened(rules.first_pause);
                true
            }
            State::Probing(pause) if self.is_probe => {
                *state = Breaker::opened((pause * 2).min(rules.longest_pause));
                false
            }
            // One that set out before the others failed; it tells nothing new.
            State::Open(..) | State::Probing(_) => false,
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut state = self.breaker.state();
        if let State::Probing(pause) = *state
            && self.is_probe
        {
            // Nobody knows yet: the next one is the probe.
            *state = State::Open(Instant::now(), pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules =
        Rules { failures: 3, first_pause: Duration::from_secs(1), longest_pause: Duration::from_secs(4) };

    fn open() -> Breaker {
        let breaker = Breaker::new(RULES);
        let opened: Vec<bool> = (0..3).map(|_| breaker.admit().unwrap().failed()).collect();
        assert_eq!(opened, [false, false, true]);
        breaker
    }

    async fn pass(pause: u64) {
        tokio::time::advance(Duration::from_millis(pause * 1300)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let breaker = Breaker::new(RULES);
        for _ in 0..10 {
            assert!(!breaker.admit().unwrap().failed());
            assert!(!breaker.admit().unwrap().failed());
            breaker.admit().unwrap().succeeded();
        }
        let breaker = open();
        let Open { retry_after } = breaker.admit().unwrap_err();
        assert!((Duration::from_millis(800)..=Duration::from_millis(1200)).contains(&retry_after), "{retry_after:?}");
        assert!(!breaker.is_closed());
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_at_a_time_closes_it_or_doubles_the_pause() {
        let breaker = open();
        pass(1).await;
        let probe = breaker.admit().unwrap();
        assert!(breaker.admit().is_err());
        probe.failed();
        pass(1).await;
        assert!(breaker.admit().is_err());
        pass(1).await;
        assert!(breaker.admit().unwrap().succeeded());
        assert!(breaker.is_closed());
        assert!(!breaker.admit().unwrap().failed());
        assert!(!breaker.admit().unwrap().succeeded(), "it was closed already");
    }

    #[tokio::test(start_paused = true)]
    async fn the_pause_grows_no_longer_than_it_may() {
        let breaker = open();
        for _ in 0..5 {
            pass(4).await;
            breaker.admit().unwrap().failed();
        }
        assert!(breaker.admit().unwrap_err().retry_after <= Duration::from_millis(4800));
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_leaves_makes_room_for_the_next() {
        let breaker = open();
        pass(1).await;
        drop(breaker.admit().unwrap());
        assert!(breaker.admit().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_at_it_is_no_probe() {
        let breaker = open();
        assert_eq!(breaker.check(), Err(breaker.admit().unwrap_err()));
        pass(1).await;
        assert_eq!((breaker.check(), breaker.check()), (Ok(()), Ok(())));
        let _probe = breaker.admit().unwrap();
        assert_eq!(breaker.check(), Err(Open { retry_after: RULES.first_pause }));
    }

    #[tokio::test(start_paused = true)]
    async fn late_news_of_a_failure_opens_nothing_anew() {
        let breaker = Breaker::new(RULES);
        let late = breaker.admit().unwrap();
        for _ in 0..3 {
            breaker.admit().unwrap().failed();
        }
        pass(1).await;
        let probe = breaker.admit().unwrap();
        assert!(!late.failed());
        probe.succeeded();
        assert!(breaker.is_closed());
    }
}
