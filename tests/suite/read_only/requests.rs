//! Whatever a request holds, storage is only ever asked to give, and only what lies below the root path.

use std::collections::BTreeSet;

use callboard::auth::mint::SigningKey;
use serde_json::json;

use super::{BUCKET, Bucket, ROOT, allowing};
use crate::support::raw::send;
use crate::support::{Backstage, Callboard, Told};

const PAGE: &str = "/static/docs/default/component/shop/index.html";

const METHODS: [&str; 26] = [
    "PUT",
    "POST",
    "DELETE",
    "PATCH",
    "COPY",
    "MOVE",
    "MKCOL",
    "LINK",
    "UNLINK",
    "PURGE",
    "LOCK",
    "UNLOCK",
    "PROPFIND",
    "PROPPATCH",
    "REPORT",
    "SEARCH",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "GETX",
    "get",
    "Put",
    "delete",
    "BREW",
    "M-SEARCH",
    "QUERY",
];

/// Headers by which servers and proxies were told to do something else than the first line says.
const HEADERS: [&str; 34] = [
    "X-HTTP-Method-Override: DELETE",
    "X-HTTP-Method: PUT",
    "X-Method-Override: PUT",
    "_method: DELETE",
    "x-amz-copy-source: /another-bucket/default/component/shop/index.html",
    "x-amz-acl: public-read-write",
    "x-amz-tagging: a=b",
    "x-amz-mfa: 1 2",
    "x-amz-bypass-governance-retention: true",
    "x-amz-website-redirect-location: /payroll/2026.csv",
    "x-amz-date: 20200101T000000Z",
    "x-amz-security-token: stolen",
    "x-amz-content-sha256: UNSIGNED-PAYLOAD",
    "x-goog-copy-source: another-bucket/a",
    "x-ms-copy-source: https://example.com/a",
    "x-ms-blob-type: BlockBlob",
    "X-Copy-From: /another/a",
    "X-Auth-Token: stolen",
    "Destination: /payroll/2026.csv",
    "Overwrite: T",
    "X-Original-URL: /payroll/2026.csv",
    "X-Rewrite-URL: /payroll/2026.csv",
    "X-Original-Method: DELETE",
    "X-Forwarded-Path: /payroll/2026.csv",
    "X-Forwarded-Prefix: /payroll",
    "X-Forwarded-Host: another-bucket.s3.amazonaws.com",
    "X-Accel-Redirect: /payroll/2026.csv",
    "X-Sendfile: /etc/passwd",
    "If-None-Match: *\r\nX-HTTP-Method-Override: PUT",
    "Expect: 100-continue",
    "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
    "Connection: Authorization, x-amz-date",
    "Range: bytes=0-0\r\nx-amz-copy-source-range: bytes=0-1",
    "Content-MD5: 1B2M2Y8AsgTpgAmY7PhCfg==",
];

const QUERIES: [&str; 22] = [
    "delete",
    "acl",
    "policy",
    "tagging",
    "uploads",
    "uploadId=1&partNumber=1",
    "versioning",
    "versions",
    "versionId=null",
    "lifecycle",
    "website",
    "cors",
    "logging",
    "torrent",
    "select&select-type=2",
    "restore",
    "list-type=2&prefix=payroll",
    "response-content-type=text/html",
    "x-id=DeleteObject",
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0",
    "prefix=&delimiter=/",
    "key=payroll/2026.csv",
];

