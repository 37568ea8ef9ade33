//! As much of Keystone and Swift as a read needs, in one server that does as it is told, and counts. Keystone's part
//! checks what the real one checks of an application credential.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use http_body_util::{BodyExt, Full};
use humantime::format_rfc3339_micros;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use md5::{Digest, Md5};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Where objects are: account and container.
const CONTAINER: &str = "/v1/AUTH_docs/pages";

/// What the application credential is made of.
const CREDENTIAL: (&str, &str) = ("cred-1", "s3cr3t");

/// Entries on a page of a listing at most.
const SHORT_PAGE: usize = 700;

/// What each object holds.
pub const PAGE: &[u8] = b"<h1>From Swift</h1>";

/// How Keystone is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keystone {
    /// It gives tokens.
    Well,
    /// It takes no credential.
    Refuses,
    /// It answers 503.
    Fails,
    /// It answers with another address, to a POST of the same body.
    Redirects,
}

/// How Swift is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swift {
    /// It answers as it should.
    Well,
    /// It answers whoever has a token with this status.
    Answers(u16),
    /// The same, so many times.
    AnswersFirst(u16, usize),
    /// It answers with another address.
    Redirects,
    /// It takes no token.
    TakesNoToken,
    /// It takes tokens for reading alone, as where the credential has access rules.
    HasAccessRules,
    /// Its container is gone.
    HasNoContainer,
}

pub struct OpenStack {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    address: SocketAddr,
    keystone: Keystone,
    swift: Swift,
    lifetime: Duration,
    /// Tokens, and until when they are good.
    tokens: HashMap<String, Instant>,
    log_ins: usize,
    refused: usize,
    /// Requests to Swift that had a token, by method and path.
    asked: BTreeMap<String, usize>,
    /// Requests that came where nobody should have been sent.
    strayed: usize,
    /// What a listing tells of.
    names: Vec<String>,
}

impl OpenStack {
    /// One that is well, and gives tokens for an hour.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            address,
            keystone: Keystone::Well,
            swift: Swift::Well,
            lifetime: Duration::from_secs(3600),
            tokens: HashMap::new(),
            log_ins: 0,
            refused: 0,
            asked: BTreeMap::new(),
            strayed: 0,
            names: Vec::new(),
        }));
        let served = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let state = Arc::clone(&served);
                let service = service_fn(move |request| {
                    let state = Arc::clone(&state);
                    async move { Ok::<_, Infallible>(answer(&state, request).await) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service),
                );
            }
        });
        Self { address, state }
    }

    /// `techdocs.publisher`, as a flow map.
    pub fn publisher(&self) -> String {
        format!(
            "{{ type: openStackSwift, openStackSwift: {{ containerName: pages, authUrl: 'http://{0}', \
             swiftUrl: 'http://{0}/v1/AUTH_docs', credentials: {{ id: {1}, secret: {2} }} }} }}",
            self.address, CREDENTIAL.0, CREDENTIAL.1
        )
    }

    pub fn keystone(&self, keystone: Keystone) {
        self.state().keystone = keystone;
    }

    pub fn swift(&self, swift: Swift) {
        self.state().swift = swift;
    }

    /// Tokens live so long from now on.
    pub fn tokens_live(&self, lifetime: Duration) {
        self.state().lifetime = lifetime;
    }

    /// Listings tell of these from now on.
    pub fn lists(&self, mut names: Vec<String>) {
        names.sort_unstable();
        self.state().names = names;
    }

    /// No token is good any more that was given before.
    pub fn revoke(&self) {
        self.state().tokens.clear();
    }

    /// How often somebody logged in.
    pub fn log_ins(&self) -> usize {
        self.state().log_ins
    }

    /// How often Swift was shown a token that is not good.
    pub fn refused(&self) -> usize {
        self.state().refused
    }

    /// How often Swift was asked for this, with a good token.
    pub fn asked(&self, method: &str, path: &str) -> usize {
        self.state().asked.get(&format!("{method} {CONTAINER}{path}")).copied().unwrap_or_default()
    }

    /// Requests that followed a redirection.
    pub fn strayed(&self) -> usize {
        self.state().strayed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

async fn answer(state: &Mutex<State>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let mut state = state.lock().unwrap();
    let path = head.uri.path();
    let query = head.uri.query().unwrap_or_default();
    if path.starts_with("/elsewhere") {
        state.strayed += 1;
        return status(200);
    }
    if path == "/v3/auth/tokens" && head.method == Method::POST {
        return state.log_in(&serde_json::from_slice(&body).unwrap());
    }
    let token = head.headers.get("x-auth-token").map(|token| token.to_str().unwrap());
    let until = token.and_then(|token| state.tokens.get(token));
    let is_ruled_out = match state.swift {
        Swift::TakesNoToken => true,
        Swift::HasAccessRules => !matches!(head.method, Method::GET | Method::HEAD),
        _ => false,
    };
    if is_ruled_out || until.is_none_or(|until| *until <= Instant::now()) {
        state.refused += 1;
        return status(401);
    }
    *state.asked.entry(format!("{} {path}", head.method)).or_default() += 1;
    state.read(path, query)
}

impl State {
    fn log_in(&mut self, body: &Value) -> Response<Full<Bytes>> {
        self.log_ins += 1;
        match self.keystone {
            Keystone::Well => {}
            Keystone::Refuses => return refusal(),
            Keystone::Fails => return status(503),
            Keystone::Redirects => return elsewhere(self.address, 307),
        }
        let credential = json!({ "id": CREDENTIAL.0, "secret": CREDENTIAL.1 });
        let identity = json!({ "methods": ["application_credential"], "application_credential": credential });
        if *body != json!({ "auth": { "identity": identity } }) {
            return refusal();
        }
        let token = format!("token-{}", self.log_ins);
        self.tokens.insert(token.clone(), Instant::now() + self.lifetime);
        // By a clock that is not the reader's: it went wrong years ago.
        let issued_at = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400);
        let about = json!({ "token": {
            "issued_at": format_rfc3339_micros(issued_at).to_string(),
            "expires_at": format_rfc3339_micros(issued_at + self.lifetime).to_string(),
        }});
        Response::builder().status(201).header("x-subject-token", token).body(about.to_string().into()).unwrap()
    }

    fn read(&mut self, path: &str, query: &str) -> Response<Full<Bytes>> {
        match self.swift {
            Swift::Well | Swift::TakesNoToken | Swift::HasAccessRules | Swift::AnswersFirst(_, 0) => {}
            Swift::Answers(code) => return status(code),
            Swift::AnswersFirst(code, times) => {
                self.swift = Swift::AnswersFirst(code, times - 1);
                return status(code);
            }
            Swift::Redirects => return elsewhere(self.address, 302),
            Swift::HasNoContainer => return status(404),
        }
        if path == CONTAINER {
            return self.page(query);
        }
        if path.ends_with("/absent") {
            return status(404);
        }
        Response::builder()
            .header("etag", hex(&Md5::digest(PAGE)))
            .header("last-modified", "Thu, 29 Feb 2024 12:00:00 GMT")
            .body(Full::from(PAGE))
            .unwrap()
    }
}

