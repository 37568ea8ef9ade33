//! Leaving a store alone that keeps failing.

use std::sync::Arc;

use super::StoreError;
use crate::breaker::{Breaker, Open, Pass, Rules};
use crate::chain::chain;
use crate::telemetry::OriginInstruments;

/// A breaker around every operation: a store that is overloaded recovers sooner when it is not asked, and readers learn
/// at once what they would otherwise wait a deadline for.
#[derive(Debug)]
pub(super) struct Rest {
    breaker: Option<Arc<Breaker>>,
    instruments: Arc<OriginInstruments>,
}

impl Rest {
    /// A breaker by these rules, closed; without rules everything is tried.
    pub(super) fn new(rules: Option<Rules>, instruments: Arc<OriginInstruments>) -> Self {
        let breaker = rules.map(|rules| Arc::new(Breaker::new(rules)));
        let observed = breaker.clone();
        instruments.observe_breaker(move || observed.as_ref().is_some_and(|breaker| !breaker.is_closed()));
        Self { breaker, instruments }
    }

    /// Whether an operation is worth lining up for.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.breaker.as_ref().map_or(Ok(()), |breaker| breaker.check()).map_err(resting)
    }

    /// Does `work`, its deadline included, unless the store rests, and learns from how it ends. Where it does not end,
    /// since whoever asked has left, nothing is learned.
    pub(super) async fn attempt<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let Some(breaker) = &self.breaker else {
            return work.await;
        };
        let pass = breaker.admit().map_err(resting)?;
        let result = work.await;
        self.learn(pass, result.as_ref().err());
        result
    }

    fn learn(&self, pass: Pass<'_>, error: Option<&StoreError>) {
        match error {
            // A connection that breaks in the middle of a body is among the unavailable.
            Some(error @ (StoreError::Timeout(_) | StoreError::Unavailable(_))) => {
                if pass.failed() {
                    self.instruments.breaker_opened();
                    tracing::warn!(
                        origin = self.instruments.name(),
                        error = chain(error),
                        "storage keeps failing and is left alone, but for a try now and then: readers get old copies as \
                         long as callboard.cache.staleIfError allows, and 503 where there is none"
                    );
                }
            }
            // A refusal is an answer: it lives.
            None | Some(StoreError::Absent | StoreError::NotModified | StoreError::Changed | StoreError::Denied(_)) => {
                if pass.succeeded() {
                    tracing::info!(origin = self.instruments.name(), "storage answers again");
                }
            }
            // These tell of one object, or of ourselves. A few broken objects must not take all the others away.
            Some(
                StoreError::Truncated { .. }
                | StoreError::Corrupt
                | StoreError::ReaderStalled(_)
                | StoreError::Busy
                | StoreError::Resting { .. }
                | StoreError::Abandoned,
            ) => {}
        }
    }
}

fn resting(Open { retry_after }: Open) -> StoreError {
    StoreError::Resting { retry_after }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::telemetry::Instruments;

    /// A log in memory.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn rest() -> Rest {
        let pause = Duration::from_secs(1);
        let rules = Rules { failures: 2, first_pause: pause, longest_pause: pause };
        Rest::new(Some(rules), Arc::new(Instruments::new().unwrap().origin("docs", &[])))
    }

    async fn attempt(rest: &Rest, result: Result<(), StoreError>) -> Result<(), StoreError> {
        rest.attempt(async { result }).await
    }

    fn down() -> Result<(), StoreError> {
        Err(StoreError::unavailable("connection refused"))
    }

    #[tokio::test(start_paused = true)]
    async fn that_it_rests_and_that_it_is_back_are_told_once_each() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let rest = rest();
        for _ in 0..50 {
            let _ = attempt(&rest, down()).await;
            tokio::time::advance(Duration::from_millis(300)).await;
        }
        tokio::time::advance(Duration::from_secs(2)).await;
        for _ in 0..5 {
            attempt(&rest, Ok(())).await.unwrap();
        }
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = log.lines().collect();
        let [opened, closed] = lines[..] else { panic!("{log}") };
        assert!(opened.contains("left alone") && opened.contains("unavailable: connection refused"), "{opened}");
        assert!(closed.contains("storage answers again"), "{closed}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_between_failures_shows_that_it_lives() {
        let rest = rest();
        for answer in [StoreError::Absent, StoreError::Changed, StoreError::NotModified, StoreError::denied("403")] {
            let _ = attempt(&rest, down()).await;
            let _ = attempt(&rest, Err(answer)).await;
        }
        rest.check().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_tells_of_one_object_neither_opens_nor_hides_an_outage() {
        let rest = rest();
        let truncated = StoreError::Truncated { expected: 2, received: 1 };
        for error in [truncated, StoreError::Corrupt, StoreError::Busy] {
            for _ in 0..3 {
                let _ = attempt(&rest, Err(error.clone())).await;
            }
        }
        rest.check().unwrap();
        let _ = attempt(&rest, down()).await;
        let _ = attempt(&rest, Err(StoreError::Corrupt)).await;
        let _ = attempt(&rest, Err(StoreError::Timeout(Duration::ZERO))).await;
        assert!(matches!(rest.check(), Err(StoreError::Resting { .. })));
    }

    #[tokio::test]
    async fn without_rules_it_never_rests() {
        let rest = Rest::new(None, Arc::new(Instruments::new().unwrap().origin("docs", &[])));
        for _ in 0..20 {
            assert!(matches!(attempt(&rest, down()).await, Err(StoreError::Unavailable(_))));
        }
    }
}