/// Ways out of a folder. Each stands behind the path of a site, and in place of it.
const WAYS_OUT: [&str; 44] = [
    "../../../../../payroll/2026.csv",
    "..%2f..%2f..%2f..%2f..%2fpayroll%2f2026.csv",
    "%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/payroll/2026.csv",
    "%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2fpayroll%2f2026.csv",
    "%252e%252e%252f%252e%252e%252fpayroll/2026.csv",
    "..%252f..%252f..%252fpayroll%252f2026.csv",
    "..%5c..%5c..%5cpayroll%5c2026.csv",
    "..\\..\\..\\payroll\\2026.csv",
    ".%00./.%00./payroll/2026.csv",
    "index.html%00../../payroll/2026.csv",
    "index.html%00",
    "%00",
    "%c0%ae%c0%ae/%c0%ae%c0%ae/payroll/2026.csv",
    "%c0%ae%c0%ae%c0%afpayroll",
    "%e0%80%ae%e0%80%ae/payroll/2026.csv",
    "%f0%80%80%ae%f0%80%80%ae/payroll",
    "%uff0e%uff0e/payroll",
    "%EF%BC%8E%EF%BC%8E/payroll/2026.csv",
    "..;/..;/payroll/2026.csv",
    "..%3b/..%3b/payroll",
    "....//....//payroll/2026.csv",
    "..././..././payroll/2026.csv",
    "./../.././../payroll/2026.csv",
    "//payroll/2026.csv",
    "/payroll/2026.csv",
    "%2fpayroll%2f2026.csv",
    "%2f%2fanother-bucket%2fdefault%2fcomponent%2fshop%2findex.html",
    "%5c%5cserver%5cshare%5ca",
    "\\\\server\\share\\a",
    "C:%5cwindows%5cwin.ini",
    "file:///etc/passwd",
    "http://169.254.169.254/latest/meta-data/",
    "%0d%0aDELETE%20/docs/default%20HTTP/1.1%0d%0a",
    "a%20HTTP/1.1%0d%0aHost:%20another-bucket",
    "index.html%3fdelete",
    "index.html%3Facl",
    "index.html%23/../../payroll",
    "index.html#../../payroll",
    "%3f%3f",
    "*",
    "?delete",
    "..",
    "%2e%2e",
    ".%2e/%2e./payroll",
];

