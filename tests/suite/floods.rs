//! Clients that try to hold or to burn more than their share. The others don't notice.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONNECTION;
use reqwest::StatusCode;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpSocket, TcpStream};

use crate::support::scripted::{Deed, PIECE, Scripted};
use crate::support::{Callboard, SITE, h2, raw, until};

/// What a flood may send at most before it is ended.
const FLOOD_BYTES: usize = 64 << 20;

/// Sends `next` again and again until the server ends the connection; the bytes that it took.
async fn flood(mut writing: OwnedWriteHalf, mut next: impl FnMut() -> Vec<u8>) -> usize {
    let mut sent = 0;
    while sent < FLOOD_BYTES {
        let bytes = next();
        if writing.write_all(&bytes).await.is_err() {
            return sent;
        }
        sent += bytes.len();
    }
    sent
}

/// Floods a connection of its own while others read, and says what it was ended with and after how many bytes.
async fn flooded(callboard: &Callboard, next: impl FnMut() -> Vec<u8> + Send + 'static) -> (Vec<u32>, usize) {
    let (reading, writing) = h2::connect(callboard.address).await;
    let goodbyes = tokio::spawn(h2::goodbyes(reading));
    let flood = tokio::spawn(flood(writing, next));
    while !flood.is_finished() {
        let page = callboard.get(&format!("{SITE}/index.html")).header(CONNECTION, "close").send().await.unwrap();
        assert_eq!(page.status(), StatusCode::OK);
    }
    let sent = flood.await.unwrap();
    let codes = tokio::time::timeout(crate::support::PATIENCE, goodbyes).await.expect("the flood is ended").unwrap();
    let open = async || callboard.metric("callboard_server_connections", &["main"]).await;
    until(async || open().await == 0.0).await;
    (codes, sent)
}

