//! A few connections with a few sessions on each, opened as they are needed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, Shared};
use tokio::time::{Instant, timeout};

use super::connection::Connection;
use super::session::{Reply, Session, Turn};
use super::wire::Ask;
use super::{SftpOptions, error, folder, no_root, unexpected};
use crate::storage::StoreError;

/// With so many operations in the emptiest session, another is opened beside it.
const CROWDED: usize = 2;

/// How long the server is left in peace after it refused a login or another session: doubled each time, so that a wrong
/// password is not tried until the account is locked.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Sessions to choose from.
#[derive(Debug, Clone)]
pub(super) struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: SftpOptions,
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    sessions: Vec<Arc<Session>>,
    /// The one session that is being opened; all who have none wait for it.
    opening: Option<Opening>,
    /// Times in a row that we were refused, and the last of them.
    refusals: u32,
    refusal: Option<StoreError>,
    /// When the next may be opened, where there is one already or we were refused.
    not_before: Instant,
}

type Opening = Shared<BoxFuture<'static, Result<Arc<Session>, StoreError>>>;

impl Pool {
    /// A pool without sessions. `patience` is how long the server may take for anything.
    pub(super) fn new(options: SftpOptions, patience: Duration) -> Self {
        let state =
            State { sessions: Vec::new(), opening: None, refusals: 0, not_before: Instant::now(), refusal: None };
        Self(Arc::new(Inner { options, patience, state: Mutex::new(state) }))
    }

    /// A place in the session that has the most to spare, or in a new one.
    pub(super) async fn enter(&self) -> Result<Turn, StoreError> {
        let opening = match self.choose()? {
            Choice::Session(session) => return session.enter().await,
            Choice::Opening(opening) => opening,
        };
        opening.await?.enter().await
    }

    fn choose(&self) -> Result<Choice, StoreError> {
        let inner = &self.0;
        let mut state = inner.state();
        // What is dropped here tells its own tasks; nothing waits.
        state.sessions.retain(|session| !session.is_lost());
        let may_open = Instant::now() >= state.not_before;
        let Some(session) = state.sessions.iter().min_by_key(|session| session.load()).cloned() else {
            return match state.refusal.clone() {
                Some(refusal) if !may_open => Err(refusal),
                _ => Ok(Choice::Opening(inner.opening(&mut state, None))),
            };
        };
        if session.load() >= CROWDED
            && may_open
            && let Some(place) = state.place_for_another(&inner.options)
        {
            // Whoever comes later finds it.
            drop(inner.opening(&mut state, place));
        }
        Ok(Choice::Session(session))
    }
}

enum Choice {
    Session(Arc<Session>),
    Opening(Opening),
}

impl State {
    /// The connection that another session may be opened on, or `None` for a new one; nothing where there are enough.
    fn place_for_another(&self, options: &SftpOptions) -> Option<Option<Arc<Connection>>> {
        let mut connections: Vec<&Arc<Connection>> = Vec::new();
        for session in &self.sessions {
            if !connections.iter().any(|known| Arc::ptr_eq(known, session.connection())) {
                connections.push(session.connection());
            }
        }
        let with_room = connections.iter().find(|connection| connection.has_room());
        match with_room {
            Some(connection) => Some(Some(Arc::clone(connection))),
            None => (connections.len() < options.connections).then_some(None),
        }
    }

    fn opened(&mut self, result: &Result<Arc<Session>, StoreError>) {
        self.opening = None;
        match result {
            Ok(session) => {
                self.sessions.push(Arc::clone(session));
                self.refusals = 0;
                self.refusal = None;
            }
            Err(error) => {
                // A server that is down may be asked for its first session whenever somebody wants to read: whoever calls
                // us knows how to leave one alone.
                let is_refusal = matches!(error, StoreError::Denied(_));
                let doublings = if is_refusal { self.refusals.min(10) } else { 0 };
                self.not_before = Instant::now() + FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
                self.refusals = self.refusals.saturating_add(u32::from(is_refusal));
                self.refusal = is_refusal.then(|| error.clone());
            }
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The opening of another session, begun here or before. It goes on whoever waits for it.
    fn opening(self: &Arc<Self>, state: &mut State, connection: Option<Arc<Connection>>) -> Opening {
        if let Some(opening) = &state.opening {
            return opening.clone();
        }
        let inner = Arc::clone(self);
        let task = tokio::spawn(async move {
            let result = inner.open_in_time(connection).await;
            inner.state().opened(&result);
            result
        });
        let opening = async move { task.await.unwrap_or(Err(StoreError::Abandoned)) }.boxed().shared();
        state.opening = Some(opening.clone());
        opening
    }

    async fn open_in_time(&self, connection: Option<Arc<Connection>>) -> Result<Arc<Session>, StoreError> {
        match timeout(self.patience, self.open(connection.clone())).await {
            Ok(result) => result,
            Err(_) => {
                if let Some(connection) = connection {
                    connection.line.cut();
                }
                let patience = self.patience;
                Err(StoreError::unavailable(format!("the SFTP server opened no session within {patience:?}")))
            }
        }
    }

    async fn open(&self, connection: Option<Arc<Connection>>) -> Result<Arc<Session>, StoreError> {
        let connection = match connection {
            Some(connection) => connection,
            None => Arc::new(Connection::open(&self.options, self.patience).await?),
        };
        let session = connection.begin_session(self.patience).await?;
        find_root(&session, &self.options.root).await?;
        Ok(Arc::new(session))
    }
}

/// Asks where the root really is, and remembers it.
pub(super) async fn find_root(session: &Session, root: &str) -> Result<(), StoreError> {
    match session.ask(Ask::RealPath(folder(root)))?.await? {
        Reply::Names(mut names) if !names.is_empty() => {
            session.set_real_root(names.swap_remove(0).name);
            Ok(())
        }
        Reply::Status(status) => Err(match error(status) {
            StoreError::Absent => no_root(root),
            other => other,
        }),
        _ => Err(unexpected()),
    }
}
