use serde_json::json;

use crate::config::load;
use crate::config::testing::Folder;

const MAIN: &str = "app-config.yaml";

fn problems(files: &[(&str, &str)]) -> Vec<String> {
    let loaded = load(&Folder::new(files).sources(&[MAIN], &[("A", " a ")])).expect("only single values");
    loaded.problems().iter().map(ToString::to_string).collect()
}

#[test]
fn references_are_filled_in_relative_to_the_file_that_they_stand_in() {
    let folder = Folder::new(&[
        (
            MAIN,
            "e: {$env: A}\nf: {$file: ./s/secret.txt}\ni: {$include: s/inner.yaml#x}\nl: ['${NO}', '${A}b']\nu: '${NO}'",
        ),
        ("s/secret.txt", "  s3cret \n\n"),
        ("s/inner.yaml", "x: {f: {$file: secret.txt}, j: {$include: ../j.json}}"),
        ("j.json", "{\"k\": [\"${A}\"]}"),
    ]);
    let loaded = load(&folder.sources(&[MAIN], &[("A", " a ")])).unwrap();
    let inner = json!({"f": "  s3cret", "j": {"k": ["a"]}});
    assert_eq!(loaded.tree().to_json(), json!({"e": "a", "f": "  s3cret", "i": inner, "l": ["ab"]}));
    assert!(loaded.problems().is_empty());
}

#[test]
fn a_value_says_what_it_was_filled_from() {
    let folder = Folder::new(&[
        (MAIN, "a: x\nb: ${A}${A:-}${NO:-f}\nb2: ${NO:-f}\nc: {$file: s.txt}\nd: {$include: i.yaml#k}"),
        ("s.txt", "s"),
        ("i.yaml", "\nk: 1"),
    ]);
    let loaded = load(&folder.sources(&[MAIN], &[("A", "a")])).unwrap();
    let crate::config::Value::Map(entries) = &loaded.tree().value else { panic!("map") };
    let origins: Vec<String> = entries.values().map(|entry| entry.origin.to_string()).collect();
    assert_eq!(
        origins,
        [
            "app-config.yaml:1",
            "app-config.yaml:2 via $A",
            "app-config.yaml:3",
            "app-config.yaml:4 via s.txt",
            "i.yaml:2"
        ]
    );
}

#[test]
fn every_reference_that_cannot_be_read_is_told() {
    let told = problems(&[(
        MAIN,
        "a: {$file: no.txt}\nb: {$env: A, x: 1}\nc: {$include: x.txt}\nd: {$env: 5}\ne: {$file: '${NO}'}\nf: {$include: .}",
    )]);
    assert_eq!(
        told,
        [
            "a (app-config.yaml:1): $file \"no.txt\" does not exist",
            "b (app-config.yaml:2): has other keys beside $env: leave them out",
            "c (app-config.yaml:3): $include \"x.txt\" is not a file that can be included: use .yaml, .yml or .json",
            "d (app-config.yaml:4): $env is a number, not text",
            "e (app-config.yaml:5): $file can't be read: the environment variable NO is not set",
            "f (app-config.yaml:6): $include \".\" is not a file that can be included: use .yaml, .yml or .json",
        ]
    );
}

#[test]
fn files_that_include_themselves_end_in_a_problem() {
    let told = problems(&[(MAIN, "a: {$include: app-config.yaml}")]);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].contains("includes itself"), "{told:#?}");
    let told =
        problems(&[(MAIN, "a: {$include: i.yaml}"), ("i.yaml", "{b: {$include: i.yaml}, c: {$include: i.yaml}}")]);
    assert_eq!(told.len(), 1, "{told:#?}");
}

#[test]
fn files_that_multiply_end_in_a_problem() {
    let many = format!("{{l: [{}]}}", "{$include: j.yaml},".repeat(200));
    let told = problems(&[(MAIN, "a: {$include: i.yaml}\nb: {$include: i.yaml}"), ("i.yaml", &many), ("j.yaml", "1")]);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].contains("more than 256 files"), "{told:#?}");
}

#[test]
fn files_beyond_all_measure_are_refused() {
    let huge = "x".repeat(2 << 20);
    assert!(problems(&[(MAIN, "a: {$file: huge}"), ("huge", &huge)])[0].contains("is larger than 1048576 bytes"));
    let wide = format!("[{}]", "0,".repeat(200_000) + "0");
    let told = problems(&[(MAIN, "a: {$include: w.json}\nb: {$include: w.json}"), ("w.json", &wide)]);
    assert!(told[0].contains("holds too much"), "{told:?}");
    let deep = "[".repeat(100_000);
    assert!(problems(&[(MAIN, "a: {$include: d.json}"), ("d.json", &deep)])[0].contains("is not valid JSON"));
    let nested = format!("{}1{}", "[".repeat(60), "]".repeat(60));
    let include = "[".repeat(60) + "{$include: n.yaml}" + &"]".repeat(60);
    let more = "[".repeat(60) + "{$include: m.yaml}" + &"]".repeat(60);
    let told = problems(&[(MAIN, &format!("a: {more}")), ("m.yaml", &include), ("n.yaml", &nested)]);
    assert!(told[0].contains("nest deeper than 128 levels"), "{told:?}");
}
