//! Requests to Swift: where to, in whose name, and how often.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Request, StatusCode, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Response;

use super::keystone::Token;
use crate::storage::StoreError;
use crate::storage::credential::{Credential, Keeper};
use crate::storage::traced::send;

/// How often one request is sent before its failure is the answer, as often as the S3 client does.
const TRIES: u32 = 3;

/// Before the second try; the third waits twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// What stands unescaped in a path, and in a query as well; Swift decodes all else once.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Asks one container.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    tokens: Arc<Keeper<Token>>,
    /// As it stands in a path.
    container: String,
}

/// One request, whoever sends it and how often.
#[derive(Debug)]
pub struct Ask {
    method: Method,
    /// What comes behind the account.
    path: String,
    headers: HeaderMap,
}

impl Client {
    pub(super) fn new(http: reqwest::Client, tokens: Arc<Keeper<Token>>, container: &str) -> Self {
        Self { http, tokens, container: utf8_percent_encode(container, ESCAPED).to_string() }
    }

    /// A request for an object; `None` where no object can have such a name.
    pub fn object(&self, method: Method, key: &str, headers: HeaderMap) -> Option<Ask> {
        // A client takes these out of an address, escaped or not: it would be another object's.
        let is_plain = !key.split('/').any(|segment| matches!(segment, "." | ".."));
        let path = format!("/{}/{}", self.container, utf8_percent_encode(key, ESCAPED));
        is_plain.then_some(Ask { method, path, headers })
    }

    /// A request for the container itself.
    pub fn container(&self, method: Method, query: &[(&str, &str)]) -> Ask {
        Ask { method, path: format!("/{}", self.container), headers: HeaderMap::new() }.with(query)
    }

    /// The container's name, as it stands in a path.
    pub(super) fn name(&self) -> &str {
        &self.container
    }

    /// Why there is no token that could be shown, where that is so.
    pub(super) fn trouble(&self) -> Option<String> {
        self.tokens.trouble()
    }

    /// Swift's answer to one try, whatever it is: a token that is refused is kept.
    ///
    /// # Errors
    /// Where there is no token, or no answer.
    pub async fn send_once(&self, ask: &Ask) -> Result<Response, StoreError> {
        let token = self.tokens.current().await?;
        send(&self.http, ask.request(&token.account, &token.value)?).await.map_err(StoreError::unavailable)
    }

    /// Swift's answer, whatever it is. What may pass is tried again, and a token that is refused is changed for a new one.
    ///
    /// # Errors
    /// Where there is no token, or no answer.
    pub async fn send(&self, ask: &Ask) -> Result<Response, StoreError> {
        let mut token = self.tokens.current().await?;
        let mut is_renewed = false;
        let (mut tries, mut pause) = (0, FIRST_PAUSE);
        loop {
            let request = ask.request(&token.account, &token.value)?;
            let answer = send(&self.http, request).await;
            tries += 1;
            match answer {
                Ok(answer) if answer.status() == StatusCode::UNAUTHORIZED && !is_renewed => {
                    is_renewed = true;
                    token = self.tokens.instead_of(&token).await?;
                    continue;
                }
                Ok(answer) if tries == TRIES || !may_pass(answer.status()) => return Ok(answer),
                Err(error) if tries == TRIES => return Err(StoreError::unavailable(error)),
                Ok(_) | Err(_) => {}
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }
}

impl Ask {
    /// It with this query.
    #[must_use]
    pub fn with(mut self, query: &[(&str, &str)]) -> Self {
        let pairs = query.iter().map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, ESCAPED)));
        self.path = format!("{}?{}", self.path, pairs.collect::<Vec<_>>().join("&"));
        self
    }

    fn request(&self, account: &str, token: &http::HeaderValue) -> Result<Request<Vec<u8>>, StoreError> {
        let address: Uri = format!("{account}{}", self.path).parse().map_err(StoreError::unavailable)?;
        let mut request = Request::new(Vec::new());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = address;
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().insert("x-auth-token", token.clone());
        Ok(request)
    }
}

/// Whether the next try may fare better. One that was turned away for there being too many is not sent again.
fn may_pass(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}
