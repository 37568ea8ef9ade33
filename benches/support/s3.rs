//! Storage that costs nothing: a folder, answered as S3 answers GET, HEAD and an empty listing, near or far away.
//!
//! It checks no signature, so that what is measured is whoever asks. Where it is far, each connection is accepted that
//! much later and each answer sent that much later, as over a network with that round trip.

use std::collections::HashMap;
use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH, LAST_MODIFIED};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use super::process::{LOAD_CORE, Server, command};

/// The bench's first argument where it is to be this server; the folder and the milliseconds of a round trip follow.
pub(crate) const ROLE: &str = "s3";

/// The only bucket there is.
pub(crate) const BUCKET: &str = "docs";

/// One time for all files: what changes is found by its tag.
const MODIFIED: &str = "Fri, 20 Nov 2026 09:00:00 GMT";

const EMPTY_LISTING: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult \
    xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>";

/// The server in a process of its own, on the core that makes the load.
#[derive(Debug)]
pub(crate) struct S3(Server);

impl S3 {
    /// Starts it in front of `folder`.
    pub(crate) fn start(folder: &Path, round_trip: Duration) -> anyhow::Result<Self> {
        let (bench, millis) = (std::env::current_exe()?, round_trip.as_millis().to_string());
        let command = command([bench.as_os_str(), OsStr::new(ROLE), folder.as_os_str(), OsStr::new(&millis)]);
        Ok(Self(Server::start_on(LOAD_CORE, &command, Stdio::null())?))
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.0.address)
    }
}

/// What `techdocs.publisher` is for it.
pub(crate) fn publisher(s3: &str) -> Value {
    json!({
        "type": "awsS3",
        "awsS3": {
            "bucketName": BUCKET,
            "region": "eu-central-1",
            "endpoint": s3,
            "s3ForcePathStyle": true,
            "credentials": { "accessKeyId": "reader", "secretAccessKey": "of-the-bench" },
        },
    })
}

/// Serves for ever; `arguments` are those that follow [`ROLE`].
pub(crate) fn serve(mut arguments: impl Iterator<Item = OsString>) -> anyhow::Result<()> {
    let folder = PathBuf::from(arguments.next().context("no folder")?);
    let millis = arguments.next().context("no round trip")?;
    let round_trip = Duration::from_millis(millis.to_str().context("no number")?.parse()?);
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(accept(Arc::new(Files { folder, read: Mutex::default() }), round_trip))
}

async fn accept(files: Arc<Files>, round_trip: Duration) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address: SocketAddr = listener.local_addr()?;
    eprintln!("{}", json!({ "address": address.to_string() }));
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(connection(socket, Arc::clone(&files), round_trip));
    }
}

async fn connection(socket: TcpStream, files: Arc<Files>, round_trip: Duration) {
    pause(round_trip).await;
    let service = service_fn(|request| {
        let files = Arc::clone(&files);
        async move {
            pause(round_trip).await;
            Ok::<_, Infallible>(answer(&request, &files))
        }
    });
    // Its error is the client's, who has left.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
}

async fn pause(round_trip: Duration) {
    if !round_trip.is_zero() {
        tokio::time::sleep(round_trip).await;
    }
}

fn answer(request: &Request<Incoming>, files: &Files) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    let path = percent_decode_str(request.uri().path()).decode_utf8_lossy();
    let key = path.strip_prefix(&format!("/{BUCKET}")).map(|key| key.trim_start_matches('/'));
    let Some(key) = key.filter(|key| !key.split('/').any(|part| part == "..")) else {
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    };
    if key.is_empty() {
        *response.body_mut() = Full::from(EMPTY_LISTING);
        return response;
    }
    let Some((bytes, tag)) = files.get(key) else {
        *response.status_mut() = StatusCode::NOT_FOUND;
        *response.body_mut() = Full::from("<Error><Code>NoSuchKey</Code></Error>");
        return response;
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, http::HeaderValue::from_static("application/octet-stream"));
    headers.insert(LAST_MODIFIED, http::HeaderValue::from_static(MODIFIED));
    let is_same = request.headers().get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    if let Ok(tag) = tag.try_into() {
        headers.insert(ETAG, tag);
    }
    if is_same {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else if request.method() == Method::HEAD {
        headers.insert(http::header::CONTENT_LENGTH, bytes.len().into());
    } else {
        *response.body_mut() = Full::from(bytes);
    }
    response
}

/// A folder whose files are read once each, and again when they have been replaced.
#[derive(Debug)]
struct Files {
    folder: PathBuf,
    read: Mutex<HashMap<String, Known>>,
}

/// A file's bytes and their tag, and when it was written.
#[derive(Debug, Clone)]
struct Known {
    bytes: Bytes,
    tag: String,
    written: SystemTime,
}

impl Files {
    /// A file's bytes and their tag.
    fn get(&self, key: &str) -> Option<(Bytes, String)> {
        let path = self.folder.join(key);
        let written = path.metadata().ok()?.modified().ok()?;
        let mut read = self.read.lock().ok()?;
        let known = match read.get(key).filter(|known| known.written == written) {
            Some(known) => known.clone(),
            None => {
                let bytes = Bytes::from(std::fs::read(path).ok()?);
                let known = Known { tag: tag(&bytes), bytes, written };
                read.insert(key.to_owned(), known.clone());
                known
            }
        };
        Some((known.bytes, known.tag))
    }
}

fn tag(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("\"{:032x}\"", hasher.finish())
}
