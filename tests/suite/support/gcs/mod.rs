//! As much of Google's cloud as a reader of a bucket meets: Cloud Storage, the token endpoint, the metadata server, STS,
//! the IAM credentials API and an AWS instance beside them. Each checks what the real one checks.

mod crc32c;
mod objects;
mod rsa;
mod tokens;
mod uploads;

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use md5::{Digest, Md5};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::servers;
use rsa::Rsa;

pub const BUCKET: &str = "docs";

/// The service account that has the key, which the machine runs as, and which may be impersonated.
pub const ACCOUNT: &str = "reader@project.iam.gserviceaccount.com";

/// Who asks STS for tokens.
pub const AUDIENCE: &str = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x";

type Request = hyper::Request<Bytes>;
type Response = hyper::Response<Full<Bytes>>;

pub struct Gcs {
    pub address: SocketAddr,
    /// Where whoever publishes needs no token, as with an emulator.
    door: SocketAddr,
    cloud: Arc<Cloud>,
}

/// Everything behind the addresses.
struct Cloud {
    origin: String,
    /// What the account's key signs with.
    key: Mutex<Rsa>,
    /// What the other world signs its tokens with.
    provider: Rsa,
    tokens: Mutex<HashMap<String, Grant>>,
    objects: Mutex<BTreeMap<String, Stored>>,
    uploads: Mutex<HashMap<String, String>>,
    rules: Mutex<Rules>,
    exchanges: AtomicUsize,
    reads: AtomicUsize,
    /// What STS was last shown for AWS.
    asked_of_aws: Mutex<Option<Value>>,
}

/// What a token is good for.
#[derive(Debug, Clone)]
struct Grant {
    scope: String,
    expires_at: SystemTime,
}

#[derive(Debug, Clone)]
struct Stored {
    body: Bytes,
    etag: String,
    crc32c: String,
    generation: usize,
    written_at: SystemTime,
}

/// How it behaves.
#[derive(Debug, Clone)]
pub struct Rules {
    /// How long tokens are good.
    pub lifetime: Duration,
    /// What everybody who gives out tokens answers instead.
    pub tokens_fail: Option<u16>,
    /// Whether the account's key is revoked, and with it what was given out for it.
    pub is_revoked: bool,
    /// `storage.objects.get`.
    pub may_get: bool,
    /// `storage.objects.list`.
    pub may_list: bool,
    /// `storage.objects.create`.
    pub may_create: bool,
    /// `storage.objects.delete`.
    pub may_delete: bool,
    /// Whether it knows neither conditions nor digests, as simple imitations don't.
    pub is_simple: bool,
    /// What storage answers instead.
    pub storage_fails: Option<u16>,
    /// What the token endpoint is called.
    pub token_uri: String,
    /// Names on a page of a listing.
    pub page: usize,
}

impl Gcs {
    pub async fn start() -> Self {
        let (listener, door) =
            (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let (address, door_address) = (listener.local_addr().unwrap(), door.local_addr().unwrap());
        let cloud = Arc::new(Cloud {
            origin: format!("http://{address}"),
            key: Mutex::new(Rsa::generate()),
            provider: Rsa::generate(),
            tokens: Mutex::default(),
            objects: Mutex::default(),
            uploads: Mutex::default(),
            rules: Mutex::new(Rules {
                lifetime: Duration::from_secs(3600),
                tokens_fail: None,
                is_revoked: false,
                may_get: true,
                may_list: true,
                may_create: false,
                may_delete: false,
                is_simple: false,
                storage_fails: None,
                token_uri: format!("http://{address}/token"),
                page: 7,
            }),
            exchanges: AtomicUsize::new(0),
            reads: AtomicUsize::new(0),
            asked_of_aws: Mutex::default(),
        });
        tokio::spawn(serve(listener, Arc::clone(&cloud), Cloud::answer));
        tokio::spawn(serve(door, Arc::clone(&cloud), Cloud::let_in));
        Self { address, door: door_address, cloud }
    }

    pub fn origin(&self) -> &str {
        &self.cloud.origin
    }

    /// Changes how it behaves from now on.
    pub fn rule(&self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.cloud.rules.lock().unwrap());
    }

    /// How many tokens were given out.
    pub fn exchanges(&self) -> usize {
        self.cloud.exchanges.load(Ordering::SeqCst)
    }

    /// How many objects were asked for.
    pub fn reads(&self) -> usize {
        self.cloud.reads.load(Ordering::SeqCst)
    }

    /// The scopes of all tokens that were given out.
    pub fn scopes(&self) -> Vec<String> {
        self.cloud.tokens.lock().unwrap().values().map(|grant| grant.scope.clone()).collect()
    }

    /// Every object and its generation.
    pub fn held(&self) -> BTreeMap<String, usize> {
        let objects = self.cloud.objects.lock().unwrap();
        objects.iter().map(|(name, stored)| (name.clone(), stored.generation)).collect()
    }

