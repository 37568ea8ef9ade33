//! A bucket that is not well: as much of S3 as a read needs, failing in the ways that S3 and what stands before it fail.

use std::convert::Infallible;
use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use md5::{Digest, Md5};
use tokio::net::TcpListener;

/// Bytes of each object: more than one read of a socket brings, and few enough to be read whole before any leave.
pub const SIZE: usize = 60_000;

/// So many that they leave as they come, for objects whose names end so.
pub const READ_ALONG: (&str, usize) = (".svg", 400_000);

/// Larger than what is kept, for objects whose names end so.
pub const LARGE: (&str, usize) = (".mp4", 9 << 20);

/// What ails it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ailment {
    /// Nothing.
    None,
    /// It answers with this status and error code.
    Refusal(u16, &'static str),
    /// It never answers.
    Silence,
    /// It closes the connection in the middle of a body.
    Cut,
    /// So many bodies to come have a wrong byte.
    Damage(usize),
    /// Its tags look like checksums, but are none.
    Encryption,
}

pub struct Ailing {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    ailment: Mutex<Ailment>,
    gets: AtomicUsize,
}

type Body = BoxBody<Bytes, io::Error>;

impl Ailing {
    /// One that is well.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State { ailment: Mutex::new(Ailment::None), gets: AtomicUsize::new(0) });
        let served = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let state = Arc::clone(&served);
                let service = service_fn(move |request| {
                    let state = Arc::clone(&state);
                    async move { Ok::<_, Infallible>(answer(&state, &request).await) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service),
                );
            }
        });
        Self { address, state }
    }

    /// `techdocs.publisher`, as a flow map. Each operation is one request.
    pub fn publisher(&self) -> String {
        format!(
            "{{ type: awsS3, awsS3: {{ bucketName: docs, region: eu-central-1, endpoint: 'http://{}', maxAttempts: 1, \
             s3ForcePathStyle: true, credentials: {{ accessKeyId: AK, secretAccessKey: sk }} }} }}",
            self.address
        )
    }

    /// From now on.
    pub fn suffers(&self, ailment: Ailment) {
        *self.state.ailment.lock().unwrap() = ailment;
    }

    /// The requests for objects.
    pub fn gets(&self) -> usize {
        self.state.gets.load(Ordering::SeqCst)
    }
}

/// What the object of this path holds.
pub fn contents(path: &str) -> Bytes {
    let size = [READ_ALONG, LARGE].iter().find(|(end, _)| path.ends_with(end)).map_or(SIZE, |(_, size)| *size);
    path.bytes().cycle().take(size).collect()
}

async fn answer(state: &State, request: &Request<Incoming>) -> Response<Body> {
    if request.uri().query().is_some_and(|query| query.contains("list-type")) {
        return Response::new(whole("<ListBucketResult><Name>docs</Name></ListBucketResult>".into()));
    }
    state.gets.fetch_add(1, Ordering::SeqCst);
    let contents = contents(request.uri().path().strip_prefix("/docs/").unwrap());
    let ailment = *state.ailment.lock().unwrap();
    let mut seed = contents.to_vec();
    if ailment == Ailment::Encryption {
        seed.push(0);
    }
    let answer = Response::builder()
        .header("etag", format!("\"{}\"", hex(&Md5::digest(&seed))))
        .header("last-modified", "Thu, 29 Feb 2024 12:00:00 GMT");
    match ailment {
        Ailment::None | Ailment::Encryption | Ailment::Damage(0) => answer.body(whole(contents)).unwrap(),
        Ailment::Refusal(status, code) => {
            let error = format!("<Error><Code>{code}</Code></Error>");
            let status = StatusCode::from_u16(status).unwrap();
            Response::builder().status(status).body(whole(error.into())).unwrap()
        }
        Ailment::Silence => std::future::pending().await,
        Ailment::Cut => {
            let half = Frame::data(contents.slice(..contents.len() / 2));
            let cut = stream::iter([Ok(half), Err(io::Error::other("cut"))]);
            answer.header("content-length", contents.len()).body(BodyExt::boxed(StreamBody::new(cut))).unwrap()
        }
        Ailment::Damage(bodies) => {
            *state.ailment.lock().unwrap() = Ailment::Damage(bodies - 1);
            let mut contents = contents.to_vec();
            // Each time another byte.
            contents[bodies] ^= 1;
            answer.body(whole(contents.into())).unwrap()
        }
    }
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
