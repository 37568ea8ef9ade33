//! Reads settings out of a tree, and remembers each key that it was asked for: what comes of that is the list of keys
//! that we know, the effective configuration, and every problem, all from the one place where a key is named.

use std::fmt::Display;
use std::ops::RangeInclusive;

use serde_json::Value as Json;

use super::effective::Effective;
use super::formats::{Format, MASK, Wrong};
use super::layers::Loaded;
use super::problem::{Problem, Problems};
use super::value::{Node, Origin, Value};

pub(super) struct Reader<'l> {
    loaded: &'l Loaded,
    pub(super) effective: Effective,
    pub(super) problems: Problems,
    /// What the operator should know and need not change.
    pub(super) warnings: Vec<Problem>,
}

/// What stands at a key.
enum Found<'l> {
    Value(&'l Node),
    Nothing,
    /// There is a problem here, or on the way here, and it is told.
    Broken,
}

impl<'l> Reader<'l> {
    pub(super) fn new(loaded: &'l Loaded) -> Self {
        Self { loaded, effective: Effective::default(), problems: loaded.problems.clone(), warnings: Vec::new() }
    }

    /// A setting that need not be there.
    pub(super) fn optional<T>(&mut self, key: &str, format: &Format<T>) -> Option<T> {
        match self.find(key) {
            Found::Value(node) => self.parse(key, node, format),
            Found::Nothing | Found::Broken => {
                self.effective.absent(key);
                None
            }
        }
    }

    /// A setting with a default.
    pub(super) fn or<T>(&mut self, key: &str, format: &Format<T>, default: T) -> T {
        self.or_from(key, format, default, Origin::Default)
    }

    /// A setting whose default comes from somewhere.
    pub(super) fn or_from<T>(&mut self, key: &str, format: &Format<T>, default: T, origin: Origin) -> T {
        self.optional(key, format).unwrap_or_else(|| {
            self.effective.set(key, shown(format, &default), origin);
            default
        })
    }

    /// A setting with a default and bounds, the bounds included.
    pub(super) fn within<T: PartialOrd>(
        &mut self,
        key: &str,
        format: &Format<T>,
        default: T,
        bounds: RangeInclusive<T>,
    ) -> T {
        self.within_from(key, format, (default, Origin::Default), bounds)
    }

    /// The same, where the default comes from somewhere.
    pub(super) fn within_from<T: PartialOrd>(
        &mut self,
        key: &str,
        format: &Format<T>,
        (default, origin): (T, Origin),
        bounds: RangeInclusive<T>,
    ) -> T {
        let value = self.or_from(key, format, default, origin);
        if !bounds.contains(&value) {
            let size = if value < *bounds.start() { "small" } else { "large" };
            let [shown, least, most] = [&value, bounds.start(), bounds.end()].map(|bound| plain(&(format.show)(bound)));
            self.wrong(key, format!("{shown} is too {size}: write a value from {least} to {most}"));
        }
        value
    }

    /// A setting that must be there; `otherwise` is worded to stand after "required".
    pub(super) fn required<T>(&mut self, key: &str, format: &Format<T>, otherwise: &str) -> Option<T> {
        let found = matches!(self.find(key), Found::Nothing);
        let value = self.optional(key, format);
        if found {
            let (origin, message) = match self.loaded.absences.unset.get(key) {
                Some((reason, origin)) => (Some(origin), format!("required, but {reason}")),
                _ => (None, format!("required{otherwise}")),
            };
            self.problems.push(Problem::new(key, origin, message));
        }
        value
    }

