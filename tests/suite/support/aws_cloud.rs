//! As much of AWS as hands out credentials (STS, instance metadata, container agents, SSO), and a bucket that takes them.
//! Each checks what the real one checks.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use http::request::Parts;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::json;
use tokio::net::TcpListener;

use super::sigv4::Signed;

pub const ACCOUNT: &str = "123456789012";
pub const ROLE: &str = "arn:aws:iam::123456789012:role/docs-reader";
pub const REGION: &str = "eu-central-1";

/// The keys of somebody who may assume the role, and nothing else.
pub const USER: (&str, &str) = ("AKIAUSER", "the-users-secret");

/// The site in the bucket.
pub const SITE: &str = "default/component/shop";

const AUDIENCE: &str = "sts.amazonaws.com";
const SUBJECT: &str = "system:serviceaccount:docs:callboard";
const TOKEN_SECRET: &[u8] = b"of the cluster that makes tokens";

pub struct AwsCloud {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    keys: HashMap<String, Key>,
    /// How long what is handed out lasts.
    lifetime: Duration,
    /// Who has handed out or answered how often.
    calls: BTreeMap<&'static str, usize>,
    /// Those that answer 503.
    down: BTreeSet<&'static str>,
    objects: BTreeMap<String, Bytes>,
    /// Those of them that a policy of their own keeps from the reader.
    withheld: BTreeSet<String>,
    /// What an owner of the bucket lets its reader do.
    may_list: bool,
    may_read: bool,
    /// Absent keys are 403 although listing is granted, as where it is granted for a prefix only.
    hides_absence: bool,
    external_id: Option<String>,
    session_name: &'static str,
    container_token: String,
    sso_token: String,
    metadata_token: Option<String>,
}

#[derive(Clone)]
struct Key {
    secret: String,
    token: Option<String>,
    expires_at: SystemTime,
    /// Whether it reads the bucket.
    is_reader: bool,
}

type Answer = Response<Full<Bytes>>;

/// An answer, or a refusal.
type Answered = Result<Answer, Box<Answer>>;

impl AwsCloud {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let far = SystemTime::now() + Duration::from_secs(86_400);
        let user = Key { secret: USER.1.to_owned(), token: None, expires_at: far, is_reader: false };
        let page = |name: &str| (format!("{SITE}/{name}"), Bytes::from(format!("<h1>{name}</h1>")));
        let mut objects: BTreeMap<String, Bytes> = (0..50).map(|number| page(&format!("{number}.html"))).collect();
        objects.extend([page("index.html"), page("techdocs_metadata.json")]);
        let state = Arc::new(Mutex::new(State {
            keys: HashMap::from([(USER.0.to_owned(), user)]),
            lifetime: Duration::from_secs(3600),
            calls: BTreeMap::new(),
            down: BTreeSet::new(),
            objects,
            withheld: BTreeSet::new(),
            may_list: true,
            may_read: true,
            hides_absence: false,
            external_id: None,
            session_name: "backstage-aws-techdocs-s3-publisher",
            container_token: "first".to_owned(),
            sso_token: "sso".to_owned(),
            metadata_token: None,
        }));
        let served = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let state = Arc::clone(&served);
                let service = service_fn(move |request| {
                    let state = Arc::clone(&state);
                    async move { Ok::<_, Infallible>(answer(&state, request).await) }
                });
                let serving = hyper::server::conn::http1::Builder::new();
                tokio::spawn(serving.serve_connection(TokioIo::new(socket), service));
            }
        });
        Self { address, state }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `techdocs.publisher` of the bucket, with this beside.
    pub fn publisher(&self, beside: &str) -> String {
        format!(
            "{{ type: awsS3, awsS3: {{ bucketName: docs, region: {REGION}, endpoint: '{}', maxAttempts: 1, \
             s3ForcePathStyle: true{beside} }} }}",
            self.url()
        )
    }

    /// Static keys that read the bucket.
    pub fn reader(&self) -> (String, String) {
        let (id, key) = self.with(|state| state.issue());
        self.with(|state| state.keys.get_mut(&id).unwrap().token = None);
        (id, key.secret)
    }

    /// Keys that were handed out somewhere else, with their session token.
    pub fn session(&self) -> [String; 3] {
        let (id, key) = self.with(|state| state.issue());
        [id, key.secret, key.token.unwrap()]
    }

    pub fn lasting(&self, lifetime: Duration) {
        self.with(|state| state.lifetime = lifetime);
    }

    /// How often `service` has answered as it should.
    pub fn calls(&self, service: &str) -> usize {
        self.with(|state| state.calls.get(service).copied().unwrap_or_default())
    }

    pub fn set_down(&self, service: &'static str, is_down: bool) {
        self.with(|state| if is_down { state.down.insert(service) } else { state.down.remove(service) });
    }

    /// From now on whoever reads may do this.
    pub fn grant(&self, may_read: bool, may_list: bool) {
        self.with(|state| (state.may_read, state.may_list) = (may_read, may_list));
    }

    pub fn hide_absence(&self) {
        self.with(|state| state.hides_absence = true);
    }

    pub fn ask_for(&self, external_id: Option<&str>, session_name: &'static str) {
        self.with(|state| (state.external_id, state.session_name) = (external_id.map(str::to_owned), session_name));
    }

    /// Takes all credentials back that read the bucket.
    pub fn revoke_readers(&self) {
        self.with(|state| state.keys.retain(|_, key| !key.is_reader));
    }

    /// The agent of the container takes this token, and no other.
    pub fn take_container_token(&self, token: &str) {
        self.with(|state| state.container_token = token.to_owned());
    }

    pub fn refuse(&self, name: &str) {
        self.with(|state| state.withheld.insert(format!("{SITE}/{name}")));
    }

    pub fn remove(&self, name: &str) {
        self.with(|state| state.objects.remove(&format!("{SITE}/{name}")));
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }
}