/// Numbers of streams that a client may open, one after another.
fn streams() -> impl Iterator<Item = u32> {
    (1..).step_by(2)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_resets_is_ended() {
    let callboard = Callboard::start().await;
    let fields = h2::get("/", &[(":authority", "a")]);
    let mut streams = streams();
    let (codes, sent) = flooded(&callboard, move || {
        let pairs = streams.by_ref().take(200).flat_map(|stream| {
            let headers = h2::frame(h2::HEADERS, h2::END_STREAM | h2::END_HEADERS, stream, &fields);
            [headers, h2::frame(h2::RST_STREAM, 0, stream, &8_u32.to_be_bytes())]
        });
        pairs.flatten().collect()
    })
    .await;
    assert!(codes.is_empty() || codes.contains(&h2::ENHANCE_YOUR_CALM), "{codes:?}");
    assert!(sent < FLOOD_BYTES, "{sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_mistakes_is_ended() {
    let callboard = Callboard::with("  limits: { maxH2ErrorResets: 50 }\n").await;
    // A field that HTTP/2 does not have makes the request malformed, so that it is the server who resets its stream.
    let fields = h2::get("/", &[(":authority", "a"), ("connection", "close")]);
    let mut streams = streams();
    let (codes, sent) = flooded(&callboard, move || {
        let headers = |stream| h2::frame(h2::HEADERS, h2::END_STREAM | h2::END_HEADERS, stream, &fields);
        streams.by_ref().take(10).flat_map(headers).collect()
    })
    .await;
    assert!(codes.is_empty() || codes.contains(&h2::ENHANCE_YOUR_CALM), "{codes:?}");
    assert!(sent < FLOOD_BYTES, "{sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_without_end_is_ended() {
    let callboard = Callboard::start().await;
    let mut first = Some(h2::frame(h2::HEADERS, h2::END_STREAM, 1, &h2::get("/", &[(":authority", "a")])));
    let field = h2::field("x-more", &"y".repeat(1000));
    let more = h2::frame(h2::CONTINUATION, 0, 1, &field.repeat(15));
    let (_, sent) = flooded(&callboard, move || first.take().unwrap_or_else(|| more.clone())).await;
    // What the kernel's buffers take is counted along.
    assert!(sent < FLOOD_BYTES / 4, "{sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_fetched_ahead_of_a_reader_that_stands_still_is_bounded() {
    let film = Bytes::from(vec![7; 64 << 20]);
    let store = Scripted::new(Deed::Give(film.clone(), "v1"));
    let section = "  limits: { writeTimeout: 1h, idleTimeout: 1h }\n";
    let callboard = Callboard::before(store.clone(), section).await;
    let token = callboard.backstage.token();
    let path = format!("{SITE}/film.mp4");
    // HTTP/2: the window is the client's to open, and it never does.
    let (mut reading, mut writing) = h2::connect(callboard.address).await;
    let fields = h2::get(&path, &[(":authority", "a"), ("authorization", &format!("Bearer {token}"))]);
    let flags = h2::END_STREAM | h2::END_HEADERS;
    writing.write_all(&h2::frame(h2::HEADERS, flags, 1, &fields)).await.unwrap();
    let mut received = 0;
    while received < 65_535 {
        if let (0, 1, data) = h2::next(&mut reading).await.expect("the window is filled") {
            received += data.len();
        }
    }
    let taken = store.pieces() * PIECE;
    assert!(taken <= 6 * PIECE, "{taken}");
    // HTTP/1: what the kernel's buffers take comes on top.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    let mut socket = socket.connect(callboard.address).await.unwrap();
    socket.write_all(&raw::get(&path, &token)).await.unwrap();
    until(async || store.pieces() * PIECE > taken).await;
    // Others come and go meanwhile.
    for _ in 0..50 {
        let head = callboard.request(reqwest::Method::HEAD, &path).send().await.unwrap();
        assert_eq!(head.status(), StatusCode::OK);
    }
    assert!(store.pieces() * PIECE < film.len() / 2, "{}", store.pieces() * PIECE);
}

#[tokio::test]
async fn connections_from_one_address_are_bounded() {
    let callboard = Callboard::with("  limits: { maxConnectionsPerAddress: 3 }\n").await;
    let open = async || callboard.metric("callboard_server_connections", &["main"]).await;
    let beyond = async || callboard.metric("callboard_limit_exceeded_total", &["connections_per_address"]).await;
    assert_eq!((open().await, beyond().await), (0.0, 0.0));
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(TcpStream::connect(callboard.address).await.unwrap());
    }
    until(async || open().await == 3.0).await;
    for refused in 1..=5 {
        let mut socket = TcpStream::connect(callboard.address).await.unwrap();
        assert_eq!(raw::until_closed(&mut socket).await, b"");
        assert_eq!(beyond().await, f64::from(refused));
    }
    // Another address has places of its own.
    let token = callboard.backstage.token();
    let path = format!("{SITE}/index.html");
    let answer = raw::send_from([127, 0, 0, 2], callboard.address, raw::get(&path, &token)).await;
    assert_eq!(answer.status(), Some(200));
    // One that is closed makes room.
    held.pop();
    until(async || open().await == 2.0).await;
    assert_eq!(raw::send(callboard.address, raw::get(&path, &token)).await.status(), Some(200));
    drop(held);
    until(async || open().await == 0.0).await;
}

#[tokio::test]
async fn an_idle_connection_outlives_the_time_for_a_header() {
    let callboard = Callboard::with("  limits: { headerReadTimeout: 500ms, idleTimeout: 1h }\n").await;
    let request = format!("GET {SITE}/index.html HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut used = TcpStream::connect(callboard.address).await.unwrap();
    used.write_all(request.as_bytes()).await.unwrap();
    raw::one_answer(&mut used).await;
    // A later connection that says nothing is closed, and so its time is over for the used one too.
    raw::until_closed(&mut TcpStream::connect(callboard.address).await.unwrap()).await;
    used.write_all(request.as_bytes()).await.unwrap();
    raw::one_answer(&mut used).await;
    // A header that it begins is given no longer than a first one.
    used.write_all(b"GET / HTTP/1.1\r\nHost").await.unwrap();
    raw::until_closed(&mut used).await;
}

#[tokio::test]
async fn a_connection_that_was_used_is_closed_when_it_has_been_idle() {
    let callboard = Callboard::with("  limits: { headerReadTimeout: 1h, idleTimeout: 300ms }\n").await;
    let request = format!("GET {SITE}/index.html HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut used = TcpStream::connect(callboard.address).await.unwrap();
    used.write_all(request.as_bytes()).await.unwrap();
    raw::one_answer(&mut used).await;
    assert_eq!(raw::until_closed(&mut used).await, b"");
    let (mut reading, mut writing) = h2::connect(callboard.address).await;
    let fields = h2::get("/", &[(":authority", "a")]);
    let flags = h2::END_STREAM | h2::END_HEADERS;
    writing.write_all(&h2::frame(h2::HEADERS, flags, 1, &fields)).await.unwrap();
    let ended = async { while h2::next(&mut reading).await.is_some() {} };
    tokio::time::timeout(crate::support::PATIENCE, ended).await.expect("the connection is closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_storage_hanging_misses_are_told_early_and_hits_go_on() {
    let store = Scripted::held(Deed::Give(Bytes::from_static(b"page"), "v1"));
    let section = "  storage: { maxConcurrent: 2, timeout: 10m, queueTimeout: 100ms }\n";
    let callboard = Callboard::before(store.clone(), section).await;
    let read = |name: &str| callboard.get(&format!("{SITE}/{name}")).send();
    store.gate.add_permits(1);
    assert_eq!(read("warm").await.unwrap().status(), StatusCode::OK);
    let hanging = [tokio::spawn(read("a")), tokio::spawn(read("b"))];
    until(async || store.gets() == 3).await;
    for name in ["c", "d", "e"] {
        // The places are taken for ten minutes; that there is an answer at all shows that nobody waits for them.
        let miss = tokio::time::timeout(Duration::from_secs(60), read(name)).await.expect("early").unwrap();
        assert_eq!(miss.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(miss.headers().contains_key("retry-after"));
        assert_eq!(read("warm").await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(store.gets(), 3);
    store.gate.add_permits(100);
    for reader in hanging {
        assert_eq!(reader.await.unwrap().unwrap().status(), StatusCode::OK);
    }
}
