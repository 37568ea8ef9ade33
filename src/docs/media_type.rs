//! Which `Content-Type` a file leaves with, by its extension alone.
//!
//! The reader in the browser sanitises HTML itself, so nothing that a browser would run or render by itself leaves
//! with an active type (`@backstage/plugin-techdocs-node`, `src/stages/publish/helpers.ts`).

use std::collections::HashMap;
use std::sync::LazyLock;

use http::HeaderValue;

/// Every extension that npm's `mime-types` knows, with the type that its `contentType()` gives; made by
/// `npm run vectors` in `tests/backstage`.
const TABLE: &str = include_str!("media_types.tsv");

static PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// An extension that contains one of these is active content.
const ACTIVE_EXTENSIONS: [&str; 13] =
    ["htm", "xml", "svg", "appcache", "manifest", "mathml", "owl", "rdf", "rng", "vtt", "xht", "xsd", "xsl"];

/// These types are active content whatever the extension.
const ACTIVE_TYPES: [&str; 14] = [
    "text/html",
    "text/xml",
    "image/svg+xml",
    "text/xsl",
    "application/vnd.wap.xhtml+xml",
    "multipart/x-mixed-replace",
    "text/rdf",
    "application/mathml+xml",
    "application/octet-stream",
    "application/rdf+xml",
    "application/xhtml+xml",
    "application/xml",
    "text/cache-manifest",
    "text/vtt",
];

static SAFE_TYPES: LazyLock<HashMap<&'static str, HeaderValue>> = LazyLock::new(|| {
    let rows = TABLE.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('\t'));
    rows.filter(|(extension, media_type)| !is_active(extension, media_type))
        .map(|(extension, media_type)| (extension, HeaderValue::from_static(media_type)))
        .collect()
});

/// The `Content-Type` for a file of this name.
pub fn media_type(file_name: &str) -> &'static HeaderValue {
    let extension = extension(file_name).to_lowercase();
    SAFE_TYPES.get(extension.as_str()).unwrap_or(&PLAIN)
}

/// Whether files of this name are any smaller when they are compressed once more. Pages and pictures in SVG leave as
/// plain text, and are.
pub fn is_compressible(file_name: &str) -> bool {
    let media_type = media_type(file_name).to_str().unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default();
    let (kind, subtype) = essence.split_once('/').unwrap_or_default();
    match kind {
        "text" => true,
        "image" => matches!(subtype, "bmp" | "x-ms-bmp" | "vnd.microsoft.icon" | "x-icon"),
        "font" => matches!(subtype, "ttf" | "otf"),
        "application" => ["json", "javascript", "wasm", "yaml", "toml"].iter().any(|word| subtype.contains(word)),
        _ => false,
    }
}

/// What stands behind the last dot, as Node's `path.extname` sees it: nothing where that dot begins the name.
fn extension(file_name: &str) -> &str {
    match file_name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => extension,
        _ => "",
    }
}

fn is_active(extension: &str, media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default();
    ACTIVE_EXTENSIONS.iter().any(|active| extension.contains(active)) || ACTIVE_TYPES.contains(&essence)
}

#[cfg(test)]
mod tests {
    use super::{is_compressible, media_type};

    #[test]
    fn what_is_compressed_already_is_left_alone() {
        for name in ["index.html", "logo.svg", "main.css", "main.js", "search_index.json", "a.wasm", "a.ttf", "a.ico"] {
            assert!(is_compressible(name), "{name}");
        }
        for name in ["photo.png", "a.woff2", "paper.pdf", "a.zip", "a.gz", "film.mp4"] {
            assert!(!is_compressible(name), "{name}");
        }
    }

    #[test]
    fn active_content_is_plain_text() {
        for name in ["index.html", "a.HTM", "logo.svg", "feed.XML", "x.xhtml", "a.shtml", "a.bin", "a.vtt"] {
            assert_eq!(media_type(name), "text/plain; charset=utf-8", "{name}");
        }
    }

    #[test]
    fn other_types_are_those_of_mime_types() {
        for (name, expected) in [
            ("main.css", "text/css; charset=utf-8"),
            ("search_index.json", "application/json; charset=utf-8"),
            ("photo.PNG", "image/png"),
            ("paper.pdf", "application/pdf"),
            ("a.b.woff2", "font/woff2"),
        ] {
            assert_eq!(media_type(name), expected, "{name}");
        }
    }

    #[test]
    fn no_or_unknown_extension_is_plain_text() {
        for name in ["LICENSE", ".css", "a.", "a.nosuchthing", "", "."] {
            assert_eq!(media_type(name), "text/plain; charset=utf-8", "{name}");
        }
    }
}
