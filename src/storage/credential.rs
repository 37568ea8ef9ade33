//! Credentials that expire: renewed ahead of time by a task of their own, and never inside a request.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use object_store::CredentialProvider;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use super::StoreError;
use crate::chain::chain;
use crate::telemetry::OriginInstruments;

/// How long one attempt to get a credential may take.
const ISSUE_TIMEOUT: Duration = Duration::from_secs(20);

/// What remains of a credential's life is used up to this part before the next one is asked for.
const USED_BEFORE_RENEWAL: f64 = 0.75;

/// How long a credential is held, at most, before it is asked for again, whatever it says of its end; and where it says
/// nothing. Files are replaced and roles are changed.
const LONGEST_HELD: Duration = Duration::from_secs(3600);
const HELD_WITHOUT_END: Duration = Duration::from_secs(60);

/// How long to wait after a failure: this long at first, doubling up to the second.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Storage's refusals have a credential renewed no more often than this: what it refuses may be one object only.
const BETWEEN_REFUSALS: Duration = Duration::from_secs(10);

/// Where a credential comes from.
#[async_trait]
pub(super) trait Issuer: fmt::Debug + Send + Sync + 'static {
    /// What it gives out.
    type Credential: Send + Sync + 'static;

    /// A credential, newly asked for: whatever it is made from (files, other credentials) is read anew as well.
    async fn issue(&self) -> Result<Issued<Self::Credential>, IssueError>;

    /// Where the last one was found, in words, where there is more than one place to look at.
    fn place(&self) -> Option<String> {
        None
    }
}

/// A credential and its end.
pub(super) struct Issued<C> {
    pub(super) credential: Arc<C>,
    pub(super) expires_at: Option<SystemTime>,
}

/// Without the credential: those of the clouds' clients would print themselves.
impl<C> fmt::Debug for Issued<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// Why there is no credential.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum IssueError {
    /// Whoever gives it out says no, or what it would be made from is not there.
    #[error("{0}")]
    Refused(Cause),
    /// Whoever gives it out can't be reached or fails.
    #[error("{0}")]
    Unavailable(Cause),
}

/// A client's own error, with all its causes, in words.
pub(super) type Cause = Arc<str>;

impl IssueError {
    /// Wraps an error that means that there will be no credential until somebody changes something.
    pub(super) fn refused(cause: &(dyn std::error::Error + 'static)) -> Self {
        Self::Refused(chain(cause).to_string().into())
    }

    /// Wraps an error that may pass.
    pub(super) fn unavailable(cause: &(dyn std::error::Error + 'static)) -> Self {
        Self::Unavailable(chain(cause).to_string().into())
    }

    /// What it means for whoever wanted to read.
    fn for_reader(&self) -> StoreError {
        match self {
            Self::Refused(cause) => StoreError::denied(&**cause),
            Self::Unavailable(cause) => StoreError::unavailable(&**cause),
        }
    }
}

/// What a store may say to, and ask of, the credential that its client shows.
pub(super) trait Credential: fmt::Debug + Send + Sync {
    /// Storage has refused it: perhaps it was revoked, and another one is to be had.
    fn was_refused(&self);

    /// Why there is none that could be shown, where that is so.
    fn trouble(&self) -> Option<String>;

    /// Where the one that is shown was found, in words, where it had to be looked for.
    fn place(&self) -> Option<String>;
}

/// Holds the credential that an [`Issuer`] gave out last.
pub(super) struct Keeper<C> {
    held: watch::Receiver<Held<C>>,
    renew: Arc<Notify>,
    refusal: Mutex<Refusal>,
}

/// The last time that storage's refusal had the credential renewed.
#[derive(Debug, Default)]
struct Refusal {
    at: Option<Instant>,
    /// The round that it brought about.
    round: u64,
}

struct Held<C> {
    lent: Option<Lent<C>>,
    /// Why there was none the last time that it was asked for.
    failure: Option<IssueError>,
    /// How often it was asked for.
    round: u64,
}

/// A credential as it is held: a clock that is set does not change how long it lasts.
struct Lent<C> {
    credential: Arc<C>,
    ends_at: Option<Instant>,
    place: Option<String>,
}

/// Remembers the keeper of an origin's credential, for as long as a client of the origin holds it: so that all of them
/// share it, and whoever gives it out is asked once.
#[derive(Default)]
pub struct Kept(Mutex<Option<Box<dyn Any + Send>>>);

impl Kept {
    /// The keeper there is, or a new one.
    pub(super) fn keeper<I: Issuer>(
        &self,
        issuer: I,
        instruments: &Arc<OriginInstruments>,
    ) -> Arc<Keeper<I::Credential>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = kept.as_ref().and_then(|kept| kept.downcast_ref::<Weak<Keeper<I::Credential>>>());
        held.and_then(Weak::upgrade).unwrap_or_else(|| {
            let keeper = Keeper::start(issuer, Arc::clone(instruments));
            *kept = Some(Box::new(Arc::downgrade(&keeper)));
            keeper
        })
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept")
    }
}

impl<C: Send + Sync + 'static> Keeper<C> {
    /// Asks `issuer` from now on for as long as this is held. It must be called inside a runtime.
    pub(super) fn start(issuer: impl Issuer<Credential = C>, instruments: Arc<OriginInstruments>) -> Arc<Self> {
        let (sender, held) = watch::channel(Held { lent: None, failure: None, round: 0 });
        let keeper = Arc::new(Self { held, renew: Arc::new(Notify::new()), refusal: Mutex::default() });
        let observed = Arc::downgrade(&keeper);
        instruments.observe_credential(move || observed.upgrade().and_then(|keeper| keeper.expires_in()));
        tokio::spawn(keep(issuer, sender, Arc::clone(&keeper.renew), instruments));
        keeper
    }

