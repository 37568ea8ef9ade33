//! Documents as readers get them.

use http::header::{
    ACCEPT_RANGES, AGE, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, IF_MATCH,
    IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE, WWW_AUTHENTICATE,
};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::support::{Callboard, SITE};

fn header(response: &Response, name: impl http::header::AsHeaderName) -> String {
    response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

#[tokio::test]
async fn a_page_comes_with_everything_that_describes_it() {
    let callboard = Callboard::start().await;
    let page = callboard.get(&format!("{SITE}/index.html")).send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    assert_eq!(header(&page, CONTENT_TYPE), "text/plain; charset=utf-8");
    assert_eq!(header(&page, CONTENT_LENGTH), "13");
    assert_eq!(header(&page, ACCEPT_RANGES), "bytes");
    assert_eq!(header(&page, CACHE_CONTROL), "private, max-age=0, must-revalidate");
    assert_eq!(header(&page, "x-content-type-options"), "nosniff");
    assert_eq!(header(&page, "cache-status"), "callboard; fwd=uri-miss; stored; ttl=300");
    assert!(header(&page, ETAG).starts_with('"'));
    assert!(header(&page, LAST_MODIFIED).ends_with("GMT"));
    assert_eq!(page.text().await.unwrap(), "<h1>Shop</h1>");
}

#[tokio::test]
async fn a_second_reader_is_served_from_memory_and_told_its_age() {
    let callboard = Callboard::start().await;
    let path = format!("{SITE}/index.html");
    callboard.get(&path).send().await.unwrap();
    callboard.hand.advance(std::time::Duration::from_secs(7));
    let page = callboard.get(&path).send().await.unwrap();
    assert_eq!(header(&page, "cache-status"), "callboard; hit; ttl=293; detail=memory");
    assert_eq!(header(&page, AGE), "7");
    assert_eq!(callboard.metric("callboard_storage_operation_duration_seconds_count", &["get"]).await, 1.0);
}

#[tokio::test]
async fn names_that_carry_a_hash_may_be_kept_for_good() {
    let callboard = Callboard::start().await;
    let sheet = callboard.get(&format!("{SITE}/assets/main.0253249f.min.css")).send().await.unwrap();
    assert_eq!(header(&sheet, CACHE_CONTROL), "private, max-age=31536000, immutable");
    assert_eq!(header(&sheet, CONTENT_TYPE), "text/css; charset=utf-8");
}

#[tokio::test]
async fn every_mount_and_spelling_leads_to_the_same_entry() {
    let callboard = Callboard::start().await;
    for path in [
        "/static/docs/default/component/shop/guide/first%20steps.html",
        "/api/techdocs/static/docs/Default/Component/SHOP/guide/first%20steps.html?x=1",
        "/api/callboard/static/docs/default/component/shop/guide//%66irst steps.html",
    ] {
        let page = callboard.get(path).send().await.unwrap();
        assert_eq!(page.text().await.unwrap(), "<h1>First steps</h1>", "{path}");
    }
    assert_eq!(callboard.metric("callboard_storage_operation_duration_seconds_count", &["get"]).await, 1.0);
}

#[tokio::test]
async fn head_says_what_get_would() {
    let callboard = Callboard::start().await;
    for path in ["index.html", "empty.txt", "assets/main.0253249f.min.css"] {
        let path = format!("{SITE}/{path}");
        callboard.get(&path).send().await.unwrap();
        let get = callboard.get(&path).send().await.unwrap();
        let head = callboard.request(Method::HEAD, &path).send().await.unwrap();
        assert_eq!(head.status(), get.status());
        let described = |response: &Response| {
            let mut headers = response.headers().clone();
            headers.remove(DATE);
            headers
        };
        assert_eq!(described(&head), described(&get));
        assert_eq!(head.text().await.unwrap(), "");
    }
}

#[tokio::test]
async fn a_known_version_is_not_sent_again() {
    let callboard = Callboard::start().await;
    let path = format!("{SITE}/index.html");
    let page = callboard.get(&path).send().await.unwrap();
    let (etag, modified) = (header(&page, ETAG), header(&page, LAST_MODIFIED));
    for (name, value) in [("if-none-match", etag.as_str()), ("if-modified-since", &modified)] {
        for method in [Method::GET, Method::HEAD] {
            let again = callboard.request(method, &path).header(name, value).send().await.unwrap();
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{name}");
            assert_eq!(header(&again, ETAG), etag);
            assert_eq!(header(&again, CACHE_CONTROL), "private, max-age=0, must-revalidate");
            assert!(again.headers().get(CONTENT_LENGTH).is_none());
            assert_eq!(again.text().await.unwrap(), "");
        }
    }
    let other = callboard.get(&path).header(IF_NONE_MATCH, "\"other\"").send().await.unwrap();
    assert_eq!(other.status(), StatusCode::OK);
    let unmodified = callboard.get(&path).header(IF_UNMODIFIED_SINCE, &modified).send().await.unwrap();
    assert_eq!(unmodified.status(), StatusCode::OK);
    let before = "Thu, 01 Jan 1970 00:00:00 GMT";
    let changed = callboard.get(&path).header(IF_UNMODIFIED_SINCE, before).send().await.unwrap();
    assert_eq!(changed.status(), StatusCode::PRECONDITION_FAILED);
    let failed = callboard.get(&path).header(IF_MATCH, "\"other\"").send().await.unwrap();
    assert_eq!(failed.status(), StatusCode::PRECONDITION_FAILED);
    assert_eq!(failed.json::<Value>().await.unwrap()["error"]["name"], "PreconditionFailedError");
}

#[tokio::test]
async fn parts_are_sent_as_asked() {
    let callboard = Callboard::start().await;
    let path = format!("{SITE}/digits.txt");
    let etag = header(&callboard.get(&path).send().await.unwrap(), ETAG);
    for (range, content_range, body) in [
        ("bytes=2-4", "bytes 2-4/10", "234"),
        ("bytes=-3", "bytes 7-9/10", "789"),
        ("bytes=0-99", "bytes 0-9/10", "0123456789"),
    ] {
        let part = callboard.get(&path).header(RANGE, range).header(IF_RANGE, &etag).send().await.unwrap();
        assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(header(&part, CONTENT_RANGE), content_range);
        assert_eq!(header(&part, CONTENT_LENGTH), body.len().to_string());
        assert_eq!(part.text().await.unwrap(), body);
    }
    let stale = callboard.get(&path).header(RANGE, "bytes=2-4").header(IF_RANGE, "\"old\"").send().await.unwrap();
    assert_eq!((stale.status(), stale.text().await.unwrap().as_str()), (StatusCode::OK, "0123456789"));
    let head = callboard.request(Method::HEAD, &path).header(RANGE, "bytes=2-4").send().await.unwrap();
    assert_eq!((head.status(), header(&head, CONTENT_LENGTH).as_str()), (StatusCode::OK, "10"));
    let outside = callboard.get(&path).header(RANGE, "bytes=10-").send().await.unwrap();
    assert_eq!(outside.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(header(&outside, CONTENT_RANGE), "bytes */10");
}

#[tokio::test]
async fn several_parts_come_in_a_frame_of_the_length_that_was_told() {
    let callboard = Callboard::start().await;
    let path = format!("{SITE}/digits.txt");
    let parts = callboard.get(&path).header(RANGE, "bytes=0-1,-2").send().await.unwrap();
    assert_eq!(parts.status(), StatusCode::PARTIAL_CONTENT);
    let boundary = header(&parts, CONTENT_TYPE).strip_prefix("multipart/byteranges; boundary=").unwrap().to_owned();
    let length: usize = header(&parts, CONTENT_LENGTH).parse().unwrap();
    let body = parts.text().await.unwrap();
    assert_eq!(body.len(), length);
    let part = |range: &str, bytes: &str| {
        format!(
            "\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes {range}/10\r\n\r\n{bytes}"
        )
    };
    assert_eq!(body, format!("{}{}\r\n--{boundary}--\r\n", part("0-1", "01"), part("8-9", "89")));
}

#[tokio::test]
async fn metadata_comes_as_json() {
    let callboard = Callboard::start().await;
    let metadata = callboard.get("/api/techdocs/metadata/techdocs/default/Component/shop").send().await.unwrap();
    assert_eq!(header(&metadata, CONTENT_TYPE), "application/json; charset=utf-8");
    assert_eq!(metadata.json::<Value>().await.unwrap()["site_name"], "Shop");
    let missing = callboard.get("/metadata/techdocs/default/component/nothing").send().await.unwrap();
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn metadata_that_is_not_json_is_storages_fault() {
    let callboard = Callboard::start().await;
    callboard.write("techdocs_metadata.json", r#"{"site_name": "Sh"#);
    let status = async || {
        let metadata = callboard.get("/metadata/techdocs/default/component/shop").send().await.unwrap();
        metadata.status()
    };
    assert_eq!(status().await, StatusCode::BAD_GATEWAY);
    // It was half written, as it may be while a site is published; soon it is whole.
    callboard.write("techdocs_metadata.json", r#"{"site_name": "Shop"}"#);
    callboard.hand.advance(std::time::Duration::from_secs(2));
    assert_eq!(status().await, StatusCode::OK);
}

#[tokio::test]
async fn errors_have_backstages_form() {
    let callboard = Callboard::start().await;
    let path = format!("{SITE}/nothing.html?a=b");
    let missing = callboard.get(&path).send().await.unwrap();
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    assert_eq!(header(&missing, CACHE_CONTROL), "no-store");
    assert_eq!(header(&missing, "cache-status"), "callboard; fwd=uri-miss; stored; ttl=10");
    let body: Value = missing.json().await.unwrap();
    let message = body["error"]["message"].clone();
    assert!(message.as_str().unwrap().ends_with('.'));
    let expected = json!({
        "error": { "name": "NotFoundError", "message": message },
        "request": { "method": "GET", "url": path },
        "response": { "statusCode": 404 },
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn without_a_token_nothing_is_learnt() {
    let callboard = Callboard::start().await;
    for path in
        ["/static/docs/default/component/shop/index.html", "/static/docs/default/component/nothing/x", "/", "/x"]
    {
        let refused = callboard.get_without_token(path).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(header(&refused, WWW_AUTHENTICATE), "Bearer realm=\"callboard\"");
    }
    assert_eq!(callboard.metric("callboard_storage_operation_duration_seconds_count", &["get"]).await, 0.0);
}

#[tokio::test]
async fn a_stranger_is_refused_and_told_what_to_change() {
    let callboard = Callboard::start().await;
    let token = callboard.backstage.token_of("catalog");
    let request = callboard.get_without_token(&format!("{SITE}/index.html")).bearer_auth(token);
    let refused = request.send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let body: Value = refused.json().await.unwrap();
    assert_eq!(body["error"]["name"], "NotAllowedError");
    assert!(body["error"]["message"].as_str().unwrap().contains("callboard.auth.allow"));
}

#[tokio::test]
async fn a_cached_page_is_authorised_on_every_request() {
    let callboard = Callboard::start().await;
    let path = format!("{SITE}/index.html");
    let token = callboard.backstage.token();
    let read = async || callboard.get_without_token(&path).bearer_auth(&token).send().await.unwrap().status();
    assert_eq!(read().await, StatusCode::OK);
    callboard.hand.advance(std::time::Duration::from_secs(3606));
    assert_eq!(read().await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn only_get_and_head_are_answered() {
    let callboard = Callboard::start().await;
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS, Method::TRACE] {
        let refused = callboard.request(method.clone(), &format!("{SITE}/index.html")).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(header(&refused, ALLOW), "GET, HEAD");
    }
    let refused = callboard.get(&format!("{SITE}/index.html")).body("x").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn cleartext_http2_is_spoken_too() {
    let callboard = Callboard::start().await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let url = format!("http://{}{SITE}/index.html", callboard.address);
    let requests = (0..50).map(|_| client.get(&url).bearer_auth(callboard.backstage.token()).send());
    for page in futures_util::future::join_all(requests).await {
        let page = page.unwrap();
        assert_eq!(page.version(), http::Version::HTTP_2);
        assert_eq!(page.text().await.unwrap(), "<h1>Shop</h1>");
    }
}
