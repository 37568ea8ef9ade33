//! Files of a configuration, read within bounds.

use std::io::{ErrorKind, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// The largest file that is read, a configuration or one that it refers to. Backstage's own are of some 10 KB; past
/// this it is a wrong path.
const LARGEST_FILE: u64 = 1 << 20;
/// Files that one configuration may refer to, each time counted. Includes that multiply end here.
const MOST_FILES: usize = 256;

/// Reads files until there were too many.
pub(super) struct Files<'e> {
    /// The working directory, which names are shown relative to.
    directory: &'e Path,
    left: usize,
}

impl<'e> Files<'e> {
    pub(super) fn new(directory: &'e Path) -> Self {
        Self { directory, left: MOST_FILES }
    }

    /// Whether no more are read.
    pub(super) fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// The text of a file. Errors are worded to stand after its name.
    pub(super) fn read(&mut self, path: &Path) -> Result<String, String> {
        self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| format!("is not read: the configuration refers to more than {MOST_FILES} files"))?;
        let unreadable = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound => "does not exist".to_owned(),
            ErrorKind::IsADirectory => "is a folder, not a file".to_owned(),
            _ => format!("can't be read: {error}"),
        };
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let mut bytes = Vec::new();
        // One byte past the limit, so that what is too large is told from what just fits.
        file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > LARGEST_FILE {
            return Err(format!("is larger than {LARGEST_FILE} bytes"));
        }
        String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())
    }

    /// A file as the operator would name it: relative to the working directory where it is inside.
    pub(super) fn display(&self, path: &Path) -> Arc<str> {
        path.strip_prefix(self.directory).unwrap_or(path).to_string_lossy().into()
    }
}

/// `path.resolve`: `.` and `..` are taken out by name, as upstream does, so that messages are readable.
pub(super) fn resolve(directory: &Path, path: &str) -> PathBuf {
    let mut resolved = PathBuf::new();
    for component in directory.join(path).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                resolved.pop();
            }
            other => resolved.push(other),
        }
    }
    resolved
}
