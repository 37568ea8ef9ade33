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

/// Who asks for health: a reason may name a bucket or a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Whoever reaches the main listener.
    Anyone,
    /// Whoever reaches the admin listener.
    Operators,
}

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
    pub fn answer(&self, path: &str, audience: Audience) -> Option<Response<Body>> {
        match path {
            LIVENESS => Some(answer(StatusCode::OK, r#"{"status":"ok"}"#)),
            READINESS => Some(self.readiness(audience)),
            _ => None,
        }
    }

    fn readiness(&self, audience: Audience) -> Response<Body> {
        if self.draining.load(Ordering::Relaxed) {
            return answer(
                StatusCode::SERVICE_UNAVAILABLE,
                r#"{"status":"error","message":"Callboard is shutting down"}"#,
            );
        }
        let Some((name, trouble)) = self.storage.iter().find_map(|origin| Some((origin.name(), Trouble::of(origin)?)))
        else {
            return answer(StatusCode::OK, r#"{"status":"ok"}"#);
        };
        let message = match (audience, trouble.reason()) {
            (Audience::Operators, Some(reason)) => format!("{trouble} ({name}): {reason}"),
            (Audience::Operators, None) => format!("{trouble} ({name}): see the log, or run callboard check"),
            (Audience::Anyone, _) => format!("{trouble}: see the log, or run callboard check"),
        };
        let document = serde_json::json!({ "status": "error", "message": message });
        answer(StatusCode::SERVICE_UNAVAILABLE, document.to_string())
    }
}

/// What keeps a store from being read, where somebody has to do something about it; worded to stand at the beginning of
/// a sentence.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("There is no credential for storage")]
    NoCredential(String),
    #[error("Storage refuses everything")]
    Refused(String),
    #[error("Storage has not answered yet since the start")]
    Silent,
}

impl Trouble {
    fn of(origin: &Origin) -> Option<Self> {
        let missing = origin.credential_trouble().map(Self::NoCredential);
        let refused = || origin.standing().refusal().map(Self::Refused);
        let silent = || (!origin.standing().has_answered()).then_some(Self::Silent);
        missing.or_else(refused).or_else(silent)
    }

    fn reason(&self) -> Option<&str> {
        match self {
            Self::NoCredential(reason) | Self::Refused(reason) => Some(reason),
            Self::Silent => None,
        }
    }
}

fn answer(status: StatusCode, document: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::whole(document.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
