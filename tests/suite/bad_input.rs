//! Nonsense, and clients that do not play along: the right status or a closed connection, and nobody else notices.

use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::raw::{self, send};
use crate::support::scripted::{Deed, Scripted};
use crate::support::{Callboard, SITE};

async fn is_well(callboard: &Callboard) {
    let page = callboard.get(&format!("{SITE}/index.html")).send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
}

#[tokio::test]
async fn paths_that_no_file_can_have_are_not_found() {
    let callboard = Callboard::start().await;
    let token = callboard.backstage.token();
    for path in [
        "/static/docs/default/component/shop/%00",
        "/static/docs/default/component/shop/%ff%fe",
        "/static/docs/default/component/shop/%zz",
        "/static/docs/default/component/shop/a%2fb",
        "/static/docs/default/component/shop/..%5c..%5csecret",
        "/static/docs/default/component/shop/../../../../etc/passwd",
        "/static/docs/default/component/shop/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/static/docs/default/component/shop/%252e%252e/x",
        "/static/docs/default/component/shop/",
        "/static/docs/default/component/shop",
        "/static/docs/../component/shop/index.html",
        "/etc/passwd",
        "//static/docs/default/component/shop/index.html",
        "*",
    ] {
        let answer = send(callboard.address, raw::get(path, &token)).await;
        assert!(matches!(answer.status(), Some(404 | 400)), "{path}: {:?}", answer.text());
    }
    is_well(&callboard).await;
}

#[tokio::test]
async fn long_paths_are_turned_away_and_never_reach_storage() {
    let callboard = Callboard::start().await;
    let token = callboard.backstage.token();
    for length in [1_000, 5_000] {
        let answer = send(callboard.address, raw::get(&format!("{SITE}/{}", "x".repeat(length)), &token)).await;
        assert_eq!(answer.status(), Some(404), "{length}");
    }
    for length in [100_000, 1_000_000] {
        let answer = send(callboard.address, raw::get(&format!("{SITE}/{}", "x".repeat(length)), &token)).await;
        // A server that closes before it has read everything may lose its answer on the way.
        assert!(matches!(answer.status(), None | Some(414 | 431)), "{length}: {:?}", answer.status());
    }
    is_well(&callboard).await;
}

#[tokio::test]
async fn headers_are_bounded_in_size_and_number() {
    let callboard = Callboard::start().await;
    let huge = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(500));
    let token = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n",
        "a".repeat(20_000)
    );
    let answer = send(callboard.address, &huge).await;
    assert!(matches!(answer.status(), None | Some(431)), "{:?}", answer.text());
    for (request, status) in [(many, 431), (token, 401)] {
        assert_eq!(send(callboard.address, &request).await.status(), Some(status));
    }
    is_well(&callboard).await;
}

#[tokio::test]
async fn malformed_tokens_are_unauthorized_and_ask_nobody_for_keys() {
    let callboard = Callboard::start().await;
    let long = "a.".repeat(5000);
    for token in ["", ".", "..", "a.b.c", "e30.e30.e30", "eyJhbGciOiJub25lIn0.e30.", "\u{7f}", &long, "a b", "null"] {
        let answer = send(callboard.address, raw::get(&format!("{SITE}/index.html"), token)).await;
        assert!(matches!(answer.status(), Some(401 | 400)), "{token:?}: {:?}", answer.text());
    }
    assert_eq!(callboard.backstage.fetches(), 0);
    is_well(&callboard).await;
}

#[tokio::test]
async fn broken_requests_end_their_connection_and_no_other() {
    let callboard = Callboard::start().await;
    for request in [
        &b"\x00\x01\x02\x03\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnot a frame at all, not a frame at all",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ] {
        let answer = send(callboard.address, request).await;
        let text = answer.text();
        assert!(answer.status().is_none_or(|status| status >= 400) || text.starts_with('\0'), "{text:?}");
    }
    is_well(&callboard).await;
}

#[tokio::test]
async fn a_smuggled_second_request_is_never_answered() {
    let callboard = Callboard::with("  limits: { headerReadTimeout: 500ms }\n").await;
    let token = callboard.backstage.token();
    let inner = format!("GET {SITE}/index.html HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
    let outer = format!(
        "GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}",
        inner.len()
    );
    let answer = send(callboard.address, outer).await;
    assert!(!answer.text().contains("<h1>Shop</h1>"), "{}", answer.text());
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let callboard = Callboard::with("  limits: { headerReadTimeout: 300ms }\n").await;
    for start in [&b""[..], b"G", b"PRI * HT", b"GET / HTTP/1.1\r\nHost", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut socket = TcpStream::connect(callboard.address).await.unwrap();
        socket.write_all(start).await.unwrap();
        raw::until_closed(&mut socket).await;
    }
    is_well(&callboard).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_let_go_and_holds_no_memory_meanwhile() {
    let film = Bytes::from(vec![7; 64 * 1024 * 1024]);
    let store = Scripted::new(Deed::Give(film, "v1"));
    let callboard = Callboard::before(store, "  limits: { writeTimeout: 500ms }\n").await;
    let token = callboard.backstage.token();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut socket = socket.connect(callboard.address).await.unwrap();
    socket.write_all(&raw::get(&format!("{SITE}/film.mp4"), &token)).await.unwrap();
    let cut = async || callboard.metric("http_server_request_duration_seconds_count", &["pass", "200"]).await == 1.0;
    crate::support::until(cut).await;
    is_well_with(&callboard, "film.mp4").await;
}

async fn is_well_with(callboard: &Callboard, path: &str) {
    let page = callboard.request(reqwest::Method::HEAD, &format!("{SITE}/{path}")).send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_slow_reader_that_keeps_reading_gets_everything() {
    let film = Bytes::from(vec![7; 12 * 1024 * 1024]);
    let store = Scripted::new(Deed::Give(film.clone(), "v1"));
    let callboard = Callboard::before(store, "  limits: { writeTimeout: 1s, headerReadTimeout: 1s }\n").await;
    let token = callboard.backstage.token();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    let mut socket = socket.connect(callboard.address).await.unwrap();
    socket.write_all(&raw::get(&format!("{SITE}/film.mp4"), &token)).await.unwrap();
    let mut received = 0;
    let mut pause = tokio::time::interval(Duration::from_millis(20));
    let mut piece = vec![0; 128 * 1024];
    loop {
        pause.tick().await;
        match socket.read(&mut piece).await.unwrap() {
            0 => break,
            read => received += read,
        }
    }
    assert!(received > film.len(), "{received}");
}

#[tokio::test]
async fn a_half_closed_connection_is_answered_from_memory_and_disturbs_nobody() {
    let callboard = Callboard::start().await;
    is_well(&callboard).await;
    let token = callboard.backstage.token();
    for _ in 0..20 {
        let mut socket = TcpStream::connect(callboard.address).await.unwrap();
        socket.write_all(&raw::get(&format!("{SITE}/index.html"), &token)).await.unwrap();
        socket.shutdown().await.unwrap();
        let answer = raw::until_closed(&mut socket).await;
        assert!(answer.ends_with(b"<h1>Shop</h1>"), "{:?}", String::from_utf8_lossy(&answer));
    }
    is_well(&callboard).await;
}
