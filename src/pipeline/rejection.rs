//! Why a request gets no document, and the one table that turns it into an answer.

use std::borrow::Cow;
use std::time::Duration;

use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde::Serialize;

use super::Body;
use super::context::Context;
use crate::auth::AuthError;
use crate::chain::chain;
use crate::docs::RouteClass;
use crate::http::cache_status::CACHE_STATUS;
use crate::http::host::WrongHost;
use crate::http::rate_limit;
use crate::limit::Limited;
use crate::storage::StoreError;
use crate::telemetry::LimitReason;
use crate::telemetry::truncated;

/// When it is worth asking again after storage failed: soon, since most failures are short.
const STORAGE_RETRY_AFTER: Duration = Duration::from_secs(2);

/// The error's form on the wire.
#[derive(Serialize)]
struct ErrorDocument<'a> {
    error: ErrorPart<'a>,
    request: RequestPart<'a>,
    response: ResponsePart,
}

#[derive(Serialize)]
struct ErrorPart<'a> {
    name: &'static str,
    message: &'a str,
}

#[derive(Serialize)]
struct RequestPart<'a> {
    method: &'a str,
    url: &'a str,
}

#[derive(Serialize)]
struct ResponsePart {
    #[serde(rename = "statusCode")]
    status_code: u16,
}

/// Why a request gets no document.
#[derive(Debug, Clone)]
pub(super) enum Rejection {
    /// Whom the request is for is not said, or not so that there is one way to read it.
    Host(WrongHost),
    /// The request's target is too long.
    UriTooLong,
    /// A method other than GET and HEAD.
    Method,
    /// A GET or HEAD with a body.
    RequestBody,
    /// The caller is unknown or may not read.
    Auth(AuthError),
    /// The caller has asked for too much.
    Limited(Limited),
    /// The path can't mean any file.
    NoSuchPath,
    /// The path means a file, and storage has none.
    Absent {
        /// What was to be made of it.
        class: RouteClass,
        /// How the cache came to know.
        cache_status: HeaderValue,
    },
    /// The client insists on another version.
    PreconditionFailed,
    /// None of the asked ranges lies inside of the document.
    RangeNotSatisfiable {
        /// The document's length in bytes.
        length: u64,
    },
    /// A site's metadata is not JSON.
    BrokenMetadata,
    /// Storage failed.
    Storage(StoreError),
}

impl From<AuthError> for Rejection {
    fn from(error: AuthError) -> Self {
        Self::Auth(error)
    }
}

impl From<WrongHost> for Rejection {
    fn from(wrong: WrongHost) -> Self {
        Self::Host(wrong)
    }
}

impl From<StoreError> for Rejection {
    fn from(error: StoreError) -> Self {
        Self::Storage(error)
    }
}

