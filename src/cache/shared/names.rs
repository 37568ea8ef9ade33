//! What things are called in Redis.

use crate::docs::StorageKey;
use crate::http::negotiation::Coding;

/// The names below one prefix.
///
/// All that concerns one document has `{doc:…}` in its name, so that it is on one server of a cluster: Redis looks for
/// the first pair of braces and hashes only what is between them.
#[derive(Debug, Clone)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// A document: a hash of [`HEADER`](super::HEADER), [`IDENTITY`](super::IDENTITY),
    /// [`CONFIRMATION`](super::CONFIRMATION) and the pieces of the body, by number.
    pub(super) fn document(&self, key: &StorageKey) -> String {
        format!("{}{{doc:{key}}}", self.prefix)
    }

    /// A document that is still being written.
    pub(super) fn draft(&self, key: &StorageKey, token: &str) -> String {
        format!("{}{{doc:{key}}}:draft:{token}", self.prefix)
    }

    /// A variant of a document: a hash of [`HEADER`](super::HEADER), the digest of the document's bytes as
    /// [`IDENTITY`](super::IDENTITY), and the pieces.
    pub(super) fn variant(&self, key: &StorageKey, coding: Coding) -> String {
        format!("{}{{doc:{key}}}:{}", self.prefix, coding.as_str())
    }

    /// Who fetches a document.
    pub(super) fn lease(&self, key: &StorageKey) -> String {
        format!("{}{{doc:{key}}}:lease", self.prefix)
    }

    /// A small value of another kind.
    pub(super) fn record(&self, name: &str) -> String {
        format!("{}site:{name}", self.prefix)
    }

    /// Whose turn it is at something.
    pub(super) fn turn(&self, name: &str) -> String {
        format!("{}turn:{name}", self.prefix)
    }

    /// Where replicas tell each other what has changed.
    pub(super) fn channel(&self) -> String {
        format!("{}changes", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use redis::cluster_routing::{Route, SlotAddr};

    use super::*;
    use crate::docs::{Locator, Options};

    #[test]
    fn all_that_concerns_one_document_is_on_one_server_of_a_cluster() {
        let slot = |name: String| Route::with_key(name.as_bytes(), SlotAddr::Master);
        for prefix in ["callboard:", "", "{team}:", "a}b{"] {
            let names = Names::new(prefix);
            for file in ["index.html", "a%7Db.html", "%7B.html", "%7B%7D.html", "%7Dx%7B"] {
                let path = format!("/static/docs/default/component/shop/{file}");
                let key = Locator::new(Options::default()).locate(&path).unwrap().key;
                let document = slot(names.document(&key));
                assert_eq!(slot(names.draft(&key, "17")), document, "{prefix} {key}");
                assert_eq!(slot(names.lease(&key)), document, "{prefix} {key}");
                assert_eq!(slot(names.variant(&key, Coding::Br)), document, "{prefix} {key}");
            }
        }
    }
}
