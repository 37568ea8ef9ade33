//! A request's whole journey:
//!
//! 1. method: only GET and HEAD, and no request body;
//! 2. health: answered without a credential, before anything else is looked at;
//! 3. authenticate: bearer token, cookie or client certificate → principal, which may also be refused here for what it may not do;
//! 4. route: entity and path → storage key, or "not found"; unauthenticated callers learn nothing;
//! 5. fetch: memory → one fetch → storage, by freshness;
//! 6. respond: conditional, range, headers;
//! 7. record: one access-log line and the histograms, also for a client that left early.

use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use http::{HeaderMap, Method, Request, Response};

use http_body_util::BodyExt;

use super::context::Context;
use super::document::Documents;
use super::record::Recorder;
use super::rejection::Rejection;
use super::{Body, Health, Options};
use crate::auth::{Authenticator, Credential, Principal, Resource};
use crate::cache::DocCache;
use crate::docs::{Locator, Route, RouteClass};
use crate::telemetry::{AccessLog, Instruments};

/// Leads requests through the rooms.
#[derive(Debug)]
pub struct Journey {
    authenticator: Authenticator,
    locator: Locator,
    documents: Documents,
    health: Arc<Health>,
    instruments: Arc<Instruments>,
    recorder: Recorder,
}

impl Journey {
    /// A journey through these rooms.
    pub fn new(
        authenticator: Authenticator,
        locator: Locator,
        cache: Arc<DocCache>,
        health: Arc<Health>,
        instruments: Arc<Instruments>,
        access_log: AccessLog,
        options: Options,
    ) -> Self {
        Self {
            authenticator,
            locator,
            documents: Documents::new(cache, options),
            health,
            recorder: Recorder::new(Arc::clone(&instruments), access_log),
            instruments,
        }
    }

    /// Answers a request. Every outcome is an answer; what went wrong is in its status, its body and the log.
    pub async fn answer<B: http_body::Body + Unpin>(&self, request: Request<B>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let has_body = !body.is_end_stream() && holds_data(body).await;
        let mut context = Context::new(head, &self.recorder);
        let response = match self.lead(&mut context, has_body).await {
            Ok(response) => response,
            Err(rejection) => rejection.into_response(&mut context),
        };
        context.record(response)
    }

    async fn lead(&self, context: &mut Context, has_body: bool) -> Result<Response<Body>, Rejection> {
        check_method(context.method(), has_body)?;
        if let Some(response) = self.health.answer(context.path()) {
            context.set_health();
            return Ok(response);
        }
        let principal = self.authenticate(context).await?;
        context.set_principal(principal);
        let Route { class, key } = self.locator.locate(context.path()).ok_or(Rejection::NoSuchPath)?;
        context.set_key(&key);
        self.documents.answer(context, class, &key).await
    }

    async fn authenticate(&self, context: &mut Context) -> Result<Arc<Principal>, Rejection> {
        let class = RouteClass::of(context.path());
        context.set_route(class);
        let resource = if class == Some(RouteClass::Static) { Resource::StaticFile } else { Resource::Other };
        let credential = self.credential(context.headers(), resource)?.or_certificate(context.peer());
        if let Some(principal) = self.authenticator.remembered(&credential) {
            self.instruments.token_remembered();
            return Ok(principal);
        }
        let verdict = self.authenticator.verify(&credential).await;
        self.instruments.token_judged(verdict.as_ref().map_or_else(|refused| refused.reason(), |_| "verified"));
        Ok(verdict?)
    }

    fn credential<'a>(&self, headers: &'a HeaderMap, resource: Resource) -> Result<Credential<'a>, Rejection> {
        let found = self.authenticator.credential(headers, resource);
        found.inspect_err(|refused| self.instruments.token_judged(refused.reason())).map_err(Rejection::from)
    }
}

/// Whether a body that has not ended yet holds anything. Some HTTP/2 clients end an empty one in a frame of its own, and
/// it may be chunked and empty; whoever takes longer to say so is taken at the header's word.
async fn holds_data(mut body: impl http_body::Body + Unpin) -> bool {
    const PATIENCE: Duration = Duration::from_millis(500);
    if body.size_hint().lower() > 0 {
        return true;
    }
    let data = async {
        loop {
            match body.frame().await {
                None => return false,
                Some(Ok(frame)) if frame.data_ref().is_none_or(|data| !data.has_remaining()) => {}
                Some(_) => return true,
            }
        }
    };
    tokio::time::timeout(PATIENCE, data).await.unwrap_or(true)
}

fn check_method(method: &Method, has_body: bool) -> Result<(), Rejection> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(Rejection::Method);
    }
    if has_body { Err(Rejection::RequestBody) } else { Ok(()) }
}
