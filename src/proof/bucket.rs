//! Google Cloud Storage and Azure. Every request is put together here: the clients for reading can't be told to fail.

use async_trait::async_trait;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH, RANGE};
use http::{Method, StatusCode};
use object_store::azure::{AzureAuthorizer, MicrosoftAzure};
use object_store::client::{HttpRequest, HttpRequestBody};
use object_store::gcp::GoogleCloudStorage;
use percent_encoding::utf8_percent_encode;
use url::Url;

use super::answer::{Answer, CONTENT, UNENCODED, WRONG_DIGEST};
use super::{Deed, Places, Trial, Verdict};
use crate::storage::{AzureOptions, GcsOptions, Means, raw};

/// Where Google's buckets are.
const GOOGLE: &str = "https://storage.googleapis.com";

/// On Google, only if this is the object's generation: zero is that of no object, and none has the other one.
const GENERATION: HeaderName = HeaderName::from_static("x-goog-if-generation-match");
const NO_GENERATION: &str = "0";
const WRONG_GENERATION: &str = "1";

/// The header that names the generation which was made.
const MADE_GENERATION: &str = "x-goog-generation";

/// On Azure, the tag of no object.
const NO_TAG: &str = "\"0x8D0000000000000\"";

/// What every upload to Azure has to say.
const BLOB_TYPE: (HeaderName, &str) = (HeaderName::from_static("x-ms-blob-type"), "BlockBlob");

/// Azure's codes for somebody who is known, and is not allowed this.
const AZURE_DENIES: [&str; 4] = [
    "AuthorizationPermissionMismatch",
    "AuthorizationResourceTypeMismatch",
    "InsufficientAccountPermissions",
    "UnauthorizedBlobOverwrite",
];

/// A bucket or container, and what requests to it are made with.
pub(super) struct Bucket {
    cloud: Cloud,
    /// Its address, without a slash at its end.
    address: Url,
    http: reqwest::Client,
}

/// Whose it is, and what signs there.
enum Cloud {
    Google(GoogleCloudStorage),
    Azure { client: MicrosoftAzure, account: String },
}

impl Bucket {
    /// The bucket in `options`.
    pub(super) fn google(options: &GcsOptions, means: &Means<'_>) -> anyhow::Result<Self> {
        let cloud = Cloud::Google(raw::gcs(options, means)?);
        let place = options.endpoint.clone().map_or_else(|| GOOGLE.parse(), Ok)?;
        Self::new(cloud, &place, &options.bucket, means)
    }

    /// The container in `options`.
    pub(super) fn azure(options: &AzureOptions, means: &Means<'_>) -> anyhow::Result<Self> {
        let cloud = Cloud::Azure { client: raw::azure(options, means)?, account: options.account.clone() };
        Self::new(cloud, &options.endpoint, &options.container, means)
    }

