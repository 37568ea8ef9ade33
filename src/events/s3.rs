//! What S3 says of its objects, in either of its two languages.

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::{EventError, ObjectChange};

const UNKNOWN: EventError = EventError::Malformed("The message is no event of S3");
const INCOMPLETE: EventError = EventError::Malformed("The event lacks a bucket or a key");

/// The changes in a message that S3 or EventBridge has published to a topic.
pub(super) fn changes(message: &str) -> Result<Vec<ObjectChange>, EventError> {
    let message: Value = serde_json::from_str(message).map_err(|_| UNKNOWN)?;
    if let Some(records) = message.get("Records").and_then(Value::as_array) {
        return records.iter().filter_map(|record| of_record(record).transpose()).collect();
    }
    // What S3 sends when a bucket's notifications are set up.
    if text(&message, "/Event") == Some("s3:TestEvent") {
        return Ok(Vec::new());
    }
    of_event_bridge(&message)
}

/// The change in an event of EventBridge
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html>). The key stands there as it is: unlike in
/// notifications, nothing in it is encoded.
pub(super) fn of_event_bridge(event: &Value) -> Result<Vec<ObjectChange>, EventError> {
    let (source, kind) = (text(event, "/source"), text(event, "/detail-type"));
    match (source, kind) {
        (Some("aws.s3"), Some("Object Created" | "Object Deleted")) => {
            let bucket = text(event, "/detail/bucket/name").ok_or(INCOMPLETE)?;
            let key = text(event, "/detail/object/key").ok_or(INCOMPLETE)?;
            ObjectChange::new(bucket, key.to_owned()).map(|change| vec![change]).ok_or(INCOMPLETE)
        }
        (Some(_), Some(_)) => Ok(Vec::new()),
        _ => Err(UNKNOWN),
    }
}

/// The change in a record of a notification, where it tells of one that matters
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>).
fn of_record(record: &Value) -> Result<Option<ObjectChange>, EventError> {
    let name = text(record, "/eventName").ok_or(UNKNOWN)?;
    let name = name.strip_prefix("s3:").unwrap_or(name);
    if !["ObjectCreated:", "ObjectRemoved:", "LifecycleExpiration:"].iter().any(|kind| name.starts_with(kind)) {
        return Ok(None);
    }
    let bucket = text(record, "/s3/bucket/name").ok_or(INCOMPLETE)?;
    let key = text(record, "/s3/object/key").ok_or(INCOMPLETE)?;
    // As a form's fields are encoded: a space is a plus sign.
    let key = key.replace('+', " ");
    let key = percent_decode_str(&key).decode_utf8().map_err(|_| INCOMPLETE)?.into_owned();
    ObjectChange::new(bucket, key).map(Some).ok_or(INCOMPLETE)
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn record(name: &str, key: &str) -> Value {
        json!({"eventName": name, "s3": {"bucket": {"name": "docs"}, "object": {"key": key}}})
    }

    fn keys(message: &Value) -> Result<Vec<String>, EventError> {
        changes(&message.to_string()).map(|changes| changes.into_iter().map(|change| change.key).collect())
    }

    #[test]
    fn keys_of_notifications_are_decoded_as_form_fields() {
        for (written, key) in [
            ("a/b.html", "a/b.html"),
            ("a/first+steps.html", "a/first steps.html"),
            ("a/c%2B%2B.html", "a/c++.html"),
            ("a/%C3%BCber%25.html", "a/über%.html"),
            ("a/100%", "a/100%"),
        ] {
            assert_eq!(keys(&json!({"Records": [record("ObjectCreated:Put", written)]})).unwrap(), [key]);
        }
    }

    #[test]
    fn keys_of_event_bridge_stand_as_they_are() {
        let event = |kind: &str, key: &str| json!({"source": "aws.s3", "detail-type": kind, "detail": {"bucket": {"name": "docs"}, "object": {"key": key}}});
        assert_eq!(keys(&event("Object Created", "a/c++ 100%25.html")).unwrap(), ["a/c++ 100%25.html"]);
        assert_eq!(keys(&event("Object Deleted", "a")).unwrap(), ["a"]);
        assert!(keys(&event("Object Tags Added", "a")).unwrap().is_empty());
        assert!(keys(&json!({"source": "aws.ec2", "detail-type": "EC2 Instance State-change"})).unwrap().is_empty());
        assert!(keys(&event("Object Created", "")).is_err());
    }

    #[test]
    fn what_changes_no_content_is_left_out() {
        let records = ["s3:ObjectRemoved:DeleteMarkerCreated", "LifecycleExpiration:Delete", "ObjectTagging:Put"];
        let records: Vec<Value> = records.iter().map(|name| record(name, name)).collect();
        assert_eq!(
            keys(&json!({ "Records": records })).unwrap(),
            ["s3:ObjectRemoved:DeleteMarkerCreated", "LifecycleExpiration:Delete"]
        );
        assert!(keys(&json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "docs"})).unwrap().is_empty());
        assert!(keys(&json!({"Records": []})).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_event_is_malformed() {
        for message in [
            json!({}),
            json!([]),
            json!("x"),
            json!({"Records": [{}]}),
            json!({"Records": [record("ObjectCreated:Put", "%ff")]}),
        ] {
            assert!(keys(&message).is_err(), "{message}");
        }
        assert!(changes("hello").is_err());
    }

    proptest! {
        #[test]
        fn anything_may_stand_in_a_message(text in ".{0,200}", key in ".{0,50}", name in "(s3:)?(ObjectCreated:Put|x|)") {
            let _ = changes(&text);
            if let Ok(keys) = keys(&json!({"Records": [record(&name, &key), text]})) {
                prop_assert!(keys.iter().all(|key| !key.is_empty()));
            }
        }
    }
}
