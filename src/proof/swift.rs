//! Swift. Its one right to write is asked for with what can't be written: a body that is not what its tag says.

use async_trait::async_trait;
use http::header::{CONTENT_LENGTH, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH};
use http::{HeaderMap, Method, StatusCode};

use super::{Deed, Places, Trial, Verdict};
use crate::storage::raw::{self, SwiftClient};
use crate::storage::{Means, StoreError, SwiftOptions};

/// The MD5 of something, which is not that of no bytes at all: Swift refuses what arrives otherwise than it was sent.
const WRONG_TAG: (HeaderName, HeaderValue) = (ETAG, HeaderValue::from_static("00000000000000000000000000000000"));

/// Swift wants the length also of nothing.
const NO_BODY: (HeaderName, HeaderValue) = (CONTENT_LENGTH, HeaderValue::from_static("0"));

/// Deletes only what is to expire at this time, which nothing is. Without it Swift would write down that an object was
/// deleted which never was.
const LONG_AGO: (HeaderName, HeaderValue) = (HeaderName::from_static("x-if-delete-at"), HeaderValue::from_static("1"));

/// The version that a versioned container made of a deletion.
const VERSION: &str = "x-object-version-id";

/// A container, and what requests to it are made with.
pub(super) struct Container(SwiftClient);

/// An answer.
struct Answer {
    status: StatusCode,
    version: Option<String>,
}

impl Container {
    /// The container in `options`.
    pub(super) fn new(options: &SwiftOptions, means: &Means<'_>) -> Result<Self, StoreError> {
        raw::swift(options, means).map(Self)
    }

    async fn ask(
        &self,
        method: Method,
        name: &str,
        query: &[(&str, &str)],
        headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    ) -> Result<Answer, StoreError> {
        let headers: HeaderMap = headers.into_iter().collect();
        let ask = if name.is_empty() {
            self.0.container(method, query)
        } else {
            self.0.object(method, name, headers).ok_or(StoreError::Absent)?.with(query)
        };
        let answer = self.0.send_once(&ask).await?;
        let version = answer.headers().get(VERSION).and_then(|version| version.to_str().ok()).map(str::to_owned);
        Ok(Answer { status: answer.status(), version })
    }

    async fn put(&self, name: &str, condition: Option<(HeaderName, HeaderValue)>) -> Verdict {
        let answer = self.ask(Method::PUT, name, &[], [WRONG_TAG, NO_BODY].into_iter().chain(condition)).await;
        match &answer {
            // Something in between that does not look at tags has written it.
            Ok(Answer { status, .. }) if status.is_success() => self.take_back(name, &[]).await,
            Ok(Answer { status: StatusCode::NOT_FOUND, .. }) => {
                Verdict::Untold("there is no such container".to_owned())
            }
            _ => self.judge(answer, name).await,
        }
    }

    /// Replaces an object, or what is known of it: that could also let it expire.
    async fn overwrite(&self, name: &str) -> Verdict {
        match self.put(name, None).await {
            Verdict::Denied => self.judge(self.ask(Method::POST, name, &[], [NO_BODY]).await, name).await,
            verdict => verdict,
        }
    }

    async fn delete(&self, name: &str) -> Verdict {
        let answer = self.ask(Method::DELETE, name, &[], [LONG_AGO]).await;
        match &answer {
            // A versioned container marks as deleted even what was never there.
            Ok(Answer { status, version: Some(version) }) if status.is_success() => {
                self.take_back(name, &[("version-id", version)]).await
            }
            _ => self.judge(answer, name).await,
        }
    }

    async fn take_back(&self, name: &str, version: &[(&str, &str)]) -> Verdict {
        match self.ask(Method::DELETE, name, version, []).await {
            Ok(answer) if answer.status.is_success() => Verdict::Allowed,
            _ => Verdict::Left(name.to_owned()),
        }
    }

    /// What an answer tells of what was allowed. Two of them are Swift's for other things as well, and then the credential
    /// has to show what else it is answered with.
    async fn judge(&self, answer: Result<Answer, StoreError>, name: &str) -> Verdict {
        let status = match answer {
            Ok(answer) => answer.status,
            Err(error) => return Verdict::Untold(crate::chain::chain(&error).to_string()),
        };
        let untold = |why: &str| Verdict::Untold(format!("Swift answered {status}{why}"));
        match status {
            StatusCode::FORBIDDEN => Verdict::Denied,
            StatusCode::UNPROCESSABLE_ENTITY | StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT => {
                Verdict::Allowed
            }
            // A container that is absent is answered for so as well.
            StatusCode::NOT_FOUND => match self.ask(Method::HEAD, "", &[], []).await {
                Ok(Answer { status: StatusCode::NOT_FOUND, .. }) => untold(": there is no such container"),
                Ok(_) => Verdict::Allowed,
                Err(error) => untold(&format!(", and then: {error}")),
            },
            // What an access rule of the credential does not allow is refused as if the token were no good.
            StatusCode::UNAUTHORIZED => match self.ask(Method::GET, name, &[], []).await {
                Ok(Answer { status: StatusCode::NOT_FOUND | StatusCode::FORBIDDEN, .. }) => Verdict::Denied,
                Ok(Answer { status, .. }) if status.is_success() => Verdict::Denied,
                _ => {
                    // The token itself is no good: this asks for another, which the next trial shows.
                    if let Some(ask) = self.0.object(Method::GET, name, HeaderMap::new()) {
                        let _ = self.0.send(&ask).await;
                    }
                    untold("")
                }
            },
            status if status.is_success() => Verdict::Allowed,
            _ => untold(""),
        }
    }
}

#[async_trait]
impl Trial for Container {
    fn deeds(&self) -> &'static [Deed] {
        &[Deed::Overwrite, Deed::Write, Deed::Delete, Deed::ListOutside, Deed::ReadOutside]
    }

    async fn attempt(&self, deed: Deed, places: &Places) -> Verdict {
        let name = &places.throw_away;
        let beside = places.beside.as_deref().unwrap_or(name);
        let answer = match deed {
            Deed::Overwrite => return self.overwrite(name).await,
            Deed::Write => return self.put(name, Some((IF_NONE_MATCH, HeaderValue::from_static("*")))).await,
            Deed::Delete | Deed::DeleteVersion => return self.delete(name).await,
            Deed::ListOutside => self.ask(Method::GET, "", &[("limit", "1")], []).await,
            Deed::ReadOutside => self.ask(Method::GET, beside, &[], []).await,
        };
        self.judge(answer, name).await
    }
}
