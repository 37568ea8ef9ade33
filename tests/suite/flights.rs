//! How often storage is asked, and what comes of its failures.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use callboard::storage::StoreError;
use futures_util::future::join_all;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_NONE_MATCH, RANGE, RETRY_AFTER};
use reqwest::StatusCode;

use crate::support::scripted::{Deed, Scripted};
use crate::support::{Callboard, SITE, until};

const READERS: usize = 1000;

fn page(tag: &'static str) -> Deed {
    Deed::Give(Bytes::from_static(b"page"), tag)
}

/// Sends the requests of all readers, waits until every one of them waits for the same fetch, and lets it go.
async fn stampede(callboard: &Callboard, store: &Scripted, hang_up_first: bool) -> Vec<reqwest::Response> {
    let path = format!("{SITE}/index.html");
    // One after the other so that the first is the leader.
    let mut first = tokio::spawn(callboard.get(&path).send());
    until(async || store.gets() == 1).await;
    let others: Vec<_> = (1..READERS).map(|_| tokio::spawn(callboard.get(&path).send())).collect();
    until(async || callboard.metric("callboard_auth_tokens_total", &[]).await as usize >= READERS).await;
    if hang_up_first {
        first.abort();
        let _ = (&mut first).await;
        // The server has noticed, and the fetch is still held.
        until(async || callboard.metric("http_server_request_duration_seconds_count", &["\"499\""]).await == 1.0).await;
    }
    store.gate.add_permits(1);
    let mut answers = Vec::new();
    if !hang_up_first {
        answers.push(first.await.unwrap().unwrap());
    }
    answers.extend(join_all(others).await.into_iter().map(|answer| answer.unwrap().unwrap()));
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_readers_of_a_cold_page_cost_one_fetch() {
    let store = Scripted::held(page("v1"));
    let callboard = Callboard::before(store.clone(), "").await;
    let answers = stampede(&callboard, &store, false).await;
    assert_eq!(answers.len(), READERS);
    let collapsed = answers.iter().filter(|answer| answer.headers()["cache-status"].as_bytes().ends_with(b"collapsed"));
    assert_eq!(collapsed.count(), READERS - 1);
    for answer in answers {
        assert_eq!(answer.text().await.unwrap(), "page");
    }
    assert_eq!(store.gets(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_reader_hanging_up_ends_nobodys_fetch() {
    let store = Scripted::held(page("v1"));
    let callboard = Callboard::before(store.clone(), "").await;
    for answer in stampede(&callboard, &store, true).await {
        assert_eq!(answer.text().await.unwrap(), "page");
    }
    assert_eq!(store.gets(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_fetch_is_everyones_and_is_not_remembered() {
    let store = Scripted::held(Deed::Fail(StoreError::unavailable("connection refused")));
    let callboard = Callboard::before(store.clone(), "").await;
    for answer in stampede(&callboard, &store, false).await {
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.headers().contains_key(RETRY_AFTER));
    }
    assert_eq!(store.gets(), 1);
    store.now(page("v1"));
    store.gate.add_permits(1);
    let answer = callboard.get(&format!("{SITE}/index.html")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_panics_fails_for_everyone_once() {
    let store = Scripted::held(Deed::Panic);
    let callboard = Callboard::before(store.clone(), "").await;
    for answer in stampede(&callboard, &store, false).await {
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
    assert_eq!(store.gets(), 1);
    store.now(page("v1"));
    store.gate.add_permits(1);
    let answer = callboard.get(&format!("{SITE}/index.html")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn each_failure_has_its_own_status_and_404_means_absent() {
    let store = Scripted::new(page("v1"));
    let callboard = Callboard::before(store.clone(), "  storage: { timeout: 1s }\n").await;
    for (name, deed, status) in [
        ("absent", Deed::Fail(StoreError::Absent), 404),
        ("denied", Deed::Fail(StoreError::denied("403 SignatureDoesNotMatch")), 502),
        ("unavailable", Deed::Fail(StoreError::unavailable("503 Slow Down")), 503),
        ("truncated", Deed::Truncate, 502),
        ("hanging", Deed::Hang, 504),
    ] {
        store.set(&format!("default/component/shop/{name}"), deed);
        let answer = callboard.get(&format!("{SITE}/{name}")).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{name}");
        assert_eq!(answer.headers().contains_key(RETRY_AFTER), status != 404, "{name}");
        let body = answer.text().await.unwrap();
        assert!(!body.contains("SignatureDoesNotMatch") && !body.contains("Slow Down"), "{body}");
    }
}

#[tokio::test]
async fn absence_is_remembered_briefly_and_failure_not_at_all() {
    let store = Scripted::new(Deed::Fail(StoreError::Absent));
    let callboard = Callboard::before(store.clone(), "").await;
    let read = async || callboard.get(&format!("{SITE}/index.html")).send().await.unwrap().status();
    assert_eq!((read().await, read().await, store.gets()), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND, 1));
    callboard.hand.advance(Duration::from_secs(10));
    store.now(Deed::Fail(StoreError::unavailable("down")));
    assert_eq!(
        (read().await, read().await, store.gets()),
        (StatusCode::SERVICE_UNAVAILABLE, StatusCode::SERVICE_UNAVAILABLE, 3)
    );
    store.now(page("v1"));
    assert_eq!((read().await, store.gets()), (StatusCode::OK, 4));
}

#[tokio::test]
async fn an_entry_that_is_no_longer_fresh_is_revalidated() {
    let store = Scripted::new(page("v1"));
    let callboard =
        Callboard::before(store.clone(), "  cache: { staleWhileRevalidate: 0s }\n  site: { settleFor: 0s }\n").await;
    let status = async || {
        let answer = callboard.get(&format!("{SITE}/index.html")).send().await.unwrap();
        let status = answer.headers()["cache-status"].to_str().unwrap().to_owned();
        (status, answer.headers()[ETAG].clone(), answer.text().await.unwrap())
    };
    status().await;
    callboard.hand.advance(Duration::from_secs(299));
    assert_eq!(status().await.0, "callboard; hit; ttl=1; detail=memory");
    callboard.hand.advance(Duration::from_secs(1));
    assert_eq!(status().await.0, "callboard; fwd=stale; fwd-status=304; stored; ttl=300");
    assert_eq!(status().await.0, "callboard; hit; ttl=300; detail=memory");
    callboard.hand.advance(Duration::from_secs(300));
    store.now(Deed::Give(Bytes::from_static(b"new page"), "v2"));
    let (status, etag, body) = status().await;
    assert_eq!(status, "callboard; fwd=stale; fwd-status=200; stored; ttl=300");
    assert_eq!((etag.to_str().unwrap(), body.as_str()), ("\"v2\"", "new page"));
    assert_eq!(store.gets(), 3);
}

#[tokio::test]
async fn an_entry_that_is_hardly_too_old_is_served_while_one_refresh_runs() {
    let store = Scripted::new(page("v1"));
    let callboard = Callboard::before(store.clone(), "").await;
    let read = async || {
        let answer = callboard.get(&format!("{SITE}/index.html")).send().await.unwrap();
        (answer.headers()["cache-status"].to_str().unwrap().to_owned(), answer.text().await.unwrap())
    };
    read().await;
    callboard.hand.advance(Duration::from_secs(359));
    store.now(Deed::Give(Bytes::from_static(b"new page"), "v2"));
    let old = ("callboard; hit; ttl=-59; detail=stale-while-revalidate".to_owned(), "page".to_owned());
    assert_eq!(read().await, old);
    until(async || read().await.1 == "new page").await;
    assert_eq!(store.gets(), 2);
    callboard.hand.advance(Duration::from_secs(360));
    store.now(page("v3"));
    assert_eq!(read().await.1, "page", "a minute after its time nobody is served the old copy any more");
}

#[tokio::test]
async fn while_storage_fails_old_pages_are_served_and_absent_ones_are_no_404() {
    let store = Scripted::new(page("v1"));
    let callboard =
        Callboard::before(store.clone(), "  cache: { staleIfError: 10m, staleWhileRevalidate: 0s }\n").await;
    let read = async |name: &str| {
        let answer = callboard.get(&format!("{SITE}/{name}")).send().await.unwrap();
        let status = answer.headers().get("cache-status").map(|value| value.to_str().unwrap().to_owned());
        (answer.status().as_u16(), status.unwrap_or_default())
    };
    read("index.html").await;
    callboard.hand.advance(Duration::from_secs(307));
    store.now(Deed::Fail(StoreError::unavailable("down")));
    assert_eq!(read("index.html").await, (200, "callboard; hit; ttl=-7; detail=stale-if-error".to_owned()));
    assert_eq!(read("other.html").await.0, 503);
    // Within a second of the failure storage is left alone; later it is asked behind the reader's back.
    let gets = store.gets();
    read("index.html").await;
    assert_eq!(store.gets(), gets);
    callboard.hand.advance(Duration::from_secs(1));
    assert_eq!(read("index.html").await.1, "callboard; hit; ttl=-8; detail=stale-if-error");
    until(async || store.gets() == gets + 1).await;
    store.now(page("v1"));
    callboard.hand.advance(Duration::from_secs(1));
    until(async || read("index.html").await.1.starts_with("callboard; hit; ttl=300")).await;
    // At last it is too old.
    callboard.hand.advance(Duration::from_secs(300 + 601));
    store.now(Deed::Fail(StoreError::unavailable("down")));
    assert_eq!(read("index.html").await.0, 503);
}

#[tokio::test]
async fn a_page_that_storage_refuses_is_shown_for_an_hour_and_not_for_a_day() {
    let store = Scripted::new(page("v1"));
    let callboard = Callboard::before(store.clone(), "").await;
    let token = callboard.backstage.token_lasting("techdocs", Duration::from_secs(24 * 3600));
    let read = async || {
        let request = callboard.get_without_token(&format!("{SITE}/index.html")).bearer_auth(&token);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(read().await, 200);
    store.now(Deed::Fail(StoreError::unavailable("down")));
    callboard.hand.advance(Duration::from_secs(400));
    assert_eq!(read().await, 200);
    callboard.hand.advance(Duration::from_secs(2 * 3600));
    assert_eq!(read().await, 200, "an outage excuses it for a day");
    // A refusal does not, whatever failure came before; it is found out behind a reader's back.
    store.now(Deed::Fail(StoreError::denied("403")));
    callboard.hand.advance(Duration::from_secs(5));
    until(async || read().await == 502).await;
    callboard.hand.advance(Duration::from_secs(5));
    assert_eq!(read().await, 502, "and stays the last word");
    store.now(page("v2"));
    assert_eq!(read().await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_storage_hangs_only_the_first_reader_of_an_old_page_waits() {
    let store = Scripted::new(page("v1"));
    let callboard = Callboard::before(store.clone(), "  storage: { timeout: 500ms }\n").await;
    let read = async || {
        let answer = callboard.get(&format!("{SITE}/index.html")).send().await.unwrap();
        answer.headers()["cache-status"].to_str().unwrap().to_owned()
    };
    read().await;
    store.now(Deed::Hang);
    callboard.hand.advance(Duration::from_secs(400));
    assert!(read().await.contains("stale-if-error"));
    callboard.hand.advance(Duration::from_secs(5));
    // These come while a fetch hangs, and none waits for it: the fetch is still the same one.
    let gets = store.gets();
    for _ in 0..50 {
        assert!(read().await.contains("stale-if-error"));
    }
    assert_eq!(store.gets(), gets + 1);
}

fn large(tag: &'static str) -> (Bytes, Deed) {
    let bytes: Bytes = (0..9_000_000_u32).map(|i| (i * 7 % 251) as u8).collect();
    (bytes.clone(), Deed::Give(bytes, tag))
}

#[tokio::test]
async fn a_large_object_is_streamed_and_not_kept() {
    let (bytes, deed) = large("v1");
    let store = Scripted::new(deed);
    let callboard = Callboard::before(store.clone(), "").await;
    let path = format!("{SITE}/film.mp4");
    for _ in 0..2 {
        let film = callboard.get(&path).send().await.unwrap();
        assert_eq!(film.headers()[CONTENT_LENGTH], bytes.len().to_string());
        assert_eq!(film.bytes().await.unwrap(), bytes);
    }
    let held = callboard.metric("callboard_cache_memory_size_bytes", &[]).await;
    assert!(held > 0.0 && held < 10_000.0, "{held}");
    let gets = store.gets();
    let head = callboard.request(reqwest::Method::HEAD, &path).send().await.unwrap();
    assert_eq!(head.headers()[CONTENT_LENGTH], bytes.len().to_string());
    let known = callboard.get(&path).header(IF_NONE_MATCH, "\"v1\"").send().await.unwrap();
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(store.gets(), gets, "what is known of a large object needs no storage");
}

#[tokio::test]
async fn parts_of_a_large_object_are_fetched_as_parts() {
    let (bytes, deed) = large("v1");
    let store = Scripted::new(deed);
    let callboard = Callboard::before(store.clone(), "").await;
    let path = format!("{SITE}/film.mp4");
    let part = callboard.get(&path).header(RANGE, "bytes=1000000-1999999").send().await.unwrap();
    assert_eq!(part.headers()[CONTENT_RANGE], format!("bytes 1000000-1999999/{}", bytes.len()));
    assert_eq!(part.bytes().await.unwrap(), bytes.slice(1_000_000..2_000_000));
    let parts = callboard.get(&path).header(RANGE, "bytes=0-9,8999990-").send().await.unwrap();
    let length: usize = parts.headers()[CONTENT_LENGTH].to_str().unwrap().parse().unwrap();
    let body = parts.bytes().await.unwrap();
    assert_eq!(body.len(), length);
    for piece in [&bytes[..10], &bytes[8_999_990..]] {
        assert!(body.windows(piece.len()).any(|window| window == piece));
    }
}

#[tokio::test]
async fn a_large_object_that_is_replaced_is_never_mixed() {
    let (_, deed) = large("v1");
    let store = Scripted::new(deed);
    let callboard = Callboard::before(store.clone(), "").await;
    let path = format!("{SITE}/film.mp4");
    callboard.get(&path).send().await.unwrap().bytes().await.unwrap();
    let (bytes, deed) = large("v2");
    store.now(deed);
    let film = callboard.get(&path).header(RANGE, "bytes=5-9").send().await.unwrap();
    assert_eq!(film.headers()[ETAG], "\"v2\"");
    assert_eq!(film.bytes().await.unwrap(), bytes.slice(5..10));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_storage_saturated_misses_are_turned_away_and_hits_go_on() {
    let store = Scripted::held(page("v1"));
    let section = "  storage: { maxConcurrent: 2, maxQueue: 1 }\n";
    let callboard = Arc::new(Callboard::before(store.clone(), section).await);
    let read = |name: &str| callboard.get(&format!("{SITE}/{name}")).send();
    store.gate.add_permits(1);
    assert_eq!(read("warm").await.unwrap().status(), StatusCode::OK);
    let fetching = [tokio::spawn(read("a")), tokio::spawn(read("b"))];
    until(async || store.gets() == 3).await;
    let queued = tokio::spawn(read("c"));
    until(async || callboard.metric("callboard_auth_tokens_total", &[]).await as usize >= 4).await;
    // The queue is full once a further miss is turned away.
    until(async || read("d").await.unwrap().status() == StatusCode::SERVICE_UNAVAILABLE || queued.is_finished()).await;
    assert_eq!(read("warm").await.unwrap().status(), StatusCode::OK);
    store.gate.add_permits(100);
    for reader in fetching.into_iter().chain([queued]) {
        assert_eq!(reader.await.unwrap().unwrap().status(), StatusCode::OK);
    }
}
