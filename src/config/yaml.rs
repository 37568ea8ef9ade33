//! YAML text → tree, as the npm package `yaml` (version 2, YAML 1.2 core schema) reads it for
//! `@backstage/config-loader`: `yes` and `010` are what they look like, `<<` is a key like any other, a key that stands
//! twice in a map is an error.
//!
//! Built from the parser's events rather than by a loader, so that each value keeps its line and no file, however it
//! nests or repeats its anchors, grows past what [`Limits`] allows.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Tag};

use super::js;
use super::value::{Node, Origin, Value};

/// Maps and lists in one another; a configuration of Backstage has about ten levels.
pub(super) const DEEPEST: usize = 64;

/// How much a whole configuration may hold, over all of its files.
#[derive(Debug)]
pub(super) struct Limits {
    /// What may still be made: one for each value, and one more for every [`TEXT_UNIT`] bytes of text. What an alias
    /// stands for counts each time, so that a few lines can't stand for billions of values.
    pub(super) weight: usize,
}

/// Bytes of text that weigh as much as a value does without any.
const TEXT_UNIT: usize = 32;

impl Limits {
    fn spend(&mut self, weight: usize) -> Result<(), &'static str> {
        self.weight = self
            .weight
            .checked_sub(weight)
            .ok_or("the configuration holds too much (what an alias stands for counts each time)")?;
        Ok(())
    }

    /// The same account for a tree that was not read from YAML.
    pub(super) fn spend_tree(&mut self, node: &Node) -> Result<(), &'static str> {
        match &node.value {
            Value::Text(text) => self.spend(1 + text.len() / TEXT_UNIT),
            Value::Null | Value::Bool(_) | Value::Number(_) => self.spend(1),
            Value::List(items) => {
                self.spend(1)?;
                items.iter().try_for_each(|item| self.spend_tree(item))
            }
            Value::Map(entries) => {
                self.spend(1 + entries.len())?;
                entries.values().try_for_each(|entry| self.spend_tree(entry))
            }
        }
    }
}

/// Why a text is not YAML that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct Malformed {
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) message: String,
}

/// Reads a text that holds at most one document. An empty one is null.
pub(super) fn parse(text: &str, file: &Arc<str>, limits: &mut Limits) -> Result<Node, Malformed> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder {
        file,
        limits,
        open: Vec::new(),
        anchors: HashMap::new(),
        line: 1,
        root: None,
    };
    let mut parser = Parser::new_from_str(text);
    let mut documents = 0;
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(scan_error)?;
        builder.line = span.start.line();
        match event {
            Event::DocumentStart(_) if documents > 0 => {
                return Err(builder.malformed("is more than one document: leave out the --- after the first"));
            }
            Event::DocumentStart(_) => documents += 1,
            event => builder.take(event)?,
        }
    }
    let origin = builder.origin();
    Ok(builder.root.unwrap_or(Node {
        value: Value::Null,
        origin,
    }))
}

struct Builder<'a> {
    file: &'a Arc<str>,
    limits: &'a mut Limits,
    /// The collections that have begun and not ended.
    open: Vec<Open>,
    anchors: HashMap<usize, Built>,
    line: usize,
    root: Option<Node>,
}

/// A collection that is being read.
struct Open {
    line: usize,
    anchor: usize,
    content: Content,
    weight: usize,
    depth: usize,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: BTreeMap<String, Node>,
        key: Option<String>,
    },
}

