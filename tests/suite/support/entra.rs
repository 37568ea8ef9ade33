//! Who gives out tokens for Azure: as much of Microsoft Entra ID, of a virtual machine's metadata service and of App
//! Service's endpoint as it takes to ask them, each checking what the real one checks.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use callboard::clock::Clock;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub const TENANT: &str = "contoso.onmicrosoft.com";
pub const CLIENT: &str = "6e1b1a04-8d1a-4f0b-a34e-6f5b6a3f0c11";
/// What keeps others from App Service's endpoint.
pub const IDENTITY_HEADER: &str = "853b9a84-5bfa-4b22-a3f3-0b9a43d9ad8a";

/// Who may have a federated token of Kubernetes, and the key that it is signed with.
const SUBJECT: &str = "system:serviceaccount:docs:callboard";
const FEDERATION_KEY: &[u8] = b"the cluster's own";
const AUDIENCE: &str = "api://AzureADTokenExchange";

pub struct Entra {
    /// In cleartext: Microsoft Entra ID itself is asked through TLS only.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    secret: String,
    lifetime: Duration,
    given: usize,
    refused: usize,
    outage: Option<u16>,
}

/// A status, and what comes with it.
type Answer = (u16, Value);

impl Entra {
    /// One that knows [`CLIENT`] by this secret, and whose tokens are good for so long.
    pub async fn start(secret: &str, lifetime: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = State { secret: secret.to_owned(), lifetime, given: 0, refused: 0, outage: None };
        let state = Arc::new(Mutex::new(state));
        let served = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let state = Arc::clone(&served);
                let service = service_fn(move |request| answer(Arc::clone(&state), request));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service),
                );
            }
        });
        Self { address, state }
    }

    /// From now on the application has another secret.
    pub fn change_secret(&self, secret: &str) {
        self.state.lock().unwrap().secret = secret.to_owned();
    }

    /// From now on every answer has this status, until it is `None`.
    pub fn fails_with(&self, status: Option<u16>) {
        self.state.lock().unwrap().outage = status;
    }

    /// The tokens that were given out.
    pub fn given(&self) -> usize {
        self.state.lock().unwrap().given
    }

    /// How often there was none to be had.
    pub fn refused(&self) -> usize {
        self.state.lock().unwrap().refused
    }
}

/// What Kubernetes writes into a pod, for `subject`.
pub fn federated_token(subject: &str) -> String {
    let now = Clock::System.now().as_secs();
    let claims = json!({
        "iss": "https://cluster.example", "sub": subject, "aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + 3600
    });
    let key = EncodingKey::from_secret(FEDERATION_KEY);
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap()
}

/// The one that [`CLIENT`] trusts.
pub fn good_federated_token() -> String {
    federated_token(SUBJECT)
}

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let query = pairs(head.uri.query().unwrap_or_default().as_bytes());
    let mut state = state.lock().unwrap();
    let (status, answer) = match (state.outage, head.method, head.uri.path()) {
        (Some(status), ..) => (status, Value::Null),
        (None, Method::POST, path) if path == format!("/{TENANT}/oauth2/v2.0/token") => state.exchange(&pairs(&body)),
        (None, Method::GET, "/metadata/identity/oauth2/token") => state.metadata(&head.headers, &query),
        (None, Method::GET, "/msi/token") => state.beside(&head.headers, &query),
        _ => (404, json!({ "error": "not_found" })),
    };
    let counter = if status == 200 { &mut state.given } else { &mut state.refused };
    *counter += 1;
    let answer = Response::builder().status(StatusCode::from_u16(status).unwrap()).body(answer.to_string().into());
    Ok(answer.unwrap())
}

fn pairs(text: &[u8]) -> HashMap<String, String> {
    url::form_urlencoded::parse(text).into_owned().collect()
}

