//! Turns at verifying signatures, which takes a core as long as ten pages do.

use std::pin::pin;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::yield_now;

use crate::roused::Roused;

/// After so long without a signature whoever is ready has had time to go first.
const QUIET: Duration = Duration::from_micros(500);

/// As many turns as there are cores, which is what they are turns at.
static TURNS: LazyLock<Turns> = LazyLock::new(|| Turns::new(available_parallelism().map_or(1, |cores| cores.get())));

struct Turns {
    places: Semaphore,
    since: Instant,
    /// When the last turn was over, in microseconds; zero before the first.
    last_ended: AtomicU64,
}

/// One's turn, until it is dropped.
pub(super) struct Turn {
    turns: &'static Turns,
    _place: Option<SemaphorePermit<'static>>,
}

/// Waits for a turn. Right behind another's, everyone goes first who is ready: whoever comes with a token that was seen
/// before waits for one signature at most, however many new ones there are.
pub(super) async fn turn() -> Turn {
    TURNS.turn().await
}

impl Turns {
    fn new(cores: usize) -> Self {
        Self { places: Semaphore::new(cores), since: Instant::now(), last_ended: AtomicU64::new(0) }
    }

    async fn turn(&'static self) -> Turn {
        if let Ok(place) = self.places.try_acquire()
            && self.are_quiet()
        {
            return Turn { turns: self, _place: Some(place) };
        }
        // Never closed, so there always is one.
        let place = self.places.acquire().await.ok();
        // Whoever polls out of turn, as a connection does that has just been given a request, is no reason to go on.
        Roused::new(pin!(yield_now())).await;
        Turn { turns: self, _place: place }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
    }

    fn are_quiet(&self) -> bool {
        let last_ended = self.last_ended.load(Ordering::Relaxed);
        last_ended == 0 || Duration::from_micros(self.now().saturating_sub(last_ended)) >= QUIET
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.last_ended.store(self.turns.now(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures_util::poll;

    use super::*;

    /// Turns of a test's own, for two cores.
    fn turns() -> &'static Turns {
        Box::leak(Box::new(Turns::new(2)))
    }

    /// The same as if a signature had just been looked at, however long the test takes.
    fn busy_turns() -> &'static Turns {
        let turns = turns();
        turns.last_ended.store(u64::MAX, Ordering::Relaxed);
        turns
    }

    #[tokio::test]
    async fn who_is_ready_goes_before_the_next_signature() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let (signatures, hits) = (Arc::clone(&order), Arc::clone(&order));
        let turns = busy_turns();
        let signature = tokio::spawn(async move {
            let _turn = turns.turn().await;
            signatures.lock().unwrap().push("signature");
        });
        let hit = tokio::spawn(async move { hits.lock().unwrap().push("hit") });
        signature.await.unwrap();
        hit.await.unwrap();
        assert_eq!(*order.lock().unwrap(), ["hit", "signature"]);
    }

    #[tokio::test]
    async fn a_poll_out_of_turn_takes_no_turn() {
        let mut next = pin!(busy_turns().turn());
        assert!(poll!(&mut next).is_pending());
        assert!(poll!(&mut next).is_pending());
        next.await;
    }

    #[tokio::test]
    async fn there_is_a_turn_for_each_core_and_who_comes_then_waits() {
        let turns = turns();
        let first = turns.turn().await;
        let _second = turns.turn().await;
        let mut next = pin!(turns.turn());
        assert!(poll!(&mut next).is_pending());
        drop(first);
        // Right behind another's turn, it lets those go first who are ready.
        assert!(poll!(&mut next).is_pending());
        next.await;
    }
}
