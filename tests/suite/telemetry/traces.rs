//! Spans: one a request, connected from the caller to storage and Backstage.

use bytes::Bytes;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use reqwest::StatusCode;

use crate::support::bucket::Bucket;
use crate::support::otlp::{Collector, Manner, hex, text};
use crate::support::pki::Authority;
use crate::support::scripted::{Deed, Scripted};
use crate::support::{Callboard, SITE, Told, until};

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const STATIC: &str = "GET /static/docs/{namespace}/{kind}/{name}/{file}";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE_ID}-{CALLER}-{flags}")
}

fn attribute(span: &Span, name: &str) -> Option<String> {
    text(&span.attributes, name)
}

async fn page(callboard: &Callboard, traceparent: &str) -> StatusCode {
    let request = callboard.get(&format!("{SITE}/index.html")).header("traceparent", traceparent);
    request.header("tracestate", "vendor=1").send().await.unwrap().status()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_leads_from_the_caller_through_callboard_to_storage_and_backstage() {
    for protocol in ["grpc", "http/protobuf"] {
        let (collector, otlp) = Collector::over(protocol, Manner::Take).await;
        let bucket = Bucket::start().await;
        let told = Told { otlp: &otlp, publisher: Some(bucket.publisher()), ..Told::default() };
        let callboard = Callboard::told(told).await;
        let fetched = callboard.backstage.fetches();
        assert_eq!(page(&callboard, &traceparent("01")).await, StatusCode::OK);
        let keys = callboard.backstage.traceparents()[fetched].clone();
        callboard.stop().await;

        let server = collector.span(STATIC);
        assert_eq!((hex(&server.parent_span_id).as_str(), server.kind()), (CALLER, SpanKind::Server));
        let verification = collector.span("verify token");
        let fetch = collector.span("GET key set");
        let operation = collector.span("storage get");
        let request = collector.span("GET");
        for (child, parent) in
            [(&verification, &server), (&fetch, &verification), (&operation, &server), (&request, &operation)]
        {
            assert_eq!(child.parent_span_id, parent.span_id, "{} below {}", child.name, parent.name);
        }
        for span in collector.spans() {
            assert_eq!(hex(&span.trace_id), TRACE_ID, "{}", span.name);
        }
        let passed_on = |span: &Span| Some(format!("00-{TRACE_ID}-{}-01", hex(&span.span_id)));
        let [read] = &bucket.reads()[..] else { panic!("one read") };
        assert_eq!(read.traceparent, passed_on(&request));
        assert_eq!(read.tracestate.as_deref(), Some("vendor=1"));
        assert!(!read.authorization.contains("traceparent"), "not signed: {}", read.authorization);
        assert_eq!(keys, passed_on(&fetch));
        assert_described(&server, &operation, &request);
    }
}

fn assert_described(server: &Span, operation: &Span, request: &Span) {
    for (span, name, value) in [
        (server, "http.request.method", "GET"),
        (server, "http.route", "/static/docs/{namespace}/{kind}/{name}/{file}"),
        (server, "url.path", "/static/docs/default/component/shop/index.html"),
        (server, "http.response.status_code", "200"),
        (server, "network.protocol.version", "1.1"),
        (server, "server.address", "127.0.0.1"),
        (server, "callboard.cache.outcome", "miss"),
        (operation, "callboard.storage.system", "s3"),
        (operation, "callboard.storage.operation", "get"),
        (operation, "callboard.storage.result", "ok"),
        (operation, "rpc.method", "GetObject"),
        (operation, "aws.s3.bucket", "docs"),
        (operation, "aws.s3.key", "default/component/shop/index.html"),
        (request, "http.request.method", "GET"),
        (request, "http.response.status_code", "200"),
    ] {
        assert_eq!(attribute(span, name).as_deref(), Some(value), "{name} of {}", span.name);
    }
    assert!(attribute(server, "error.type").is_none());
    assert_eq!((operation.kind(), request.kind()), (SpanKind::Client, SpanKind::Client));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hit_is_one_span_and_a_remembered_token_is_not_verified() {
    let (collector, otlp) = Collector::over("http/protobuf", Manner::Take).await;
    let callboard = Callboard::told(Told { otlp: &otlp, ..Told::default() }).await;
    let token = callboard.backstage.token();
    for _ in 0..6 {
        callboard.get_without_token(&format!("{SITE}/index.html")).bearer_auth(&token).send().await.unwrap();
    }
    callboard.stop().await;
    collector.span("verify token");
    collector.span("storage get");
    let requests: Vec<Span> = collector.spans().into_iter().filter(|span| span.name == STATIC).collect();
    let hits = requests.iter().filter(|span| attribute(span, "callboard.cache.outcome").as_deref() == Some("hit"));
    assert_eq!((requests.len(), hits.count()), (6, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_anothers_fetch_has_no_storage_span_and_says_so() {
    let (collector, otlp) = Collector::over("http/protobuf", Manner::Take).await;
    let store = Scripted::held(Deed::Give(Bytes::from_static(b"page"), "v1"));
    let callboard = Callboard::told(Told { otlp: &otlp, store: Some(store.clone()), ..Told::default() }).await;
    let requests: Vec<_> = (0..8).map(|_| tokio::spawn(callboard.get(&format!("{SITE}/index.html")).send())).collect();
    until(async || store.gets() == 1).await;
    // From its verification on a request waits for nothing but the fetch.
    until(async || callboard.metric("callboard_auth_tokens_total", &["verified"]).await == 8.0).await;
    assert_eq!(callboard.metric("http_server_active_requests", &["GET"]).await, 8.0);
    store.gate.add_permits(1);
    for request in requests {
        assert_eq!(request.await.unwrap().unwrap().status(), StatusCode::OK);
    }
    assert_eq!(callboard.metric("http_server_active_requests", &["GET"]).await, 0.0);
    callboard.stop().await;
    let requests: Vec<Span> = collector.spans().into_iter().filter(|span| span.name == STATIC).collect();
    let (waiters, leaders): (Vec<_>, Vec<_>) =
        requests.iter().partition(|span| attribute(span, "callboard.collapsed").as_deref() == Some("true"));
    assert_eq!((leaders.len(), waiters.len()), (1, 7));
    assert_eq!(collector.span("storage get").parent_span_id, leaders[0].span_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_callers_decision_counts_before_the_ratio() {
    for (ratio, flags, exported) in [("0", "01", true), ("0", "00", false), ("1", "00", false), ("1", "01", true)] {
        let (collector, otlp) = Collector::over("http/protobuf", Manner::Take).await;
        let bucket = Bucket::start().await;
        let otlp = format!("{otlp}, sampleRatio: {ratio}");
        let callboard =
            Callboard::told(Told { otlp: &otlp, publisher: Some(bucket.publisher()), ..Told::default() }).await;
        assert_eq!(page(&callboard, &traceparent(flags)).await, StatusCode::OK);
        callboard.stop().await;
        assert_eq!(!collector.spans().is_empty(), exported, "ratio {ratio}, flags {flags}");
        // The trace goes on either way, with the decision in it.
        let passed_on = bucket.reads()[0].traceparent.clone().unwrap();
        assert!(passed_on.starts_with(&format!("00-{TRACE_ID}-")) && passed_on.ends_with(flags), "{passed_on}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_caller_the_ratio_decides() {
    for (ratio, expected) in [("0", 0), ("1", 3)] {
        let (collector, otlp) = Collector::over("http/protobuf", Manner::Take).await;
        let otlp = format!("{otlp}, sampleRatio: {ratio}");
        let callboard = Callboard::told(Told { otlp: &otlp, ..Told::default() }).await;
        for _ in 0..3 {
            callboard.get(&format!("{SITE}/index.html")).send().await.unwrap();
        }
        callboard.stop().await;
        assert_eq!(collector.spans().iter().filter(|span| span.name == STATIC).count(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_told_where_it_happened() {
    let (collector, otlp) = Collector::over("http/protobuf", Manner::Take).await;
    let store = Scripted::new(Deed::Truncate);
    let callboard = Callboard::told(Told { otlp: &otlp, store: Some(store), ..Told::default() }).await;
    assert_eq!(page(&callboard, &traceparent("01")).await, StatusCode::BAD_GATEWAY);
    callboard.get_without_token(&format!("{SITE}/index.html")).send().await.unwrap();
    callboard.stop().await;
    assert_eq!(attribute(&collector.span("storage get"), "error.type").as_deref(), Some("truncated"));
    let spans = collector.spans();
    let of_status = |status: &str| {
        let mut found =
            spans.iter().filter(|span| attribute(span, "http.response.status_code").as_deref() == Some(status));
        found.find(|span| span.name == STATIC).unwrap()
    };
    // 2 is an error; what a client does wrong is none of the server's.
    assert_eq!(of_status("502").status.as_ref().unwrap().code, 2);
    assert_eq!(of_status("401").status.as_ref().map_or(0, |status| status.code), 0);
    assert_eq!(attribute(of_status("401"), "error.type").as_deref(), Some("missing"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_span_tells_whether_its_request_was_encrypted() {
    let authority = Authority::new();
    authority.keep("tls", &authority.server(&["localhost"]));
    let (tls, client) = (authority.section(&["tls"], ""), authority.http_client().build().unwrap());
    for (section, scheme, host) in [("", "http", "127.0.0.1"), (&tls, "https", "localhost")] {
        let (collector, otlp) = Collector::over("http/protobuf", Manner::Take).await;
        let callboard = Callboard::told(Told { otlp: &otlp, section, ..Told::default() }).await;
        let url = format!("{scheme}://{host}:{}{SITE}/index.html", callboard.address.port());
        let token = callboard.backstage.token();
        assert_eq!(client.get(url).bearer_auth(token).send().await.unwrap().status(), StatusCode::OK);
        callboard.stop().await;
        assert_eq!(attribute(&collector.span(STATIC), "url.scheme").as_deref(), Some(scheme));
    }
}
