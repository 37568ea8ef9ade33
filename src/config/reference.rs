//! `config/`, held against the code.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::testing::{Folder, resolved};
use super::value::{Node, Value};
use super::{Configuration, Environment, Sources, load, read};

const DOCS: &str = "techdocs: {publisher: {local: {publishDirectory: site}}}\n";

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config")
}

fn reference() -> String {
    std::fs::read_to_string(folder().join("callboard.yaml")).unwrap()
}

/// The reference with its examples in force: `#key:` is one of a setting without a default, `# Text` is a comment.
fn reference_with_examples() -> String {
    let is_example = |line: &str| {
        line.trim_start().strip_prefix('#').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
    };
    let line = |line: &str| if is_example(line) { line.replacen('#', "", 1) } else { line.to_owned() };
    reference().lines().map(line).collect::<Vec<_>>().join("\n")
}

fn ours(configuration: &Configuration) -> BTreeSet<String> {
    configuration.effective.keys().filter(|key| key.starts_with("callboard.")).map(str::to_owned).collect()
}

/// The keys of everything in a tree that is not a map.
fn leaves(node: &Node, key: &str, found: &mut BTreeSet<String>) {
    match &node.value {
        Value::Map(entries) => {
            for (name, entry) in entries {
                leaves(entry, &format!("{key}.{name}"), found);
            }
        }
        _ => {
            found.insert(key.trim_start_matches('.').to_owned());
        }
    }
}

#[test]
fn the_reference_names_every_key_of_ours_and_no_other() {
    let folder = Folder::new(&[("callboard.yaml", &reference_with_examples())]);
    let mut written = BTreeSet::new();
    // What the examples refer to: without a value their keys would not be there.
    let variables = [("REDIS_PASSWORD", "a"), ("REDIS_INTEGRITY_KEY", "b")];
    leaves(load(&folder.sources(&["callboard.yaml"], &variables)).unwrap().tree(), "", &mut written);
    assert_eq!(written, ours(&resolved(DOCS).unwrap()));
}

#[test]
fn the_reference_holds_exactly_the_defaults() {
    let defaults = resolved(DOCS).unwrap();
    let written = resolved(&format!("{DOCS}{}", reference())).unwrap();
    for key in ours(&defaults) {
        assert_eq!(written.effective.get(&key), defaults.effective.get(&key), "{key}");
        if defaults.effective.get(&key).is_none() {
            continue;
        }
        assert_eq!(defaults.effective.origin(&key).map(ToString::to_string).as_deref(), Some("default"), "{key}");
    }
}

#[test]
fn every_setting_of_the_reference_has_a_comment_before_it() {
    let text = reference_with_examples();
    let lines: Vec<&str> = text.lines().collect();
    for pair in
        lines.windows(2).filter(|pair| pair[1].trim_end().contains(": ") && !pair[1].trim_start().starts_with('#'))
    {
        assert!(pair[0].trim_start().starts_with('#'), "{}", pair[1]);
    }
}

#[test]
fn every_example_loads_without_problems_or_warnings() {
    let pair = pair();
    let mut loaded = 0;
    for entry in std::fs::read_dir(folder().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        let variables = ["TECHDOCS_BUCKET", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "CI_TOKEN"]
            .into_iter()
            .chain(["S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY"])
            .map(|name| (name.to_owned(), "some-value".to_owned()))
            .chain(["tls.crt", "tls.key", "ca.crt"].map(|name| {
                let variable = name.replace('.', "_").to_uppercase();
                (variable, pair.path().join(name).display().to_string())
            }))
            .collect();
        let environment = Environment { variables, directory: folder() };
        let configuration = read(&Sources { files: vec![path.clone()], environment });
        let configuration = configuration.unwrap_or_else(|problems| panic!("{}: {problems}", path.display()));
        assert!(configuration.warnings.is_empty(), "{}: {:?}", path.display(), configuration.warnings);
        loaded += 1;
    }
    assert!(loaded >= 5, "{loaded} examples");
}

/// A certificate that is its own authority, and its key.
fn pair() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["docs.example.com".to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap().pem();
    for (name, text) in [("tls.crt", &certificate), ("ca.crt", &certificate), ("tls.key", &key.serialize_pem())] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

#[test]
fn the_effective_configuration_can_be_used_as_a_configuration() {
    let first = resolved(&format!(
        "{DOCS}backend: {{baseUrl: 'https://b.test', auth: {{externalAccess: [\
        {{type: static, options: {{token: longenough, subject: ci}}, accessRestrictions: [{{plugin: techdocs}}]}}]}}}}"
    ))
    .unwrap();
    let printed = first.effective.to_yaml(true);
    // Only the masked secret keeps it from being the same.
    let second = resolved(&printed.replace("\"***\"", "longenough")).unwrap();
    assert_eq!(second.effective.to_yaml(false), first.effective.to_yaml(false));
}
