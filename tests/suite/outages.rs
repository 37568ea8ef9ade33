//! What readers get while storage fails, and how often it is asked then.

use std::time::Duration;

use bytes::Bytes;
use callboard::storage::StoreError;
use futures_util::future::join_all;
use http::header::RETRY_AFTER;

use crate::support::scripted::{Deed, Scripted};
use crate::support::{Callboard, SITE, until};

/// Opens after three failures, for a pause that no test outlasts.
const LONG_REST: &str = "  storage: { breaker: { failures: 3, pause: 5m, longestPause: 10m } }\n";

fn page(tag: &'static str) -> Deed {
    Deed::Give(Bytes::from_static(b"page"), tag)
}

fn down() -> Deed {
    Deed::Fail(StoreError::unavailable("connection refused"))
}

/// Reads a page: the status, what `Cache-Status` says, and after how many seconds to ask again.
async fn read(callboard: &Callboard, name: &str) -> (u16, String, Option<u64>) {
    let answer = callboard.get(&format!("{SITE}/{name}")).send().await.unwrap();
    let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let retry_after = header(RETRY_AFTER.as_str()).map(|seconds| seconds.parse().unwrap());
    (answer.status().as_u16(), header("cache-status").unwrap_or_default(), retry_after)
}

#[tokio::test]
async fn however_storage_fails_what_is_held_is_served_and_what_is_not_is_no_404() {
    let store = Scripted::new(page("v1"));
    let section = "  storage: { timeout: 500ms, breaker: { enabled: false } }\n";
    let callboard = Callboard::before(store.clone(), section).await;
    for (name, deed, status) in [
        ("unreachable", down(), 503),
        ("throttled", Deed::Fail(StoreError::unavailable("503 Slow Down")), 503),
        ("denied", Deed::Fail(StoreError::denied("403 Forbidden")), 502),
        ("cut", Deed::Truncate, 502),
        ("hanging", Deed::Hang, 504),
    ] {
        store.now(page("v1"));
        let held = format!("held/{name}");
        assert_eq!(read(&callboard, &held).await.0, 200);
        callboard.hand.advance(Duration::from_secs(400));
        store.now(deed);
        for _ in 0..3 {
            let (status, cache_status, _) = read(&callboard, &held).await;
            assert_eq!(status, 200, "{name}");
            assert!(cache_status.ends_with("detail=stale-if-error"), "{name}: {cache_status}");
        }
        let miss = read(&callboard, &format!("miss/{name}")).await;
        assert_eq!((miss.0, miss.2), (status, Some(2)), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_during_an_outage_cost_storage_a_handful_of_operations() {
    let store = Scripted::new(page("v1"));
    let callboard = Callboard::before(store.clone(), LONG_REST).await;
    let held: Vec<String> = (0..50).map(|page| format!("held/{page}")).collect();
    for name in &held {
        assert_eq!(read(&callboard, name).await.0, 200);
    }
    callboard.hand.advance(Duration::from_secs(400));
    store.now(down());
    let before = store.gets();
    for miss in 0..3 {
        let (status, _, retry_after) = read(&callboard, &format!("first/{miss}")).await;
        assert_eq!((status, retry_after), (503, Some(2)));
    }
    for round in 0..10 {
        // A second later each page may be asked for again.
        callboard.hand.advance(Duration::from_secs(1));
        for (status, cache_status, _) in join_all(held.iter().map(|name| read(&callboard, name))).await {
            assert_eq!(status, 200);
            assert!(cache_status.ends_with("detail=stale-if-error"), "{cache_status}");
        }
        let misses: Vec<String> = (0..50).map(|miss| format!("miss/{round}/{miss}")).collect();
        for (status, _, retry_after) in join_all(misses.iter().map(|name| read(&callboard, name))).await {
            // What is left of five minutes, give or take a fifth.
            assert!(status == 503 && (180..=360).contains(&retry_after.unwrap()), "{status} {retry_after:?}");
        }
    }
    assert_eq!(store.gets(), before + 3);
    assert_eq!(callboard.metric("callboard_storage_breaker", &["breaker{"]).await, 1.0);
    assert_eq!(callboard.metric("callboard_storage_breaker_openings_total", &[]).await, 1.0);
    let resting = callboard.metric("callboard_storage_operation_duration_seconds_count", &["get", "resting"]).await;
    assert!(resting >= 500.0, "{resting}");
}

#[tokio::test]
async fn storage_that_is_back_is_noticed_and_asked_as_ever() {
    let store = Scripted::new(down());
    let section = "  storage: { breaker: { failures: 3, pause: 100ms, longestPause: 200ms } }\n";
    let callboard = Callboard::before(store.clone(), section).await;
    for name in ["a", "b", "c"] {
        read(&callboard, name).await;
    }
    assert_eq!(callboard.metric("callboard_storage_breaker", &["breaker{"]).await, 1.0);
    // Each try now and then keeps it open.
    until(async || {
        read(&callboard, "d").await;
        store.gets() >= 5
    })
    .await;
    assert_eq!(callboard.metric("callboard_storage_breaker_openings_total", &[]).await, 1.0);
    store.now(page("v1"));
    until(async || read(&callboard, "e").await.0 == 200).await;
    assert_eq!(callboard.metric("callboard_storage_breaker", &["breaker{"]).await, 0.0);
    for name in ["f", "g"] {
        assert_eq!(read(&callboard, name).await.0, 200);
    }
}

#[tokio::test]
async fn answers_that_say_no_open_nothing() {
    let store = Scripted::new(Deed::Fail(StoreError::denied("403 Forbidden")));
    let callboard = Callboard::before(store.clone(), LONG_REST).await;
    for (round, deed) in [Deed::Fail(StoreError::Absent), Deed::Truncate].into_iter().enumerate() {
        for name in 0..5 {
            assert_eq!(read(&callboard, &format!("{round}/denied/{name}")).await.0, 502);
        }
        store.now(deed);
        for name in 0..5 {
            read(&callboard, &format!("{round}/other/{name}")).await;
        }
        store.now(Deed::Fail(StoreError::denied("403 Forbidden")));
    }
    assert_eq!(store.gets(), 20);
    assert_eq!(callboard.metric("callboard_storage_breaker_openings_total", &[]).await, 0.0);
}
