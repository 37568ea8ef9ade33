//! Credentials that expire: renewed ahead of time by a task of their own, and never inside a request.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
}

/// What a store may say to, and ask of, the credential that its client shows.
pub(super) trait Credential: fmt::Debug + Send + Sync {
    /// Storage has refused it: perhaps it was revoked, and another one is to be had.
    fn was_refused(&self);

    /// Why there is none that could be shown, where that is so.
    fn trouble(&self) -> Option<String>;
}

/// Holds the credential that an [`Issuer`] gave out last.
pub(super) struct Keeper<C> {
    held: watch::Receiver<Held<C>>,
    renew: Arc<Notify>,
    created_at: Instant,
    /// Milliseconds after that, when a refusal last had it renewed.
    refused_at: AtomicU64,
}

struct Held<C> {
    issued: Option<Issued<C>>,
    /// Why there was none the last time that it was asked for.
    failure: Option<IssueError>,
}

impl<C: Send + Sync + 'static> Keeper<C> {
    /// Asks `issuer` from now on for as long as this is held. It must be called inside a runtime.
    pub(super) fn start(issuer: impl Issuer<Credential = C>, instruments: Arc<OriginInstruments>) -> Arc<Self> {
        let (sender, held) = watch::channel(Held { issued: None, failure: None });
        let keeper = Arc::new(Self {
            held,
            renew: Arc::new(Notify::new()),
            created_at: Instant::now(),
            refused_at: AtomicU64::new(0),
        });
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
            (_, Some(IssueError::Refused(cause))) => Err(StoreError::denied(&**cause)),
            // An expired one is as good as none, whoever is to blame.
            (_, Some(IssueError::Unavailable(cause))) => Err(StoreError::unavailable(&**cause)),
            (_, None) => Err(StoreError::unavailable("the credential has expired and is being renewed")),
        }
    }

    fn expires_in(&self) -> Option<Duration> {
        let expires_at = self.held.borrow().issued.as_ref()?.expires_at?;
        Some(expires_at.duration_since(SystemTime::now()).unwrap_or_default())
    }
}

/// Without the credential: some clients' own types would print it.
impl<C> fmt::Debug for Keeper<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.held.borrow();
        let expires_at = held.issued.as_ref().map(|issued| issued.expires_at);
        f.debug_struct("Keeper")
            .field("expires_at", &expires_at)
            .field("failure", &held.failure)
            .finish_non_exhaustive()
    }
}

impl<C: Send + Sync + 'static> Credential for Keeper<C> {
    fn was_refused(&self) {
        // From one on, so that zero means never.
        let now = u64::try_from(self.created_at.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let spacing = BETWEEN_REFUSALS.as_millis() as u64;
        let claimed = self.refused_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
            (last == 0 || now.saturating_sub(last) >= spacing).then_some(now)
        });
        if claimed.is_ok() {
            self.renew.notify_one();
        }
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
                sender.send_replace(Held { issued: Some(issued), failure: None });
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
                sender.send_modify(|held| held.failure = Some(failure));
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
