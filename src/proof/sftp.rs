//! SFTP. Here are the requests that would change something, which the client for reading does not know.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;

use super::{Deed, Places, Trial, Verdict};
use crate::chain::chain;
use crate::storage::raw::{AnyRequest, Said};
use crate::storage::{SftpOptions, StoreError};

/// Files that are tried, and the folders that they lie in: a site's are much alike, and there may be very many.
const MOST_TRIED: usize = 50;

/// The protocol's numbers (draft-ietf-secsh-filexfer-02, sections 3 and 6.3).
const OPEN: u8 = 3;
const REMOVE: u8 = 13;
const TO_WRITE: u32 = 2;
const NEW_TO_WRITE: u32 = TO_WRITE | 8 | 32;

/// The folder, as its user sees it.
pub(super) struct Account(AnyRequest);

impl Account {
    /// The one in `options`.
    pub(super) fn new(options: &SftpOptions, timeout: Duration) -> Self {
        Self(AnyRequest::new(options, timeout))
    }
}

#[async_trait]
impl Trial for Account {
    fn deeds(&self) -> &'static [Deed] {
        // Each file's own permissions tell who reads it: there is no one right to read outside.
        &[Deed::Overwrite, Deed::Write, Deed::Delete, Deed::ListOutside]
    }

    fn has_outside(&self, _: &Places) -> bool {
        // Above its root is another folder, or there is none: that is seen.
        true
    }

    async fn attempt(&self, deed: Deed, places: &Places) -> Verdict {
        let tried = match deed {
            Deed::Overwrite => overwrite(&self.0, places).await,
            Deed::Write => write(&self.0, places).await,
            Deed::Delete | Deed::DeleteVersion => delete(&self.0, places).await,
            Deed::ListOutside | Deed::ReadOutside => list_above(&self.0).await,
        };
        tried.unwrap_or_else(|error| Verdict::Untold(chain(&error).to_string()))
    }
}

/// Opens files that are there for writing, and gives them back as they are.
async fn overwrite(server: &AnyRequest, places: &Places) -> Result<Verdict, StoreError> {
    for file in server.files(&places.root, MOST_TRIED).await? {
        match open(server, &server.path(&file), TO_WRITE).await? {
            Said::Opened(_) | Said::Done => return Ok(Verdict::Allowed),
            // Removed meanwhile.
            Said::Denied | Said::Absent => {}
            Said::Failed(reason) => return Ok(Verdict::Untold(reason)),
        }
    }
    Ok(Verdict::Denied)
}

/// Makes a file in each of the folders, until that succeeds once, and removes it again.
async fn write(server: &AnyRequest, places: &Places) -> Result<Verdict, StoreError> {
    let mut folders = BTreeSet::from([places.root.clone()]);
    for file in server.files(&places.root, MOST_TRIED).await? {
        let above = file.match_indices('/').filter_map(|(at, _)| file.get(..at));
        folders.extend(above.filter(|folder| folder.len() > places.root.len()).map(str::to_owned));
    }
    for folder in folders {
        let path = server.path(&within(&folder, places));
        match open(server, &path, NEW_TO_WRITE).await? {
            Said::Opened(file) => {
                drop(file);
                let removed = matches!(remove(server, &path).await, Ok(Said::Done));
                return Ok(if removed { Verdict::Allowed } else { Verdict::Left(path) });
            }
            Said::Denied => {}
            Said::Done => return Ok(Verdict::Left(path)),
            Said::Absent => return Ok(Verdict::Untold(format!("there is no folder {folder:?} below the root"))),
            Said::Failed(reason) => return Ok(Verdict::Untold(reason)),
        }
    }
    Ok(Verdict::Denied)
}

/// Removes what is not there. A server that may not remove anything says so before it looks; any other says that there is no
/// such file, also where the folder's permissions would not have let it: those show with a file of our own.
async fn delete(server: &AnyRequest, places: &Places) -> Result<Verdict, StoreError> {
    match remove(server, &server.path(&within(&places.root, places))).await? {
        Said::Denied => return Ok(Verdict::Denied),
        Said::Failed(reason) => return Ok(Verdict::Untold(reason)),
        Said::Absent | Said::Done | Said::Opened(_) => {}
    }
    Ok(match write(server, places).await? {
        Verdict::Denied => Verdict::Untold(
            "the server answers that there is no such file, which it may do whether it could be removed or not; one that \
             runs `internal-sftp -R` refuses it"
                .to_owned(),
        ),
        verdict => verdict,
    })
}

/// Lists the folders above the root. One that holds nothing but the way down to it tells nothing.
async fn list_above(server: &AnyRequest) -> Result<Verdict, StoreError> {
    let root = server.real_root().await?;
    let mut path = root.strip_suffix(b"/").unwrap_or(&root);
    while let Some(at) = path.iter().rposition(|byte| *byte == b'/') {
        let (above, below) = path.split_at_checked(at).unwrap_or_default();
        let below = below.strip_prefix(b"/").unwrap_or(below);
        let names = server.names(if above.is_empty() { b"/" } else { above }).await;
        let is_way = |name: &[u8]| name == below || matches!(name, b"." | b"..");
        match names {
            Ok(names) if names.iter().any(|name| !is_way(name)) => return Ok(Verdict::Allowed),
            Ok(_) | Err(StoreError::Denied(_) | StoreError::Absent) => {}
            Err(error) => return Err(error),
        }
        path = above;
    }
    Ok(Verdict::Denied)
}

/// The throw-away name right in a folder: below one that is not there nothing would be refused.
fn within(folder: &str, places: &Places) -> String {
    let name = places.throw_away.strip_prefix(&places.root).unwrap_or(&places.throw_away);
    let name = name.trim_start_matches('/').replace('/', "-");
    if folder.is_empty() { name } else { format!("{folder}/{name}") }
}

async fn open(server: &AnyRequest, path: &str, how: u32) -> Result<Said, StoreError> {
    const NO_ATTRIBUTES: u32 = 0;
    server.send(OPEN, &[&string(path)[..], &how.to_be_bytes(), &NO_ATTRIBUTES.to_be_bytes()].concat()).await
}

async fn remove(server: &AnyRequest, path: &str) -> Result<Said, StoreError> {
    server.send(REMOVE, &string(path)).await
}

fn string(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), text.as_bytes()].concat()
}
