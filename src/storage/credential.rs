//! Credentials that expire: renewed ahead of time by a task of their own, and never inside a request.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
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
}

/// Holds the credential that an [`Issuer`] gave out last.
#[derive(Debug)]
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

#[derive(Debug)]
struct Held<C> {
    issued: Option<Issued<C>>,
    /// Why there was none the last time that it was asked for.
    failure: Option<IssueError>,
    /// How often it was asked for.
    round: u64,
}

impl<C: Send + Sync + 'static> Keeper<C> {
    /// Asks `issuer` from now on for as long as this is held. It must be called inside a runtime.
    pub(super) fn start(issuer: impl Issuer<Credential = C>, instruments: Arc<OriginInstruments>) -> Arc<Self> {
        let (sender, held) = watch::channel(Held { issued: None, failure: None, round: 0 });
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
            .wait_for(|held| held.issued.is_some() || held.failure.is_some())
            .await
            .map_err(|_| StoreError::Abandoned)?;
        match (&held.issued, &held.failure) {
            (Some(issued), _) if !issued.is_over() => Ok(Arc::clone(&issued.credential)),
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
        let expires_at = self.held.borrow().issued.as_ref()?.expires_at?;
        Some(expires_at.duration_since(SystemTime::now()).unwrap_or_default())
    }
}

impl<C: fmt::Debug + Send + Sync + 'static> Credential for Keeper<C> {
    fn was_refused(&self) {
        self.renew_after_refusal();
    }

    fn trouble(&self) -> Option<String> {
        let held = self.held.borrow();
        match (&held.issued, &held.failure) {
            (Some(issued), _) if !issued.is_over() => None,
            (_, Some(failure)) => Some(failure.to_string()),
            _ => None,
        }
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

impl<C> Issued<C> {
    fn is_over(&self) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= SystemTime::now())
    }

    /// How long it is held before the next one is asked for.
    fn hold_for(&self) -> Duration {
        let Some(expires_at) = self.expires_at else { return HELD_WITHOUT_END };
        let left = expires_at.duration_since(SystemTime::now()).unwrap_or_default();
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
    while !sender.is_closed() {
        let late = || IssueError::Unavailable(format!("no answer within {ISSUE_TIMEOUT:?}").into());
        let issued = timeout(ISSUE_TIMEOUT, issuer.issue()).await.unwrap_or_else(|_| Err(late()));
        instruments.credential_renewed(issued.is_ok());
        let wait = match issued {
            Ok(issued) => {
                let wait = issued.hold_for();
                let failed_before = sender.borrow().failure.is_some();
                sender.send_modify(|held| *held = Held { issued: Some(issued), failure: None, round: held.round + 1 });
                if failed_before {
                    tracing::info!(origin = instruments.name(), "there is a credential for storage again");
                }
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;
    use crate::telemetry::Instruments;

    /// Gives out numbers, and from one on no more.
    #[derive(Debug)]
    struct Numbers {
        last: Arc<AtomicUsize>,
        ends_with: usize,
    }

    #[async_trait]
    impl Issuer for Numbers {
        type Credential = usize;

        async fn issue(&self) -> Result<Issued<usize>, IssueError> {
            let number = self.last.fetch_add(1, Ordering::SeqCst) + 1;
            tokio::task::yield_now().await;
            if number > self.ends_with {
                return Err(IssueError::Refused("no more numbers".into()));
            }
            Ok(Issued { credential: Arc::new(number), expires_at: None })
        }
    }

    /// A keeper of numbers, and how many were asked for.
    fn keeper(ends_with: usize) -> (Arc<Keeper<usize>>, Arc<AtomicUsize>) {
        let last = Arc::<AtomicUsize>::default();
        let instruments = Arc::new(Instruments::new().unwrap().origin("docs", &StoreError::RESULTS));
        (Keeper::start(Numbers { last: Arc::clone(&last), ends_with }, instruments), last)
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_of_refusals_is_one_renewal_and_everyone_gets_what_it_brought() {
        let (keeper, asked) = keeper(9);
        let first = keeper.current().await.unwrap();
        let others = join_all((0..100).map(|_| keeper.instead_of(&first))).await;
        assert!(others.into_iter().all(|other| *other.unwrap() == 2));
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        // Whoever still has the first one finds the second.
        assert_eq!(*keeper.instead_of(&first).await.unwrap(), 2);
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_again_at_once_is_a_denial_and_is_renewed_again_only_later() {
        let (keeper, asked) = keeper(9);
        let first = keeper.current().await.unwrap();
        let second = keeper.instead_of(&first).await.unwrap();
        for _ in 0..100 {
            assert!(matches!(keeper.instead_of(&second).await, Err(StoreError::Denied(_))));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        tokio::time::advance(BETWEEN_REFUSALS).await;
        assert_eq!(*keeper.instead_of(&second).await.unwrap(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn where_the_renewal_fails_readers_are_told_why() {
        let (keeper, _) = keeper(1);
        let first = keeper.current().await.unwrap();
        let Err(StoreError::Denied(cause)) = keeper.instead_of(&first).await else { panic!("there is another") };
        assert_eq!(cause.to_string(), "no more numbers");
        // Storage may take it elsewhere still: it is not over.
        assert_eq!(keeper.current().await.unwrap(), first);
    }
}
