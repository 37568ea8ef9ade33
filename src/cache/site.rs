//! One site: which publish of it is the newest that anyone knows of, and when it was last looked at.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;

use super::Options;
use super::generation::Generation;
use crate::clock::Timestamp;
use crate::docs::StorageKey;
use crate::storage::ObjectMeta;

/// A site that has to be looked at again is looked at no more often than this, whatever speaks for it.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// How long a look may take before readers wait for it.
const LOOK_TIME: Duration = Duration::from_millis(1500);

/// For so many intervals after its last reader a site counts as in use, and is looked at.
const INTERVALS_IN_USE: u32 = 6;

/// What the entries of one site share. Read at every hit, so all that a hit needs is an atomic.
#[derive(Debug)]
pub(super) struct Site {
    /// The key of its metadata, which tells one publish from another.
    pub(super) metadata: StorageKey,
    /// Done once what other replicas know of it was asked for.
    pub(super) introduced: OnceCell<()>,
    generation: AtomicU64,
    /// What was confirmed before this time may have been confirmed in the middle of a publish.
    settles_at: AtomicU64,
    used_at: AtomicU64,
    checked_at: AtomicU64,
    /// When to look again; never, while there is nothing in it.
    due_at: AtomicU64,
    /// When a look at it last failed, unless one has succeeded since.
    failed_at: AtomicU64,
    /// Something in it was found to have changed: it is to be looked at here, whoever else has.
    is_hurried: AtomicBool,
    /// Whether the rest of it has been fetched for its first visitor, or is being.
    is_warming: AtomicBool,
    /// When a change that was told of began a generation last, or is going to.
    touched_at: AtomicU64,
    version: Mutex<Version>,
}

/// When a change begins a new generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Touch {
    /// At once.
    Now,
    /// So much later.
    In(Duration),
    /// With one before it that has not begun yet.
    Awaited,
}

/// What storage said of a site's metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Version {
    /// Nothing yet.
    Unknown,
    /// There is none.
    Absent,
    /// This.
    Present(ObjectMeta),
}

impl Version {
    /// Whether both say the same of the site.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Present(one), Self::Present(other)) => one.is_same_version(other),
            (one, other) => one == other,
        }
    }
}

/// What was new about a site's metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Learned {
    /// Everything: it had not been looked at before.
    First,
    /// Nothing.
    Same,
    /// Its site was published since; this generation began.
    Changed(Generation),
}

const NEVER: u64 = u64::MAX;

impl Site {
    /// A site of which nothing is known yet.
    pub(super) fn new(metadata: StorageKey) -> Self {
        Self {
            metadata,
            introduced: OnceCell::new(),
            generation: AtomicU64::new(0),
            settles_at: AtomicU64::new(0),
            used_at: AtomicU64::new(0),
            checked_at: AtomicU64::new(0),
            due_at: AtomicU64::new(NEVER),
            failed_at: AtomicU64::new(NEVER),
            is_hurried: AtomicBool::new(false),
            is_warming: AtomicBool::new(false),
            touched_at: AtomicU64::new(0),
            version: Mutex::new(Version::Unknown),
        }
    }

    /// Where its files lie.
    pub(super) fn name(&self) -> &str {
        self.metadata.site()
    }

    pub(super) fn generation(&self) -> Generation {
        Generation::new(self.generation.load(Ordering::Acquire))
    }

    /// Takes over a generation that began elsewhere; whether it was news.
    pub(super) fn raise(&self, generation: Generation) -> bool {
        self.generation.fetch_max(generation.number(), Ordering::AcqRel) < generation.number()
    }

    /// Begins a new generation: what was held up to now must be confirmed before it is served.
    pub(super) fn begin_generation(&self, now: Timestamp) -> Generation {
        let next = |generation: u64| now.as_millis().max(generation.saturating_add(1));
        let before = self.generation.fetch_update(Ordering::AcqRel, Ordering::Acquire, |old| Some(next(old)));
        Generation::new(next(before.unwrap_or_else(|unchanged| unchanged)))
    }

    /// From now on it may be in the middle of a publish, for `settle_for`.
    pub(super) fn settle(&self, from: Timestamp, settle_for: Duration) {
        self.settles_at.fetch_max(from.plus(settle_for).as_millis(), Ordering::AcqRel);
    }

    /// Until when it may be in the middle of a publish.
    pub(super) fn settles_at(&self) -> Timestamp {
        Timestamp::from_millis(self.settles_at.load(Ordering::Acquire))
    }

    /// Notes that it is read. Written at most once a second, so that cores do not fight for it.
    pub(super) fn used(&self, now: Timestamp) {
        let before = self.used_at.load(Ordering::Relaxed);
        if now.as_millis().abs_diff(before) >= 1000 {
            self.used_at.store(now.as_millis(), Ordering::Relaxed);
        }
    }

    /// Whether it is worth being looked at without a reader at hand.
    pub(super) fn is_in_use(&self, now: Timestamp, publish_check: Duration) -> bool {
        let used_at = Timestamp::from_millis(self.used_at.load(Ordering::Relaxed));
        now.since(used_at) <= publish_check * INTERVALS_IN_USE
    }

