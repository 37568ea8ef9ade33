//! The name of one file in storage.

use std::fmt;
use std::hash::{Hash, Hasher};

/// The file that TechDocs' publisher writes beside the pages.
pub(super) const METADATA_FILE: &str = "techdocs_metadata.json";

/// The key of one file of one site, `{root}/{namespace}/{kind}/{name}/{path}`.
///
/// It can only come from a [`Locator`](super::Locator), so whoever holds one knows that it lies inside the folder of
/// the entity that it names: no `.` or `..` segment, no empty segment, no control character.
#[derive(Clone)]
pub struct StorageKey {
    text: Box<str>,
    /// Where the entity's part begins, behind the root path and its slash.
    entity_start: usize,
    /// Where the entity's part ends; a slash stands there, and the file's path behind it.
    entity_end: usize,
}

impl StorageKey {
    /// Puts a key together; `text` must hold a slash at `entity_end` and a path behind it.
    pub(super) fn new(text: String, entity_start: usize, entity_end: usize) -> Self {
        Self { text: text.into_boxed_str(), entity_start, entity_end }
    }

    /// The whole key.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The file's path inside its site.
    pub fn file(&self) -> &str {
        self.text.get(self.entity_end + 1..).unwrap_or_default()
    }

    /// The site that the file belongs to, `{namespace}/{kind}/{name}`.
    pub fn entity(&self) -> &str {
        self.text.get(self.entity_start..self.entity_end).unwrap_or_default()
    }

    /// Whether it is the file that TechDocs' publisher writes beside the pages of a site.
    pub fn is_metadata(&self) -> bool {
        self.file() == METADATA_FILE
    }

    /// The file's name: the last segment of its path.
    pub fn file_name(&self) -> &str {
        self.text.rsplit('/').next().unwrap_or_default()
    }
}

impl PartialEq for StorageKey {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for StorageKey {}

impl Hash for StorageKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Display for StorageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for StorageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StorageKey({:?})", self.text)
    }
}
