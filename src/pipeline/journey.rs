//! A request's whole journey:
//!
//! 1. host and target: one well-formed host (RFC 9112 §3.2), a target of bounded length;
//! 2. operate: what is no reading goes its own way from here: a purge by 5 and 6, a cloud's notification by its own proof;
//! 3. method: only GET and HEAD, and no request body;
//! 4. health: answered without a credential, before anything else is looked at;
//! 5. authenticate: bearer token, cookie or client certificate → principal, which may also be refused here for what it
//!    may not do; too many bad tokens from one address, and unknown ones are not looked at any more;
//! 6. admit: is the principal within its rate?
//! 7. route: entity and path → storage key, or "not found"; unauthenticated callers learn nothing;
//! 8. fetch: memory → one fetch → storage, by freshness;
//! 9. respond: coding, conditional, range, headers;
//! 10. record: one access-log line, one span and the histograms, also for a client that left early.

use std::borrow::Cow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;

use super::context::Context;
use super::document::Documents;
use super::operate::{self, Notifications, Operation, Operations};
use super::record::Recorder;
use super::rejection::Rejection;
use super::{Audience, Body, Health, Options};
use crate::auth::{AuthError, Authenticator, Credential, Kind as PrincipalKind, Principal, Resource};
use crate::cache::DocCache;
use crate::docs::{Locator, Route, RouteClass};
use crate::events::Source;
use crate::http::host;
use crate::limit::{Address, Limited, Limiter};
use crate::telemetry::{AccessLog, Instruments, Kind, Span, Tracing};

/// How the subjects of external callers begin where they are listed.
const EXTERNAL: &str = "external:";

/// Leads requests through the rooms.
#[derive(Debug)]
pub struct Journey {
    authenticator: Authenticator,
    limiter: Arc<Limiter>,
    locator: Locator,
    documents: Documents,
    operations: Arc<Operations>,
    notifications: Notifications,
    health: Arc<Health>,
    instruments: Arc<Instruments>,
    recorder: Recorder,
    max_uri_bytes: usize,
}

/// The rooms that a journey leads through.
#[derive(Debug)]
pub struct Rooms {
    /// Who asks.
    pub authenticator: Authenticator,
    /// How much one caller may ask for.
    pub limiter: Arc<Limiter>,
    /// What a path means.
    pub locator: Locator,
    /// Documents.
    pub cache: Arc<DocCache>,
    /// What is done beside reading.
    pub operations: Arc<Operations>,
    /// What clouds tell.
    pub notifications: Notifications,
    /// How the program is.
    pub health: Arc<Health>,
    /// What is counted.
    pub instruments: Arc<Instruments>,
    /// What is written down.
    pub access_log: AccessLog,
}

impl Journey {
    /// A journey through these rooms.
    pub fn new(rooms: Rooms, options: Options) -> Self {
        let Rooms { authenticator, limiter, locator, cache, operations, notifications, .. } = rooms;
        let Rooms { health, instruments, access_log, .. } = rooms;
        instruments.token_results(AuthError::REASONS);
        Self {
            authenticator,
            limiter,
            locator,
            max_uri_bytes: options.max_uri_bytes,
            documents: Documents::new(cache, options),
            operations,
            notifications,
            health,
            recorder: Recorder::new(Arc::clone(&instruments), access_log),
            instruments,
        }
    }

    /// The same journey, with a span for each request.
    pub fn traced(self, tracing: Tracing) -> Self {
        Self { recorder: self.recorder.traced(tracing), ..self }
    }

    /// Answers a request from a client at `client`. Every outcome is an answer; what went wrong is in its status, its
    /// body and the log.
    pub fn answer<B>(self: Arc<Self>, request: Request<B>, client: Address) -> impl Future<Output = Response<Body>>
    where
        B: http_body::Body + Unpin,
    {
        let (head, mut body) = request.into_parts();
        let mut context = Context::new(head, client, &self.recorder);
        async move {
            let response = context.scope().run(pin!(self.respond(&mut context, &mut body))).await;
            context.record(response)
        }
    }

