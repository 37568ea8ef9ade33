//! Which certificate a client gets to see.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::Served;

/// Finds certificates by the name that a client asks for (RFC 6066 §3): the name itself, then a wildcard for its first
/// label, then whatever comes first.
#[derive(Debug)]
pub(super) struct Resolver {
    /// Several for a name are of different kinds of keys, in the configuration's order.
    by_name: HashMap<String, Vec<Arc<CertifiedKey>>>,
    all: Vec<Arc<CertifiedKey>>,
}

impl Resolver {
    pub(super) fn new<'s>(served: impl IntoIterator<Item = &'s Served>) -> Self {
        let mut resolver = Self { by_name: HashMap::new(), all: Vec::new() };
        for pair in served {
            for name in pair.names() {
                resolver.by_name.entry(name.clone()).or_default().push(Arc::clone(&pair.key));
            }
            resolver.all.push(Arc::clone(&pair.key));
        }
        resolver
    }

    /// Those for `name`, best first.
    fn candidates(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        let Some(name) = name else { return &self.all };
        let name = name.to_ascii_lowercase();
        let exact = self.by_name.get(&name);
        let wildcard = || self.by_name.get(&format!("*.{}", name.split_once('.')?.1));
        exact.or_else(wildcard).map_or(&self.all, Vec::as_slice)
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = self.candidates(hello.server_name());
        let can_be_checked = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        candidates.iter().find(can_be_checked).or(candidates.first()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::super::CertificateSource;
    use super::*;
    use crate::clock::Clock;
    use crate::secret::Secret;

    fn served(names: &[&str]) -> Served {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let cert = CertificateParams::new(names).unwrap().self_signed(&key).unwrap().pem();
        let source = CertificateSource::Text { cert, key: Secret::new(key.serialize_pem()) };
        source.load(Clock::System.now()).unwrap()
    }

    #[test]
    fn a_name_is_found_exactly_then_by_wildcard_then_the_first() {
        let all = [served(&["first.test"]), served(&["*.docs.test"]), served(&["a.docs.test"])];
        let resolver = Resolver::new(&all);
        for (name, expected) in [
            (Some("first.test"), 0),
            (Some("b.docs.test"), 1),
            (Some("A.Docs.Test"), 2),
            (Some("x.b.docs.test"), 0),
            (Some("docs.test"), 0),
            (Some("localhost"), 0),
            (None, 0),
        ] {
            let found = resolver.candidates(name).first().unwrap();
            assert!(Arc::ptr_eq(found, &all[expected].key), "{name:?}");
        }
    }
}