/// A complete value, what it weighs (see [`Limits`]) and how deep it nests.
#[derive(Clone)]
struct Built {
    node: Node,
    weight: usize,
    depth: usize,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>) -> Result<(), Malformed> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let length = text.len();
                let value = self.scalar(text, style, tag.as_deref())?;
                let weight = 1 + length / TEXT_UNIT;
                self.spend(weight)?;
                let node = Node {
                    value,
                    origin: self.origin(),
                };
                self.complete(Built { node, weight, depth: 0 }, anchor)
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(built) => {
                    self.spend(built.weight)?;
                    self.complete(built, 0)
                }
                None => Err(self.malformed("an alias stands inside of what it stands for")),
            },
            Event::SequenceStart(anchor, tag) => {
                self.collection_tag(tag.as_deref(), "seq")?;
                self.begin(Content::List(Vec::new()), anchor)
            }
            Event::MappingStart(anchor, tag) => {
                self.collection_tag(tag.as_deref(), "map")?;
                self.begin(
                    Content::Map {
                        entries: BTreeMap::new(),
                        key: None,
                    },
                    anchor,
                )
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {
                Ok(())
            }
        }
    }

    fn begin(&mut self, content: Content, anchor: usize) -> Result<(), Malformed> {
        self.spend(1)?;
        self.open.push(Open {
            line: self.line,
            anchor,
            content,
            weight: 1,
            depth: 1,
        });
        self.check_depth(0)
    }

    fn end(&mut self) -> Result<(), Malformed> {
        let Some(open) = self.open.pop() else {
            return Err(self.malformed("a map or list ends that never began"));
        };
        let value = match open.content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, .. } => Value::Map(entries),
        };
        let node = Node {
            value,
            origin: self.origin_at(open.line),
        };
        self.complete(
            Built {
                node,
                weight: open.weight,
                depth: open.depth,
            },
            open.anchor,
        )
    }

    /// Puts a complete value where it belongs: into the innermost open collection.
    fn complete(&mut self, built: Built, anchor: usize) -> Result<(), Malformed> {
        self.check_depth(built.depth)?;
        if anchor > 0 {
            self.anchors.insert(anchor, built.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(built.node);
            return Ok(());
        };
        open.weight = open.weight.saturating_add(built.weight);
        open.depth = open.depth.max(built.depth + 1);
        match &mut open.content {
            Content::List(items) => items.push(built.node),
            Content::Map { entries, key } => match key.take() {
                Some(key) => {
                    entries.insert(key, built.node);
                }
                None => {
                    let Some(name) = built.node.value.scalar_text() else {
                        return Err(self.malformed("a map or list can't be a key"));
                    };
                    if entries.contains_key(&name) {
                        return Err(self.malformed(&format!("the key {name:?} stands twice in the same map")));
                    }
                    *key = Some(name);
                }
            },
        }
        Ok(())
    }

    fn check_depth(&self, inside: usize) -> Result<(), Malformed> {
        if self.open.len() + inside > DEEPEST {
            return Err(self.malformed(&format!("maps and lists nest deeper than {DEEPEST} levels")));
        }
        Ok(())
    }

    fn spend(&mut self, weight: usize) -> Result<(), Malformed> {
        self.limits.spend(weight).map_err(|message| self.malformed(message))
    }

    /// The core schema's reading of a scalar. Tags of other schemas make text of it, as upstream does.
    fn scalar(&self, text: Cow<'_, str>, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, Malformed> {
        let plain = || core_schema(&text).unwrap_or_else(|| Value::Text(text.to_string()));
        let Some(tag) = tag else {
            return Ok(if style == ScalarStyle::Plain {
                plain()
            } else {
                Value::Text(text.into_owned())
            });
        };
        if !tag.is_yaml_core_schema() {
            return Ok(Value::Text(text.into_owned()));
        }
        Ok(match (tag.suffix.as_str(), plain()) {
            ("null", Value::Null) => Value::Null,
            ("bool", Value::Bool(flag)) => Value::Bool(flag),
            ("int", Value::Number(number)) if !is_float(&text) => Value::Number(number),
            ("float", Value::Number(number)) if is_float(&text) => Value::Number(number),
            ("str" | "null" | "bool" | "int" | "float", _) => Value::Text(text.into_owned()),
            (other, _) => return Err(self.malformed(&format!("the tag !!{other} is not supported"))),
        })
    }

    fn collection_tag(&self, tag: Option<&Tag>, allowed: &str) -> Result<(), Malformed> {
        match tag {
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix != allowed => {
                Err(self.malformed(&format!("the tag !!{} is not supported", tag.suffix)))
            }
            _ => Ok(()),
        }
    }

    fn origin(&self) -> Origin {
        self.origin_at(self.line)
    }

    fn origin_at(&self, line: usize) -> Origin {
        Origin::File {
            file: Arc::clone(self.file),
            line,
            via: None,
        }
    }

    fn malformed(&self, message: &str) -> Malformed {
        Malformed {
            line: self.line,
            message: message.to_owned(),
        }
    }
}

/// What an untagged plain scalar is, if not text.
fn core_schema(text: &str) -> Option<Value> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Value::Null),
        "true" | "True" | "TRUE" => return Some(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Some(Value::Bool(false)),
        ".nan" | ".NaN" | ".NAN" => return Some(Value::Number(f64::NAN)),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        let infinity = if text.starts_with('-') {
            f64::NEG_INFINITY
        } else {
            f64::INFINITY
        };
        return Some(Value::Number(infinity));
    }
    for (prefix, radix) in [("0o", 8), ("0x", 16)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            return js::radix_number(digits, radix).map(Value::Number);
        }
    }
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        || !unsigned.contains(|c: char| c.is_ascii_digit())
    {
        return None;
    }
    let digits_only = unsigned
        .chars()
        .all(|c| matches!(c, '0'..='9' | '.' | 'e' | 'E' | '+' | '-'));
    text.parse::<f64>().ok().filter(|_| digits_only).map(Value::Number)
}

/// Whether a plain scalar is text, and not a number, a boolean or null.
pub(super) fn is_text(plain: &str) -> bool {
    core_schema(plain).is_none()
}

