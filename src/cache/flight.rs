//! One fetch, however many wait.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::rumour::Rumour;
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
    position: watch::Receiver<Position<T>>,
    rumour: Rumour,
    wanted: Wanted,
}

/// How far a flight has come.
#[derive(Debug)]
enum Position<T> {
    /// Nothing is known yet.
    Underway,
    /// It is still under way, and those who can may go on with this.
    Ahead(T),
    /// It is over.
    Landed(T),
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
    position: watch::Receiver<Position<T>>,
    rumour: Rumour,
}

/// What a flight has on board: what it hears of, and by what it is heard of.
#[derive(Debug)]
pub(super) struct Aloft<T> {
    /// What others say meanwhile.
    pub(super) rumour: Rumour,
    /// Whether a reader waits for it.
    pub(super) wanted: Wanted,
    position: Arc<watch::Sender<Position<T>>>,
    departure: Arc<Departure<T>>,
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
    pub(super) fn join<F>(&self, key: &StorageKey, is_reader: bool, work: impl FnOnce(Aloft<T>) -> F) -> Ticket<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut airborne = lock(&self.airborne);
        let vacant = match airborne.entry(key.clone()) {
            Entry::Occupied(flight) => {
                let Flight { position, rumour, wanted } = flight.get();
                if is_reader {
                    wanted.0.notify_one();
                }
                return Ticket { is_leader: false, position: position.clone(), rumour: rumour.clone() };
            }
            Entry::Vacant(vacant) => vacant,
        };
        let (land, position) = watch::channel(Position::Underway);
        let (rumour, wanted) = (Rumour::default(), Wanted::default());
        vacant.insert(Flight { position: position.clone(), rumour: rumour.clone(), wanted: wanted.clone() });
        drop(airborne);
        let land = Arc::new(land);
        let departure =
            Departure { airborne: Arc::clone(&self.airborne), key: key.clone(), is_over: AtomicBool::new(false) };
        let departure = Arc::new(departure);
        let aloft =
            Aloft { rumour: rumour.clone(), wanted, position: Arc::clone(&land), departure: Arc::clone(&departure) };
        // What the flight does is told below the span of the request that it took off for.
        let (work, scope) = (work(aloft), Scope::current());
        tokio::spawn(async move {
            let result = scope.run(work).await;
            // Gone from the map before anyone hears of it: whoever asks after that finds the cache filled.
            departure.leave();
            land.send_replace(Position::Landed(result));
        });
        Ticket { is_leader: true, position, rumour }
    }
}

impl<T: Clone> Ticket<T> {
    /// The flight's result; `None` where its task died.
    pub(super) async fn land(&mut self) -> Option<T> {
        let landed = self.position.wait_for(|position| matches!(position, Position::Landed(_))).await.ok()?;
        landed.told()
    }

    /// What there is to go on with before that; else the same.
    pub(super) async fn ahead(&mut self) -> Option<T> {
        let ahead = self.position.wait_for(|position| !matches!(position, Position::Underway)).await.ok()?;
        ahead.told()
    }

    /// Whether somebody has found another version meanwhile than the one that the flight brings.
    pub(super) fn is_belied(&self, version: Option<&ObjectMeta>) -> bool {
        self.rumour.is_of_another_than(version)
    }
}

impl<T> Aloft<T> {
    /// A way to tell those who can go on before the end with what. It is held for as long as there may be more to be told:
    /// once it is gone, nobody joins any more.
    pub(super) fn herald(&self) -> impl Fn(T) + Send + Sync + use<T>
    where
        T: Send + Sync + 'static,
    {
        let (position, last) = (Arc::clone(&self.position), LastCall(Arc::clone(&self.departure)));
        move |ahead| {
            let LastCall(_) = &last;
            position.send_replace(Position::Ahead(ahead));
        }
    }

    /// What they were told.
    pub(super) fn told(&self) -> Option<T>
    where
        T: Clone,
    {
        self.position.borrow().told()
    }

    /// From now on nobody joins it any more, although it is not over yet: it has told, or is about to, all that it had to.
    pub(super) fn leave(&self) {
        self.departure.leave();
    }
}

