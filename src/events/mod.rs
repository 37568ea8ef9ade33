//! What clouds tell of changed objects, so that a site is looked at again as soon as it is published.
//!
//! Each source has an endpoint of its own, where it is configured at all, and its own way to prove itself: SNS signs its
//! messages (`sns`), Pub/Sub shows a token of Google's (`pub_sub`), EventBridge and Event Grid know a secret
//! (`event_grid`). Only what is proven is read. A notification makes us look at storage sooner, and no
//! more: nothing that it says is served.

mod error;
mod event_grid;
mod fetch;
mod options;
mod pub_sub;
mod s3;
mod sns;

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response};

pub use self::error::EventError;
pub use self::fetch::FetchError;
pub use self::options::{EventBridgeOptions, Options, PubSubOptions};
pub use self::sns::TopicArn;
pub use crate::telemetry::EventSource as Source;

use self::sns::Sns;
use crate::auth::IdTokens;
use crate::clock::Clock;
use crate::secret::Secret;
use crate::telemetry::{EventResult, Instruments};

/// The longest body that is looked at, in bytes: what SNS, EventBridge and Event Grid send at most.
pub const MAX_BODY_BYTES: usize = 256 * 1024;

/// An object that was written or deleted, by its cloud's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectChange {
    /// The bucket or container.
    pub bucket: String,
    /// The key as storage has it. Nothing is promised of its form.
    pub key: String,
}

/// A notification that was believed.
#[derive(Debug)]
pub struct Received {
    /// What has changed; nothing for a handshake, a test message or an event that changes no content.
    pub changes: Vec<ObjectChange>,
    /// What came of it, for the access log. It is counted already.
    pub result: EventResult,
    /// What the sender waits for. Answer at once: what the changes lead to is none of its business.
    pub reply: Response<Bytes>,
}

/// Takes notifications in. Share it in an `Arc`.
#[derive(Debug)]
pub struct Events {
    sns: Option<Sns>,
    event_bridge: Option<EventBridgeOptions>,
    pub_sub: Option<IdTokens>,
    event_grid: Option<Secret>,
    instruments: Arc<Instruments>,
}

impl Events {
    /// A room that has fetched nothing yet.
    ///
    /// `http` must not follow redirections (`reqwest::redirect::Policy::none()`): certificates and keys are trusted for the
    /// address that they come from. An answer from elsewhere is refused in any case.
    pub fn new(options: Options, clock: Clock, http: reqwest::Client, instruments: Arc<Instruments>) -> Self {
        let Options { topics, event_bridge, pub_sub, event_grid } = options;
        let sns = (!topics.is_empty()).then(|| Sns::new(topics, clock.clone(), http.clone()));
        let pub_sub = pub_sub.and_then(|options| pub_sub::tokens(options, clock, http));
        Self { sns, event_bridge, pub_sub, event_grid, instruments }
    }

    /// Whether the source has an endpoint.
    pub fn enabled(&self, source: Source) -> bool {
        match source {
            Source::Sns => self.sns.is_some(),
            Source::EventBridge => self.event_bridge.is_some(),
            Source::PubSub => self.pub_sub.is_some(),
            Source::EventGrid => self.event_grid.is_some(),
        }
    }

    /// Judges a request to the source's endpoint, whose body must be within [`MAX_BODY_BYTES`], and counts it.
    ///
    /// # Errors
    ///
    /// Any [`EventError`]; its `status` is 400, 401, 403, 404, 405 or 503.
    pub async fn receive(&self, source: Source, head: &Parts, body: Bytes) -> Result<Received, EventError> {
        let judged = self.judge(source, head, &body).await.map(Outcome::received);
        let result = judged.as_ref().map_or_else(EventError::result, |received| received.result);
        // A stranger's request for a source that there is not is no notification.
        if self.enabled(source) {
            self.instruments.events.received(source, result);
        }
        judged
    }

    async fn judge(&self, source: Source, head: &Parts, body: &[u8]) -> Result<Outcome, EventError> {
        if !self.enabled(source) {
            return Err(EventError::NotConfigured);
        }
        let allow = if source == Source::EventGrid { "POST, OPTIONS" } else { "POST" };
        if head.method != Method::POST && !(head.method == Method::OPTIONS && source == Source::EventGrid) {
            return Err(EventError::Method { allow });
        }
        if body.len() > MAX_BODY_BYTES {
            return Err(EventError::Malformed("The body is longer than any notification"));
        }
        match source {
            Source::Sns => self.sns.as_ref().ok_or(EventError::NotConfigured)?.receive(&head.headers, body).await,
            Source::EventBridge => {
                let options = self.event_bridge.as_ref().ok_or(EventError::NotConfigured)?;
                receive_event_bridge(options, head, body)
            }
            Source::PubSub => {
                let tokens = self.pub_sub.as_ref().ok_or(EventError::NotConfigured)?;
                pub_sub::receive(tokens, &head.headers, body).await
            }
            Source::EventGrid => {
                let secret = self.event_grid.as_ref().ok_or(EventError::NotConfigured)?;
                event_grid::receive(secret, head, body)
            }
        }
    }
}

/// An event by an API destination, which shows the API key of its connection
/// (<https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-target-connection-api-key.html>).
fn receive_event_bridge(options: &EventBridgeOptions, head: &Parts, body: &[u8]) -> Result<Outcome, EventError> {
    let shown = head.headers.get(&options.header).map(|value| Secret::new(value.as_bytes()));
    match shown {
        Some(shown) if shown == options.secret => {}
        Some(_) => return Err(EventError::Untrusted("The API key is not callboard.events.eventBridge.secret")),
        None => return Err(EventError::Unsigned("No API key: see callboard.events.eventBridge.header")),
    }
    let event = serde_json::from_slice(body).map_err(|_| EventError::Malformed("The body is no JSON"))?;
    s3::of_event_bridge(&event).map(Outcome::Changes)
}

/// What a notification comes to.
#[derive(Debug)]
enum Outcome {
    Changes(Vec<ObjectChange>),
    Handshake(Response<Bytes>),
}

impl Outcome {
    /// A handshake that asks for nothing in its answer.
    fn handshake() -> Self {
        Self::Handshake(Response::new(Bytes::new()))
    }

    fn received(self) -> Received {
        match self {
            Self::Changes(changes) => {
                let result = if changes.is_empty() { EventResult::Nothing } else { EventResult::Changes };
                Received { changes, result, reply: Response::new(Bytes::new()) }
            }
            Self::Handshake(reply) => Received { changes: Vec::new(), result: EventResult::Handshake, reply },
        }
    }
}

impl ObjectChange {
    /// A change of an object that can be.
    fn new(bucket: &str, key: String) -> Option<Self> {
        (!bucket.is_empty() && !key.is_empty()).then(|| Self { bucket: bucket.to_owned(), key })
    }
}
