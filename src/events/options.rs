//! What the room runs on. A source without options has no endpoint.

use http::HeaderName;

use super::sns::TopicArn;
use crate::auth::JwksOptions;
use crate::secret::Secret;

/// Who may tell of changes.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The SNS topics that are listened to; none where there is no such endpoint.
    pub topics: Vec<TopicArn>,
    /// EventBridge's connection.
    pub event_bridge: Option<EventBridgeOptions>,
    /// Pub/Sub's ID token.
    pub pub_sub: Option<PubSubOptions>,
    /// Event Grid's secret.
    pub event_grid: Option<Secret>,
}

/// The API key of an EventBridge connection.
#[derive(Debug, Clone)]
pub struct EventBridgeOptions {
    /// The header that it comes in.
    pub header: HeaderName,
    /// The key.
    pub secret: Secret,
}

/// The service account that a push subscription authenticates with.
#[derive(Debug, Clone)]
pub struct PubSubOptions {
    /// What its tokens are made out to.
    pub audience: String,
    /// Its mail address.
    pub service_account: String,
    /// How Google's keys are fetched.
    pub jwks: JwksOptions,
}
