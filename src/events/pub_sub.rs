//! Google Cloud Storage's events by a push subscription of Pub/Sub
//! (<https://cloud.google.com/pubsub/docs/push>,
//! <https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions>).

use http::HeaderMap;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::{EventError, ObjectChange, Outcome, PubSubOptions};
use crate::auth::{IdTokenOptions, IdTokens};
use crate::clock::Clock;

/// Where Google publishes its keys, and the names that it goes by.
const KEYS: &str = "https://www.googleapis.com/oauth2/v3/certs";
const ISSUERS: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];

/// A wrapped message, as far as it matters here: attributes tell all
/// (<https://cloud.google.com/storage/docs/pubsub-notifications#format>).
#[derive(Debug, Deserialize)]
struct Push {
    message: Message,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    #[serde(default)]
    attributes: Attributes,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attributes {
    event_type: Option<String>,
    bucket_id: Option<String>,
    object_id: Option<String>,
}

/// Verifies the tokens of the one service account.
pub(super) fn tokens(options: PubSubOptions, clock: Clock, http: reqwest::Client) -> Option<IdTokens> {
    let PubSubOptions { audience, service_account, jwks } = options;
    let keys = Url::parse(KEYS).ok()?;
    let issuers = ISSUERS.map(str::to_owned).to_vec();
    Some(IdTokens::new(IdTokenOptions { keys, issuers, audience, email: service_account, jwks }, clock, http))
}

pub(super) async fn receive(tokens: &IdTokens, headers: &HeaderMap, body: &[u8]) -> Result<Outcome, EventError> {
    tokens.verify(headers).await.map_err(EventError::Token)?;
    changes(body).map(Outcome::Changes)
}

fn changes(body: &[u8]) -> Result<Vec<ObjectChange>, EventError> {
    let Attributes { event_type, bucket_id, object_id } = match serde_json::from_slice::<Push>(body) {
        Ok(push) => push.message.attributes,
        Err(_) => return Err(not_wrapped(body)),
    };
    match event_type.as_deref() {
        // Archived is what becomes of an object that is overwritten or deleted in a bucket with versions.
        Some("OBJECT_FINALIZE" | "OBJECT_DELETE" | "OBJECT_ARCHIVE") => {
            let change = bucket_id.zip(object_id).and_then(|(bucket, key)| ObjectChange::new(&bucket, key));
            Ok(vec![change.ok_or(EventError::Malformed("The message's attributes lack bucketId or objectId"))?])
        }
        Some(_) => Ok(Vec::new()),
        None => Err(EventError::Malformed("The message is no notification of Cloud Storage: it has no eventType")),
    }
}

/// Without its wrapping a message is the object's resource alone, which does not tell what became of the object.
fn not_wrapped(body: &[u8]) -> EventError {
    let resource: Option<Value> = serde_json::from_slice(body).ok();
    let is_resource = resource.is_some_and(|resource| resource.get("message").is_none());
    EventError::Malformed(if is_resource {
        "The body is no wrapped message: create the push subscription without --push-no-wrapper"
    } else {
        "The body is no message of Pub/Sub"
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(body: &Value) -> Result<Vec<ObjectChange>, EventError> {
        changes(body.to_string().as_bytes())
    }

    #[test]
    fn attributes_tell_the_change() {
        let push = |kind: &str| json!({"message": {"attributes": {"eventType": kind, "bucketId": "docs", "objectId": "a/c++ 1%.html"}, "data": "e30="}, "subscription": "s"});
        for kind in ["OBJECT_FINALIZE", "OBJECT_DELETE", "OBJECT_ARCHIVE"] {
            let changes = told(&push(kind)).unwrap();
            assert_eq!((changes[0].bucket.as_str(), changes[0].key.as_str()), ("docs", "a/c++ 1%.html"));
        }
        assert!(told(&push("OBJECT_METADATA_UPDATE")).unwrap().is_empty());
    }

    #[test]
    fn what_is_not_understood_says_why() {
        for (body, part) in [
            (json!({"kind": "storage#object", "name": "a"}), "--push-no-wrapper"),
            (json!({"message": {"data": "e30="}}), "no eventType"),
            (json!({"message": {"attributes": {"eventType": "OBJECT_DELETE"}}}), "bucketId"),
            (json!({"message": 1}), "no message of Pub/Sub"),
        ] {
            let sentence = told(&body).unwrap_err().public_message();
            assert!(sentence.contains(part), "{sentence}");
        }
    }
}
