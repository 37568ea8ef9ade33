//! One key set's address: what is known from there, and when it is asked again.
//!
//! 1. One fetch at a time, however many wait; it is a task of its own, so that no waiter's leaving ends it.
//! 2. Keys are good for `refresh_after`, then they are read again when next used.
//! 3. An unknown `kid` makes for one reload, within a budget, and is then known to be unknown for a while. A fetch that
//!    was under way when it was shown does not count: the answer may be from before its key was published. Beyond the
//!    budget nobody can tell.
//! 4. A failed fetch is not repeated before a growing pause has passed. Until the keys are older than
//!    `refresh_after + outage_grace` they stay good meanwhile; then nobody can tell, and that is not a 401.
//! 5. A plugin that nobody configured is a newcomer until it shows a key set, and its every fetch is taken from the
//!    newcomers' common budget. From then on it is like a configured one.
//!
//! A good answer replaces the keys as a whole, whatever was known before: a key that its issuer no longer publishes
//! may have been withdrawn for a reason. Backends with several replicas keep their keys in one database and each
//! publishes them all, so that nothing is lost by it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use tokio::sync::watch;
use url::Url;

use super::budget::Budget;
use super::fetch::{self, FetchError, Found};
use super::newcomers::Newcomers;
use super::state::{Age, Asked, FIRST_PAUSE, State, Usable};
use crate::auth::key_set::{KeySet, MAX_KID_BYTES};
use crate::auth::options::JwksOptions;
use crate::clock::{Clock, Timestamp};
use crate::telemetry::Scope;

/// How long "no such plugin" is believed of a plugin that is configured, or was there before: it may just be starting.
const ABSENT_FOR: Duration = Duration::from_secs(10);

/// How long it is believed of a newcomer.
const NEWCOMER_ABSENT_FOR: Duration = Duration::from_secs(60);

/// The most steps that one question takes: it may wait for a fetch that was under way, then for one that looks for its
/// `kid`, and then it is answered.
const MAX_STEPS: usize = 3;

/// Why there is no key.
#[derive(Debug, Clone, thiserror::Error)]
pub(in crate::auth) enum NoKey {
    #[error("the issuer publishes no such key")]
    Unknown,
    #[error("status 404 Not Found: no such plugin is installed there")]
    NoSuchIssuer,
    #[error("too many unknown issuers or keys were asked for lately")]
    Throttled { retry_after: Duration },
    #[error("key set unavailable")]
    Unavailable { retry_after: Duration, source: Arc<FetchError> },
}

/// One address of a key set.
#[derive(Debug)]
pub(in crate::auth) struct Endpoint {
    url: Url,
    client: reqwest::Client,
    clock: Clock,
    options: JwksOptions,
    /// For reloads because of an unknown `kid`.
    reloads: Budget,
    /// Where nobody has configured the endpoint.
    stranger: Option<Stranger>,
    state: Mutex<State>,
}

/// A plugin that nobody has configured, and the budget for such until it has shown keys.
#[derive(Debug)]
struct Stranger {
    id: String,
    newcomers: Arc<Newcomers>,
}

impl Stranger {
    /// Express takes paths in any case, so that one plugin's key set can be had under as many names as its name has
    /// capitalisations. Only the usual one in lower case can settle; the others stay in the common budget.
    fn can_settle(&self) -> bool {
        !self.id.bytes().any(|byte| byte.is_ascii_uppercase())
    }
}

/// What a question comes to, for now.
enum Step {
    Answer(Result<Usable, NoKey>),
    Wait(watch::Receiver<()>),
}

impl Endpoint {
    pub(super) fn new(url: Url, client: reqwest::Client, clock: Clock, options: JwksOptions) -> Self {
        let reloads = Budget::ten_a_minute();
        Self { url, client, clock, options, reloads, stranger: None, state: Mutex::default() }
    }

    /// The endpoint of plugin `id` that nobody configured.
    pub(super) fn of_stranger(self, id: &str, newcomers: Arc<Newcomers>) -> Self {
        Self { stranger: Some(Stranger { id: id.to_owned(), newcomers }), ..self }
    }

