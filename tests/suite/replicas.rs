//! Several Callboards on one Redis and one storage: what one finds, all know; what one fetched, none fetches again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use callboard::storage::{DocStore, StoreError};
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};

use crate::support::redis::Redis;
use crate::support::scripted::{Deed, Scripted};
use crate::support::{Callboard, SITE, Told, until};

const FOLDER: &str = "default/component/shop";

fn page(version: &'static str) -> Deed {
    Deed::Give(Bytes::from_static(version.as_bytes()), version)
}

fn key(file: &str) -> String {
    format!("{FOLDER}/{file}")
}

/// A site at version `v1`.
fn site() -> Arc<Scripted> {
    let store = Scripted::new(Deed::Fail(StoreError::Absent));
    for file in ["index.html", "guide.html", "techdocs_metadata.json"] {
        store.set(&key(file), page("v1"));
    }
    store
}

/// A Callboard that hears the others.
async fn replica(store: &Arc<Scripted>, redis: &Redis, site: &str) -> Callboard {
    let section = format!("  cache: {{ redis: {} }}\n  site: {{ {site} }}\n", redis.config());
    // What they share is told by the place that they read from.
    let publisher = Some("{ type: local, local: { publishDirectory: /site } }".to_owned());
    let store = Some(store.clone() as Arc<dyn DocStore>);
    let callboard = Callboard::told(Told { section: &section, publisher, store, ..Told::default() }).await;
    until(async || callboard.metric("callboard_redis_listening", &[]).await == 1.0).await;
    callboard
}

async fn replicas<const N: usize>(store: &Arc<Scripted>, redis: &Redis, site: &str) -> [Callboard; N] {
    let all = join_all((0..N).map(|_| replica(store, redis, site))).await;
    all.try_into().unwrap_or_else(|_| unreachable!("as many as were asked for"))
}

/// What a reader gets, and how it was come by.
async fn read(callboard: &Callboard, file: &str) -> (String, String) {
    let answer = callboard.get(&format!("{SITE}/{file}")).send().await.unwrap();
    let how = answer.headers().get("cache-status").map(|how| how.to_str().unwrap().to_owned()).unwrap_or_default();
    (answer.text().await.unwrap(), how)
}

async fn body(callboard: &Callboard, file: &str) -> String {
    read(callboard, file).await.0
}

/// Waits until Redis has what this one fetched.
async fn written(callboard: &Callboard) {
    until(async || callboard.metric("callboard_cache_shared_queue_operations", &[]).await == 0.0).await;
}

const UNWATCHED: &str = "publishCheck: 0s, settleFor: 0s";

