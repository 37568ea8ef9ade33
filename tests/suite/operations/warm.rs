//! Warming, over HTTP, by the command and for a site's first visitor.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use callboard::storage::StoreError;
use http::StatusCode;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{BUCKET, ask_admin, gets, message, page, read, until_held};
use crate::support::redis::Redis;
use crate::support::scripted::{Deed, Scripted};
use crate::support::servers::Server;
use crate::support::{Callboard, Told, until};

const SHOP: &str = "warm?entity=component:default/shop";

/// The lines of an answer.
async fn lines(answer: Response) -> Vec<Value> {
    assert_eq!(answer.status(), StatusCode::OK);
    let text = answer.text().await.unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Warms, and returns the summary.
async fn warm(callboard: &Callboard, target: &str) -> Value {
    let lines = lines(ask_admin(callboard, Method::POST, target).await).await;
    lines.last().unwrap()["summary"].clone()
}

/// The metadata of a site that has `files` beside it.
fn metadata(files: &[String]) -> Deed {
    Deed::Give(Bytes::from(json!({ "files": files }).to_string()), "m")
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|file| format!("{file}.html")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_site_is_fetched_once_and_then_held_by_both_tiers() {
    let (s3, redis) = (Server::s3().await, Redis::plain());
    let publisher = format!(
        "{{ type: awsS3, awsS3: {{ bucketName: {}, region: {}, endpoint: '{}', s3ForcePathStyle: true, \
         credentials: {{ accessKeyId: '{}', secretAccessKey: '{}' }} }} }}",
        s3.said("/bucket"),
        s3.said("/region"),
        s3.said("/endpoint"),
        s3.said("/reader/accessKeyId"),
        s3.said("/reader/secretAccessKey"),
    );
    let section = format!("  cache: {{ redis: {} }}\n  storage: {{ timeout: 30s }}\n", redis.config());
    let replica = async || {
        let told = Told { section: &section, publisher: Some(publisher.clone()), ..Told::default() };
        let callboard = Callboard::told(told).await;
        // The site has just been published, and would have to settle first.
        callboard.hand.advance(Duration::from_secs(600));
        // What is fetched before is doubted once the others are heard.
        until(async || callboard.metric("callboard_redis_listening", &[]).await == 1.0).await;
        callboard
    };
    let entity = s3.said("/entity");
    let [namespace, kind, name] = entity.split('/').collect::<Vec<_>>()[..] else { panic!("{entity}") };
    let target = format!("warm?entity={kind}:{namespace}/{name}&concurrency=8");

    let one = replica().await;
    let told = lines(ask_admin(&one, Method::POST, &target).await).await;
    assert!(told.len() > 1 && told[0]["progress"].is_object(), "{told:?}");
    let summary = &told.last().unwrap()["summary"];
    let count = |name: &str| summary[name].as_u64().unwrap();
    // The publisher lists its metadata too, and one file is too large to keep.
    let (files, kept, large) = (count("files"), count("fetched"), count("tooLarge"));
    assert_eq!((files, kept, large), (342, 341, 1), "{summary}");
    assert_eq!(gets(&one).await, files as f64);
    for path in ["index.html", "techdocs_metadata.json"] {
        let page = one.get(&format!("/static/docs/{entity}/{path}")).send().await.unwrap();
        assert!(page.headers()["cache-status"].to_str().unwrap().contains("hit"), "{path}");
    }
    assert_eq!(gets(&one).await, files as f64);

    // The site's own record is stored too.
    let stored = async || one.metric("callboard_cache_shared_writes_total", &["stored"]).await;
    until(async || stored().await == kept as f64 + 1.0).await;
    let other = replica().await;
    let summary = warm(&other, &target).await;
    assert_eq!((&summary["fromRedis"], &summary["tooLarge"]), (&json!(kept), &json!(large)), "{summary}");
    assert_eq!(gets(&other).await, large as f64);
    let summary = warm(&other, &target).await;
    assert_eq!((&summary["fresh"], &summary["fetched"]), (&json!(kept), &json!(0)), "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_had_is_counted_and_the_rest_is_fetched() {
    let store = Scripted::new(page("<h1>", "1"));
    let files = ["a.html", "../other/b.html", "gone.html", "broken.html", "large.bin", "techdocs_metadata.json"];
    store.set("default/component/shop/techdocs_metadata.json", metadata(&files.map(str::to_owned)));
    store.set("default/component/shop/gone.html", Deed::Fail(StoreError::Absent));
    store.set("default/component/shop/broken.html", Deed::Truncate);
    store.set("default/component/shop/large.bin", Deed::Give(vec![0; 3000].into(), "l"));
    let callboard = Callboard::before(store.clone(), "  cache: { maxObjectBytes: 2000 }\n").await;
    let summary = warm(&callboard, SHOP).await;
    let expected = json!({ "site": "default/component/shop", "sites": 1, "sitesDone": 1, "files": 5, "fetched": 2,
        "absent": 1, "failed": 1, "tooLarge": 1, "badNames": 1 });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&summary[name], value, "{name} in {summary}");
    }
    for (result, expected) in [("fetched", 2.0), ("absent", 1.0), ("failed", 1.0), ("too_large", 1.0), ("fresh", 0.0)] {
        assert_eq!(callboard.metric("callboard_site_warmed_files_total", &[result]).await, expected, "{result}");
    }
    store.set("default/component/empty/techdocs_metadata.json", Deed::Fail(StoreError::Absent));
    let summary = warm(&callboard, "warm?entity=component:empty").await;
    assert_eq!((&summary["sitesUnlisted"], &summary["absent"]), (&json!(1), &json!(1)), "{summary}");
    let refused = ask_admin(&callboard, Method::POST, "warm?entity=shop").await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert!(message(refused).await.contains("kind:namespace/name"));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_sites_are_found_in_storage_and_none_where_it_may_not_be_listed() {
    let store = Scripted::new(page("<h1>", "1"));
    for site in ["default/component/shop", "team-a/api/orders", "Team/api/unreachable"] {
        store.set(&format!("{site}/techdocs_metadata.json"), metadata(&names(3)));
    }
    store.set("stray.txt", page("", "s"));
    let callboard = Callboard::before(store.clone(), "").await;
    let summary = warm(&callboard, "warm?all=true").await;
    assert_eq!((&summary["sites"], &summary["sitesDone"]), (&json!(2), &json!(2)), "{summary}");
    assert_eq!((&summary["files"], &summary["fetched"]), (&json!(8), &json!(8)), "{summary}");
    store.refuse_listing(StoreError::denied(std::io::Error::other("no")));
    let summary = warm(&callboard, "warm?all=true").await;
    assert_eq!((&summary["sites"], &summary["listingFailed"]), (&json!(0), &json!("denied")), "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_searched_for_sites_too() {
    let callboard = Callboard::start().await;
    let summary = warm(&callboard, "warm?all=true").await;
    assert_eq!((&summary["sitesDone"], &summary["fetched"]), (&json!(1), &json!(2)), "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_memory_can_not_hold_is_not_fetched_to_its_end() {
    let store = Scripted::new(Deed::Give(vec![b'x'; 100_000].into(), "1"));
    store.set("default/component/shop/techdocs_metadata.json", metadata(&names(100)));
    let section = "  cache: { memory: { maxBytes: 1MiB }, maxObjectBytes: 1MiB }\n";
    let callboard = Callboard::before(store.clone(), section).await;
    let summary = warm(&callboard, SHOP).await;
    assert_eq!((&summary["beyondMemory"], &summary["sitesDone"]), (&json!(true), &json!(0)), "{summary}");
    assert!((11..30).contains(&store.gets()), "{}", store.gets());
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_up_ends_the_warming() {
    let store = Scripted::held(page("<h1>", "1"));
    for site in ["shop", "other"] {
        store.set(&format!("default/component/{site}/techdocs_metadata.json"), metadata(&names(100)));
    }
    let callboard = Callboard::before(store.clone(), "").await;
    let answer = ask_admin(&callboard, Method::POST, SHOP).await;
    store.gate.add_permits(1);
    until(async || store.running() == 4).await;
    let connections = async || callboard.metric("callboard_server_connections", &["admin"]).await;
    let before = connections().await;
    drop(answer);
    until(async || connections().await < before).await;
    store.gate.add_permits(10_000_000);
    // A second warming gets no further than the first one would have, had it gone on beside it.
    let summary = warm(&callboard, "warm?entity=component:other").await;
    assert_eq!(summary["fetched"], 101, "{summary}");
    assert_eq!(store.gets(), 1 + 4 + 101);
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_warmings_run_and_no_more() {
    let store = Scripted::held(page("<h1>", "1"));
    let callboard = Callboard::before(store.clone(), "").await;
    let mut running = Vec::new();
    for _ in 0..4 {
        running.push(ask_admin(&callboard, Method::POST, SHOP).await);
    }
    let refused = ask_admin(&callboard, Method::POST, SHOP).await;
    assert_eq!(
        (refused.status(), &refused.headers()["retry-after"].to_str().unwrap()),
        (StatusCode::SERVICE_UNAVAILABLE, &"30")
    );
    drop(running.pop());
    until(async || ask_admin(&callboard, Method::POST, SHOP).await.status() == StatusCode::OK).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_what_is_being_warmed_waits_for_nobody() {
    let store = Scripted::new(page("<h1>", "1"));
    store.set("default/component/shop/techdocs_metadata.json", metadata(&names(3)));
    let section = "  storage: { maxConcurrent: 4 }\n  cache: { staleWhileRevalidate: 1h }\n";
    let callboard = Arc::new(Callboard::before(store.clone(), section).await);
    until_held(&callboard, "index.html", "<h1>").await;
    callboard.hand.advance(Duration::from_secs(400));
    // A refresh takes the only place that is not a reader's.
    store.hold();
    assert!(read(&callboard, "index.html").await.1.ends_with("detail=stale-while-revalidate"));
    until(async || store.running() == 1).await;
    let mut answer = ask_admin(&callboard, Method::POST, SHOP).await;
    let mut told = String::new();
    while !told.contains("\"files\":1") {
        told += std::str::from_utf8(&answer.chunk().await.unwrap().unwrap()).unwrap();
    }
    assert_eq!(store.running(), 1, "it waits for that place");
    let reader = tokio::spawn({
        let callboard = Arc::clone(&callboard);
        async move { read(&callboard, "techdocs_metadata.json").await }
    });
    until(async || store.running() == 2).await;
    store.gate.add_permits(10_000_000);
    reader.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_visit_has_the_rest_fetched_where_that_is_switched_on() {
    let store = Scripted::new(page("<h1>", "1"));
    store.set("default/component/shop/techdocs_metadata.json", metadata(&names(20)));
    let callboard = Callboard::before(store.clone(), "  site: { warmOnFirstVisit: true }\n").await;
    read(&callboard, "index.html").await;
    until(async || store.gets() == 22).await;
    for name in names(20) {
        until_held(&callboard, &name, "<h1>").await;
    }
    assert_eq!(store.gets(), 22);

    let off = Callboard::before(store.clone(), "").await;
    read(&off, "index.html").await;
    assert_eq!(warm(&off, SHOP).await["fetched"], 21, "the rest was not held");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_shows_what_was_done() {
    let store = Scripted::new(page("<h1>", "1"));
    store.set("default/component/shop/techdocs_metadata.json", metadata(&names(7)));
    let told = Told { publisher: Some(BUCKET.to_owned()), store: Some(store.clone()), ..Told::default() };
    let callboard = Callboard::told(told).await;
    let address = callboard.admin.to_string();
    let run = |what: &str| {
        let folder = TempDir::new().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_callboard"));
        command.args(["warm", what, "--address", &address]).current_dir(folder.path());
        let output = command.output().unwrap();
        let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        (output.status.code().unwrap(), stdout, stderr)
    };
    let (code, stdout, stderr) = run("component:default/shop");
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("1 of 1 sites, 8 files: 8 from storage, 0 from Redis, 0 held before."), "{stdout}");
    assert!(!stderr.contains('\r'), "a bar is for terminals: {stderr}");
    let (code, stdout, _) = run("--all");
    assert_eq!((code, stdout.contains("8 held before")), (0, true), "{stdout}");
    store.set("default/component/none/techdocs_metadata.json", Deed::Fail(StoreError::Absent));
    let (code, stdout, _) = run("component:default/none");
    assert_eq!((code, stdout.contains("1 sites without a list of files")), (1, true), "{stdout}");
    drop(callboard);
}