    async fn respond<B: http_body::Body + Unpin>(&self, context: &mut Context, body: &mut B) -> Response<Body> {
        match self.lead(context, body).await {
            Ok(response) => response,
            Err(rejection) => rejection.into_response(context),
        }
    }

    /// What a hit does not wait for is boxed, here and below: a future is moved about with all that it has room for.
    async fn lead<B>(&self, context: &mut Context, body: &mut B) -> Result<Response<Body>, Rejection>
    where
        B: http_body::Body + Unpin,
    {
        host::check(context.head())?;
        self.check_target(context)?;
        if let Some(operation) = Operation::of(context.path())
            && let Some(answer) = Box::pin(self.operate(context, operation, body)).await
        {
            return answer;
        }
        check_method(context.method())?;
        check_body(body).await?;
        if let Some(response) = self.health.answer(context.path(), Audience::Anyone) {
            context.set_health();
            return Ok(response);
        }
        context.set_route(RouteClass::of(context.path()));
        self.identify(context).await?;
        let Route { class, key } = self.locator.locate(context.path()).ok_or(Rejection::NoSuchPath)?;
        context.set_key(&key);
        self.documents.answer(context, class, &key).await
    }

    /// Does what is no reading; `None` where the main listener does not.
    async fn operate<B>(
        &self,
        context: &mut Context,
        operation: Operation,
        body: &mut B,
    ) -> Option<Result<Response<Body>, Rejection>>
    where
        B: http_body::Body + Unpin,
    {
        match operation {
            Operation::Purge => Some(self.purge(context).await),
            Operation::Notify(source) => Some(self.hear(context, source, body).await),
            // Sites are warmed on the admin listener alone.
            Operation::Warm => None,
        }
    }

    /// Purges for one of those who may. A body has nothing to say, and is not read.
    async fn purge(&self, context: &mut Context) -> Result<Response<Body>, Rejection> {
        context.set_operation();
        operate::check_method(context.method())?;
        let principal = self.identify(context).await?;
        self.operations.check_purger(&listed(principal.kind(), principal.subject()))?;
        Ok(self.operations.purge(context.query()).await?)
    }

    /// Takes in what a cloud tells. Whoever sends what can't be believed has tried a credential that is no good.
    async fn hear<B>(&self, context: &mut Context, source: Source, body: B) -> Result<Response<Body>, Rejection>
    where
        B: http_body::Body + Unpin,
    {
        context.set_operation();
        if self.notifications.is_expected(source) {
            self.limiter.attempt(context.client()).map_err(|limited| self.limited(limited))?;
        }
        let heard = self.notifications.hear(source, context.head(), body).await;
        heard.map_err(|refusal| {
            if matches!(refusal.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
                self.limiter.attempt_failed(context.client());
            }
            refusal.into()
        })
    }

    /// Who asks, where it is within its rate.
    async fn identify(&self, context: &mut Context) -> Result<Arc<Principal>, Rejection> {
        let principal = self.authenticate(context).await?;
        let admitted = self.admit(context, &principal);
        // Also of one who is turned away it is written down who it was.
        context.set_principal(Arc::clone(&principal));
        admitted.map(|()| principal)
    }

    fn check_target(&self, context: &Context) -> Result<(), Rejection> {
        if context.target().len() > self.max_uri_bytes { Err(Rejection::UriTooLong) } else { Ok(()) }
    }

