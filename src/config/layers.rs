//! The layers of a configuration, laid one over the other: files in their order, then the environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::environment::{self, Environment};
use super::files::resolve;
use super::problem::{Problem, Problems};
use super::transform::{Absences, Transform};
use super::value::{Node, Origin, Value};

/// What a configuration is read from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The `--config` paths, each laid over the one before. Without any, `app-config.yaml` and its like in the working
    /// directory.
    pub files: Vec<PathBuf>,
    /// Variables and working directory.
    pub environment: Environment,
}

/// All layers laid over one another, with every reference filled in, and nothing understood yet.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub(super) tree: Node,
    pub(super) absences: Absences,
    pub(super) directory: PathBuf,
    /// For the standard variables of others (`OTEL_…`), which stand for defaults.
    pub(super) environment: Environment,
    files: Vec<PathBuf>,
    pub(super) problems: Problems,
}

/// Reads every layer.
///
/// # Errors
/// When a layer is missing or unreadable as a whole; all such layers are told. Problems with single values are kept
/// in [`Loaded::problems`], to be told together with those of the values themselves.
pub fn load(sources: &Sources) -> Result<Loaded, Problems> {
    let environment = &sources.environment;
    let (paths, mut problems) = paths(sources);
    let mut transform = Transform::new(environment);
    let mut tree = Node { value: Value::Map(BTreeMap::new()), origin: Origin::Default };
    for path in &paths {
        if let Some(layer) = transform.layer(path) {
            tree.lay_over(layer);
        }
    }
    problems.extend(transform.problems);
    let (layer, of_variables) = environment::layer(environment);
    problems.extend(of_variables);
    if let Some(layer) = layer {
        tree.lay_over(layer);
    }
    tree.drop_nulls();
    // Without a whole layer, most of what the others seem to lack would be false alarm.
    if problems.iter().any(|problem| problem.key.is_empty()) {
        return Err(problems);
    }
    Ok(Loaded {
        tree,
        absences: transform.absences,
        directory: environment.directory.clone(),
        environment: environment.clone(),
        files: paths,
        problems,
    })
}

impl Loaded {
    /// Whether there is any configuration file. Without one the program has nothing to serve but its sample site;
    /// `APP_CONFIG_…` variables may still change how it does that, or name a publisher and so make it a real one.
    pub fn has_files(&self) -> bool {
        !self.files.is_empty()
    }

    /// The files that were read, in their order, those that they refer to not included.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// What is wrong with single values: references that can't be filled in, variables that contradict.
    pub fn problems(&self) -> &Problems {
        &self.problems
    }

    /// The whole tree, Backstage's own keys included and **with its secrets**: for comparing, never for printing.
    pub fn tree(&self) -> &Node {
        &self.tree
    }
}

/// The configuration files, and a problem for each that is named and can't be one.
fn paths(sources: &Sources) -> (Vec<PathBuf>, Problems) {
    let directory = &sources.environment.directory;
    let mut problems = Problems::default();
    if sources.files.is_empty() {
        let names = default_names(sources.environment.variables.get("BACKSTAGE_ENV").map_or("", String::as_str));
        let paths = names.iter().map(|name| resolve(directory, name)).filter(|path| is_there(path)).collect();
        return (paths, problems);
    }
    let mut paths = Vec::new();
    for file in &sources.files {
        match file.to_str() {
            Some(url) if is_remote(url) => problems.push(Problem::new(
                "",
                None,
                format!("{url}: configuration is not read from URLs: name a file"),
            )),
            Some(path) => paths.push(resolve(directory, path)),
            None => paths.push(directory.join(file)),
        }
    }
    (paths, problems)
}

/// Whether anything has that name. A dangling link or a folder that may not be looked into counts: whoever put it there
/// means to be told, and not to be served the sample site.
fn is_there(path: &Path) -> bool {
    !matches!(path.symlink_metadata(), Err(error) if error.kind() == std::io::ErrorKind::NotFound)
}

/// `ConfigSources.defaultForTargets` of `@backstage/config-loader`, with `BACKSTAGE_ENV`'s comma-separated names.
fn default_names(backstage_env: &str) -> Vec<String> {
    let names: Vec<&str> = backstage_env.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let mut files = vec!["app-config.yaml".to_owned()];
    files.extend(names.iter().map(|name| format!("app-config.{name}.yaml")));
    files.push("app-config.local.yaml".to_owned());
    files.extend(names.iter().map(|name| format!("app-config.{name}.local.yaml")));
    files
}

fn is_remote(target: &str) -> bool {
    !Path::new(target).exists() && url::Url::parse(target).is_ok_and(|url| url.has_host())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::testing::Folder;

    #[test]
    fn each_file_is_laid_over_the_one_before_and_variables_over_all() {
        let folder =
            Folder::new(&[("a.yaml", "x: {a: 1, b: 1, c: 1}\nl: [1, 2]"), ("b.yaml", "x: {b: 2, c: 2}\nl: [3]")]);
        let loaded = load(&folder.sources(&["a.yaml", "b.yaml"], &[("APP_CONFIG_x_c", "3")])).unwrap();
        assert_eq!(loaded.tree().to_json(), json!({"x": {"a": 1, "b": 2, "c": 3}, "l": [3]}));
    }

    #[test]
    fn without_config_the_default_files_are_read_where_they_exist() {
        let files = [
            ("app-config.yaml", "a: 1\nb: 1\nc: 1"),
            ("app-config.local.yaml", "c: 3"),
            ("app-config.production.yaml", "b: 2\nc: 2"),
        ];
        let folder = Folder::new(&files);
        let tree = |variables: &[(&str, &str)]| load(&folder.sources(&[], variables)).unwrap().tree().to_json();
        assert_eq!(tree(&[]), json!({"a": 1, "b": 1, "c": 3}));
        assert_eq!(tree(&[("BACKSTAGE_ENV", "production")]), json!({"a": 1, "b": 2, "c": 3}));
    }

    #[test]
    fn no_file_at_all_is_told_apart_from_an_empty_one() {
        let empty = Folder::new(&[]);
        assert!(!load(&empty.sources(&[], &[("APP_CONFIG_a", "1")])).unwrap().has_files());
        let folder = Folder::new(&[("app-config.yaml", "# nothing\n")]);
        assert!(load(&folder.sources(&[], &[])).unwrap().has_files());
    }

    #[cfg(unix)]
    #[test]
    fn a_default_file_that_is_a_dangling_link_is_a_problem() {
        let folder = Folder::new(&[]);
        std::os::unix::fs::symlink("nowhere", folder.path().join("app-config.yaml")).unwrap();
        let told = load(&folder.sources(&[], &[])).unwrap_err().to_string();
        assert!(told.contains("app-config.yaml: does not exist"), "{told}");
    }

    #[test]
    fn every_layer_that_cannot_be_read_is_told() {
        let folder = Folder::new(&[("bad.yaml", "a: [1"), ("list.yaml", "- 1"), ("good.yaml", "a: 1")]);
        let sources =
            folder.sources(&["missing.yaml", "bad.yaml", "list.yaml", "good.yaml", "https://x.test/c.yaml"], &[]);
        let told = load(&sources).unwrap_err().to_string();
        for part in ["4 problems", "missing.yaml: does not exist", "bad.yaml:2", "list.yaml: holds a list", "x.test"] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
}