    /// There is something in it, so that it is worth being looked at.
    pub(super) fn is_published(&self, now: Timestamp) {
        let _ = self.due_at.compare_exchange(NEVER, now.as_millis(), Ordering::AcqRel, Ordering::Relaxed);
    }

    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        let due_at = self.due_at.load(Ordering::Acquire);
        // A check that lies ahead further than any does was set by a clock that has been set back since.
        now.as_millis() >= due_at
            || (due_at != NEVER && self.checked_at.load(Ordering::Relaxed) > now.as_millis() + 1000)
    }

    /// Takes it on oneself to look at it now; whoever asks for the same meanwhile is told no.
    pub(super) fn claim(&self, now: Timestamp) -> bool {
        let due_at = self.due_at.load(Ordering::Acquire);
        let again = now.plus(SHORTEST_PAUSE).as_millis();
        due_at != NEVER
            && self.is_due(now)
            && self.due_at.compare_exchange(due_at, again, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Has it looked at as soon as it may be: something in it has changed.
    pub(super) fn hurry(&self, now: Timestamp) {
        let checked_at = Timestamp::from_millis(self.checked_at.load(Ordering::Relaxed));
        let soon = now.max(checked_at.plus(SHORTEST_PAUSE)).as_millis();
        if self.due_at.load(Ordering::Acquire) != NEVER {
            self.is_hurried.store(true, Ordering::Release);
            self.due_at.fetch_min(soon, Ordering::AcqRel);
        }
    }

    /// Whether it was to be looked at as soon as may be; asked by whoever does now.
    pub(super) fn was_hurried(&self) -> bool {
        self.is_hurried.swap(false, Ordering::AcqRel)
    }

    /// Storage said how it was at `at`, here or to another replica.
    pub(super) fn checked(&self, at: Timestamp, due_at: Timestamp) {
        self.checked_at.fetch_max(at.as_millis(), Ordering::AcqRel);
        // A change that was found since the look began wants another.
        let is_hurried = self.is_hurried.load(Ordering::Acquire);
        let due_at = if is_hurried { due_at.min(at.plus(SHORTEST_PAUSE)) } else { due_at };
        self.due_at.store(due_at.as_millis(), Ordering::Release);
        self.failed_at.store(NEVER, Ordering::Relaxed);
    }

    /// Storage did not say how it is.
    pub(super) fn check_failed(&self, now: Timestamp) {
        self.failed_at.store(now.as_millis(), Ordering::Relaxed);
    }

    /// Whether nobody has looked at it for longer than anyone should wait.
    pub(super) fn is_overdue(&self, now: Timestamp, publish_check: Duration) -> bool {
        let checked_at = Timestamp::from_millis(self.checked_at.load(Ordering::Relaxed));
        now.since(checked_at) > publish_check + SHORTEST_PAUSE
    }

    /// Whether nobody has looked at it for so long that a reader had better wait for that; not where that fails anyway.
    pub(super) fn is_unwatched(&self, now: Timestamp, publish_check: Duration) -> bool {
        let since = |at: &AtomicU64| now.since(Timestamp::from_millis(at.load(Ordering::Relaxed)));
        !publish_check.is_zero()
            && self.due_at.load(Ordering::Relaxed) != NEVER
            && since(&self.checked_at) > publish_check + LOOK_TIME
            && (self.failed_at.load(Ordering::Relaxed) == NEVER || since(&self.failed_at) > publish_check)
    }

    /// Whether its files have been fetched for its first visitor, or are being.
    pub(super) fn is_warming(&self) -> bool {
        self.is_warming.load(Ordering::Relaxed)
    }

    /// Takes it on oneself to fetch its files; whether one is the first.
    pub(super) fn begin_warming(&self) -> bool {
        !self.is_warming.swap(true, Ordering::Relaxed)
    }

    /// Decides when a change that was told of at `now` begins a new generation: once a second at most, and once after the
    /// last change.
    pub(super) fn touch(&self, now: Timestamp) -> Touch {
        const PAUSE: Duration = Duration::from_secs(1);
        let plan = |last: u64| {
            let last = Timestamp::from_millis(last);
            // One that lies ahead further than any does was planned by a clock that has been set back since.
            if last.plus(PAUSE) <= now || last > now.plus(PAUSE) {
                return Some(now.as_millis());
            }
            (last <= now).then(|| last.plus(PAUSE).as_millis())
        };
        match self.touched_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, plan) {
            Err(_) => Touch::Awaited,
            Ok(before) => match plan(before).map(Timestamp::from_millis) {
                Some(at) if at > now => Touch::In(at.since(now)),
                _ => Touch::Now,
            },
        }
    }

    /// Takes in what storage says of its metadata at `now`.
    pub(super) fn learn(&self, version: Version, now: Timestamp, rules: &Options) -> Learned {
        let mut known = self.version();
        let learned = match &*known {
            old if old.is_same(&version) => Learned::Same,
            Version::Unknown => Learned::First,
            _ => Learned::Changed(self.begin_generation(now)),
        };
        if let Version::Present(ObjectMeta { last_modified: Some(written), .. }) = &version
            && learned == Learned::First
        {
            // Whoever comes in the middle of a publish can't know what was there before it.
            self.settle(Timestamp::from(*written), rules.settle_for);
        }
        if let Learned::Changed(_) = learned {
            self.settle(now, rules.settle_for);
        }
        *known = version;
        learned
    }

    /// Takes over what another replica knows of its metadata.
    pub(super) fn adopt(&self, version: Version) {
        *self.version() = version;
    }

    /// When it was last looked at, here or by another replica.
    pub(super) fn checked_at(&self) -> Timestamp {
        Timestamp::from_millis(self.checked_at.load(Ordering::Relaxed))
    }

    /// What is known of its metadata.
    pub(super) fn version(&self) -> MutexGuard<'_, Version> {
        // The version is whole whenever the lock is let go.
        self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
