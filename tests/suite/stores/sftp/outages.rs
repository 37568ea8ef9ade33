//! A server that goes away, hangs, or has less to give than is wanted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use callboard::storage::{DocStore, GetOptions, SftpOptions, SftpStore, StoreError};
use futures_util::TryStreamExt;
use futures_util::future::join_all;
use rustix::process::Signal;

use super::{SITE, TIMEOUT, name, read, store};
use crate::support::load::{Load, Page, Place};
use crate::support::sshd::Sshd;
use crate::support::{Callboard, until};

/// Past the time for which a page is fresh.
const STALE: Duration = Duration::from_secs(400);

const READINESS: &str = "/.backstage/health/v1/readiness";

/// With a breaker that lets a try through soon.
const RESTLESS: &str = "  storage: { timeout: 2s, breaker: { pause: 100ms, longestPause: 200ms } }\n";

const OPERATIONS: &str = "callboard_storage_operation_duration_seconds_count";

/// Some pages, and a Callboard in front of them.
async fn callboard(sshd: &Sshd, timeout: Duration, section: &str) -> (Callboard, Arc<[Page]>) {
    let pages: Vec<Page> = (0..20).map(|page| (page.to_string(), format!("page {page}").into())).collect();
    for (name, contents) in &pages {
        sshd.write(&format!("{SITE}/{name}"), contents);
    }
    let store = Arc::new(SftpStore::new(sshd.options(), timeout));
    let callboard = Callboard::before(store, section).await;
    for (name, _) in &pages {
        assert_eq!(status(&callboard, name).await, 200);
    }
    (callboard, pages.into())
}

async fn status(callboard: &Callboard, name: &str) -> u16 {
    callboard.get(&format!("{}/{name}", crate::support::SITE)).send().await.unwrap().status().as_u16()
}