    pub fn write(&self, name: &str, body: impl Into<Bytes>) {
        self.cloud.store(name, body.into());
    }

    /// A token that may read, as somebody else got it.
    pub fn token(&self) -> String {
        self.cloud.give(tokens::READ_ONLY)
    }

    /// The JSON of the account's key.
    pub fn key(&self) -> Value {
        json!({
            "type": "service_account", "project_id": "project", "private_key_id": rsa::KID,
            "private_key": self.cloud.key.lock().unwrap().pem(), "client_email": ACCOUNT, "token_uri": self.cloud.rules().token_uri,
        })
    }

    /// A key that the account does not have.
    pub fn wrong_key(&self) -> Value {
        let mut key = self.key();
        key["private_key"] = Rsa::generate().pem().into();
        key
    }

    /// Gives the account another key, and takes the one that it had.
    pub fn rotate_key(&self) {
        *self.cloud.key.lock().unwrap() = Rsa::generate();
    }

    /// A token of the other world, good for so long.
    pub fn provider_token(&self, good_for: Duration) -> String {
        let now = rsa::seconds(SystemTime::now());
        let claims =
            json!({ "iss": "https://idp", "sub": "pod", "aud": AUDIENCE, "iat": now, "exp": now + good_for.as_secs() });
        self.cloud.provider.sign(&claims)
    }

    /// The question to AWS that STS was last shown.
    pub fn asked_of_aws(&self) -> Option<Value> {
        self.cloud.asked_of_aws.lock().unwrap().clone()
    }

    /// Where a token of the account is asked for.
    pub fn impersonation_url(&self) -> String {
        format!("{}{}", self.origin(), tokens::impersonation_path())
    }

    /// The JSON of a user who has logged in.
    pub fn user(&self) -> Value {
        let (id, secret, refresh) = tokens::CLIENT;
        json!({
            "type": "authorized_user", "client_id": id, "client_secret": secret, "refresh_token": refresh,
            "token_uri": format!("{}/token", self.origin()),
        })
    }

    /// The JSON of federation with tokens of the other world from `source`.
    pub fn federated(&self, source: &Value) -> Value {
        json!({
            "type": "external_account", "audience": AUDIENCE, "token_url": format!("{}/v1/token", self.origin()),
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "credential_source": source,
        })
    }

    /// Publishes a built site with `techdocs-cli`, and returns once that is done.
    pub async fn publish(&self, site: &Path, entity: &str) {
        let publisher = ["--publisher-type", "googleGcs", "--storage-name", BUCKET];
        let variables = [
            ("STORAGE_EMULATOR_HOST", format!("http://{}", self.door)),
            ("GOOGLE_CLOUD_PROJECT", "project".to_owned()),
        ];
        servers::publish_with_techdocs_cli(&publisher, &variables, site, entity).await;
    }
}

impl Cloud {
    fn answer(&self, request: &Request) -> Response {
        self.token_answer(request).unwrap_or_else(|| self.object_answer(request))
    }

    fn rules(&self) -> Rules {
        self.rules.lock().unwrap().clone()
    }

    fn store(&self, name: &str, body: Bytes) -> Stored {
        let digest: String = Md5::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
        let etag = format!("\"{digest}\"");
        let mut objects = self.objects.lock().unwrap();
        let generation = objects.get(name).map_or(1, |stored| stored.generation + 1);
        let crc32c = crc32c::base64(&body);
        let stored = Stored { body, etag, crc32c, generation, written_at: SystemTime::now() };
        objects.insert(name.to_owned(), stored.clone());
        stored
    }
}

async fn serve(listener: TcpListener, cloud: Arc<Cloud>, answer: fn(&Cloud, &Request) -> Response) {
    while let Ok((socket, _)) = listener.accept().await {
        let cloud = Arc::clone(&cloud);
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let cloud = Arc::clone(&cloud);
            async move {
                let (head, body) = request.into_parts();
                let Ok(body) = body.collect().await else { return Ok(said(400, "")) };
                let request = Request::from_parts(head, body.to_bytes());
                Ok::<_, Infallible>(answer(&cloud, &request))
            }
        });
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service));
    }
}

fn said(status: u16, body: impl Into<Bytes>) -> Response {
    hyper::Response::builder().status(status).body(Full::new(body.into())).unwrap()
}

trait Header {
    fn header(&self, name: &str) -> Option<&str>;
    fn parameters(&self) -> HashMap<String, String>;
}

impl Header for Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers().get(name).map(|value| value.to_str().unwrap())
    }

    fn parameters(&self) -> HashMap<String, String> {
        form(self.uri().query().unwrap_or_default().as_bytes())
    }
}

fn form(bytes: &[u8]) -> HashMap<String, String> {
    url::form_urlencoded::parse(bytes).into_owned().collect()
}

fn decoded(part: &str) -> String {
    percent_encoding::percent_decode_str(part).decode_utf8().unwrap().into_owned()
}
