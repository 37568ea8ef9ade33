//! Buckets by key, bounded in number.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::{Arc, PoisonError, RwLock};

use governor::nanos::Nanos;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::state::{InMemoryState, NotKeyed, StateStore};

use crate::unhashed::Unhashed;

/// The states of all buckets of one budget, by the hash of what they are for.
///
/// `governor`'s own map has no bound, and takes a lock that excludes everyone for each look; here readers share it.
#[derive(Debug)]
pub(super) struct Buckets {
    by_key: RwLock<HashMap<u64, InMemoryState, BuildHasherDefault<Unhashed>>>,
    /// For all that came when there was no room.
    shared: InMemoryState,
    most: usize,
}

impl Buckets {
    pub(super) fn new(most: usize) -> Self {
        Self { by_key: RwLock::default(), shared: InMemoryState::default(), most }
    }

    /// The state of a bucket, which changes nothing; `None` is a full one.
    fn look(&self, key: u64) -> Option<Nanos> {
        let states = self.by_key.read().unwrap_or_else(PoisonError::into_inner);
        match states.get(&key) {
            Some(state) => look(state),
            // Whoever has no bucket has done nothing yet, whatever those have who share the last one.
            None => None,
        }
    }
}

/// The theoretical arrival time in a state. Refusing the measurement leaves it as it is.
fn look(state: &InMemoryState) -> Option<Nanos> {
    state.measure_and_replace(&NotKeyed::NonKey, Err::<((), Nanos), _>).err().flatten()
}

/// Measures that take from a bucket.
#[derive(Debug)]
pub(super) struct Taking(pub(super) Arc<Buckets>);

impl StateStore for Taking {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let Buckets { by_key, shared, most } = &*self.0;
        if let Some(state) = by_key.read().unwrap_or_else(PoisonError::into_inner).get(key) {
            return state.measure_and_replace(&NotKeyed::NonKey, f);
        }
        let mut states = by_key.write().unwrap_or_else(PoisonError::into_inner);
        let has_room = states.len() < *most || states.contains_key(key);
        let state = if has_room { states.entry(*key).or_default() } else { shared };
        state.measure_and_replace(&NotKeyed::NonKey, f)
    }
}

impl ShrinkableKeyedStateStore<u64> for Taking {
    fn retain_recent(&self, drop_below: Nanos) {
        let mut states = self.0.by_key.write().unwrap_or_else(PoisonError::into_inner);
        states.retain(|_, state| look(state).is_some_and(|arrival| arrival > drop_below));
    }

    fn len(&self) -> usize {
        self.0.by_key.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Measures that take nothing, to see whether there is anything left.
#[derive(Debug)]
pub(super) struct Looking(pub(super) Arc<Buckets>);

impl StateStore for Looking {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        f(self.0.look(*key)).map(|(outcome, _)| outcome)
    }
}
