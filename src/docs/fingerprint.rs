//! Files whose names carry a hash of their content.

/// Extensions of build products; documents and pictures keep their names when they change.
const EXTENSIONS: [&str; 4] = ["css", "js", "mjs", "map"];

/// Shortest hash that is taken for one: MkDocs Material writes eight hex digits (`main.0253249f.min.css`).
const MIN_HASH: usize = 8;

/// Whether a file's name says that its content never changes, as `bundle.e31f8c0a.min.js` does.
///
/// A hash must hold a letter and a digit, so that a date (`20240131`) or a word (`deadbeef`) is not taken for one. A
/// hash that happens to hold only digits is missed, which costs a revalidation and nothing else.
pub fn is_fingerprinted(file_name: &str) -> bool {
    let mut parts = file_name.split('.');
    let has_stem = parts.next().is_some_and(|stem| !stem.is_empty());
    let extension = parts.next_back().unwrap_or_default();
    has_stem && EXTENSIONS.contains(&extension) && parts.any(is_hash)
}

fn is_hash(part: &str) -> bool {
    part.len() >= MIN_HASH
        && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && part.bytes().any(|byte| byte.is_ascii_digit())
        && part.bytes().any(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::is_fingerprinted;

    #[test]
    fn names_that_mkdocs_material_writes_are_fingerprinted() {
        for name in [
            "main.0253249f.min.css",
            "bundle.fe8b6f2b.min.js",
            "search.b8dbb3d2.min.js.map",
            "a.1234567a.css",
        ] {
            assert!(is_fingerprinted(name), "{name}");
        }
    }

    #[test]
    fn names_that_may_get_new_content_are_not() {
        for name in [
            "index.html",
            "main.css",
            "report.20240131.js",
            "a.deadbeef.js",
            "0253249f.css",
            "photo.0253249f.png",
            ".0253249f.css",
            "main.0253249.css",
            "main.0253249F.css",
            "main.css.0253249f",
        ] {
            assert!(!is_fingerprinted(name), "{name}");
        }
    }
}
