//! One key set's address: what is known from there, and when it is asked again.
//!
//! 1. One fetch at a time, however many wait; it is a task of its own, so that no waiter's leaving ends it.
//! 2. Keys are good for `refresh_after`, then they are read again when next used.
//! 3. An unknown `kid` makes for one reload, within a budget, and is then known to be unknown for a while.
//! 4. A failed fetch is not repeated before a growing pause has passed. Until the keys are older than
//!    `refresh_after + outage_grace` they stay good meanwhile; then nobody can tell, and that is not a 401.
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
use super::state::{Age, FIRST_PAUSE, State};
use crate::auth::key_set::{KeySet, MAX_KID_BYTES};
use crate::auth::options::JwksOptions;
use crate::clock::{Clock, Timestamp};
use crate::telemetry::Scope;

/// How long "no such plugin" is believed of a plugin that is configured to read: it may just be starting.
const ABSENT_FOR: Duration = Duration::from_secs(10);

/// How long it is believed of any other.
const STRANGER_ABSENT_FOR: Duration = Duration::from_secs(60);

/// The most fetches that one question waits for: one for keys that are missing or old, and one for a `kid` that is not
/// among them after all.
const MAX_WAITS: usize = 3;

/// Why there is no key.
#[derive(Debug, Clone, thiserror::Error)]
pub(in crate::auth) enum NoKey {
    #[error("the issuer publishes no such key")]
    Unknown,
    #[error("status 404 Not Found: no such plugin is installed there")]
    NoSuchIssuer,
    #[error("too many unknown issuers were asked for lately")]
    Throttled,
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
    absent_for: Duration,
    /// For reloads because of an unknown `kid`.
    reloads: Budget,
    /// For every fetch, where the endpoint is a stranger's.
    shared: Option<Arc<Budget>>,
    state: Mutex<State>,
}

/// What a question comes to, for now.
enum Step {
    Answer(Result<KeySet, NoKey>),
    Wait(watch::Receiver<()>),
}

impl Endpoint {
    pub(super) fn new(url: Url, client: reqwest::Client, clock: Clock, options: JwksOptions) -> Self {
        let (absent_for, reloads) = (ABSENT_FOR, Budget::ten_a_minute());
        Self { url, client, clock, options, absent_for, reloads, shared: None, state: Mutex::default() }
    }

    /// The endpoint of a plugin that nobody configured, whose every fetch is taken from the budget for such.
    pub(super) fn of_stranger(self, budget: Arc<Budget>) -> Self {
        Self { absent_for: STRANGER_ABSENT_FOR, shared: Some(budget), ..self }
    }

    /// The keys, one called `kid` among them; a token that names none gets any.
    pub(in crate::auth) async fn keys_with(self: &Arc<Self>, kid: Option<&str>) -> Result<KeySet, NoKey> {
        self.ask(Wanted::Key(kid)).await
    }

    /// The keys, whatever they are called, were there even none.
    pub(super) async fn keys(self: &Arc<Self>) -> Result<KeySet, NoKey> {
        self.ask(Wanted::Whatever).await
    }

    async fn ask(self: &Arc<Self>, wanted: Wanted<'_>) -> Result<KeySet, NoKey> {
        let answers_before = self.state().answers;
        for _ in 0..MAX_WAITS {
            match self.step(wanted, answers_before) {
                Step::Answer(answer) => return answer,
                // An error means that the sender is gone, and that is how a landing is told.
                Step::Wait(mut flight) => drop(flight.changed().await),
            }
        }
        Err(NoKey::Unavailable { retry_after: FIRST_PAUSE, source: Arc::new(FetchError::BrokenOff) })
    }

