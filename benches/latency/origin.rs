//! Storage that makes its objects up: S3's answers to GET, HEAD and an empty listing, as late as it is told to be.
//!
//! Every key has an object, but those that are called `missing`. Its size, bytes and tag follow from the key. It checks no
//! signature, counts what it is asked for, and answers with that, or with another delay from now on, at paths of its own.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LAST_MODIFIED};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use crate::openloop::Random;
use crate::support::process::{LOAD_CORE, Server, command};
use crate::support::wire::Answer;

/// The bench's first argument where it is to be this server.
pub(crate) const ROLE: &str = "origin";

/// The only bucket there is.
pub(crate) const BUCKET: &str = "docs";

/// Where it is told things, and tells them.
const CONTROL: &str = "/-/";

/// The object that comes slowly: so many pieces of so many bytes, one after the other.
pub(crate) const TRICKLED: &str = "trickled";
const PIECES: usize = 24;
const PIECE_BYTES: usize = 64 * 1024;
const PIECE_EVERY: Duration = Duration::from_millis(20);

/// What is called so has exactly [`GUIDE_BYTES`].
pub(crate) const GUIDE: &str = "guide";
pub(crate) const GUIDE_BYTES: usize = 20 * 1024;

/// One time for all, long ago: nothing here is in the middle of a publish.
const MODIFIED: &str = "Fri, 20 Nov 2026 09:00:00 GMT";

const EMPTY_LISTING: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult \
    xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>";

/// What was asked for so far.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// GETs of pages and assets.
    pub(crate) documents: u64,
    /// Those of them that a 304 was the answer to.
    pub(crate) unchanged: u64,
    /// GETs of sites' metadata.
    pub(crate) metadata: u64,
}

/// The server in a process of its own, on the core that makes the load.
#[derive(Debug)]
pub(crate) struct Origin(Server);

impl Origin {
    pub(crate) fn start(delay: Duration) -> anyhow::Result<Self> {
        let bench = std::env::current_exe()?;
        let command = command([bench.as_os_str(), OsStr::new(ROLE)]);
        let origin = Self(Server::start_on(LOAD_CORE, &command, Stdio::null())?);
        origin.set_delay(delay)?;
        Ok(origin)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.0.address)
    }

    /// From now on each answer takes so long.
    pub(crate) fn set_delay(&self, delay: Duration) -> anyhow::Result<()> {
        self.ask(&format!("{CONTROL}delay/{}", delay.as_millis())).map(drop)
    }

    pub(crate) fn counts(&self) -> anyhow::Result<Counts> {
        Ok(serde_json::from_slice(&self.ask(&format!("{CONTROL}counts"))?.body)?)
    }

    fn ask(&self, path: &str) -> anyhow::Result<Answer> {
        Answer::get(self.0.address, path, &Vec::new())
    }
}

impl Counts {
    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            documents: self.documents + other.documents,
            unchanged: self.unchanged + other.unchanged,
            metadata: self.metadata + other.metadata,
        }
    }

    pub(crate) const fn since(self, before: Self) -> Self {
        Self {
            documents: self.documents - before.documents,
            unchanged: self.unchanged - before.unchanged,
            metadata: self.metadata - before.metadata,
        }
    }
}

/// Serves for ever.
pub(crate) fn serve() -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(accept())
}

#[derive(Debug, Default)]
struct State {
    delay_millis: AtomicU64,
    documents: AtomicU64,
    unchanged: AtomicU64,
    metadata: AtomicU64,
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

async fn accept() -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    eprintln!("{}", json!({ "address": listener.local_addr()?.to_string() }));
    let state = Arc::new(State::default());
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(connection(socket, Arc::clone(&state)));
    }
}

async fn connection(socket: TcpStream, state: Arc<State>) {
    let service = service_fn(|request: Request<Incoming>| {
        let state = Arc::clone(&state);
        async move {
            Ok::<_, Infallible>(match request.uri().path().strip_prefix(CONTROL) {
                Some(told) => state.control(told),
                None => state.answer(&request).await,
            })
        }
    });
    // Its error is the client's, who has left.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
}

