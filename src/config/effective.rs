//! The configuration as the program understood it: every key that it reads, defaults and all, for `callboard config`.

use std::collections::HashMap;

use serde_json::{Map, Value as Json, json};

use super::value::Origin;

/// Every key that was read, in the order of reading. Secrets are masked in it already.
#[derive(Debug, Clone, Default)]
pub struct Effective {
    entries: Vec<Entry>,
    /// Where in `entries` each key is.
    index: HashMap<String, usize>,
}

/// A key that the program knows.
#[derive(Debug, Clone)]
struct Entry {
    key: String,
    /// The value in force and its origin; `None` where there is neither a value nor a default.
    value: Option<(Json, Origin)>,
}

impl Effective {
    /// Every known key, such as `callboard.cache.freshFor`, whether it has a value or not.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.key.as_str())
    }

    /// The value in force at a key, as it is printed.
    pub fn get(&self, key: &str) -> Option<&Json> {
        self.entry(key)?.value.as_ref().map(|(value, _)| value)
    }

    /// Where the value in force at a key came from.
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.entry(key)?.value.as_ref().map(|(_, origin)| origin)
    }

    /// As YAML that could be used as a configuration, but for its masked secrets; with `origins`, each value is
    /// followed by a comment that says where it came from.
    pub fn to_yaml(&self, origins: bool) -> String {
        let mut output = String::new();
        if let Branch::Map(entries) = self.tree() {
            write_map(&mut output, &entries, 0, origins);
        }
        output
    }

    /// As JSON; with `origins`, each value is a map of `value` and `origin`.
    pub fn to_json(&self, origins: bool) -> Json {
        to_json(&self.tree(), origins)
    }

    /// Remembers a key that is known and has no value.
    pub(super) fn absent(&mut self, key: &str) {
        if !self.index.contains_key(key) {
            self.index.insert(key.to_owned(), self.entries.len());
            self.entries.push(Entry {
                key: key.to_owned(),
                value: None,
            });
        }
    }

    /// Remembers the value of a key.
    pub(super) fn set(&mut self, key: &str, value: Json, origin: Origin) {
        self.absent(key);
        if let Some(entry) = self.index.get(key).and_then(|index| self.entries.get_mut(*index)) {
            entry.value = Some((value, origin));
        }
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.get(*self.index.get(key)?)
    }

    fn tree(&self) -> Branch<'_> {
        let mut root = Branch::Map(Vec::new());
        for entry in &self.entries {
            if let Some((value, origin)) = &entry.value {
                root.place(&entry.key, Branch::Leaf(value, origin));
            }
        }
        root
    }
}

/// The entries as the tree that their keys describe. Neighbours stay in the order in which they were read.
enum Branch<'e> {
    Map(Vec<(&'e str, Branch<'e>)>),
    List(Vec<Branch<'e>>),
    Leaf(&'e Json, &'e Origin),
}

impl<'e> Branch<'e> {
    /// `key` is `a.b`, `a[0].b` or, inside of a list, `0].b`.
    fn place(&mut self, key: &'e str, leaf: Branch<'e>) {
        let end = key.find(['.', '[']).unwrap_or(key.len());
        let (name, rest) = key.split_at_checked(end).unwrap_or((key, ""));
        let is_list = rest.starts_with('[');
        let rest = rest.get(1..).unwrap_or_default();
        let inner = if is_list {
            Branch::List(Vec::new())
        } else {
            Branch::Map(Vec::new())
        };
        let next = match self {
            Branch::Map(entries) => {
                let index = entries.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
                    entries.push((name, inner));
                    entries.len() - 1
                });
                entries.get_mut(index).map(|(_, branch)| branch)
            }
            Branch::List(items) => {
                let index = name.trim_end_matches(']').parse::<usize>().unwrap_or_default();
                // Items are read in their order; one without any value in force leaves no gap.
                if index >= items.len() {
                    items.push(inner);
                }
                items.last_mut()
            }
            Branch::Leaf(..) => None,
        };
        match next {
            Some(next) if rest.is_empty() => *next = leaf,
            Some(next) => next.place(rest, leaf),
            None => {}
        }
    }
}

fn to_json(branch: &Branch<'_>, origins: bool) -> Json {
    match branch {
        Branch::Map(entries) => {
            let entries = entries
                .iter()
                .map(|(name, inner)| ((*name).to_owned(), to_json(inner, origins)));
            Json::Object(entries.collect::<Map<_, _>>())
        }
        Branch::List(items) => items.iter().map(|item| to_json(item, origins)).collect(),
        Branch::Leaf(value, origin) if origins => json!({ "value": value, "origin": origin.to_string() }),
        Branch::Leaf(value, _) => (*value).clone(),
    }
}

