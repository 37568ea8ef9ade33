//! Golden vectors made by the published Backstage packages: see `tests/vectors/README.md`.

use std::path::PathBuf;

use callboard::docs::{Layout, Locator, Options, media_type};
use serde_json::{Value, json};

/// The vectors in `tests/vectors/{name}.json`.
pub fn vectors(name: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name).with_extension("json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// What a target leads to: a key, or a status.
fn outcome(target: &str, settings: &Value) -> Value {
    let Ok(uri) = target.parse::<http::Uri>() else {
        return json!({ "status": 400 });
    };
    let layout = Layout {
        root_path: settings["bucketRootPath"].as_str().unwrap().trim_matches('/').to_owned(),
        case_sensitive_triplet: settings["legacyUseCaseSensitiveTripletPaths"].as_bool().unwrap(),
    };
    let locator = Locator::new(Options { case_sensitive_triplet: layout.case_sensitive_triplet });
    match locator.locate(uri.path()) {
        Some(route) => json!({ "key": layout.place(&route.key).as_str() }),
        None => json!({ "status": 404 }),
    }
}

#[test]
fn paths_lead_where_they_lead_in_backstage_or_where_we_say_why_not() {
    let file = vectors("paths");
    let cases = file["cases"].as_array().unwrap();
    assert!(cases.len() >= 300);
    let mut wrong = Vec::new();
    for case in cases {
        let (found, expected) = (outcome(case["target"].as_str().unwrap(), &case["settings"]), &case["expect"]);
        if found != *expected {
            wrong.push(format!("{} {}: {found}, not {expected}", case["target"], case["settings"]));
        }
        assert!(case["upstream"] == case["expect"] || case["differs"].is_string(), "{case} differs without a reason");
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_extension_has_backstages_type() {
    let file = vectors("media-types");
    let cases = file["cases"].as_array().unwrap();
    assert!(cases.len() >= 1000);
    for case in cases {
        let file_name = case["name"].as_str().unwrap().rsplit('/').next().unwrap();
        assert_eq!(media_type(file_name), case["contentType"].as_str().unwrap(), "{case}");
    }
}
