//! How variants come to be, and how long they stay.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use callboard::cache::DocCache;
use callboard::clock::Clock;
use callboard::docs::{self, Locator};
use callboard::http::negotiation::{Accepted, Coding};
use callboard::storage::{OriginOptions, Origins, StoreOptions};
use callboard::telemetry::Instruments;
use futures_util::future::join_all;
use http::StatusCode;

use super::*;
use crate::support::scripted::Scripted;
use crate::support::{SITE, configuration};

/// How many variants were made, in bytes before and after.
async fn made(callboard: &Callboard) -> (f64, f64, f64) {
    let bytes = async |when| {
        callboard.metric("callboard_cache_variants_size_bytes_total", &[&format!("when=\"{when}\"")]).await
    };
    (counted(callboard, "made").await, bytes("before").await, bytes("after").await)
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_read_a_page_it_is_compressed_once_and_never_on_a_hit() {
    let callboard = Callboard::before(Scripted::new(page("page", "v1")), "").await;
    let path = format!("{SITE}/index.html");
    let readers = async || join_all((0..100).map(|_| ask(&callboard, &path, "gzip, br"))).await;
    for answer in readers().await {
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(document(answer).await == text("page", 6000));
    }
    ask_until(&callboard, &path, "gzip, br", "br").await;
    let after_the_first = made(&callboard).await;
    assert_eq!((after_the_first.0, after_the_first.1), (1.0, 6000.0));
    for answer in readers().await {
        assert_eq!(coding(&answer), "br");
        let length: f64 = header(&answer, CONTENT_LENGTH).unwrap().parse().unwrap();
        assert_eq!(length, after_the_first.2);
        assert!(document(answer).await == text("page", 6000));
    }
    assert_eq!(made(&callboard).await, after_the_first);
    assert_eq!(counted(&callboard, "dropped").await + counted(&callboard, "outdated").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_reader_does_not_wait_for_it() {
    let callboard = Callboard::before(Scripted::new(Deed::Give(text("page", 4 << 20), "v1")), "").await;
    let path = format!("{SITE}/index.html");
    let first = ask(&callboard, &path, "br").await;
    assert_eq!((coding(&first).as_str(), tag(&first).as_str()), ("identity", "\"v1\""));
    assert!(document(ask_until(&callboard, &path, "br", "br").await).await == text("page", 4 << 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_shrink_is_tried_once() {
    let store = Scripted::new(page("another", "v1"));
    store.set("default/component/shop/noise.txt", Deed::Give(noise(20_000), "v1"));
    let callboard = Callboard::before(store, "").await;
    let path = format!("{SITE}/noise.txt");
    until(async || {
        let answer = ask(&callboard, &path, "gzip, br, zstd").await;
        assert_eq!((coding(&answer).as_str(), varies(&answer)), ("identity", true));
        counted(&callboard, "useless").await > 0.0
    })
    .await;
    for accepted in ["gzip, br, zstd", "gzip", "zstd"] {
        assert!(document(ask(&callboard, &path, accepted).await).await == noise(20_000));
    }
    // One behind which anything else that was asked for would have been tried before.
    ask_until(&callboard, &format!("{SITE}/index.html"), "br", "br").await;
    assert_eq!((counted(&callboard, "useless").await, counted(&callboard, "made").await), (1.0, 1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_confirmed_or_fetched_anew_keeps_its_variants() {
    let store = Scripted::new(page("page", "v1"));
    let callboard = Callboard::before(store.clone(), "  cache: { staleWhileRevalidate: 0s }").await;
    let path = format!("{SITE}/index.html");
    ask_until(&callboard, &path, "br", "br").await;
    for (tag_of_now, how) in [("v1", "fwd-status=304"), ("v2", "fwd-status=200")] {
        store.now(page("page", tag_of_now));
        callboard.hand.advance(Duration::from_secs(400));
        let answer = ask(&callboard, &path, "br").await;
        let status = header(&answer, "cache-status").unwrap();
        assert!(status.contains(how), "{status}");
        assert_eq!((coding(&answer), tag(&answer)), ("br".to_owned(), format!("\"{tag_of_now}-br\"")));
        assert!(document(answer).await == text("page", 6000));
    }
    assert_eq!(counted(&callboard, "made").await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_page_never_comes_in_a_variant_of_the_old_one() {
    const VERSIONS: usize = 25;
    let tags: Vec<&'static str> = (0..VERSIONS).map(|version| &*format!("v{version}").leak()).collect();
    let store = Scripted::new(page(tags[0], tags[0]));
    let callboard = Arc::new(Callboard::before(store.clone(), "").await);
    let path = format!("{SITE}/index.html");
    let (is_over, newest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let readers: Vec<_> = ["br", "gzip, zstd", "gzip", "br;q=0.1, gzip", "identity", "br, gzip"]
        .into_iter()
        .map(|accepted| {
            let (callboard, path) = (Arc::clone(&callboard), path.clone());
            let (is_over, newest) = (Arc::clone(&is_over), Arc::clone(&newest));
            tokio::spawn(async move {
                let mut compressed = 0;
                while !is_over.load(Ordering::SeqCst) {
                    let at_least = newest.load(Ordering::SeqCst);
                    let answer = ask(&callboard, &path, accepted).await;
                    let tag = tag(&answer);
                    let version = tag.trim_matches('"').split('-').next().unwrap().to_owned();
                    compressed += usize::from(tag.contains('-'));
                    assert_eq!(tag.contains('-'), coding(&answer) != "identity", "{tag}");
                    assert!(document(answer).await == text(&version, 6000), "{tag}");
                    assert!(version[1..].parse::<usize>().unwrap() >= at_least, "{tag} after v{at_least}");
                }
                compressed
            })
        })
        .collect();
    for (version, tag) in tags.iter().enumerate().skip(1) {
        // Some versions have all their variants before they are replaced, some none.
        if version % 3 == 0 {
            ask_until(&callboard, &path, "br", "br").await;
        }
        store.now(page(tag, tag));
        let url = format!("http://{}/.callboard/v1/purge?all=true", callboard.admin);
        assert!(reqwest::Client::new().post(url).send().await.unwrap().status().is_success());
        newest.store(version, Ordering::SeqCst);
    }
    ask_until(&callboard, &path, "br", "br").await;
    is_over.store(true, Ordering::SeqCst);
    let compressed: usize = join_all(readers).await.into_iter().map(Result::unwrap).sum();
    assert!(compressed > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_with_variants_too() {
    const BUDGET: f64 = 1_048_576.0;
    // Half as large when it is compressed, and no less.
    let digits: String = noise(40_000).iter().map(|byte| format!("{byte:02x}")).collect();
    let store = Scripted::new(Deed::Give(digits.clone().into(), "v1"));
    let callboard = Callboard::before(store, "  cache: { memory: { maxBytes: 1MiB }, maxObjectBytes: 100KiB }").await;
    let used = async || callboard.metric("callboard_cache_memory_size_bytes", &[]).await;
    let tried = async || callboard.metric("callboard_cache_variants_total", &[]).await;
    ask(&callboard, &format!("{SITE}/0.html"), "").await;
    let plain = used().await;
    for coding in CODINGS {
        ask_until(&callboard, &format!("{SITE}/0.html"), coding, coding).await;
    }
    let (_, before, after) = made(&callboard).await;
    assert_eq!(before, 240_000.0);
    let grown = used().await - plain;
    // What counts is the blocks that they are in, which may be a quarter larger.
    assert!((after..after * 1.25 + 1000.0).contains(&grown), "{grown} for {after}");
    for number in 1..20 {
        for accepted in CODINGS {
            let before = tried().await;
            // Where memory lets the page go first, it is tried all the same.
            until(async || {
                let answer = ask(&callboard, &format!("{SITE}/{number}.html"), accepted).await;
                let is_there = coding(&answer) == accepted;
                assert!(document(answer).await == digits);
                is_there || tried().await > before
            })
            .await;
        }
        assert!(used().await <= BUDGET);
    }
    // Twice as much as there is room for.
    let (count, _, after) = made(&callboard).await;
    assert!(after > BUDGET, "{after} bytes of {count}");
    assert!(used().await > BUDGET / 2.0);
}

#[tokio::test]
async fn what_finds_no_place_in_the_queue_is_made_for_a_later_reader() {
    const PLACES: usize = 1024;
    let instruments = Arc::new(Instruments::new().unwrap());
    let options = OriginOptions::new("docs", StoreOptions::Sample);
    let storage = Origins::only(Scripted::new(page("page", "v1")), &options, &instruments, Clock::System);
    let options = configuration("techdocs: { publisher: { local: { publishDirectory: /site } } }").resolved.cache;
    let cache = DocCache::new(Arc::new(storage), None, options, Clock::System, Arc::clone(&instruments));
    let locator = Locator::new(docs::Options::default());
    let keys: Vec<_> =
        (0..PLACES + 10).map(|page| locator.locate(&format!("{SITE}/{page}.html")).unwrap().key).collect();
    let accepted = Accepted::of(&[(ACCEPT_ENCODING, "gzip".parse().unwrap())].into_iter().collect());
    let counted = |result: &str| {
        let text = instruments.prometheus().unwrap();
        let series = format!("callboard_cache_variants_total{{coding=\"gzip\",result=\"{result}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&series)).unwrap().parse::<usize>().unwrap()
    };
    let mut entries = Vec::new();
    for key in &keys {
        entries.push(cache.fetch(key).await.unwrap().entry);
    }
    // Nobody works on the queue before this task waits for something; each page is asked for twice.
    for (key, entry) in keys.iter().zip(&entries).chain(keys.iter().zip(&entries).take(PLACES)) {
        assert!(cache.variant(key, entry, accepted).is_none());
    }
    assert_eq!(counted("dropped"), 10);
    until(async || counted("made") == PLACES).await;
    for key in &keys {
        let found = cache.fetch(key).await.unwrap();
        cache.variant(key, &found.entry, accepted);
    }
    until(async || counted("made") == PLACES + 10).await;
    for key in &keys {
        let found = cache.fresh(key).unwrap();
        let (coding, bytes) = cache.variant(key, &found.entry, accepted).unwrap();
        assert!(coding == Coding::Gzip && decoded("gzip", bytes) == text("page", 6000), "{key}");
    }
    assert_eq!((counted("dropped"), counted("outdated"), counted("failed")), (10, 0, 0));
}
