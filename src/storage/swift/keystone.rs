//! Keystone v3, which gives a token for an application credential.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::answer::{bounded, told};
use crate::secret::Secret;
use crate::storage::SwiftOptions;
use crate::storage::credential::{IssueError, Issued, Issuer};
use crate::storage::traced::send;

/// A catalog tells of every service in every region; the largest clouds come to a tenth of this many bytes.
const LARGEST_ANSWER: usize = 4 << 20;

/// Takes an application credential to Keystone.
#[derive(Debug)]
pub(super) struct Keystone {
    http: reqwest::Client,
    url: Url,
    /// The request's body, secret and all.
    body: Secret,
    /// `swiftUrl`, where the catalog is not asked.
    swift_url: Option<Url>,
    region: Option<String>,
}

/// What Keystone has given.
#[derive(Debug)]
pub(super) struct Token {
    /// The token itself, as a header that never prints.
    pub(super) value: HeaderValue,
    /// Where Swift is, up to the account, without a slash at its end.
    pub(super) account: String,
}

impl Keystone {
    /// One that is asked through `http`.
    pub(super) fn new(options: &SwiftOptions, http: reqwest::Client) -> Self {
        let body = json!({ "auth": { "identity": {
            "methods": ["application_credential"],
            "application_credential": { "id": options.credential_id, "secret": options.secret.expose_text() },
        }}});
        let mut url = tokens_url(&options.auth_url);
        if options.swift_url.is_some() {
            url.set_query(Some("nocatalog"));
        }
        let (swift_url, region) = (options.swift_url.clone(), options.region.clone());
        Self { http, url, body: Secret::new(body.to_string()), swift_url, region }
    }

    fn token(&self, headers: &HeaderMap, about: &About) -> Result<Token, IssueError> {
        let value = headers.get("x-subject-token").cloned();
        let mut value = value.ok_or_else(|| unavailable("Keystone's answer has no X-Subject-Token"))?;
        value.set_sensitive(true);
        let account = match &self.swift_url {
            Some(url) => url.as_str(),
            None => about.swift_url(self.region.as_deref())?,
        };
        Ok(Token { value, account: account.trim_end_matches('/').to_owned() })
    }
}

#[async_trait]
impl Issuer for Keystone {
    type Credential = Token;

    async fn issue(&self) -> Result<Issued<Token>, IssueError> {
        let json = HeaderValue::from_static("application/json");
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.url.as_str())
            .header(CONTENT_TYPE, &json)
            .header(ACCEPT, json)
            .body(self.body.expose().to_vec())
            .map_err(|error| IssueError::unavailable(&error))?;
        let asked_at = SystemTime::now();
        let answer = send(&self.http, request).await.map_err(|error| IssueError::unavailable(&error))?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = bounded(answer, LARGEST_ANSWER).await.map_err(|error| IssueError::unavailable(&error))?;
        match status {
            StatusCode::CREATED | StatusCode::OK => {
                let Answer { token } =
                    serde_json::from_slice(&body).map_err(|error| IssueError::unavailable(&error))?;
                let credential = Arc::new(self.token(&headers, &token)?);
                Ok(Issued { credential, expires_at: Some(asked_at + token.lifetime()?) })
            }
            // Its words tell what is wrong with the credential, and never the credential.
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
                let words = serde_json::from_slice::<Refusal>(&body).map(|refusal| refusal.error.message);
                let words = words.unwrap_or_default();
                Err(IssueError::Refused(format!("{}: {words:.300}", told("Keystone", status, &headers)).into()))
            }
            other => Err(unavailable(&told("Keystone", other, &headers))),
        }
    }
}

fn unavailable(words: &str) -> IssueError {
    IssueError::Unavailable(words.into())
}

/// Where tokens are given. Backstage's client adds `/v3` to `authUrl`, while OpenStack's own `OS_AUTH_URL` mostly has it:
/// both are understood.
fn tokens_url(auth_url: &Url) -> Url {
    let mut url = auth_url.clone();
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix("/v3").unwrap_or(path);
    url.set_path(&format!("{path}/v3/auth/tokens"));
    url
}

/// Keystone's refusal.
#[derive(Deserialize)]
struct Refusal {
    error: Words,
}

#[derive(Deserialize)]
struct Words {
    message: String,
}

/// Keystone's answer.
#[derive(Deserialize)]
struct Answer {
    token: About,
}

