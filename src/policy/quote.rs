//! How texts are quoted in what policies are written in.

/// One word of a POSIX shell.
pub(super) fn shell(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@=,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A string of Terraform's language, in which `${` and `%{` begin what is computed.
pub(super) fn terraform(text: &str) -> String {
    let text = text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{}\"", text.replace("${", "$${").replace("%{", "%%{"))
}

/// Text in an IAM policy's patterns, where `*`, `?` and `$` mean more than themselves.
pub(super) fn iam(text: &str) -> String {
    let mut quoted = String::new();
    for c in text.chars() {
        match c {
            '*' | '?' | '$' => quoted.extend(["${", c.encode_utf8(&mut [0; 4]), "}"]),
            c => quoted.push(c),
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_mean_something_means_itself() {
        assert_eq!(shell("docs/a-b"), "docs/a-b");
        assert_eq!(shell("a b;$(id)"), "'a b;$(id)'");
        assert_eq!(shell("it's"), r"'it'\''s'");
        assert_eq!(shell(""), "''");
        assert_eq!(terraform("a\"${b}%{c}"), r#""a\"$${b}%%{c}""#);
        assert_eq!(iam("a*b?c$d"), "a${*}b${?}c${$}d");
    }
}
