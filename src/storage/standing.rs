//! What is known of a store from how it answered.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use super::StoreError;
use crate::chain::chain;

/// Refusals in a row that make it worth finding out whether everything is refused: single objects may be, for good.
const REFUSALS: u32 = 3;

/// How a store stands: whether it has answered yet, and whether it refuses us.
#[derive(Debug, Default)]
pub struct Standing {
    has_answered: AtomicBool,
    refusals: AtomicU32,
    refused: Mutex<Option<String>>,
}

impl Standing {
    /// Takes in how an operation ended.
    pub(super) fn learn(&self, error: Option<&StoreError>) {
        match error {
            None | Some(StoreError::Absent | StoreError::NotModified | StoreError::Changed) => {
                self.has_answered.store(true, Ordering::Relaxed);
                if self.refusals.swap(0, Ordering::Relaxed) > 0 {
                    self.set_refused(None);
                }
            }
            Some(StoreError::Denied(_)) => {
                self.refusals.fetch_add(1, Ordering::Relaxed);
            }
            Some(_) => {}
        }
    }

    /// Whether it has answered as it should at least once. Once it has, this stays so while it fails and while it is left
    /// alone: pages that are held can still be served.
    pub fn has_answered(&self) -> bool {
        self.has_answered.load(Ordering::Relaxed)
    }

    /// Whether so much was refused in a row that everything may be.
    pub fn is_doubtful(&self) -> bool {
        self.refusals.load(Ordering::Relaxed) >= REFUSALS
    }

    /// Everything is refused: a look at the store as a whole ended so.
    pub fn everything_is_refused(&self, refusal: &StoreError) {
        self.refusals.fetch_max(1, Ordering::Relaxed);
        self.set_refused(Some(chain(refusal).to_string()));
    }

    /// Why everything is refused, until something is not.
    pub fn refusal(&self) -> Option<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_refused(&self, refused: Option<String>) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = refused;
    }
}
