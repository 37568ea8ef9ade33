//! Tokens for storage, as Microsoft Entra ID and the machine's own endpoints give them out.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use http::StatusCode;
use http::header::{ACCEPT, CONTENT_TYPE};
use object_store::azure::AzureCredential;
use reqwest::redirect::Policy;
use reqwest::{Client, Request, RequestBuilder};
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use url::form_urlencoded::Serializer;

use super::{AzureIdentity, AzureProof, MachineEndpoint};
use crate::secret::Secret;
use crate::storage::credential::{IssueError, Issued, Issuer};
use crate::storage::http::CONNECT_TIMEOUT;
use crate::trust::Trust;

/// What the tokens are for, in the words of each of those who give them out. It is the same in every cloud.
const SCOPE: &str = "https://storage.azure.com/.default";
const RESOURCE: &str = "https://storage.azure.com";

/// What the machine's endpoints are asked in.
const METADATA_VERSION: &str = "2018-02-01";
const BESIDE_VERSION: &str = "2019-08-01";

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The longest answer, and the longest file with a token, that is read, in bytes. Tokens are some 2 KB.
const LONGEST: usize = 256 * 1024;

/// As much of a refusal as a log line should hold.
const LONGEST_REASON: usize = 300;

/// Asks for the tokens of an identity.
#[derive(Debug)]
pub(super) struct TokenIssuer {
    client: Client,
    identity: AzureIdentity,
}

impl TokenIssuer {
    /// It goes where it was told: through no redirection, which would take the secret along, and not to the machine's own
    /// endpoint through a proxy.
    pub(super) fn new(identity: AzureIdentity, trust: &Trust) -> Result<Self, reqwest::Error> {
        let builder = trust.http_client(false).redirect(Policy::none()).connect_timeout(CONNECT_TIMEOUT);
        let builder = match identity {
            AzureIdentity::Application { .. } => builder,
            AzureIdentity::Machine { .. } => builder.no_proxy(),
        };
        Ok(Self { client: builder.build()?, identity })
    }

    async fn request(&self) -> Result<Request, IssueError> {
        let request = match &self.identity {
            AzureIdentity::Application { tenant, client, proof, authority } => {
                let mut url = authority.clone();
                if let Ok(mut path) = url.path_segments_mut() {
                    path.pop_if_empty().extend([tenant, "oauth2", "v2.0", "token"]);
                }
                let proof = match proof {
                    AzureProof::Secret(secret) => [("client_secret", text(secret))].to_vec(),
                    AzureProof::FederatedToken(file) => {
                        [("client_assertion_type", ASSERTION_TYPE.to_owned()), ("client_assertion", read(file).await?)]
                            .to_vec()
                    }
                };
                let mut form = Serializer::new(String::new());
                form.append_pair("grant_type", "client_credentials").append_pair("scope", SCOPE);
                form.append_pair("client_id", client).extend_pairs(proof);
                self.client.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.finish())
            }
            AzureIdentity::Machine { client, endpoint } => self.ask_machine(client.as_deref(), endpoint),
        };
        request.header(ACCEPT, "application/json").build().map_err(|error| IssueError::unavailable(&error))
    }

    /// Who is asked, in words.
    fn place(&self) -> String {
        match &self.identity {
            AzureIdentity::Application { authority, .. } => authority.to_string(),
            AzureIdentity::Machine { endpoint: MachineEndpoint::Metadata(url), .. } => {
                format!("no AZURE_* variables name an application, and the machine's own {url}")
            }
            AzureIdentity::Machine { endpoint: MachineEndpoint::Beside { url, .. }, .. } => url.to_string(),
        }
    }

    fn ask_machine(&self, client: Option<&str>, endpoint: &MachineEndpoint) -> RequestBuilder {
        let (url, version) = match endpoint {
            MachineEndpoint::Metadata(url) => (url, METADATA_VERSION),
            MachineEndpoint::Beside { url, .. } => (url, BESIDE_VERSION),
        };
        let mut url = url.clone();
        url.query_pairs_mut().append_pair("api-version", version).append_pair("resource", RESOURCE);
        if let Some(client) = client {
            url.query_pairs_mut().append_pair("client_id", client);
        }
        let request = self.client.get(url);
        match endpoint {
            MachineEndpoint::Metadata(_) => request.header("Metadata", "true"),
            MachineEndpoint::Beside { header, .. } => request.header("X-IDENTITY-HEADER", header.expose()),
        }
    }
}

