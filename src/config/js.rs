//! The few habits of JavaScript that show in a configuration file's meaning: Backstage's reader is written in it, and
//! the same file has to mean the same to both programs.

/// White space as `String.prototype.trim` knows it: Unicode's, with the byte order mark and without NEL.
pub(super) fn is_space(c: char) -> bool {
    c == '\u{feff}' || (c.is_whitespace() && c != '\u{85}')
}

/// `String.prototype.trim`.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// `Number(text)` as `ConfigReader.getNumber` uses it (`@backstage/config`, `src/reader.ts`): finite numbers only.
pub(super) fn number(text: &str) -> Option<f64> {
    let text = trim(text);
    if text.is_empty() {
        return Some(0.0);
    }
    for (prefix, radix) in [("0x", 16), ("0X", 16), ("0o", 8), ("0O", 8), ("0b", 2), ("0B", 2)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            return radix_number(digits, radix);
        }
    }
    // Rust reads words such as `inf` and `nan` as numbers too; here only digits make one.
    let plain = text
        .chars()
        .all(|c| matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'));
    text.parse::<f64>().ok().filter(|number| plain && number.is_finite())
}

/// The digits of a number in another base; `None` where there are none or others.
pub(super) fn radix_number(digits: &str, radix: u32) -> Option<f64> {
    if digits.is_empty() {
        return None;
    }
    digits.chars().try_fold(0.0_f64, |sum, digit| {
        digit
            .to_digit(radix)
            .map(|digit| sum.mul_add(f64::from(radix), f64::from(digit)))
    })
}

/// `String(number)`, near enough for keys and messages.
pub(super) fn number_text(number: f64) -> String {
    if number == 0.0 {
        "0".to_owned()
    } else {
        number.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_text_are_read_as_javascript_reads_them() {
        for (text, expected) in [
            ("5", Some(5.0)),
            (" 5 ", Some(5.0)),
            ("", Some(0.0)),
            ("1e3", Some(1000.0)),
        ] {
            assert_eq!(number(text), expected, "{text:?}");
        }
        for (text, expected) in [
            ("0x1F", Some(31.0)),
            ("0b2", None),
            ("inf", None),
            ("NaN", None),
            ("1_000", None),
        ] {
            assert_eq!(number(text), expected, "{text:?}");
        }
    }
}
