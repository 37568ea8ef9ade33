//! What the real S3 client makes of a bucket that fails, and what readers get of it.

use std::time::Duration;

use http::header::{CONTENT_LENGTH, RETRY_AFTER};
use reqwest::Response;
use tokio::io::AsyncWriteExt;

use crate::support::ailing::{Ailing, Ailment, LARGE, contents};
use crate::support::{Callboard, SITE, Told, h2, raw};

async fn callboard(bucket: &Ailing, section: &str) -> Callboard {
    Callboard::told(Told { section, publisher: Some(bucket.publisher()), ..Told::default() }).await
}

async fn read(callboard: &Callboard, name: &str) -> Response {
    callboard.get(&format!("{SITE}/{name}")).send().await.unwrap()
}

fn key(name: &str) -> String {
    format!("default/component/shop/{name}")
}

#[tokio::test(flavor = "multi_thread")]
async fn however_the_bucket_fails_what_is_held_is_served_and_what_is_not_is_no_404() {
    let bucket = Ailing::start().await;
    let callboard = callboard(&bucket, "  storage: { timeout: 500ms, breaker: { enabled: false } }\n").await;
    for (name, ailment, status, word) in [
        ("error", Ailment::Refusal(500, "InternalError"), 503, "unavailable"),
        ("throttling", Ailment::Refusal(503, "SlowDown"), 503, "unavailable"),
        ("many", Ailment::Refusal(429, "TooManyRequests"), 503, "unavailable"),
        ("forbidden", Ailment::Refusal(403, "AccessDenied"), 502, "denied"),
        ("expired", Ailment::Refusal(400, "ExpiredToken"), 502, "denied"),
        ("no-bucket", Ailment::Refusal(404, "NoSuchBucket"), 503, "unavailable"),
        ("silence", Ailment::Silence, 504, "timeout"),
        ("cut", Ailment::Cut, 503, "unavailable"),
        ("damage", Ailment::Damage(1000), 502, "corrupt"),
    ] {
        bucket.suffers(Ailment::None);
        let held = format!("held/{name}");
        assert_eq!(read(&callboard, &held).await.bytes().await.unwrap(), contents(&key(&held)), "{name}");
        callboard.hand.advance(Duration::from_secs(400));
        bucket.suffers(ailment);
        for _ in 0..3 {
            let old = read(&callboard, &held).await;
            assert_eq!(old.status().as_u16(), 200, "{name}");
            let cache_status = old.headers()["cache-status"].to_str().unwrap().to_owned();
            assert!(cache_status.ends_with("detail=stale-if-error"), "{name}: {cache_status}");
            assert_eq!(old.bytes().await.unwrap(), contents(&key(&held)), "{name}");
        }
        let counted =
            async || callboard.metric("callboard_storage_operation_duration_seconds_count", &["get", word]).await;
        let before = counted().await;
        let miss = read(&callboard, &format!("miss/{name}")).await;
        assert_eq!(miss.status().as_u16(), status, "{name}");
        assert_eq!(miss.headers()[RETRY_AFTER], "2", "{name}");
        assert_eq!(counted().await, before + 1.0, "{name}");
    }
}

#[tokio::test]
async fn a_bucket_that_breaks_every_connection_is_left_alone() {
    let bucket = Ailing::start().await;
    let section = "  storage: { breaker: { failures: 3, pause: 5m, longestPause: 10m } }\n";
    let callboard = callboard(&bucket, section).await;
    bucket.suffers(Ailment::Cut);
    for name in 0..100 {
        assert_eq!(read(&callboard, &name.to_string()).await.status().as_u16(), 503);
    }
    assert_eq!(bucket.gets(), 3);
    assert_eq!(callboard.metric("callboard_storage_breaker_openings_total", &[]).await, 1.0);
}

#[tokio::test]
async fn paths_that_the_bucket_does_not_like_are_no_outage() {
    let bucket = Ailing::start().await;
    let callboard = callboard(&bucket, "  storage: { breaker: { failures: 3 } }\n").await;
    bucket.suffers(Ailment::Refusal(400, "InvalidObjectName"));
    for name in 0..10 {
        assert_eq!(read(&callboard, &name.to_string()).await.status().as_u16(), 502);
    }
    bucket.suffers(Ailment::None);
    assert_eq!(read(&callboard, "good").await.status().as_u16(), 200);
}

