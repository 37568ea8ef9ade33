//! A request's whole journey:
//!
//! 1. method: only GET and HEAD, and no request body;
//! 2. health: answered without a credential, before anything else is looked at;
//! 3. authenticate: bearer token or cookie → principal, which may also be refused here for what it may not do;
//! 4. route: entity and path → storage key, or "not found"; unauthenticated callers learn nothing;
//! 5. fetch: memory → one fetch → storage, by freshness;
//! 6. respond: conditional, range, headers;
//! 7. record: one access-log line, one span and the histograms, also for a client that left early.

use std::pin::pin;
use std::sync::Arc;

use http::{HeaderMap, Method, Request, Response};

use super::context::Context;
use super::document::Documents;
use super::record::Recorder;
use super::rejection::Rejection;
use super::{Body, Health, Options};
use crate::auth::{AuthError, Authenticator, Credential, Principal, Resource};
use crate::cache::DocCache;
use crate::docs::{Locator, Route, RouteClass};
use crate::telemetry::{AccessLog, Instruments, Kind, Span, Tracing};

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
        instruments.token_results(AuthError::REASONS);
        Self {
            authenticator,
            locator,
            documents: Documents::new(cache, options),
            health,
            recorder: Recorder::new(Arc::clone(&instruments), access_log),
            instruments,
        }
    }

    /// The same journey, with a span for each request.
    pub fn traced(self, tracing: Tracing) -> Self {
        Self { recorder: self.recorder.traced(tracing), ..self }
    }

    /// Answers a request. Every outcome is an answer; what went wrong is in its status, its body and the log.
    pub async fn answer<B: http_body::Body>(&self, request: Request<B>) -> Response<Body> {
        let has_body = !request.body().is_end_stream();
        let (head, _unread) = request.into_parts();
        let mut context = Context::new(head, &self.recorder);
        let response = context.scope().run(pin!(self.respond(&mut context, has_body))).await;
        context.record(response)
    }

    async fn respond(&self, context: &mut Context, has_body: bool) -> Response<Body> {
        match self.lead(context, has_body).await {
            Ok(response) => response,
            Err(rejection) => rejection.into_response(context),
        }
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
        let credential = self.credential(context.headers(), resource)?;
        if let Some(principal) = self.authenticator.remembered(&credential) {
            self.instruments.token_remembered();
            return Ok(principal);
        }
        let span = Span::child(Kind::Internal, "verify token");
        let verdict = span.scope().run(pin!(self.authenticator.verify(&credential))).await;
        let result = verdict.as_ref().map_or_else(|refused| refused.reason(), |_| "verified");
        span.set("callboard.auth.result", result);
        self.instruments.token_judged(result);
        Ok(verdict?)
    }

    fn credential<'a>(&self, headers: &'a HeaderMap, resource: Resource) -> Result<Credential<'a>, Rejection> {
        let found = self.authenticator.credential(headers, resource);
        found.inspect_err(|refused| self.instruments.token_judged(refused.reason())).map_err(Rejection::from)
    }
}

fn check_method(method: &Method, has_body: bool) -> Result<(), Rejection> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(Rejection::Method);
    }
    if has_body { Err(Rejection::RequestBody) } else { Ok(()) }
}