/// What a listener says of readiness.
async fn readiness(address: SocketAddr) -> String {
    reqwest::get(format!("http://{address}{READINESS}")).await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn a_body_that_is_cut_off_is_an_error() {
    let sshd = Sshd::start();
    sshd.write(&format!("{SITE}/large"), vec![b'a'; 50 * 1024 * 1024]);
    let mut object = store(&sshd).get(&name("large"), &GetOptions::default()).await.unwrap();
    object.body.try_next().await.unwrap().unwrap();
    sshd.kill();
    let rest = object.body.try_collect::<Vec<_>>().await;
    assert!(matches!(rest, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn a_server_that_was_started_anew_is_read_from_again() {
    let sshd = Sshd::start();
    sshd.write(&format!("{SITE}/page"), "page");
    let store = store(&sshd);
    assert_eq!(read(&store, "page").await.unwrap(), "page");
    sshd.kill();
    until(async || matches!(read(&store, "page").await, Err(StoreError::Unavailable(_)))).await;
    sshd.restart();
    assert_eq!(read(&store, "page").await.unwrap(), "page");
    sshd.restart();
    // Whether it has heard of the end or hears of it now, this one is asked for again.
    assert_eq!(read(&store, "page").await.unwrap(), "page");
}

#[tokio::test]
async fn a_server_that_says_nothing_any_more_is_given_up_within_the_timeout() {
    let sshd = Sshd::start();
    sshd.write(&format!("{SITE}/page"), "page");
    let store = SftpStore::new(sshd.options(), Duration::from_secs(2));
    assert_eq!(read(&store, "page").await.unwrap(), "page");
    sshd.signal(Signal::STOP);
    // The second time it still takes connections, and does not speak. Without us the client would notice after 45 seconds.
    for _ in 0..2 {
        let given_up =
            tokio::time::timeout(Duration::from_secs(20), read(&store, "page")).await.expect("it is given up");
        assert!(matches!(given_up, Err(StoreError::Unavailable(_))), "{given_up:?}");
    }
    sshd.signal(Signal::CONT);
    until(async || read(&store, "page").await.is_ok()).await;
    // Nothing is left of those that were given up.
    until(async || sshd.connections() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_who_find_no_connection_wait_for_one() {
    let sshd = Sshd::start();
    sshd.write(&format!("{SITE}/page"), "page");
    let store = store(&sshd);
    for result in join_all((0..100).map(|_| read(&store, "page"))).await {
        assert_eq!(result.unwrap(), "page");
    }
    assert!(sshd.logins() <= 2, "{}", sshd.logins());
    sshd.kill();
    for result in join_all((0..100).map(|_| read(&store, "page"))).await {
        assert!(matches!(result, Err(StoreError::Unavailable(_))), "{result:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_grants_fewer_channels_is_read_over_those() {
    let sshd = Sshd::with("Subsystem sftp internal-sftp -R\nMaxSessions 2\n");
    for page in 0..200 {
        sshd.write(&format!("{SITE}/{page}"), vec![b'a'; 100_000]);
    }
    let store = SftpStore::new(SftpOptions { connections: 1, channels: 8, ..sshd.options() }, TIMEOUT);
    for _ in 0..5 {
        let reads = (0..200).map(|page| {
            let store = &store;
            async move { assert_eq!(read(store, &page.to_string()).await.unwrap().len(), 100_000) }
        });
        join_all(reads).await;
    }
    assert_eq!(sshd.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_misses_at_a_time_take_no_more_connections_than_allowed() {
    let sshd = Sshd::start();
    let (callboard, _) = callboard(&sshd, TIMEOUT, "").await;
    for page in 0..200 {
        sshd.write(&format!("{SITE}/miss/{page}"), format!("page {page}").repeat(2000));
    }
    let misses = (0..200).map(|page| {
        let callboard = &callboard;
        async move { status(callboard, &format!("miss/{page}")).await }
    });
    assert_eq!(join_all(misses).await, [200; 200]);
    println!("200 misses at a time: {} connections, {} logins", sshd.connections(), sshd.logins());
    assert!(sshd.connections() <= 2 && sshd.logins() <= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_under_load_is_missed_by_nobody_who_reads_what_is_held() {
    let sshd = Sshd::start();
    let (callboard, pages) = callboard(&sshd, Duration::from_secs(2), RESTLESS).await;
    let load = Load::start(&[Place::of(&callboard)], &pages, 8).await;
    load.goes_on(100).await;
    sshd.kill();
    callboard.hand.advance(STALE);
    load.goes_on(200).await;
    until(async || callboard.metric("callboard_storage_breaker_openings_total", &[]).await > 0.0).await;
    assert_eq!(status(&callboard, "miss").await, 503);
    sshd.write(&format!("{SITE}/miss"), "back");
    sshd.restart();
    until(async || status(&callboard, "miss").await == 200).await;
    load.goes_on(100).await;
    let (failures, answers) = load.stop().await;
    assert!(failures.is_empty(), "{failures:?} of {answers}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_under_load_is_missed_by_nobody_who_reads_what_is_held() {
    let sshd = Sshd::start();
    let (callboard, pages) = callboard(&sshd, Duration::from_secs(2), RESTLESS).await;
    let load = Load::start(&[Place::of(&callboard)], &pages, 8).await;
    load.goes_on(100).await;
    sshd.signal(Signal::STOP);
    callboard.hand.advance(STALE);
    load.goes_on(200).await;
    assert!(matches!(status(&callboard, "miss").await, 503 | 504));
    sshd.write(&format!("{SITE}/miss"), "back");
    sshd.signal(Signal::CONT);
    until(async || status(&callboard, "miss").await == 200).await;
    let (failures, answers) = load.stop().await;
    assert!(failures.is_empty(), "{failures:?} of {answers}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_is_refused_under_load_keeps_what_is_held_alive() {
    let sshd = Sshd::start();
    let (callboard, pages) = callboard(&sshd, TIMEOUT, RESTLESS).await;
    let load = Load::start(&[Place::of(&callboard)], &pages, 8).await;
    load.goes_on(100).await;
    // Revoked: connections that are open outlive it, others are not made.
    sshd.make_key("other_key", "ed25519", "");
    sshd.accept("other_key");
    sshd.write(&format!("{SITE}/before"), "page");
    assert_eq!(status(&callboard, "before").await, 200);
    sshd.restart();
    callboard.hand.advance(STALE);
    until(async || callboard.metric(OPERATIONS, &["get", "denied"]).await > 0.0).await;
    load.goes_on(200).await;
    until(async || status(&callboard, "miss").await == 502).await;
    // Accepted again, without a restart.
    sshd.accept("user_key");
    sshd.write(&format!("{SITE}/after"), "page");
    until(async || status(&callboard, "after").await == 200).await;
    let (failures, answers) = load.stop().await;
    assert!(failures.is_empty(), "{failures:?} of {answers}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_host_key_under_load_keeps_what_is_held_alive() {
    let sshd = Sshd::start();
    let (callboard, pages) = callboard(&sshd, TIMEOUT, RESTLESS).await;
    let load = Load::start(&[Place::of(&callboard)], &pages, 8).await;
    load.goes_on(100).await;
    sshd.new_host_key("ed25519");
    sshd.restart();
    callboard.hand.advance(STALE);
    until(async || callboard.metric(OPERATIONS, &["get", "denied"]).await > 0.0).await;
    load.goes_on(200).await;
    until(async || status(&callboard, "miss").await == 502).await;
    // Readiness says what is to be done, to those who may know.
    until(async || {
        let _ = status(&callboard, "miss").await;
        callboard.hand.advance(Duration::from_secs(1));
        readiness(callboard.admin).await.contains("host key changed")
    })
    .await;
    assert!(!readiness(callboard.address).await.contains("SHA256"));
    let (failures, answers) = load.stop().await;
    assert!(failures.is_empty(), "{failures:?} of {answers}");
}
