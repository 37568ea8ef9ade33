//! `${VAR}` inside text, exactly as `@backstage/config-loader`, `src/sources/transform/substitution.ts` reads it.

use std::borrow::Cow;

use super::js;

/// A variable that is not set: the whole text that names it has no value then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable {name} is not set")]
pub struct Unset {
    /// The variable's name.
    pub name: String,
}

/// Fills in the variables that `text` names.
///
/// - `${VAR}` becomes the variable's value;
/// - `${VAR:-fallback}` becomes the fallback where the variable is unset or empty, and an empty fallback is none;
/// - `$${VAR}` stays as it is, less one `$`.
///
/// Whatever else has a `$` in it is plain text. `lookup` finds a variable; what it returns is not read again.
///
/// # Errors
/// Names the first variable that has no value.
pub fn substitute<'t>(text: &'t str, lookup: impl Fn(&str) -> Option<String>) -> Result<Cow<'t, str>, Unset> {
    let mut output = String::new();
    let mut rest = text;
    let mut found_any = false;
    while let Some(found) = next_placeholder(rest) {
        found_any = true;
        output.push_str(found.before);
        if found.escaped {
            output.push_str("${");
            output.push_str(found.inner);
            output.push('}');
        } else {
            output.push_str(&fill(found.inner, &lookup)?);
        }
        rest = found.after;
    }
    if !found_any {
        return Ok(Cow::Borrowed(text));
    }
    output.push_str(rest);
    Ok(Cow::Owned(output))
}

struct Placeholder<'t> {
    before: &'t str,
    /// Whether a second `$` stands before it.
    escaped: bool,
    /// What stands between the braces.
    inner: &'t str,
    after: &'t str,
}

/// The first `${…}` with no brace inside.
fn next_placeholder(text: &str) -> Option<Placeholder<'_>> {
    let mut searched = 0;
    loop {
        let open = searched + text.get(searched..)?.find("${")?;
        let inside = text.get(open + 2..)?;
        let end = inside.find(['{', '}'])?;
        let (inner, closing) = inside.split_at_checked(end)?;
        if let Some(after) = closing.strip_prefix('}') {
            let before = text.get(..open)?;
            let (before, escaped) = match before.strip_suffix('$') {
                Some(shorter) => (shorter, true),
                None => (before, false),
            };
            return Some(Placeholder {
                before,
                escaped,
                inner,
                after,
            });
        }
        // An opening brace came first, so a placeholder can begin at the `$` before that one at the earliest.
        searched = open + 2 + end - usize::from(inner.ends_with('$'));
    }
}

fn fill(inner: &str, lookup: &impl Fn(&str) -> Option<String>) -> Result<String, Unset> {
    let (name, fallback) = match inner.split_once(":-") {
        Some((name, fallback)) => (js::trim(name), Some(js::trim(fallback))),
        None => (js::trim(inner), None),
    };
    let value = lookup(name);
    let filled = match fallback {
        None => value,
        Some(fallback) => value
            .filter(|value| !value.is_empty())
            .or_else(|| Some(fallback.to_owned()))
            .filter(|value| !value.is_empty()),
    };
    filled.ok_or_else(|| Unset { name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(text: &str) -> Result<String, String> {
        let lookup = |name: &str| match name {
            "A" => Some("1".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${A}".to_owned()),
            _ => None,
        };
        substitute(text, lookup)
            .map(Cow::into_owned)
            .map_err(|unset| unset.name)
    }

    #[test]
    fn variables_fallbacks_and_escapes_are_read_as_upstream_reads_them() {
        for (text, expected) in [
            ("x", "x"),
            ("", ""),
            ("${A}", "1"),
            ("${ A }-${A}", "1-1"),
            ("${EMPTY}", ""),
            ("${EMPTY:-f}", "f"),
            ("${NO:- f }", "f"),
            ("${NO:-a:-b}", "a:-b"),
            ("${A:-f}", "1"),
            ("$${A}", "${A}"),
            ("$$${A}", "$${A}"),
            ("$$$${A}", "$$${A}"),
            ("${NESTED}", "${A}"),
            ("${a${A}}", "${a1}"),
            ("${A", "${A"),
            ("$A {A} $", "$A {A} $"),
            ("${{A}}", "${{A}}"),
            ("ü${A}ü", "ü1ü"),
            ("${ü{${A}", "${ü{1"),
            ("${${A}", "${1"),
        ] {
            assert_eq!(filled(text).as_deref(), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn a_variable_without_a_value_takes_the_whole_text_away() {
        assert_eq!(filled("a ${A} ${NO}"), Err("NO".to_owned()));
        assert_eq!(filled("${NO:-}"), Err("NO".to_owned()));
        assert_eq!(filled("${EMPTY:- }"), Err("EMPTY".to_owned()));
        assert_eq!(filled("${}"), Err(String::new()));
    }

    proptest! {
        #[test]
        fn text_without_a_dollar_is_left_alone(text in "[^$]*") {
            let same = substitute(&text, |_| None);
            prop_assert_eq!(same.as_deref(), Ok(text.as_str()));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in "([${}:-]|\\$\\{|[aA ü])*") {
            let _ = substitute(&text, |name| (name.len() % 2 == 0).then(|| name.to_owned()));
        }
    }
}