#[tokio::test(flavor = "multi_thread")]
async fn what_one_fetched_the_others_have_with_its_true_age() {
    let (store, redis) = (site(), Redis::plain());
    let [one, two] = replicas(&store, &redis, UNWATCHED).await;
    assert_eq!(body(&one, "index.html").await, "v1");
    written(&one).await;
    two.hand.advance(Duration::from_secs(100));
    let (body, how) = read(&two, "index.html").await;
    assert_eq!(body, "v1");
    let left: u64 = how.strip_prefix("callboard; hit; ttl=").unwrap().split(';').next().unwrap().parse().unwrap();
    assert!(how.ends_with("detail=redis") && (190..=200).contains(&left), "{how}");
    assert!(read(&two, "index.html").await.1.ends_with("detail=memory"));
    assert_eq!(store.gets_of(&key("index.html")), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_redis_is_shared_through() {
    for (form, redis) in [
        ("plain", Redis::plain()),
        ("ACL", Redis::acl("docs", "secret")),
        ("TLS", Redis::tls(false)),
        ("TLS with the client's certificate", Redis::tls(true)),
        ("cluster", Redis::cluster()),
        ("cluster with TLS", Redis::cluster_tls()),
        ("sentinel", Redis::sentinel()),
    ] {
        let store = site();
        let [one, two] = replicas(&store, &redis, UNWATCHED).await;
        for file in ["index.html", "guide.html"] {
            assert_eq!(body(&one, file).await, "v1", "{form}");
            written(&one).await;
            let (body, how) = read(&two, file).await;
            assert!(body == "v1" && how.ends_with("detail=redis"), "{form}: {body} {how}");
            assert_eq!(store.gets_of(&key(file)), 1, "{form}");
        }
        store.set(&key("index.html"), page("v2"));
        one.hand.advance(Duration::from_secs(400));
        assert_eq!(body(&one, "index.html").await, "v2", "{form}");
        // By the clock of the other it is fresh yet: it has been told.
        until(async || body(&two, "index.html").await == "v2").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_begins_with_what_redis_has() {
    let (store, redis) = (site(), Redis::plain());
    let one = replica(&store, &redis, UNWATCHED).await;
    body(&one, "index.html").await;
    written(&one).await;
    one.stop().await;
    let again = replica(&store, &redis, UNWATCHED).await;
    let (_, how) = read(&again, "index.html").await;
    assert!(how.ends_with("detail=redis"), "{how}");
    assert_eq!(store.gets_of(&key("index.html")), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_304_renews_both_tiers() {
    let (store, redis) = (site(), Redis::plain());
    let [one, two] = replicas(&store, &redis, UNWATCHED).await;
    body(&one, "index.html").await;
    written(&one).await;
    for callboard in [&one, &two] {
        callboard.hand.advance(Duration::from_secs(400));
    }
    assert!(read(&one, "index.html").await.1.contains("fwd-status=304"));
    written(&one).await;
    assert!(read(&two, "index.html").await.1.ends_with("detail=redis"));
    assert_eq!(store.gets_of(&key("index.html")), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn once_one_has_seen_a_new_version_none_serves_the_old_one() {
    let (store, redis) = (site(), Redis::plain());
    let [one, two, three] = replicas(&store, &redis, UNWATCHED).await;
    for callboard in [&one, &two] {
        assert_eq!(body(callboard, "index.html").await, "v1");
    }
    store.set(&key("index.html"), page("v2"));
    // The third has never seen the page, and yet tells the others that theirs is not the newest.
    redis.flush();
    assert_eq!(body(&three, "index.html").await, "v2");
    for callboard in [&one, &two] {
        until(async || body(callboard, "index.html").await == "v2").await;
    }
    assert!(store.gets_of(&key("index.html")) <= 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_that_one_finds_shows_on_all() {
    let (store, redis) = (site(), Redis::plain());
    let [one, two, three] = replicas(&store, &redis, "publishCheck: 1s").await;
    for callboard in [&one, &two, &three] {
        assert_eq!(body(callboard, "index.html").await, "v1");
        assert_eq!(body(callboard, "guide.html").await, "v1");
    }
    until(async || store.gets_of(&key("techdocs_metadata.json")) > 0).await;
    for file in ["index.html", "guide.html", "techdocs_metadata.json"] {
        store.set(&key(file), page("v2"));
    }
    // By the clock of only one of them it is time to look; whose turn it is is a matter of Redis' clock.
    until(async || {
        one.hand.advance(Duration::from_millis(100));
        tokio::time::sleep(Duration::from_millis(100)).await;
        body(&one, "index.html").await == "v2"
    })
    .await;
    for callboard in [&two, &three] {
        until(async || body(callboard, "guide.html").await == "v2").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_page_is_gone_everywhere() {
    let (store, redis) = (site(), Redis::plain());
    let [one, two] = replicas(&store, &redis, UNWATCHED).await;
    for callboard in [&one, &two] {
        body(callboard, "index.html").await;
    }
    store.set(&key("index.html"), Deed::Fail(StoreError::Absent));
    one.hand.advance(Duration::from_secs(400));
    assert!(read(&one, "index.html").await.0.contains("NotFoundError"));
    until(async || body(&two, "index.html").await.contains("NotFoundError")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_readers_of_a_hundred_cold_pages_cost_a_hundred_gets() {
    const PAGES: usize = 100;
    const READERS: usize = 10_000;
    let store = Scripted::held(page("v1"));
    let redis = Redis::plain();
    let replicas: [Callboard; 3] = replicas(&store, &redis, UNWATCHED).await;
    let readers = stream::iter(0..READERS).for_each_concurrent(600, async |reader| {
        let page = format!("{}.html", reader / 3 % PAGES);
        assert_eq!(body(&replicas[reader % 3], &page).await, "v1");
    });
    // A storage that takes its time, so that readers come to all replicas before a page does.
    let storage = async {
        loop {
            tokio::time::sleep(Duration::from_millis(5)).await;
            store.gate.add_permits(1);
        }
    };
    tokio::select! {
        () = readers => {}
        () = storage => {}
    }
    assert_eq!(store.gets(), PAGES);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_others_nothing_from_before_is_trusted() {
    let (store, redis) = (site(), Redis::plain());
    let one = replica(&store, &redis, UNWATCHED).await;
    body(&one, "index.html").await;
    written(&one).await;
    redis.kill();
    until(async || one.metric("callboard_redis_listening", &[]).await == 0.0).await;
    store.set(&key("index.html"), page("v2"));
    // Something may have been said that was not heard.
    until(async || body(&one, "index.html").await == "v2").await;
    assert!(read(&one, "index.html").await.1.ends_with("detail=memory"), "but requests go on at memory's speed");
    store.set(&key("index.html"), page("v3"));
    one.hand.advance(Duration::from_secs(10));
    assert_eq!(body(&one, "index.html").await, "v3", "and nothing new is trusted for long");
    redis.restart();
    // The tier comes back by itself, with what is read then.
    until(async || {
        body(&one, "index.html").await;
        !redis.command::<Vec<String>>(&["KEYS", "*index.html*"]).is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_while_redis_was_away_is_caught_up_with() {
    let (store, redis) = (site(), Redis::plain());
    let [one, two] = replicas(&store, &redis, "publishCheck: 10s").await;
    for callboard in [&one, &two] {
        body(callboard, "index.html").await;
        body(callboard, "guide.html").await;
        written(callboard).await;
    }
    // Redis comes back with what it had, as after a restart from its file.
    redis.stop();
    for callboard in [&one, &two] {
        until(async || callboard.metric("callboard_redis_listening", &[]).await == 0.0).await;
    }
    for file in ["index.html", "guide.html", "techdocs_metadata.json"] {
        store.set(&key(file), page("v2"));
    }
    one.hand.advance(Duration::from_secs(10));
    until(async || body(&one, "index.html").await == "v2").await;
    redis.cont();
    for callboard in [&one, &two] {
        until(async || callboard.metric("callboard_redis_listening", &[]).await == 1.0).await;
    }
    until(async || body(&two, "guide.html").await == "v2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_found_while_redis_was_away_is_told_when_it_is_back() {
    let (store, redis) = (site(), Redis::plain());
    let [one, two] = replicas(&store, &redis, UNWATCHED).await;
    for callboard in [&one, &two] {
        body(callboard, "index.html").await;
        written(callboard).await;
    }
    redis.stop();
    for callboard in [&one, &two] {
        until(async || callboard.metric("callboard_redis_listening", &[]).await == 0.0).await;
    }
    // No publish: a page was changed by hand.
    store.set(&key("index.html"), page("v2"));
    until(async || body(&one, "index.html").await == "v2").await;
    redis.cont();
    until(async || two.metric("callboard_redis_listening", &[]).await == 1.0).await;
    // Redis still has the old one, and has it be younger than five minutes.
    until(async || body(&two, "index.html").await == "v2").await;
    assert_eq!(body(&one, "index.html").await, "v2");
    until(async || body(&replica(&store, &redis, UNWATCHED).await, "index.html").await == "v2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_redis_has_of_a_site_that_was_idle_is_served_after_a_look() {
    let (store, redis) = (site(), Redis::plain());
    let [one, two] = replicas(&store, &redis, "publishCheck: 10s").await;
    body(&one, "index.html").await;
    until(async || store.gets_of(&key("techdocs_metadata.json")) > 0).await;
    written(&one).await;
    for file in ["index.html", "techdocs_metadata.json"] {
        store.set(&key(file), page("v2"));
    }
    two.hand.advance(Duration::from_secs(240));
    assert_eq!(body(&two, "index.html").await, "v2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_boards_an_old_fetch_is_not_served_what_is_known_to_be_old() {
    let store = Scripted::held(page("v1"));
    let redis = Redis::plain();
    let [one, two] = replicas(&store, &redis, UNWATCHED).await;
    // One that was asked for before the page changed, and takes its time on the way back.
    store.hold_answers(true);
    let early = tokio::spawn(one.get(&format!("{SITE}/index.html")).send());
    store.gate.add_permits(1);
    until(async || store.held_answers() == 1).await;
    store.hold_answers(false);
    store.now(page("v2"));
    store.gate.add_permits(10);
    redis.command::<()>(&["FLUSHALL"]);
    assert_eq!(body(&two, "index.html").await, "v2");
    let late = tokio::spawn(one.get(&format!("{SITE}/index.html")).send());
    until(async || one.metric("http_server_active_requests", &["GET"]).await == 2.0).await;
    written(&two).await;
    store.release_answers();
    assert_eq!(late.await.unwrap().unwrap().text().await.unwrap(), "v2");
    early.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn callboards_of_different_storages_share_nothing_on_one_redis() {
    let redis = Redis::plain();
    let section = format!("  cache: {{ redis: {} }}\n", redis.config());
    let [one, two] = [Callboard::with(&section).await, Callboard::with(&section).await];
    two.write("index.html", "<h1>Another shop</h1>");
    assert_eq!(body(&one, "index.html").await, "<h1>Shop</h1>");
    written(&one).await;
    assert_eq!(body(&two, "index.html").await, "<h1>Another shop</h1>");
}