impl State {
    /// A page of a listing; it may be shorter than was asked for, as those of containers that are spread over servers.
    fn page(&self, query: &str) -> Response<Full<Bytes>> {
        let query: HashMap<_, _> = url::form_urlencoded::parse(query.as_bytes()).collect();
        let asked = |name: &str| query.get(name).map(|value| value.as_ref()).unwrap_or_default();
        let (prefix, marker, delimiter) = (asked("prefix"), asked("marker"), asked("delimiter"));
        let most = asked("limit").parse().unwrap_or(SHORT_PAGE).min(SHORT_PAGE);
        let mut entries: Vec<(String, Value)> = Vec::new();
        for name in self.names.iter().filter(|name| name.starts_with(prefix)) {
            let folder = name[prefix.len()..].split_once('/').filter(|_| !delimiter.is_empty());
            let folder = folder.map(|(folder, _)| format!("{prefix}{folder}/"));
            let entry = match folder {
                Some(folder) => (folder.clone(), json!({ "subdir": folder })),
                None => (name.clone(), json!({ "name": name, "hash": "", "bytes": 1 })),
            };
            if entry.0.as_str() > marker && entries.last() != Some(&entry) && entries.len() < most {
                entries.push(entry);
            }
        }
        let entries: Vec<Value> = entries.into_iter().map(|(_, entry)| entry).collect();
        Response::new(json!(entries).to_string().into())
    }
}

/// What Keystone says to a credential that it does not know.
fn refusal() -> Response<Full<Bytes>> {
    let words = json!({ "error": {
        "code": 401, "title": "Unauthorized", "message": "The request you have made requires authentication.",
    }});
    Response::builder().status(401).body(words.to_string().into()).unwrap()
}

fn elsewhere(address: SocketAddr, code: u16) -> Response<Full<Bytes>> {
    let location = format!("http://{address}/elsewhere");
    Response::builder().status(code).header("location", location).body(Full::default()).unwrap()
}

fn status(code: u16) -> Response<Full<Bytes>> {
    Response::builder().status(code).header("x-trans-id", "tx0123").body(Full::default()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