#[tokio::test]
async fn a_damaged_body_is_fetched_again_and_never_kept() {
    let bucket = Ailing::start().await;
    let callboard = callboard(&bucket, "").await;
    bucket.suffers(Ailment::Damage(1));
    assert_eq!(read(&callboard, "once").await.bytes().await.unwrap(), contents(&key("once")));
    assert_eq!(bucket.gets(), 2);
    bucket.suffers(Ailment::Damage(2));
    assert_eq!(read(&callboard, "twice").await.status().as_u16(), 502);
    assert_eq!(read(&callboard, "twice").await.bytes().await.unwrap(), contents(&key("twice")));
    assert_eq!(bucket.gets(), 5);
}

#[tokio::test]
async fn an_encrypted_bucket_is_read_and_soon_without_asking_twice() {
    let bucket = Ailing::start().await;
    let callboard = callboard(&bucket, "").await;
    bucket.suffers(Ailment::Encryption);
    for (name, gets) in [("a", 2), ("b", 4), ("c", 6), ("d", 7), ("e", 8)] {
        assert_eq!(read(&callboard, name).await.bytes().await.unwrap(), contents(&key(name)));
        assert_eq!(bucket.gets(), gets, "{name}");
    }
}

/// The path of an object that is streamed through, from a bucket that cuts every body from now on.
fn cut_film(bucket: &Ailing) -> String {
    bucket.suffers(Ailment::Cut);
    format!("{SITE}/film{}", LARGE.0)
}

#[tokio::test]
async fn an_answer_whose_body_is_cut_is_broken_off_over_http_1() {
    let bucket = Ailing::start().await;
    let callboard = callboard(&bucket, "").await;
    let path = cut_film(&bucket);
    let answer = raw::send(callboard.address, raw::get(&path, &callboard.backstage.token())).await;
    assert_eq!(answer.status(), Some(200));
    let end = answer.bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&answer.bytes[..end]).to_ascii_lowercase();
    assert!(head.contains(&format!("{CONTENT_LENGTH}: {}", LARGE.1)), "{head}");
    let body = &answer.bytes[end + 4..];
    assert!(!body.is_empty() && body.len() < LARGE.1, "{}", body.len());
    assert!(contents(&key("film.mp4")).starts_with(body));
}

#[tokio::test]
async fn an_answer_whose_body_is_cut_is_reset_over_http_2() {
    let bucket = Ailing::start().await;
    let callboard = callboard(&bucket, "").await;
    let path = cut_film(&bucket);
    let (mut reading, mut writing) = h2::connect(callboard.address).await;
    // Room for all of it: SETTINGS_INITIAL_WINDOW_SIZE, and the connection's own window.
    let room = (1_u32 << 30).to_be_bytes();
    writing.write_all(&h2::frame(h2::SETTINGS, 0, 0, &[&[0, 4], &room[..]].concat())).await.unwrap();
    writing.write_all(&h2::frame(h2::WINDOW_UPDATE, 0, 0, &room)).await.unwrap();
    let bearer = format!("Bearer {}", callboard.backstage.token());
    let fields = h2::get(&path, &[(":authority", "callboard"), ("authorization", &bearer)]);
    let get = |stream| h2::frame(h2::HEADERS, h2::END_HEADERS | h2::END_STREAM, stream, &fields);
    writing.write_all(&get(1)).await.unwrap();
    let mut received = 0;
    loop {
        let (kind, stream, payload) = h2::next(&mut reading).await.expect("the connection stays");
        match (kind, stream) {
            (h2::DATA, 1) => received += payload.len(),
            (h2::RST_STREAM, 1) => break,
            _ => {}
        }
    }
    assert!(received > 0 && received < LARGE.1, "{received}");
    writing.write_all(&get(3)).await.unwrap();
    while h2::next(&mut reading).await.expect("the connection stays").1 != 3 {}
}
