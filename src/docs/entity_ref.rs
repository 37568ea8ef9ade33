//! Entities as people name them.

use std::fmt;
use std::str::FromStr;

/// The namespace of an entity whose name says none.
const DEFAULT_NAMESPACE: &str = "default";

/// An entity as Backstage writes it, `kind:namespace/name`; the namespace may be left out, the kind may not, since one
/// name may be a component's and a system's at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityRef {
    kind: String,
    namespace: String,
    name: String,
}

/// A text that names no entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an entity is written as kind:namespace/name, for example component:default/shop")]
pub struct NoEntityRef;

impl EntityRef {
    /// Namespace, kind and name, in the order in which storage has them.
    pub(super) fn parts(&self) -> [&str; 3] {
        [&self.namespace, &self.kind, &self.name]
    }

    /// The name of its site as it is spelled here, `{namespace}/{kind}/{name}`.
    pub fn site(&self) -> String {
        self.parts().join("/")
    }
}

impl FromStr for EntityRef {
    type Err = NoEntityRef;

    fn from_str(text: &str) -> Result<Self, NoEntityRef> {
        let (kind, rest) = text.split_once(':').ok_or(NoEntityRef)?;
        let (namespace, name) = rest.split_once('/').unwrap_or((DEFAULT_NAMESPACE, rest));
        let is_plain = |part: &str| {
            !matches!(part, "" | "." | "..")
                && !part.contains(|c: char| c.is_control() || c.is_whitespace() || matches!(c, ':' | '/' | '\\'))
        };
        if ![kind, namespace, name].into_iter().all(is_plain) {
            return Err(NoEntityRef);
        }
        let [kind, namespace, name] = [kind, namespace, name].map(str::to_owned);
        Ok(Self { kind, namespace, name })
    }
}

impl fmt::Display for EntityRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.kind, self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_are_read_as_backstage_writes_them() {
        for (text, expected) in [
            ("component:default/shop", Some("component:default/shop")),
            ("Component:shop", Some("Component:default/shop")),
            ("api:team-a/orders.v2", Some("api:team-a/orders.v2")),
            ("shop", None),
            ("default/shop", None),
            ("component:", None),
            ("component:/shop", None),
            ("component:default/", None),
            ("component:default/shop/guide", None),
            ("component:default/..", None),
            ("component:a:b", None),
            ("component:a b", None),
            ("component:a\\b", None),
            ("component:a\nb", None),
        ] {
            let read = text.parse::<EntityRef>().ok().map(|entity| entity.to_string());
            assert_eq!(read.as_deref(), expected, "{text:?}");
        }
    }
}