#[async_trait]
impl Issuer for TokenIssuer {
    type Credential = AzureCredential;

    async fn issue(&self) -> Result<Issued<AzureCredential>, IssueError> {
        let asked_at = SystemTime::now();
        let place = self.place();
        let failed = |error: reqwest::Error| {
            IssueError::unavailable(&Unreachable { place: place.clone(), source: error.without_url() })
        };
        let mut answer = self.client.execute(self.request().await?).await.map_err(failed)?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > LONGEST {
                return Err(unusable(status, "is longer than any token"));
            }
            body.extend_from_slice(&chunk);
        }
        if status != StatusCode::OK {
            return Err(refusal(status, &body));
        }
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| unusable(status, "holds no token"))?;
        answer.issued(asked_at).ok_or_else(|| unusable(status, "holds a token that can't be shown"))
    }
}

/// A token, and its end in one or both of two forms. Some write numbers, others text.
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: Option<Number>,
    expires_on: Option<Number>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(u64),
    Text(String),
}

impl Number {
    fn seconds(&self) -> Option<Duration> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
        }
        .map(Duration::from_secs)
    }
}

impl Answer {
    /// `None` where the token does not fit into a header.
    fn issued(self, asked_at: SystemTime) -> Option<Issued<AzureCredential>> {
        let is_token = !self.access_token.is_empty() && self.access_token.bytes().all(|byte| byte.is_ascii_graphic());
        // How long it lasts is known better than until when: the clocks may differ.
        let lasts = self.expires_in.and_then(|number| asked_at.checked_add(number.seconds()?));
        let expires_at = lasts.or_else(|| UNIX_EPOCH.checked_add(self.expires_on?.seconds()?));
        is_token.then(|| Issued { credential: Arc::new(AzureCredential::BearerToken(self.access_token)), expires_at })
    }
}

/// What is said of an error beside its status.
#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

fn refusal(status: StatusCode, body: &[u8]) -> IssueError {
    let Refusal { error, error_description } = serde_json::from_slice(body).unwrap_or_default();
    // Behind the first line come numbers to look it up by.
    let description = error_description.lines().next().unwrap_or_default();
    let words: Vec<&str> = [error.as_str(), description].into_iter().filter(|word| !word.is_empty()).collect();
    let words = words.join(": ");
    let said: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_REASON).collect();
    let message = format!("asked for a token, {status} came back {said}").trim_end().into();
    // 404 and 410 come from a metadata service that is being updated.
    let is_final = [StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status);
    if is_final && error != "temporarily_unavailable" {
        IssueError::Refused(message)
    } else {
        IssueError::Unavailable(message)
    }
}

fn unusable(status: StatusCode, what: &str) -> IssueError {
    IssueError::Unavailable(format!("asked for a token, what came back ({status}) {what}").into())
}

fn text(secret: &Secret) -> String {
    String::from_utf8_lossy(secret.expose()).into_owned()
}

/// The token in a file, which is read anew each time.
async fn read(file: &Path) -> Result<String, IssueError> {
    let mut token = String::new();
    let reading = async {
        let open = tokio::fs::File::open(file).await?;
        open.take(LONGEST as u64).read_to_string(&mut token).await
    };
    let read = reading.await;
    read.map_err(|source| IssueError::refused(&Unreadable { file: file.to_owned(), source }))?;
    Ok(token.trim().to_owned())
}

