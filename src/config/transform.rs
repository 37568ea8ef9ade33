//! What a file's values stand for: `${VAR}` in text, and the maps of one key `$env`, `$file` and `$include`, as
//! `@backstage/config-loader`, `src/sources/transform/` applies them.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::environment::Environment;
use super::js;
use super::problem::Problem;
use super::substitute::{Unset, substitute};
use super::value::{Node, Origin, Value};
use super::yaml;

/// The largest file that is read, a configuration or one that it refers to. Backstage's own are of some 10 KB; past
/// this it is a wrong path.
const LARGEST_FILE: u64 = 1 << 20;
/// Files that one configuration may refer to, each time counted. Includes that multiply end here.
const MOST_FILES: usize = 256;
/// Includes inside included files.
const DEEPEST_INCLUDE: usize = 16;
/// See [`yaml::Limits`].
const HEAVIEST: usize = 250_000;

const INCLUDE_KEYS: [&str; 3] = ["$file", "$env", "$include"];

/// Keys that somebody wrote and that have no value all the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Absences {
    /// Those that are filled from what is not there, such as a variable that is not set, with the reason. An error
    /// only where the value is required.
    pub(super) unset: BTreeMap<String, (String, Origin)>,
    /// Those that there is a problem with already.
    pub(super) broken: Vec<String>,
}

/// Reads files and fills in what they refer to, within the bounds above, and keeps what went wrong.
pub(super) struct Files<'e> {
    environment: &'e Environment,
    limits: yaml::Limits,
    files_left: usize,
    /// What went wrong, in the order in which it was met.
    pub(super) problems: Vec<Problem>,
    /// What has no value, by key.
    pub(super) absences: Absences,
}

/// Where a value stands: what is relative to it, and how far down it is.
#[derive(Clone, Copy)]
struct Place<'p> {
    directory: &'p Path,
    includes: usize,
    depth: usize,
}

impl<'e> Files<'e> {
    pub(super) fn new(environment: &'e Environment) -> Self {
        Self {
            environment,
            limits: yaml::Limits { weight: HEAVIEST },
            files_left: MOST_FILES,
            problems: Vec::new(),
            absences: Absences::default(),
        }
    }

    /// One configuration file as a layer; `None` where it is empty or can't be used at all, which is a problem then.
    pub(super) fn layer(&mut self, path: &Path) -> Option<Node> {
        let name = self.display(path);
        let whole = Origin::File {
            file: Arc::clone(&name),
            line: 0,
            via: None,
        };
        let parsed = self
            .read(path)
            .map_err(|message| Problem::new("", Some(&whole), message))
            .and_then(|text| yaml::parse(&text, &name, &mut self.limits).map_err(|error| malformed(&name, &error)));
        let node = match parsed {
            Ok(node) => node,
            Err(problem) => {
                self.problems.push(problem);
                return None;
            }
        };
        if node.value == Value::Null {
            return None;
        }
        let directory = path.parent().unwrap_or(Path::new("")).to_owned();
        let place = Place {
            directory: &directory,
            includes: 0,
            depth: 0,
        };
        let known = self.problems.len();
        match self.fill(node, "", place) {
            Some(
                node @ Node {
                    value: Value::Map(_), ..
                },
            ) => Some(node),
            // What stands for nothing because of a problem needs no second one.
            None if self.problems.len() > known => None,
            other => {
                let kind = other.map_or("nothing", |node| node.kind());
                self.problems.push(Problem::new(
                    "",
                    Some(&whole),
                    format!("holds {kind}, not a map of keys"),
                ));
                None
            }
        }
    }

    /// What a value stands for; `None` where it has no value.
    fn fill(&mut self, node: Node, key: &str, place: Place<'_>) -> Option<Node> {
        match self.replace(node, key, place) {
            Replaced::Same(node) => self.fill_parts(node, key, place),
            Replaced::Other(node, None) => Some(node),
            Replaced::Other(node, Some(directory)) => {
                let place = Place {
                    directory: &directory,
                    includes: place.includes + 1,
                    depth: place.depth,
                };
                self.fill_parts(node, key, place)
            }
            Replaced::Unset(reason, origin) => {
                self.absences.unset.insert(key.to_owned(), (reason, origin));
                None
            }
            Replaced::Broken => None,
        }
    }

