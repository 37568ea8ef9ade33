//! The commands as a person types them.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::Backstage;
use crate::support::redis::Redis;

fn callboard(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_callboard")).args(arguments).current_dir(folder).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn folder_with(config: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("app-config.yaml"), config).unwrap();
    folder
}

#[test]
fn every_problem_of_a_configuration_is_told_at_once_with_exit_code_64() {
    let folder = folder_with(
        "backend: { baseUrl: 'not a url' }\n\
         techdocs: { publisher: { type: awsS4 } }\n\
         callboard: { cache: { freshFor: soon }, storge: { timeout: 1s } }\n",
    );
    let output = callboard(folder.path(), &["serve"]);
    assert_eq!(output.status.code(), Some(64));
    let problems = text(&output.stderr);
    for part in ["backend.baseUrl", "techdocs.publisher.type", "awsS3", "callboard.cache.freshFor", "storge", "storage"]
    {
        assert!(problems.contains(part), "{part} in:\n{problems}");
    }
}

#[test]
fn a_wrong_command_line_exits_with_64_and_help_with_0() {
    let folder = TempDir::new().unwrap();
    assert_eq!(callboard(folder.path(), &["--nonsense"]).status.code(), Some(64));
    let help = callboard(folder.path(), &["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for word in ["serve", "check", "config", "purge", "warm", "token", "Examples", "64"] {
        assert!(text(&help.stdout).contains(word), "{word}");
    }
    let missing = callboard(folder.path(), &["--config", "nowhere.yaml"]);
    assert_eq!(missing.status.code(), Some(64));
    assert!(text(&missing.stderr).contains("nowhere.yaml"));
}

#[test]
fn the_configuration_in_effect_is_shown_without_its_secrets() {
    let folder = folder_with(
        "backend:\n  baseUrl: http://localhost:7007\n  auth:\n    externalAccess:\n\
         \x20     - { type: static, options: { token: hunter2hunter2, subject: ci } }\n\
         techdocs:\n  publisher:\n    type: awsS3\n    awsS3:\n      bucketName: docs\n\
         \x20     credentials: { accessKeyId: AKIAXXXX, secretAccessKey: swordfishswordfish }\n\
         callboard: { cache: { freshFor: PT2M } }\n",
    );
    for format in ["yaml", "json"] {
        let output = callboard(folder.path(), &["config", "--format", format, "--origin"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let shown = text(&output.stdout) + &text(&output.stderr);
        assert!(!shown.contains("hunter2") && !shown.contains("swordfish"), "{shown}");
        assert!(shown.contains("docs") && shown.contains("app-config.yaml") && shown.contains("default"), "{shown}");
    }
    let output = callboard(folder.path(), &["config", "--format", "json"]);
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["techdocs"]["publisher"]["awsS3"]["bucketName"], "docs");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_what_works_and_what_does_not() {
    let backstage = Backstage::start().await;
    let config = |directory: &Path, base_url: &str| {
        format!(
            "backend: {{ baseUrl: '{base_url}' }}\n\
             techdocs: {{ publisher: {{ type: local, local: {{ publishDirectory: '{}' }} }} }}\n",
            directory.display()
        )
    };
    let published = TempDir::new().unwrap();
    let site = published.path().join("default/component/shop");
    std::fs::create_dir_all(&site).unwrap();
    std::fs::write(site.join("techdocs_metadata.json"), "{}").unwrap();
    let good = folder_with(&config(published.path(), &backstage.base_url()));
    let output = callboard(good.path(), &["check"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("default/component/shop"), "{}", text(&output.stdout));

    let bad = folder_with(&config(Path::new("/nonexistent"), "http://127.0.0.1:1"));
    let output = callboard(bad.path(), &["check"]);
    assert_eq!(output.status.code(), Some(1));
    let report = text(&output.stdout);
    assert_eq!(report.lines().filter(|line| line.starts_with("FAILED")).count(), 2, "{report}");
}

#[test]
fn check_tells_whether_redis_answers() {
    let redis = Redis::acl("docs", "right");
    let published = TempDir::new().unwrap();
    let report = || {
        let folder = folder_with(&format!(
            "backend: {{ auth: {{ dangerouslyDisableDefaultAuthPolicy: true }} }}\n\
             techdocs: {{ publisher: {{ type: local, local: {{ publishDirectory: '{}' }} }} }}\n\
             callboard: {{ auth: {{ dangerouslyAllowAnonymous: true }}, cache: {{ redis: {} }} }}\n",
            published.path().display(),
            redis.config_with(", connectTimeout: 1s"),
        ));
        let output = callboard(folder.path(), &["check"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
        text(&output.stdout)
    };
    let good = report();
    assert!(good.lines().any(|line| line.starts_with("ok") && line.contains("redis: 127.0.0.1:")), "{good}");
    redis.set_password("wrong");
    let warned = |report: &str| report.lines().any(|line| line.starts_with("warning") && line.contains("redis: "));
    let refused = report();
    assert!(warned(&refused) && refused.contains("authentication failed") && !refused.contains("right"), "{refused}");
    redis.kill();
    let gone = report();
    assert!(warned(&gone), "{gone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_key_is_kept_private_and_its_tokens_are_good_where_it_is_published() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    let first = callboard(folder.path(), &["token", "--key", "trial.pem"]);
    assert_eq!(first.status.code(), Some(0), "{}", text(&first.stderr));
    let mode = std::fs::metadata(folder.path().join("trial.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let second =
        callboard(folder.path(), &["token", "--key", "trial.pem", "--subject", "catalog", "--valid-for", "5m"]);
    let header = |output: &Output| text(&output.stdout).split('.').next().unwrap().to_owned();
    assert_eq!(header(&first), header(&second), "signed with the same key");
    assert_eq!(text(&second.stdout).trim().split('.').count(), 3);
    let refused = callboard(folder.path(), &["token", "--key", "trial.pem", "--serve", "0.0.0.0:7007"]);
    assert_eq!(refused.status.code(), Some(1));
    std::fs::write(folder.path().join("broken.pem"), "not a key").unwrap();
    assert_eq!(callboard(folder.path(), &["token", "--key", "broken.pem"]).status.code(), Some(1));
}
