//! What is read from a bucket.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use callboard::storage::StoreError;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{PAGE, callboard, contract, ended, publisher, section, status};
use crate::support::gcs::{BUCKET, Gcs};
use crate::support::pki::Authority;
use crate::support::relay::Relay;
use crate::support::servers::{Server, files};
use crate::support::{Callboard, SITE, Told};

/// Misses that are timed.
const TIMED: usize = 300;

#[tokio::test]
async fn gcs_does_what_every_store_does() {
    let gcs = Gcs::start().await;
    for contract::Published { name, body } in contract::objects() {
        gcs.write(&name, body);
    }
    let relay = Relay::to(gcs.address).await;
    let origin = format!("http://{}", relay.address);
    let with_root =
        publisher(Some(&gcs.key())).replace("projectId", &format!("bucketRootPath: {}, projectId", contract::ROOT));
    let store = contract::store_with(&with_root, &format!("gcs: {{ endpoint: '{origin}' }}"));
    contract::holds(&*store).await;
    contract::bears_bad_networks(store, &relay, Duration::from_secs(5)).await;
    assert!(gcs.scopes().iter().all(|scope| scope.ends_with("devstorage.read_only")), "{:?}", gcs.scopes());

    let relay = Relay::to(gcs.address).await;
    let endpoint = format!("gcs: {{ endpoint: 'http://{}' }}", relay.address);
    let held = contract::connections_with(&with_root, &endpoint, &relay).await;
    assert!(held <= 80, "{held} connections: 64 places for readers, 16 for what nobody waits for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_techdocs_cli_published_is_read_back_byte_for_byte() {
    let (gcs, s3) = tokio::join!(Gcs::start(), Server::s3());
    let (site, entity) = (PathBuf::from(s3.said("/site_dir")), s3.said("/entity"));
    gcs.publish(&site, s3.said("/published_as")).await;
    let callboard = callboard(&gcs, "").await;
    let files = files(&site);
    assert!(files.iter().filter(|file| file.ends_with(".html")).count() >= 200, "{}", files.len());
    for file in &files {
        let path: Vec<_> =
            file.split('/').map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string()).collect();
        let answer = callboard.get(&format!("/static/docs/{entity}/{}", path.join("/"))).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{file}");
        assert!(
            answer.bytes().await.unwrap() == std::fs::read(site.join(file)).unwrap(),
            "{file} is not what was published"
        );
    }
}

#[tokio::test]
async fn a_missing_bucket_is_no_absent_page_and_a_throttled_one_is_unavailable() {
    let gcs = Gcs::start().await;
    gcs.write(PAGE, "page");
    let endpoint = format!("gcs: {{ endpoint: '{}' }}", gcs.origin());
    let other = contract::store_with(&publisher(Some(&gcs.key())).replace(BUCKET, "no-such-bucket"), &endpoint);
    let missing = contract::read(&*other, PAGE).await;
    assert!(matches!(missing, Err(StoreError::Unavailable(_))), "{missing:?}");
    let store = contract::store_with(&publisher(Some(&gcs.key())), &endpoint);
    for failure in [429, 500, 503] {
        gcs.rule(|rules| rules.storage_fails = Some(failure));
        let failed = contract::read(&*store, PAGE).await;
        assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{failure}: {failed:?}");
    }
}

#[tokio::test]
async fn without_leave_to_list_403_is_a_refusal_or_absence_as_configured() {
    let gcs = Gcs::start().await;
    gcs.write(PAGE, "page");
    gcs.rule(|rules| rules.may_list = false);
    let endpoint = format!("endpoint: '{}'", gcs.origin());
    for (forbidden_is_absent, absent) in [(false, 502), (true, 404)] {
        let section = format!("  storage: {{ gcs: {{ {endpoint}, forbiddenIsAbsent: {forbidden_is_absent} }} }}\n");
        let publisher = Some(publisher(Some(&gcs.key())));
        let callboard = Callboard::told(Told { section: &section, publisher, ..Told::default() }).await;
        assert_eq!((status(&callboard, "index.html").await, status(&callboard, "absent.html").await), (200, absent));
        assert_eq!(ended(&callboard, "denied").await > 0.0, !forbidden_is_absent);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_and_tokens_behind_a_private_certificate_are_read_with_its_authority_and_not_without() {
    let gcs = Gcs::start().await;
    gcs.write(PAGE, "page");
    let authority = Authority::new();
    let relay = format!("https://localhost:{}", authority.relay(gcs.address).await.port());
    gcs.rule(|rules| rules.token_uri = format!("{relay}/token"));
    let trusting = format!("  trust: {{ caFiles: ['{}'] }}\n", authority.ca().display());
    for (trust, expected) in [(trusting.as_str(), 200), ("", 503)] {
        let section = format!("{}{trust}", section(&relay, ""));
        let publisher = Some(publisher(Some(&gcs.key())));
        let callboard = Callboard::told(Told { section: &section, publisher, ..Told::default() }).await;
        assert_eq!(status(&callboard, "index.html").await, expected);
    }
}

/// `cargo test -- --nocapture` shows what it costs.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_miss_costs_is_told_beside_what_the_clients_own_get_does() {
    let gcs = Gcs::start().await;
    for number in 0..TIMED {
        gcs.write(&format!("default/component/shop/{number}.html"), vec![b'x'; 20_000]);
    }
    let callboard = callboard(&gcs, "").await;
    assert_eq!(status(&callboard, "absent.html").await, 404);
    let client = reqwest::Client::new();
    let token = gcs.token();
    let (mut bare, mut misses) = (Vec::new(), Vec::new());
    for number in 0..TIMED {
        let url = format!("{}/{BUCKET}/default%2Fcomponent%2Fshop%2F{number}.html", gcs.origin());
        for (request, times) in [
            (client.get(url).bearer_auth(&token), &mut bare),
            (callboard.get(&format!("{SITE}/{number}.html")), &mut misses),
        ] {
            let start = Instant::now();
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.bytes().await.unwrap().len(), 20_000);
            times.push(start.elapsed());
        }
    }
    let [bare, misses] = [bare, misses].map(|mut times| {
        times.sort_unstable();
        times[TIMED / 2]
    });
    println!(
        "GCS: a miss takes {misses:?}, the client's own GET {bare:?}: {:.2} times",
        misses.as_secs_f64() / bare.as_secs_f64()
    );
}
