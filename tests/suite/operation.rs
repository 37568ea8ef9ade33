//! What operators rely on: health, metrics, the access log, an orderly end.

use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use callboard::storage::StoreError;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::support::program::Program;
use crate::support::scripted::{Deed, Scripted};
use crate::support::{Callboard, SITE, Told, raw, until};

const LIVENESS: &str = "/.backstage/health/v1/liveness";
const READINESS: &str = "/.backstage/health/v1/readiness";

#[tokio::test]
async fn health_is_told_to_everyone_on_both_listeners() {
    let callboard = Callboard::start().await;
    let client = reqwest::Client::new();
    for address in [callboard.address, callboard.admin] {
        let liveness = client.get(format!("http://{address}/.backstage/health/v1/liveness")).send().await.unwrap();
        assert_eq!(liveness.json::<Value>().await.unwrap()["status"], "ok");
        let url = format!("http://{address}{READINESS}");
        until(async || client.get(&url).send().await.unwrap().status() == StatusCode::OK).await;
    }
}

#[tokio::test]
async fn a_program_is_ready_once_storage_has_answered_and_lives_before_that() {
    let down = StoreError::unavailable("connection refused");
    let store = Scripted::new(Deed::Fail(down.clone()));
    store.refuse_listing(down);
    let callboard = Callboard::before(store.clone(), "").await;
    let client = reqwest::Client::new();
    let status = async |path: &str| {
        client.get(format!("http://{}{path}", callboard.address)).send().await.unwrap().status().as_u16()
    };
    let page = async || callboard.get(&format!("{SITE}/index.html")).send().await.unwrap().status().as_u16();
    assert_eq!((page().await, status(READINESS).await, status(LIVENESS).await), (503, 503, 200));
    // What a reader gets counts as well as what Callboard asks for by itself.
    store.now(Deed::Give(Bytes::from_static(b"page"), "v1"));
    assert_eq!((page().await, status(READINESS).await), (200, 200));
    store.now(Deed::Fail(StoreError::unavailable("connection refused")));
    assert_eq!(status(READINESS).await, 200, "an outage takes no replica out of service");
}