/// A token of a service account, as a cluster mounts it; `audience` is for whom.
pub fn service_account_token(audience: &str) -> String {
    let expires_at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() + 600;
    let claims = json!({ "sub": SUBJECT, "aud": audience, "exp": expires_at });
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(TOKEN_SECRET)).unwrap()
}

async fn answer(state: &Mutex<State>, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let mut state = state.lock().unwrap();
    let service = match parts.uri.path() {
        "/" => "sts",
        "/pod" => "container",
        "/federation/credentials" => "sso",
        path if path.starts_with("/latest/") => "metadata",
        _ => "s3",
    };
    if state.down.contains(service) {
        return plain(503, "down");
    }
    let answered = match service {
        "sts" => state.sts(&parts, &body),
        "container" => state.container(&parts),
        "sso" => state.sso(&parts),
        "metadata" => state.metadata(&parts),
        _ => state.s3(&parts, &body),
    };
    match answered {
        Ok(answer) => {
            *state.calls.entry(service).or_default() += 1;
            answer
        }
        Err(refusal) => *refusal,
    }
}

impl State {
    fn issue(&mut self) -> (String, Key) {
        let number = self.keys.len() + self.calls.values().sum::<usize>();
        let key = Key {
            secret: format!("secret-{number}-shh"),
            token: Some(format!("token-{number}-shh")),
            expires_at: SystemTime::now() + self.lifetime,
            is_reader: true,
        };
        let id = format!("ASIA{number}");
        self.keys.insert(id.clone(), key.clone());
        (id, key)
    }

    /// As containers' agents and instance metadata answer.
    fn document(&mut self) -> Answer {
        let (id, key) = self.issue();
        let document = json!({
            "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": id, "SecretAccessKey": key.secret, "Token": key.token,
            "LastUpdated": "2024-01-01T00:00:00Z", "Expiration": rfc3339(key.expires_at),
        });
        plain(200, document.to_string())
    }