    async fn authenticate(&self, context: &mut Context) -> Result<Arc<Principal>, Rejection> {
        let is_static = context.class() == Some(RouteClass::Static);
        let resource = if is_static { Resource::StaticFile } else { Resource::Other };
        let credential = self.authenticator.credential(context.headers(), resource);
        let credential = credential.map(|found| found.or_certificate(context.peer()));
        if let Ok(credential) = &credential
            && let Some(principal) = self.authenticator.remembered(credential)
        {
            self.instruments.token_remembered();
            return Ok(principal);
        }
        // Who shows nothing has tried nothing, and is told what to show: a load balancer's probe, a browser's first try. A
        // certificate was verified with its connection: there is nothing to guess. Nor is a token that was good before.
        let is_attempt = match &credential {
            Ok(Credential::Absent | Credential::Certificate(_)) => false,
            Ok(credential) => !self.authenticator.knows(credential),
            Err(_) => true,
        };
        if is_attempt {
            self.limiter.attempt(context.client()).map_err(|limited| self.limited(limited))?;
        }
        let verdict = match credential {
            Ok(credential) => Box::pin(self.verify(&credential)).await,
            Err(unreadable) => Err(unreadable),
        };
        self.instruments.token_judged(verdict.as_ref().map_or_else(|refused| refused.reason(), |_| "verified"));
        verdict.map_err(|refused| self.refused(context, refused))
    }

    /// Charges a refusal to whom it is due: a token that is no good to its address, a caller who is known and may not
    /// read to itself, so that it locks out nobody beside it.
    fn refused(&self, context: &Context, refused: AuthError) -> Rejection {
        if let Some(sender) = refused.actor().or(refused.subject()) {
            return self.limiter.request(sender).map_or_else(|limited| self.limited(limited), |()| refused.into());
        }
        if refused.status() == StatusCode::UNAUTHORIZED && !matches!(refused, AuthError::Missing) {
            self.limiter.attempt_failed(context.client());
        }
        refused.into()
    }

    async fn verify(&self, credential: &Credential<'_>) -> Result<Arc<Principal>, AuthError> {
        let span = Span::child(Kind::Internal, "verify token");
        let verdict = span.scope().run(pin!(self.authenticator.verify(credential))).await;
        span.set("callboard.auth.result", verdict.as_ref().map_or_else(|refused| refused.reason(), |_| "verified"));
        verdict
    }

    /// Whether the caller is within its rate. Who acts for others answers for what it sends.
    fn admit(&self, context: &Context, principal: &Principal) -> Result<(), Rejection> {
        let sender = principal.actor().unwrap_or(principal.subject());
        let admitted = match principal.kind() {
            // Where anonymous reading is allowed, the address is all that tells one reader from another.
            PrincipalKind::Anonymous => self.limiter.anonymous_request(context.client()),
            kind => self.limiter.request(&listed(kind, sender)),
        };
        admitted.map_err(|limited| self.limited(limited))
    }

    fn limited(&self, limited: Limited) -> Rejection {
        self.instruments.limits.exceeded(limited.reason);
        Rejection::Limited(limited)
    }
}

/// Whether a body that has not ended yet holds anything. Some HTTP/2 clients end an empty one in a frame of its own, and
/// it may be chunked and empty; whoever takes longer to say so is taken at the header's word.
async fn holds_data(body: &mut (impl http_body::Body + Unpin)) -> bool {
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

fn check_method(method: &Method) -> Result<(), Rejection> {
    if matches!(*method, Method::GET | Method::HEAD) { Ok(()) } else { Err(Rejection::Method) }
}

async fn check_body(body: &mut (impl http_body::Body + Unpin)) -> Result<(), Rejection> {
    let has_body = !body.is_end_stream() && Box::pin(holds_data(body)).await;
    if has_body { Err(Rejection::RequestBody) } else { Ok(()) }
}

/// A caller as lists of subjects have it: configured ones may be listed with the prefix that Backstage's documentation
/// shows them with.
fn listed(kind: PrincipalKind, subject: &str) -> Cow<'_, str> {
    match kind {
        PrincipalKind::External if !subject.starts_with(EXTERNAL) => format!("{EXTERNAL}{subject}").into(),
        _ => subject.into(),
    }
}
