//! S3. Every request is put together here: the client for reading can't be told to fail.

use std::time::Duration;

use async_trait::async_trait;
use http::header::{HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH, RANGE};
use http::{Method, StatusCode};
use object_store::aws::{AmazonS3, AwsAuthorizer};
use object_store::client::{HttpRequest, HttpRequestBody};
use object_store::path::Path;
use object_store::signer::Signer;
use percent_encoding::utf8_percent_encode;
use url::Url;

use super::answer::{Answer, CONTENT, UNENCODED, WRONG_DIGEST};
use super::{Deed, FOLDER, Places, Trial, Verdict};
use crate::storage::{CODES_OF_THE_CREDENTIAL, Means, S3Options, raw};

/// The header that names the version which was made.
const VERSION: &str = "x-amz-version-id";

/// The tag of no object.
const NO_TAG: &str = "\"00000000000000000000000000000000\"";

/// How long the signature for the address is good for, which is never sent.
const A_MINUTE: Duration = Duration::from_secs(60);

/// A bucket, and what requests to it are made with.
pub(super) struct Bucket {
    client: AmazonS3,
    http: reqwest::Client,
}

impl Bucket {
    /// The bucket in `options`.
    pub(super) fn new(options: &S3Options, means: &Means<'_>) -> anyhow::Result<Self> {
        let client = raw::s3(options, means)?;
        let mut http = means.trust.http_client(false).redirect(reqwest::redirect::Policy::none());
        if let Some(proxy) = &options.proxy {
            http = http.proxy(reqwest::Proxy::all(String::from_utf8_lossy(proxy.expose()).as_ref())?);
        }
        Ok(Self { client, http: http.build()? })
    }

    /// The bucket's own address, with a slash at its end, and its region. The client tells neither, but signs with both.
    async fn place(&self) -> anyhow::Result<(Url, String)> {
        let mut signed = self.client.signed_url(Method::GET, &Path::parse(FOLDER)?, A_MINUTE).await?;
        let scope =
            signed.query_pairs().find(|(key, _)| key == "X-Amz-Credential").map(|(_, scope)| scope.into_owned());
        let region = scope.as_deref().and_then(|scope| scope.rsplit('/').nth(2)).unwrap_or_default().to_owned();
        signed.set_query(None);
        let path = signed.path().strip_suffix(FOLDER).unwrap_or("/").to_owned();
        signed.set_path(&path);
        Ok((signed, region))
    }

    async fn ask(
        &self,
        method: Method,
        name: &str,
        query: &[(&str, &str)],
        headers: &[(HeaderName, &str)],
    ) -> anyhow::Result<Answer> {
        let (mut url, region) = self.place().await?;
        url.set_path(&format!("{}{}", url.path(), utf8_percent_encode(name, UNENCODED)));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let content = if method == Method::PUT { CONTENT } else { b"" };
        let mut request = HttpRequest::new(HttpRequestBody::from(content.to_vec()));
        *request.method_mut() = method;
        *request.uri_mut() = url.as_str().parse()?;
        for (name, value) in headers {
            request.headers_mut().insert(name, HeaderValue::from_str(value)?);
        }
        let credential = self.client.credentials().get_credential().await?;
        AwsAuthorizer::new(&credential, "s3", &region).try_authorize(&mut request, None)?;
        let (parts, _) = request.into_parts();
        let sending = self.http.request(parts.method, url).headers(parts.headers).body(content);
        Answer::read(sending.send().await?, VERSION).await
    }

    async fn put(&self, name: &str, condition: (HeaderName, &str)) -> Verdict {
        let mut answer = self.ask(Method::PUT, name, &[], &[condition, WRONG_DIGEST]).await;
        if matches!(&answer, Ok(Answer { status: StatusCode::NOT_IMPLEMENTED, .. })) {
            answer = self.ask(Method::PUT, name, &[], &[WRONG_DIGEST]).await;
        }
        let Ok(Answer { status, version, .. }) = &answer else { return judge(answer) };
        if !status.is_success() {
            return judge(answer);
        }
        // A server that knows neither conditions nor digests has written it.
        let versions: Vec<_> = version.iter().map(|version| ("versionId", version.as_str())).collect();
        match self.ask(Method::DELETE, name, &versions, &[]).await {
            Ok(answer) if answer.status.is_success() => Verdict::Allowed,
            _ => Verdict::Left(name.to_owned()),
        }
    }

