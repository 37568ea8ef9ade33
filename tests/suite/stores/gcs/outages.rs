//! Tokens that end, keys that are revoked, and servers that go away, while people read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tempfile::TempDir;

use super::{PAGE, callboard, ended, publisher, readiness, section, status, with_credentials};
use crate::support::gcs::Gcs;
use crate::support::load::{Load, Place, turn};
use crate::support::relay::{Relay, Way};
use crate::support::{Callboard, Told, until};

/// Longer than anything is fresh.
const STALE: Duration = Duration::from_secs(400);

/// Some pages, in the bucket.
fn pages(gcs: &Gcs) -> Arc<[(String, Bytes)]> {
    let page = |number| {
        let (name, body) = (format!("{number}.html"), Bytes::from(format!("<h1>{number}</h1>")));
        gcs.write(&format!("default/component/shop/{name}"), body.clone());
        (name, body)
    };
    (0..8).map(page).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_end_every_few_seconds_fail_nobody() {
    let _turn = turn().await;
    let gcs = Gcs::start().await;
    gcs.rule(|rules| rules.lifetime = Duration::from_secs(4));
    let callboard = callboard(&gcs, "").await;
    let next = AtomicUsize::new(0);
    // Pages that nobody has read before, until the first tokens are long over.
    let reader = async |_| {
        while gcs.exchanges() < 5 {
            let name = format!("{}.html", next.fetch_add(1, Ordering::Relaxed));
            gcs.write(&format!("default/component/shop/{name}"), "page");
            assert_eq!(status(&callboard, &name).await, 200);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    join_all((0..8).map(reader)).await;
    assert_eq!((ended(&callboard, "denied").await, ended(&callboard, "unavailable").await), (0.0, 0.0));
    let renewals = callboard.metric("callboard_storage_credential_renewals_total", &["result=\"ok\""]).await;
    println!("GCS: {} misses over {renewals} tokens", next.load(Ordering::Relaxed));
    assert!(renewals >= 5.0 && gcs.exchanges() < 10, "{renewals} {}", gcs.exchanges());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nobody_gives_out_tokens_what_is_held_is_served_and_then_all_of_it() {
    let gcs = Gcs::start().await;
    gcs.rule(|rules| rules.lifetime = Duration::from_secs(3));
    let pages = pages(&gcs);
    let callboard = callboard(&gcs, "breaker: { pause: 100ms, longestPause: 200ms }").await;
    let load = Load::start(&[Place::of(&callboard)], &pages, 4).await;
    load.goes_on(100).await;
    gcs.rule(|rules| rules.tokens_fail = Some(503));
    gcs.write(PAGE, "page");
    // Until the last token ends, what is not there is absent.
    until(async || status(&callboard, &format!("{}.html", rand::random::<u64>())).await == 503).await;
    callboard.hand.advance(STALE);
    load.goes_on(200).await;
    assert!(ended(&callboard, "unavailable").await > 0.0);
    gcs.rule(|rules| rules.tokens_fail = None);
    until(async || status(&callboard, "index.html").await == 200).await;
    let (failures, _) = load.stop().await;
    assert!(failures.is_empty(), "{failures:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_keeps_what_is_held_alive_and_turns_readiness_red() {
    let gcs = Gcs::start().await;
    let pages = pages(&gcs);
    let callboard = callboard(&gcs, "").await;
    let load = Load::start(&[Place::of(&callboard)], &pages, 4).await;
    load.goes_on(100).await;
    until(async || readiness(&callboard).await.0 == 200).await;
    gcs.rule(|rules| rules.is_revoked = true);
    callboard.hand.advance(STALE);
    load.goes_on(200).await;
    gcs.write(PAGE, "page");
    assert_eq!(status(&callboard, "index.html").await, 502);
    until(async || readiness(&callboard).await.0 == 503).await;
    let (_, told) = readiness(&callboard).await;
    assert!(told.contains("401 Unauthorized") || told.contains("account not found"), "{told}");
    assert!(ended(&callboard, "denied").await >= 1.0);
    gcs.rule(|rules| rules.is_revoked = false);
    until(async || readiness(&callboard).await.0 == 200).await;
    assert_eq!(status(&callboard, "index.html").await, 200);
    let (failures, _) = load.stop().await;
    assert!(failures.is_empty(), "{failures:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_rotated_by_replacing_its_file() {
    let gcs = Gcs::start().await;
    gcs.rule(|rules| rules.lifetime = Duration::from_secs(3));
    let pages = pages(&gcs);
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("key.json");
    std::fs::write(&file, gcs.key().to_string()).unwrap();
    let variables = [("GOOGLE_APPLICATION_CREDENTIALS", file.to_str().unwrap())];
    let callboard = with_credentials(&gcs, None, "", &variables).await;
    let load = Load::start(&[Place::of(&callboard)], &pages, 4).await;
    load.goes_on(50).await;
    gcs.rotate_key();
    let failed = async || callboard.metric("callboard_storage_credential_renewals_total", &["result=\"failed\""]).await;
    until(async || failed().await > 0.0).await;
    std::fs::write(&file, gcs.key().to_string()).unwrap();
    let given = gcs.exchanges();
    until(async || gcs.exchanges() > given).await;
    callboard.hand.advance(STALE);
    load.goes_on(100).await;
    let (failures, _) = load.stop().await;
    assert!(failures.is_empty(), "{failures:?}");
    gcs.write(PAGE, "page");
    until(async || status(&callboard, "index.html").await == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_that_is_gone_is_left_alone_and_asked_again_once_it_is_back() {
    let gcs = Gcs::start().await;
    let pages = pages(&gcs);
    let relay = Relay::to(gcs.address).await;
    let breaker = "timeout: 2s, breaker: { failures: 3, pause: 100ms, longestPause: 200ms }";
    let section = section(&format!("http://{}", relay.address), breaker);
    let publisher = Some(publisher(Some(&gcs.key())));
    let callboard = Callboard::told(Told { section: &section, publisher, ..Told::default() }).await;
    let load = Load::start(&[Place::of(&callboard)], &pages, 4).await;
    load.goes_on(100).await;
    relay.set(Way::Refuse);
    callboard.hand.advance(STALE);
    gcs.write(PAGE, "page");
    let opened = async || callboard.metric("callboard_storage_breaker_openings_total", &[]).await;
    until(async || {
        assert_eq!(status(&callboard, "index.html").await, 503);
        opened().await >= 1.0
    })
    .await;
    load.goes_on(100).await;
    relay.set(Way::Pass);
    until(async || status(&callboard, "index.html").await == 200).await;
    let (failures, _) = load.stop().await;
    assert!(failures.is_empty(), "{failures:?}");
}