    /// The values inside a map or list. Those without a value are left out, and a list closes up.
    fn fill_parts(&mut self, node: Node, key: &str, place: Place<'_>) -> Option<Node> {
        let Node { value, origin } = node;
        // Includes add to the depth that a single file may have.
        if place.depth > 2 * yaml::DEEPEST {
            self.problem(
                key,
                &origin,
                format!("maps and lists nest deeper than {} levels", 2 * yaml::DEEPEST),
            );
            return None;
        }
        let inner = Place {
            depth: place.depth + 1,
            ..place
        };
        let value = match value {
            Value::List(items) => {
                let filled = items.into_iter().enumerate();
                Value::List(
                    filled
                        .filter_map(|(index, item)| self.fill(item, &format!("{key}[{index}]"), inner))
                        .collect(),
                )
            }
            Value::Map(entries) => {
                let filled = entries.into_iter().filter_map(|(name, entry)| {
                    let entry_key = if key.is_empty() {
                        name.clone()
                    } else {
                        format!("{key}.{name}")
                    };
                    self.fill(entry, &entry_key, inner).map(|entry| (name, entry))
                });
                Value::Map(filled.collect())
            }
            scalar => scalar,
        };
        Some(Node { value, origin })
    }

    /// What the value itself is replaced by, before its parts are looked at.
    fn replace(&mut self, node: Node, key: &str, place: Place<'_>) -> Replaced {
        match &node.value {
            Value::Text(text) => self.fill_text(text, &node.origin),
            Value::Map(entries) => {
                let Some(include) = entries.keys().find(|name| INCLUDE_KEYS.contains(&name.as_str())) else {
                    return Replaced::Same(node);
                };
                match self.include(include, entries, &node.origin, place) {
                    Ok(replaced) => replaced,
                    Err(message) => {
                        self.problem(key, &node.origin, message);
                        Replaced::Broken
                    }
                }
            }
            _ => Replaced::Same(node),
        }
    }

    fn fill_text(&self, text: &str, origin: &Origin) -> Replaced {
        // A text is often made of one variable; which, is what an operator looks for.
        let mut named = None;
        let lookup = |name: &str| self.environment.lookup(name);
        let filled = substitute(text, lookup);
        if let Some((_, rest)) = text.split_once("${") {
            named = rest.split(['}', ':']).next().map(|name| format!("${}", js::trim(name)));
        }
        match filled {
            Ok(filled) => {
                let origin = if filled == text {
                    origin.clone()
                } else {
                    via(origin, named.as_deref())
                };
                Replaced::Other(
                    Node {
                        value: Value::Text(filled.into_owned()),
                        origin,
                    },
                    None,
                )
            }
            Err(unset) => Replaced::Unset(unset.to_string(), origin.clone()),
        }
    }

    fn include(
        &mut self,
        include: &str,
        entries: &BTreeMap<String, Node>,
        origin: &Origin,
        place: Place<'_>,
    ) -> Result<Replaced, String> {
        if entries.len() != 1 {
            return Err(format!("has other keys beside {include}: leave them out"));
        }
        let target = match entries.get(include).map(|node| (&node.value, node)) {
            Some((Value::Text(text), _)) => substitute(text, |name| self.environment.lookup(name))
                .map_err(|unset| format!("{include} can't be read: {unset}"))?
                .into_owned(),
            Some((_, node)) => return Err(format!("{include} is {}, not text", node.kind())),
            None => return Err(format!("{include} has no value")),
        };
        match include {
            "$env" => Ok(match self.environment.lookup(&target) {
                Some(value) => {
                    let origin = via(origin, Some(&format!("${target}")));
                    Replaced::Other(
                        Node {
                            value: Value::Text(value),
                            origin,
                        },
                        None,
                    )
                }
                None => Replaced::Unset(Unset { name: target }.to_string(), origin.clone()),
            }),
            "$file" => {
                let path = resolve(place.directory, &target);
                let text = self
                    .read(&path)
                    .map_err(|message| format!("$file {target:?} {message}"))?;
                let text = text.trim_end_matches(js::is_space).to_owned();
                let origin = via(origin, Some(&self.display(&path)));
                Ok(Replaced::Other(
                    Node {
                        value: Value::Text(text),
                        origin,
                    },
                    None,
                ))
            }
            _ => self.include_file(&target, origin, place),
        }
    }

