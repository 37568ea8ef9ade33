//! Why a notification is turned away: one enum, and what each reader of it is told.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::fetch::FetchError;
use crate::auth::AuthError;
use crate::telemetry::EventResult;

/// Why a notification is turned away.
///
/// `Display` and `source` are for our log. What the sender is told is [`EventError::public_message`].
#[derive(Debug, Clone, thiserror::Error)]
pub enum EventError {
    /// The source is not configured.
    #[error("not configured")]
    NotConfigured,
    /// Another method than the source's.
    #[error("method not allowed")]
    Method {
        /// What `Allow` says.
        allow: &'static str,
    },
    /// It can't be understood; the sentence is told to the sender.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// It brings no proof of where it is from; the sentence is told to the sender.
    #[error("unsigned: {0}")]
    Unsigned(&'static str),
    /// Its proof does not hold; the sentence is told to the sender.
    #[error("untrusted: {0}")]
    Untrusted(&'static str),
    /// Its token is no good.
    #[error("untrusted token")]
    Token(#[source] AuthError),
    /// It is not from where the configuration says; the sentence is told to the sender.
    #[error("foreign: {0}")]
    Foreign(&'static str),
    /// It is too old, or from the future.
    #[error("stale")]
    Stale,
    /// What it takes to judge it, or to answer it, could not be had from the cloud.
    #[error("the cloud could not be asked")]
    Unavailable {
        /// When trying again may help.
        retry_after: Duration,
        /// What went wrong; nothing where it was not even tried, because it was tried too often lately.
        #[source]
        source: Option<Arc<FetchError>>,
    },
}

impl EventError {
    /// 401 where the proof is missing or wrong, 403 where it is another's or old, 503 where it is not the sender's fault
    /// and sending it again may help.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotConfigured => StatusCode::NOT_FOUND,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Unsigned(_) | Self::Untrusted(_) => StatusCode::UNAUTHORIZED,
            Self::Token(error) => error.status(),
            Self::Foreign(_) | Self::Stale => StatusCode::FORBIDDEN,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The word for it in the log and the metrics.
    pub fn result(&self) -> EventResult {
        match self {
            Self::NotConfigured | Self::Method { .. } | Self::Malformed(_) => EventResult::Malformed,
            Self::Unsigned(_) | Self::Token(AuthError::Missing) => EventResult::Unsigned,
            Self::Token(error) if error.status() == StatusCode::SERVICE_UNAVAILABLE => EventResult::Unavailable,
            Self::Token(error) if error.status() == StatusCode::FORBIDDEN => EventResult::Foreign,
            Self::Untrusted(_) | Self::Token(_) => EventResult::Untrusted,
            Self::Foreign(_) => EventResult::Foreign,
            Self::Stale => EventResult::Stale,
            Self::Unavailable { .. } => EventResult::Unavailable,
        }
    }

    /// What the sender is told, in one sentence. It names nothing that is configured but keys.
    pub fn public_message(&self) -> &'static str {
        match self {
            Self::NotConfigured => "Notifications from there are not configured: see callboard.events",
            Self::Method { .. } => "Notifications come as POST",
            Self::Malformed(sentence)
            | Self::Unsigned(sentence)
            | Self::Untrusted(sentence)
            | Self::Foreign(sentence) => sentence,
            Self::Token(AuthError::Missing) => {
                "No token: create the push subscription with --push-auth-service-account"
            }
            Self::Token(AuthError::Audience { .. }) => {
                "The token is for another audience: compare --push-auth-token-audience with callboard.events.pubSub.audience"
            }
            Self::Token(AuthError::Expired { .. } | AuthError::NotYetValid { .. }) => {
                "The token has expired or is not valid yet: compare the clocks"
            }
            Self::Token(error) if error.status() == StatusCode::FORBIDDEN => {
                "The token is another service account's: see callboard.events.pubSub.serviceAccount"
            }
            Self::Token(error) if error.status() == StatusCode::SERVICE_UNAVAILABLE => {
                "The keys to verify the token with can't be read just now: try again"
            }
            Self::Token(_) => "The token is not one of Google's for this push subscription",
            Self::Stale => "The message is more than an hour old or ahead: compare the clocks if it is new",
            Self::Unavailable { .. } => "The sender's cloud can't be asked about it just now: try again",
        }
    }

    /// When sending it again may help, for `Retry-After`.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after, .. } => Some(*retry_after),
            Self::Token(error) => error.retry_after(),
            _ => None,
        }
    }

    /// The methods that would do, for `Allow`.
    pub const fn allow(&self) -> Option<&'static str> {
        match self {
            Self::Method { allow } => Some(allow),
            _ => None,
        }
    }
}