impl State {
    /// Microsoft Entra ID's answer to an application.
    fn exchange(&self, form: &HashMap<String, String>) -> Answer {
        let said = |name: &str| form.get(name).map_or("", String::as_str);
        if said("grant_type") != "client_credentials" || said("scope") != "https://storage.azure.com/.default" {
            return refusal(400, "invalid_scope", "AADSTS1002012: The provided value for scope is not valid.");
        }
        if said("client_id") != CLIENT {
            return refusal(400, "unauthorized_client", "AADSTS700016: Application was not found in the directory.");
        }
        match said("client_assertion_type") {
            "" if said("client_secret") == self.secret => {}
            "" => return refusal(401, "invalid_client", "AADSTS7000215: Invalid client secret provided."),
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" if is_trusted(said("client_assertion")) => {}
            _ => return refusal(401, "invalid_client", "AADSTS70021: No matching federated identity record found."),
        }
        let lasts = self.lifetime.as_secs();
        (200, json!({ "token_type": "Bearer", "expires_in": lasts, "access_token": self.token() }))
    }

    /// The metadata service's answer: numbers are text.
    fn metadata(&self, headers: &HeaderMap, query: &HashMap<String, String>) -> Answer {
        if headers.get("metadata").is_none_or(|value| value != "true") {
            return refusal(400, "bad_request_102", "Required metadata header not specified");
        }
        if headers.contains_key("x-forwarded-for") || !self.is_asked_rightly(query, "2018-02-01") {
            return refusal(400, "invalid_request", "Identity not found");
        }
        let (lasts, until) = (self.lifetime.as_secs().to_string(), self.until().to_string());
        (200, json!({ "token_type": "Bearer", "expires_in": lasts, "expires_on": until, "access_token": self.token() }))
    }

    /// App Service's answer: it only tells until when.
    fn beside(&self, headers: &HeaderMap, query: &HashMap<String, String>) -> Answer {
        if headers.get("x-identity-header").is_none_or(|value| value != IDENTITY_HEADER) {
            return refusal(401, "unauthorized", "");
        }
        if !self.is_asked_rightly(query, "2019-08-01") {
            return refusal(400, "invalid_request", "No managed identity was found.");
        }
        (200, json!({ "token_type": "Bearer", "expires_on": self.until().to_string(), "access_token": self.token() }))
    }

    fn is_asked_rightly(&self, query: &HashMap<String, String>, version: &str) -> bool {
        let said = |name: &str| query.get(name).map(String::as_str);
        said("api-version") == Some(version)
            && said("resource") == Some("https://storage.azure.com")
            && said("client_id").is_none_or(|client| client == CLIENT)
    }

    fn until(&self) -> u64 {
        Clock::System.now().as_secs() + self.lifetime.as_secs()
    }

    /// As Azurite looks at one: everything but who signed it.
    fn token(&self) -> String {
        let now = Clock::System.now().as_secs();
        let claims = json!({
            "iss": "https://sts.windows.net/contoso/", "aud": "https://storage.azure.com", "oid": CLIENT,
            "iat": now, "nbf": now - 1, "exp": self.until(), "nonce": self.given
        });
        let parts = [json!({ "typ": "JWT", "alg": "RS256" }), claims].map(|part| part.to_string());
        let [header, claims] = parts.map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
        format!("{header}.{claims}.{}", BASE64_URL_SAFE_NO_PAD.encode("signed by nobody"))
    }
}

fn is_trusted(assertion: &str) -> bool {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_audience(&[AUDIENCE]);
    validation.sub = Some(SUBJECT.to_owned());
    let key = DecodingKey::from_secret(FEDERATION_KEY);
    jsonwebtoken::decode::<Value>(assertion, &key, &validation).is_ok()
}

fn refusal(status: u16, error: &str, description: &str) -> Answer {
    let description = format!("{description}\r\nTrace ID: 0\r\nTimestamp: 2026-11-20 12:00:00Z");
    (status, json!({ "error": error, "error_description": description }))
}
