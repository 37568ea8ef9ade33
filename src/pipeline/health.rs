//! Liveness and readiness, at the paths where Backstage has them
//! (`@backstage/backend-defaults`, `src/entrypoints/rootHttpRouter/createHealthRouter.ts`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};

use super::Body;
use crate::storage::{Origin, Origins};

/// 200 while the program runs.
pub const LIVENESS: &str = "/.backstage/health/v1/liveness";
/// 200 once storage has answered and until the program is told to stop, else 503.
pub const READINESS: &str = "/.backstage/health/v1/readiness";

/// What the program knows of its own state.
#[derive(Debug)]
pub struct Health {
    storage: Arc<Origins>,
    draining: AtomicBool,
}

impl Health {
    /// Ready as soon as every store has answered once, and as long as none refuses everything or lacks a credential to show
    /// it. A later outage does not undo it: taking every replica out of service then would take the cached pages away too.
    /// A refusal does, since it does not pass by itself.
    pub fn new(storage: Arc<Origins>) -> Self {
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
        match self.storage.iter().find_map(trouble) {
            Some(trouble) => {
                let document = serde_json::json!({ "status": "error", "message": trouble });
                answer(StatusCode::SERVICE_UNAVAILABLE, document.to_string())
            }
            None => answer(StatusCode::OK, r#"{"status":"ok"}"#),
        }
    }
}

/// What keeps a store from being read, where somebody has to do something about it.
fn trouble(origin: &Origin) -> Option<String> {
    let name = origin.name();
    if let Some(reason) = origin.credential_trouble() {
        return Some(format!("There is no credential for the storage of {name}: {reason}"));
    }
    if let Some(reason) = origin.standing().refusal() {
        return Some(format!("The storage of {name} refuses everything: {reason}"));
    }
    let message =
        format!("The storage of {name} has not answered yet since the start: see the log, or run callboard check");
    (!origin.standing().has_answered()).then_some(message)
}

fn answer(status: StatusCode, document: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::whole(document.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