    /// The maps in a list of them, each as the key that it stands at. Whatever else the list holds is a problem.
    pub(super) fn maps(&mut self, key: &str) -> Vec<String> {
        let items = match self.find(key) {
            Found::Value(Node { value: Value::List(items), .. }) => items,
            Found::Value(_) => {
                self.wrong_type(key, "a list of maps");
                return Vec::new();
            }
            Found::Nothing | Found::Broken => return Vec::new(),
        };
        let mut keys = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let item_key = format!("{key}[{index}]");
            match item.value {
                Value::Map(_) => keys.push(item_key),
                _ => self.wrong_type(&item_key, "a map"),
            }
        }
        keys
    }

    /// The keys of the map at `key`, those set to null left out.
    pub(super) fn keys(&self, key: &str) -> Vec<String> {
        match at(&self.loaded.tree, key) {
            Ok(Some(Node { value: Value::Map(entries), .. })) => {
                entries.iter().filter(|(_, entry)| entry.value != Value::Null).map(|(name, _)| name.clone()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Whether anything but null stands at a key.
    pub(super) fn has(&self, key: &str) -> bool {
        matches!(at(&self.loaded.tree, key), Ok(Some(node)) if node.value != Value::Null)
    }

    /// Whether text stands at a key.
    pub(super) fn is_text(&self, key: &str) -> bool {
        matches!(at(&self.loaded.tree, key), Ok(Some(Node { value: Value::Text(_), .. })))
    }

    /// Whether a boolean stands at a key.
    pub(super) fn is_flag(&self, key: &str) -> bool {
        matches!(at(&self.loaded.tree, key), Ok(Some(Node { value: Value::Bool(_), .. })))
    }

    /// Why a key that somebody wrote is not there.
    pub(super) fn unset(&self, key: &str) -> Option<&'l str> {
        self.loaded.absences.unset.get(key).map(|(reason, _)| reason.as_str())
    }

    /// Where the value at a key came from.
    pub(super) fn origin(&self, key: &str) -> Option<Origin> {
        match at(&self.loaded.tree, key) {
            Ok(Some(node)) => Some(node.origin.clone()),
            _ => self.effective.origin(key).cloned(),
        }
    }

    /// Tells that something is wrong with the value of a key.
    pub(super) fn wrong(&mut self, key: &str, message: impl Display) {
        let origin = self.origin(key);
        self.problems.push(Problem::new(key, origin.as_ref(), message.to_string()));
    }

    /// Tells that the value of a key is of the wrong type, and so shows nothing of it.
    pub(super) fn wrong_type(&mut self, key: &str, wanted: &str) {
        let kind = match at(&self.loaded.tree, key) {
            Ok(Some(node)) => node.kind(),
            _ => "nothing",
        };
        self.wrong(key, format!("is {kind}: write {wanted}"));
    }

    /// Tells what need not be changed but should be known.
    pub(super) fn warn(&mut self, key: &str, message: impl Display) {
        let warning = Problem::new(key, self.origin(key).as_ref(), message.to_string());
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    fn parse<T>(&mut self, key: &str, node: &Node, format: &Format<T>) -> Option<T> {
        match (format.parse)(node) {
            Ok(value) => {
                self.effective.set(key, shown(format, &value), node.origin.clone());
                Some(value)
            }
            Err(wrong) => {
                let (what, write) = (format.what, format.write);
                let message = match (wrong, quoted(node).filter(|_| !format.secret)) {
                    (Wrong::Because(reason), Some(value)) => format!("{value} {reason}: write {write}"),
                    (Wrong::Because(reason), None) => format!("{reason}: write {write}"),
                    (Wrong::Value, Some(value)) => format!("{value} is not {what}: write {write}"),
                    (Wrong::Value, None) => format!("is not {what}: write {write}"),
                    (Wrong::Type, _) => format!("is {}, not {what}: write {write}", node.kind()),
                };
                self.problems.push(Problem::new(key, Some(&node.origin), message));
                self.effective.absent(key);
                None
            }
        }
    }

    fn find(&mut self, key: &str) -> Found<'l> {
        let loaded = self.loaded;
        match at(&loaded.tree, key) {
            Ok(Some(node)) if node.value == Value::Null => Found::Nothing,
            Ok(Some(node)) => Found::Value(node),
            Ok(None) if self.is_broken(key) => Found::Broken,
            Ok(None) => Found::Nothing,
            Err((above, node)) => {
                let message = format!("is {}: write a map of keys", node.kind());
                self.problems.push(Problem::new(above, Some(&node.origin), message));
                Found::Broken
            }
        }
    }

    /// Whether the key, or one that it stands under, could not be read.
    fn is_broken(&self, key: &str) -> bool {
        self.loaded.absences.broken.iter().any(|broken| {
            key.strip_prefix(broken.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    }
}

/// What stands at a key such as `a.b[0].c`; an error is the value on the way there that is no map or list, and its key.
fn at<'n, 'k>(root: &'n Node, key: &'k str) -> Result<Option<&'n Node>, (&'k str, &'n Node)> {
    let mut node = root;
    let mut walked = 0;
    for step in key.split_inclusive(['.', '[']) {
        let name = step.trim_end_matches(['.', '[']);
        let inner = match (&node.value, name.strip_suffix(']')) {
            (Value::List(items), Some(index)) => index.parse().ok().and_then(|index: usize| items.get(index)),
            (Value::Map(entries), None) if !name.is_empty() => entries.get(name),
            // Between `]` and `.` there is no name.
            (_, None) if name.is_empty() => Some(node),
            (Value::Null, _) => None,
            _ => return Err((key.get(..walked).unwrap_or_default().trim_end_matches(['.', '[']), node)),
        };
        match inner {
            Some(inner) => node = inner,
            None => return Ok(None),
        }
        walked += step.len();
    }
    Ok(Some(node))
}

fn shown<T>(format: &Format<T>, value: &T) -> Json {
    if format.secret { Json::from(MASK) } else { (format.show)(value) }
}

/// A value as a message quotes it, shortened; `None` for lists and maps.
fn quoted(node: &Node) -> Option<String> {
    const LONGEST: usize = 60;
    match &node.value {
        Value::Text(text) if text.chars().count() > LONGEST => {
            Some(format!("{:?}…", text.chars().take(LONGEST).collect::<String>()))
        }
        Value::Text(text) => Some(format!("{text:?}")),
        other => other.scalar_text(),
    }
}

fn plain(json: &Json) -> String {
    json.as_str().map_or_else(|| json.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::formats::{COUNT, DURATION, SECRET, TEXT};
    use crate::config::testing::loaded;

    #[test]
    fn a_value_is_read_with_its_origin_and_remembered() {
        let loaded = loaded("a:\n  b: [{c: 5m}]");
        let mut reader = Reader::new(&loaded);
        assert_eq!(reader.optional("a.b[0].c", &DURATION), Some(Duration::from_secs(300)));
        assert_eq!(reader.or("a.d", &COUNT, 7), 7);
        assert_eq!(reader.effective.to_yaml(true), "a:\n  b:\n    - c: 5m # app-config.yaml:2\n  d: 7 # default\n");
    }

    #[test]
    fn a_value_on_the_way_that_is_no_map_is_told_once() {
        let loaded = loaded("a: {b: 5}");
        let mut reader = Reader::new(&loaded);
        assert_eq!(reader.optional("a.b.c", &TEXT), None);
        assert_eq!(reader.optional("a.b.d", &TEXT), None);
        let problems: Vec<String> = reader.problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems, ["a.b (app-config.yaml:1): is a number: write a map of keys"]);
    }

    #[test]
    fn bounds_say_what_is_allowed() {
        let loaded = loaded("n: 0\nm: 99");
        let mut reader = Reader::new(&loaded);
        reader.within("n", &COUNT, 5, 1..=10);
        reader.within("m", &COUNT, 5, 1..=10);
        let problems: Vec<String> = reader.problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "n (app-config.yaml:1): 0 is too small: write a value from 1 to 10",
                "m (app-config.yaml:2): 99 is too large: write a value from 1 to 10"
            ]
        );
    }

    #[test]
    fn a_secret_of_the_wrong_type_is_not_shown() {
        let loaded = loaded("s: 47114711");
        let mut reader = Reader::new(&loaded);
        assert_eq!(reader.optional("s", &SECRET), None);
        let told = reader.problems.to_string();
        assert!(told.contains("s (app-config.yaml:1): is a number, not text") && !told.contains("4711"), "{told}");
    }

    #[test]
    fn a_required_value_names_the_variable_that_is_missing() {
        let loaded = loaded("a: ${NOBODY_SET_THIS}\nb: {$file: nowhere.txt}");
        let mut reader = Reader::new(&loaded);
        for key in ["a", "b", "c"] {
            reader.required(key, &TEXT, ": write something");
        }
        let problems: Vec<String> = reader.problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "b (app-config.yaml:2): $file \"nowhere.txt\" does not exist",
                "a (app-config.yaml:1): required, but the environment variable NOBODY_SET_THIS is not set",
                "c: required: write something",
            ]
        );
    }
}
