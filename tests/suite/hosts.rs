//! Whom a request is for, and how long its target may be.

use reqwest::StatusCode;
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::support::raw::{self, Answer};
use crate::support::{Callboard, SITE, h2};

fn is_ours(answer: &Answer, status: u16, name: &str) {
    let text = answer.text();
    assert_eq!(answer.status(), Some(status), "{text}");
    let body: Value = serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body["error"]["name"], name, "{text}");
    assert_eq!(body["response"]["statusCode"], status, "{text}");
}

#[tokio::test]
async fn a_host_that_is_missing_doubled_empty_or_malformed_is_a_bad_request() {
    let callboard = Callboard::start().await;
    let token = callboard.backstage.token();
    let head = format!("Authorization: Bearer {token}\r\nConnection: close\r\n\r\n");
    for hosts in [
        "",
        "Host:\r\n",
        "Host: \r\n",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nhost: b\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: me@a\r\n",
        "Host: a:b\r\n",
        "Host: [::1\r\n",
        "Host: \u{e4}\r\n",
    ] {
        let request = format!("GET {SITE}/index.html HTTP/1.1\r\n{hosts}{head}");
        is_ours(&raw::send(callboard.address, request).await, 400, "InputError");
    }
    for (version, hosts) in
        [("1.1", "Host: a\r\n"), ("1.1", "Host: [::1]:7008\r\n"), ("1.0", ""), ("1.0", "Host: a\r\n")]
    {
        let request = format!("GET {SITE}/index.html HTTP/{version}\r\n{hosts}{head}");
        assert_eq!(raw::send(callboard.address, request).await.status(), Some(200), "{version} {hosts}");
    }
    let doubled = format!("GET {SITE}/index.html HTTP/1.0\r\nHost: a\r\nHost: a\r\n{head}");
    is_ours(&raw::send(callboard.address, doubled).await, 400, "InputError");
}

#[tokio::test]
async fn an_absolute_target_is_served_by_its_path() {
    let callboard = Callboard::start().await;
    let token = callboard.backstage.token();
    let head = format!("Authorization: Bearer {token}\r\nConnection: close\r\n\r\n");
    let ask = async |target: &str, hosts: &str| {
        raw::send(callboard.address, format!("GET {target}{SITE}/index.html HTTP/1.1\r\n{hosts}{head}")).await
    };
    assert_eq!(ask("http://docs.example.com", "Host: docs.example.com\r\n").await.status(), Some(200));
    assert_eq!(ask("http://docs.example.com", "Host: ignored\r\n").await.status(), Some(200));
    is_ours(&ask("http://docs.example.com", "").await, 400, "InputError");
    is_ours(&ask("http://me@docs.example.com", "Host: a\r\n").await, 400, "InputError");
    is_ours(&ask("ftp://docs.example.com", "Host: a\r\n").await, 400, "InputError");
}

#[tokio::test]
async fn targets_without_a_path_are_left_to_the_method() {
    let callboard = Callboard::start().await;
    for request in ["OPTIONS *", "CONNECT docs.example.com:443"] {
        let request = format!("{request} HTTP/1.1\r\nHost: docs.example.com:443\r\nConnection: close\r\n\r\n");
        is_ours(&raw::send(callboard.address, request).await, 405, "MethodNotAllowedError");
    }
}

#[tokio::test]
async fn the_host_is_looked_at_before_health_and_token() {
    let callboard = Callboard::start().await;
    let path = "/.backstage/health/v1/liveness";
    is_ours(
        &raw::send(callboard.address, format!("GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n")).await,
        400,
        "InputError",
    );
    assert_eq!(callboard.metric("callboard_auth_tokens_total", &[]).await, 0.0);
}

#[tokio::test]
async fn http_2_needs_an_authority_or_a_host_and_no_contradiction() {
    let callboard = Callboard::start().await;
    let token = format!("Bearer {}", callboard.backstage.token());
    let path = format!("{SITE}/index.html");
    for (hosts, status) in [
        (&[(":authority", "a:1")][..], "200"),
        (&[("host", "a:1")], "200"),
        (&[(":authority", "a:1"), ("host", "A:1")], "200"),
        (&[(":authority", "a:1"), ("host", "b:1")], "400"),
        (&[("host", "a"), ("host", "a")], "400"),
        (&[("host", "a b")], "400"),
        (&[], "400"),
    ] {
        let fields = h2::get(&path, &[hosts, &[("authorization", &token)]].concat());
        let (mut reading, mut writing) = h2::connect(callboard.address).await;
        let flags = h2::END_STREAM | h2::END_HEADERS;
        writing.write_all(&h2::frame(h2::HEADERS, flags, 1, &fields)).await.unwrap();
        // 200 and 400 stand in HPACK's static table, as 8 and 12.
        let answered = loop {
            match h2::next(&mut reading).await.expect("an answer") {
                (h2::HEADERS, 1, fields) => break fields[0],
                (h2::RST_STREAM, 1, _) => break 0x80 | 12,
                _ => {}
            }
        };
        assert_eq!(answered, if status == "200" { 0x88 } else { 0x8c }, "{hosts:?}");
    }
}

#[tokio::test]
async fn a_target_beyond_the_bound_is_too_long() {
    let callboard = Callboard::with("  limits: { maxUriBytes: 1KiB }\n").await;
    let token = callboard.backstage.token();
    let path = |length: usize| format!("{SITE}/{}", "x".repeat(length - SITE.len() - 1));
    assert_eq!(raw::send(callboard.address, raw::get(&path(1024), &token)).await.status(), Some(404));
    is_ours(&raw::send(callboard.address, raw::get(&path(1025), &token)).await, 414, "UriTooLongError");
    let query = format!("{SITE}/index.html?{}", "x".repeat(1024));
    is_ours(&raw::send(callboard.address, raw::get(&query, &token)).await, 414, "UriTooLongError");
    let page = callboard.get(&format!("{SITE}/index.html")).send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
}