impl<T: Clone> Position<T> {
    fn told(&self) -> Option<T> {
        match self {
            Self::Underway => None,
            Self::Ahead(told) | Self::Landed(told) => Some(told.clone()),
        }
    }
}

/// Takes a flight out of the map however it ends, also by a panic.
#[derive(Debug)]
struct Departure<T> {
    airborne: Arc<Mutex<Airborne<T>>>,
    key: StorageKey,
    is_over: AtomicBool,
}

impl<T> Departure<T> {
    fn leave(&self) {
        let mut airborne = lock(&self.airborne);
        // Once: the next one under this key is another.
        if !self.is_over.swap(true, Ordering::Relaxed) {
            airborne.remove(&self.key);
        }
    }
}

/// Takes a flight out of the map before it is over.
struct LastCall<T>(Arc<Departure<T>>);

impl<T> Drop for LastCall<T> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl<T> Drop for Departure<T> {
    fn drop(&mut self) {
        self.leave();
    }
}

fn lock<T>(whole: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in it is whole whenever the lock is let go, also by a panic.
    whole.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

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
                flights.join(&key(), true, |_| {
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
        for mut ticket in tickets {
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
        let leader = flights.join(&key(), true, |_| async move {
            waits.notified().await;
            7
        });
        let mut waiter = flights.join(&key(), true, |_| async { 8 });
        drop(leader);
        go.notify_one();
        assert_eq!(waiter.land().await, Some(7));
    }

    #[tokio::test]
    async fn a_flight_at_leisure_hears_of_the_first_reader_and_of_nobody_else() {
        let flights = Flights::default();
        let leader = flights.join(&key(), false, |aloft| async move {
            aloft.wanted.by_reader().await;
            7
        });
        let other = flights.join(&key(), false, |_| async { 8 });
        tokio::task::yield_now().await;
        assert!(leader.position.borrow().told().is_none());
        let reader = flights.join(&key(), true, |_| async { 9 });
        assert!(!reader.is_leader);
        for mut ticket in [leader, other, reader] {
            assert_eq!(ticket.land().await, Some(7));
        }
    }

    #[tokio::test]
    async fn a_panic_reaches_every_waiter_and_leaves_nothing_behind() {
        let flights: Flights<u8> = Flights::default();
        let mut leader = flights.join(&key(), true, |_| async { panic!("the fetch dies") });
        let mut waiter = flights.join(&key(), true, |_| async { 8 });
        assert_eq!(leader.land().await, None);
        assert_eq!(waiter.land().await, None);
        let mut next = flights.join(&key(), true, |_| async { 9 });
        assert!(next.is_leader);
        assert_eq!(next.land().await, Some(9));
    }
    #[tokio::test]
    async fn who_can_goes_on_before_the_end_and_who_can_not_waits() {
        let flights = Flights::default();
        let go = Arc::new(Notify::new());
        let waits = Arc::clone(&go);
        let mut leader = flights.join(&key(), true, |aloft| async move {
            let tell = aloft.herald();
            tell(6);
            waits.notified().await;
            assert_eq!(aloft.told(), Some(6));
            drop(tell);
            7
        });
        assert_eq!(leader.ahead().await, Some(6));
        let mut waiter = flights.join(&key(), true, |_| async { 8 });
        assert_eq!(waiter.ahead().await, Some(6));
        go.notify_one();
        assert_eq!((waiter.land().await, leader.ahead().await), (Some(7), Some(7)));
    }

    #[tokio::test]
    async fn a_flight_that_has_left_takes_no_other_out_of_the_map() {
        let flights = Flights::default();
        let (gone, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (leaves, waits) = (Arc::clone(&gone), Arc::clone(&go));
        let mut first = flights.join(&key(), true, |aloft| async move {
            aloft.leave();
            leaves.notify_one();
            waits.notified().await;
            7
        });
        gone.notified().await;
        let waits = Arc::clone(&go);
        let mut second = flights.join(&key(), true, |_| async move {
            waits.notified().await;
            8
        });
        assert!(second.is_leader);
        go.notify_one();
        assert_eq!(first.land().await, Some(7));
        assert!(!flights.join(&key(), true, |_| async { 9 }).is_leader);
        go.notify_one();
        assert_eq!(second.land().await, Some(8));
    }
}