    fn new(cloud: Cloud, place: &Url, name: &str, means: &Means<'_>) -> anyhow::Result<Self> {
        let http = means.trust.http_client(false).redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self { cloud, address: below(place, name), http })
    }

    async fn ask(
        &self,
        method: Method,
        name: &str,
        query: &[(&str, &str)],
        headers: &[(HeaderName, &str)],
    ) -> anyhow::Result<Answer> {
        let mut url = if name.is_empty() { self.address.clone() } else { below(&self.address, name) };
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let content = if method == Method::PUT { CONTENT } else { b"" };
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = method;
        *request.uri_mut() = url.as_str().parse()?;
        for (name, value) in headers {
            request.headers_mut().insert(name, HeaderValue::from_str(value)?);
        }
        if !content.is_empty() {
            // It is signed, as it is sent.
            request.headers_mut().insert(CONTENT_LENGTH, content.len().into());
        }
        self.sign(&mut request).await?;
        let (parts, _) = request.into_parts();
        let sending = self.http.request(parts.method, parts.uri.to_string()).headers(parts.headers).body(content);
        // The address may hold a signature.
        Answer::read(sending.send().await.map_err(reqwest::Error::without_url)?, MADE_GENERATION).await
    }

    async fn sign(&self, request: &mut HttpRequest) -> anyhow::Result<()> {
        match &self.cloud {
            Cloud::Google(client) => {
                let credential = client.credentials().get_credential().await?;
                let mut token = HeaderValue::from_str(&format!("Bearer {}", credential.bearer))?;
                token.set_sensitive(true);
                request.headers_mut().insert(AUTHORIZATION, token);
            }
            Cloud::Azure { client, account } => {
                let credential = client.credentials().get_credential().await?;
                AzureAuthorizer::new(&credential, account).try_authorize(request)?;
            }
        }
        Ok(())
    }

    async fn overwrite(&self, name: &str) -> Verdict {
        match self.cloud {
            Cloud::Azure { .. } => self.put(name, &[(IF_MATCH, NO_TAG), WRONG_DIGEST, BLOB_TYPE]).await,
            Cloud::Google(_) => {
                let verdict = self.put(name, &[(GENERATION, WRONG_GENERATION), WRONG_DIGEST]).await;
                // Whoever may only write can make new objects, but replaces none: that takes both rights.
                if verdict == Verdict::Allowed { self.delete(name).await } else { verdict }
            }
        }
    }

    async fn write(&self, name: &str) -> Verdict {
        match self.cloud {
            Cloud::Azure { .. } => self.put(name, &[(IF_NONE_MATCH, "*"), WRONG_DIGEST, BLOB_TYPE]).await,
            Cloud::Google(_) => self.put(name, &[(GENERATION, NO_GENERATION), WRONG_DIGEST]).await,
        }
    }

    async fn put(&self, name: &str, headers: &[(HeaderName, &str)]) -> Verdict {
        let answer = self.ask(Method::PUT, name, &[], headers).await;
        let Ok(Answer { status, version, .. }) = &answer else { return self.judge(answer) };
        if !status.is_success() {
            return self.judge(answer);
        }
        // A server that knows neither conditions nor digests has written it.
        let generation: Vec<_> = version.iter().map(|version| ("generation", version.as_str())).collect();
        match self.ask(Method::DELETE, name, &generation, &[]).await {
            Ok(answer) if answer.status.is_success() => Verdict::Allowed,
            _ => Verdict::Left(name.to_owned()),
        }
    }

    /// Deletes what is not there.
    async fn delete(&self, name: &str) -> Verdict {
        self.judge(self.ask(Method::DELETE, name, &[], &[]).await)
    }

    async fn list_everything(&self) -> Verdict {
        let query: &[_] = match self.cloud {
            Cloud::Google(_) => &[("list-type", "2"), ("max-keys", "1")],
            Cloud::Azure { .. } => &[("restype", "container"), ("comp", "list"), ("maxresults", "1")],
        };
        match self.ask(Method::GET, "", query, &[]).await {
            // That it names the right to list is no riddle here.
            Ok(answer) => self.judge(Ok(Answer { text: String::new(), ..answer })),
            failed => self.judge(failed),
        }
    }

    async fn read(&self, name: &str) -> Verdict {
        self.judge(self.ask(Method::GET, name, &[], &[(RANGE, "bytes=0-0")]).await)
    }

    fn judge(&self, answer: anyhow::Result<Answer>) -> Verdict {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Verdict::Untold(format!("{error:#}")),
        };
        match self.cloud {
            Cloud::Google(_) => judge_google(&answer),
            Cloud::Azure { .. } => judge_azure(&answer),
        }
    }
}

#[async_trait]
impl Trial for Bucket {
    fn deeds(&self) -> &'static [Deed] {
        &[Deed::Overwrite, Deed::Write, Deed::Delete, Deed::ListOutside, Deed::ReadOutside]
    }

    async fn attempt(&self, deed: Deed, places: &Places) -> Verdict {
        let name = &places.throw_away;
        match deed {
            Deed::Overwrite => self.overwrite(name).await,
            Deed::Write => self.write(name).await,
            Deed::Delete | Deed::DeleteVersion => self.delete(name).await,
            Deed::ListOutside => self.list_everything().await,
            Deed::ReadOutside => self.read(places.beside.as_deref().unwrap_or(name)).await,
        }
    }
}

/// What an answer of Google's tells of what was allowed.
fn judge_google(answer: &Answer) -> Verdict {
    match (answer.status, answer.code.as_str()) {
        // Where something is absent, whoever may not list is told that instead, whatever else they may.
        (StatusCode::FORBIDDEN, "AccessDenied") if answer.text.contains("storage.objects.list") => Verdict::Untold(
            "Google refuses absent objects as well where it may not be listed; see that the role is bound to the root path"
                .to_owned(),
        ),
        (StatusCode::FORBIDDEN, "AccessDenied") => Verdict::Denied,
        (StatusCode::BAD_REQUEST, "BadDigest" | "InvalidDigest") | (StatusCode::NOT_FOUND, "NoSuchKey") => {
            Verdict::Allowed
        }
        _ => judge_status(answer),
    }
}

