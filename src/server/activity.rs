//! What a connection is doing, so that one which does nothing can be closed.
//!
//! hyper bounds how long an HTTP/1 header may take, and an idle connection by the same time. It does not bound one on
//! which nothing was ever sent, an idle HTTP/2 connection, or a client that stops reading. This does all of it, with a
//! patience for each: a header that has begun should be whole soon, while an idle connection must outlast the patience
//! of the load balancer in front, which would otherwise send a request just when it is closed.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Version;
use tokio::time::Instant;

use super::Limits;

/// What a connection is doing, told by its parts as they work. Points in time are milliseconds after `opened`.
///
/// What a client can do for nothing, such as sending PING frames, moves none of them.
#[derive(Debug)]
pub(super) struct Activity {
    opened: Instant,
    /// What time it is, while the connection's task looks at it; [`NOT_LOOKING`] or [`NOT_YET_READ`].
    now: AtomicU64,
    /// Requests that are being answered.
    answering: AtomicUsize,
    /// Answers whose bodies are not yet handed over whole.
    sending: AtomicUsize,
    /// Those of them that wait for storage rather than for the client.
    waiting: AtomicUsize,
    /// When the last answer was through, and with it the connection at rest.
    at_rest_since: AtomicU64,
    /// When a piece of the body was last taken, in HTTP/1, which sends one at a time.
    taken_at: AtomicU64,
    /// The same for each body that is being sent in HTTP/2, where a client may take one and leave the others;
    /// [`NEVER`] for one that waits for storage.
    bodies: Mutex<Vec<Arc<AtomicU64>>>,
    /// Since when the socket has taken no more bytes; [`NEVER`] where it does.
    blocked_since: AtomicU64,
    /// When the header that is being read began; [`NEVER`] where none is.
    header_since: AtomicU64,
    /// Whether it is known to be HTTP/2, where bytes that come in need not be of a header.
    is_h2: AtomicBool,
    /// Whether the program is on its way out, so that clients should not stay.
    is_draining: Arc<AtomicBool>,
}

/// No point in time.
const NEVER: u64 = u64::MAX;

/// Nobody looks at the connection, so that the time is read whenever it is needed.
const NOT_LOOKING: u64 = u64::MAX;

/// Nothing has happened so far during this look.
const NOT_YET_READ: u64 = u64::MAX - 1;

/// Why a connection should be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inactive {
    /// A request's header is not whole after too long; on a new connection also where none has begun.
    Unheaded,
    /// No request for too long.
    Idle,
    /// An answer is there and the client does not take it.
    Stalled,
}

impl Activity {
    pub(super) fn new(is_draining: Arc<AtomicBool>) -> Arc<Self> {
        Arc::new(Self {
            opened: Instant::now(),
            now: AtomicU64::new(NOT_LOOKING),
            answering: AtomicUsize::new(0),
            sending: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            at_rest_since: AtomicU64::new(0),
            taken_at: AtomicU64::new(0),
            bodies: Mutex::default(),
            blocked_since: AtomicU64::new(NEVER),
            // The first request is due from the start.
            header_since: AtomicU64::new(0),
            is_h2: AtomicBool::new(false),
            is_draining,
        })
    }

    /// Waits until the connection has done nothing for longer than `limits` allow, a header being due within
    /// `header_timeout`.
    pub(super) async fn inactive(&self, limits: &Limits, header_timeout: Duration) -> Inactive {
        // What the connection does may change while this sleeps, so no sleep is longer than the shortest patience.
        let longest_sleep = header_timeout.min(limits.idle_timeout).min(limits.write_timeout);
        loop {
            let left = match self.lack() {
                Some((lack, since)) => {
                    let patience = match lack {
                        Inactive::Unheaded => header_timeout,
                        Inactive::Idle => limits.idle_timeout,
                        Inactive::Stalled => limits.write_timeout,
                    };
                    let left = patience.saturating_sub(self.since(since));
                    if left.is_zero() {
                        return lack;
                    }
                    left
                }
                None => longest_sleep,
            };
            tokio::time::sleep(left.min(longest_sleep)).await;
        }
    }

    /// What the connection lacks just now, and since when. Nothing while a request is being answered or its body waits
    /// for storage, which has deadlines of its own.
    fn lack(&self) -> Option<(Inactive, u64)> {
        let blocked_since = self.blocked_since.load(Ordering::Relaxed);
        if blocked_since != NEVER {
            return Some((Inactive::Stalled, blocked_since));
        }
        if let Some(since) = self.longest_untaken() {
            return Some((Inactive::Stalled, since));
        }
        if self.answering.load(Ordering::Relaxed) > 0 || self.waiting.load(Ordering::Relaxed) > 0 {
            return None;
        }
        if self.sending.load(Ordering::Relaxed) > 0 {
            return Some((Inactive::Stalled, self.taken_at.load(Ordering::Relaxed)));
        }
        match self.header_since.load(Ordering::Relaxed) {
            NEVER => Some((Inactive::Idle, self.at_rest_since.load(Ordering::Relaxed))),
            since => Some((Inactive::Unheaded, since)),
        }
    }

