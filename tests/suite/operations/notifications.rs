//! What clouds tell of changed objects, from the endpoint to the reader.

use std::time::Duration;

use http::StatusCode;
use reqwest::{Client, Method, Response};
use serde_json::json;

use super::{BUCKET, ask_admin, page, read, replica, until_held};
use crate::support::redis::Redis;
use crate::support::scripted::Scripted;
use crate::support::{Callboard, Told, until};

const SECRET: &str = "a-secret-of-the-connection";

const SECTION: &str = "  events: { eventBridge: { secret: a-secret-of-the-connection }, \
                       eventGrid: { secret: a-secret-of-the-connection } }\n";

/// A notification that an object has changed, by EventBridge.
async fn notify(callboard: &Callboard, secret: &str, bucket: &str, key: &str) -> Response {
    let event = json!({ "source": "aws.s3", "detail-type": "Object Created",
        "detail": { "bucket": { "name": bucket }, "object": { "key": key } } });
    post(callboard, "eventbridge", secret, event.to_string()).await
}

async fn post(callboard: &Callboard, source: &str, secret: &str, body: String) -> Response {
    let url = format!("http://{}/.callboard/v1/events/{source}", callboard.address);
    Client::new().post(url).header("x-callboard-secret", secret).body(body).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_a_cloud_tells_of_is_seen_by_the_next_reader_of_every_replica() {
    let (store, redis) = (Scripted::new(page("old", "1")), Redis::plain());
    let one = replica(store.clone(), &redis, SECTION).await;
    let other = replica(store.clone(), &redis, "").await;
    until_held(&other, "index.html", "old").await;
    store.now(page("new", "2"));
    // Nobody reads the site where the notification arrives.
    let answer = notify(&one, SECRET, "docs", "default/component/shop/guide.html").await;
    assert_eq!(answer.status(), StatusCode::OK);
    until(async || read(&other, "index.html").await.0 == "new").await;
    until_held(&one, "index.html", "new").await;
    store.now(page("newer", "3"));
    for file in 0..20 {
        let answer = notify(&one, SECRET, "docs", &format!("default/component/shop/{file}.html")).await;
        assert_eq!(answer.status(), StatusCode::OK);
    }
    until(async || read(&one, "index.html").await.0 == "newer").await;
    until(async || read(&other, "index.html").await.0 == "newer").await;
    let changes = async |object| one.metric("callboard_events_changes_total", &[object]).await;
    assert_eq!((changes("document").await, changes("elsewhere").await), (21.0, 0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_a_cloud_tells_of_is_looked_at_at_once() {
    let store = Scripted::new(page("old", "1"));
    let variables = &[("APP_CONFIG_callboard_site_publishCheck", "1h")];
    let publisher = Some(BUCKET.to_owned());
    let callboard =
        Callboard::told(Told { section: SECTION, publisher, variables, store: Some(store), ..Told::default() }).await;
    let looks = async || callboard.metric("callboard_site_looks_total", &[]).await;
    read(&callboard, "index.html").await;
    until(async || looks().await == 1.0).await;
    callboard.hand.advance(Duration::from_secs(2));
    notify(&callboard, SECRET, "docs", "default/component/shop/guide.html").await;
    until(async || looks().await == 2.0).await;
    assert_eq!(callboard.metric("callboard_site_generations_total", &["event"]).await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_of_other_objects_is_taken_and_ignored() {
    let store = Scripted::new(page("old", "1"));
    let publisher = BUCKET.replace("docs", "docs, bucketRootPath: root");
    let told = Told { section: SECTION, publisher: Some(publisher), store: Some(store.clone()), ..Told::default() };
    let callboard = Callboard::told(told).await;
    until_held(&callboard, "index.html", "old").await;
    store.now(page("new", "2"));
    let elsewhere = [
        ("logs", "root/default/component/shop/index.html"),
        ("docs", "default/component/shop/index.html"),
        ("docs", "root/default/component"),
        ("docs", "root/default/component/../shop/index.html"),
    ];
    for (bucket, key) in elsewhere {
        assert_eq!(notify(&callboard, SECRET, bucket, key).await.status(), StatusCode::OK, "{bucket}/{key}");
    }
    assert_eq!(callboard.metric("callboard_events_changes_total", &["elsewhere"]).await, elsewhere.len() as f64);
    assert_eq!(read(&callboard, "index.html").await.0, "old");
    notify(&callboard, SECRET, "docs", "root/default/component/shop/index.html").await;
    until(async || read(&callboard, "index.html").await.0 == "new").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_proves_nothing_is_turned_away_and_soon_not_looked_at() {
    let store = Scripted::new(page("old", "1"));
    let limits = "  limits: { failedAuthentication: { perMinute: 1, burst: 3 } }\n";
    let section = format!("{SECTION}{limits}");
    let told = Told { section: &section, publisher: Some(BUCKET.to_owned()), store: Some(store), ..Told::default() };
    let callboard = Callboard::told(told).await;
    // Where nothing is configured there is nothing to guess.
    for source in ["sns", "pubsub"] {
        assert_eq!(post(&callboard, source, SECRET, "{}".to_owned()).await.status(), StatusCode::NOT_FOUND, "{source}");
    }
    let large = "x".repeat(300 * 1024);
    assert_eq!(post(&callboard, "eventbridge", SECRET, large).await.status(), StatusCode::BAD_REQUEST);
    let url = format!("http://{}/.callboard/v1/events", callboard.address);
    let get = Client::new().get(format!("{url}/eventbridge")).send().await.unwrap();
    assert_eq!((get.status(), get.headers()["allow"].to_str().unwrap()), (StatusCode::METHOD_NOT_ALLOWED, "POST"));
    // The handshake of CloudEvents, by which Event Grid asks whether it may send.
    let options = Client::new()
        .request(Method::OPTIONS, format!("{url}/eventgrid?code={SECRET}"))
        .header("webhook-request-origin", "eventgrid.azure.net")
        .send()
        .await
        .unwrap();
    assert_eq!(options.status(), StatusCode::OK);
    assert_eq!(options.headers()["webhook-allowed-origin"], "eventgrid.azure.net");
    for _ in 0..3 {
        let answer = notify(&callboard, "guess", "docs", "default/component/shop/index.html").await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    }
    let answer = notify(&callboard, "guess", "docs", "default/component/shop/index.html").await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(ask_admin(&callboard, Method::POST, "purge?all=true").await.status(), StatusCode::OK);
}
