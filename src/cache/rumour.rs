//! What is said elsewhere of a document while it is being fetched here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::storage::ObjectMeta;

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
        match &*self.said() {
            Said::Nothing => false,
            Said::One(said) => !is_same(said.as_ref(), version),
            Said::Several => true,
        }
    }

    pub(super) fn add(&self, version: Option<ObjectMeta>) {
        let mut said = self.said();
        match &*said {
            Said::Nothing => *said = Said::One(version),
            Said::One(before) if is_same(before.as_ref(), version.as_ref()) => {}
            Said::One(_) | Said::Several => *said = Said::Several,
        }
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        // What is in it is whole whenever the lock is let go, also by a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether two are the same version of a document, its absence included.
pub(super) fn is_same(one: Option<&ObjectMeta>, other: Option<&ObjectMeta>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.is_same_version(other),
        (one, other) => one.is_none() && other.is_none(),
    }
}