impl Rejection {
    /// The answer, in the form of Backstage's errors (`@backstage/errors`, `ErrorResponseBody`); what may not leave goes
    /// into the log.
    pub(super) fn into_response(self, context: &mut Context) -> Response<Body> {
        context.set_reason(self.reason());
        if let Self::Auth(error) = &self {
            context.set_refused(error);
        }
        self.log(context);
        let status = self.status();
        let document = ErrorDocument {
            error: ErrorPart { name: error_name(status), message: &self.message() },
            request: RequestPart { method: context.method().as_str(), url: context.target() },
            response: ResponsePart { status_code: status.as_u16() },
        };
        // Strings and numbers always make JSON.
        let document = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = Response::new(Body::whole(document.into()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some((name, value)) = self.header() {
            headers.insert(name, value);
        }
        if let Self::Limited(Limited { reason, burst, window, wait }) = self {
            headers.extend(rate_limit::exhausted(reason.as_str(), burst, window, wait));
        }
        response
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Host(_) | Self::RequestBody => StatusCode::BAD_REQUEST,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Auth(error) => error.status(),
            Self::Limited(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::NoSuchPath | Self::Absent { .. } => StatusCode::NOT_FOUND,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::RangeNotSatisfiable { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::BrokenMetadata => StatusCode::BAD_GATEWAY,
            Self::Storage(error) => storage_status(error),
        }
    }

    /// One sentence: what was wrong and what to do. Nothing of our inside.
    fn message(&self) -> Cow<'static, str> {
        match self {
            Self::Method => "Documents can only be read here: use GET or HEAD.".into(),
            Self::RequestBody => "A GET or HEAD request must come without a body: send none.".into(),
            Self::Host(wrong) => host_message(*wrong).into(),
            Self::UriTooLong => "The path and query are too long: see callboard.limits.maxUriBytes.".into(),
            Self::Auth(error) => error.public_message(),
            Self::Limited(limited) => limited_message(limited),
            Self::NoSuchPath => "No document can have this path: it is \
                /static/docs/{namespace}/{kind}/{name}/{file} or /metadata/techdocs/{namespace}/{kind}/{name}."
                .into(),
            Self::Absent { class: RouteClass::Static, .. } => {
                "The site has no such file: check the path, and that the site has been published.".into()
            }
            Self::Absent { class: RouteClass::Metadata, .. } => {
                "The entity has no published site: publish it with techdocs-cli first.".into()
            }
            Self::PreconditionFailed => {
                "The document is another version than the one asked for: read it again without the condition.".into()
            }
            Self::RangeNotSatisfiable { length } => {
                format!("The document has {length} bytes and none of the asked ranges lies inside of it.").into()
            }
            Self::BrokenMetadata => "The site's techdocs_metadata.json is not JSON: publish the site again.".into(),
            Self::Storage(error) => storage_message(error).into(),
        }
    }

    /// The word for it in logs and metrics.
    fn reason(&self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::RequestBody => "request_body",
            Self::Host(_) => "host",
            Self::UriTooLong => "uri_too_long",
            Self::Auth(error) => error.reason(),
            Self::Limited(limited) => limited.reason.as_str(),
            Self::NoSuchPath => "no_such_path",
            Self::Absent { .. } => "absent",
            Self::PreconditionFailed => "precondition_failed",
            Self::RangeNotSatisfiable { .. } => "range",
            Self::BrokenMetadata => "broken_metadata",
            Self::Storage(error) => error.as_str(),
        }
    }

    /// The header that the status calls for.
    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::Method => Some((ALLOW, HeaderValue::from_static("GET, HEAD"))),
            Self::Auth(error) => {
                let challenge = error.www_authenticate().map(HeaderValue::from_static);
                let challenge = challenge.map(|challenge| (WWW_AUTHENTICATE, challenge));
                challenge.or_else(|| error.retry_after().map(retry_after))
            }
            Self::RangeNotSatisfiable { length } => {
                let value = HeaderValue::try_from(format!("bytes */{length}"));
                value.ok().map(|value| (CONTENT_RANGE, value))
            }
            Self::Storage(StoreError::Resting { retry_after: left }) => Some(retry_after(*left)),
            Self::BrokenMetadata | Self::Storage(_) => Some(retry_after(STORAGE_RETRY_AFTER)),
            Self::Absent { cache_status, .. } => Some((CACHE_STATUS, cache_status.clone())),
            Self::Limited(limited) => Some(retry_after(limited.wait)),
            Self::Host(_) | Self::UriTooLong | Self::RequestBody | Self::NoSuchPath | Self::PreconditionFailed => None,
        }
    }

    /// What the operator needs and the caller must not see.
    fn log(&self, context: &Context) {
        let (path, trace_id) = (truncated(context.path()), context.trace_id());
        match self {
            Self::Auth(error) => {
                let (reason, error) = (error.reason(), chain(error));
                tracing::info!(path, reason, error, %trace_id, "caller refused");
            }
            // Told once, when it began to rest.
            Self::Storage(StoreError::Resting { .. }) => {}
            Self::Storage(error) => {
                let (reason, error) = (error.as_str(), chain(error));
                tracing::warn!(path, reason, error, %trace_id, "storage failed");
            }
            Self::BrokenMetadata => tracing::warn!(path, %trace_id, "techdocs_metadata.json is not JSON"),
            _ => {}
        }
    }
}

