//! A configuration as a tree in which every value knows where it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::js;

/// A value and its origin.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value itself.
    pub value: Value,
    /// Where it was written.
    pub origin: Origin,
}

/// What a configuration can hold; the same kinds as JSON.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// `null`: in a later layer it takes away what an earlier one set.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number. As in Backstage there is one kind only, double precision.
    Number(f64),
    /// A string.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map.
    Map(BTreeMap<String, Node>),
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A configuration file.
    File {
        /// The file, as the operator would name it.
        file: Arc<str>,
        /// The line, counted from 1; 0 where it is not known.
        line: usize,
        /// The environment variable (`$NAME`) or other file that the text at that line was filled from.
        via: Option<Arc<str>>,
    },
    /// An environment variable, such as `APP_CONFIG_techdocs_publisher_type`.
    Variable(Arc<str>),
    /// Nobody wrote it: it is our default.
    Default,
    /// Nobody wrote it: the default follows from this other key.
    DefaultFrom(&'static str),
}

impl Node {
    /// What kind of value this is, for messages.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(text) if text.is_empty() => "empty text",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// The same value from JSON; every part of it has the same origin.
    pub fn from_json(json: serde_json::Value, origin: &Origin) -> Self {
        let value = match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(flag) => Value::Bool(flag),
            serde_json::Value::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
            serde_json::Value::String(text) => Value::Text(text),
            serde_json::Value::Array(items) => {
                Value::List(items.into_iter().map(|item| Self::from_json(item, origin)).collect())
            }
            serde_json::Value::Object(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(key, entry)| (key, Self::from_json(entry, origin)))
                    .collect(),
            ),
        };
        Self {
            value,
            origin: origin.clone(),
        }
    }

    /// The value as JSON, **with its secrets**: for comparing trees, never for printing.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(flag) => (*flag).into(),
            Value::Number(number) => number_json(*number),
            Value::Text(text) => text.clone().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => serde_json::Value::Object(
                entries
                    .iter()
                    .map(|(key, entry)| (key.clone(), entry.to_json()))
                    .collect(),
            ),
        }
    }

    /// Lays a later layer over this one: maps merge, everything else is replaced, `null` takes away. As
    /// `@backstage/config`, `src/reader.ts` does it.
    pub(super) fn lay_over(&mut self, later: Self) {
        match (&mut self.value, later.value) {
            (Value::Map(entries), Value::Map(later_entries)) => {
                for (key, later_entry) in later_entries {
                    match entries.get_mut(&key) {
                        Some(entry) => entry.lay_over(later_entry),
                        None => {
                            entries.insert(key, later_entry);
                        }
                    }
                }
            }
            (value, later_value) => {
                *value = later_value;
                self.origin = later.origin;
            }
        }
    }

    /// Takes the nulls out of maps, which is how Backstage's reader sees them once all layers are laid. Lists keep
    /// theirs, and so do maps inside lists.
    pub(super) fn drop_nulls(&mut self) {
        if let Value::Map(entries) = &mut self.value {
            entries.retain(|_, entry| entry.value != Value::Null);
            entries.values_mut().for_each(Self::drop_nulls);
        }
    }
}

/// Whole numbers without a fraction, as JSON writers of other languages have them.
pub(super) fn number_json(number: f64) -> serde_json::Value {
    const LARGEST_EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= LARGEST_EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "checked: a whole number of at most 2^53")]
        return (number as i64).into();
    }
    number.into()
}

/// The kind only: the tree holds secrets, and nothing says yet which of its texts they are.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(flag) => write!(f, "{flag}"),
            Self::Number(_) => f.write_str("number"),
            Self::Text(_) => f.write_str("text"),
            Self::List(items) => f.debug_list().entries(items).finish(),
            Self::Map(entries) => f.debug_map().entries(entries).finish(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line, via } => {
                f.write_str(file)?;
                if *line > 0 {
                    write!(f, ":{line}")?;
                }
                match via {
                    Some(via) => write!(f, " via {via}"),
                    None => Ok(()),
                }
            }
            Self::Variable(name) => f.write_str(name),
            Self::Default => f.write_str("default"),
            Self::DefaultFrom(key) => write!(f, "default, from {key}"),
        }
    }
}

impl Value {
    /// A scalar as map keys and messages show it; `None` for lists and maps.
    pub(super) fn scalar_text(&self) -> Option<String> {
        match self {
            Self::Null => Some(String::new()),
            Self::Bool(flag) => Some(flag.to_string()),
            Self::Number(number) => Some(js::number_text(*number)),
            Self::Text(text) => Some(text.clone()),
            Self::List(_) | Self::Map(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn laid(layers: &[serde_json::Value]) -> serde_json::Value {
        let mut tree = Node::from_json(json!({}), &Origin::Default);
        for layer in layers {
            tree.lay_over(Node::from_json(layer.clone(), &Origin::Default));
        }
        tree.drop_nulls();
        tree.to_json()
    }

    #[test]
    fn maps_merge_while_lists_and_scalars_replace() {
        let merged = laid(&[json!({"a": {"b": 1, "c": [1, 2]}}), json!({"a": {"c": [3], "d": "x"}})]);
        assert_eq!(merged, json!({"a": {"b": 1, "c": [3], "d": "x"}}));
    }

    #[test]
    fn null_takes_away_what_an_earlier_layer_set() {
        let merged = laid(&[
            json!({"a": {"b": 1}, "k": 1}),
            json!({"a": null}),
            json!({"a": {"c": 2}}),
        ]);
        assert_eq!(merged, json!({"a": {"c": 2}, "k": 1}));
    }

    #[test]
    fn debug_output_of_a_tree_holds_no_text() {
        let tree = Node::from_json(json!({"token": "hunter2hunter2", "n": 4711}), &Origin::Default);
        let shown = format!("{tree:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("4711"), "{shown}");
    }
}
