//! Whether the folder could be written to. The kernel tells without a try.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;
use tokio::task::spawn_blocking;

use super::{Deed, Places, Trial, Verdict};

/// Files and folders that are asked about: a site's are much alike, and there may be very many.
const MOST_ASKED: usize = 2000;

/// The folder.
pub(super) struct Folder(pub(super) PathBuf);

#[async_trait]
impl Trial for Folder {
    fn deeds(&self) -> &'static [Deed] {
        // Whoever may write in a folder may delete there as well.
        &[Deed::Overwrite, Deed::Write, Deed::Delete]
    }

    async fn attempt(&self, deed: Deed, _: &Places) -> Verdict {
        let root = self.0.clone();
        let asked = spawn_blocking(move || ask(&root, deed != Deed::Overwrite));
        asked.await.unwrap_or_else(|error| Verdict::Untold(error.to_string()))
    }
}

/// Whether one of the folders below `root`, or one of the files, may be written to. Links are not followed: what they lead
/// to is not read either where it lies outside.
fn ask(root: &Path, folders: bool) -> Verdict {
    let mut waiting = vec![root.to_owned()];
    let mut asked = 0;
    while let Some(folder) = waiting.pop() {
        if folders {
            asked += 1;
            match accessat(CWD, &folder, Access::WRITE_OK, AtFlags::EACCESS) {
                Ok(()) => return Verdict::Allowed,
                Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) => {}
                Err(error) => return Verdict::Untold(format!("{}: {error}", folder.display())),
            }
        }
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                waiting.push(entry.path());
            } else if !folders && kind.is_file() {
                asked += 1;
                if accessat(CWD, entry.path(), Access::WRITE_OK, AtFlags::EACCESS).is_ok() {
                    return Verdict::Allowed;
                }
            }
            if asked + waiting.len() >= MOST_ASKED {
                return Verdict::Denied;
            }
        }
    }
    Verdict::Denied
}
