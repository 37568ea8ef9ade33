//! Golden vectors: what the published `@backstage/config-loader`, `@backstage/config` and `ms` made of the same input
//! (`tests/vectors/config.json`, made by `tests/backstage/vectors/generate-config.mjs`). Where we differ on purpose
//! the vector holds our expectation, and says why.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::formats::{COUNT, FLAG, Format, TEXT, TEXTS};
use super::testing::Folder;
use super::value::{Node, Origin, number_json};
use super::{Environment, Sources, duration, load};

#[derive(Deserialize)]
struct Vectors {
    cases: Vec<Case>,
    reads: Vec<Read>,
    durations: Vec<Duration>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    files: BTreeMap<String, String>,
    env: BTreeMap<String, String>,
    args: Vec<PathBuf>,
    /// Missing where it is an error.
    expect: Option<Json>,
}

#[derive(Deserialize)]
struct Read {
    value: Json,
    #[serde(rename = "as")]
    kind: String,
    expect: Option<Json>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Duration {
    input: Json,
    ms: Option<f64>,
}

fn vectors() -> Vectors {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/config.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// Fails with every vector that went wrong, not only with the first.
fn all_agree(disagreements: Vec<String>, of: usize, at_least: usize) {
    assert!(of >= at_least, "only {of} vectors");
    assert!(disagreements.is_empty(), "{} of {of}:\n{}", disagreements.len(), disagreements.join("\n"));
}

#[test]
fn whole_configurations_come_out_as_upstream_reads_them() {
    let cases = vectors().cases;
    let disagreements = cases.iter().filter_map(|case| {
        let files: Vec<(&str, &str)> = case.files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let folder = Folder::new(&files);
        let environment = Environment { variables: case.env.clone(), directory: folder.path().to_owned() };
        let loaded = load(&Sources { files: case.args.clone(), environment });
        let ours = loaded.and_then(|loaded| match loaded.problems().is_empty() {
            true => Ok(same_numbers(loaded.tree().to_json())),
            false => Err(loaded.problems().clone()),
        });
        match (&ours, case.expect.clone().map(same_numbers)) {
            (Ok(ours), Some(expected)) if *ours == expected => None,
            (Err(_), None) => None,
            (_, expected) => Some(format!("{}: {ours:?}, not {expected:?}", case.name)),
        }
    });
    all_agree(disagreements.collect(), cases.len(), 60);
}

#[test]
fn durations_come_out_as_upstream_reads_them() {
    let durations = vectors().durations;
    let disagreements = durations.iter().filter_map(|vector| {
        let ours = duration::parse(&Node::from_json(vector.input.clone(), &Origin::Default));
        match (&ours, vector.ms) {
            (Ok(ours), Some(ms)) if (ours.as_secs_f64() * 1000.0 - ms).abs() < 0.001 => None,
            (Err(_), None) => None,
            (_, expected) => Some(format!("{}: {ours:?}, not {expected:?}", vector.input)),
        }
    });
    all_agree(disagreements.collect(), durations.len(), 60);
}

#[test]
fn single_values_come_out_as_upstream_reads_them() {
    let reads = vectors().reads;
    let disagreements = reads.iter().filter_map(|read| {
        // Null is no value for either, before any format is asked.
        let expected = read.expect.clone().filter(|_| read.error.is_none() && !read.value.is_null());
        let (ours, expected) = match read.kind.as_str() {
            "string" => (format(&TEXT, &read.value), expected),
            "boolean" => (format(&FLAG, &read.value), expected),
            "strings" => (format(&TEXTS, &read.value), expected),
            // Ours count, so fractions, negative numbers and blank text are no numbers of ours.
            "number" => {
                let blank = read.value.as_str().is_some_and(|text| text.trim().is_empty());
                let count =
                    |number: &Json| number.as_f64().is_some_and(|number| number >= 0.0 && number.fract() == 0.0);
                (format(&COUNT, &read.value), expected.filter(|number| count(number) && !blank))
            }
            _ => return None,
        };
        let agree = ours.clone().map(same_numbers) == expected.clone().map(same_numbers);
        (!agree).then(|| format!("{} as {}: {ours:?}, not {expected:?}", read.value, read.kind))
    });
    all_agree(disagreements.collect(), reads.len(), 60);
}

fn format<T>(format: &Format<T>, value: &Json) -> Option<Json> {
    (format.parse)(&Node::from_json(value.clone(), &Origin::Default)).ok().map(|value| (format.show)(&value))
}

/// `5` and `5.0` are one number; infinity is null in JSON.
fn same_numbers(json: Json) -> Json {
    match json {
        Json::Number(number) => number_json(number.as_f64().unwrap_or_default()),
        Json::Array(items) => items.into_iter().map(same_numbers).collect(),
        Json::Object(entries) => {
            entries.into_iter().map(|(key, entry)| (key, same_numbers(entry))).collect::<serde_json::Map<_, _>>().into()
        }
        other => json!(other),
    }
}