    /// The credential as it is now. Only before there has been any, it is waited for.
    ///
    /// # Errors
    /// [`StoreError::Denied`] where there is none, or none any more, since it was refused; [`StoreError::Unavailable`]
    /// where whoever gives it out could not be reached.
    pub(super) async fn current(&self) -> Result<Arc<C>, StoreError> {
        let mut held = self.held.clone();
        let held = held
            .wait_for(|held| held.lent.is_some() || held.failure.is_some())
            .await
            .map_err(|_| StoreError::Abandoned)?;
        match (&held.lent, &held.failure) {
            (Some(lent), _) if !lent.is_over() => Ok(Arc::clone(&lent.credential)),
            // An expired one is as good as none, whoever is to blame.
            (_, Some(failure)) => Err(failure.for_reader()),
            (_, None) => Err(StoreError::unavailable("the credential has expired and is being renewed")),
        }
    }

    /// Another credential than `refused`, which storage does not take any more. However many ask, it is renewed once, and
    /// they wait for that one time.
    ///
    /// # Errors
    /// As for [`Keeper::current`]; [`StoreError::Denied`] also where it has just been renewed for that reason.
    pub(super) async fn instead_of(&self, refused: &Arc<C>) -> Result<Arc<C>, StoreError> {
        let current = self.current().await?;
        if !Arc::ptr_eq(&current, refused) {
            return Ok(current);
        }
        let round = self.renew_after_refusal();
        let mut held = self.held.clone();
        let failure =
            held.wait_for(|held| held.round >= round).await.map_err(|_| StoreError::Abandoned)?.failure.clone();
        let current = self.current().await?;
        match failure {
            _ if !Arc::ptr_eq(&current, refused) => Ok(current),
            Some(failure) => Err(failure.for_reader()),
            None => Err(StoreError::denied("storage refuses the credential, and refused the one before it")),
        }
    }

    /// Has it renewed, unless a refusal has done so a short while ago; the round in which that was, or will be.
    fn renew_after_refusal(&self) -> u64 {
        let mut last = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        if last.at.is_none_or(|at| at.elapsed() >= BETWEEN_REFUSALS) {
            *last = Refusal { at: Some(Instant::now()), round: self.held.borrow().round + 1 };
            self.renew.notify_one();
        }
        last.round
    }

    fn expires_in(&self) -> Option<Duration> {
        let ends_at = self.held.borrow().lent.as_ref()?.ends_at?;
        Some(ends_at.saturating_duration_since(Instant::now()))
    }
}