/// The same for Azure.
fn judge_azure(answer: &Answer) -> Verdict {
    match (answer.status, answer.code.as_str()) {
        (StatusCode::FORBIDDEN, code) if AZURE_DENIES.contains(&code) => Verdict::Denied,
        (StatusCode::BAD_REQUEST, "Md5Mismatch" | "InvalidMd5") | (StatusCode::NOT_FOUND, "BlobNotFound") => {
            Verdict::Allowed
        }
        // Azurite has no code of its own for a digest that does not fit.
        (StatusCode::BAD_REQUEST, "InvalidOperation") if answer.text.contains("contentMD5 doesn't match") => {
            Verdict::Allowed
        }
        _ => judge_status(answer),
    }
}

/// What tells the same everywhere. Any other refusal may be of the credential itself.
fn judge_status(answer: &Answer) -> Verdict {
    let Answer { status, code, .. } = answer;
    if status.is_success() || *status == StatusCode::PRECONDITION_FAILED {
        return Verdict::Allowed;
    }
    Verdict::Untold(format!("storage answered {status} {code}").trim().to_owned())
}

/// The address of what has this name there.
fn below(place: &Url, name: &str) -> Url {
    let mut url = place.clone();
    url.set_path(&format!("{}/{}", place.path().trim_end_matches('/'), utf8_percent_encode(name, UNENCODED)));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, code: &str, text: &str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, code: code.to_owned(), text: text.to_owned(), version: None }
    }

    fn is_untold(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Untold(_))
    }

    #[test]
    fn only_what_google_says_of_the_right_tells_of_the_right() {
        let deleting = "reader@x does not have storage.objects.delete access to the Google Cloud Storage object.";
        let scope = "Provided scope(s) are not authorized";
        for text in [deleting, scope, ""] {
            assert_eq!(judge_google(&answer(403, "AccessDenied", text)), Verdict::Denied, "{text}");
        }
        for (status, code) in [(204, ""), (400, "BadDigest"), (404, "NoSuchKey"), (412, "PreconditionFailed")] {
            assert_eq!(judge_google(&answer(status, code, "")), Verdict::Allowed, "{status} {code}");
        }
        let listing = "reader@x does not have storage.objects.list access to the Google Cloud Storage bucket.";
        assert!(is_untold(&judge_google(&answer(403, "AccessDenied", listing))));
        for (status, code) in [
            (401, "AuthenticationRequired"),
            (403, ""),
            (403, "UserProjectAccountProblem"),
            (403, "SecurityPolicyViolated"),
            (404, "NoSuchBucket"),
            (404, ""),
            (429, "SlowDown"),
            (503, "ServiceUnavailable"),
        ] {
            assert!(is_untold(&judge_google(&answer(status, code, ""))), "{status} {code}");
        }
    }

    #[test]
    fn only_what_azure_says_of_the_right_tells_of_the_right() {
        assert_eq!(judge_azure(&answer(403, "AuthorizationPermissionMismatch", "")), Verdict::Denied);
        for (status, code) in [(202, ""), (400, "Md5Mismatch"), (404, "BlobNotFound"), (412, "ConditionNotMet")] {
            assert_eq!(judge_azure(&answer(status, code, "")), Verdict::Allowed, "{status} {code}");
        }
        let digest = answer(400, "InvalidOperation", "<Message>Provided contentMD5 doesn't match.</Message>");
        assert_eq!(judge_azure(&digest), Verdict::Allowed);
        for (status, code) in [
            (400, "InvalidOperation"),
            (401, "InvalidAuthenticationInfo"),
            (403, "AuthenticationFailed"),
            (403, "AuthorizationFailure"),
            (403, "AuthorizationSourceIPMismatch"),
            (403, "AccountIsDisabled"),
            (403, ""),
            (404, "ContainerNotFound"),
            (404, "ResourceNotFound"),
            (409, "ContainerBeingDeleted"),
            (503, "ServerBusy"),
        ] {
            assert!(is_untold(&judge_azure(&answer(status, code, ""))), "{status} {code}");
        }
    }
}
