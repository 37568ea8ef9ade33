//! Which sites a store may hold.

use crate::docs::{EntityRef, StorageKey};

/// Which sites a store may hold: those that fit all that is said here. Where nothing is said, all of them. Everything is
/// in lower case, since one entity may be spelled in several ways.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    namespaces: Vec<String>,
    kinds: Vec<String>,
    sites: Vec<String>,
    prefixes: Vec<String>,
}

impl Scope {
    /// Sites in one of these namespaces, of one of these kinds, of one of these entities and with a name that begins with
    /// one of these prefixes, as far as each is said.
    pub fn new(namespaces: &[String], kinds: &[String], entities: &[EntityRef], prefixes: &[String]) -> Self {
        let lower = |words: &[String]| words.iter().map(|word| word.to_lowercase()).collect();
        let sites = entities.iter().map(|entity| entity.site().to_lowercase()).collect();
        Self { namespaces: lower(namespaces), kinds: lower(kinds), sites, prefixes: lower(prefixes) }
    }

    /// Whether the site of `key` is among them.
    pub fn covers(&self, key: &StorageKey) -> bool {
        if *self == Self::default() {
            return true;
        }
        let site = key.site().to_lowercase();
        let mut parts = site.split('/').map(str::to_owned);
        let is_in =
            |words: &[String], part: Option<String>| words.is_empty() || part.is_some_and(|p| words.contains(&p));
        is_in(&self.namespaces, parts.next())
            && is_in(&self.kinds, parts.next())
            && is_in(&self.sites, Some(site.clone()))
            && (self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| site.starts_with(prefix)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docs::{Locator, Options};

    fn covers(scope: &Scope, site: &str) -> bool {
        let locator = Locator::new(Options { case_sensitive_triplet: true });
        scope.covers(&locator.locate(&format!("/static/docs/{site}/index.html")).unwrap().key)
    }

    #[test]
    fn a_site_fits_all_that_is_said() {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let all = Scope::default();
        let kinds = Scope::new(&[], &words(&["API"]), &[], &[]);
        let both = Scope::new(&words(&["team-a"]), &words(&["API"]), &[], &[]);
        let one = Scope::new(&[], &[], &["component:default/shop".parse().unwrap()], &[]);
        let prefix = Scope::new(&[], &[], &[], &words(&["team-a/component/pay"]));
        for (scope, site, expected) in [
            (&all, "a/b/c", true),
            (&kinds, "default/Api/orders", true),
            (&kinds, "default/component/orders", false),
            (&both, "team-a/api/orders", true),
            (&both, "default/api/orders", false),
            (&one, "Default/Component/Shop", true),
            (&one, "default/component/shop2", false),
            (&prefix, "team-a/component/payments", true),
            (&prefix, "team-a/component/shop", false),
        ] {
            assert_eq!(covers(scope, site), expected, "{scope:?} {site}");
        }
    }
}