    fn step(self: &Arc<Self>, wanted: Wanted<'_>, answers_before: u64) -> Step {
        let now = self.clock.now();
        let state = &mut *self.state();
        if state.absent_since.is_some_and(|since| now.since(since) < self.absent_for) {
            return Step::Answer(Err(NoKey::NoSuchIssuer));
        }
        match state.usable_keys(now, &self.options) {
            Some((keys, Age::Fresh)) => self.step_with_fresh_keys(state, keys, wanted, answers_before, now),
            Some((keys, Age::Old)) => self.step_with_old_keys(state, keys, wanted, now),
            None => self.fetch_and_wait(state, now).unwrap_or_else(|no_key| Step::Answer(Err(no_key))),
        }
    }

    fn step_with_fresh_keys(
        self: &Arc<Self>,
        state: &mut State,
        keys: KeySet,
        wanted: Wanted<'_>,
        answers_before: u64,
        now: Timestamp,
    ) -> Step {
        if wanted.is_among(&keys) {
            return Step::Answer(Ok(keys));
        }
        let kid = wanted.kid();
        if state.answers > answers_before {
            state.unknown_kids.insert(kid, now);
            return Step::Answer(Err(NoKey::Unknown));
        }
        let hopeless = kid.len() > MAX_KID_BYTES || state.unknown_kids.contains(kid, now);
        let may_reload = || state.flight.is_some() || state.failure.is_some() || self.reloads.take(now);
        if hopeless || !may_reload() {
            return Step::Answer(Err(NoKey::Unknown));
        }
        self.fetch_and_wait(state, now).unwrap_or_else(|no_key| Step::Answer(Err(no_key)))
    }

    /// A healthy endpoint is waited for, so that withdrawn keys are not used once more. One that has just failed is
    /// asked in the background, or each of its pauses would end with some callers waiting for the time-out.
    fn step_with_old_keys(
        self: &Arc<Self>,
        state: &mut State,
        keys: KeySet,
        wanted: Wanted<'_>,
        now: Timestamp,
    ) -> Step {
        let failing = state.failure.is_some();
        match self.fetch_and_wait(state, now) {
            Ok(wait) if !failing => wait,
            _ if wanted.is_among(&keys) => Step::Answer(Ok(keys)),
            Ok(wait) => wait,
            Err(no_key) => Step::Answer(Err(no_key)),
        }
    }

    /// Joins the fetch that is under way, or starts one unless the last has failed just now.
    fn fetch_and_wait(self: &Arc<Self>, state: &mut State, now: Timestamp) -> Result<Step, NoKey> {
        if let Some(flight) = &state.flight {
            return Ok(Step::Wait(flight.clone()));
        }
        if let Some(failure) = &state.failure
            && now < failure.retry_at
        {
            let retry_after = failure.retry_at.since(now);
            return Err(NoKey::Unavailable { retry_after, source: Arc::clone(&failure.error) });
        }
        if self.shared.as_ref().is_some_and(|budget| !budget.take(now)) {
            return Err(NoKey::Throttled);
        }
        let (sender, flight) = watch::channel(());
        state.flight = Some(flight.clone());
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
        let now = self.clock.now();
        let url = self.shown();
        match outcome {
            Ok(Found::Keys(keys)) => {
                tracing::info!(url, keys = keys.len(), skipped = keys.skipped(), "read key set");
                self.state().learn(Some((keys, now)), None);
            }
            Ok(Found::Nothing) if self.state().usable_keys(now, &self.options).is_none() => {
                tracing::info!(url, "there is no such key set");
                self.state().learn(None, Some(now));
            }
            // A plugin that was there and isn't is more likely starting than gone: its keys run out by themselves.
            Ok(Found::Nothing) => self.absorb_failure(FetchError::Status(StatusCode::NOT_FOUND), now),
            Err(error) => self.absorb_failure(error, now),
        }
    }

    fn absorb_failure(&self, error: FetchError, now: Timestamp) {
        let error = Arc::new(error);
        let pause = self.state().fail(Arc::clone(&error), now);
        let error: &dyn std::error::Error = &*error;
        tracing::warn!(url = self.shown(), error, ?pause, "can't read key set");
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
