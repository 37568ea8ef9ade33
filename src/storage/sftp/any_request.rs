//! Any request at all, for the proof that the account may do nothing but read. What it would take to write is written there
//! and not here.

use std::time::Duration;

use bytes::Bytes;

use super::session::{Open, Reply};
use super::wire::{Ask, Status};
use super::{SftpOptions, SftpStore, error, unexpected};
use crate::storage::{DocStore, StoreError};

/// A client that anything can be asked through.
#[derive(Debug)]
pub struct AnyRequest {
    /// With one session, so that requests are heeded in their order; one that is refused is not begun anew too often.
    store: SftpStore,
}

/// What the server says to a request.
#[derive(Debug)]
pub enum Said {
    /// It was done.
    Done,
    /// A file is open, and given back when this is dropped.
    Opened(Opened),
    /// It is not allowed, or nothing that this server can do.
    Denied,
    /// There is no such file or folder.
    Absent,
    /// It went wrong in some other way.
    Failed(String),
}

/// A file that the server holds open.
#[derive(Debug)]
pub struct Opened {
    _open: Open,
}

impl AnyRequest {
    /// It connects once something is asked; `timeout` bounds whatever that is.
    pub fn new(options: &SftpOptions, timeout: Duration) -> Self {
        Self { store: SftpStore::new(SftpOptions { connections: 1, channels: 1, ..options.clone() }, timeout) }
    }

    /// The path of a key.
    pub fn path(&self, key: &str) -> String {
        self.store.path(key)
    }

    /// The root's own path, without symbolic links.
    ///
    /// # Errors
    /// Where the server is not there, is not the right one, or does not let us in.
    pub async fn real_root(&self) -> Result<Bytes, StoreError> {
        Ok(self.store.pool.enter().await?.session.real_root())
    }

    /// The keys of some files below a folder, at most `limit`.
    ///
    /// # Errors
    /// As for any store.
    pub async fn files(&self, below: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        self.store.list(below, limit).await
    }

    /// The first names in the folder of this path.
    ///
    /// # Errors
    /// [`StoreError::Denied`] where it may not be listed.
    pub async fn names(&self, path: &[u8]) -> Result<Vec<Bytes>, StoreError> {
        let turn = self.store.pool.enter().await?;
        let session = &turn.session;
        let open = match session.ask(Ask::OpenFolder(path))?.await? {
            Reply::Handle(open) => open,
            Reply::Status(status) => return Err(error(status)),
            _ => return Err(unexpected()),
        };
        match session.ask(Ask::ReadFolder(open.handle()))?.await? {
            Reply::Names(names) => Ok(names.into_iter().map(|entry| entry.name).collect()),
            Reply::Status(Status { code: Status::END, .. }) => Ok(Vec::new()),
            Reply::Status(status) => Err(error(status)),
            _ => Err(unexpected()),
        }
    }

    /// Sends a packet of this kind, with this behind its number.
    ///
    /// # Errors
    /// Where the connection is lost before there is an answer.
    pub async fn send(&self, kind: u8, body: &[u8]) -> Result<Said, StoreError> {
        let turn = self.store.pool.enter().await?;
        Ok(match turn.session.ask_anything(kind, body)?.await? {
            Reply::Handle(open) => Said::Opened(Opened { _open: open }),
            Reply::Status(status) => match status.code {
                Status::OK => Said::Done,
                Status::PERMISSION_DENIED | Status::UNSUPPORTED => Said::Denied,
                Status::NO_SUCH_FILE => Said::Absent,
                _ => Said::Failed(status.to_string()),
            },
            _ => return Err(unexpected()),
        })
    }
}