    /// Whether it is known to be a real plugin's, because it has shown a key set.
    pub(super) fn is_settled(&self) -> bool {
        self.newcomer(&self.state()).is_none()
    }

    fn newcomer(&self, state: &State) -> Option<&Stranger> {
        self.stranger.as_ref().filter(|stranger| !(state.has_shown_keys() && stranger.can_settle()))
    }

    /// The keys, one called `kid` among them; a token that names none gets any.
    pub(super) async fn keys_with(self: &Arc<Self>, kid: Option<&str>) -> Result<Usable, NoKey> {
        self.ask(Wanted::Key(kid)).await
    }

    /// The keys, whatever they are called, were there even none.
    pub(super) async fn keys(self: &Arc<Self>) -> Result<KeySet, NoKey> {
        self.ask(Wanted::Whatever).await.map(|usable| usable.keys)
    }

    async fn ask(self: &Arc<Self>, wanted: Wanted<'_>) -> Result<Usable, NoKey> {
        let asked = self.state().asked();
        for _ in 0..MAX_STEPS {
            match self.step(wanted, asked) {
                Step::Answer(answer) => return answer,
                // An error means that the sender is gone, and that is how a landing is told.
                Step::Wait(mut flight) => drop(flight.changed().await),
            }
        }
        Err(NoKey::Unavailable { retry_after: FIRST_PAUSE, source: Arc::new(FetchError::BrokenOff) })
    }

    fn step(self: &Arc<Self>, wanted: Wanted<'_>, asked: Asked) -> Step {
        let state = &mut *self.state();
        // Read under the lock: a stamp that lies ahead has to mean that the clock was set back.
        let now = self.clock.now();
        let absent_for = if self.newcomer(state).is_some() { NEWCOMER_ABSENT_FOR } else { ABSENT_FOR };
        if state.is_absent(now, absent_for) {
            return Step::Answer(Err(NoKey::NoSuchIssuer));
        }
        match state.usable_keys(now, &self.options) {
            Some(usable) if usable.age == Age::Fresh => self.step_with_fresh_keys(state, usable, wanted, asked, now),
            Some(usable) => self.step_with_old_keys(state, usable, wanted, now),
            None => self.fetch_and_wait(state, now).unwrap_or_else(|no_key| Step::Answer(Err(no_key))),
        }
    }

    fn step_with_fresh_keys(
        self: &Arc<Self>,
        state: &mut State,
        usable: Usable,
        wanted: Wanted<'_>,
        asked: Asked,
        now: Timestamp,
    ) -> Step {
        if wanted.is_among(&usable.keys) {
            return Step::Answer(Ok(usable));
        }
        let kid = wanted.kid();
        if state.answer_is_newer(asked) {
            state.unknown_kids.insert(kid, now);
            return Step::Answer(Err(NoKey::Unknown));
        }
        if kid.len() > MAX_KID_BYTES || state.unknown_kids.contains(kid, now) {
            return Step::Answer(Err(NoKey::Unknown));
        }
        if state.flight().is_none()
            && state.failure.is_none()
            && let Err(retry_after) = self.reloads.take(now)
        {
            return Step::Answer(Err(NoKey::Throttled { retry_after }));
        }
        self.fetch_and_wait(state, now).unwrap_or_else(|no_key| Step::Answer(Err(no_key)))
    }

    /// A healthy endpoint is waited for, so that withdrawn keys are not used once more. One that has just failed is
    /// asked in the background, or each of its pauses would end with some callers waiting for the time-out.
    fn step_with_old_keys(
        self: &Arc<Self>,
        state: &mut State,
        usable: Usable,
        wanted: Wanted<'_>,
        now: Timestamp,
    ) -> Step {
        let failing = state.failure.is_some();
        match self.fetch_and_wait(state, now) {
            Ok(wait) if !failing => wait,
            _ if wanted.is_among(&usable.keys) => Step::Answer(Ok(usable)),
            Ok(wait) => wait,
            Err(no_key) => Step::Answer(Err(no_key)),
        }
    }

