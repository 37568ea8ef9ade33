//! Google Cloud Storage: a stand-in that checks tokens and everything that they are made from.

mod bucket;
mod credentials;
mod outages;

use serde_json::Value;

use super::contract;
use crate::support::gcs::{BUCKET, Gcs};
use crate::support::{Callboard, SITE, Told};

const READINESS: &str = "/.backstage/health/v1/readiness";

/// The page that most tests read.
const PAGE: &str = "default/component/shop/index.html";

/// The publisher section with these credentials, or with those that the machine has.
fn publisher(credentials: Option<&Value>) -> String {
    let credentials = credentials.map_or(String::new(), |json| format!(", credentials: '{json}'"));
    format!("{{ type: googleGcs, googleGcs: {{ bucketName: {BUCKET}, projectId: project{credentials} }} }}")
}

/// Our own section, for the bucket at this place.
fn section(origin: &str, storage: &str) -> String {
    format!("  storage: {{ gcs: {{ endpoint: '{origin}' }}, {storage} }}\n")
}

/// A Callboard with the account's key in front of the bucket.
async fn callboard(gcs: &Gcs, storage: &str) -> Callboard {
    with_credentials(gcs, Some(&gcs.key()), storage, &[]).await
}

async fn with_credentials(
    gcs: &Gcs,
    credentials: Option<&Value>,
    storage: &str,
    variables: &[(&str, &str)],
) -> Callboard {
    let section = section(gcs.origin(), storage);
    let publisher = Some(publisher(credentials));
    Callboard::told(Told { section: &section, publisher, variables, ..Told::default() }).await
}

async fn status(callboard: &Callboard, name: &str) -> u16 {
    callboard.get(&format!("{SITE}/{name}")).send().await.unwrap().status().as_u16()
}

/// What readiness says, to whoever operates it.
async fn readiness(callboard: &Callboard) -> (u16, String) {
    let answer = reqwest::get(format!("http://{}{READINESS}", callboard.admin)).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// How many reads of storage ended so.
async fn ended(callboard: &Callboard, result: &str) -> f64 {
    let label = format!("result=\"{result}\"");
    callboard.metric("callboard_storage_operation_duration_seconds_count", &["operation=\"get\"", &label]).await
}
