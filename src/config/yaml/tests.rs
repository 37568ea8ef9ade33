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
        read("a: !!str 5\nb: !!int \"5\"\nc: !foo 5\nd: !!float 3\nf: ! 5\ng: !foo {a: 1}\ni: !!int abc\nh: !!seq [1]"),
        Ok(json!({"a": "5", "b": 5, "c": "5", "d": "3", "f": "5", "g": {"a": 1}, "i": "abc", "h": [1]}))
    );
    assert_eq!(read("e: !!binary aGk="), Err("1: the tag !!binary is not supported".to_owned()));
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
    for text in ["[".repeat(100_000), "- ".repeat(100_000), "{a: ".repeat(100_000), "? ".repeat(100_000)] {
        assert!(read(&text).is_err());
    }
    let chain: String = (1..500).map(|n| format!("a{n}: &a{n} [*a{}]\n", n - 1)).collect();
    assert!(read(&format!("a0: &a0 x\n{chain}")).expect_err("too deep").contains("nest deeper"));
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