    /// Who has signed a request for `service`, or the error that AWS answers with.
    fn signer(&self, parts: &Parts, body: &[u8], service: &str) -> Result<Key, (u16, &'static str)> {
        let signed = Signed::of(parts).ok_or((403, "MissingAuthenticationToken"))?;
        let key = self.keys.get(&signed.key_id).ok_or((403, "InvalidAccessKeyId"))?;
        let token = parts.headers.get("x-amz-security-token").map(|token| token.to_str().unwrap());
        if !signed.is_by(&key.secret, parts, body) || signed.service() != service || signed.region() != REGION {
            return Err((403, "SignatureDoesNotMatch"));
        }
        if token != key.token.as_deref() {
            return Err((400, "InvalidToken"));
        }
        if key.expires_at <= SystemTime::now() {
            return Err((400, "ExpiredToken"));
        }
        Ok(key.clone())
    }

    fn sts(&mut self, parts: &Parts, body: &[u8]) -> Answered {
        let form: HashMap<String, String> = url::form_urlencoded::parse(body).into_owned().collect();
        let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        let refuse = |(status, code): (u16, &str)| {
            refusal(
                status,
                format!(
                    "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>not for you</Message></Error>\
                     <RequestId>1</RequestId></ErrorResponse>"
                ),
            )
        };
        let action = field("Action");
        match action {
            "GetCallerIdentity" => {
                self.signer(parts, body, "sts").map_err(refuse)?;
                let found = format!("<Account>{ACCOUNT}</Account><UserId>u</UserId><Arn>a</Arn>");
                return Ok(sts_answer(action, &found));
            }
            "AssumeRole" => {
                let key = self.signer(parts, body, "sts").map_err(refuse)?;
                if key.is_reader || form.get("ExternalId") != self.external_id.as_ref() {
                    return Err(refuse((403, "AccessDenied")));
                }
            }
            "AssumeRoleWithWebIdentity" if Signed::of(parts).is_none() => {
                let mut validation = Validation::new(Algorithm::HS256);
                validation.set_audience(&[AUDIENCE]);
                validation.sub = Some(SUBJECT.to_owned());
                validation.set_required_spec_claims(&["sub", "aud", "exp"]);
                let key = DecodingKey::from_secret(TOKEN_SECRET);
                jsonwebtoken::decode::<serde_json::Value>(field("WebIdentityToken"), &key, &validation)
                    .map_err(|_| refuse((400, "InvalidIdentityToken")))?;
            }
            _ => return Err(refuse((400, "InvalidAction"))),
        }
        if field("RoleArn") != ROLE || field("RoleSessionName") != self.session_name {
            return Err(refuse((403, "AccessDenied")));
        }
        let (id, key) = self.issue();
        let found = format!(
            "<Credentials><AccessKeyId>{id}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey><SessionToken>{}</SessionToken>\
             <Expiration>{}</Expiration></Credentials><AssumedRoleUser><AssumedRoleId>A:b</AssumedRoleId><Arn>{ROLE}</Arn>\
             </AssumedRoleUser>",
            key.secret,
            key.token.unwrap(),
            rfc3339(key.expires_at)
        );
        Ok(sts_answer(action, &found))
    }

