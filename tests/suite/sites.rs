//! A publish shows for the whole site, and what that costs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use callboard::storage::StoreError;

use crate::support::scripted::{Deed, Scripted};
use crate::support::{Callboard, SITE, until};

const FOLDER: &str = "default/component/shop";

/// A page, at a version of the site.
fn page(version: &'static str) -> Deed {
    Deed::Give(Bytes::from_static(version.as_bytes()), version)
}

fn metadata(version: &'static str) -> Deed {
    Deed::Give(Bytes::from(format!(r#"{{"site_name":"Shop","etag":"{version}"}}"#)), version)
}

/// A site with two pages, at version `v1`.
fn site() -> Arc<Scripted> {
    let store = Scripted::new(Deed::Fail(StoreError::Absent));
    publish(&store, "v1");
    store
}

fn publish(store: &Scripted, version: &'static str) {
    for file in ["index.html", "guide.html"] {
        store.set(&format!("{FOLDER}/{file}"), page(version));
    }
    store.set(&format!("{FOLDER}/techdocs_metadata.json"), metadata(version));
}

fn looks(store: &Scripted) -> usize {
    store.gets_of(&format!("{FOLDER}/techdocs_metadata.json"))
}

/// One that looks at its sites every ten seconds.
async fn callboard(store: &Arc<Scripted>, section: &str) -> Callboard {
    Callboard::before(store.clone(), &format!("{section}  site: {{ publishCheck: 10s, settleFor: 60s }}\n")).await
}

async fn read(callboard: &Callboard, file: &str) -> (u16, String) {
    let answer = callboard.get(&format!("{SITE}/{file}")).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, if status == 200 { answer.text().await.unwrap() } else { String::new() })
}

async fn body(callboard: &Callboard, file: &str) -> String {
    read(callboard, file).await.1
}

/// Reads both pages, and waits until the site was looked at.
async fn visit(callboard: &Callboard, store: &Scripted) {
    let looks_before = looks(store);
    assert_eq!(body(callboard, "index.html").await, "v1");
    assert_eq!(body(callboard, "guide.html").await, "v1");
    until(async || looks(store) > looks_before).await;
}

#[tokio::test]
async fn a_publish_shows_in_every_page_once_the_site_was_looked_at() {
    let store = site();
    let callboard = callboard(&store, "").await;
    visit(&callboard, &store).await;
    publish(&store, "v2");
    assert_eq!(body(&callboard, "index.html").await, "v1", "within the interval nobody has looked");
    callboard.hand.advance(Duration::from_secs(10));
    until(async || body(&callboard, "index.html").await == "v2").await;
    // The page that nobody has read since is not served either, though it would be fresh for minutes.
    assert_eq!(body(&callboard, "guide.html").await, "v2");
}

#[tokio::test]
async fn nobody_has_to_read_for_a_site_in_use_to_be_looked_at() {
    let store = site();
    let callboard = callboard(&store, "").await;
    visit(&callboard, &store).await;
    publish(&store, "v2");
    for interval in 1..=6 {
        let before = looks(&store);
        callboard.hand.advance(Duration::from_secs(10));
        until(async || looks(&store) > before).await;
        assert_eq!(looks(&store), before + 1, "once an interval, in interval {interval}");
    }
    assert_eq!(body(&callboard, "guide.html").await, "v2");
}

#[tokio::test]
async fn the_first_reader_of_a_site_that_was_idle_waits_for_a_look() {
    let store = site();
    let callboard = callboard(&store, "").await;
    visit(&callboard, &store).await;
    publish(&store, "v2");
    let before = looks(&store);
    callboard.hand.advance(Duration::from_secs(240));
    // Longer than it takes the watch to come round.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(looks(&store), before, "an idle site costs nothing");
    assert_eq!(body(&callboard, "index.html").await, "v2");
    assert_eq!(looks(&store), before + 1);
}

#[tokio::test]
async fn a_site_that_has_nothing_is_not_looked_at() {
    let store = site();
    let callboard = callboard(&store, "").await;
    for _ in 0..3 {
        let absent = callboard.get("/static/docs/default/component/nobody/index.html").send().await.unwrap();
        assert_eq!(absent.status(), 404);
        callboard.hand.advance(Duration::from_secs(11));
    }
    assert_eq!(store.gets(), 3);
}

#[tokio::test]
async fn in_the_middle_of_a_publish_pages_are_confirmed_every_second() {
    let store = site();
    let callboard = callboard(&store, "").await;
    visit(&callboard, &store).await;
    // The metadata came first; the page follows when the change has been noticed already.
    store.set(&format!("{FOLDER}/techdocs_metadata.json"), metadata("v2"));
    callboard.hand.advance(Duration::from_secs(10));
    let before = looks(&store);
    until(async || body(&callboard, "index.html").await == "v1" && looks(&store) > before).await;
    store.set(&format!("{FOLDER}/index.html"), page("v2"));
    callboard.hand.advance(Duration::from_secs(1));
    assert_eq!(body(&callboard, "index.html").await, "v2");
    store.set(&format!("{FOLDER}/guide.html"), page("v2"));
    callboard.hand.advance(Duration::from_secs(59));
    assert_eq!(body(&callboard, "guide.html").await, "v2", "also when it is over");
}

#[tokio::test]
async fn deleted_pages_disappear_and_a_site_that_is_rolled_back_comes_back() {
    let store = site();
    let callboard = callboard(&store, "").await;
    visit(&callboard, &store).await;
    publish(&store, "v2");
    store.set(&format!("{FOLDER}/guide.html"), Deed::Fail(StoreError::Absent));
    callboard.hand.advance(Duration::from_secs(10));
    until(async || read(&callboard, "guide.html").await.0 == 404).await;
    publish(&store, "v1");
    callboard.hand.advance(Duration::from_secs(10));
    until(async || body(&callboard, "guide.html").await == "v1").await;
    assert_eq!(body(&callboard, "index.html").await, "v1");
}

#[tokio::test]
async fn a_page_that_is_found_changed_has_its_site_looked_at_at_once() {
    let store = site();
    let callboard = callboard(&store, "  cache: { freshFor: 5s, staleWhileRevalidate: 0s }\n").await;
    visit(&callboard, &store).await;
    publish(&store, "v2");
    callboard.hand.advance(Duration::from_secs(5));
    let before = looks(&store);
    assert_eq!(body(&callboard, "index.html").await, "v2");
    until(async || looks(&store) > before).await;
    assert_eq!(body(&callboard, "guide.html").await, "v2");
}

#[tokio::test]
async fn after_a_publish_an_old_page_is_served_only_if_storage_fails() {
    let store = site();
    let callboard = callboard(&store, "").await;
    visit(&callboard, &store).await;
    publish(&store, "v2");
    store.set(&format!("{FOLDER}/guide.html"), Deed::Fail(StoreError::unavailable("503 Slow Down")));
    callboard.hand.advance(Duration::from_secs(10));
    until(async || body(&callboard, "index.html").await == "v2").await;
    let old = callboard.get(&format!("{SITE}/guide.html")).send().await.unwrap();
    assert!(old.headers()["cache-status"].to_str().unwrap().ends_with("detail=stale-if-error"));
    assert_eq!(old.text().await.unwrap(), "v1");
}

#[tokio::test]
async fn a_site_that_cant_be_looked_at_is_served_as_long_as_its_pages_are_fresh() {
    let store = site();
    let callboard = callboard(&store, "").await;
    visit(&callboard, &store).await;
    store.set(&format!("{FOLDER}/techdocs_metadata.json"), Deed::Fail(StoreError::unavailable("down")));
    for _ in 0..20 {
        callboard.hand.advance(Duration::from_secs(10));
        assert_eq!(body(&callboard, "index.html").await, "v1");
    }
    assert!(looks(&store) < 60, "and is not asked for all the time");
}
