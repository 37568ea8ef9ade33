//! What operators and clouds ask for: purges, warming, notifications of changed objects.

mod notifications;
mod purge;
mod warm;

use std::sync::Arc;

use bytes::Bytes;
use callboard::storage::DocStore;
use http::StatusCode;
use reqwest::{Method, Response};
use serde_json::Value;

use crate::support::redis::Redis;
use crate::support::scripted::Deed;
use crate::support::{Callboard, SITE, Told, until};

/// A bucket that nobody asks, since the test brings the store itself.
const BUCKET: &str = "{ type: awsS3, awsS3: { bucketName: docs, region: eu-central-1 } }";

fn page(text: &str, tag: &'static str) -> Deed {
    Deed::Give(Bytes::copy_from_slice(text.as_bytes()), tag)
}

/// A replica in front of `store`, which shares `redis` with the others.
async fn replica(store: Arc<dyn DocStore>, redis: &Redis, section: &str) -> Callboard {
    let section = format!("  cache: {{ redis: {} }}\n{section}", redis.config());
    Callboard::told(Told {
        section: &section,
        publisher: Some(BUCKET.to_owned()),
        store: Some(store),
        ..Told::default()
    })
    .await
}

/// A page's text, and what the cache did.
async fn read(callboard: &Callboard, path: &str) -> (String, String) {
    let answer = callboard.get(&format!("{SITE}/{path}")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    let status = answer.headers()["cache-status"].to_str().unwrap().to_owned();
    (answer.text().await.unwrap(), status)
}

/// Waits until a page is served from memory: from then on only what is told brings another.
async fn until_held(callboard: &Callboard, path: &str, text: &str) {
    until(async || {
        let (told, status) = read(callboard, path).await;
        told == text && status.ends_with("detail=memory")
    })
    .await;
}

/// Asks on the admin listener.
async fn ask_admin(callboard: &Callboard, method: Method, target: &str) -> Response {
    let url = format!("http://{}/.callboard/v1/{target}", callboard.admin);
    reqwest::Client::new().request(method, url).send().await.unwrap()
}

/// The message of an error.
async fn message(answer: Response) -> String {
    let document: Value = answer.json().await.unwrap();
    document["error"]["message"].as_str().unwrap().to_owned()
}

/// How many objects storage was asked for.
async fn gets(callboard: &Callboard) -> f64 {
    callboard.metric("callboard_storage_operation_duration_seconds_count", &["operation=\"get\""]).await
}
