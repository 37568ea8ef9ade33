//! The admin listener: metrics, health, purging and warming, for operators and their machines. No documents, no credential; it is bound to
//! loopback unless the operator says otherwise.

use std::sync::Arc;

use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use crate::limit::Address;
use crate::pipeline::{Audience, Body, Health, Operations};
use crate::server::Handler;
use crate::telemetry::Instruments;

const INDEX: &str = "Callboard admin\n\n\
    /metrics                          metrics for Prometheus\n\
    /.backstage/health/v1/liveness    200 while the program runs\n\
    /.backstage/health/v1/readiness   200 once storage has answered and unless it refuses us, 503 while shutting down\n\
    /.callboard/v1/purge              POST ?entity=, ?prefix= or ?all=true: what is held is confirmed before it is served\n\
    /.callboard/v1/warm               POST ?entity= or ?all=true: sites are fetched before anyone reads them\n";

/// Answers on the admin listener.
#[derive(Debug)]
pub struct Admin {
    health: Arc<Health>,
    operations: Arc<Operations>,
    instruments: Arc<Instruments>,
}

impl Admin {
    /// An admin handler that shows and does these.
    pub fn new(health: Arc<Health>, operations: Arc<Operations>, instruments: Arc<Instruments>) -> Self {
        Self { health, operations, instruments }
    }

    fn respond(&self, method: &Method, path: &str) -> Response<Body> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut response =
                text(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD are answered here.\n".to_owned());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        if let Some(response) = self.health.answer(path, Audience::Operators) {
            return response;
        }
        match path {
            "/" => text(StatusCode::OK, INDEX.to_owned()),
            "/metrics" => self.metrics(),
            _ => text(StatusCode::NOT_FOUND, format!("There is nothing here.\n\n{INDEX}")),
        }
    }

    fn metrics(&self) -> Response<Body> {
        match self.instruments.prometheus() {
            Ok(metrics) => text(StatusCode::OK, metrics),
            Err(error) => {
                tracing::error!(%error, "metrics could not be written");
                text(StatusCode::INTERNAL_SERVER_ERROR, "Metrics could not be written: see the log.\n".to_owned())
            }
        }
    }
}

impl Handler for Admin {
    async fn answer(self: Arc<Self>, request: Request<Incoming>, _client: Address) -> Response<Body> {
        // A body has nothing to say here, and is not read.
        let (head, _) = request.into_parts();
        match self.operations.answer(&head).await {
            Some(response) => response,
            None => self.respond(&head.method, head.uri.path()),
        }
    }
}

fn text(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::whole(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    response
}
