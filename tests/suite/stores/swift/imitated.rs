//! What can't be had from real servers: tokens that come and go as a test wants them, and answers of each kind.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use reqwest::Response;

use crate::stores::contract;
use crate::support::openstack::{Keystone, OpenStack, PAGE, Swift};
use crate::support::{Callboard, SITE, Told, until};

/// Nothing is left alone: each test asks as often as it likes.
const NO_BREAKER: &str = "  storage: { timeout: 5s, breaker: { enabled: false } }\n";

async fn callboard(cloud: &OpenStack) -> Callboard {
    Callboard::told(Told { section: NO_BREAKER, publisher: Some(cloud.publisher()), ..Told::default() }).await
}

async fn read(callboard: &Callboard, name: &str) -> Response {
    callboard.get(&format!("{SITE}/{name}")).send().await.unwrap()
}

async fn status(callboard: &Callboard, name: &str) -> u16 {
    read(callboard, name).await.status().as_u16()
}

/// Reads so many pages that nobody has read before, many at a time.
async fn statuses(callboard: &Callboard, kind: &str, pages: usize) -> Vec<u16> {
    let names: Vec<String> = (0..pages).map(|page| format!("{kind}/{page}")).collect();
    stream::iter(&names).map(|name| status(callboard, name)).buffer_unordered(64).collect().await
}

async fn operations(callboard: &Callboard, result: &str) -> f64 {
    let result = format!("result=\"{result}\"");
    callboard.metric("callboard_storage_operation_duration_seconds_count", &["\"get\"", &result]).await
}

