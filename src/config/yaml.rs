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
    let mut builder = Builder { file, limits, open: Vec::new(), anchors: HashMap::new(), line: 1, root: None };
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
    Ok(builder.root.unwrap_or(Node { value: Value::Null, origin }))
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
    Map { entries: BTreeMap<String, Node>, key: Option<String> },
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
                let node = Node { value, origin: self.origin() };
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
                self.begin(Content::Map { entries: BTreeMap::new(), key: None }, anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {
                Ok(())
            }
        }
    }

    fn begin(&mut self, content: Content, anchor: usize) -> Result<(), Malformed> {
        self.spend(1)?;
        self.open.push(Open { line: self.line, anchor, content, weight: 1, depth: 1 });
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
        let node = Node { value, origin: self.origin_at(open.line) };
        self.complete(Built { node, weight: open.weight, depth: open.depth }, open.anchor)
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
            return Ok(if style == ScalarStyle::Plain { plain() } else { Value::Text(text.into_owned()) });
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
        Origin::File { file: Arc::clone(self.file), line, via: None }
    }

    fn malformed(&self, message: &str) -> Malformed {
        Malformed { line: self.line, message: message.to_owned() }
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
        let infinity = if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY };
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
    let digits_only = unsigned.chars().all(|c| matches!(c, '0'..='9' | '.' | 'e' | 'E' | '+' | '-'));
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
    Malformed { line: error.marker().line(), message: format!("is not valid YAML: {}", error.info()) }
}

#[cfg(test)]
mod tests;