    /// Joins the fetch that is under way, or starts one unless the last has failed just now.
    fn fetch_and_wait(self: &Arc<Self>, state: &mut State, now: Timestamp) -> Result<Step, NoKey> {
        if let Some(flight) = state.flight() {
            return Ok(Step::Wait(flight.clone()));
        }
        if let Some((failure, retry_after)) = state.pause(now) {
            return Err(NoKey::Unavailable { retry_after, source: Arc::clone(&failure.error) });
        }
        if let Some(Stranger { id, newcomers }) = self.newcomer(state) {
            newcomers.take(id, now).map_err(|retry_after| NoKey::Throttled { retry_after })?;
        }
        let (sender, flight) = watch::channel(());
        state.take_off(flight.clone());
        let landing = Landing { endpoint: Arc::clone(self), outcome: Err(FetchError::BrokenOff), _sender: sender };
        let scope = Scope::current();
        tokio::spawn(async move {
            let endpoint = &landing.endpoint;
            let fetch = fetch::fetch(&endpoint.client, &endpoint.url, endpoint.options.timeout);
            let outcome = scope.run(fetch).await;
            landing.with(outcome);
        });
        Ok(Step::Wait(flight))
    }

    fn absorb(&self, outcome: Result<Found, FetchError>) {
        let url = self.shown();
        // The lock is gone again when the log is written, which may take its time.
        match self.take_in(outcome) {
            News::Keys(keys) => tracing::info!(url, keys = keys.len(), skipped = keys.skipped(), "read key set"),
            News::Absent => tracing::info!(url, "there is no such key set"),
            News::Failure(error, pause) => {
                let error: &dyn std::error::Error = &*error;
                tracing::warn!(url, error, ?pause, "can't read key set");
            }
        }
    }

    fn take_in(&self, outcome: Result<Found, FetchError>) -> News {
        let state = &mut *self.state();
        let now = self.clock.now();
        let error = match outcome {
            Ok(Found::Keys(keys)) => {
                state.learn(Some(keys.clone()), now);
                return News::Keys(keys);
            }
            Ok(Found::Nothing) if state.usable_keys(now, &self.options).is_none() => {
                state.learn(None, now);
                return News::Absent;
            }
            // A plugin that was there and isn't is more likely starting than gone: its keys run out by themselves.
            Ok(Found::Nothing) => FetchError::Status(StatusCode::NOT_FOUND),
            Err(error) => error,
        };
        let error = Arc::new(error);
        let pause = state.fail(Arc::clone(&error), now);
        News::Failure(error, pause)
    }

    /// The address without user name, password and query, any of which may be a secret.
    pub(super) fn shown(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        // Both fail only for addresses that can't have credentials.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.into()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a fetch has brought.
enum News {
    Keys(KeySet),
    Absent,
    /// And how long to leave the endpoint alone.
    Failure(Arc<FetchError>, Duration),
}

/// What a question is after.
#[derive(Debug, Clone, Copy)]
enum Wanted<'a> {
    Key(Option<&'a str>),
    Whatever,
}

impl<'a> Wanted<'a> {
    fn is_among(self, keys: &KeySet) -> bool {
        match self {
            Self::Key(kid) => keys.knows(kid),
            Self::Whatever => true,
        }
    }

    /// What to remember it by.
    fn kid(self) -> &'a str {
        match self {
            Self::Key(kid) => kid.unwrap_or_default(),
            Self::Whatever => "",
        }
    }
}

/// Tells the outcome of a fetch, also when its task is dropped or panics: then it is [`FetchError::BrokenOff`].
struct Landing {
    endpoint: Arc<Endpoint>,
    outcome: Result<Found, FetchError>,
    /// Dropped last, which is what wakes the waiters.
    _sender: watch::Sender<()>,
}

impl Landing {
    fn with(mut self, outcome: Result<Found, FetchError>) {
        self.outcome = outcome;
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let outcome = std::mem::replace(&mut self.outcome, Err(FetchError::BrokenOff));
        self.endpoint.absorb(outcome);
    }
}