#[derive(Debug, thiserror::Error)]
#[error("{place} can't be asked for a token")]
struct Unreachable {
    place: String,
    source: reqwest::Error,
}

#[derive(Debug, thiserror::Error)]
#[error("the federated token {} can't be read", file.display())]
struct Unreadable {
    file: PathBuf,
    source: io::Error,
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    fn issued(answer: &str) -> Option<Option<u64>> {
        let answer: Answer = serde_json::from_str(answer).unwrap();
        let issued = answer.issued(UNIX_EPOCH + Duration::from_secs(1000))?;
        Some(issued.expires_at.map(|end| end.duration_since(UNIX_EPOCH).unwrap().as_secs()))
    }

    #[test]
    fn the_end_is_read_in_every_form() {
        for (end, expected) in [
            (r#""expires_in": 3599"#, Some(4599)),
            (r#""expires_in": "3599", "expires_on": "9000""#, Some(4599)),
            (r#""expires_on": "9000""#, Some(9000)),
            (r#""expires_on": "9/14/2026 5:00:00 PM""#, None),
            (r#""token_type": "Bearer""#, None),
        ] {
            assert_eq!(issued(&format!(r#"{{"access_token": "a.b.c", {end}}}"#)), Some(expected), "{end}");
        }
    }

    #[test]
    fn a_token_that_would_break_the_header_is_none() {
        for token in ["", "a b", "a\\nb", "tökén"] {
            assert_eq!(issued(&format!(r#"{{"access_token": "{token}"}}"#)), None, "{token}");
        }
    }

    #[test]
    fn a_refusal_is_told_from_an_outage_and_in_one_line() {
        let body =
            br#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret.\r\nTrace ID: 1"}"#;
        let error = refusal(StatusCode::UNAUTHORIZED, body);
        assert!(matches!(error, IssueError::Refused(_)));
        let told = error.to_string();
        assert!(
            told.ends_with("401 Unauthorized came back invalid_client: AADSTS7000215: Invalid client secret."),
            "{told}"
        );
        for (status, body) in [(400, r#"{"error":"temporarily_unavailable"}"#), (404, ""), (429, ""), (503, "<html>")] {
            let error = refusal(StatusCode::from_u16(status).unwrap(), body.as_bytes());
            assert!(matches!(error, IssueError::Unavailable(_)), "{status}");
        }
    }

    /// What comes of asking the machine's endpoint at `address`.
    async fn ask(address: SocketAddr) -> IssueError {
        let endpoint = MachineEndpoint::Metadata(format!("http://{address}/metadata").parse().unwrap());
        let trust = Trust::load(&crate::trust::Options::default()).unwrap();
        let issuer = TokenIssuer::new(AzureIdentity::Machine { client: None, endpoint }, &trust).unwrap();
        issuer.issue().await.unwrap_err()
    }

    /// A server that says this to whoever comes, once.
    async fn saying(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            socket.read_buf(&mut Vec::new()).await.unwrap();
            socket.write_all(answer.as_bytes()).await.unwrap();
        });
        address
    }

    #[tokio::test]
    async fn a_machine_that_gives_out_no_tokens_is_told_with_what_is_missing() {
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = ask(address).await;
        assert!(matches!(error, IssueError::Unavailable(_)), "{error}");
        assert!(
            error.to_string().starts_with("no AZURE_* variables name an application, and the machine's own"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn nobody_is_followed_elsewhere_and_nothing_else_is_taken_for_a_token() {
        let elsewhere = "HTTP/1.1 307 X\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
        let page = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>";
        let endless = "HTTP/1.1 200 OK\r\ncontent-length: 9999999\r\n\r\n{";
        for (answer, expected) in
            [(elsewhere, "307"), (page, "holds no token"), (endless, "can't be asked for a token")]
        {
            let error = ask(saying(answer).await).await;
            assert!(matches!(error, IssueError::Unavailable(_)) && error.to_string().contains(expected), "{error}");
        }
    }
}
