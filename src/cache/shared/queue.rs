//! Writes that wait: bounded by count and by bytes, a few at a time, those of one name one after another.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::telemetry::Instruments;

/// How many are worked on at a time. They share one connection; more of them would make its readers wait.
const LANES: usize = 4;

/// One place in so many is kept for what has no body: a removal must not be lost because of many bodies.
const RESERVED_SHARE: usize = 4;

/// How much may wait.
#[derive(Debug, Clone, Copy)]
pub(in crate::cache) struct QueueBounds {
    /// Writes.
    pub(in crate::cache) operations: usize,
    /// Bytes of their bodies.
    pub(in crate::cache) bytes: usize,
}

/// The queue's end that is written to. When it is dropped, what waits is still worked off.
#[derive(Debug)]
pub(super) struct Queue<T> {
    lanes: Vec<mpsc::Sender<Queued<T>>>,
    places: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    operations: usize,
    reserved: usize,
    instruments: Arc<Instruments>,
}

/// Too much waits already; here is what was to join.
#[derive(Debug)]
pub(super) struct Full<T>(pub(super) T);

/// Something that waits, with its place.
#[derive(Debug)]
struct Queued<T> {
    work: T,
    _place: Place,
}

/// A place in the queue, kept until the work is done.
#[derive(Debug)]
struct Place {
    _permits: [Option<OwnedSemaphorePermit>; 2],
    bytes: i64,
    instruments: Arc<Instruments>,
}

impl<T: Send + 'static> Queue<T> {
    /// An empty queue, which `work` works off on the current runtime.
    pub(super) fn new<F>(
        bounds: QueueBounds,
        instruments: Arc<Instruments>,
        work: impl Fn(T) -> F + Clone + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let lanes = (0..LANES).map(|_| {
            let (lane, mut waiting) = mpsc::channel::<Queued<T>>(bounds.operations.max(1));
            let work = work.clone();
            tokio::spawn(async move {
                while let Some(queued) = waiting.recv().await {
                    work(queued.work).await;
                }
            });
            lane
        });
        Self {
            lanes: lanes.collect(),
            places: Arc::new(Semaphore::new(bounds.operations)),
            bytes: Arc::new(Semaphore::new(bounds.bytes)),
            operations: bounds.operations,
            reserved: bounds.operations / RESERVED_SHARE,
            instruments,
        }
    }

    /// Queues what has no body to speak of, behind all else of that name.
    pub(super) fn push(&self, name: &str, work: T) -> Result<(), Full<T>> {
        self.push_with(name, work, None)
    }

    /// Queues what holds so many bytes.
    pub(super) fn push_body(&self, name: &str, work: T, bytes: usize) -> Result<(), Full<T>> {
        if self.places.available_permits() <= self.reserved {
            return Err(Full(work));
        }
        let permit =
            u32::try_from(bytes).ok().and_then(|count| Arc::clone(&self.bytes).try_acquire_many_owned(count).ok());
        match permit {
            Some(permit) => self.push_with(name, work, Some(permit)),
            None => Err(Full(work)),
        }
    }

    fn push_with(&self, name: &str, work: T, bytes: Option<OwnedSemaphorePermit>) -> Result<(), Full<T>> {
        let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() else { return Err(Full(work)) };
        let Some(lane) = self.lane(name) else { return Err(Full(work)) };
        let place = Place::new([Some(permit), bytes], Arc::clone(&self.instruments));
        lane.try_send(Queued { work, _place: place }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(queued) | mpsc::error::TrySendError::Closed(queued) => Full(queued.work),
        })
    }

    /// Waits until nothing is queued or under way.
    pub(super) async fn idle(&self) {
        let all = u32::try_from(self.operations).unwrap_or(u32::MAX);
        let _places = self.places.acquire_many(all).await;
    }

    fn lane(&self, name: &str) -> Option<&mpsc::Sender<Queued<T>>> {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        self.lanes.get(usize::try_from(hasher.finish() % LANES as u64).unwrap_or_default())
    }
}

impl Place {
    fn new(permits: [Option<OwnedSemaphorePermit>; 2], instruments: Arc<Instruments>) -> Self {
        let bytes = match &permits {
            [_, Some(bytes)] => i64::try_from(bytes.num_permits()).unwrap_or(i64::MAX),
            _ => 0,
        };
        instruments.shared_tier.queued(1, bytes);
        Self { _permits: permits, bytes, instruments }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.instruments.shared_tier.queued(-1, -self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;

    const BOUNDS: QueueBounds = QueueBounds { operations: 8, bytes: 1000 };

    /// A queue whose work needs a permit, and what is done.
    fn held() -> (Queue<u32>, Arc<Semaphore>, UnboundedReceiver<u32>) {
        let (done, results) = unbounded_channel();
        let go = Arc::new(Semaphore::new(0));
        let gate = Arc::clone(&go);
        let queue = Queue::new(BOUNDS, Arc::new(Instruments::new().unwrap()), move |number| {
            let (gate, done) = (Arc::clone(&gate), done.clone());
            async move {
                gate.acquire().await.unwrap().forget();
                let _ = done.send(number);
            }
        });
        (queue, go, results)
    }

    #[tokio::test]
    async fn work_on_one_name_is_done_in_its_order_also_after_the_end() {
        let (queue, go, mut results) = held();
        for number in 0..8 {
            queue.push("page", number).unwrap();
        }
        drop(queue);
        go.add_permits(8);
        for number in 0..8 {
            assert_eq!(results.recv().await, Some(number));
        }
        assert_eq!(results.recv().await, None);
    }

    #[tokio::test]
    async fn work_on_other_names_does_not_wait() {
        let (queue, go, mut results) = held();
        let names: Vec<String> = (0..8).map(|number| number.to_string()).collect();
        let lane = |name: &str| queue.lane(name).unwrap().clone();
        let other = names.iter().find(|name| !lane(name).same_channel(&lane("page"))).unwrap();
        queue.push("page", 1).unwrap();
        queue.push(other, 2).unwrap();
        // Both are under way before either is done.
        while queue.lanes.iter().any(|lane| lane.capacity() < lane.max_capacity()) {
            tokio::task::yield_now().await;
        }
        go.add_permits(2);
        let mut done = [results.recv().await.unwrap(), results.recv().await.unwrap()];
        done.sort_unstable();
        assert_eq!(done, [1, 2]);
    }

    #[tokio::test]
    async fn bodies_are_bounded_by_their_bytes() {
        let (queue, go, mut results) = held();
        queue.push_body("a", 1, 600).unwrap();
        assert_eq!(queue.push_body("b", 2, 401).unwrap_err().0, 2);
        queue.push_body("b", 3, 400).unwrap();
        assert!(queue.push_body("c", 4, 1).is_err());
        let text = queue.instruments.prometheus().unwrap();
        assert!(text.contains("callboard_cache_shared_queue_size_bytes 1000"), "{text}");
        assert!(text.contains("callboard_cache_shared_queue_operations 2"), "{text}");
        go.add_permits(2);
        results.recv().await.unwrap();
        results.recv().await.unwrap();
        let _all = queue.bytes.acquire_many(1000).await.unwrap();
    }

    #[tokio::test]
    async fn bodies_leave_places_for_what_has_none() {
        let (queue, _go, _results) = held();
        let bodies = (0..8).filter(|number| queue.push_body("a", *number, 1).is_ok()).count();
        assert_eq!(bodies, 6);
        assert!(queue.push("a", 7).is_ok());
        assert!(queue.push("a", 8).is_ok());
        assert_eq!(queue.push("a", 9).unwrap_err().0, 9);
    }
}