fn write_map(output: &mut String, entries: &[(&str, Branch<'_>)], indent: usize, origins: bool) {
    for (index, (name, inner)) in entries.iter().enumerate() {
        // The first key of a map inside a list stands on the line of its dash.
        if index > 0 || !output.ends_with("- ") {
            output.push_str(&" ".repeat(indent));
        }
        output.push_str(name);
        output.push(':');
        match inner {
            Branch::Leaf(value, origin) => {
                output.push(' ');
                write_leaf(output, value, origin, origins);
            }
            Branch::Map(entries) => {
                output.push('\n');
                write_map(output, entries, indent + 2, origins);
            }
            Branch::List(items) => {
                output.push('\n');
                write_list(output, items, indent + 2, origins);
            }
        }
    }
}

fn write_list(output: &mut String, items: &[Branch<'_>], indent: usize, origins: bool) {
    for item in items {
        output.push_str(&" ".repeat(indent));
        output.push_str("- ");
        match item {
            Branch::Leaf(value, origin) => write_leaf(output, value, origin, origins),
            Branch::Map(entries) => write_map(output, entries, indent + 2, origins),
            Branch::List(items) => write_list(output, items, indent + 2, origins),
        }
    }
}

fn write_leaf(output: &mut String, value: &Json, origin: &Origin, origins: bool) {
    output.push_str(&scalar(value));
    if origins {
        output.push_str(&format!(" # {}", origin.to_string().replace(char::is_control, " ")));
    }
    output.push('\n');
}

/// A value on one line: a scalar, or a list of them in brackets.
fn scalar(value: &Json) -> String {
    match value {
        Json::String(text) if is_plain(text) => text.clone(),
        Json::String(text) => quoted(text),
        Json::Array(items) => format!("[{}]", items.iter().map(scalar).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// Whether a text reads back as itself without quotes, in brackets too.
fn is_plain(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-' | '+' | ':' | '=' | '@');
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
        && text.chars().all(word)
        && !text.ends_with(':')
        && super::yaml::is_text(text)
}

/// In double quotes, with escapes that YAML and JSON share.
fn quoted(text: &str) -> String {
    let mut output = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => output.push_str("\\\""),
            '\\' => output.push_str("\\\\"),
            '\n' => output.push_str("\\n"),
            '\t' => output.push_str("\\t"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') => {
                output.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => output.push(c),
        }
    }
    output.push('"');
    output
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::testing::loaded;

    fn example() -> Effective {
        let mut effective = Effective::default();
        effective.set("a.b", json!("0.0.0.0:7008"), Origin::Default);
        effective.set("c[0].type", json!("static"), Origin::Variable("APP_CONFIG_c".into()));
        effective.set("c[0].options.token", json!("***"), Origin::Default);
        effective.set("c[1].type", json!("true"), Origin::Default);
        effective.set("a.list", json!(["plugin:techdocs", "user:*"]), Origin::Default);
        effective.absent("a.nothing");
        effective
    }

    #[test]
    fn yaml_is_written_with_and_without_origins() {
        assert_eq!(
            example().to_yaml(false),
            "a:\n  b: 0.0.0.0:7008\n  list: [plugin:techdocs, \"user:*\"]\nc:\n  - type: static\n    options:\n      \
             token: \"***\"\n  - type: \"true\"\n"
        );
        assert!(example().to_yaml(true).contains("  - type: static # APP_CONFIG_c\n"));
    }

    #[test]
    fn json_is_written_with_and_without_origins() {
        let plain = json!({
            "a": {"b": "0.0.0.0:7008", "list": ["plugin:techdocs", "user:*"]},
            "c": [{"type": "static", "options": {"token": "***"}}, {"type": "true"}]
        });
        assert_eq!(example().to_json(false), plain);
        assert_eq!(
            example().to_json(true)["a"]["b"],
            json!({"value": "0.0.0.0:7008", "origin": "default"})
        );
    }

    #[test]
    fn what_is_written_reads_back_as_the_same() {
        let effective = example();
        assert_eq!(
            loaded(&effective.to_yaml(true)).tree().to_json(),
            effective.to_json(false)
        );
    }

    proptest! {
        #[test]
        fn any_text_reads_back_as_itself(text in "(\\PC|[\\x00-\\x20:#\"'\\\\\u{85}\u{2028}\u{feff}-])*") {
            let mut effective = Effective::default();
            effective.set("k", json!(text), Origin::Default);
            effective.set("l", json!([text, text]), Origin::Default);
            prop_assert_eq!(loaded(&effective.to_yaml(true)).tree().to_json(), effective.to_json(false));
        }
    }
}
