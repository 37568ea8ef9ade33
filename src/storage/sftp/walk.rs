//! Looking for what there is.

use super::session::{Reply, Session};
use super::wire::{Ask, Kind, Status};
use super::{error, unexpected};
use crate::storage::StoreError;

/// Folders that are still to be looked into. A tree that has more of them at a time is not walked whole.
const MOST_AHEAD: usize = 10_000;

/// What there is in a folder, one after the other.
pub(super) struct Names<'a> {
    session: &'a Session,
    folder: super::session::Open,
    batch: std::vec::IntoIter<super::wire::Entry>,
}

impl<'a> Names<'a> {
    pub(super) fn new(session: &'a Session, folder: super::session::Open) -> Self {
        Self { session, folder, batch: Vec::new().into_iter() }
    }

    /// The next name that a URL could lead to.
    async fn next(&mut self) -> Result<Option<(String, Kind)>, StoreError> {
        loop {
            for entry in self.batch.by_ref() {
                let name = std::str::from_utf8(&entry.name).ok();
                let name = name.filter(|name| !matches!(*name, "" | "." | "..") && !name.contains(['/', '\0']));
                if let Some(name) = name {
                    return Ok(Some((name.to_owned(), entry.kind)));
                }
            }
            match self.session.ask(Ask::ReadFolder(self.folder.handle()))?.await? {
                Reply::Names(names) => self.batch = names.into_iter(),
                Reply::Status(Status { code: Status::END, .. }) => return Ok(None),
                Reply::Status(status) => return Err(error(status)),
                _ => return Err(unexpected()),
            }
        }
    }
}

/// The names of the folders in a folder; as everywhere, symbolic links are not followed in search of what there is.
pub(super) async fn folders(mut names: Names<'_>, limit: usize) -> Result<Vec<String>, StoreError> {
    let mut found = Vec::new();
    while found.len() < limit
        && let Some((name, kind)) = names.next().await?
    {
        if kind == Kind::Folder {
            found.push(name);
        }
    }
    Ok(found)
}

/// The keys of files below the folder `prefix`, whose names are given; `path_of` says where a key's folder is.
pub(super) async fn files(
    names: Names<'_>,
    prefix: &str,
    limit: usize,
    path_of: impl Fn(&str) -> String,
) -> Result<Vec<String>, StoreError> {
    let mut found = Vec::new();
    let mut ahead = Vec::new();
    let session = names.session;
    let mut next = Some((prefix.to_owned(), names));
    while let Some((folder, mut names)) = next.take() {
        while found.len() < limit
            && let Some((name, kind)) = names.next().await?
        {
            let key = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            match kind {
                Kind::File => found.push(key),
                Kind::Folder if ahead.len() < MOST_AHEAD => ahead.push(key),
                Kind::Folder | Kind::Other | Kind::Untold => {}
            }
        }
        while found.len() < limit
            && next.is_none()
            && let Some(key) = ahead.pop()
        {
            match session.ask(Ask::OpenFolder(path_of(&key).as_bytes()))?.await? {
                Reply::Handle(folder) => next = Some((key, Names::new(session, folder))),
                // Removed meanwhile.
                Reply::Status(Status { code: Status::NO_SUCH_FILE, .. }) => {}
                Reply::Status(status) => return Err(error(status)),
                _ => return Err(unexpected()),
            }
        }
    }
    Ok(found)
}
