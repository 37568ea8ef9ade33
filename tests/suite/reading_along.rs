//! What readers of a document get while it is being fetched.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use callboard::storage::{DocStore, StoreError};
use futures_util::future::join_all;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_NONE_MATCH, RANGE, VARY};
use reqwest::{Method, Response, StatusCode};
use tokio::io::AsyncWriteExt;

use crate::support::ailing::{Ailing, Ailment, READ_ALONG, contents};
use crate::support::redis::Redis;
use crate::support::scripted::{Deed, PIECE, Pour, Scripted};
use crate::support::{Callboard, SITE, Told, h2, until};

const READERS: usize = 1000;

/// A document of so many pieces, no two of which are alike.
fn document(pieces: usize) -> Bytes {
    (0..pieces * PIECE).map(|at| (at * 7 % 251 + at / PIECE) as u8).collect()
}

fn index() -> String {
    format!("{SITE}/index.html")
}

async fn read(callboard: &Callboard, path: &str) -> Response {
    callboard.get(path).send().await.unwrap()
}

fn cache_status(answer: &Response) -> String {
    answer.headers()["cache-status"].to_str().unwrap().to_owned()
}

/// Whether all of a document is sent. One that breaks off before its reader has even been answered is told as an error.
async fn is_whole(answer: Response) -> bool {
    answer.status() == StatusCode::OK && answer.bytes().await.is_ok()
}

/// As many bytes of an answer as there are for now.
async fn take(answer: &mut Response, bytes: usize) -> Bytes {
    let mut taken = BytesMut::new();
    while taken.len() < bytes {
        taken.extend_from_slice(&answer.chunk().await.unwrap().expect("more comes"));
    }
    taken.freeze()
}

/// A document of eight pieces in front of which a Callboard stands, none of them let go yet.
async fn eight_pieces() -> (Bytes, Pour, Arc<Scripted>, Callboard) {
    let bytes = document(8);
    let pour = Pour::new(bytes.clone(), "v1");
    let store = Scripted::new(Deed::Pour(pour.clone()));
    let callboard = Callboard::before(store.clone(), "").await;
    (bytes, pour, store, callboard)
}

#[tokio::test]
async fn the_first_byte_leaves_before_the_last_has_come() {
    let (bytes, pour, store, callboard) = eight_pieces().await;
    let mut answer = read(&callboard, &index()).await;
    assert_eq!(answer.headers()[CONTENT_LENGTH], bytes.len().to_string());
    assert_eq!(cache_status(&answer), "callboard; fwd=uri-miss; stored; ttl=300");
    pour.flow(3);
    assert_eq!(take(&mut answer, 3 * PIECE).await, bytes[..3 * PIECE]);
    pour.flow_on();
    assert_eq!(take(&mut answer, 5 * PIECE).await, bytes[3 * PIECE..]);
    assert_eq!(answer.chunk().await.unwrap(), None);
    // Memory is filled before anyone has all of it.
    let again = read(&callboard, &index()).await;
    assert_eq!(cache_status(&again), "callboard; hit; ttl=300; detail=memory");
    assert_eq!(again.bytes().await.unwrap(), bytes);
    assert_eq!(store.gets(), 1);
}

