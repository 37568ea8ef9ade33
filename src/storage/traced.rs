//! Requests to a store's server, each a span of its own and each carrying the trace on.

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService};

use crate::telemetry::{Span, inject};

/// Makes the clients that `C` makes, with spans around their requests.
///
/// It stands below signing and retries: `traceparent` is no part of what is signed, and each try has its own span.
#[derive(Debug)]
pub(super) struct Traced<C>(pub(super) C);

impl<C: HttpConnector> HttpConnector for Traced<C> {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(TracedService(self.0.connect(options)?)))
    }
}

#[derive(Debug)]
struct TracedService(HttpClient);

#[async_trait]
impl HttpService for TracedService {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let span = Span::http_request(request.method(), request.uri());
        let asking = async {
            inject(request.headers_mut());
            self.0.execute(request).await
        };
        let answer = span.scope().run(asking).await;
        match &answer {
            Ok(answer) => span.answered(answer.status()),
            Err(_) => span.fail("connection"),
        }
        answer
    }
}

/// Sends a request through a client that has no connector to stand below.
pub(super) async fn send(
    client: &reqwest::Client,
    mut request: http::Request<Vec<u8>>,
) -> reqwest::Result<reqwest::Response> {
    let span = Span::http_request(request.method(), request.uri());
    let asking = async {
        inject(request.headers_mut());
        client.execute(request.try_into()?).await
    };
    let answer = span.scope().run(asking).await;
    match &answer {
        Ok(answer) => span.answered(answer.status()),
        Err(_) => span.fail("connection"),
    }
    answer
}
