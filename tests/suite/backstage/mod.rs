//! techdocs-backend fetches its files from Callboard: a real Backstage with the module of `integrations/backstage`
//! installed as an operator installs it.

mod answers;
mod browser;
mod configuration;
mod keys;
mod outages;
mod publish;
mod readers;
mod site;

use std::path::Path;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;

/// The site that most of these tests read.
const SHOP: &str = "/static/docs/default/component/shop";

/// What a URL's path can't hold as it is. What JavaScript's `encodeURI` leaves stays: techdocs-backend reads no other
/// spelling of it.
const NOT_IN_A_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The path of an entity's file, as a browser asks for it.
fn path_of(entity: &str, file: &str) -> String {
    format!("/static/docs/{entity}/{}", utf8_percent_encode(file, NOT_IN_A_PATH))
}

/// `techdocs.publisher` for the S3 that said this, where it is reached at `endpoint`.
fn s3_publisher(said: &Value, endpoint: &str) -> String {
    let text = |pointer| said.pointer(pointer).and_then(Value::as_str).unwrap();
    format!(
        "{{ type: awsS3, awsS3: {{ bucketName: {}, region: {}, endpoint: '{endpoint}', s3ForcePathStyle: true, \
         maxAttempts: 1, credentials: {{ accessKeyId: '{}', secretAccessKey: '{}' }} }} }}",
        text("/bucket"),
        text("/region"),
        text("/reader/accessKeyId"),
        text("/reader/secretAccessKey"),
    )
}

/// The same for a folder.
fn local_publisher(folder: &Path) -> String {
    format!("{{ type: local, local: {{ publishDirectory: '{}' }} }}", folder.display())
}
