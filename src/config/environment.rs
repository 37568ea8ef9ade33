//! What surrounds the process: its variables and its working directory, as arguments rather than globals, and the
//! configuration layer that the variables make up.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::js;
use super::problem::Problem;
use super::value::{Node, Origin, Value};
use super::yaml::DEEPEST;

/// The variables and the working directory that a configuration is read in.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// Environment variables. Those that are not UTF-8 are left out, since nothing can name them.
    pub variables: BTreeMap<String, String>,
    /// What relative paths of the command line and `publishDirectory` start from.
    pub directory: PathBuf,
}

impl Environment {
    /// The environment of this process.
    ///
    /// # Errors
    /// When the working directory is gone or may not be looked at.
    pub fn of_process() -> std::io::Result<Self> {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Ok(Self {
            variables,
            directory: std::env::current_dir()?,
        })
    }

    /// A variable for `${VAR}` and `$env`, which upstream trims.
    pub(super) fn lookup(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(|value| js::trim(value).to_owned())
    }
}

/// The names only: values may be secrets.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment")
            .field("variables", &self.variables.keys())
            .field("directory", &self.directory)
            .finish()
    }
}

const PREFIX: &str = "APP_CONFIG_";

/// The layer that `APP_CONFIG_a_b_c=value` variables make up (`@backstage/config-loader`,
/// `src/sources/EnvConfigSource.ts`). Values are JSON, or else the text itself; `${VAR}` has no meaning in them.
///
/// Read in the order of the names, so that the outcome is the same on every start.
pub(super) fn layer(environment: &Environment) -> (Option<Node>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut root = None;
    for (name, value) in &environment.variables {
        let Some(key) = name.strip_prefix(PREFIX).filter(|_| !value.is_empty()) else {
            continue;
        };
        let origin = Origin::Variable(Arc::from(name.as_str()));
        let root = root.get_or_insert_with(|| empty_map(&origin));
        if let Err(message) = place(root, key, value, &origin) {
            problems.push(Problem::new(key.replace('_', "."), Some(&origin), message));
        }
    }
    (root, problems)
}

fn place(root: &mut Node, key: &str, value: &str, origin: &Origin) -> Result<(), String> {
    let parts: Vec<&str> = key.split('_').collect();
    if parts.len() > DEEPEST {
        return Err(format!("nests deeper than {DEEPEST} levels"));
    }
    if let Some(part) = parts.iter().find(|part| !is_key_part(part)) {
        return Err(format!(
            "{part:?} can't be a part of a key: write letters and digits, beginning with a letter, and one _ between parts"
        ));
    }
    let json = serde_json::from_str(value).unwrap_or_else(|_| serde_json::Value::from(value));
    if json.is_null() {
        return Err("may not be null: leave the variable out, or set the key to null in a file".to_owned());
    }
    let Some((last, parents)) = parts.split_last() else {
        return Ok(());
    };
    let mut node = root;
    for part in parents {
        let Value::Map(entries) = &mut node.value else {
            return Err(nested_under_a_value());
        };
        node = entries.entry((*part).to_owned()).or_insert_with(|| empty_map(origin));
    }
    let Value::Map(entries) = &mut node.value else {
        return Err(nested_under_a_value());
    };
    if entries.contains_key(*last) {
        return Err("is set by another APP_CONFIG_ variable already: leave one of them out".to_owned());
    }
    entries.insert((*last).to_owned(), Node::from_json(json, origin));
    Ok(())
}

fn nested_under_a_value() -> String {
    "stands under a key that another APP_CONFIG_ variable sets to a value that is no map".to_owned()
}

fn empty_map(origin: &Origin) -> Node {
    Node {
        value: Value::Map(BTreeMap::new()),
        origin: origin.clone(),
    }
}

/// `/^[a-z][a-z0-9]*(?:[-_:][a-z0-9]+)*$/i`, of which `_` can't occur here.
fn is_key_part(part: &str) -> bool {
    part.starts_with(|c: char| c.is_ascii_alphabetic())
        && part
            .split(['-', ':'])
            .all(|piece| !piece.is_empty() && piece.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> (serde_json::Value, Vec<String>) {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let (node, problems) = layer(&Environment {
            variables,
            directory: PathBuf::new(),
        });
        let json = node.map_or(serde_json::Value::Null, |node| node.to_json());
        (json, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn variables_are_json_or_else_text() {
        let (tree, problems) = read(&[
            ("APP_CONFIG_a_b", "5"),
            ("APP_CONFIG_a_c", "[1,\"x\"]"),
            ("APP_CONFIG_a_d", "{\"e\":true}"),
            ("APP_CONFIG_a_d_f", "${HOME}"),
            ("APP_CONFIG_a_g", "\"5\""),
            ("APP_CONFIG_empty", ""),
            ("OTHER", "x"),
        ]);
        assert_eq!(
            tree,
            json!({"a": {"b": 5, "c": [1, "x"], "d": {"e": true, "f": "${HOME}"}, "g": "5"}})
        );
        assert_eq!(problems, Vec::<String>::new());
    }

    #[test]
    fn variables_that_contradict_or_spell_no_key_are_problems() {
        let (_, problems) = read(&[
            ("APP_CONFIG_a", "text"),
            ("APP_CONFIG_a_b", "1"),
            ("APP_CONFIG_c__d", "1"),
            ("APP_CONFIG_e", "null"),
            ("APP_CONFIG_", "1"),
            ("APP_CONFIG_1a", "1"),
        ]);
        assert_eq!(problems.len(), 5, "{problems:#?}");
    }
}