/// Paths whole, for what stands before a site's own.
const PATHS: [&str; 20] = [
    "/",
    "*",
    "",
    "//",
    "/..",
    "/docs/payroll/2026.csv",
    "/another-bucket/default/component/shop/index.html",
    "http://another-bucket/default/component/shop/index.html",
    "http://another-bucket.s3.amazonaws.com/payroll/2026.csv",
    "https://docs/payroll/2026.csv?delete",
    "ftp://docs/payroll",
    "/static/docs",
    "/static/docs/",
    "/static/docs/../../../payroll/2026.csv",
    "/static/docs/../../payroll/component/shop/index.html",
    "/static/docs/%2e%2e/%2e%2e/payroll/index.html",
    "/static/docs/default/../../payroll/2026.csv",
    "/static/docs/default%2fcomponent%2fshop/x/y/index.html",
    "/metadata/techdocs/../../payroll",
    "/sync/default/component/shop",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_request_becomes_a_write_or_leaves_the_root_path() {
    let mut bucket = Bucket::with_users(&json!({ "owner": allowing(&["s3:*"]) }), true).await;
    let before = bucket.held().await;
    // The credential could do everything: that nothing is done is Callboard's doing alone.
    let publisher = Some(bucket.publisher("owner", ROOT));
    let callboard = Callboard::told(Told { publisher, ..Told::default() }).await;
    let token = callboard.backstage.token();
    let page = callboard.get(PAGE).send().await.unwrap();
    assert_eq!(page.text().await.unwrap(), "a site below the root path");

    let corpus = corpus(&token, &callboard.backstage);
    assert!(corpus.len() > 300, "{}", corpus.len());
    for request in &corpus {
        let answer = send(callboard.address, request).await;
        let shown = || format!("{}\n{}", String::from_utf8_lossy(request), answer.text());
        for elsewhere in ["nobody's business", "another bucket's", "a site at the root", "root:x:"] {
            assert!(!answer.text().contains(elsewhere), "{}", shown());
        }
        assert!(answer.status().is_none_or(|status| status < 500), "{}", shown());
    }
    assert!(callboard.get(PAGE).send().await.unwrap().status().is_success(), "it is well");

    let requests: BTreeSet<_> = bucket.requests().into_iter().collect();
    assert!(!requests.is_empty());
    let below = format!("/{BUCKET}/{ROOT}/");
    let listing = format!("/{BUCKET}?list-type=2&");
    for (method, target) in &requests {
        assert!(matches!(method.as_str(), "GET" | "HEAD"), "{method} {target}");
        let path = target.split('?').next().unwrap();
        let is_object = target.starts_with(&below) && path == target;
        let is_listing = target.starts_with(&listing) && target.contains("prefix=sites%2Fall%2F");
        assert!(is_object || is_listing, "{method} {target}");
        let names: Vec<&str> = path.split('/').collect();
        assert!(!names.iter().any(|name| matches!(*name, "." | "..")) && !target.contains("%00"), "{target}");
    }
    assert_eq!(bucket.held().await, before);
}

fn corpus(token: &str, backstage: &Backstage) -> Vec<Vec<u8>> {
    let request = |method: &str, target: &str, header: &str, token: &str, body: &str| {
        let header = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
        format!(
            "{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n{header}\r\n{body}"
        )
        .into_bytes()
    };
    let mut corpus = Vec::new();
    for method in METHODS {
        corpus.push(request(method, PAGE, "", token, ""));
        corpus.push(request(method, PAGE, "Content-Length: 7", token, "defaced"));
        corpus.push(request(method, &format!("{PAGE}?delete"), "Content-Length: 0", token, ""));
    }
    for header in HEADERS {
        corpus.push(request("GET", PAGE, header, token, ""));
        corpus.push(request("HEAD", PAGE, header, token, ""));
        corpus.push(request("POST", PAGE, &format!("{header}\r\nContent-Length: 7"), token, "defaced"));
    }
    for query in QUERIES {
        corpus.push(request("GET", &format!("{PAGE}?{query}"), "", token, ""));
        corpus.push(request("GET", &format!("/static/docs/default/component/shop/?{query}"), "", token, ""));
    }
    for way in WAYS_OUT {
        for before in ["/static/docs/default/component/shop/", "/static/docs/", "/metadata/techdocs/", "/"] {
            corpus.push(request("GET", &format!("{before}{way}"), "", token, ""));
        }
    }
    for path in PATHS {
        corpus.push(request("GET", path, "", token, ""));
    }
    corpus.extend(smuggled(token));
    corpus.extend(odd_tokens(backstage).iter().map(|token| request("GET", PAGE, "", token, "")));
    corpus.push(request("GET", &format!("/static/docs/default/component/shop/{}", "a/".repeat(4000)), "", token, ""));
    corpus.push(request("GET", &format!("/static/docs/default/component/shop/{}", "a".repeat(1500)), "", token, ""));
    corpus
}

/// A second request where the first one's body may be.
fn smuggled(token: &str) -> Vec<Vec<u8>> {
    let inner =
        format!("DELETE {PAGE} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n");
    let heads = [
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked", inner.len()),
        "Transfer-Encoding: chunked\r\nContent-Length: 0".to_owned(),
        "Content-Length: 0\r\nContent-Length: 400".to_owned(),
        "Content-Length: 0".to_owned(),
        "Transfer-Encoding: xchunked".to_owned(),
        "Transfer-Encoding : chunked".to_owned(),
        "Transfer-Encoding:\tchunked, identity".to_owned(),
        "X: a\r\n\tTransfer-Encoding: chunked".to_owned(),
        "X: a\nTransfer-Encoding: chunked".to_owned(),
        "X: a\rDELETE / HTTP/1.1".to_owned(),
    ];
    let outer = |head: &String| {
        format!("GET {PAGE} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n{head}\r\n\r\n0\r\n\r\n{inner}")
            .into_bytes()
    };
    heads.iter().map(outer).collect()
}

/// Tokens that claim more than a token may say, signed by nobody and by somebody else.
fn odd_tokens(backstage: &Backstage) -> Vec<String> {
    let key = SigningKey::generate().unwrap();
    let subjects = [
        json!("techdocs"),
        json!("../../payroll"),
        json!("user:default/../../payroll"),
        json!("techdocs\r\nx-amz-acl: public-read"),
        json!("\u{0}"),
        json!(["techdocs"]),
        json!({ "bucket": "another-bucket" }),
        json!(1),
        json!(null),
    ];
    let mut tokens = vec![backstage.forged_token(), backstage.token_on_behalf("techdocs", "user:default/../../x")];
    for subject in subjects {
        let claims = json!({ "sub": subject, "aud": "callboard", "iat": 1, "exp": 4_000_000_000_u64, "bucket": "another-bucket",
            "scope": "write", "obo": "x", "key": "payroll/2026.csv" });
        for header in [
            json!({ "typ": "vnd.backstage.plugin", "alg": "ES256", "kid": key.kid() }),
            json!({ "typ": "vnd.backstage.plugin", "alg": "none" }),
            json!({ "typ": "vnd.backstage.plugin", "alg": "ES256", "kid": "../../../payroll/2026.csv" }),
            json!({ "typ": "vnd.backstage.plugin", "alg": "ES256", "kid": key.kid(), "jku": "http://169.254.169.254/" }),
        ] {
            tokens.push(key.sign(&header, &claims).unwrap());
        }
    }
    tokens
}
