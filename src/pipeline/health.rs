//! Liveness and readiness, at the paths where Backstage has them
//! (`@backstage/backend-defaults`, `src/entrypoints/rootHttpRouter/createHealthRouter.ts`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};

use super::Body;
use crate::storage::Reader;

/// 200 while the program runs.
pub const LIVENESS: &str = "/.backstage/health/v1/liveness";
/// 200 once storage has answered and until the program is told to stop, else 503.
pub const READINESS: &str = "/.backstage/health/v1/readiness";

/// What the program knows of its own state.
#[derive(Debug)]
pub struct Health {
    storage: Arc<Reader>,
    draining: AtomicBool,
}

impl Health {
    /// Ready as soon as `storage` has answered once. A later outage does not undo it: taking every replica out of service
    /// then would take the cached pages away too.
    pub fn new(storage: Arc<Reader>) -> Self {
        Self { storage, draining: AtomicBool::new(false) }
    }

    /// The program is about to stop: send no new requests.
    pub fn draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// The answer, where `path` asks for health.
    pub fn answer(&self, path: &str) -> Option<Response<Body>> {
        match path {
            LIVENESS => Some(answer(StatusCode::OK, r#"{"status":"ok"}"#)),
            READINESS => Some(self.readiness()),
            _ => None,
        }
    }

    fn readiness(&self) -> Response<Body> {
        if self.draining.load(Ordering::Relaxed) {
            return answer(
                StatusCode::SERVICE_UNAVAILABLE,
                r#"{"status":"error","message":"Callboard is shutting down"}"#,
            );
        }
        if !self.storage.has_answered() {
            return answer(
                StatusCode::SERVICE_UNAVAILABLE,
                r#"{"status":"error","message":"Storage has not answered yet since the start: see the log, or run callboard check"}"#,
            );
        }
        answer(StatusCode::OK, r#"{"status":"ok"}"#)
    }
}

fn answer(status: StatusCode, document: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::whole(document.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
