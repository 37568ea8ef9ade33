//! Whose turn it is to read from storage.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use callboard::breaker::Rules;
use callboard::clock::Clock;
use callboard::docs::{Locator, Options as DocsOptions, StorageKey};
use callboard::storage::{Bounds, OriginOptions, Origins, StoreError, StoreOptions, Wanted, Whole};
use callboard::telemetry::Instruments;
use futures_util::future::{join_all, pending};

use crate::support::scripted::{Deed, Scripted};
use crate::support::{SITE, until};

fn page() -> Deed {
    Deed::Give(Bytes::from_static(b"page"), "v1")
}

/// With eight places for readers, and so two for what nobody waits for.
fn reader(store: &Arc<Scripted>) -> Arc<Origins> {
    let bounds = Bounds {
        max_concurrent: 8,
        max_queue: 1000,
        queue_timeout: Duration::from_secs(60),
        max_streams: 8,
        breaker: Some(Rules {
            failures: 3,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(4),
        }),
        ..Bounds::default()
    };
    let options = OriginOptions { bounds, ..OriginOptions::new("docs", StoreOptions::Sample) };
    Arc::new(Origins::only(store.clone(), &options, &Instruments::new().unwrap(), Clock::System))
}

fn as_ever(key: &StorageKey) -> Wanted<'_> {
    Wanted { key, generation: 0 }
}

fn key(name: usize) -> StorageKey {
    Locator::new(DocsOptions::default()).locate(&format!("{SITE}/{name}")).unwrap().key
}

async fn fetch(reader: &Origins, name: usize) -> Result<Whole, StoreError> {
    reader.fetch(as_ever(&key(name)), None, 1000).await
}

#[tokio::test]
async fn a_storm_of_refreshes_takes_a_quarter_as_many_places_and_none_of_the_readers() {
    let store = Scripted::held(page());
    let reader = reader(&store);
    let refreshes: Vec<_> = (0..1000)
        .map(|name| {
            let reader = Arc::clone(&reader);
            tokio::spawn(async move { reader.fetch_behind(as_ever(&key(name)), None, 1000).await })
        })
        .collect();
    // All but two are turned away while storage has not answered yet.
    until(async || refreshes.iter().filter(|refresh| refresh.is_finished()).count() == 998).await;
    assert_eq!(store.running(), 2);
    let readers: Vec<_> = (0..8)
        .map(|name| {
            let reader = Arc::clone(&reader);
            tokio::spawn(async move { fetch(&reader, name).await })
        })
        .collect();
    until(async || store.running() == 10).await;
    store.gate.add_permits(10);
    for reader in join_all(readers).await {
        assert!(matches!(reader.unwrap(), Ok(Whole::Body(..))));
    }
    let refreshed = join_all(refreshes).await.into_iter().filter(|refresh| matches!(refresh, Ok(Ok(_)))).count();
    assert_eq!((refreshed, store.gets(), store.most_running()), (2, 10, 10));
}

#[tokio::test]
async fn while_readers_wait_nothing_is_refreshed_and_what_has_time_comes_after_them() {
    let store = Scripted::held(page());
    let reader = reader(&store);
    let spawn = |name: usize| {
        let reader = Arc::clone(&reader);
        tokio::spawn(async move { fetch(&reader, name).await.map(drop) })
    };
    let readers: Vec<_> = (0..9).map(spawn).collect();
    // The ninth waits once the others run, and a refresh would find a place.
    until(async || store.running() == 8).await;
    until(async || matches!(reader.fetch_behind(as_ever(&key(100)), Some(&tag()), 1000).await, Err(StoreError::Busy)))
        .await;
    let leisurely = tokio::spawn({
        let reader = Arc::clone(&reader);
        async move { reader.fetch_at_leisure(as_ever(&key(200)), None, 1000, pending).await.map(drop) }
    });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.gets(), 8, "neither it nor the ninth reader has begun");
    // The first place that is free is the ninth reader's, the next one is nobody's.
    store.gate.add_permits(1);
    until(async || store.gets() == 9).await;
    store.gate.add_permits(1);
    until(async || store.gets() == 10).await;
    store.gate.add_permits(8);
    for result in join_all(readers.into_iter().chain([leisurely])).await {
        result.unwrap().unwrap();
    }
}

fn tag() -> callboard::http::etag::ETag {
    callboard::http::etag::ETag::from_store("v0").unwrap()
}

#[tokio::test]
async fn what_has_time_is_never_turned_away_and_never_too_many_at_once() {
    let store = Scripted::new(page());
    let reader = reader(&store);
    let all = (0..100).map(|name| {
        let reader = Arc::clone(&reader);
        async move { reader.fetch_at_leisure(as_ever(&key(name)), None, 1000, pending).await }
    });
    assert!(join_all(all).await.iter().all(Result::is_ok));
    assert_eq!(store.gets(), 100);
    assert!(store.most_running() <= 2);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_left_alone_and_tried_once_at_a_time() {
    let store = Scripted::new(Deed::Hang);
    let reader = reader(&store);
    for name in 0..3 {
        assert!(matches!(fetch(&reader, name).await, Err(StoreError::Timeout(_))));
    }
    let Err(StoreError::Resting { retry_after }) = fetch(&reader, 3).await else { panic!("it rests") };
    assert!(retry_after <= Duration::from_millis(1200), "{retry_after:?}");
    assert!(matches!(reader.fetch_behind(as_ever(&key(4)), None, 1000).await, Err(StoreError::Resting { .. })));
    assert_eq!(store.gets(), 3);
    tokio::time::advance(Duration::from_millis(1300)).await;
    // One of many is the probe; it hangs, and the others don't wait for it.
    let tries = join_all((0..100).map(|name| fetch(&reader, name))).await;
    assert_eq!(tries.iter().filter(|tried| matches!(tried, Err(StoreError::Timeout(_)))).count(), 1);
    assert_eq!(store.gets(), 4);
    tokio::time::advance(Duration::from_millis(2500)).await;
    store.now(page());
    assert!(fetch(&reader, 5).await.is_ok());
    assert!(join_all((0..100).map(|name| fetch(&reader, name))).await.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_leaves_counts_for_nothing() {
    let store = Scripted::new(Deed::Hang);
    let reader = reader(&store);
    for name in 0..10 {
        assert!(tokio::time::timeout(Duration::from_secs(1), fetch(&reader, name)).await.is_err());
    }
    store.now(page());
    assert!(fetch(&reader, 0).await.is_ok());
    assert_eq!(store.gets(), 11);
}
