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
    keys: Option<(KeySet, Timestamp)>,
    has_shown_keys: bool,
    absent_since: Option<Timestamp>,
    pub(super) failure: Option<Failure>,
    pub(super) unknown_kids: UnknownKids,
    flight: Option<watch::Receiver<()>>,
    /// Fetches begun so far, the one that is under way among them.
    begun: u64,
    /// Which of them brought the last good answer.
    answered: u64,
}

/// The last fetch failed, and perhaps those before.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pause: Duration,
    since: Timestamp,
    pub(super) error: Arc<FetchError>,
}

/// Keys, and how far they can be trusted.
#[derive(Debug, Clone)]
pub(super) struct Usable {
    pub(super) keys: KeySet,
    pub(super) age: Age,
    /// When they may be found to have been withdrawn, so that whatever they say counts no longer.
    pub(super) recheck_at: Timestamp,
}

/// Whether keys must be read again before they are used once more, if that is possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    Fresh,
    Old,
}

/// When a question was asked, in fetches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    begun_before: u64,
}

/// Whether less than `span` has passed since `since`. A stamp that lies ahead was made before the clock was set back:
/// how long ago nobody knows, and what would otherwise last as long as the clock was set back by is taken for over.
pub(super) fn lasts(since: Timestamp, span: Duration, now: Timestamp) -> bool {
    since <= now && now.since(since) < span
}

impl State {
    /// The keys, unless they are too old even for an outage.
    pub(super) fn usable_keys(&mut self, now: Timestamp, options: &JwksOptions) -> Option<Usable> {
        let (keys, read_at) = self.keys.as_mut()?;
        if *read_at > now {
            // The clock was set back. They are to be read again, and if that fails the grace time begins now: neither
            // do they last any longer, nor does an outage that falls together with the clock's correction refuse all.
            *read_at = before(now, options.refresh_after);
        }
        let (keys, read_at) = (keys.clone(), *read_at);
        if lasts(read_at, options.refresh_after, now) {
            return Some(Usable { keys, age: Age::Fresh, recheck_at: read_at.plus(options.refresh_after) });
        }
        let longest = options.refresh_after.saturating_add(options.outage_grace);
        let recheck_at = now.plus(self.pause(now).map_or(Duration::ZERO, |(_, left)| left));
        lasts(read_at, longest, now).then_some(Usable { keys, age: Age::Old, recheck_at })
    }

    /// Whether there ever was a key set, were it empty: a plugin that has called nobody yet publishes such.
    pub(super) fn has_shown_keys(&self) -> bool {
        self.has_shown_keys
    }

    /// Whether "there is no such key set" was answered less than `absent_for` ago.
    pub(super) fn is_absent(&self, now: Timestamp, absent_for: Duration) -> bool {
        self.absent_since.is_some_and(|since| lasts(since, absent_for, now))
    }

    /// The last failure and how much longer the endpoint is left alone for it, if it is.
    pub(super) fn pause(&self, now: Timestamp) -> Option<(&Failure, Duration)> {
        let failure = self.failure.as_ref().filter(|failure| lasts(failure.since, failure.pause, now))?;
        Some((failure, failure.pause.saturating_sub(now.since(failure.since))))
    }

    /// What [`State::answer_is_newer`] wants to know of a question that is asked now.
    pub(super) fn asked(&self) -> Asked {
        Asked { begun_before: self.begun }
    }

    /// Whether what is known was asked for after the question. That it came in afterwards is not enough: a fetch that was
    /// under way may have been answered with keys from before.
    pub(super) fn answer_is_newer(&self, asked: Asked) -> bool {
        self.answered > asked.begun_before
    }

    /// The fetch that is under way: closed when it has landed.
    pub(super) fn flight(&self) -> Option<&watch::Receiver<()>> {
        self.flight.as_ref()
    }

    /// A fetch begins.
    pub(super) fn take_off(&mut self, flight: watch::Receiver<()>) {
        self.flight = Some(flight);
        self.begun += 1;
    }

    /// Takes in a good answer: these keys, or that there are none to be had.
    pub(super) fn learn(&mut self, keys: Option<KeySet>, now: Timestamp) {
        self.has_shown_keys |= keys.is_some();
        self.absent_since = keys.is_none().then_some(now);
        self.keys = keys.map(|keys| (keys, now));
        self.failure = None;
        self.answered = self.begun;
        self.flight = None;
    }

    /// Takes in that a fetch failed, and returns how long to leave the endpoint alone.
    pub(super) fn fail(&mut self, error: Arc<FetchError>, now: Timestamp) -> Duration {
        let pause = self.failure.as_ref().map_or(FIRST_PAUSE, |last| (last.pause * 2).min(LONGEST_PAUSE));
        self.failure = Some(Failure { pause, since: now, error });
        self.flight = None;
        pause
    }
}

/// `span` before `now`.
fn before(now: Timestamp, span: Duration) -> Timestamp {
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_millis(now.as_millis().saturating_sub(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two hours ahead of [`NOW`], which the clock is set back to.
    const AHEAD: Timestamp = Timestamp::from_secs(1_007_200);
    const NOW: Timestamp = Timestamp::from_secs(1_000_000);
    const MINUTE: Duration = Duration::from_secs(60);

    fn options() -> JwksOptions {
        JwksOptions { timeout: MINUTE, refresh_after: MINUTE * 10, outage_grace: MINUTE * 60 }
    }

    fn age(state: &mut State, now: Timestamp) -> Option<Age> {
        state.usable_keys(now, &options()).map(|usable| usable.age)
    }

    #[test]
    fn keys_are_fresh_then_old_then_gone() {
        let mut state = State::default();
        state.learn(Some(KeySet::default()), NOW);
        assert_eq!(age(&mut state, NOW), Some(Age::Fresh));
        assert_eq!(age(&mut state, NOW.plus(MINUTE * 10)), Some(Age::Old));
        assert_eq!(age(&mut state, NOW.plus(MINUTE * 70)), None);
    }

    #[test]
    fn clock_set_back_makes_keys_old_and_lets_them_end_as_if_they_had_just_become_so() {
        let mut state = State::default();
        state.learn(Some(KeySet::default()), AHEAD);
        assert_eq!(age(&mut state, NOW), Some(Age::Old));
        assert_eq!(age(&mut state, NOW.plus(MINUTE * 59)), Some(Age::Old));
        assert_eq!(age(&mut state, NOW.plus(MINUTE * 60)), None);
    }

    #[test]
    fn clock_set_back_ends_absence_and_pauses() {
        let mut state = State::default();
        state.learn(None, AHEAD);
        assert!(state.is_absent(AHEAD, MINUTE) && !state.is_absent(NOW, MINUTE));
        state.fail(Arc::new(FetchError::Redirected), AHEAD);
        assert_eq!(state.pause(AHEAD).map(|(_, left)| left), Some(FIRST_PAUSE));
        assert!(state.pause(NOW).is_none());
    }

    #[test]
    fn only_a_fetch_begun_after_the_question_answers_it() {
        let flight = || watch::channel(()).1;
        let mut state = State::default();
        let first = state.asked();
        state.take_off(flight());
        let meanwhile = state.asked();
        state.learn(Some(KeySet::default()), NOW);
        assert!(state.answer_is_newer(first) && !state.answer_is_newer(meanwhile));
        state.take_off(flight());
        state.fail(Arc::new(FetchError::Redirected), NOW);
        assert!(!state.answer_is_newer(meanwhile));
        state.take_off(flight());
        state.learn(Some(KeySet::default()), NOW);
        assert!(state.answer_is_newer(meanwhile));
    }
}
