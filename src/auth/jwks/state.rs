//! What is known of one endpoint, as a function of time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::fetch::FetchError;
use super::unknown_kids::UnknownKids;
use crate::auth::key_set::KeySet;
use crate::auth::options::JwksOptions;
use crate::clock::Timestamp;

/// The pause after a first failed fetch; it doubles with each further one.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What is known of one endpoint.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) keys: Option<(KeySet, Timestamp)>,
    pub(super) absent_since: Option<Timestamp>,
    pub(super) failure: Option<Failure>,
    pub(super) unknown_kids: UnknownKids,
    /// Good answers so far: who sees it grow knows that the keys are newer than the question.
    pub(super) answers: u64,
    /// Closed when the fetch that is under way has landed.
    pub(super) flight: Option<watch::Receiver<()>>,
}

/// The last fetch failed, and perhaps those before.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pause: Duration,
    pub(super) retry_at: Timestamp,
    pub(super) error: Arc<FetchError>,
}

/// Whether keys must be read again before they are used once more, if that is possible.
pub(super) enum Age {
    Fresh,
    Old,
}

impl State {
    /// The keys, unless they are too old even for an outage.
    pub(super) fn usable_keys(&self, now: Timestamp, options: &JwksOptions) -> Option<(KeySet, Age)> {
        let (keys, read_at) = self.keys.as_ref()?;
        let age = match now.since(*read_at) {
            age if age < options.refresh_after => Age::Fresh,
            age if age < options.refresh_after.saturating_add(options.outage_grace) => Age::Old,
            _ => return None,
        };
        Some((keys.clone(), age))
    }

    /// Takes in a good answer: these keys, or that there are none to be had.
    pub(super) fn learn(&mut self, keys: Option<(KeySet, Timestamp)>, absent_since: Option<Timestamp>) {
        self.keys = keys;
        self.absent_since = absent_since;
        self.failure = None;
        self.answers += 1;
        self.flight = None;
    }

    /// Takes in that a fetch failed, and returns how long to leave the endpoint alone.
    pub(super) fn fail(&mut self, error: Arc<FetchError>, now: Timestamp) -> Duration {
        let pause = self.failure.as_ref().map_or(FIRST_PAUSE, |last| (last.pause * 2).min(LONGEST_PAUSE));
        self.failure = Some(Failure { pause, retry_at: now.plus(pause), error });
        self.flight = None;
        pause
    }
}