fn storage_status(error: &StoreError) -> StatusCode {
    match error {
        StoreError::Absent => StatusCode::NOT_FOUND,
        StoreError::Denied(_) | StoreError::Truncated { .. } | StoreError::Corrupt => StatusCode::BAD_GATEWAY,
        StoreError::Timeout(_) | StoreError::ReaderStalled(_) => StatusCode::GATEWAY_TIMEOUT,
        StoreError::Busy
        | StoreError::Resting { .. }
        | StoreError::Unavailable(_)
        | StoreError::Changed
        | StoreError::NotModified => StatusCode::SERVICE_UNAVAILABLE,
        StoreError::Abandoned => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn host_message(wrong: WrongHost) -> &'static str {
    match wrong {
        WrongHost::Missing => "The request does not say which host it is for: send a Host header.",
        WrongHost::Several => "The request has several Host headers: send one.",
        WrongHost::Malformed => "The request's host is malformed: it is a name or an address, and a port if need be.",
        WrongHost::Contradictory => "The request's Host header and its :authority differ: send one of them.",
    }
}

fn limited_message(limited: &Limited) -> Cow<'static, str> {
    let seconds = rate_limit::whole_seconds(limited.wait);
    match limited.reason {
        LimitReason::FailedAuthentication => format!(
            "Too many tokens from this address were no good lately, so that unknown ones are not looked at: try again \
             in {seconds} s."
        ),
        LimitReason::Principal | LimitReason::ConnectionsPerAddress => {
            format!("Too many requests: try again in {seconds} s.")
        }
    }
    .into()
}

fn storage_message(error: &StoreError) -> &'static str {
    match error {
        StoreError::Absent => "The site has no such file: check the path, and that the site has been published.",
        StoreError::Denied(_) => {
            "Storage refused Callboard's credential for this document: have an operator run `callboard check`."
        }
        StoreError::Truncated { .. } => "Storage sent only part of the document: try again.",
        StoreError::Corrupt => "Storage sent the document damaged, twice: try again.",
        StoreError::Timeout(_) => "Storage did not answer in time: try again in a moment.",
        StoreError::ReaderStalled(_) => "The document was not taken in time: read it again.",
        StoreError::Busy => "Too many documents are being fetched from storage just now: try again in a moment.",
        StoreError::Resting { .. } => "Storage keeps failing and is being left alone for a moment: try again then.",
        StoreError::Unavailable(_) => "Storage can't be reached just now: try again in a moment.",
        StoreError::Changed | StoreError::NotModified => "The document is just being replaced: try again in a moment.",
        StoreError::Abandoned => "The document could not be fetched because of a fault in Callboard: try again.",
    }
}

fn retry_after(after: Duration) -> (HeaderName, HeaderValue) {
    (RETRY_AFTER, HeaderValue::from(rate_limit::whole_seconds(after)))
}

/// The names that Backstage gives these statuses; where it has none, one in its manner.
fn error_name(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => "InputError",
        StatusCode::UNAUTHORIZED => "AuthenticationError",
        StatusCode::FORBIDDEN => "NotAllowedError",
        StatusCode::NOT_FOUND => "NotFoundError",
        StatusCode::METHOD_NOT_ALLOWED => "MethodNotAllowedError",
        StatusCode::PRECONDITION_FAILED => "PreconditionFailedError",
        StatusCode::URI_TOO_LONG => "UriTooLongError",
        StatusCode::TOO_MANY_REQUESTS => "TooManyRequestsError",
        StatusCode::RANGE_NOT_SATISFIABLE => "RangeNotSatisfiableError",
        StatusCode::BAD_GATEWAY => "BadGatewayError",
        StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailableError",
        StatusCode::GATEWAY_TIMEOUT => "GatewayTimeoutError",
        _ => "InternalServerError",
    }
}

#[cfg(test)]
mod tests;
