//! As much of S3 as a read needs, which writes down what trace each request belongs to.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

pub struct Bucket {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub path: String,
    pub traceparent: Option<String>,
    pub tracestate: Option<String>,
    /// What was signed, as the client says.
    pub authorization: String,
}

impl Bucket {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let book = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let book = Arc::clone(&book);
                let service = service_fn(move |request: Request<Incoming>| {
                    let answer = answer(&book, &request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service),
                );
            }
        });
        Self { address, asked }
    }

    /// `techdocs.publisher`, as a flow map.
    pub fn publisher(&self) -> String {
        format!(
            "{{ type: awsS3, awsS3: {{ bucketName: docs, region: eu-central-1, endpoint: 'http://{}', \
             s3ForcePathStyle: true, credentials: {{ accessKeyId: AK, secretAccessKey: sk }} }} }}",
            self.address
        )
    }

    /// The requests for objects, listings left out.
    pub fn reads(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().iter().filter(|asked| asked.path.len() > "/docs/".len()).cloned().collect()
    }
}

fn answer(book: &Mutex<Vec<Asked>>, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    book.lock().unwrap().push(Asked {
        path: request.uri().path().to_owned(),
        traceparent: header("traceparent"),
        tracestate: header("tracestate"),
        authorization: header("authorization").unwrap_or_default(),
    });
    let object = request.uri().query().is_none_or(|query| !query.contains("list-type"));
    let body =
        if object { "<h1>From the bucket</h1>" } else { "<ListBucketResult><Name>docs</Name></ListBucketResult>" };
    Response::builder()
        .header("etag", "\"v1\"")
        .header("last-modified", "Thu, 29 Feb 2024 12:00:00 GMT")
        .body(Full::from(body))
        .unwrap()
}
