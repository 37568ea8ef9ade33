//! Where one store keeps the files of sites.

use std::borrow::Cow;
use std::fmt;

use super::StorageKey;

/// How a store names the files of sites: below which path, and with which spelling of their entities.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// `bucketRootPath`, without slashes at its ends; empty for the store's root.
    pub root_path: String,
    /// `techdocs.legacyUseCaseSensitiveTripletPaths`: namespace, kind and name are spelled as the catalog has them, and
    /// not in lower case.
    pub case_sensitive_triplet: bool,
}

/// The name of an object in a store, root path included.
///
/// It can only come from a [`Layout`], so whoever holds one knows that it lies below the root path and in the folder of
/// one entity: a store that takes nothing else can't be made to read anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectName<'k>(Cow<'k, str>);

impl ObjectName<'_> {
    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Layout {
    /// The name that a file has in the store.
    pub fn place<'k>(&self, key: &'k StorageKey) -> ObjectName<'k> {
        let site = key.site();
        let is_lower_case = site.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
        let is_as_spelled = self.case_sensitive_triplet || is_lower_case;
        if self.root_path.is_empty() && is_as_spelled {
            return ObjectName(Cow::Borrowed(key.as_str()));
        }
        let site = if is_as_spelled { Cow::Borrowed(site) } else { Cow::Owned(site.to_lowercase()) };
        ObjectName(Cow::Owned(self.below_root(&format!("{site}/{}", key.file()))))
    }

    /// The name that a folder has in the store, by its name as seen from the root path.
    pub fn below_root(&self, folder: &str) -> String {
        match (self.root_path.as_str(), folder) {
            ("", folder) => folder.to_owned(),
            (root, "") => root.to_owned(),
            (root, folder) => format!("{root}/{folder}"),
        }
    }

    /// What an object or a folder of the store is called as seen from the root path; `None` where it lies elsewhere.
    pub fn seen_from_root<'s>(&self, stored: &'s str) -> Option<&'s str> {
        if self.root_path.is_empty() {
            return Some(stored);
        }
        stored.strip_prefix(self.root_path.as_str())?.strip_prefix('/')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docs::{Locator, Options};

    fn key(path: &str) -> StorageKey {
        let locator = Locator::new(Options { case_sensitive_triplet: true });
        locator.locate(&format!("/static/docs/{path}")).unwrap().key
    }

    fn layout(root_path: &str, case_sensitive_triplet: bool) -> Layout {
        Layout { root_path: root_path.to_owned(), case_sensitive_triplet }
    }

    #[test]
    fn a_file_lies_below_the_root_path_with_the_spelling_of_the_store() {
        let shop = key("Default/Component/Shop/Guide/A.html");
        assert_eq!(layout("", true).place(&shop).as_str(), "Default/Component/Shop/Guide/A.html");
        assert_eq!(layout("", false).place(&shop).as_str(), "default/component/shop/Guide/A.html");
        assert_eq!(layout("docs/all", true).place(&shop).as_str(), "docs/all/Default/Component/Shop/Guide/A.html");
        assert_eq!(layout("docs/all", false).place(&shop).as_str(), "docs/all/default/component/shop/Guide/A.html");
    }

    #[test]
    fn the_way_back_ends_at_the_root_path() {
        let layout = layout("docs/all", false);
        assert_eq!(layout.seen_from_root("docs/all/a/b"), Some("a/b"));
        assert_eq!(layout.seen_from_root("docs/allover/a"), None);
        assert_eq!(layout.seen_from_root("docs"), None);
        assert_eq!(layout.below_root(""), "docs/all");
        assert_eq!(layout.below_root("a"), "docs/all/a");
    }
}