impl State {
    fn control(&self, told: &str) -> Response<Body> {
        if let Some(millis) = told.strip_prefix("delay/").and_then(|millis| millis.parse().ok()) {
            self.delay_millis.store(millis, Ordering::Relaxed);
        }
        let counts = Counts {
            documents: self.documents.load(Ordering::Relaxed),
            unchanged: self.unchanged.load(Ordering::Relaxed),
            metadata: self.metadata.load(Ordering::Relaxed),
        };
        Response::new(full(json!(counts).to_string()))
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        let key = path.strip_prefix('/').and_then(|path| path.strip_prefix(BUCKET)).unwrap_or(path);
        let key = key.trim_start_matches('/');
        if request.method() == Method::GET && !key.is_empty() {
            let is_metadata = key.ends_with("/techdocs_metadata.json");
            let counter = if is_metadata { &self.metadata } else { &self.documents };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let delay = self.delay_millis.load(Ordering::Relaxed);
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        let mut response = Response::new(full(""));
        if key.is_empty() {
            *response.body_mut() = full(EMPTY_LISTING);
            return response;
        }
        if key.contains("missing") {
            *response.status_mut() = StatusCode::NOT_FOUND;
            *response.body_mut() = full("<Error><Code>NoSuchKey</Code></Error>");
            return response;
        }
        let tag = format!("\"{:032x}\"", hash(key));
        let is_same = request.headers().get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(LAST_MODIFIED, HeaderValue::from_static(MODIFIED));
        if let Ok(tag) = tag.try_into() {
            headers.insert(ETAG, tag);
        }
        if is_same {
            self.unchanged.fetch_add(u64::from(!key.ends_with("/techdocs_metadata.json")), Ordering::Relaxed);
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else if request.method() == Method::HEAD {
            headers.insert(CONTENT_LENGTH, object(key).len().into());
        } else if key.contains(TRICKLED) {
            headers.insert(CONTENT_LENGTH, (PIECES * PIECE_BYTES).into());
            *response.body_mut() = trickled(key);
        } else {
            *response.body_mut() = full(object(key));
        }
        response
    }
}

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

fn trickled(key: &str) -> Body {
    let text = text(hash(key), PIECE_BYTES);
    let pieces = stream::iter(0..PIECES).then(move |piece| {
        let text = text.clone();
        async move {
            if piece > 0 {
                tokio::time::sleep(PIECE_EVERY).await;
            }
            Ok(Frame::data(text))
        }
    });
    StreamBody::new(pieces).boxed_unsync()
}

/// The bytes that stand under `key`.
fn object(key: &str) -> Bytes {
    let hash = hash(key);
    if key.ends_with("/techdocs_metadata.json") {
        return Bytes::from_static(
            br#"{"site_name":"Bench","site_description":"","etag":"1","build_timestamp":1763629200000}"#,
        );
    }
    let is_image = key.ends_with(".png");
    if key.contains(GUIDE) {
        return text(hash, GUIDE_BYTES);
    }
    let bytes = size(hash);
    if is_image { slice(&NOISE, hash, bytes) } else { text(hash, bytes) }
}

/// From 5 to 60 KB, as logarithms of sizes are spread: 15 KB in the middle.
fn size(hash: u64) -> usize {
    let mut random = Random::new(hash);
    // The sum of twelve is as good as normal, with a deviation of one.
    let normal = (0..12).map(|_| random.fraction()).sum::<f64>() - 6.0;
    ((15_000.0_f64.ln() + 0.6 * normal).exp() as usize).clamp(5_000, 60_000)
}

const POOL_BYTES: usize = 256 * 1024;

/// Paragraphs among the links of a menu, which shrink to a quarter; pages of MkDocs shrink to a fifth or less.
static TEXT: LazyLock<Bytes> = LazyLock::new(|| {
    let mut random = Random::new(7);
    let words: Vec<String> = (0..2000).map(|_| word(&mut random)).collect();
    let pick = |random: &mut Random| {
        let place = (random.fraction() * random.fraction() * words.len() as f64) as usize;
        words.get(place).map_or("", String::as_str)
    };
    let mut text = String::with_capacity(POOL_BYTES + 1024);
    while text.len() < POOL_BYTES {
        if random.number().is_multiple_of(4) {
            let paragraph: Vec<_> = (0..25).map(|_| pick(&mut random)).collect();
            text.push_str(&format!("<p>{}.</p>\n", paragraph.join(" ")));
        } else {
            let (page, one, other) = (pick(&mut random), pick(&mut random), pick(&mut random));
            text.push_str(&format!(
                "<li class=\"md-nav__item\">\n<a href=\"../{page}/\" class=\"md-nav__link\">\
                 <span class=\"md-ellipsis\">{one} {other}</span></a>\n</li>\n"
            ));
        }
    }
    text.truncate(POOL_BYTES);
    Bytes::from(text)
});

fn word(random: &mut Random) -> String {
    let letters = 2 + random.number() % 9;
    (0..letters).map(|_| char::from(b'a' + (random.number() % 26) as u8)).collect()
}

/// What does not shrink.
static NOISE: LazyLock<Bytes> = LazyLock::new(|| {
    let mut random = Random::new(8);
    (0..POOL_BYTES / 8).flat_map(|_| random.number().to_le_bytes()).collect()
});

fn text(hash: u64, bytes: usize) -> Bytes {
    slice(&TEXT, hash, bytes)
}

fn slice(pool: &Bytes, hash: u64, bytes: usize) -> Bytes {
    let from = (hash % (POOL_BYTES - bytes) as u64) as usize;
    pool.slice(from..from + bytes)
}

fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}