#[tokio::test]
async fn what_is_small_leaves_once_it_is_whole() {
    let bytes = document(1);
    let pour = Pour::new(bytes.clone(), "v1").cut_after(0);
    let store = Scripted::new(Deed::Pour(pour.clone()));
    let callboard = Callboard::before(store.clone(), "").await;
    pour.flow_on();
    assert_eq!(read(&callboard, &index()).await.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_readers_read_along_with_one_fetch() {
    let bytes = document(4);
    let pour = Pour::new(bytes.clone(), "v1");
    let store = Scripted::new(Deed::Pour(pour.clone()));
    let callboard = Arc::new(Callboard::before(store.clone(), "").await);
    let come = |readers: usize| {
        let requests = (0..readers).map(|_| tokio::spawn(callboard.get(&index()).send()));
        let all = join_all(requests.collect::<Vec<_>>());
        async move { all.await.into_iter().map(|answer| answer.unwrap().unwrap()).collect::<Vec<_>>() }
    };
    // Some before there is anything to read, some in the middle.
    let mut answers = come(READERS / 2).await;
    pour.flow(2);
    answers.extend(come(READERS / 2).await);
    let first_half = join_all(answers.iter_mut().map(|answer| take(answer, 2 * PIECE))).await;
    assert!(first_half.iter().all(|half| *half == bytes[..2 * PIECE]));
    pour.flow_on();
    let rest = join_all(answers.into_iter().map(Response::bytes)).await;
    assert_eq!(rest.len(), READERS);
    assert!(rest.into_iter().all(|rest| rest.unwrap() == bytes[2 * PIECE..]));
    assert_eq!(store.gets(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_leaves_ends_nobodys_fetch() {
    let (bytes, pour, store, callboard) = eight_pieces().await;
    let mut first = read(&callboard, &index()).await;
    pour.flow(2);
    take(&mut first, 2 * PIECE).await;
    drop(first);
    let left =
        async || callboard.metric("http_server_request_duration_seconds_count", &["\"200\"", "/static/docs/"]).await;
    until(async || left().await == 1.0).await;
    let second = read(&callboard, &index()).await;
    assert!(cache_status(&second).ends_with("collapsed"));
    drop(second);
    until(async || left().await == 2.0).await;
    // Nobody reads along any more.
    pour.flow_on();
    let held = || callboard.metric("callboard_cache_memory_size_bytes", &[]);
    until(async || held().await > bytes.len() as f64).await;
    let third = read(&callboard, &index()).await;
    assert_eq!(cache_status(&third), "callboard; hit; ttl=300; detail=memory");
    assert_eq!(third.bytes().await.unwrap(), bytes);
    assert_eq!(store.gets(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_holds_nobody_up() {
    // More than what lies between a server and a client that reads nothing.
    let bytes = document(120);
    let pour = Pour::new(bytes.clone(), "v1");
    let store = Scripted::new(Deed::Pour(pour.clone()));
    let callboard = Callboard::before(store.clone(), "").await;
    let mut slow = read(&callboard, &index()).await;
    let fast = read(&callboard, &index()).await;
    pour.flow(1);
    take(&mut slow, PIECE / 2).await;
    pour.flow_on();
    assert!(fast.bytes().await.unwrap() == bytes);
    assert!(cache_status(&read(&callboard, &index()).await).contains("hit"));
    let rest = slow.bytes().await.unwrap();
    assert!(bytes.ends_with(&rest) && rest.len() < bytes.len());
    assert_eq!(store.gets(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_breaks_every_answer_and_leaves_nothing() {
    let bytes = document(8);
    let pour = Pour::new(bytes.clone(), "v1").cut_after(5);
    let store = Scripted::new(Deed::Pour(pour.clone()));
    let callboard = Callboard::before(store.clone(), "").await;
    let path = index();
    let mut answers = join_all((0..20).map(|_| read(&callboard, &path))).await;
    pour.flow(4);
    for answer in &mut answers {
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(take(answer, 4 * PIECE).await, bytes[..4 * PIECE]);
    }
    pour.flow_on();
    for answer in answers {
        assert!(answer.bytes().await.is_err());
    }
    assert_eq!(store.gets(), 1);
    let failed = ["operation=\"get\"", "result=\"unavailable\""];
    assert_eq!(callboard.metric("callboard_storage_operation_duration_seconds_count", &failed).await, 1.0);
    store.now(Deed::Give(bytes.clone(), "v1"));
    let next = read(&callboard, &index()).await;
    assert_eq!(cache_status(&next), "callboard; fwd=uri-miss; stored; ttl=300");
    assert_eq!(next.bytes().await.unwrap(), bytes);
    assert_eq!(store.gets(), 2);
}

#[tokio::test]
async fn a_body_that_stands_still_is_broken_off() {
    let still = Pour::new(document(8), "v1");
    let store = Scripted::new(Deed::Pour(still.clone()));
    let callboard = Callboard::before(store.clone(), "  storage: { timeout: 500ms }\n").await;
    still.flow(7);
    assert!(!is_whole(read(&callboard, &index()).await).await);
    let timed_out = ["operation=\"get\"", "result=\"timeout\""];
    assert_eq!(callboard.metric("callboard_storage_operation_duration_seconds_count", &timed_out).await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_dies_breaks_every_answer() {
    let bytes = document(8);
    let pour = Pour::new(bytes.clone(), "v1").dying_after(3);
    let store = Scripted::new(Deed::Pour(pour.clone()));
    let callboard = Callboard::before(store.clone(), "").await;
    let path = index();
    let answers = join_all((0..20).map(|_| read(&callboard, &path))).await;
    pour.flow_on();
    for answer in answers {
        assert!(answer.bytes().await.is_err());
    }
    store.now(Deed::Give(bytes.clone(), "v1"));
    assert_eq!(read(&callboard, &index()).await.bytes().await.unwrap(), bytes);
}

#[tokio::test]
async fn what_is_known_of_a_document_on_its_way_needs_no_more_of_it() {
    let (bytes, pour, store, callboard) = eight_pieces().await;
    let first = read(&callboard, &index()).await;
    let head = callboard.request(Method::HEAD, &index()).send().await.unwrap();
    assert_eq!((head.status(), &head.headers()[CONTENT_LENGTH]), (StatusCode::OK, &first.headers()[CONTENT_LENGTH]));
    let known = callboard.get(&index()).header(IF_NONE_MATCH, "\"v1\"").send().await.unwrap();
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    for answer in [&first, &head, &known] {
        assert_eq!(answer.headers()[ETAG], "\"v1\"");
        assert_eq!(answer.headers()[VARY], "Accept-Encoding");
        assert!(!answer.headers().contains_key("age"));
    }
    let outside = callboard.get(&index()).header(RANGE, format!("bytes={}-", bytes.len())).send().await.unwrap();
    assert_eq!(outside.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    pour.flow_on();
    assert_eq!(first.bytes().await.unwrap(), bytes);
    assert_eq!(store.gets(), 1);
}

#[tokio::test]
async fn a_part_of_a_document_on_its_way_leaves_as_soon_as_it_has_come() {
    let (bytes, pour, store, callboard) = eight_pieces().await;
    let ask = async |range: &str| callboard.get(&index()).header(RANGE, range).send().await.unwrap();
    let first = read(&callboard, &index()).await;
    let near = ask(&format!("bytes=10-{}", PIECE + 9)).await;
    let far = ask("bytes=-100").await;
    let both = ask(&format!("bytes=-10,{}-{}", 3 * PIECE - 5, 3 * PIECE + 4)).await;
    assert_eq!(near.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(near.headers()[CONTENT_RANGE], format!("bytes 10-{}/{}", PIECE + 9, bytes.len()));
    pour.flow(2);
    assert_eq!(near.bytes().await.unwrap(), bytes[10..PIECE + 10]);
    pour.flow_on();
    assert_eq!(far.bytes().await.unwrap(), bytes[bytes.len() - 100..]);
    let length: usize = both.headers()[CONTENT_LENGTH].to_str().unwrap().parse().unwrap();
    let both = both.bytes().await.unwrap();
    assert_eq!(both.len(), length);
    for part in [&bytes[bytes.len() - 10..], &bytes[3 * PIECE - 5..3 * PIECE + 5]] {
        assert!(both.windows(part.len()).any(|window| window == part));
    }
    assert_eq!(first.bytes().await.unwrap(), bytes);
    assert_eq!(store.gets(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_after_a_purge_is_not_shown_what_was_on_its_way_before() {
    let (bytes, pour, store, callboard) = eight_pieces().await;
    let early = read(&callboard, &index()).await;
    let purge = format!("http://{}/.callboard/v1/purge?entity=component:default/shop", callboard.admin);
    assert_eq!(reqwest::Client::new().post(purge).send().await.unwrap().status(), StatusCode::OK);
    store.now(Deed::Give(Bytes::from_static(b"new page"), "v2"));
    let tokens = callboard.metric("callboard_auth_tokens_total", &[]).await;
    let late = tokio::spawn(callboard.get(&index()).send());
    until(async || callboard.metric("callboard_auth_tokens_total", &[]).await > tokens).await;
    pour.flow_on();
    assert_eq!(late.await.unwrap().unwrap().bytes().await.unwrap(), "new page");
    assert_eq!(early.bytes().await.unwrap(), bytes, "who was there before has what storage had then");
    assert_eq!(store.gets(), 2);
}

#[tokio::test]
async fn what_is_asked_for_behind_or_is_held_is_read_whole() {
    let (bytes, pour, store, callboard) = eight_pieces().await;
    pour.flow_on();
    read(&callboard, &index()).await.bytes().await.unwrap();
    let other = Pour::new(document(8), "v2").cut_after(5);
    store.now(Deed::Pour(other.clone()));
    other.flow_on();
    callboard.hand.advance(std::time::Duration::from_secs(400));
    let old = read(&callboard, &index()).await;
    assert_eq!(cache_status(&old), "callboard; hit; ttl=-100; detail=stale-if-error");
    assert_eq!(old.bytes().await.unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_was_read_along_is_compressed_for_those_who_come_later() {
    let bytes = Bytes::from("a page of words ".repeat(8 * PIECE / 16));
    let pour = Pour::new(bytes.clone(), "v1");
    let store = Scripted::new(Deed::Pour(pour.clone()));
    let callboard = Callboard::before(store.clone(), "").await;
    let first = callboard.get(&index()).header("accept-encoding", "br").send().await.unwrap();
    assert!(!first.headers().contains_key("content-encoding"));
    pour.flow_on();
    assert_eq!(first.bytes().await.unwrap(), bytes);
    until(async || callboard.metric("callboard_cache_variants_total", &["result=\"made\""]).await == 1.0).await;
    assert_eq!(callboard.metric("callboard_cache_variants_total", &["result=\"outdated\""]).await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_too_large_to_keep_costs_its_first_reader_one_fetch() {
    let bytes = document(140);
    let store = Scripted::new(Deed::Give(bytes.clone(), "v1"));
    let callboard = Callboard::before(store.clone(), "").await;
    let film = format!("{SITE}/film.mp4");
    assert!(read(&callboard, &film).await.bytes().await.unwrap() == bytes);
    assert_eq!((store.gets(), store.stats()), (1, 0));
    assert!(read(&callboard, &film).await.bytes().await.unwrap() == bytes);
    assert_eq!(store.gets(), 2);
    // Each who waits for the first look has a body of its own.
    let other = format!("{SITE}/other.mp4");
    store.hold();
    let readers: Vec<_> = (0..3).map(|_| tokio::spawn(callboard.get(&other).send())).collect();
    until(async || callboard.metric("callboard_auth_tokens_total", &[]).await == 5.0).await;
    store.gate.add_permits(2_000_000);
    for reader in readers {
        assert!(reader.await.unwrap().unwrap().bytes().await.unwrap() == bytes);
    }
    assert_eq!(store.gets(), 5);
}

#[tokio::test]
async fn a_part_of_an_object_too_large_to_keep_is_all_that_is_fetched_of_it() {
    let bytes = document(140);
    let store = Scripted::new(Deed::Give(bytes.clone(), "v1"));
    let callboard = Callboard::before(store.clone(), "").await;
    let film = format!("{SITE}/film.mp4");
    let ask = async |range: &str| callboard.get(&film).header(RANGE, range).send().await.unwrap();
    let part = ask("bytes=5000000-5000999").await;
    assert_eq!(part.headers()[CONTENT_RANGE], format!("bytes 5000000-5000999/{}", bytes.len()));
    assert_eq!(part.bytes().await.unwrap(), bytes[5_000_000..5_001_000]);
    assert_eq!((store.gets(), store.pieces(), store.stats()), (1, 1, 1));
}

/// A Callboard that shares what it fetches.
async fn replica(store: &Arc<Scripted>, redis: &Redis) -> Callboard {
    let section = format!("  cache: {{ redis: {} }}\n", redis.config());
    // What they share is told by the place that they read from.
    let publisher = Some("{ type: local, local: { publishDirectory: /site } }".to_owned());
    let store = Some(Arc::clone(store) as Arc<dyn DocStore>);
    let callboard = Callboard::told(Told { section: &section, publisher, store, ..Told::default() }).await;
    until(async || callboard.metric("callboard_redis_listening", &[]).await == 1.0).await;
    callboard
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_what_was_read_along_once_it_is_whole_and_nothing_else() {
    let bytes = document(8);
    let (broken, sound) = (Pour::new(bytes.clone(), "v1").cut_after(5), Pour::new(bytes.clone(), "v1"));
    let (store, redis) = (Scripted::new(Deed::Pour(broken.clone())), Redis::plain());
    let (one, other) = (replica(&store, &redis).await, replica(&store, &redis).await);
    broken.flow_on();
    assert!(!is_whole(read(&one, &index()).await).await);
    store.now(Deed::Pour(sound.clone()));
    let first = read(&other, &index()).await;
    assert_eq!((cache_status(&first), store.gets()), ("callboard; fwd=uri-miss; stored; ttl=300".to_owned(), 2));
    // Whoever has the lease has it until all is there.
    let second = tokio::spawn(one.get(&index()).send());
    sound.flow_on();
    assert_eq!(first.bytes().await.unwrap(), bytes);
    let second = second.await.unwrap().unwrap();
    assert!(cache_status(&second).ends_with("detail=redis"));
    assert_eq!(second.bytes().await.unwrap(), bytes);
    assert_eq!(store.gets(), 2);
}

/// A Callboard in front of a bucket that is an S3 server to it.
async fn before(bucket: &Ailing) -> Callboard {
    Callboard::told(Told { publisher: Some(bucket.publisher()), ..Told::default() }).await
}

fn picture(name: &str) -> (String, Bytes) {
    let name = format!("{name}{}", READ_ALONG.0);
    (format!("{SITE}/{name}"), contents(&format!("default/component/shop/{name}")))
}

#[tokio::test]
async fn a_damaged_body_is_never_whole_and_the_next_reader_has_a_sound_one() {
    let bucket = Ailing::start().await;
    let callboard = before(&bucket).await;
    let (once, sound) = picture("once");
    bucket.suffers(Ailment::Damage(1));
    let damaged = read(&callboard, &once).await;
    let was_told = damaged.status() != StatusCode::OK;
    // Whoever is answered late may have the sound one already.
    assert!(damaged.bytes().await.map_or(true, |body| was_told || body == sound));
    // It was read once more, for those who come later.
    assert_eq!(bucket.gets(), 2);
    let next = read(&callboard, &once).await;
    assert!(cache_status(&next).contains("hit"));
    assert_eq!(next.bytes().await.unwrap(), sound);
    let (twice, sound) = picture("twice");
    bucket.suffers(Ailment::Damage(2));
    assert!(!is_whole(read(&callboard, &twice).await).await);
    let next = read(&callboard, &twice).await;
    assert_eq!(cache_status(&next), "callboard; fwd=uri-miss; stored; ttl=300");
    assert_eq!(next.bytes().await.unwrap(), sound);
    assert_eq!(bucket.gets(), 5);
}

#[tokio::test]
async fn who_reads_along_from_an_encrypted_bucket_has_all_of_it() {
    let bucket = Ailing::start().await;
    let callboard = before(&bucket).await;
    bucket.suffers(Ailment::Encryption);
    for (name, gets) in [("a", 2), ("b", 4), ("c", 6), ("d", 7), ("e", 8)] {
        let (path, sound) = picture(name);
        assert_eq!(read(&callboard, &path).await.bytes().await.unwrap(), sound);
        assert_eq!(bucket.gets(), gets, "{name}");
    }
}

#[tokio::test]
async fn a_bucket_that_breaks_off_every_body_is_left_alone() {
    let bucket = Ailing::start().await;
    let section = "  storage: { breaker: { failures: 3, pause: 5m, longestPause: 10m } }\n";
    let callboard = Callboard::told(Told { section, publisher: Some(bucket.publisher()), ..Told::default() }).await;
    bucket.suffers(Ailment::Cut);
    for number in 0..20 {
        assert!(!is_whole(read(&callboard, &picture(&number.to_string()).0).await).await);
    }
    assert_eq!(bucket.gets(), 3);
}

#[tokio::test]
async fn an_answer_that_is_read_along_is_reset_over_http_2() {
    let bytes = document(8);
    let pour = Pour::new(bytes.clone(), "v1").cut_after(5);
    let store = Scripted::new(Deed::Pour(pour.clone()));
    let callboard = Callboard::before(store, "").await;
    let (mut reading, mut writing) = h2::connect(callboard.address).await;
    // Room for all of it: SETTINGS_INITIAL_WINDOW_SIZE, and the connection's own window.
    let room = (1_u32 << 30).to_be_bytes();
    writing.write_all(&h2::frame(h2::SETTINGS, 0, 0, &[&[0, 4], &room[..]].concat())).await.unwrap();
    writing.write_all(&h2::frame(h2::WINDOW_UPDATE, 0, 0, &room)).await.unwrap();
    let bearer = format!("Bearer {}", callboard.backstage.token());
    let fields = h2::get(&index(), &[(":authority", "callboard"), ("authorization", &bearer)]);
    writing.write_all(&h2::frame(h2::HEADERS, h2::END_HEADERS | h2::END_STREAM, 1, &fields)).await.unwrap();
    let (mut received, mut is_half) = (Vec::new(), false);
    pour.flow(4);
    loop {
        let (kind, stream, payload) = h2::next(&mut reading).await.expect("the connection stays");
        match (kind, stream) {
            (h2::DATA, 1) => received.extend(payload),
            (h2::RST_STREAM, 1) => break,
            _ => {}
        }
        if received.len() == 4 * PIECE && !std::mem::replace(&mut is_half, true) {
            pour.flow_on();
        }
    }
    assert!(bytes.starts_with(&received) && received.len() < bytes.len());
}

#[tokio::test]
async fn a_failure_is_everyones_before_there_is_anything_to_read() {
    let store = Scripted::held(Deed::Fail(StoreError::unavailable("down")));
    let callboard = Callboard::before(store.clone(), "").await;
    let readers: Vec<_> = (0..20).map(|_| tokio::spawn(callboard.get(&index()).send())).collect();
    until(async || callboard.metric("callboard_auth_tokens_total", &[]).await == 20.0).await;
    store.gate.add_permits(1);
    for reader in readers {
        assert_eq!(reader.await.unwrap().unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(store.gets(), 1);
}
