//! Any path leads to a key inside the folder of the entity that it names, or nowhere.

#![no_main]

use callboard::docs::{Layout, Locator, Options, Route, RouteClass};
use libfuzzer_sys::fuzz_target;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

const STATIC: &str = "/static/docs/";
const METADATA: &str = "/metadata/techdocs/";

fuzz_target!(|input: &str| {
    for prefix in ["", STATIC, METADATA, "/api/callboard/static/docs/"] {
        let path = format!("{prefix}{input}");
        for keeps_case in [false, true] {
            check(&path, keeps_case);
        }
    }
});

fn locator(keeps_case: bool) -> Locator {
    Locator::new(Options { case_sensitive_triplet: keeps_case })
}

fn check(path: &str, keeps_case: bool) {
    let Some(Route { class, key }) = locator(keeps_case).locate(path) else {
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
    assert_eq!(key.site(), named.join("/"), "{path:?} → {key:?}");

    // The key is entity and file, and nothing else; in a store they lie below its root path.
    assert_eq!(key.as_str(), format!("{}/{}", key.site(), key.file()));
    for root in ["root", "root/docs"] {
        let layout = Layout { root_path: root.to_owned(), case_sensitive_triplet: keeps_case };
        assert_eq!(layout.place(&key).as_str(), format!("{root}/{key}"));
    }
    assert!(key.file().ends_with(key.file_name()) && !key.file_name().contains('/'));
    if class == RouteClass::Metadata {
        assert_eq!(key.file(), "techdocs_metadata.json");
    }

    // Whoever asks for a key by its own name gets it.
    let names = [key.site(), "/", key.file()].concat();
    let encoded: Vec<_> =
        names.split('/').map(|name| utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()).collect();
    let again = locator(true).locate(&format!("{STATIC}{}", encoded.join("/")));
    assert_eq!(again.map(|route| route.key), Some(key), "{path:?}");
}

fn decoded(part: &str, keeps_case: bool) -> String {
    let part = percent_decode_str(part).decode_utf8().unwrap();
    if keeps_case { part.into_owned() } else { part.to_lowercase() }
}
