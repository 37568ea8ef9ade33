//! Byte sizes: a number of bytes, or a text such as `256MiB`.

use super::js;
use super::value::{Node, Value};

/// Units, the short and the binary names. As in most tools for operators, `MB` counts in thousands and `MiB` in 1024s.
const UNITS: [(&str, u64); 8] = [
    ("b", 1),
    ("kb", 1000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

/// Sizes are whole and at most this, so that they are exact in every form that they can be written in.
const LARGEST: f64 = 9_007_199_254_740_992.0;

/// A size in bytes, or `None` where it is none.
pub(super) fn parse(node: &Node) -> Option<u64> {
    match &node.value {
        Value::Number(bytes) => whole(*bytes),
        Value::Text(text) => parse_text(text),
        _ => None,
    }
}

/// A size in text: `8388608`, `8MiB`, `8 MB`, `1.5GiB`.
pub fn parse_text(text: &str) -> Option<u64> {
    let text = js::trim(text);
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let unit = js::trim(unit).to_ascii_lowercase();
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit || unit.is_empty())?;
    #[expect(clippy::cast_precision_loss, reason = "the factors are exact in a double")]
    let factor = *factor as f64;
    if number.is_empty() {
        return None;
    }
    whole(js::number(number)? * factor)
}

/// The size as an operator would write it; reads back as the same.
pub fn show(bytes: u64) -> String {
    for (unit, factor) in [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes > 0 && bytes.is_multiple_of(factor) {
            return format!("{}{unit}", bytes / factor);
        }
    }
    format!("{bytes}B")
}

/// A count of something: whole, not negative and exact.
pub(super) fn whole(number: f64) -> Option<u64> {
    if !(0.0..=LARGEST).contains(&number) || number.fract() != 0.0 {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked just above"
    )]
    Some(number as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_a_unit() {
        for (text, expected) in [
            ("8388608", Some(8 << 20)),
            ("8MiB", Some(8 << 20)),
            ("8 MB", Some(8_000_000)),
            ("1.5KiB", Some(1536)),
            ("0", Some(0)),
            ("32kib", Some(32 << 10)),
            ("1.5", None),
            ("MiB", None),
            ("8 parsecs", None),
            ("-1", None),
            ("1e3", None),
            ("", None),
            ("99999999999TiB", None),
        ] {
            assert_eq!(parse_text(text), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_shown_size_reads_back_as_itself(bytes in 0_u64..1 << 53) {
            prop_assert_eq!(parse_text(&show(bytes)), Some(bytes));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".*") {
            let _ = parse_text(&text);
        }
    }
}
