//! Every file of a real site through techdocs-backend and Callboard, beside what techdocs-backend answers by itself.

use std::io::Read;
use std::path::PathBuf;

use flate2::read::GzDecoder;
use http::HeaderMap;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_NONE_MATCH,
    LAST_MODIFIED, RANGE, VARY, X_CONTENT_TYPE_OPTIONS,
};
use reqwest::{RequestBuilder, Response, StatusCode};

use super::{path_of, s3_publisher};
use crate::support::servers::{Server, files};
use crate::support::stage::{Plan, Stage};

/// Of the connection rather than of the answer.
const HOP_BY_HOP: [&str; 4] = ["connection", "date", "keep-alive", "transfer-encoding"];

/// What Callboard adds to what upstream says.
const ADDED: [&str; 8] =
    ["accept-ranges", "age", "cache-control", "cache-status", "content-length", "etag", "last-modified", "vary"];

/// Techdocs-backend with Callboard behind it, and techdocs-backend with nothing but its own publisher.
struct Pair {
    ours: Stage,
    upstream: Stage,
}

impl Pair {
    async fn before(s3: &Server) -> Self {
        let publisher = s3_publisher(&s3.ready, s3.said("/endpoint"));
        let plan = |module| Plan { publisher: publisher.clone(), module, ..Plan::default() };
        let (ours, upstream) = tokio::join!(Stage::set(plan(Some(""))), Stage::set(plan(None)));
        Self { ours, upstream }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_comes_as_the_s3_publisher_gives_it_and_with_what_that_one_lacks() {
    let s3 = Server::s3().await;
    let pair = Pair::before(&s3).await;
    for (entity, folder) in [
        (s3.said("/published_as"), s3.said("/site_dir")),
        (s3.said("/small/published_as"), s3.said("/small/site_dir")),
        (s3.said("/small/entity"), s3.said("/small/site_dir")),
    ] {
        let folder = PathBuf::from(folder);
        for file in files(&folder) {
            let bytes = std::fs::read(folder.join(&file)).unwrap();
            compare(&pair, &path_of(entity, &file), &bytes).await;
        }
    }
    assert!(pair.ours.relay.answered() > 12 << 20, "the files came through Callboard");
    assert_eq!(pair.upstream.relay.answered(), 0);
}

async fn compare(pair: &Pair, path: &str, bytes: &[u8]) {
    let ours = get(pair.ours.get(path)).await;
    assert_eq!(ours.status(), StatusCode::OK, "{path}");
    let headers = ours.headers().clone();
    assert!(ours.bytes().await.unwrap() == bytes, "{path} came otherwise than it was published");

    let upstream = get(pair.upstream.get(path)).await;
    // Upstream decodes neither of these, and finds nothing.
    if path.contains("%23") || path.contains("%3F") {
        assert_eq!(upstream.status(), StatusCode::NOT_FOUND, "{path}");
    } else {
        assert_eq!(upstream.status(), StatusCode::OK, "{path}");
        same_headers(path, &headers, upstream.headers());
        assert!(upstream.bytes().await.unwrap() == bytes, "{path} is another one upstream");
    }
    what_upstream_lacks(pair, path, bytes, &headers).await;
    in_a_browser(pair, path, bytes).await;
}

fn same_headers(path: &str, ours: &HeaderMap, upstream: &HeaderMap) {
    let end_to_end = |headers: &HeaderMap| -> Vec<_> {
        let kept = headers.keys().filter(|name| !HOP_BY_HOP.contains(&name.as_str()));
        kept.cloned().collect()
    };
    assert!(upstream.contains_key(X_CONTENT_TYPE_OPTIONS) && upstream.contains_key("content-security-policy"));
    for name in end_to_end(upstream) {
        if name == VARY {
            continue;
        }
        assert_eq!(ours.get(&name), upstream.get(&name), "{name} of {path}");
    }
    for name in end_to_end(ours) {
        assert!(upstream.contains_key(&name) || ADDED.contains(&name.as_str()), "{name} of {path} is new");
    }
}

async fn what_upstream_lacks(pair: &Pair, path: &str, bytes: &[u8], headers: &HeaderMap) {
    assert_eq!(headers[CONTENT_LENGTH], bytes.len().to_string(), "{path}");
    assert_eq!(headers[ACCEPT_RANGES], "bytes", "{path}");
    assert!(headers.contains_key(LAST_MODIFIED), "{path}");
    let known = get(pair.ours.get(path).header(IF_NONE_MATCH, &headers[ETAG])).await;
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED, "{path}");
    assert!(known.bytes().await.unwrap().is_empty());
    if bytes.len() > 10 {
        let part = get(pair.ours.get(path).header(RANGE, "bytes=3-8")).await;
        assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT, "{path}");
        assert_eq!(part.headers()[CONTENT_RANGE], format!("bytes 3-8/{}", bytes.len()));
        assert_eq!(part.bytes().await.unwrap(), bytes[3..9], "{path}");
    }
}

/// With a cookie in place of a token, and compressed where Callboard says that it pays.
async fn in_a_browser(pair: &Pair, path: &str, bytes: &[u8]) {
    let answer = get(pair.ours.reader.get_with_cookie(path).header(ACCEPT_ENCODING, "gzip")).await;
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    let encoded = answer.headers().get(CONTENT_ENCODING).cloned();
    let body = answer.bytes().await.unwrap();
    if encoded.is_none() {
        assert!(body == bytes, "{path}");
        return;
    }
    assert_eq!(encoded.unwrap(), "gzip", "{path}");
    let mut decoded = Vec::new();
    GzDecoder::new(&body[..]).read_to_end(&mut decoded).unwrap();
    assert!(decoded == bytes, "{path} is another one when compressed");
}

async fn get(request: RequestBuilder) -> Response {
    request.send().await.unwrap()
}
