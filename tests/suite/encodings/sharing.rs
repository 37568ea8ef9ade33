//! What one replica has compressed, the others need not.

use std::sync::Arc;

use callboard::storage::DocStore;

use super::*;
use crate::support::redis::Redis;
use crate::support::scripted::Scripted;
use crate::support::{SITE, Told};

/// A Callboard in front of `store` that shares through `redis`.
async fn replica(store: &Arc<Scripted>, redis: &Redis) -> Callboard {
    let section = format!("  cache: {{ redis: {} }}\n", redis.config());
    // What they share is told by the place that they read from.
    let publisher = Some("{ type: local, local: { publishDirectory: /site } }".to_owned());
    let store = Some(store.clone() as Arc<dyn DocStore>);
    let callboard = Callboard::told(Told { section: &section, publisher, store, ..Told::default() }).await;
    until(async || callboard.metric("callboard_redis_listening", &[]).await == 1.0).await;
    callboard
}

/// Waits until Redis has what this one fetched and made.
async fn written(callboard: &Callboard) {
    until(async || callboard.metric("callboard_cache_shared_queue_operations", &[]).await == 0.0).await;
}

async fn made(callboard: &Callboard) -> f64 {
    counted(callboard, "made").await + counted(callboard, "useless").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_replica_makes_none_nor_does_one_that_was_started_anew() {
    // A cluster wants all of a document on one server.
    for redis in [Redis::plain(), Redis::cluster()] {
        let store = Scripted::new(page("page", "v1"));
        store.set("default/component/shop/noise.txt", Deed::Give(noise(20_000), "v1"));
        // In several pieces.
        let digits: String = noise(600_000).iter().map(|byte| format!("{byte:02x}")).collect();
        store.set("default/component/shop/digits.json", Deed::Give(digits.clone().into(), "v1"));
        let one = replica(&store, &redis).await;
        let (index, digits_path) = (format!("{SITE}/index.html"), format!("{SITE}/digits.json"));
        for coding in CODINGS {
            ask_until(&one, &index, coding, coding).await;
        }
        ask_until(&one, &digits_path, "br", "br").await;
        until(async || {
            ask(&one, &format!("{SITE}/noise.txt"), "br").await;
            counted(&one, "useless").await == 1.0
        })
        .await;
        written(&one).await;
        one.stop().await;
        for _ in 0..2 {
            let other = replica(&store, &redis).await;
            for coding in CODINGS {
                let answer = ask_until(&other, &index, coding, coding).await;
                assert!(document(answer).await == text("page", 6000), "{coding}");
            }
            assert!(document(ask_until(&other, &digits_path, "br", "br").await).await == digits);
            until(async || {
                ask(&other, &format!("{SITE}/noise.txt"), "br").await;
                counted(&other, "redis").await == 5.0
            })
            .await;
            assert_eq!(made(&other).await, 0.0);
            other.stop().await;
        }
        assert_eq!(store.gets_of("default/component/shop/index.html"), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variant_of_an_older_version_is_not_taken_for_the_newer() {
    let (store, redis) = (Scripted::new(page("one", "v1")), Redis::plain());
    let path = format!("{SITE}/index.html");
    let one = replica(&store, &redis).await;
    ask_until(&one, &path, "br", "br").await;
    written(&one).await;
    let other = replica(&store, &redis).await;
    store.now(page("two", "v2"));
    let url = format!("http://{}/.callboard/v1/purge?all=true", other.admin);
    assert!(reqwest::Client::new().post(url).send().await.unwrap().status().is_success());
    for callboard in [&other, &one] {
        until(async || tag(&ask(callboard, &path, "br").await).starts_with("\"v2")).await;
        let answer = ask_until(callboard, &path, "br", "br").await;
        assert_eq!(tag(&answer), "\"v2-br\"");
        assert!(document(answer).await == text("two", 6000));
        written(callboard).await;
    }
    // The first that read the new version made it for both.
    assert_eq!((made(&other).await, made(&one).await), (1.0, 1.0));
    assert_eq!(counted(&one, "redis").await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_each_makes_its_own_and_no_request_fails() {
    let (store, redis) = (Scripted::new(page("page", "v1")), Redis::plain());
    let callboard = replica(&store, &redis).await;
    ask_until(&callboard, &format!("{SITE}/before.html"), "br", "br").await;
    redis.kill();
    for file in ["before.html", "a.html", "b.html"] {
        let path = format!("{SITE}/{file}");
        for coding in CODINGS {
            let answer = ask_until(&callboard, &path, coding, coding).await;
            assert_eq!(answer.status(), 200);
            assert!(document(answer).await == text("page", 6000), "{file} {coding}");
        }
    }
    assert_eq!(counted(&callboard, "made").await, 9.0);
}
