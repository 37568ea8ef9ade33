//! Which sites a query names.

use url::form_urlencoded;

use super::Refusal;
use crate::docs::EntityRef;

/// Some sites.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// Those of these entities.
    Entities(Vec<EntityRef>),
    /// Those whose files begin so, as seen from the root path.
    Prefix(String),
    /// All of them.
    All,
}

/// What an operation takes beside `entity` and `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// `prefix`.
    Prefix,
    /// `concurrency`.
    Concurrency,
}

/// What a query asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) selection: Selection,
    /// How many files at a time.
    pub(super) concurrency: Option<usize>,
}

impl Query {
    /// Reads a query; whatever it holds has to mean something.
    pub(super) fn parse(query: &str, takes: Takes) -> Result<Self, Refusal> {
        let mut entities = Vec::new();
        let mut others = Vec::new();
        let mut concurrency = None;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match (&*name, takes) {
                ("entity", _) => {
                    let entity = value.parse();
                    entities.push(entity.map_err(|error| wrong(format!("entity={value} is none: {error}.")))?);
                }
                ("all", _) if value == "true" => others.push(Selection::All),
                ("all", _) => return Err(wrong(format!("all={value} means nothing: write all=true or leave it out."))),
                ("prefix", Takes::Prefix) if value.trim_start_matches('/').is_empty() => {
                    return Err(wrong("An empty prefix is everything: write all=true for that.".to_owned()));
                }
                ("prefix", Takes::Prefix) => others.push(Selection::Prefix(value.into_owned())),
                ("concurrency", Takes::Concurrency) => {
                    let files = value.parse().ok().filter(|files| *files > 0);
                    concurrency = Some(files.ok_or_else(|| wrong(format!("concurrency={value} is no count from 1.")))?);
                }
                (unknown, _) => {
                    return Err(wrong(format!("There is no parameter {unknown:?} here: {}.", takes.choices())));
                }
            }
        }
        if !entities.is_empty() {
            others.push(Selection::Entities(entities));
        }
        match (others.pop(), others.is_empty()) {
            (Some(selection), true) => Ok(Self { selection, concurrency }),
            (Some(_), false) => Err(wrong(format!("The query says several things: {}, one of them.", takes.choices()))),
            (None, _) => Err(wrong(format!("The query does not say which sites: {}.", takes.choices()))),
        }
    }
}

impl Takes {
    const fn choices(self) -> &'static str {
        match self {
            Self::Prefix => "write ?entity=component:default/shop (as often as need be), ?prefix=default/ or ?all=true",
            Self::Concurrency => "write ?entity=component:default/shop (as often as need be) or ?all=true",
        }
    }
}

fn wrong(sentence: String) -> Refusal {
    Refusal::Query(sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_sites_in_one_way() {
        let selected = |query| Query::parse(query, Takes::Prefix).unwrap().selection;
        let shop: EntityRef = "component:default/shop".parse().unwrap();
        assert_eq!(selected("entity=component:default/shop"), Selection::Entities(vec![shop.clone()]));
        let both = selected("entity=component%3Adefault%2Fshop&entity=api:orders");
        assert_eq!(both, Selection::Entities(vec![shop, "api:default/orders".parse().unwrap()]));
        assert_eq!(selected("prefix=default/"), Selection::Prefix("default/".to_owned()));
        assert_eq!(selected("all=true"), Selection::All);
        assert_eq!(Query::parse("all=true&concurrency=3", Takes::Concurrency).unwrap().concurrency, Some(3));
    }

    #[test]
    fn whatever_else_it_holds_is_told_in_a_sentence() {
        for (query, part) in [
            ("", "which sites"),
            ("all=false", "all=true"),
            ("all=true&prefix=a", "several things"),
            ("all=true&entity=a:b", "several things"),
            ("prefix=a&prefix=b", "several things"),
            ("prefix=/", "all=true"),
            ("entity=shop", "kind:namespace/name"),
            ("site=shop", "\"site\""),
            ("all=true&concurrency=3", "\"concurrency\""),
        ] {
            let refused = Query::parse(query, Takes::Prefix).unwrap_err();
            assert!(refused.message().contains(part), "{query}: {}", refused.message());
        }
        for query in ["all=true&concurrency=0", "all=true&concurrency=many", "prefix=a"] {
            assert!(Query::parse(query, Takes::Concurrency).is_err(), "{query}");
        }
    }
}