/// What Keystone tells about a token.
#[derive(Deserialize)]
struct About {
    issued_at: String,
    expires_at: String,
    #[serde(default)]
    catalog: Vec<Service>,
}

#[derive(Deserialize)]
struct Service {
    r#type: String,
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

#[derive(Deserialize)]
struct Endpoint {
    interface: String,
    region_id: Option<String>,
    url: String,
}

impl About {
    /// Both times are Keystone's: its clock and ours need not agree.
    fn lifetime(&self) -> Result<Duration, IssueError> {
        let time = |text: &str| humantime::parse_rfc3339(text).map_err(|error| IssueError::unavailable(&error));
        let lifetime = time(&self.expires_at)?.duration_since(time(&self.issued_at)?);
        lifetime.map_err(|_| unavailable("Keystone's token has expired before it was issued"))
    }

    /// The public address of Swift, in this region where one is named, else in the only one.
    fn swift_url(&self, region: Option<&str>) -> Result<&str, IssueError> {
        let services = self.catalog.iter().filter(|service| service.r#type == "object-store");
        let mut found: Vec<&Endpoint> = services
            .flat_map(|service| &service.endpoints)
            .filter(|endpoint| endpoint.interface == "public")
            .filter(|endpoint| region.is_none() || endpoint.region_id.as_deref() == region)
            .collect();
        found.dedup_by(|one, other| one.url == other.url);
        let several: Vec<_> = match found.as_slice() {
            [one] => return Ok(&one.url),
            several => several.iter().filter_map(|endpoint| endpoint.region_id.as_deref()).collect(),
        };
        let problem = match region {
            _ if several.len() > 1 => {
                format!("several public object-store endpoints ({}): set region", several.join(", "))
            }
            Some(region) => format!("no public object-store endpoint in region {region}: set swiftUrl"),
            None => "no public object-store endpoint: set swiftUrl".to_owned(),
        };
        // Somebody has to change something.
        Err(IssueError::Refused(format!("Keystone's catalog has {problem}").into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(endpoints: &str) -> About {
        let text = format!(
            r#"{{"issued_at": "2026-11-20T15:29:12.000000Z", "expires_at": "2026-11-20T16:29:12.000000Z",
                "catalog": [{{"type": "identity", "endpoints": []}}, {{"type": "object-store", "endpoints": [{endpoints}]}}]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_auth_url_is_understood_with_and_without_its_version() {
        for (auth_url, expected) in [
            ("https://keystone.example:5000", "https://keystone.example:5000/v3/auth/tokens"),
            ("https://keystone.example:5000/v3", "https://keystone.example:5000/v3/auth/tokens"),
            ("https://keystone.example/identity/v3/", "https://keystone.example/identity/v3/auth/tokens"),
            ("https://keystone.example/identity", "https://keystone.example/identity/v3/auth/tokens"),
        ] {
            assert_eq!(tokens_url(&auth_url.parse().unwrap()).as_str(), expected);
        }
    }

    #[test]
    fn a_token_lives_as_long_as_keystones_clock_says() {
        assert_eq!(about("").lifetime().unwrap(), Duration::from_secs(3600));
        let backwards = About { expires_at: "2026-11-20T15:00:00Z".to_owned(), ..about("") };
        assert!(backwards.lifetime().is_err());
    }

    #[test]
    fn the_catalog_is_asked_for_the_public_address_in_the_region() {
        let north = r#"{"interface": "public", "region_id": "north", "url": "http://north/v1/AUTH_a"}"#;
        let inside = r#"{"interface": "internal", "region_id": "north", "url": "http://inside/v1/AUTH_a"}"#;
        let south = r#"{"interface": "public", "region_id": "south", "url": "http://south/v1/AUTH_a"}"#;
        let one = about(&format!("{inside}, {north}"));
        assert_eq!(one.swift_url(None).unwrap(), "http://north/v1/AUTH_a");
        let both = about(&format!("{inside}, {north}, {south}"));
        assert_eq!(both.swift_url(Some("south")).unwrap(), "http://south/v1/AUTH_a");
        for (region, reason) in [(None, "(north, south): set region"), (Some("east"), "in region east: set swiftUrl")] {
            let told = both.swift_url(region).unwrap_err().to_string();
            assert!(told.ends_with(reason), "{told}");
        }
    }
}