/// Without the credential: some clients' own types would print it.
impl<C> fmt::Debug for Keeper<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.held.borrow();
        let ends_at = held.lent.as_ref().map(|lent| lent.ends_at);
        f.debug_struct("Keeper").field("ends_at", &ends_at).field("failure", &held.failure).finish_non_exhaustive()
    }
}

impl<C: Send + Sync + 'static> Credential for Keeper<C> {
    fn was_refused(&self) {
        self.renew_after_refusal();
    }

    fn trouble(&self) -> Option<String> {
        let held = self.held.borrow();
        match (&held.lent, &held.failure) {
            (Some(lent), _) if !lent.is_over() => None,
            (_, Some(failure)) => Some(failure.to_string()),
            _ => None,
        }
    }

    fn place(&self) -> Option<String> {
        self.held.borrow().lent.as_ref()?.place.clone()
    }
}

#[async_trait]
impl<C: fmt::Debug + Send + Sync + 'static> CredentialProvider for Keeper<C> {
    type Credential = C;

    async fn get_credential(&self) -> object_store::Result<Arc<C>> {
        self.current().await.map_err(|error| match error {
            StoreError::Denied(_) => object_store::Error::Unauthenticated { path: String::new(), source: error.into() },
            error => object_store::Error::Generic { store: "credential", source: error.into() },
        })
    }
}

impl<C> Lent<C> {
    fn new(issued: Issued<C>, place: Option<String>) -> Self {
        let left = issued.expires_at.map(|at| at.duration_since(SystemTime::now()).unwrap_or_default());
        // What lasts longer than can be reckoned has no end.
        let ends_at = left.and_then(|left| Instant::now().checked_add(left));
        Self { credential: issued.credential, ends_at, place }
    }

    fn is_over(&self) -> bool {
        self.ends_at.is_some_and(|ends_at| ends_at <= Instant::now())
    }

    /// How long it is held before the next one is asked for.
    fn hold_for(&self) -> Duration {
        let Some(ends_at) = self.ends_at else { return HELD_WITHOUT_END };
        let left = ends_at.saturating_duration_since(Instant::now());
        // Replicas that were started together need not all ask together.
        left.mul_f64(USED_BEFORE_RENEWAL * rand::random_range(0.9..=1.)).clamp(PAUSES.0, LONGEST_HELD)
    }
}

async fn keep<C: Send + Sync + 'static>(
    issuer: impl Issuer<Credential = C>,
    sender: watch::Sender<Held<C>>,
    renew: Arc<Notify>,
    instruments: Arc<OriginInstruments>,
) {
    let mut pause = PAUSES.0;
    loop {
        let late = || IssueError::Unavailable(format!("no answer within {ISSUE_TIMEOUT:?}").into());
        let issued = tokio::select! {
            issued = timeout(ISSUE_TIMEOUT, issuer.issue()) => issued.unwrap_or_else(|_| Err(late())),
            () = sender.closed() => return,
        };
        instruments.credential_renewed(issued.is_ok());
        let wait = match issued {
            Ok(issued) => {
                let lent = Lent::new(issued, issuer.place());
                let wait = lent.hold_for();
                tell(&sender.borrow(), &lent, instruments.name());
                sender.send_modify(|held| *held = Held { lent: Some(lent), failure: None, round: held.round + 1 });
                pause = PAUSES.0;
                wait
            }
            Err(failure) => {
                tracing::warn!(
                    origin = instruments.name(),
                    error = %failure,
                    "the credential for storage could not be had or renewed; it is tried again"
                );
                sender.send_modify(|held| {
                    held.failure = Some(failure);
                    held.round += 1;
                });
                let wait = pause;
                pause = (pause * 2).min(PAUSES.1);
                wait
            }
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = renew.notified() => {}
            () = sender.closed() => return,
        }
    }
}

/// Tells of a credential where it is news: after a failure, and where it comes from another place than before.
fn tell<C>(held: &Held<C>, new: &Lent<C>, origin: &str) {
    if held.failure.is_some() {
        tracing::info!(origin, "there is a credential for storage again");
    }
    let before = held.lent.as_ref().map(|lent| &lent.place);
    if let Some(place) = new.place.as_ref().filter(|_| before != Some(&new.place)) {
        tracing::info!(origin, place, "the credential for storage was found");
    }
}

#[cfg(test)]
mod tests;
