//! A bound on how many operations run, and on how many may wait for their turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::StoreError;

/// Lets `places` operations run and `queue` more wait, none for longer than `patience`; whoever comes beyond that is
/// turned away at once. A store that hangs holds its places until their deadline: without a patience of its own the
/// whole queue would wait as long, for nothing.
#[derive(Debug)]
pub(super) struct Gate {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue: usize,
    patience: Duration,
}

impl Gate {
    pub(super) fn new(places: usize, queue: usize, patience: Duration) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), waiting: AtomicUsize::new(0), queue, patience }
    }

    /// A place, held until it is dropped.
    pub(super) async fn enter(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        if let Ok(place) = self.try_enter() {
            return Ok(place);
        }
        let _waiting = self.queue_up()?;
        let turn = Arc::clone(&self.places).acquire_owned();
        match timeout(self.patience, turn).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(StoreError::Busy),
        }
    }

    /// A place, if there is one now.
    pub(super) fn try_enter(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| StoreError::Busy)
    }

    /// A place, however long it takes, after all who wait already. The queue's bound does not hold here: whoever comes
    /// this way sees to it that few do.
    pub(super) async fn enter_at_leisure(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        Arc::clone(&self.places).acquire_owned().await.map_err(|_| StoreError::Busy)
    }

    /// Whether somebody waits for a place.
    pub(super) fn is_crowded(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    fn queue_up(&self) -> Result<Waiting<'_>, StoreError> {
        let joined = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
            (waiting < self.queue).then_some(waiting + 1)
        });
        joined.map(|_| Waiting(self)).map_err(|_| StoreError::Busy)
    }
}

/// One who waits; leaves the queue however the wait ends.
struct Waiting<'a>(&'a Gate);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_comes_beyond_the_queue_is_turned_away() {
        let gate = Arc::new(Gate::new(1, 1, Duration::from_secs(60)));
        let first = gate.enter().await.unwrap();
        let second = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.enter().await.map(drop) }
        });
        while gate.waiting.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(gate.enter().await, Err(StoreError::Busy)));
        drop(first);
        second.await.unwrap().unwrap();
        assert_eq!(gate.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_the_patience() {
        let gate = Gate::new(1, 8, Duration::from_secs(1));
        let _first = gate.enter().await.unwrap();
        let start = tokio::time::Instant::now();
        assert!(matches!(gate.enter().await, Err(StoreError::Busy)));
        assert_eq!(start.elapsed(), Duration::from_secs(1));
        assert_eq!(gate.waiting.load(Ordering::Relaxed), 0);
    }
}
