//! The one connection that all commands share: made when it is needed, and let go when it is of no use any more.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::connect::{Connector, Driver};
use super::failure::{Failure, unavailable};
use super::wire::Wire;
use crate::telemetry::{Instruments, RedisLink, RedisLinkUp};

/// A server that turned out to be a replica is not asked for the master again before that long: where there is none,
/// each write would cost a new connection.
const REPLICA_PATIENCE: Duration = Duration::from_secs(1);

/// Where the connection is kept.
pub(super) struct Link {
    connector: Connector,
    connect_timeout: Duration,
    instruments: Arc<Instruments>,
    slot: Mutex<Slot>,
}

enum Slot {
    Down,
    /// A task is at it; whoever needs the connection waits for what comes of that.
    Connecting(watch::Receiver<Option<Attempt>>),
    Up(Arc<Line>, #[expect(dead_code, reason = "shows in the metrics until it is dropped")] RedisLinkUp),
}

type Attempt = Result<Arc<Line>, Failure>;

/// A connection that is up, as far as anybody knows.
pub(super) struct Line {
    pub(super) wire: Wire,
    since: Instant,
    answers: AtomicU64,
}

/// What there is for whoever needs a connection.
enum Step {
    Take(Arc<Line>),
    Wait(watch::Receiver<Option<Attempt>>),
}

impl Link {
    pub(super) fn new(connector: Connector, connect_timeout: Duration, instruments: Arc<Instruments>) -> Self {
        Self { connector, connect_timeout, instruments, slot: Mutex::new(Slot::Down) }
    }

    /// What makes connections.
    pub(super) const fn connector(&self) -> &Connector {
        &self.connector
    }

    /// The connection; a new one where there is none. Who loses patience does not keep it from being made.
    pub(super) async fn line(self: &Arc<Self>) -> Attempt {
        let mut landing = match self.step() {
            Step::Take(line) => return Ok(line),
            Step::Wait(landing) => landing,
        };
        let landed = landing.wait_for(Option::is_some).await.ok().and_then(|attempt| attempt.clone());
        landed.unwrap_or_else(|| Err(unavailable(ErrorKind::Interrupted, "connecting was broken off")))
    }

    /// Lets this connection go, unless that has been done. What is on its way over it may still arrive.
    pub(super) fn discard(&self, line: &Arc<Line>) {
        let mut slot = self.slot();
        if matches!(&*slot, Slot::Up(up, _) if Arc::ptr_eq(up, line)) {
            *slot = Slot::Down;
        }
    }

    /// Draws the consequences of a failure on a connection that had answered so often when the command set out.
    pub(super) fn failed(&self, line: &Arc<Line>, failure: &Failure, answers_before: u64) {
        // Where others were answered meanwhile it is the command, or one node of a cluster, and not the connection.
        let is_silent = line.answers() == answers_before;
        let is_useless = match (&line.wire, failure) {
            (Wire::Single(_), failure) if failure.is_of_connection() => true,
            (_, Failure::Timeout(_) | Failure::Unavailable(_)) => is_silent,
            (Wire::Single(_), failure) => failure.is_of_replica() && line.since.elapsed() >= REPLICA_PATIENCE,
            (Wire::Cluster(_), _) => false,
        };
        if is_useless {
            self.discard(line);
        }
    }

    fn step(self: &Arc<Self>) -> Step {
        let mut slot = self.slot();
        match &*slot {
            Slot::Up(line, _) => return Step::Take(Arc::clone(line)),
            // One whose task is gone without a word leads nowhere.
            Slot::Connecting(landing) if landing.has_changed().is_ok() => return Step::Wait(landing.clone()),
            Slot::Connecting(_) | Slot::Down => {}
        }
        let (land, landing) = watch::channel(None);
        *slot = Slot::Connecting(landing.clone());
        tokio::spawn(Arc::clone(self).connect(land));
        Step::Wait(landing)
    }

    async fn connect(self: Arc<Self>, land: watch::Sender<Option<Attempt>>) {
        let attempt = match timeout(self.connect_timeout, self.connector.commands()).await {
            Ok(Ok((wire, driver))) => Ok(self.take_up(wire, driver)),
            Ok(Err(error)) => Err(Failure::from(error)),
            Err(_) => Err(Failure::Timeout(self.connect_timeout)),
        };
        *self.slot() = match &attempt {
            Ok(line) => Slot::Up(Arc::clone(line), RedisLinkUp::new(&self.instruments, RedisLink::Commands)),
            Err(_) => Slot::Down,
        };
        land.send_replace(Some(attempt));
    }

    fn take_up(self: &Arc<Self>, wire: Wire, driver: Option<Driver>) -> Arc<Line> {
        let line = Arc::new(Line { wire, since: Instant::now(), answers: AtomicU64::new(0) });
        if let Some(driver) = driver {
            let (link, ended) = (Arc::downgrade(self), Arc::downgrade(&line));
            tokio::spawn(async move {
                driver.await;
                // Its end is noticed when it comes, rather than by the next one who needs it.
                if let Some((link, line)) = link.upgrade().zip(ended.upgrade()) {
                    link.discard(&line);
                }
            });
        }
        line
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        // The slot is whole whenever the lock is let go.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// How often it has answered.
    pub(super) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// It has answered.
    pub(super) fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
    }
}