/// Whether a plain number is one of the core schema's floats.
fn is_float(text: &str) -> bool {
    !text.starts_with("0x") && text.contains(['.', 'e', 'E'])
}

/// The scanner's own words, which quote nothing of the text.
fn scan_error(error: ScanError) -> Malformed {
    Malformed {
        line: error.marker().line(),
        message: format!("is not valid YAML: {}", error.info()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<serde_json::Value, String> {
        parse(text, &"test.yaml".into(), &mut Limits { weight: 10_000 })
            .map(|node| node.to_json())
            .map_err(|malformed| format!("{}: {malformed}", malformed.line))
    }

    /// Expectations from running the npm package `yaml` 2.9.0.
    #[test]
    fn scalars_are_those_of_the_core_schema() {
        let text = "a: yes\nb: 010\nc: 0o10\nd: 0x1F\ne: 1_000\nf: 1e3\ng: .5\nh: 5.\ni: NO\nj: ~\nk:\nl: +5\n\
                    m: 12:30:00\nn: 2020-01-01\no: 'true'\np: True\nr: 1.2.3\ns: .\nt: 123456789012345678901";
        assert_eq!(
            read(text),
            Ok(json!({
                "a": "yes", "b": 10, "c": 8, "d": 31, "e": "1_000", "f": 1000, "g": 0.5, "h": 5, "i": "NO", "j": null,
                "k": null, "l": 5, "m": "12:30:00", "n": "2020-01-01", "o": "true", "p": true, "r": "1.2.3", "s": ".",
                "t": 123_456_789_012_345_680_000_f64
            }))
        );
    }

    #[test]
    fn tags_choose_the_type_as_upstream_reads_them() {
        assert_eq!(
            read(
                "a: !!str 5\nb: !!int \"5\"\nc: !foo 5\nd: !!float 3\nf: ! 5\ng: !foo {a: 1}\ni: !!int abc\nh: !!seq [1]"
            ),
            Ok(json!({"a": "5", "b": 5, "c": "5", "d": "3", "f": "5", "g": {"a": 1}, "i": "abc", "h": [1]}))
        );
        assert_eq!(
            read("e: !!binary aGk="),
            Err("1: the tag !!binary is not supported".to_owned())
        );
    }

    #[test]
    fn a_merge_key_is_a_key_like_any_other_and_aliases_are_copied() {
        let read = read("a: &x {b: 1}\nc:\n  <<: *x\n  d: *x");
        assert_eq!(read, Ok(json!({"a": {"b": 1}, "c": {"<<": {"b": 1}, "d": {"b": 1}}})));
    }

    #[test]
    fn keys_that_are_not_text_become_text() {
        assert_eq!(
            read("1: a\n0x10: b\ntrue: c\n~: d\n? e"),
            Ok(json!({"1": "a", "16": "b", "true": "c", "": "d", "e": null}))
        );
    }

    #[test]
    fn nothing_at_all_is_null() {
        for text in ["", "# c", "---\n...\n", "\u{feff}"] {
            assert_eq!(read(text), Ok(json!(null)), "{text:?}");
        }
    }

    #[test]
    fn what_upstream_refuses_is_refused_with_its_line() {
        for (text, line) in [
            ("a: 1\na: 2", 2),
            ("---\na: 1\n---\nb: 2", 3),
            ("a: 1\nb: *x", 2),
            ("a: &x {b: *x}", 1),
            ("a: 1\n\tb: 2", 1),
            ("a: b: c", 1),
            ("a: @x", 1),
            ("[1, 2", 2),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.starts_with(&format!("{line}: ")), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..30 {
            let inner = format!("*a{}, ", level - 1).repeat(9);
            text.push_str(&format!("a{level}: &a{level} [{inner}]\n"));
        }
        assert!(read(&text).expect_err("far too many values").contains("too much"));
        let long = format!("a: &a {}\nb: [{}]", "x".repeat(9000), "*a, ".repeat(9000));
        assert!(read(&long).expect_err("far too much text").contains("too much"));
    }

    #[test]
    fn nesting_without_end_is_refused() {
        for text in [
            "[".repeat(100_000),
            "- ".repeat(100_000),
            "{a: ".repeat(100_000),
            "? ".repeat(100_000),
        ] {
            assert!(read(&text).is_err());
        }
        let chain: String = (1..500).map(|n| format!("a{n}: &a{n} [*a{}]\n", n - 1)).collect();
        assert!(
            read(&format!("a0: &a0 x\n{chain}"))
                .expect_err("too deep")
                .contains("nest deeper")
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".*") {
            let _ = read(&text);
        }

        #[test]
        fn any_yaml_like_text_is_read_without_a_panic(text in "([-?:,#&*!|>'\"%@`{}\\[\\]~ \n\t]|a|1|é|: |- |<<|---\n|\\.\\.\\.\n)*") {
            let _ = read(&text);
        }
    }
}
