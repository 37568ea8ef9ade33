//! The real servers in trouble, under load.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::Cloud;
use crate::support::load::{Load, Page, Place};
use crate::support::{Callboard, SITE, until};

/// Pages that are read over and over.
const PAGES: usize = 20;

/// Each page is confirmed again soon after it was read, so that storage's trouble shows.
const SECTION: &str = "  cache: { freshFor: 1s }\n  storage: { timeout: 20s, breaker: { failures: 3, pause: 100ms, longestPause: 500ms } }\n";

async fn published(cloud: &Cloud) -> Arc<[Page]> {
    let mut pages = Vec::new();
    for page in 0..PAGES {
        let (name, contents) = (format!("page-{page}.html"), format!("<h1>Page {page}</h1>").repeat(page + 1));
        let path = format!("{}/default/component/shop/{name}", cloud.server.said("/container"));
        // A token of its own each: some live for seconds.
        cloud.upload(&cloud.writer().await, &path, contents.clone(), &[]).await;
        pages.push((name, Bytes::from(contents)));
    }
    pages.into()
}

async fn status(callboard: &Callboard, name: &str) -> u16 {
    callboard.get(&format!("{SITE}/{name}")).send().await.unwrap().status().as_u16()
}

async fn operations(callboard: &Callboard, result: &str) -> f64 {
    let result = format!("result=\"{result}\"");
    callboard.metric("callboard_storage_operation_duration_seconds_count", &["\"get\"", &result]).await
}

/// A load on pages that are held, and grow old while it lasts.
async fn load(callboard: &Callboard, pages: &Arc<[Page]>) -> Load {
    for (name, _) in pages.iter() {
        assert_eq!(status(callboard, name).await, 200);
    }
    Load::start(&[Place::of(callboard)], pages, 4).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_is_revoked_under_load_keeps_held_pages_alive_and_the_next_one_serves() {
    let cloud = Cloud::start(&[]).await;
    let pages = published(&cloud).await;
    let first = cloud.told("credential/reader").await;
    let callboard = cloud.callboard(&first, SECTION).await;
    let load = load(&callboard, &pages).await;
    cloud.told(&format!("revoke/reader/{}", first["id"].as_str().unwrap())).await;
    until(async || {
        callboard.hand.advance(Duration::from_secs(2));
        load.goes_on(PAGES).await;
        operations(&callboard, "denied").await >= 10.0
    })
    .await;
    let (failures, _) = load.stop().await;
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(status(&callboard, "nobody-has-read-this.html").await, 502);
    let second = cloud.told("credential/reader").await;
    let rotated = cloud.callboard(&second, SECTION).await;
    assert_eq!(status(&rotated, &pages[0].0).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_and_an_unknown_credential_are_denials() {
    let cloud = Cloud::start(&[]).await;
    let pages = published(&cloud).await;
    let id = cloud.reader()["id"].clone();
    for credential in [
        json!({ "id": id, "secret": "not-the-secret" }),
        json!({ "id": "0123456789abcdef0123456789abcdef", "secret": "nobody-s" }),
    ] {
        let callboard = cloud.callboard(&credential, SECTION).await;
        assert_eq!(status(&callboard, &pages[0].0).await, 502, "{credential}");
        assert_eq!(operations(&callboard, "denied").await, 1.0, "{credential}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn swift_and_keystone_that_are_killed_and_come_back_under_load_cost_held_pages_nothing() {
    let cloud = Cloud::start(&[]).await;
    let pages = published(&cloud).await;
    let callboard = cloud.callboard(cloud.reader(), SECTION).await;
    let load = load(&callboard, &pages).await;
    for server in ["swift", "keystone"] {
        cloud.told(&format!("kill/{server}")).await;
    }
    until(async || {
        callboard.hand.advance(Duration::from_secs(2));
        load.goes_on(PAGES).await;
        callboard.metric("callboard_storage_breaker_openings_total", &[]).await >= 1.0
    })
    .await;
    assert_eq!(status(&callboard, "nobody-has-read-this.html").await, 503);
    // Swift asks Keystone whether a token is good.
    for server in ["keystone", "swift"] {
        cloud.told(&format!("start/{server}")).await;
    }
    until(async || status(&callboard, "nobody-has-read-this.html").await == 404).await;
    let served = operations(&callboard, "ok").await;
    until(async || {
        callboard.hand.advance(Duration::from_secs(2));
        load.goes_on(PAGES).await;
        operations(&callboard, "ok").await > served
    })
    .await;
    let (failures, _) = load.stop().await;
    assert!(failures.is_empty(), "{failures:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn real_tokens_that_live_for_seconds_are_renewed_under_load() {
    let cloud = Cloud::start(&["--token-seconds", "5"]).await;
    let pages = published(&cloud).await;
    let callboard = cloud.callboard(cloud.reader(), SECTION).await;
    let load = load(&callboard, &pages).await;
    until(async || {
        callboard.hand.advance(Duration::from_secs(2));
        load.goes_on(PAGES).await;
        callboard.metric("callboard_storage_credential_renewals_total", &["ok"]).await >= 3.0
    })
    .await;
    let (failures, _) = load.stop().await;
    assert!(failures.is_empty(), "{failures:?}");
    // The test's clock says when they end; where the machine is slow, time itself may say so before it, now and then.
    let fetched = operations(&callboard, "ok").await;
    for result in ["denied", "unavailable"] {
        let failed = operations(&callboard, result).await;
        assert!(failed <= fetched / 4.0, "{failed} of {fetched} {result}");
    }
}