    /// Deletes what is not there. A versioned bucket marks even that as deleted, unless it heeds the condition.
    async fn delete(&self, name: &str) -> Verdict {
        let answer = self.ask(Method::DELETE, name, &[], &[(IF_MATCH, "*")]).await;
        let Ok(Answer { status, version: Some(marker), .. }) = &answer else { return judge(answer) };
        if !status.is_success() {
            return judge(answer);
        }
        match self.ask(Method::DELETE, name, &[("versionId", marker)], &[]).await {
            Ok(answer) if answer.status.is_success() => Verdict::Allowed,
            _ => Verdict::Left(format!("{name} (a delete marker)")),
        }
    }

    async fn list_everything(&self) -> Verdict {
        judge(self.ask(Method::GET, "", &[("list-type", "2"), ("max-keys", "1")], &[]).await)
    }

    async fn read(&self, name: &str) -> Verdict {
        let verdict = judge(self.ask(Method::GET, name, &[], &[(RANGE, "bytes=0-0")]).await);
        // Whoever may not list is told nothing of what is absent, whether it could be read or not.
        if verdict == Verdict::Denied && self.list_everything().await != Verdict::Allowed {
            return Verdict::Untold(
                "S3 refuses absent objects as well where it may not be listed; see that the policy names the root path"
                    .to_owned(),
            );
        }
        verdict
    }
}

#[async_trait]
impl Trial for Bucket {
    fn deeds(&self) -> &'static [Deed] {
        &[Deed::Overwrite, Deed::Write, Deed::Delete, Deed::DeleteVersion, Deed::ListOutside, Deed::ReadOutside]
    }

    async fn attempt(&self, deed: Deed, places: &Places) -> Verdict {
        let name = &places.throw_away;
        match deed {
            Deed::Overwrite => self.put(name, (IF_MATCH, NO_TAG)).await,
            Deed::Write => self.put(name, (IF_NONE_MATCH, "*")).await,
            Deed::Delete => self.delete(name).await,
            // What was written without versions has this one; here nothing was.
            Deed::DeleteVersion => judge(self.ask(Method::DELETE, name, &[("versionId", "null")], &[]).await),
            Deed::ListOutside => self.list_everything().await,
            Deed::ReadOutside => self.read(places.beside.as_deref().unwrap_or(name)).await,
        }
    }
}

/// What an answer tells of what was allowed.
fn judge(answer: anyhow::Result<Answer>) -> Verdict {
    let Answer { status, code, .. } = match answer {
        Ok(answer) => answer,
        Err(error) => return Verdict::Untold(format!("{error:#}")),
    };
    let is_allowed = match (status, code.as_str()) {
        (StatusCode::FORBIDDEN, code) if !CODES_OF_THE_CREDENTIAL.contains(&code) => return Verdict::Denied,
        (StatusCode::BAD_REQUEST, "BadDigest" | "InvalidDigest") => true,
        (StatusCode::NOT_FOUND, code) => code != "NoSuchBucket",
        (StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT, _) => true,
        (status, _) => status.is_success(),
    };
    if is_allowed {
        Verdict::Allowed
    } else {
        Verdict::Untold(format!("storage answered {status} {code}").trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, code: &str) -> Verdict {
        let (status, code) = (StatusCode::from_u16(status).unwrap(), code.to_owned());
        judge(Ok(Answer { status, code, text: String::new(), version: None }))
    }

    #[test]
    fn only_what_storage_says_of_the_right_tells_of_the_right() {
        for (status, code) in [(403, "AccessDenied"), (403, ""), (403, "AllAccessDisabled")] {
            assert_eq!(judged(status, code), Verdict::Denied, "{status} {code}");
        }
        let allowed =
            [(200, ""), (204, ""), (400, "BadDigest"), (404, "NoSuchKey"), (412, "PreconditionFailed"), (404, "")];
        for (status, code) in allowed {
            assert_eq!(judged(status, code), Verdict::Allowed, "{status} {code}");
        }
        let untold = [
            (403, "InvalidAccessKeyId"),
            (403, "SignatureDoesNotMatch"),
            (403, "AccountProblem"),
            (400, "ExpiredToken"),
            (404, "NoSuchBucket"),
            (301, "PermanentRedirect"),
            (501, "NotImplemented"),
            (503, "SlowDown"),
        ];
        for (status, code) in untold {
            assert!(matches!(judged(status, code), Verdict::Untold(_)), "{status} {code}");
        }
    }
}
