//! A folder on an SFTP server.
//!
//! A page is read in two round trips: the file is opened and its real path asked for; then it is looked at, its first parts
//! are read and it is looked at again. That it is given back nobody waits for. [`pool`] keeps connections and the
//! sessions on them, [`session`] sends requests without waiting for each other's answers, and [`wire`] knows no request
//! that would change anything. What is in [`any_request`] none of these use.

mod any_request;
mod body;
mod connection;
mod host_keys;
mod options;
mod pool;
mod session;
mod user_key;
mod walk;
mod wire;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures_util::StreamExt;

use self::body::{Reading, attributes_of};
use self::pool::{Pool, find_root};
use self::session::{Open, Pending, Reply, Session, Turn};
use self::walk::Names;
use self::wire::{Ask, Attributes, Kind, Status};
use super::{DocStore, GetOptions, Object, ObjectMeta, StoreError};
use crate::docs::ObjectName;
use crate::http::etag::ETag;
use crate::http::negotiation::Coding;

pub use any_request::{AnyRequest, Said};
pub use host_keys::{HostKey, HostKeyProblem, HostKeys};
pub use options::{SftpCredentials, SftpOptions};
pub use user_key::{UserKey, UserKeyProblem};

/// A file that was written less than this ago may be written once more in the same second, to the same length, and nothing
/// in the protocol would show it: times are whole seconds. Server's and our clock may differ by a few.
const UNSETTLED: Duration = Duration::from_secs(10);

/// A folder on an SFTP server.
///
/// Symbolic links are followed where they lead to something below the root, as in a local folder. It is the server that
/// follows them, and it tells where a path leads while it opens it, so that this costs no round trip; whoever can put
/// links there can swap one between the two. The boundary that nobody gets around is the account's own (`ChrootDirectory`).
#[derive(Debug)]
pub struct SftpStore {
    pool: Pool,
    root: String,
}

impl SftpStore {
    /// A store of what lies below `options.root`. It connects once somebody reads; `timeout` bounds whatever is asked.
    pub fn new(options: SftpOptions, timeout: Duration) -> Self {
        let root = options.root.clone();
        Self { pool: Pool::new(options, timeout), root }
    }

    fn path(&self, key: &str) -> String {
        match (self.root.as_str(), key) {
            ("", _) => key.to_owned(),
            (_, "") => self.root.clone(),
            (root, _) if root.ends_with('/') => format!("{root}{key}"),
            (root, _) => format!("{root}/{key}"),
        }
    }

    /// Does `work` in a session, and once more in another where that one was lost meanwhile: a server that was started
    /// anew shows it by ending those that it had.
    async fn attempt<T, W>(&self, work: impl Fn(Turn) -> W + Send) -> Result<T, StoreError>
    where
        W: Future<Output = Result<T, StoreError>> + Send,
    {
        let turn = self.pool.enter().await?;
        let session = std::sync::Arc::clone(&turn.session);
        match work(turn).await {
            Err(StoreError::Unavailable(_)) if session.is_lost() => work(self.pool.enter().await?).await,
            result => result,
        }
    }

    /// Opens a file or folder, and makes sure that it lies below the root.
    async fn open(&self, session: &Session, ask: Ask<'_>, path: &str) -> Result<Open, StoreError> {
        let opening = session.ask(ask)?;
        let real_path = session.ask(Ask::RealPath(folder(path)))?;
        match opening.await? {
            Reply::Handle(open) => {
                self.confine(session, real_path, path).await?;
                Ok(open)
            }
            Reply::Status(status) => Err(self.missing(session, status, path).await),
            _ => Err(unexpected()),
        }
    }

    async fn look(&self, session: &Session, path: &str) -> Result<ObjectMeta, StoreError> {
        let looking = session.ask(Ask::Stat(path.as_bytes()))?;
        let real_path = session.ask(Ask::RealPath(path.as_bytes()))?;
        let attributes = match looking.await? {
            Reply::Status(status) => return Err(self.missing(session, status, path).await),
            reply => attributes_of(reply)?,
        };
        self.confine(session, real_path, path).await?;
        object_meta(&attributes, SystemTime::now())
    }

    /// Refuses what a symbolic link leads out of the root to.
    async fn confine(&self, session: &Session, real_path: Pending, path: &str) -> Result<(), StoreError> {
        let real_path = match real_path.await? {
            Reply::Names(mut names) if !names.is_empty() => names.swap_remove(0).name,
            Reply::Status(status) => return Err(error(status)),
            _ => return Err(unexpected()),
        };
        if is_below(&session.real_root(), &real_path) {
            return Ok(());
        }
        // The root itself may be a link, and lead to another folder since.
        find_root(session, &self.root).await?;
        if is_below(&session.real_root(), &real_path) {
            return Ok(());
        }
        tracing::warn!(path, "a symbolic link leads out of techdocs.publisher.sftp.root: it is not followed");
        Err(StoreError::Absent)
    }

