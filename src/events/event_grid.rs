//! Azure Blob Storage's events by a webhook of Event Grid, in both of its schemas
//! (<https://learn.microsoft.com/azure/event-grid/event-schema-blob-storage>).

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::request::Parts;
use http::{HeaderValue, Method, Response};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::{EventError, ObjectChange, Outcome};
use crate::secret::Secret;

/// Where the secret may come, beside the query.
const SECRET: HeaderName = HeaderName::from_static("x-callboard-secret");

/// The handshake of CloudEvents (HTTP 1.1 Web Hooks for Event Delivery 1.0.1 §4).
const ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// Between the container and the name of a blob in an event's subject.
const BEFORE_CONTAINER: &str = "/blobServices/default/containers/";
const BEFORE_BLOB: &str = "/blobs/";

pub(super) fn receive(secret: &Secret, head: &Parts, body: &[u8]) -> Result<Outcome, EventError> {
    authenticate(secret, head)?;
    if head.method == Method::OPTIONS {
        return allow(head);
    }
    let body: Value = serde_json::from_slice(body).map_err(|_| EventError::Malformed("The body is no JSON"))?;
    let events = match &body {
        Value::Array(events) => events.as_slice(),
        event => std::slice::from_ref(event),
    };
    if let Some(code) = events.iter().find_map(validation_code) {
        return confirm(code);
    }
    let mut changes = Vec::new();
    for event in events {
        changes.extend(of_event(event)?);
    }
    Ok(Outcome::Changes(changes))
}

/// Compares the secret in the query, `?code=…`, or else in the header. Event Grid shows it with every request, also with
/// those of its handshakes.
fn authenticate(secret: &Secret, head: &Parts) -> Result<(), EventError> {
    let in_query = form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes())
        .find(|(name, _)| name == "code")
        .map(|(_, code)| Secret::new(code.as_bytes()));
    let in_header = || head.headers.get(SECRET).map(|value| Secret::new(value.as_bytes()));
    match in_query.or_else(in_header) {
        Some(shown) if shown == *secret => Ok(()),
        Some(_) => Err(EventError::Untrusted("The secret is not callboard.events.eventGrid.secret")),
        None => Err(EventError::Unsigned("No secret: put ?code= and it behind the endpoint's address")),
    }
}

/// Lets whoever asks send as much as it likes: it knows the secret.
fn allow(head: &Parts) -> Result<Outcome, EventError> {
    let origin = head.headers.get(ORIGIN);
    let origin = origin.ok_or(EventError::Malformed("The handshake lacks WebHook-Request-Origin"))?.clone();
    let mut reply = Response::new(Bytes::new());
    reply.headers_mut().insert(ALLOWED_ORIGIN, origin);
    reply.headers_mut().insert(ALLOWED_RATE, HeaderValue::from_static("*"));
    Ok(Outcome::Handshake(reply))
}

/// The code of a handshake in Event Grid's own schema
/// (<https://learn.microsoft.com/azure/event-grid/end-point-validation-event-grid-events-schema>).
fn validation_code(event: &Value) -> Option<&str> {
    let is_validation = text(event, "/eventType") == Some("Microsoft.EventGrid.SubscriptionValidationEvent");
    text(event, "/data/validationCode").filter(|_| is_validation)
}

fn confirm(code: &str) -> Result<Outcome, EventError> {
    let mut reply = Response::new(Bytes::from(json!({ "validationResponse": code }).to_string()));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(Outcome::Handshake(reply))
}

/// The changes that an event may mean. Event Grid's own schema calls its kind `eventType`, CloudEvents `type`.
fn of_event(event: &Value) -> Result<Vec<ObjectChange>, EventError> {
    let kind = text(event, "/eventType").or_else(|| text(event, "/type"));
    match kind.ok_or(EventError::Malformed("The body holds something that is no event"))? {
        "Microsoft.Storage.BlobCreated" | "Microsoft.Storage.BlobDeleted" => {
            const UNCLEAR: EventError = EventError::Malformed("The event's subject names no blob");
            let rest = text(event, "/subject").and_then(|subject| subject.strip_prefix(BEFORE_CONTAINER));
            let (container, name) = rest.and_then(|rest| rest.split_once(BEFORE_BLOB)).ok_or(UNCLEAR)?;
            let changes = readings(name).into_iter().map(|name| ObjectChange::new(container, name));
            changes.collect::<Option<Vec<_>>>().ok_or(UNCLEAR)
        }
        _ => Ok(Vec::new()),
    }
}

/// Azure does not say whether names in subjects are encoded, and it has differed. Where it makes a difference both
/// readings count: to look at a blob that has not changed costs little.
fn readings(name: &str) -> Vec<String> {
    let decoded = percent_decode_str(name).decode_utf8().ok().filter(|decoded| decoded != name);
    std::iter::once(name.to_owned()).chain(decoded.map(|decoded| decoded.into_owned())).collect()
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(subject: &str) -> Result<Vec<String>, EventError> {
        let event = json!({"type": "Microsoft.Storage.BlobDeleted", "subject": subject});
        of_event(&event).map(|changes| changes.into_iter().map(|change| change.key).collect())
    }

    #[test]
    fn subjects_name_container_and_blob() {
        assert_eq!(keys("/blobServices/default/containers/docs/blobs/a/blobs/c++.html").unwrap(), ["a/blobs/c++.html"]);
        assert_eq!(keys("/blobServices/default/containers/docs/blobs/a%20b").unwrap(), ["a%20b", "a b"]);
        assert_eq!(keys("/blobServices/default/containers/docs/blobs/100%").unwrap(), ["100%"]);
        for subject in
            ["", "docs", "/blobServices/default/containers/docs", "/blobServices/default/containers/docs/blobs/"]
        {
            assert!(keys(subject).is_err(), "{subject}");
        }
    }
}