    /// `$include: path#a.b`: a YAML or JSON file, or the value at a key in it.
    fn include_file(&mut self, target: &str, origin: &Origin, place: Place<'_>) -> Result<Replaced, String> {
        if place.includes >= DEEPEST_INCLUDE {
            return Err(format!(
                "$include {target:?} includes itself, or is nested deeper than {DEEPEST_INCLUDE} files"
            ));
        }
        let (file, inside) = target.split_once('#').unwrap_or((target, ""));
        let path = resolve(place.directory, file);
        let said = |message: String| format!("$include {file:?} {message}");
        let name = self.display(&path);
        let whole = match path.extension().and_then(|extension| extension.to_str()) {
            Some("yaml" | "yml") => {
                let text = self.read(&path).map_err(said)?;
                yaml::parse(&text, &name, &mut self.limits)
                    .map_err(|error| said(format!("line {}: {error}", error.line)))?
            }
            Some("json") => {
                let text = self.read(&path).map_err(said)?;
                let json = serde_json::from_str(&text).map_err(|error| said(format!("is not valid JSON: {error}")))?;
                let node = Node::from_json(
                    json,
                    &Origin::File {
                        file: name,
                        line: 0,
                        via: None,
                    },
                );
                self.limits.spend_tree(&node).map_err(|error| said(error.to_owned()))?;
                node
            }
            _ => {
                return Err(said(
                    "is not a file that can be included: use .yaml, .yml or .json".to_owned(),
                ));
            }
        };
        let Some(node) = value_at(whole, inside).map_err(said)? else {
            return Ok(Replaced::Unset(format!("{file} has no key {inside}"), origin.clone()));
        };
        let directory = path.parent().unwrap_or(Path::new("")).to_owned();
        match &node.value {
            Value::Text(text) => Ok(self.fill_text(text, &node.origin)),
            _ => Ok(Replaced::Other(node, Some(directory))),
        }
    }

    /// The text of a file. Errors are worded to stand after its name.
    fn read(&mut self, path: &Path) -> Result<String, String> {
        self.files_left = self
            .files_left
            .checked_sub(1)
            .ok_or_else(|| format!("is not read: the configuration refers to more than {MOST_FILES} files"))?;
        let unreadable = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => "does not exist".to_owned(),
            std::io::ErrorKind::IsADirectory => "is a folder, not a file".to_owned(),
            _ => format!("can't be read: {error}"),
        };
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let mut bytes = Vec::new();
        // One byte past the limit, so that what is too large is told from what just fits.
        file.take(LARGEST_FILE + 1)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        if bytes.len() as u64 > LARGEST_FILE {
            return Err(format!("is larger than {LARGEST_FILE} bytes"));
        }
        String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())
    }

    fn problem(&mut self, key: &str, origin: &Origin, message: String) {
        // Includes that multiply would each report that no more files are read.
        const MOST_PROBLEMS: usize = 100;
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(Problem::new(key, Some(origin), message));
            self.absences.broken.push(key.to_owned());
        }
    }

    /// A file as the operator would name it: relative to the working directory where it is inside.
    fn display(&self, path: &Path) -> Arc<str> {
        path.strip_prefix(&self.environment.directory)
            .unwrap_or(path)
            .to_string_lossy()
            .into()
    }
}

/// What became of a value.
enum Replaced {
    /// Nothing: it stands for itself, and its parts are looked at.
    Same(Node),
    /// This; its parts are looked at where a directory says what they are relative to.
    Other(Node, Option<PathBuf>),
    /// Nothing, because what it is filled from is not there.
    Unset(String, Origin),
    /// Nothing, because of a problem that is told.
    Broken,
}

/// The value at `a.b` inside of a file; `None` where the last part is missing.
fn value_at(whole: Node, inside: &str) -> Result<Option<Node>, String> {
    let mut value = Some(whole);
    let parts: Vec<&str> = if inside.is_empty() {
        Vec::new()
    } else {
        inside.split('.').collect()
    };
    for (index, part) in parts.iter().enumerate() {
        let Some(Node {
            value: Value::Map(mut entries),
            ..
        }) = value
        else {
            let above: Vec<&str> = parts.iter().take(index).copied().collect();
            return Err(format!("has no map at {:?}", above.join(".")));
        };
        value = entries.remove(*part);
    }
    Ok(value)
}

/// `path.resolve`: `.` and `..` are taken out by name, as upstream does, so that messages are readable.
pub(super) fn resolve(directory: &Path, path: &str) -> PathBuf {
    let mut resolved = PathBuf::new();
    for component in directory.join(path).components() {
        match component {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                resolved.pop();
            }
            other => resolved.push(other),
        }
    }
    resolved
}

fn via(origin: &Origin, source: Option<&str>) -> Origin {
    match origin {
        Origin::File { file, line, .. } => Origin::File {
            file: Arc::clone(file),
            line: *line,
            via: source.map(Arc::from),
        },
        other => other.clone(),
    }
}

fn malformed(file: &Arc<str>, error: &yaml::Malformed) -> Problem {
    let origin = Origin::File {
        file: Arc::clone(file),
        line: error.line,
        via: None,
    };
    Problem::new("", Some(&origin), error.to_string())
}
