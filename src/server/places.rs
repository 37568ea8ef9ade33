//! How many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Limits;
use super::seldom::Seldom;
use crate::limit::Address;
use crate::telemetry::{Instruments, LimitReason, ListenerName};

/// The places for one listener's connections.
#[derive(Debug)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    /// Connections by address. Bounded by the places in all.
    by_address: Mutex<HashMap<Address, usize>>,
    most: usize,
    most_per_address: usize,
    /// Times that all places were taken.
    full: Seldom,
    listener: ListenerName,
    instruments: Arc<Instruments>,
}

/// A place for a connection that is yet to be accepted.
#[derive(Debug)]
pub(super) struct Vacancy {
    _permit: OwnedSemaphorePermit,
    places: Arc<Places>,
}

/// An open connection's place, free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    address: Address,
    vacancy: Vacancy,
}

impl Places {
    pub(super) fn new(limits: &Limits, listener: ListenerName, instruments: Arc<Instruments>) -> Arc<Self> {
        Arc::new(Self {
            all: Arc::new(Semaphore::new(limits.max_connections)),
            by_address: Mutex::default(),
            most: limits.max_connections,
            most_per_address: limits.max_connections_per_address,
            full: Seldom::default(),
            listener,
            instruments,
        })
    }

    /// Waits until there is a place for one more, whoever comes. `None` never comes of it, since the semaphore is never
    /// closed.
    pub(super) async fn vacancy(self: &Arc<Self>) -> Option<Vacancy> {
        let permit = match Arc::clone(&self.all).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                if let Some(times) = self.full.happened() {
                    tracing::warn!(
                        listener = self.listener.as_str(),
                        max_connections = self.most,
                        times,
                        "callboard.limits.maxConnections is reached: further clients wait until a connection ends"
                    );
                }
                Arc::clone(&self.all).acquire_owned().await.ok()?
            }
        };
        Some(Vacancy { _permit: permit, places: Arc::clone(self) })
    }

    fn by_address(&self) -> MutexGuard<'_, HashMap<Address, usize>> {
        // The map is whole whenever the lock is let go, also by a panic.
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Vacancy {
    /// The place for a connection from `address`, unless there are too many of them.
    pub(super) fn fill(self, address: Address) -> Option<Place> {
        let places = &self.places;
        let has_room = {
            let mut by_address = places.by_address();
            let open = by_address.entry(address).or_default();
            let has_room = *open < places.most_per_address;
            *open += usize::from(has_room);
            has_room
        };
        if !has_room {
            places.instruments.limits.exceeded(LimitReason::ConnectionsPerAddress);
            return None;
        }
        places.instruments.limits.opened(places.listener);
        Some(Place { address, vacancy: self })
    }
}

impl Place {
    /// Where the connection comes from.
    pub(super) const fn address(&self) -> Address {
        self.address
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let places = &self.vacancy.places;
        let mut by_address = places.by_address();
        if let Some(open) = by_address.get_mut(&self.address) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                by_address.remove(&self.address);
            }
        }
        drop(by_address);
        places.instruments.limits.closed(places.listener);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::server::activity::tests::limits;

    /// What was logged.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'w> MakeWriter<'w> for Log {
        type Writer = Self;

        fn make_writer(&'w self) -> Self {
            self.clone()
        }
    }

    #[tokio::test]
    async fn that_all_places_are_taken_is_told_once_and_not_for_each_client() {
        let log = Log::default();
        let _guard = tracing::subscriber::set_default(tracing_subscriber::fmt().with_writer(log.clone()).finish());
        let places = Places::new(&limits(), ListenerName::Main, Arc::new(Instruments::new().unwrap()));
        let only = places.vacancy().await;
        for _ in 0..3 {
            assert!(tokio::time::timeout(Duration::from_millis(1), places.vacancy()).await.is_err());
        }
        drop(only);
        assert!(places.vacancy().await.is_some());
        let told = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert_eq!(told.matches("maxConnections is reached").count(), 1, "{told}");
    }
}
