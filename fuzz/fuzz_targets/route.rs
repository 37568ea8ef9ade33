//! Any path leads to a key inside the folder of the entity that it names, or nowhere.

#![no_main]

use callboard::docs::{Locator, Options, Route, RouteClass};
use libfuzzer_sys::fuzz_target;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

const STATIC: &str = "/static/docs/";
const METADATA: &str = "/metadata/techdocs/";

fuzz_target!(|input: &str| {
    for prefix in ["", STATIC, METADATA, "/api/callboard/static/docs/"] {
        let path = format!("{prefix}{input}");
        for root in ["", "root", "root/docs"] {
            for keeps_case in [false, true] {
                check(&path, root, keeps_case);
            }
        }
    }
});

fn locator(root: &str, keeps_case: bool) -> Locator {
    Locator::new(Options { root_path: root.to_owned(), case_sensitive_triplet: keeps_case })
}

fn check(path: &str, root: &str, keeps_case: bool) {
    let Some(Route { class, key }) = locator(root, keeps_case).locate(path) else {
        return;
    };
    assert_eq!(RouteClass::of(path), Some(class));
    for segment in key.as_str().split('/') {
        assert!(!matches!(segment, "" | "." | ".."), "{path:?} → {key:?}");
    }
    let forbidden = |c: char| c.is_control() || c == '\\';
    assert!(!key.as_str().contains(forbidden), "{path:?} → {key:?}");

    // The entity is the one that the path names, found here by another way than there.
    let (_, named) = path.split_once(if class == RouteClass::Static { STATIC } else { METADATA }).unwrap();
    let named: Vec<_> = named.split('/').take(3).map(|part| decoded(part, keeps_case)).collect();
    assert_eq!(key.entity(), named.join("/"), "{path:?} → {key:?}");

    // The key is root, entity and file, and nothing else.
    let slash = if root.is_empty() { "" } else { "/" };
    assert_eq!(key.as_str(), format!("{root}{slash}{}/{}", key.entity(), key.file()));
    assert!(key.file().ends_with(key.file_name()) && !key.file_name().contains('/'));
    if class == RouteClass::Metadata {
        assert_eq!(key.file(), "techdocs_metadata.json");
    }

    // Whoever asks for a key by its own name gets it.
    let names = [key.entity(), "/", key.file()].concat();
    let encoded: Vec<_> =
        names.split('/').map(|name| utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()).collect();
    let again = locator(root, true).locate(&format!("{STATIC}{}", encoded.join("/")));
    assert_eq!(again.map(|route| route.key), Some(key), "{path:?}");
}

fn decoded(part: &str, keeps_case: bool) -> String {
    let part = percent_decode_str(part).decode_utf8().unwrap();
    if keeps_case { part.into_owned() } else { part.to_lowercase() }
}
