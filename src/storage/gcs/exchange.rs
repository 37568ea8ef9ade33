//! Asking for tokens over HTTP: what is common to all who give them out.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use object_store::gcp::GcpCredential;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use url::form_urlencoded::Serializer;

use crate::chain::chain;
use crate::secret::Secret;
use crate::storage::StoreError;
use crate::storage::credential::{IssueError, Issued};
use crate::storage::http::CONNECT_TIMEOUT;
use crate::trust::Trust;

/// How long one question may take; a token may need three of them.
const TIMEOUT: Duration = Duration::from_secs(6);

/// The longest answer or file that is read, in bytes. Tokens of some issuers have several kilobytes.
const LARGEST: usize = 256 * 1024;

/// What of a refusal's own words is told.
const WORDS_SHOWN: usize = 300;

/// Asks whoever gives out tokens.
#[derive(Debug)]
pub(super) struct Asker {
    /// For places in the internet, through the proxy that the environment names.
    pub(super) client: Client,
    /// For places beside the machine, which no proxy could reach.
    pub(super) direct: Client,
}

/// A token that Google takes.
pub(super) struct Token {
    pub(super) secret: Secret,
    pub(super) expires_at: Option<SystemTime>,
}

/// How token endpoints answer (RFC 6749 §5.1).
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    expires_in: Option<u64>,
}

impl Asker {
    pub(super) fn new(trust: &Trust, timeout: Duration) -> Result<Self, StoreError> {
        // A token is sent only to the place that the credential names.
        let builder = || {
            trust
                .http_client(false)
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(timeout.min(CONNECT_TIMEOUT))
                .timeout(TIMEOUT)
        };
        let client = builder().build().map_err(StoreError::unavailable)?;
        Ok(Self { client, direct: builder().no_proxy().build().map_err(StoreError::unavailable)? })
    }

    /// Posts a form, and has a token in return. `basic` is whom the asker says to be.
    pub(super) async fn token_for(
        &self,
        url: &str,
        fields: &[(&str, &str)],
        basic: Option<(&str, &Secret)>,
    ) -> Result<Token, IssueError> {
        let form = Serializer::new(String::new()).extend_pairs(fields).finish();
        let mut request = self.client.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        if let Some((name, password)) = basic {
            request = request.basic_auth(name, Some(String::from_utf8_lossy(password.expose())));
        }
        token(request).await
    }
}

/// Sends a request that is answered as token endpoints do.
pub(super) async fn token(request: RequestBuilder) -> Result<Token, IssueError> {
    let asked_at = SystemTime::now();
    let answer: TokenAnswer = json(request).await?;
    let expires_at = answer.expires_in.and_then(|seconds| asked_at.checked_add(Duration::from_secs(seconds)));
    Token::new(answer.access_token, expires_at)
}

/// Sends a request that is answered with JSON.
pub(super) async fn json<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, IssueError> {
    let (place, body) = ask(request).await?;
    // What is wrong with it may quote it, and it holds a token.
    serde_json::from_slice(&body).map_err(|_| failed(format!("{place} did not answer as it should")))
}

/// Sends a request that is answered with text.
pub(super) async fn text(request: RequestBuilder) -> Result<String, IssueError> {
    let (place, body) = ask(request).await?;
    let text = String::from_utf8(body).map_err(|_| failed(format!("{place} did not answer with text")))?;
    Ok(text.trim().to_owned())
}

/// The name of the place that was asked, and the body of its answer.
async fn ask(request: RequestBuilder) -> Result<(String, Vec<u8>), IssueError> {
    let (client, request) = request.build_split();
    let request = request.map_err(|error| IssueError::refused(&error.without_url()))?;
    let place = request.url().host_str().unwrap_or_default().to_owned();
    let unreachable =
        |error: reqwest::Error| failed(format!("{place} can't be asked: {}", chain(&error.without_url())));
    let mut answer = client.execute(request).await.map_err(unreachable)?;
    let broken = |error: reqwest::Error| IssueError::unavailable(&error.without_url());
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(broken)? {
        body.extend_from_slice(&chunk);
        if body.len() > LARGEST {
            return Err(failed(format!("{place} answered with more than {LARGEST} bytes")));
        }
    }
    let status = answer.status();
    if status.is_success() { Ok((place, body)) } else { Err(refusal(&place, status, &body)) }
}

