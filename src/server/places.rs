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
