//! Why something is not done.

use std::borrow::Cow;

use http::header::{ALLOW, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::events::EventError;
use crate::http::rate_limit;

/// When it is worth asking again whether a warming has ended.
const BUSY_SECONDS: u64 = 30;

/// Why something is not done.
#[derive(Debug, Clone)]
pub(in crate::pipeline) enum Refusal {
    /// Another method than POST.
    Method,
    /// A page in a browser asks, where no credential is asked for.
    Page,
    /// The query does not say what to do; the sentence tells what it should be.
    Query(String),
    /// The caller is known and may not purge.
    NotAPurger,
    /// So many warmings run already.
    Busy,
    /// A notification is turned away.
    Event(EventError),
}

impl Refusal {
    pub(in crate::pipeline) fn status(&self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Page | Self::NotAPurger => StatusCode::FORBIDDEN,
            Self::Query(_) => StatusCode::BAD_REQUEST,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Event(error) => error.status(),
        }
    }

    /// One sentence, as [`Rejection`](super::super::rejection::Rejection)'s are.
    pub(in crate::pipeline) fn message(&self) -> Cow<'static, str> {
        match self {
            Self::Method => "This is done with POST.".into(),
            Self::Page => "This is not done for a page in a browser: send the request without Origin.".into(),
            Self::Query(sentence) => sentence.clone().into(),
            Self::NotAPurger => {
                "The caller may not purge: have an operator list its subject in callboard.purge.subjects.".into()
            }
            Self::Busy => "Several warmings run already: wait until one of them has ended.".into(),
            Self::Event(error) => format!("{}.", error.public_message()).into(),
        }
    }

    pub(in crate::pipeline) fn reason(&self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Page => "page",
            Self::Query(_) => "query",
            Self::NotAPurger => "not_a_purger",
            Self::Busy => "busy",
            Self::Event(error) => error.result().as_str(),
        }
    }

    pub(in crate::pipeline) fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::Method => Some((ALLOW, HeaderValue::from_static("POST"))),
            Self::Event(error) => {
                let allow = error.allow().map(|allow| (ALLOW, HeaderValue::from_static(allow)));
                let retry = || Some((RETRY_AFTER, HeaderValue::from(rate_limit::whole_seconds(error.retry_after()?))));
                allow.or_else(retry)
            }
            Self::Busy => Some((RETRY_AFTER, HeaderValue::from(BUSY_SECONDS))),
            Self::Page | Self::Query(_) | Self::NotAPurger => None,
        }
    }
}
