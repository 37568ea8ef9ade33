//! An S3 that checks signatures and policies.

use serde_json::{Value, json};

use super::{Bucket, ROOT, allowing, callboard, checked, configured, printed};
use crate::support::servers::Server;
use crate::support::{Backstage, Callboard, Told, until};

const READING: [&str; 2] = ["s3:GetObject", "s3:ListBucket"];

/// What `callboard policy aws` prints for the bucket.
async fn least_policy(root: &str) -> Value {
    let folder = tempfile::TempDir::new().unwrap();
    let arguments = ["policy", "aws", "--bucket", super::BUCKET, "--root-path", root];
    let output = callboard(folder.path(), &arguments).await;
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_least_policy_is_enough_to_serve_and_allows_nothing_else() {
    let users = json!({ "whole": least_policy("").await, "part": least_policy(ROOT).await });
    let mut bucket = Bucket::with_users(&users, false).await;
    let before = bucket.held().await;
    for (user, root, text) in [("whole", "", "a site at the root"), ("part", ROOT, "a site below the root path")] {
        let publisher = bucket.publisher(user, root);
        let backstage = Backstage::start().await;
        let (verdict, code) = checked(&backstage, &publisher, "").await;
        assert!(verdict.starts_with("ok ") && verdict.contains("can do nothing but read"), "{verdict}");
        assert_eq!(code, Some(0), "{verdict}");
        let told =
            Told { publisher: Some(publisher), section: "  storage: { requireReadOnly: enforce }", ..Told::default() };
        let callboard = Callboard::told(told).await;
        let page = callboard.get("/static/docs/default/component/shop/index.html").send().await.unwrap();
        assert_eq!(page.text().await.unwrap(), text);
        assert_eq!(callboard.metric("callboard_storage_writable", &[]).await.to_string(), "0");
    }
    assert_eq!(bucket.held().await, before, "nothing is left of all the trying");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_right_beyond_reading_is_found_and_nothing_is_left_of_finding_it() {
    let with = |actions: &[&str]| allowing(&[&READING, actions].concat());
    let users = json!({
        "everything": allowing(&["s3:*"]),
        "writing": with(&["s3:PutObject"]),
        "deleting": with(&["s3:DeleteObject"]),
        "versions": with(&["s3:DeleteObjectVersion"]),
        "reading": with(&[]),
    });
    let expected = [
        ("everything", "", "can overwrite objects, delete objects and delete versions of objects for good"),
        ("writing", "", "can overwrite objects"),
        ("deleting", "", "can delete objects"),
        ("reading", ROOT, "can list what lies outside of the root path and read what lies outside of the root path"),
        ("reading", "", "can do nothing but read"),
    ];
    for versioned in [false, true] {
        let mut bucket = Bucket::with_users(&users, versioned).await;
        let before = bucket.held().await;
        let backstage = Backstage::start().await;
        for (user, root, finding) in expected {
            let (verdict, code) = checked(&backstage, &bucket.publisher(user, root), "").await;
            assert!(verdict.contains(finding), "{user}: {verdict}");
            assert_eq!(verdict.starts_with("warning"), finding != "can do nothing but read", "{user}: {verdict}");
            assert_eq!(code, Some(0), "a warning, unless it is enforced");
        }
        assert_eq!(bucket.held().await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finding_comes_with_the_policy_that_fixes_it() {
    let bucket = Bucket::with_users(&json!({ "writer": allowing(&["s3:*"]) }), false).await;
    let backstage = Backstage::start().await;
    let folder = configured(&backstage, &bucket.publisher("writer", ROOT), "requireReadOnly: enforce");
    let output = callboard(folder.path(), &["check"]).await;
    let report = printed(&output);
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(report.lines().any(|line| line.starts_with("FAILED") && line.contains("read only: ")), "{report}");
    let policy = &report[report.find("\n{").unwrap()..=report.rfind("\n}").unwrap() + 1];
    assert_eq!(serde_json::from_str::<Value>(policy).unwrap(), least_policy(ROOT).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_enforce_a_credential_that_can_write_serves_nothing() {
    let users = json!({ "writer": allowing(&["s3:*"]), "reader": allowing(&READING) });
    let bucket = Bucket::with_users(&users, false).await;
    let backstage = Backstage::start().await;
    let folder = configured(&backstage, &bucket.publisher("writer", ""), "requireReadOnly: enforce");
    let output = callboard(folder.path(), &["serve"]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("can overwrite objects") && said.contains("requireReadOnly"), "{said}");
    assert!(!said.contains("serving"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_write_serves_all_the_same_where_it_is_only_warned_of() {
    let bucket = Bucket::with_users(&json!({ "writer": allowing(&["s3:*"]) }), false).await;
    let told = |requirement: &str| {
        let publisher = Some(bucket.publisher("writer", ""));
        (publisher, format!("  storage: {{ requireReadOnly: {requirement} }}"))
    };
    let (publisher, section) = told("warn");
    let callboard = Callboard::told(Told { publisher, section: &section, ..Told::default() }).await;
    until(async || callboard.metric("callboard_storage_writable", &[]).await > 0.).await;
    let page = callboard.get("/static/docs/default/component/shop/index.html").send().await.unwrap();
    assert_eq!(page.text().await.unwrap(), "a site at the root");

    let tries = |bucket: &Bucket| bucket.requests().iter().filter(|(method, _)| method != "GET").count();
    let tried = tries(&bucket);
    assert!(tried > 0);
    let (publisher, section) = told("'off'");
    let callboard = Callboard::told(Told { publisher, section: &section, ..Told::default() }).await;
    let page = callboard.get("/static/docs/default/component/shop/index.html").send().await.unwrap();
    assert_eq!(page.text().await.unwrap(), "a site at the root");
    assert_eq!(tries(&bucket), tried);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_enforce_nothing_listens_until_storage_can_be_asked() {
    use tokio::io::{AsyncBufReadExt, BufReader};
    let users = json!({ "reader": allowing(&READING) });
    let bucket = Bucket::with_users(&users, false).await;
    let backstage = Backstage::start().await;
    let folder = configured(&backstage, &bucket.publisher("reader", ""), "requireReadOnly: enforce, timeout: 500ms");
    stop(&bucket.server);
    let mut program = tokio::process::Command::new(env!("CARGO_BIN_EXE_callboard"))
        .current_dir(folder.path())
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stderr.take().unwrap()).lines();
    let mut said = Vec::new();
    while !said.last().is_some_and(|line: &String| line.contains("could not be told")) {
        said.push(lines.next_line().await.unwrap().expect("it goes on"));
    }
    go_on(&bucket.server);
    while !said.last().is_some_and(|line| line.contains("\"serving\"")) {
        said.push(lines.next_line().await.unwrap().expect("it goes on"));
    }
    assert!(said.iter().any(|line| line.contains("nothing is served until it can")), "{said:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_is_no_good_proves_nothing() {
    let bucket = Bucket::with_users(&json!({ "reader": allowing(&READING) }), false).await;
    let publisher = bucket.publisher("reader", "").replace("secretAccessKey: '", "secretAccessKey: 'x");
    let backstage = Backstage::start().await;
    let folder = configured(&backstage, &publisher, "requireReadOnly: warn");
    let output = callboard(folder.path(), &["check"]).await;
    let report = printed(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(!report.contains("nothing but read"), "{report}");
}

fn stop(server: &Server) {
    server.signal(rustix::process::Signal::STOP);
}

fn go_on(server: &Server) {
    server.signal(rustix::process::Signal::CONT);
}
