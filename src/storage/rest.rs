//! Leaving a store alone that keeps failing.

use std::sync::Arc;

use super::StoreError;
use crate::breaker::{Breaker, Open, Pass, Rules};
use crate::chain::chain;
use crate::telemetry::Instruments;

/// A breaker around every operation: a store that is overloaded recovers sooner when it is not asked, and readers learn
/// at once what they would otherwise wait a deadline for.
#[derive(Debug)]
pub(super) struct Rest {
    breaker: Option<Arc<Breaker>>,
    instruments: Arc<Instruments>,
}

impl Rest {
    /// A breaker by these rules, closed; without rules everything is tried.
    pub(super) fn new(rules: Option<Rules>, instruments: Arc<Instruments>) -> Self {
        let breaker = rules.map(|rules| Arc::new(Breaker::new(rules)));
        let observed = breaker.clone();
        instruments.storage_breaker.observe(move || observed.as_ref().is_some_and(|breaker| !breaker.is_closed()));
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
                    self.instruments.storage_breaker.opened();
                    tracing::warn!(
                        error = chain(error),
                        "storage keeps failing and is left alone, but for a try now and then: readers get old copies as \
                         long as callboard.cache.staleIfError allows, and 503 where there is none"
                    );
                }
            }
            // A refusal is an answer: it lives.
            None | Some(StoreError::Absent | StoreError::NotModified | StoreError::Changed | StoreError::Denied(_)) => {
                if pass.succeeded() {
                    tracing::info!("storage answers again");
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