    /// Whether a request is on its way, as on a new connection it always is.
    pub(super) fn awaits_header(&self) -> bool {
        matches!(self.lack(), Some((Inactive::Unheaded, _)))
    }

    fn since(&self, millis: u64) -> Duration {
        self.opened.elapsed().saturating_sub(Duration::from_millis(millis))
    }

    /// A request has come in; it is being answered until the guard is dropped.
    pub(super) fn answering(self: &Arc<Self>, version: Version) -> Answering {
        self.header_since.store(NEVER, Ordering::Relaxed);
        if version == Version::HTTP_2 {
            self.is_h2.store(true, Ordering::Relaxed);
        }
        self.answering.fetch_add(1, Ordering::Relaxed);
        Answering(Arc::clone(self))
    }

    /// Since when that body of HTTP/2 has not been taken that was not for the longest.
    fn longest_untaken(&self) -> Option<u64> {
        if !self.is_h2.load(Ordering::Relaxed) {
            return None;
        }
        let since = self.bodies().iter().map(|taken_at| taken_at.load(Ordering::Relaxed)).min();
        since.filter(|since| *since != NEVER)
    }

    fn bodies(&self) -> MutexGuard<'_, Vec<Arc<AtomicU64>>> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The socket took bytes, or would not.
    pub(super) fn wrote(&self, took_bytes: bool) {
        let was_blocked = self.blocked_since.load(Ordering::Relaxed) != NEVER;
        match (took_bytes, was_blocked) {
            (true, false) | (false, true) => {}
            (false, false) => self.blocked_since.store(self.millis(), Ordering::Relaxed),
            (true, true) => {
                self.blocked_since.store(NEVER, Ordering::Relaxed);
                // An answer that hyper holds whole may be on its way long after its body was taken.
                self.rest();
                self.taken_at.store(self.millis(), Ordering::Relaxed);
            }
        }
    }

    fn rest(&self) {
        self.at_rest_since.store(self.millis(), Ordering::Relaxed);
    }

    /// Bytes have come in. In HTTP/1, and between two requests, they begin a header. A header whose first bytes came
    /// along with the request before is noticed with the next that come, and so has the idle patience before.
    pub(super) fn read(&self) {
        let is_between = self.answering.load(Ordering::Relaxed) == 0 && !self.is_h2.load(Ordering::Relaxed);
        if is_between && self.header_since.load(Ordering::Relaxed) == NEVER {
            self.header_since.store(self.millis(), Ordering::Relaxed);
        }
    }

    /// A look at the connection, which takes no time to speak of: whatever it does meanwhile, it does at once.
    pub(super) fn during<T>(&self, look: impl FnOnce() -> T) -> T {
        self.now.store(NOT_YET_READ, Ordering::Relaxed);
        let result = look();
        self.now.store(NOT_LOOKING, Ordering::Relaxed);
        result
    }

    fn millis(&self) -> u64 {
        let read = || u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(NOT_YET_READ - 1);
        match self.now.load(Ordering::Relaxed) {
            NOT_LOOKING => read(),
            NOT_YET_READ => {
                let now = read();
                self.now.store(now, Ordering::Relaxed);
                now
            }
            now => now,
        }
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Answering(Arc<Activity>);

impl Answering {
    /// Whether the answer should tell the client to leave. HTTP/2 has its own word for it.
    pub(super) fn should_be_last(&self) -> bool {
        self.0.is_draining.load(Ordering::Relaxed) && !self.0.is_h2.load(Ordering::Relaxed)
    }

    /// The answer is there: from here on its body is being sent.
    pub(super) fn send(self) -> Sending {
        let activity = Arc::clone(&self.0);
        activity.sending.fetch_add(1, Ordering::Relaxed);
        let own = activity.is_h2.load(Ordering::Relaxed).then(|| {
            let taken_at = Arc::new(AtomicU64::new(NEVER));
            activity.bodies().push(Arc::clone(&taken_at));
            taken_at
        });
        let sending = Sending { activity, own };
        sending.taken();
        sending
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answering.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer whose body is being sent.
#[derive(Debug)]
pub(super) struct Sending {
    activity: Arc<Activity>,
    /// When a piece of it was last taken, where others may be sent at the same time.
    own: Option<Arc<AtomicU64>>,
}

impl Sending {
    /// A piece of the body was taken.
    pub(super) fn taken(&self) {
        self.stamp().store(self.activity.millis(), Ordering::Relaxed);
    }

    /// The body waits for storage, or no longer does.
    pub(super) fn waits(&self, waits: bool) {
        if waits {
            self.activity.waiting.fetch_add(1, Ordering::Relaxed);
            self.stamp().store(NEVER, Ordering::Relaxed);
        } else {
            self.activity.waiting.fetch_sub(1, Ordering::Relaxed);
            self.taken();
        }
    }

    fn stamp(&self) -> &AtomicU64 {
        self.own.as_deref().unwrap_or(&self.activity.taken_at)
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.activity.sending.fetch_sub(1, Ordering::Relaxed);
        if let Some(own) = &self.own {
            self.activity.bodies().retain(|other| !Arc::ptr_eq(other, own));
        }
        self.activity.rest();
    }
}

#[cfg(test)]
pub(super) mod tests;