    /// Why there is nothing at a path: where the root is not there either, as while it is not mounted, it is not the page
    /// that is missing.
    async fn missing(&self, session: &Session, status: Status, path: &str) -> StoreError {
        let is_absent = status.code == Status::NO_SUCH_FILE
            || is_too_long(path) && matches!(status.code, Status::FAILURE | Status::BAD_MESSAGE);
        if !is_absent {
            return error(status);
        }
        let root = async { session.ask(Ask::Stat(folder(&self.root)))?.await };
        match root.await {
            Ok(Reply::Attributes(Attributes { kind: Kind::Folder | Kind::Untold, .. })) => StoreError::Absent,
            Ok(Reply::Status(status)) if status.code != Status::NO_SUCH_FILE => error(status),
            Ok(_) => no_root(&self.root),
            Err(error) => error,
        }
    }

    async fn open_folder(&self, session: &Session, key: &str) -> Result<Option<Open>, StoreError> {
        let path = self.path(key);
        match self.open(session, Ask::OpenFolder(folder(&path)), &path).await {
            Ok(open) => Ok(Some(open)),
            Err(StoreError::Absent) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl DocStore for SftpStore {
    async fn stat(&self, name: &ObjectName<'_>) -> Result<ObjectMeta, StoreError> {
        let path = &self.path(name.as_str());
        self.attempt(|turn| async move { self.look(&turn.session, path).await }).await
    }

    async fn get(&self, name: &ObjectName<'_>, options: &GetOptions) -> Result<Object, StoreError> {
        let path = &self.path(name.as_str());
        let work = |turn: Turn| async move {
            if let Some(known) = &options.if_none_match {
                // Most have not changed, and then this is all; a weak tag is never sure.
                let found = self.look(&turn.session, path).await?.etag;
                if found.is_some_and(|found| found.strongly_equals(Coding::Identity, known.as_str().as_bytes())) {
                    return Err(StoreError::NotModified);
                }
            }
            let file = self.open(&turn.session, Ask::Open(path.as_bytes()), path).await?;
            let (meta, reading) = Reading::begin(turn, file, options).await?;
            Ok(Object { meta, body: reading.into_stream().boxed() })
        };
        self.attempt(work).await
    }

    async fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        let work = |turn: Turn| async move {
            let Some(folder) = self.open_folder(&turn.session, prefix).await? else { return Ok(Vec::new()) };
            walk::files(Names::new(&turn.session, folder), prefix, limit, |key| self.path(key)).await
        };
        self.attempt(work).await
    }

    async fn folders(&self, parent: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        let work = |turn: Turn| async move {
            let Some(folder) = self.open_folder(&turn.session, parent).await? else { return Ok(Vec::new()) };
            walk::folders(Names::new(&turn.session, folder), limit).await
        };
        self.attempt(work).await
    }
}

/// A path as the protocol names it; the folder that the user is logged in to has a name of its own.
fn folder(path: &str) -> &[u8] {
    if path.is_empty() { b"." } else { path.as_bytes() }
}

fn is_below(root: &[u8], path: &[u8]) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || root.ends_with(b"/") || rest.starts_with(b"/"))
}

/// Whether a name is longer than those that file systems hold; what servers answer to one differs.
fn is_too_long(path: &str) -> bool {
    const NAME: usize = 255;
    const PATH: usize = 4095;
    path.len() > PATH || path.split('/').any(|name| name.len() > NAME)
}

/// What is known of a file at this time.
fn object_meta(attributes: &Attributes, now: SystemTime) -> Result<ObjectMeta, StoreError> {
    // A folder, a pipe or a device is no document.
    if !matches!(attributes.kind, Kind::File | Kind::Untold) {
        return Err(StoreError::Absent);
    }
    let size =
        attributes.size.ok_or_else(|| StoreError::unavailable("the SFTP server does not tell how long files are"))?;
    let modified = attributes.modified.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds.into()));
    let etag = attributes.modified.and_then(|seconds| {
        let tag = format!("{seconds:x}-{size:x}");
        // Of a file that may still be written to within the same second the tag is weak, and so it is read again when it
        // is next looked at, and not only compared.
        let has_settled =
            modified.and_then(|modified| now.duration_since(modified).ok()).is_some_and(|age| age >= UNSETTLED);
        ETag::from_store(&if has_settled { tag } else { format!("W/{tag}") })
    });
    Ok(ObjectMeta { size, etag, last_modified: modified })
}

/// What the server's refusal means for a reader.
fn error(status: Status) -> StoreError {
    match status.code {
        Status::NO_SUCH_FILE => StoreError::Absent,
        Status::PERMISSION_DENIED => StoreError::denied(status),
        _ => StoreError::unavailable(status),
    }
}

fn no_root(root: &str) -> StoreError {
    StoreError::unavailable(format!("techdocs.publisher.sftp.root: there is no folder {root:?} on the server"))
}

fn unexpected() -> StoreError {
    StoreError::unavailable("the SFTP server answered something that was not asked")
}
