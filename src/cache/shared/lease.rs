//! Leases: one replica fetches what others wait for.

use std::sync::Arc;
use std::time::Duration;

use redis::pipe;
use tokio::time::{Instant, sleep};

use super::header::Confirmation;
use super::load::{Field, Fields, Loaded};
use super::write::{Work, millis, token};
use super::{CONFIRMATION, HEADER, Shared};
use crate::docs::StorageKey;
use crate::redis::Failure;
use crate::storage::ObjectMeta;

/// How long a waiter waits before it first looks again; each time longer, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// Others' fetches take some ten to some hundred milliseconds.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// What came of asking for a lease.
#[derive(Debug)]
pub(in crate::cache) enum Lease {
    /// It is ours until its guard is dropped, or its time is over.
    Mine(LeaseGuard),
    /// Somebody else has it.
    Others,
    /// Redis gave no answer.
    Unavailable,
}

/// A lease that is ours. Dropped, it is given up behind all that was written for its key before: whoever finds it gone
/// finds what was fetched.
#[derive(Debug)]
pub(in crate::cache) struct LeaseGuard {
    shared: Arc<Shared>,
    key: StorageKey,
    token: String,
}

/// What came of waiting for whoever has the lease.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cache) enum Waited {
    /// The document was confirmed, and this is it, or what came of loading it.
    Loaded(Loaded),
    /// Nobody has the lease any more, and the document was not confirmed: whoever had it failed, or died.
    Free,
    /// It took too long.
    TimedOut,
    /// Redis gave no answer.
    Unavailable,
}

/// A waiter's look.
struct Glance {
    is_leased: bool,
    confirmation: Option<Confirmation>,
}

impl Shared {
    /// Asks for the lease of `key` for so long.
    pub(in crate::cache) async fn lease(self: &Arc<Self>, key: &StorageKey, ttl: Duration) -> Lease {
        let token = token();
        let mut commands = pipe();
        commands.cmd("SET").arg(self.core.names.lease(key)).arg(&token).arg("NX").arg("PX").arg(millis(ttl));
        match self.core.run::<(Option<String>,)>(&commands).await {
            Ok((Some(_),)) => Lease::Mine(LeaseGuard { shared: Arc::clone(self), key: key.clone(), token }),
            Ok((None,)) => Lease::Others,
            Err(failure) => {
                // The answer may have been on its way: nobody shall wait for one who does not know that it has it.
                if let Failure::Timeout(_) = failure {
                    self.release(key, token);
                }
                Lease::Unavailable
            }
        }
    }

    /// Waits, but not longer than `patience`, until whoever has the lease of `key` has written a document with a
    /// confirmation that `is_wanted`, and loads it; or until nobody has it any more.
    pub(in crate::cache) async fn wait(
        &self,
        key: &StorageKey,
        held: Option<&ObjectMeta>,
        is_wanted: impl Fn(Confirmation) -> bool + Send,
        patience: Duration,
    ) -> Waited {
        let until = Instant::now() + patience;
        let mut pause = FIRST_PAUSE;
        loop {
            let Ok(glance) = self.glance(key).await else { return Waited::Unavailable };
            if glance.confirmation.is_some_and(&is_wanted) {
                return Waited::Loaded(self.load(key, held).await);
            }
            if !glance.is_leased {
                return Waited::Free;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Waited::TimedOut;
            }
            sleep(pause.min(left)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn glance(&self, key: &StorageKey) -> Result<Glance, Failure> {
        let mut commands = pipe();
        // First the lease: it goes after the document has come, so that one of the two is seen.
        commands.cmd("EXISTS").arg(self.core.names.lease(key));
        commands.cmd("HMGET").arg(self.core.names.document(key)).arg(&[HEADER, CONFIRMATION]);
        let (is_leased, (header, confirmation)): (bool, (Field, Field)) = self.core.run(&commands).await?;
        let judged = self.core.judge(key, &Fields { header, confirmation });
        Ok(Glance { is_leased, confirmation: judged.ok().map(|(_, confirmation)| confirmation) })
    }

    fn release(&self, key: &StorageKey, token: String) {
        // Queued under the document's name, so that it comes behind the document.
        self.push(&self.core.names.document(key), Work::Release { key: key.clone(), token }, None);
    }
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        self.shared.release(&self.key, std::mem::take(&mut self.token));
    }
}
