//! Google Cloud Storage and Azure.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::Value;

use super::{ROOT, checked, configured, printed};
use crate::support::azure::Azurite;
use crate::support::gcs::{BUCKET, Gcs};
use crate::support::{Backstage, Callboard, Told};

const PAGES: [&str; 3] = [
    "default/component/shop/index.html",
    "sites/all/default/component/shop/techdocs_metadata.json",
    "payroll/2026.csv",
];

const NOTHING_ELSE: &str = "can do nothing but read";

async fn google() -> Gcs {
    let gcs = Gcs::start().await;
    for page in PAGES {
        gcs.write(page, "{}");
    }
    gcs
}

fn of_google(root: &str, credentials: Option<&Value>) -> String {
    let root = if root.is_empty() { String::new() } else { format!(", bucketRootPath: '{root}'") };
    let credentials = credentials.map_or(String::new(), |json| format!(", credentials: '{json}'"));
    format!("{{ type: googleGcs, googleGcs: {{ bucketName: {BUCKET}{root}{credentials} }} }}")
}

/// What `check` says of this credential, and its exit code.
async fn checked_at_google(gcs: &Gcs, root: &str, credentials: &Value, storage: &str) -> (String, Option<i32>) {
    let backstage = Backstage::start().await;
    let storage = format!("gcs: {{ endpoint: '{}' }}{storage}", gcs.origin());
    checked(&backstage, &of_google(root, Some(credentials)), &storage).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_right_at_google_is_found_and_nothing_is_left_of_finding_it() {
    let gcs = google().await;
    let before = gcs.held();
    for (may_create, may_delete, root, finding) in [
        (false, false, "", NOTHING_ELSE),
        (true, true, "", "can overwrite objects and delete objects"),
        (true, false, "", "can write new objects"),
        (false, true, "", "can delete objects"),
        (false, false, ROOT, "can list what lies outside of the root path and read what lies outside of the root path"),
    ] {
        gcs.rule(|rules| (rules.may_create, rules.may_delete) = (may_create, may_delete));
        for credentials in [gcs.key(), gcs.user()] {
            let (verdict, code) = checked_at_google(&gcs, root, &credentials, "").await;
            let (told, _) = verdict.split_once(". This is enough").unwrap_or((&verdict, ""));
            assert!(told.ends_with(finding), "{verdict}");
            assert_eq!(verdict.starts_with("warning"), finding != NOTHING_ELSE, "{verdict}");
            assert_eq!(code, Some(0), "{verdict}");
        }
        let (verdict, code) = checked_at_google(&gcs, root, &gcs.key(), ", requireReadOnly: enforce").await;
        assert_eq!(code, Some(i32::from(may_create || may_delete)), "{verdict}");
    }
    assert_eq!(gcs.held(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_simple_server_wrote_is_deleted_again_or_named() {
    let gcs = google().await;
    let before = gcs.held();
    gcs.rule(|rules| (rules.is_simple, rules.may_create, rules.may_delete) = (true, true, true));
    let (verdict, _) = checked_at_google(&gcs, ROOT, &gcs.key(), "").await;
    assert!(verdict.contains("can overwrite objects, delete objects") && !verdict.contains("is left"), "{verdict}");
    assert_eq!(gcs.held(), before);

    gcs.rule(|rules| rules.may_delete = false);
    let (verdict, _) = checked_at_google(&gcs, ROOT, &gcs.key(), "").await;
    let left: Vec<String> = gcs.held().into_keys().filter(|name| !before.contains_key(name)).collect();
    assert!(!left.is_empty() && left.iter().all(|name| name.starts_with("sites/all/callboard-read-only-check/")));
    assert!(left.iter().all(|name| verdict.contains(name)), "{left:?}: {verdict}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_given_no_tokens_for_writing_can_only_read() {
    let gcs = google().await;
    gcs.rule(|rules| (rules.may_create, rules.may_delete) = (true, true));
    let backstage = Backstage::start().await;
    let storage = format!("gcs: {{ endpoint: '{}' }}, requireReadOnly: enforce", gcs.origin());
    let folder = configured(&backstage, &of_google("", None), &storage);
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_callboard"));
    command.arg("check").current_dir(folder.path());
    command.env("GCE_METADATA_HOST", gcs.address.to_string()).env("CLOUDSDK_CONFIG", folder.path());
    let output = command.output().await.unwrap();
    let report = printed(&output);
    assert!(report.contains(NOTHING_ELSE), "{report}");
    assert_eq!(output.status.code(), Some(0), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_enforce_only_an_account_that_may_not_write_serves() {
    let gcs = google().await;
    let section = format!("  storage: {{ gcs: {{ endpoint: '{}' }}, requireReadOnly: enforce }}", gcs.origin());
    let publisher = Some(of_google("", Some(&gcs.key())));
    let callboard = Callboard::told(Told { publisher, section: &section, ..Told::default() }).await;
    let page = callboard.get("/static/docs/default/component/shop/index.html").send().await.unwrap();
    assert_eq!(page.text().await.unwrap(), "{}");
    assert_eq!(callboard.metric("callboard_storage_writable", &[]).await.to_string(), "0");
    callboard.stop().await;

    gcs.rule(|rules| rules.may_delete = true);
    let backstage = Backstage::start().await;
    let storage = format!("gcs: {{ endpoint: '{}' }}, requireReadOnly: enforce", gcs.origin());
    let folder = configured(&backstage, &of_google("", Some(&gcs.key())), &storage);
    let output = super::callboard(folder.path(), &["serve"]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("can delete objects") && !said.contains("\"serving\""), "{said}");
}

/// Every blob and its tag.
async fn held(azurite: &Azurite) -> BTreeMap<String, Option<String>> {
    let blobs: Vec<_> = azurite.owner().list(None).try_collect().await.unwrap();
    blobs.into_iter().map(|blob| (blob.location.to_string(), blob.e_tag)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_right_at_azure_is_found_and_nothing_is_left_of_finding_it() {
    let azurite = Azurite::start().await;
    for page in PAGES {
        azurite.owner().put(&Path::parse(page).unwrap(), "{}".into()).await.unwrap();
    }
    let before = held(&azurite).await;
    let backstage = Backstage::start().await;
    for (access, root, finding) in [
        (azurite.signature("rl", 600), "/", NOTHING_ELSE),
        (azurite.signature("rwl", 600), "/", "can overwrite objects"),
        (azurite.signature("rld", 600), "/", "can delete objects"),
        (azurite.signature("rwdl", 600), "/", "can overwrite objects and delete objects"),
        (azurite.with_key(), "/", "can overwrite objects and delete objects"),
        (
            azurite.signature("rl", 600),
            ROOT,
            "can list what lies outside of the root path and read what lies outside of the root path",
        ),
    ] {
        let publisher = azurite.publisher(azurite.endpoint(), root, &access);
        let (verdict, code) = checked(&backstage, &publisher, "").await;
        let (told, _) = verdict.split_once(". This is enough").unwrap_or((&verdict, ""));
        assert!(told.ends_with(finding), "{finding}: {verdict}");
        assert_eq!(verdict.starts_with("warning"), finding != NOTHING_ELSE, "{verdict}");
        assert_eq!(code, Some(0), "{verdict}");
        let changes = finding.contains("overwrite") || finding.contains("delete");
        let (verdict, code) = checked(&backstage, &publisher, "requireReadOnly: enforce").await;
        assert_eq!(code, Some(i32::from(changes)), "{verdict}");
    }
    assert_eq!(held(&azurite).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_makes_new_blobs_only_is_found_too() {
    let azurite = Azurite::start().await;
    azurite.owner().put(&Path::parse(PAGES[0]).unwrap(), "{}".into()).await.unwrap();
    let before = held(&azurite).await;
    let backstage = Backstage::start().await;
    let publisher = azurite.publisher(azurite.endpoint(), "/", &azurite.signature("rlc", 600));
    let (verdict, code) = checked(&backstage, &publisher, "requireReadOnly: enforce").await;
    assert!(verdict.starts_with("FAILED") && verdict.contains("its credential can "), "{verdict}");
    assert!(!verdict.contains("delete objects") && !verdict.contains("sig="), "{verdict}");
    assert_eq!(code, Some(1), "{verdict}");
    assert_eq!(held(&azurite).await, before);
}
