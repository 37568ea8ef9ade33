//! What each reader is sent.

use std::sync::Arc;

use http::StatusCode;
use http::header::{
    CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED,
    RANGE,
};
use reqwest::Method;

use super::*;
use crate::support::SITE;
use crate::support::scripted::Scripted;
use crate::support::servers::files;

/// A Callboard with one page, of which there are all variants, and the page's path.
async fn with_page(tag: &'static str) -> (Callboard, String) {
    let callboard = Callboard::before(Scripted::new(page("page", tag)), "").await;
    let path = format!("{SITE}/index.html");
    for coding in CODINGS {
        ask_until(&callboard, &path, coding, coding).await;
    }
    (callboard, path)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_of_a_site_comes_byte_for_byte_in_every_coding() {
    let callboard = Callboard::before(Arc::new(callboard::sample::store()), "").await;
    let mut found = Vec::new();
    for file in files(&sample()) {
        let path = format!("/static/docs/{}/{file}", callboard::sample::ENTITY);
        let published = std::fs::read(sample().join(&file)).unwrap();
        let plain = callboard.get(&path).send().await.unwrap();
        let (plain_tag, may_vary) = (tag(&plain), varies(&plain));
        assert_eq!(coding(&plain), "identity");
        assert!(document(plain).await == published, "{file}");
        let mut is_useless = !may_vary;
        for wanted in CODINGS {
            let useless = if is_useless { 0.0 } else { counted(&callboard, "useless").await };
            // Until it is there, or is known to save nothing.
            until(async || {
                let is_there = coding(&ask(&callboard, &path, wanted).await) == wanted;
                is_useless = is_useless || !is_there && counted(&callboard, "useless").await > useless;
                is_there || is_useless
            })
            .await;
            let answer = ask(&callboard, &path, wanted).await;
            let head = asking(&callboard, Method::HEAD, &path, wanted).send().await.unwrap();
            for name in ["content-length", "content-encoding", "etag", "vary", "content-type"] {
                assert_eq!(head.headers().get(name), answer.headers().get(name), "{file} {name}");
            }
            let (coding, tag) = (coding(&answer), tag(&answer));
            assert_eq!(varies(&answer), may_vary);
            assert_eq!(tag, if coding == wanted { of_coding(&plain_tag, wanted) } else { plain_tag.clone() });
            let known =
                asking(&callboard, Method::GET, &path, wanted).header(IF_NONE_MATCH, &tag).send().await.unwrap();
            assert_eq!((known.status(), super::tag(&known)), (StatusCode::NOT_MODIFIED, tag));
            assert!(document(answer).await == published, "{file} in {coding}");
            found.push((file.clone(), coding));
        }
    }
    let of = |coding| found.iter().filter(|(_, found)| found == coding).map(|(file, _)| file.as_str()).collect();
    for coding in CODINGS {
        let files: Vec<&str> = of(coding);
        for file in ["index.html", "search/search_index.json", "images/journey.svg", "search/lunr.js"] {
            assert!(files.contains(&file), "{coding}: {files:?}");
        }
    }
    let plain: Vec<&str> = of("identity");
    assert!(plain.contains(&"images/board.png") && plain.contains(&"assets/images/favicon.png"), "{plain:?}");
}

/// `"a-br"` for `"a"`.
fn of_coding(tag: &str, coding: &str) -> String {
    format!("{}-{coding}\"", tag.strip_suffix('"').unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_chooses_and_where_it_does_not_care_the_smallest_is_sent() {
    let (callboard, path) = with_page("v1").await;
    for (accepted, expected) in [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip, zstd", "zstd"),
        ("gzip, br;q=0.5", "gzip"),
        ("*", "br"),
        ("*;q=0.1, br;q=0", "zstd"),
        ("deflate", "identity"),
        ("identity, br;q=0.5", "identity"),
        ("br;q=0", "identity"),
        ("identity;q=0, gzip", "gzip"),
        // Nothing that it takes: it is sent what there is, and may refuse that.
        ("identity;q=0", "identity"),
        ("", "identity"),
    ] {
        let answer = ask(&callboard, &path, accepted).await;
        assert_eq!((coding(&answer).as_str(), varies(&answer)), (expected, true), "{accepted}");
        assert!(document(answer).await == text("page", 6000), "{accepted}");
    }
    let silent = callboard.get(&path).send().await.unwrap();
    assert_eq!((coding(&silent).as_str(), varies(&silent)), ("identity", true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_known_whatever_coding_it_came_in() {
    for (tag, weak) in [("v1", ""), ("W/\"v1\"", "W/")] {
        let (callboard, path) = with_page(tag).await;
        for (accepted, known, expected) in [
            ("br, gzip", "\"v1-br\"", Some("\"v1-br\"")),
            ("br, gzip", "\"v1-gzip\"", Some("\"v1-gzip\"")),
            // As one has it who came first, before there was another.
            ("br, gzip", "\"v1\"", Some("\"v1\"")),
            ("br, gzip", "\"v0\", \"v1-gzip\"", Some("\"v1-gzip\"")),
            ("br, gzip", "*", Some("\"v1-br\"")),
            ("br, gzip", "\"v1-zstd\"", None),
            ("br, gzip", "\"v0-br\"", None),
            ("br, identity;q=0", "\"v1\"", None),
            ("", "\"v1-br\"", None),
            ("", "\"v1\"", Some("\"v1\"")),
        ] {
            for method in [Method::GET, Method::HEAD] {
                let request = asking(&callboard, method, &path, accepted).header(IF_NONE_MATCH, known);
                let answer = request.send().await.unwrap();
                let is_known = answer.status() == StatusCode::NOT_MODIFIED;
                let expected = expected.map(|tag| format!("{weak}{tag}"));
                assert_eq!(is_known.then(|| super::tag(&answer)), expected, "{accepted}: {known}");
                assert!(varies(&answer));
                assert!(!is_known || answer.headers().get(CONTENT_ENCODING).is_none());
            }
        }
        let wanted = async |name, value: &str| {
            asking(&callboard, Method::GET, &path, "br").header(name, value).send().await.unwrap().status()
        };
        // A weak tag is nothing to insist on.
        let strong = if weak.is_empty() { StatusCode::OK } else { StatusCode::PRECONDITION_FAILED };
        assert_eq!(wanted(IF_MATCH, "\"v1-br\"").await, strong);
        assert_eq!(wanted(IF_MATCH, "\"v1-gzip\"").await, StatusCode::PRECONDITION_FAILED);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_date_alone_tells_the_version_too() {
    let callboard = Callboard::start().await;
    callboard.write("long.html", text("page", 6000));
    let path = format!("{SITE}/long.html");
    let answer = ask_until(&callboard, &path, "br", "br").await;
    let (modified, expected) = (header(&answer, LAST_MODIFIED).unwrap(), tag(&answer));
    let request = asking(&callboard, Method::GET, &path, "br").header(IF_MODIFIED_SINCE, &modified);
    let again = request.send().await.unwrap();
    assert_eq!((again.status(), tag(&again)), (StatusCode::NOT_MODIFIED, expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_of_the_document_as_it_is_and_of_no_variant() {
    let (callboard, path) = with_page("v1").await;
    let whole = text("page", 6000);
    let part = async |method, condition: Option<&str>| {
        let request = asking(&callboard, method, &path, "br").header(RANGE, "bytes=10-19");
        let request = condition.into_iter().fold(request, |request, tag| request.header(IF_RANGE, tag));
        request.send().await.unwrap()
    };
    for condition in [None, Some("\"v1\"")] {
        let answer = part(Method::GET, condition).await;
        assert_eq!((answer.status(), tag(&answer).as_str()), (StatusCode::PARTIAL_CONTENT, "\"v1\""));
        assert_eq!((coding(&answer).as_str(), varies(&answer)), ("identity", true));
        assert_eq!(header(&answer, CONTENT_RANGE).unwrap(), "bytes 10-19/6000");
        assert_eq!(answer.bytes().await.unwrap(), whole.slice(10..20));
    }
    // Who has the beginning of a variant must not get the end of something else.
    let answer = part(Method::GET, Some("\"v1-br\"")).await;
    assert_eq!((answer.status(), tag(&answer).as_str()), (StatusCode::OK, "\"v1\""));
    assert!(document(answer).await == whole);
    let request = asking(&callboard, Method::GET, &path, "br").header(RANGE, "bytes=10-19");
    let insisting = request.header(IF_MATCH, "\"v1-br\"").send().await.unwrap();
    assert_eq!(insisting.status(), StatusCode::PRECONDITION_FAILED);
    let several = asking(&callboard, Method::GET, &path, "br").header(RANGE, "bytes=0-1,-2").send().await.unwrap();
    assert_eq!((several.status(), varies(&several)), (StatusCode::PARTIAL_CONTENT, true));
    assert!(header(&several, CONTENT_TYPE).unwrap().starts_with("multipart/byteranges"));
    assert_eq!(header(&several, CONTENT_ENCODING), None);
    // A range is for GET alone: this is what a GET of the whole would be.
    let head = part(Method::HEAD, None).await;
    assert_eq!((head.status(), coding(&head).as_str()), (StatusCode::OK, "br"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_never_compressed_does_not_vary() {
    let store = Scripted::new(Deed::Give(text("page", 900), "v1"));
    store.set("default/component/shop/photo.png", Deed::Give(noise(5000), "v1"));
    store.set("default/component/shop/film.html", Deed::Give(text("film", 200_000), "v1"));
    let callboard = Callboard::before(store, "  cache: { maxObjectBytes: 100KiB }").await;
    let off = Callboard::before(Scripted::new(page("page", "v1")), "  responses: { compression: false }").await;
    for (callboard, file, size) in [
        (&callboard, "small.html", 900),
        (&callboard, "photo.png", 5000),
        (&callboard, "film.html", 200_000),
        (&off, "a.html", 6000),
    ] {
        for _ in 0..3 {
            let answer = ask(callboard, &format!("{SITE}/{file}"), "br").await;
            assert_eq!((coding(&answer).as_str(), varies(&answer)), ("identity", false), "{file}");
            assert_eq!(answer.bytes().await.unwrap().len(), size);
        }
        assert_eq!(callboard.metric("callboard_cache_variants_total", &[]).await, 0.0, "{file}");
    }
}
