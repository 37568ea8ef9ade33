//! The schema that the module brings along, as Backstage's own check of a configuration reads it.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::servers::Server;

/// Sections that any Backstage has, and this for `techdocs.callboard`.
fn app_config(callboard: &str) -> String {
    format!(
        "app: {{ baseUrl: 'http://localhost:3000' }}\n\
         backend:\n  baseUrl: http://localhost:7007\n  listen: ':7007'\n  \
         database: {{ client: better-sqlite3, connection: ':memory:' }}\n\
         techdocs: {{ builder: external, callboard: {callboard} }}\n"
    )
}

#[tokio::test]
async fn backstage_knows_the_modules_keys_and_what_they_may_hold() {
    let cases = [
        ("{ baseUrl: 'http://callboard:7008' }", None),
        (
            "{ baseUrl: 'https://docs.example/callboard', audience: techdocs, timeout: 15s, onBehalfOfUser: true, \
             fallback: true }",
            None,
        ),
        ("{ baseUrl: 'http://callboard:7008', timeout: { seconds: 5 } }", None),
        ("{ baseUrl: 'http://callboard:7008', timeout: 5000 }", None),
        ("{ fallback: true }", Some("baseUrl")),
        ("{ baseUrl: 'http://callboard:7008', fallback: maybe }", Some("/techdocs/callboard/fallback")),
        ("{ baseUrl: 'http://callboard:7008', onBehalfOfUser: [] }", Some("/techdocs/callboard/onBehalfOfUser")),
        ("{ baseUrl: 'http://callboard:7008', timeout: [] }", Some("/techdocs/callboard/timeout")),
    ];
    let folder = TempDir::new().unwrap();
    let files: Vec<PathBuf> = (0..cases.len()).map(|case| folder.path().join(format!("{case}.yaml"))).collect();
    for (file, (callboard, _)) in files.iter().zip(cases) {
        std::fs::write(file, app_config(callboard)).unwrap();
    }
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let problems = Server::problems_of(&files).await;
    for ((callboard, expected), problem) in cases.iter().zip(problems.as_array().unwrap()) {
        match expected {
            Some(part) => assert!(problem.as_str().unwrap_or_default().contains(part), "{callboard}: {problem}"),
            None => assert!(problem.is_null(), "{callboard}: {problem}"),
        }
    }
}