#[tokio::test]
async fn a_program_is_not_ready_while_storage_refuses_everything_and_serves_what_it_holds() {
    let page = || Deed::Give(Bytes::from_static(b"page"), "v1");
    let store = Scripted::new(page());
    let callboard = Callboard::before(store.clone(), "").await;
    let readiness = async |address| {
        let answer = reqwest::get(format!("http://{address}{READINESS}")).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let read = async |name: &str| callboard.get(&format!("{SITE}/{name}")).send().await.unwrap().status().as_u16();
    assert_eq!(read("held.html").await, 200);
    // One object that is refused, however often, is no credential that is.
    store.set("default/component/shop/secret.html", Deed::Fail(StoreError::denied("403 AccessDenied")));
    for _ in 0..10 {
        assert_eq!(read("secret.html").await, 502);
    }
    until(async || readiness(callboard.address).await.0 == 200).await;

    let refusal = || StoreError::denied("403 InvalidAccessKeyId AKIAEXAMPLE");
    store.now(Deed::Fail(refusal()));
    store.refuse_listing(refusal());
    callboard.hand.advance(Duration::from_secs(400));
    for number in 0..3 {
        assert_eq!(read(&format!("{number}.html")).await, 502);
    }
    until(async || readiness(callboard.admin).await.0 == 503).await;
    assert!(readiness(callboard.admin).await.1.contains("refuses everything (techdocs)"));
    assert!(readiness(callboard.admin).await.1.contains("AKIAEXAMPLE"));
    let (status, told) = readiness(callboard.address).await;
    assert!(status == 503 && told.contains("Storage refuses everything") && !told.contains("AKIA"), "{told}");
    // Longer than a refusal of this one page would excuse it.
    let token = callboard.backstage.token_lasting("techdocs", Duration::from_secs(86_400));
    for _ in 0..10 {
        let request = callboard.get_without_token(&format!("{SITE}/held.html")).bearer_auth(&token);
        assert_eq!(request.send().await.unwrap().status(), StatusCode::OK, "what is held is served");
        callboard.hand.advance(Duration::from_secs(1800));
    }

    store.now(page());
    until(async || readiness(callboard.admin).await.0 == 200).await;
}

#[tokio::test]
async fn storage_that_may_not_be_listed_is_storage_that_answers() {
    let store = Scripted::new(Deed::Give(Bytes::from_static(b"page"), "v1"));
    store.refuse_listing(StoreError::denied("403 Forbidden"));
    let callboard = Callboard::before(store, "").await;
    let url = format!("http://{}{READINESS}", callboard.address);
    until(async || reqwest::get(&url).await.unwrap().status() == StatusCode::OK).await;
}

#[tokio::test]
async fn metrics_tell_of_requests_storage_tokens_and_memory() {
    let callboard = Callboard::start().await;
    for _ in 0..3 {
        callboard.get(&format!("{SITE}/index.html")).send().await.unwrap();
    }
    callboard.get_without_token(&format!("{SITE}/index.html")).send().await.unwrap();
    for (name, labels, value) in [
        ("http_server_request_duration_seconds_count", &["hit", "200", "static"][..], 2.0),
        ("http_server_request_duration_seconds_count", &["miss", "200", "static"], 1.0),
        ("http_server_request_duration_seconds_count", &["none", "401"], 1.0),
        ("callboard_storage_operation_duration_seconds_count", &["get", "ok"], 1.0),
        ("callboard_auth_tokens_total", &["missing"], 1.0),
        ("callboard_cache_memory_entries", &[], 1.0),
    ] {
        assert_eq!(callboard.metric(name, labels).await, value, "{name} {labels:?}");
    }
    let post = reqwest::Client::new().post(format!("http://{}/metrics", callboard.admin)).send().await.unwrap();
    assert_eq!(post.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn what_a_client_sends_names_no_series() {
    let callboard = Callboard::start().await;
    callboard.get(&format!("{SITE}/index.html")).send().await.unwrap();
    let series = async || {
        let url = format!("http://{}/metrics", callboard.admin);
        reqwest::get(url).await.unwrap().text().await.unwrap().lines().count()
    };
    callboard.request(Method::from_bytes(b"WILD").unwrap(), "/wild").send().await.unwrap();
    callboard.get("/static/docs/wild/wild/wild/wild").send().await.unwrap();
    let before = series().await;
    for i in 0..20 {
        let method = Method::from_bytes(format!("WILD{i}").as_bytes()).unwrap();
        callboard.request(method, &format!("/wild/{i}")).send().await.unwrap();
        callboard.get(&format!("/static/docs/wild{i}/wild/wild/wild")).send().await.unwrap();
    }
    assert_eq!(series().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_before_the_answer_is_counted() {
    let store = Scripted::held(Deed::Give(Bytes::from_static(b"page"), "v1"));
    let callboard = Callboard::before(store.clone(), "").await;
    let request = tokio::spawn(callboard.get(&format!("{SITE}/index.html")).send());
    until(async || store.gets() == 1).await;
    request.abort();
    until(async || callboard.metric("http_server_request_duration_seconds_count", &["\"499\""]).await == 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_outlive_the_word_to_stop() {
    let store = Scripted::held(Deed::Give(Bytes::from_static(b"page"), "v1"));
    let callboard = Callboard::before(store.clone(), "").await;
    let address = callboard.address;
    let request = tokio::spawn(callboard.get(&format!("{SITE}/index.html")).send());
    until(async || store.gets() == 1).await;
    let stopping = tokio::spawn(callboard.stop());
    until(async || tokio::net::TcpStream::connect(address).await.is_err()).await;
    store.gate.add_permits(1);
    assert_eq!(request.await.unwrap().unwrap().text().await.unwrap(), "page");
    assert_eq!(stopping.await.unwrap(), 0, "connections broken off");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_in_the_backlog_is_served_after_the_word_to_stop() {
    let callboard = Callboard::with("  limits: { maxConnections: 1 }\n").await;
    let page = format!("{SITE}/index.html");
    let kept = raw::get(&page, &callboard.backstage.token());
    let kept = String::from_utf8(kept).unwrap().replace("Connection: close\r\n", "");
    let mut first = TcpStream::connect(callboard.address).await.unwrap();
    first.write_all(kept.as_bytes()).await.unwrap();
    raw::one_answer(&mut first).await;
    // The only place is taken, so these wait in the kernel, one of them before its request.
    let mut second = TcpStream::connect(callboard.address).await.unwrap();
    second.write_all(kept.as_bytes()).await.unwrap();
    let mut third = TcpStream::connect(callboard.address).await.unwrap();
    let stopping = tokio::spawn(callboard.stop());
    assert!(raw::until_closed(&mut first).await.is_empty());
    let answer = raw::Answer { bytes: raw::until_closed(&mut second).await };
    assert_eq!(answer.status(), Some(200), "{}", answer.text());
    assert!(answer.text().contains("connection: close"), "{}", answer.text());
    third.write_all(kept.as_bytes()).await.unwrap();
    assert!(raw::until_closed(&mut third).await.starts_with(b"HTTP/1.1 200"));
    assert_eq!(stopping.await.unwrap(), 0, "connections broken off");
}

#[tokio::test(flavor = "multi_thread")]
async fn everyone_is_served_for_the_drain_delay_and_the_admin_listener_goes_last() {
    let store = Scripted::held(Deed::Give(Bytes::from_static(b"page"), "v1"));
    store.gate.add_permits(1);
    let variables = [("APP_CONFIG_callboard_limits_drainDelay", "2s")];
    let told = Told { store: Some(store.clone()), variables: &variables, ..Told::default() };
    let callboard = Callboard::told(told).await;
    let (address, admin) = (callboard.address, callboard.admin);
    let token = callboard.backstage.token();
    let request = |path: &str| String::from_utf8(raw::get(path, &token)).unwrap();
    let page = request(&format!("{SITE}/index.html"));
    let kept = page.replace("Connection: close\r\n", "");
    let mut open = TcpStream::connect(address).await.unwrap();
    open.write_all(kept.as_bytes()).await.unwrap();
    assert!(!raw::one_answer(&mut open).await.text().contains("connection: close"));
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(kept.as_bytes()).await.unwrap();
    raw::one_answer(&mut idle).await;

    let start = std::time::Instant::now();
    let stopping = tokio::spawn(callboard.stop());
    // On both listeners at once, and to whoever asks anew.
    for address in [address, admin] {
        until(async || raw::send(address, request(READINESS)).await.status() == Some(503)).await;
    }
    assert_eq!(raw::send(address, &page).await.status(), Some(200));
    open.write_all(kept.as_bytes()).await.unwrap();
    let last = raw::Answer { bytes: raw::until_closed(&mut open).await };
    assert_eq!(last.status(), Some(200));
    assert!(last.text().contains("connection: close"), "{}", last.text());

    let mut late = TcpStream::connect(address).await.unwrap();
    late.write_all(request(&format!("{SITE}/late.html")).as_bytes()).await.unwrap();
    assert!(raw::until_closed(&mut idle).await.is_empty());
    assert!(start.elapsed().as_secs_f64() >= 2.0, "{:?}", start.elapsed());
    until(async || TcpStream::connect(address).await.is_err()).await;
    let metrics = raw::send(admin, request("/metrics")).await.text();
    assert!(metrics.contains("callboard_server_connections{listener=\"main\"} 1"), "{metrics}");
    store.gate.add_permits(1);
    assert!(raw::until_closed(&mut late).await.ends_with(b"page"));
    assert_eq!(stopping.await.unwrap(), 0, "connections broken off");
    assert!(TcpStream::connect(admin).await.is_err());
}

#[tokio::test]
async fn what_is_no_request_is_counted() {
    let callboard = Callboard::start().await;
    let large = format!("GET / HTTP/1.1\r\nHost: callboard\r\nX-Large: {}\r\n\r\n", "x".repeat(64 << 10));
    raw::send(callboard.address, large).await;
    assert_eq!(raw::send(callboard.address, "nonsense\r\n\r\n").await.status(), Some(400));
    let errors = async |kind: &str| {
        callboard.metric("callboard_server_connection_errors_total", &[&format!("\"{kind}\"")]).await
    };
    until(async || errors("parse").await == 2.0).await;
    // Half a request, and the client is gone.
    let mut half = TcpStream::connect(callboard.address).await.unwrap();
    half.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
    drop(half);
    until(async || errors("io").await == 1.0).await;
}

#[tokio::test]
async fn the_binary_raises_its_limit_of_open_files_and_says_where_that_is_too_low() {
    let folder = tempfile::TempDir::new().unwrap();
    let binary = env!("CARGO_BIN_EXE_callboard");
    let mut child = tokio::process::Command::new("sh")
        .args(["-c", &format!("ulimit -Sn 256 && ulimit -Hn 4096 && exec '{binary}'")])
        .current_dir(folder.path())
        .env("APP_CONFIG_callboard_listen", "\"127.0.0.1:0\"")
        .env("APP_CONFIG_callboard_admin_listen", "\"127.0.0.1:0\"")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut told = String::new();
    while !told.contains("\"serving\"") {
        told += &log.next_line().await.unwrap().unwrap();
    }
    assert!(told.contains("LimitNOFILE") && told.contains("20512"), "{told}");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id().unwrap())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().nth(3), Some("4096"), "{files}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_outlasts_the_grace_time_is_broken_off() {
    let store = Scripted::held(Deed::Give(Bytes::from_static(b"page"), "v1"));
    let callboard = Callboard::before(store.clone(), "  limits: { drainGrace: 200ms }\n").await;
    let request = tokio::spawn(callboard.get(&format!("{SITE}/index.html")).send());
    until(async || store.gets() == 1).await;
    assert_eq!(callboard.stop().await, 1);
    assert!(request.await.unwrap().is_err());
}

#[tokio::test]
async fn the_binary_writes_a_line_a_request_and_ends_on_sigterm() {
    let mut program = Program::start(&[]).await;
    let (token, url) = (program.token.clone(), program.url.clone());
    let client = reqwest::Client::new();
    let page = client.get(&url).bearer_auth(&token).header("traceparent", TRACE).send().await.unwrap();
    assert!(page.text().await.unwrap().contains("Callboard"));
    let line = program.access_line().await;
    let entry: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(entry["status"], 200);
    assert_eq!(entry["subject"], "plugin:techdocs");
    assert_eq!(entry["key"], "default/component/callboard/index.html");
    assert_eq!(entry["cache"], "miss");
    assert_eq!(entry["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert!(entry["bytes"].as_u64().unwrap() > 1000 && entry["duration_ms"].as_f64().unwrap() > 0.0);
    assert!(!line.contains(&token));
    for (path, token, status, reason) in [
        ("index.html", "", 401, "missing"),
        ("nothing.html", token.as_str(), 404, "absent"),
        ("", &token, 404, "no_such_path"),
    ] {
        let url = url.replace("index.html", path);
        let request = client.get(url);
        let request = if token.is_empty() { request } else { request.bearer_auth(token) };
        assert_eq!(request.send().await.unwrap().status().as_u16(), status);
        let entry = program.access_entry().await;
        assert_eq!((&entry["status"], &entry["reason"]), (&status.into(), &reason.into()), "{entry}");
    }

    program.terminate();
    assert!(program.ended().await.success());
    let log = program.log().await;
    assert!(log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{log}");
    assert!(!log.contains(&token));
}

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