fn refusal(place: &str, status: StatusCode, body: &[u8]) -> IssueError {
    let message = format!("{place} said {status}{}", reason(body));
    let may_pass = status.is_server_error()
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS);
    if may_pass { failed(message) } else { refused(message) }
}

/// The reason that an answer gives, as OAuth (RFC 6749 §5.2) or as Google's APIs do.
fn reason(body: &[u8]) -> String {
    let Ok(answer) = serde_json::from_slice::<Value>(body) else { return String::new() };
    let texts = ["/error", "/error_description", "/error/status", "/error/message"];
    let words: Vec<&str> = texts.iter().filter_map(|place| answer.pointer(place)?.as_str()).collect();
    let words = words.join(": ").replace(char::is_control, " ");
    let shown: String = words.chars().take(WORDS_SHOWN).collect();
    if shown.is_empty() { shown } else { format!(": {shown}") }
}

/// The contents of a file that a credential is in, or made from.
pub(super) async fn read(path: &Path) -> Result<Vec<u8>, IssueError> {
    let reading = async {
        let mut contents = Vec::new();
        tokio::fs::File::open(path).await?.take(LARGEST as u64 + 1).read_to_end(&mut contents).await?;
        io::Result::Ok(contents)
    };
    match reading.await {
        Ok(contents) if contents.len() > LARGEST => {
            Err(refused(format!("{} is larger than {LARGEST} bytes", path.display())))
        }
        Ok(contents) => Ok(contents),
        Err(error) => Err(refused(format!("{} can't be read: {error}", path.display()))),
    }
}

/// There will be no token until somebody changes something.
pub(super) fn refused(why: impl Into<String>) -> IssueError {
    IssueError::Refused(why.into().into())
}

/// There is no token now.
pub(super) fn failed(why: impl Into<String>) -> IssueError {
    IssueError::Unavailable(why.into().into())
}

impl Token {
    /// A token as it can stand in a header, or the error that it can't.
    pub(super) fn new(secret: String, expires_at: Option<SystemTime>) -> Result<Self, IssueError> {
        if secret.is_empty() || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(failed("the answer holds something that is no token"));
        }
        Ok(Self { secret: Secret::new(secret), expires_at })
    }

    pub(super) fn text(&self) -> &str {
        self.secret.expose_text().unwrap_or_default()
    }

    pub(super) fn issued(self) -> Issued<GcpCredential> {
        let credential = GcpCredential { bearer: self.text().to_owned() };
        Issued { credential: credential.into(), expires_at: self.expires_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_tells_its_reason_and_whether_it_may_pass() {
        let oauth = br#"{"error":"invalid_grant","error_description":"Invalid JWT\nSignature."}"#;
        let refused = refusal("oauth2.example.com", StatusCode::BAD_REQUEST, oauth);
        assert_eq!(
            refused.to_string(),
            "oauth2.example.com said 400 Bad Request: invalid_grant: Invalid JWT Signature."
        );
        let api = br#"{"error":{"code":403,"message":"no getAccessToken","status":"PERMISSION_DENIED"}}"#;
        let refused = refusal("iam", StatusCode::FORBIDDEN, api);
        assert_eq!(refused.to_string(), "iam said 403 Forbidden: PERMISSION_DENIED: no getAccessToken");
        assert!(matches!(refused, IssueError::Refused(_)));
        for status in [429, 500, 503] {
            let failed = refusal("iam", StatusCode::from_u16(status).unwrap(), b"<html>");
            assert!(matches!(failed, IssueError::Unavailable(_)), "{status}");
        }
        assert!(reason(format!(r#"{{"error":"{}"}}"#, "x".repeat(5000)).as_bytes()).len() < 400);
    }

    #[test]
    fn what_could_not_stand_in_a_header_is_no_token() {
        for text in ["", "a b", "a\r\nb", "ä"] {
            assert!(Token::new(text.to_owned(), None).is_err(), "{text:?}");
        }
    }
}