    fn container(&mut self, parts: &Parts) -> Answered {
        if header(parts, "authorization") != self.container_token {
            return Err(refusal(401, r#"{"code":"InvalidToken","message":"not the token"}"#));
        }
        Ok(self.document())
    }

    fn sso(&mut self, parts: &Parts) -> Answered {
        let query = parts.uri.query().unwrap_or_default();
        let is_asked_well = query.contains("role_name=docs-reader") && query.contains(&format!("account_id={ACCOUNT}"));
        if header(parts, "x-amz-sso_bearer_token") != self.sso_token || !is_asked_well {
            return Err(refusal(
                401,
                r#"{"__type":"UnauthorizedException","message":"Session token not found or invalid"}"#,
            ));
        }
        let (id, key) = self.issue();
        let expires_at = key.expires_at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64;
        let credentials = json!({
            "accessKeyId": id, "secretAccessKey": key.secret, "sessionToken": key.token, "expiration": expires_at,
        });
        Ok(plain(200, json!({ "roleCredentials": credentials }).to_string()))
    }

    /// The second version only: who has no token gets nothing.
    fn metadata(&mut self, parts: &Parts) -> Answered {
        if parts.uri.path() == "/latest/api/token" {
            let ttl: u32 = header(parts, "x-aws-ec2-metadata-token-ttl-seconds").parse().unwrap_or_default();
            if parts.method != "PUT" || !(1..=21_600).contains(&ttl) || parts.headers.contains_key("x-forwarded-for") {
                return Err(refusal(400, "bad request"));
            }
            self.metadata_token = Some(format!("metadata-{}", self.calls.len()));
            let token = self.metadata_token.clone().unwrap();
            let mut answer = plain(200, token);
            answer.headers_mut().insert("x-aws-ec2-metadata-token-ttl-seconds", ttl.into());
            return Ok(answer);
        }
        if Some(header(parts, "x-aws-ec2-metadata-token")) != self.metadata_token.as_deref() {
            return Err(refusal(401, "unauthorized"));
        }
        match parts.uri.path().strip_prefix("/latest/meta-data/iam/security-credentials/") {
            Some("") => Ok(plain(200, "docs-reader")),
            Some("docs-reader") => Ok(self.document()),
            _ => Err(refusal(404, "not found")),
        }
    }

    fn s3(&mut self, parts: &Parts, body: &[u8]) -> Answered {
        let refuse = |(status, code): (u16, &str)| {
            let body = format!("<Error><Code>{code}</Code><Message>no</Message></Error>");
            let body = if parts.method == "HEAD" { String::new() } else { body };
            refusal(status, body)
        };
        let key = self.signer(parts, body, "s3").map_err(refuse)?;
        let path = parts.uri.path().strip_prefix("/docs").unwrap().trim_start_matches('/');
        let query: HashMap<String, String> =
            url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        if path.is_empty() {
            if !key.is_reader || !self.may_list {
                return Err(refuse((403, "AccessDenied")));
            }
            let prefix = query.get("prefix").map(String::as_str).unwrap_or_default();
            return Ok(plain(200, self.listing(prefix)));
        }
        if !key.is_reader || !self.may_read || self.withheld.contains(path) {
            return Err(refuse((403, "AccessDenied")));
        }
        let Some(object) = self.objects.get(path) else {
            let is_told = self.may_list && !self.hides_absence;
            return Err(refuse(if is_told { (404, "NoSuchKey") } else { (403, "AccessDenied") }));
        };
        *self.calls.entry(if parts.method == "HEAD" { "heads" } else { "gets" }).or_default() += 1;
        let tag = format!("\"v{}\"", object.len());
        let answer = Response::builder().header("etag", &tag).header("last-modified", "Thu, 29 Feb 2024 12:00:00 GMT");
        if header(parts, "if-none-match") == tag {
            return Ok(answer.status(304).body(Full::default()).unwrap());
        }
        let answer = answer.header("content-length", object.len());
        let body = if parts.method == "HEAD" { Bytes::new() } else { object.clone() };
        Ok(answer.body(Full::from(body)).unwrap())
    }

    fn listing(&self, prefix: &str) -> String {
        let contents = self.objects.iter().filter(|(key, _)| key.starts_with(prefix)).map(|(key, object)| {
            format!(
                "<Contents><Key>{key}</Key><Size>{}</Size><LastModified>2024-02-29T12:00:00Z</LastModified>\
                 <ETag>&quot;v&quot;</ETag></Contents>",
                object.len()
            )
        });
        format!("<ListBucketResult><Name>docs</Name>{}</ListBucketResult>", contents.collect::<String>())
    }
}

fn sts_answer(action: &str, found: &str) -> Answer {
    plain(200, format!("<{action}Response><{action}Result>{found}</{action}Result></{action}Response>"))
}

fn plain(status: u16, body: impl Into<Bytes>) -> Answer {
    Response::builder().status(status).body(Full::from(body.into())).unwrap()
}

fn refusal(status: u16, body: impl Into<Bytes>) -> Box<Answer> {
    Box::new(plain(status, body))
}

fn header<'p>(parts: &'p Parts, name: &str) -> &'p str {
    parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}
