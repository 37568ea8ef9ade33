//! Whether this replica hears what the others say, and since when.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::clock::Timestamp;

/// A time during which everything that was said was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Epoch(u32);

impl Epoch {
    /// What belongs to it must be confirmed before it is served.
    pub(super) const NEVER: Self = Self(0);
}

/// Whether others are heard. A new epoch begins when they are lost and again when they are back: what was said between
/// the last thing heard and either of these is not known.
#[derive(Debug)]
pub(super) struct Hearing {
    epoch: AtomicU32,
    is_lost: AtomicBool,
    /// When they were back after having been lost; not the first time.
    back_at: AtomicU64,
}

impl Hearing {
    /// Where there is nobody else to be heard.
    pub(super) const fn alone() -> Self {
        Self { epoch: AtomicU32::new(1), is_lost: AtomicBool::new(false), back_at: AtomicU64::new(0) }
    }

    /// Where others are, and have not been heard yet.
    pub(super) const fn of_others() -> Self {
        Self { epoch: AtomicU32::new(1), is_lost: AtomicBool::new(true), back_at: AtomicU64::new(0) }
    }

    pub(super) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    /// Whether others may say something that is not heard.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Acquire)
    }

    /// Before this, others may have found something that neither was heard nor got into Redis.
    pub(super) fn back_at(&self) -> Timestamp {
        Timestamp::from_millis(self.back_at.load(Ordering::Acquire))
    }

    /// Notes whether others are heard from now on. Returns whether that is news.
    pub(super) fn turn(&self, is_lost: bool, now: Timestamp) -> bool {
        let is_news = self.is_lost.swap(is_lost, Ordering::AcqRel) != is_lost;
        if is_news {
            // Four billion losses would be needed to come round.
            let before = self.epoch.fetch_add(1, Ordering::AcqRel);
            if !is_lost && before > 1 {
                self.back_at.store(now.as_millis(), Ordering::Release);
            }
        }
        is_news
    }
}
