//! One fetch, however many wait.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::docs::StorageKey;
use crate::storage::ObjectMeta;
use crate::telemetry::Scope;

/// Fetches that are under way, by key. Bounded by the requests that wait for them.
#[derive(Debug)]
pub(super) struct Flights<T> {
    airborne: Arc<Mutex<Airborne<T>>>,
}

type Airborne<T> = HashMap<StorageKey, Flight<T>>;

#[derive(Debug)]
struct Flight<T> {
    landing: watch::Receiver<Option<T>>,
    rumour: Rumour,
    wanted: Wanted,
}

/// What other replicas have said about a document while it was being fetched.
#[derive(Debug, Clone, Default)]
pub(super) struct Rumour(Arc<Mutex<Said>>);

#[derive(Debug, Default)]
enum Said {
    #[default]
    Nothing,
    /// Storage has this version; none, where the document is gone.
    One(Option<ObjectMeta>),
    /// Several things that can't all be true by now.
    Several,
}

impl Rumour {
    /// Whether somebody has found another version than this, or none.
    pub(super) fn is_of_another_than(&self, version: Option<&ObjectMeta>) -> bool {
        match &*lock(&self.0) {
            Said::Nothing => false,
            Said::One(said) => !is_same(said.as_ref(), version),
            Said::Several => true,
        }
    }

    fn add(&self, version: Option<ObjectMeta>) {
        let mut said = lock(&self.0);
        match &*said {
            Said::Nothing => *said = Said::One(version),
            Said::One(before) if is_same(before.as_ref(), version.as_ref()) => {}
            Said::One(_) | Said::Several => *said = Said::Several,
        }
    }
}

/// Whether two are the same version of a document, its absence included.
pub(super) fn is_same(one: Option<&ObjectMeta>, other: Option<&ObjectMeta>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.is_same_version(other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// Tells a flight that took off at leisure that a reader waits for it by now.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted(Arc<Notify>);

impl Wanted {
    /// Comes back once a reader waits. Only the flight itself waits for it.
    pub(super) async fn by_reader(&self) {
        self.0.notified().await;
    }
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self { airborne: Arc::default() }
    }
}

/// A place on a flight.
#[derive(Debug)]
pub(super) struct Ticket<T> {
    /// Whether the flight took off for this one.
    pub(super) is_leader: bool,
    landing: watch::Receiver<Option<T>>,
}

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    /// Tells whoever is fetching the document of this key which version was found elsewhere.
    pub(super) fn spread(&self, key: &str, version: Option<ObjectMeta>) {
        if let Some(flight) = lock(&self.airborne).get(key) {
            flight.rumour.add(version);
        }
    }

    /// Boards the flight for `key`, for somebody who waits if `is_reader`; where there is none, `work` becomes one, as a
    /// task of its own.
    pub(super) fn join<F>(&self, key: &StorageKey, is_reader: bool, work: impl FnOnce(Rumour, Wanted) -> F) -> Ticket<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut airborne = lock(&self.airborne);
        let vacant = match airborne.entry(key.clone()) {
            Entry::Occupied(flight) => {
                if is_reader {
                    flight.get().wanted.0.notify_one();
                }
                return Ticket { is_leader: false, landing: flight.get().landing.clone() };
            }
            Entry::Vacant(vacant) => vacant,
        };
        let (land, landing) = watch::channel(None);
        let (rumour, wanted) = (Rumour::default(), Wanted::default());
        vacant.insert(Flight { landing: landing.clone(), rumour: rumour.clone(), wanted: wanted.clone() });
        drop(airborne);
        let departure = Departure { airborne: Arc::clone(&self.airborne), key: key.clone() };
        // What the flight does is told below the span of the request that it took off for.
        let (work, scope) = (work(rumour, wanted), Scope::current());
        tokio::spawn(async move {
            let result = scope.run(work).await;
            // Gone from the map before anyone hears of it: whoever asks after that finds the cache filled.
            drop(departure);
            land.send_replace(Some(result));
        });
        Ticket { is_leader: true, landing }
    }
}

impl<T: Clone> Ticket<T> {
    /// The flight's result; `None` where its task died.
    pub(super) async fn land(mut self) -> Option<T> {
        let landed = self.landing.wait_for(Option::is_some).await.ok()?;
        landed.clone()
    }
}

/// Takes a flight out of the map however it ends, also by a panic.
struct Departure<T> {
    airborne: Arc<Mutex<Airborne<T>>>,
    key: StorageKey,
}

impl<T> Drop for Departure<T> {
    fn drop(&mut self) {
        lock(&self.airborne).remove(&self.key);
    }
}

fn lock<T>(whole: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in it is whole whenever the lock is let go, also by a panic.
    whole.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;
    use crate::docs::{Locator, Options};

    fn key() -> StorageKey {
        Locator::new(Options::default()).locate("/static/docs/default/component/shop/index.html").unwrap().key
    }

    #[tokio::test]
    async fn a_thousand_wait_for_one() {
        let flights = Flights::default();
        let runs = Arc::new(AtomicUsize::new(0));
        let go = Arc::new(Notify::new());
        let tickets: Vec<_> = (0..1000)
            .map(|_| {
                flights.join(&key(), true, |_, _| {
                    let (runs, go) = (Arc::clone(&runs), Arc::clone(&go));
                    async move {
                        runs.fetch_add(1, Ordering::SeqCst);
                        go.notified().await;
                        7
                    }
                })
            })
            .collect();
        assert_eq!(tickets.iter().filter(|ticket| ticket.is_leader).count(), 1);
        go.notify_one();
        for ticket in tickets {
            assert_eq!(ticket.land().await, Some(7));
        }
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        assert!(lock(&flights.airborne).is_empty());
    }

    #[tokio::test]
    async fn a_leader_that_leaves_ends_no_flight() {
        let flights = Flights::default();
        let go = Arc::new(Notify::new());
        let waits = Arc::clone(&go);
        let leader = flights.join(&key(), true, |_, _| async move {
            waits.notified().await;
            7
        });
        let waiter = flights.join(&key(), true, |_, _| async { 8 });
        drop(leader);
        go.notify_one();
        assert_eq!(waiter.land().await, Some(7));
    }

    #[tokio::test]
    async fn a_flight_at_leisure_hears_of_the_first_reader_and_of_nobody_else() {
        let flights = Flights::default();
        let leader = flights.join(&key(), false, |_, wanted| async move {
            wanted.by_reader().await;
            7
        });
        let other = flights.join(&key(), false, |_, _| async { 8 });
        tokio::task::yield_now().await;
        assert!(leader.landing.borrow().is_none());
        let reader = flights.join(&key(), true, |_, _| async { 9 });
        assert!(!reader.is_leader);
        for ticket in [leader, other, reader] {
            assert_eq!(ticket.land().await, Some(7));
        }
    }

    #[tokio::test]
    async fn a_panic_reaches_every_waiter_and_leaves_nothing_behind() {
        let flights: Flights<u8> = Flights::default();
        let leader = flights.join(&key(), true, |_, _| async { panic!("the fetch dies") });
        let waiter = flights.join(&key(), true, |_, _| async { 8 });
        assert_eq!(leader.land().await, None);
        assert_eq!(waiter.land().await, None);
        let next = flights.join(&key(), true, |_, _| async { 9 });
        assert!(next.is_leader);
        assert_eq!(next.land().await, Some(9));
    }
}
