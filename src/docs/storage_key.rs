//! The name of one file in storage.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};

/// The file that TechDocs' publisher writes beside the pages.
pub(super) const METADATA_FILE: &str = "techdocs_metadata.json";

/// The key of one file of one site, `{namespace}/{kind}/{name}/{path}`, as seen from the root path of whichever store
/// holds it; a [`Layout`](super::Layout) says where it lies there.
///
/// It can only come from a [`Locator`](super::Locator), so whoever holds one knows that it lies inside the folder of
/// the entity that it names: no `.` or `..` segment, no empty segment, no control character.
#[derive(Clone)]
pub struct StorageKey {
    text: Box<str>,
    /// Where the entity's part ends; a slash stands there, and the file's path behind it.
    entity_end: u32,
}

impl StorageKey {
    /// Puts a key together; `text` must hold a slash at `entity_end` and a path behind it.
    pub(super) fn new(text: String, entity_end: usize) -> Self {
        // No request has a path of 4 GiB; of such a key no part would be known.
        Self { text: text.into_boxed_str(), entity_end: u32::try_from(entity_end).unwrap_or(u32::MAX) }
    }

    /// The whole key.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The file's path inside its site.
    pub fn file(&self) -> &str {
        self.text.get(self.entity_end as usize + 1..).unwrap_or_default()
    }

    /// The site that the file belongs to, `{namespace}/{kind}/{name}`.
    pub fn site(&self) -> &str {
        self.text.get(..self.entity_end as usize).unwrap_or_default()
    }

    /// The key of the file that TechDocs' publisher writes beside the pages of the same site.
    pub fn metadata_of_site(&self) -> Self {
        self.beside(METADATA_FILE)
    }

    /// The key of another file of the same site, by its path inside of it as `files` of the site's metadata lists it;
    /// `None` where that path could not be asked for.
    pub fn sibling(&self, file: &str) -> Option<Self> {
        let is_plain = |segment: &str| {
            !matches!(segment, "" | "." | "..") && !segment.contains(|c: char| c.is_control() || c == '\\')
        };
        file.split('/').all(is_plain).then(|| self.beside(file))
    }

    fn beside(&self, file: &str) -> Self {
        let text = format!("{}/{file}", self.site());
        Self { text: text.into_boxed_str(), entity_end: self.entity_end }
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

/// So that a map from keys can be asked by their text; `Eq` and `Hash` are those of the text.
impl Borrow<str> for StorageKey {
    fn borrow(&self) -> &str {
        &self.text
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

#[cfg(test)]
mod tests {
    use crate::docs::{Locator, Options};

    #[test]
    fn files_of_one_site_lie_beside_each_other() {
        let locator = Locator::new(Options::default());
        let key = locator.locate("/static/docs/Default/component/shop/guide/a.html").unwrap().key;
        assert_eq!(key.site(), "default/component/shop");
        assert_eq!(key.metadata_of_site().as_str(), "default/component/shop/techdocs_metadata.json");
        assert!(key.metadata_of_site().is_metadata());
        let sibling = key.sibling("assets/main.css").unwrap();
        assert_eq!((sibling.file(), sibling.site()), ("assets/main.css", "default/component/shop"));
        for no_file in ["", "/a", "a//b", "../shop2/index.html", "a/./b", "a\\b", "a\nb", "a/"] {
            assert!(key.sibling(no_file).is_none(), "{no_file:?}");
        }
    }
}