/// That the page `held`, which was read before, is served as it was, as the old copy that it is.
async fn is_served_stale(callboard: &Callboard) {
    callboard.hand.advance(Duration::from_secs(400));
    let old = read(callboard, "held").await;
    assert_eq!(old.status().as_u16(), 200);
    assert!(old.headers()["cache-status"].to_str().unwrap().ends_with("detail=stale-if-error"), "{old:?}");
    assert_eq!(old.bytes().await.unwrap(), PAGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_are_one_log_in() {
    let cloud = OpenStack::start().await;
    let callboard = callboard(&cloud).await;
    assert_eq!(statuses(&callboard, "page", 1000).await, [200; 1000]);
    assert_eq!((cloud.log_ins(), cloud.refused()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_renewed_before_its_end_and_no_reader_notices() {
    let cloud = OpenStack::start().await;
    cloud.tokens_live(Duration::from_secs(4));
    let callboard = callboard(&cloud).await;
    let mut page = 0;
    until(async || {
        page += 1;
        assert_eq!(status(&callboard, &format!("page/{page}")).await, 200);
        cloud.log_ins() >= 3
    })
    .await;
    assert_eq!(cloud.refused(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_revoked_under_load_cost_one_log_in_and_no_answer() {
    let cloud = OpenStack::start().await;
    let callboard = callboard(&cloud).await;
    assert_eq!(status(&callboard, "first").await, 200);
    cloud.revoke();
    assert_eq!(statuses(&callboard, "page", 200).await, [200; 200]);
    assert_eq!(cloud.log_ins(), 2);
    assert!(cloud.refused() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn swift_that_takes_no_token_is_a_denial_and_does_not_make_keystone_pay() {
    let cloud = OpenStack::start().await;
    let callboard = callboard(&cloud).await;
    assert_eq!(status(&callboard, "held").await, 200);
    cloud.swift(Swift::TakesNoToken);
    assert_eq!(statuses(&callboard, "page", 300).await, [502; 300]);
    assert_eq!(operations(&callboard, "denied").await, 300.0);
    assert_eq!(cloud.log_ins(), 2);
    is_served_stale(&callboard).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_is_taken_away_is_a_denial_until_it_is_given_back() {
    let cloud = OpenStack::start().await;
    let callboard = callboard(&cloud).await;
    assert_eq!(status(&callboard, "held").await, 200);
    cloud.keystone(Keystone::Refuses);
    cloud.revoke();
    assert_eq!(statuses(&callboard, "page", 100).await, [502; 100]);
    assert_eq!(operations(&callboard, "denied").await, 100.0);
    is_served_stale(&callboard).await;
    cloud.keystone(Keystone::Well);
    until(async || status(&callboard, "miss").await == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keystone_the_token_serves_until_its_end_and_old_copies_after_it() {
    let cloud = OpenStack::start().await;
    cloud.tokens_live(Duration::from_secs(3));
    let callboard = callboard(&cloud).await;
    assert_eq!(status(&callboard, "held").await, 200);
    cloud.keystone(Keystone::Fails);
    let (mut page, log_ins) = (0, cloud.log_ins());
    // It has been asked for another, in vain, and the one that there is still serves.
    until(async || {
        page += 1;
        assert_eq!(status(&callboard, &format!("page/{page}")).await, 200);
        cloud.log_ins() > log_ins
    })
    .await;
    until(async || {
        page += 1;
        status(&callboard, &format!("page/{page}")).await == 503
    })
    .await;
    // One that is over is not even shown.
    assert_eq!(cloud.refused(), 0);
    assert!(operations(&callboard, "unavailable").await >= 1.0);
    is_served_stale(&callboard).await;
    cloud.keystone(Keystone::Well);
    until(async || status(&callboard, "miss").await == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_secret_nor_token_follows_a_redirection() {
    let cloud = OpenStack::start().await;
    cloud.keystone(Keystone::Redirects);
    let callboard = callboard(&cloud).await;
    assert_eq!(status(&callboard, "before").await, 503);
    cloud.keystone(Keystone::Well);
    until(async || status(&callboard, "between").await == 200).await;
    cloud.swift(Swift::Redirects);
    assert_eq!(status(&callboard, "after").await, 503);
    assert_eq!(cloud.strayed(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_pass_is_asked_for_again_and_throttling_is_not() {
    let cloud = OpenStack::start().await;
    let callboard = callboard(&cloud).await;
    cloud.swift(Swift::AnswersFirst(503, 2));
    assert_eq!(status(&callboard, "passes").await, 200);
    for (code, tries) in [(500, 3), (503, 3), (429, 1), (498, 1)] {
        cloud.swift(Swift::Answers(code));
        let name = format!("fails-{code}");
        assert_eq!(status(&callboard, &name).await, 503, "{code}");
        assert_eq!(cloud.asked("GET", &format!("/default/component/shop/{name}")), tries, "{code}");
    }
    cloud.swift(Swift::Answers(403));
    assert_eq!(status(&callboard, "forbidden").await, 502);
    assert_eq!(operations(&callboard, "denied").await, 1.0);
    assert_eq!(cloud.log_ins(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_pages_have_the_container_looked_at_once_and_without_it_nothing_is_absent() {
    let cloud = OpenStack::start().await;
    let callboard = callboard(&cloud).await;
    for page in 0..50 {
        assert_eq!(status(&callboard, &format!("{page}/absent")).await, 404);
    }
    // None where Callboard's own first look at storage came before.
    assert!(cloud.asked("HEAD", "") <= 1);
    let bare = OpenStack::start().await;
    bare.swift(Swift::HasNoContainer);
    let callboard = self::callboard(&bare).await;
    for page in 0..3 {
        assert_eq!(status(&callboard, &format!("{page}/absent")).await, 503);
    }
    assert_eq!(operations(&callboard, "unavailable").await, 3.0);
}

#[tokio::test]
async fn long_listings_come_in_pages_however_short_and_end_at_the_limit() {
    let cloud = OpenStack::start().await;
    let names: Vec<String> = (0..2500).map(|number| format!("root/{number:04}/index.html")).collect();
    cloud.lists(names.clone());
    let store = contract::store(&cloud.publisher());
    assert_eq!(store.list("root", 10_000).await.unwrap(), names);
    assert_eq!(store.list("root", 1800).await.unwrap(), names[..1800]);
    assert_eq!(store.list("root/0042", 10).await.unwrap(), ["root/0042/index.html"]);
    assert_eq!(store.folders("", 10).await.unwrap(), ["root"]);
    let folders = store.folders("root", 10_000).await.unwrap();
    assert_eq!((folders.len(), folders[2499].as_str()), (2500, "2499"));
    assert_eq!(store.folders("root", 1800).await.unwrap().len(), 1800);
    assert!(store.folders("root/0042", 10).await.unwrap().is_empty());
}
