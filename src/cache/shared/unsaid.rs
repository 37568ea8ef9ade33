//! What could not be said: a write or a message that Redis did not take leaves other replicas with what they had.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Sites that are remembered one by one; with one more, it is all of them.
const MOST: usize = 1024;

/// About which sites something could not be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cache) enum Unsaid {
    /// These.
    About(HashSet<Box<str>>),
    /// Any.
    AboutAll,
}

/// Remembers it until it can be said again.
#[derive(Debug)]
pub(super) struct Notes(Mutex<Unsaid>);

impl Default for Notes {
    fn default() -> Self {
        Self(Mutex::new(Unsaid::none()))
    }
}

impl Unsaid {
    fn none() -> Self {
        Self::About(HashSet::new())
    }

    /// Whether there is nothing.
    fn is_none(&self) -> bool {
        matches!(self, Self::About(sites) if sites.is_empty())
    }
}

impl Notes {
    /// Notes that something about this site, or about all where it has no name, was not said.
    pub(super) fn add(&self, site: &str) {
        let mut unsaid = self.unsaid();
        match &mut *unsaid {
            Unsaid::About(sites) if !site.is_empty() && sites.len() < MOST => {
                if !sites.contains(site) {
                    sites.insert(site.into());
                }
            }
            Unsaid::About(sites) if sites.contains(site) => {}
            everything => *everything = Unsaid::AboutAll,
        }
    }

    /// Whether there is anything.
    pub(super) fn is_empty(&self) -> bool {
        self.unsaid().is_none()
    }

    /// All of it, which is forgotten.
    pub(super) fn take(&self) -> Unsaid {
        std::mem::replace(&mut *self.unsaid(), Unsaid::none())
    }

    fn unsaid(&self) -> MutexGuard<'_, Unsaid> {
        // The set is whole whenever the lock is let go.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_to_remember_is_about_all() {
        let notes = Notes::default();
        assert!(notes.is_empty());
        for site in 0..MOST {
            notes.add(&format!("site{site}"));
            notes.add("site0");
        }
        assert!(matches!(notes.take(), Unsaid::About(sites) if sites.len() == MOST));
        assert!(notes.is_empty());
        (0..=MOST).for_each(|site| notes.add(&format!("site{site}")));
        assert_eq!(notes.take(), Unsaid::AboutAll);
        notes.add("");
        assert_eq!(notes.take(), Unsaid::AboutAll);
    }
}
