//! A request's whole journey:
//!
//! 1. host and target: one well-formed host (RFC 9112 §3.2), a target of bounded length;
//! 2. method: only GET and HEAD, and no request body;
//! 3. health: answered without a credential, before anything else is looked at;
//! 4. authenticate: bearer token, cookie or client certificate → principal, which may also be refused here for what it
//!    may not do; too many bad tokens from one address, and unknown ones are not looked at any more;
//! 5. admit: is the principal within its rate?
//! 6. route: entity and path → storage key, or "not found"; unauthenticated callers learn nothing;
//! 7. fetch: memory → one fetch → storage, by freshness;
//! 8. respond: conditional, range, headers;
//! 9. record: one access-log line, one span and the histograms, also for a client that left early.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;

use super::context::Context;
use super::document::Documents;
use super::record::Recorder;
use super::rejection::Rejection;
use super::{Body, Health, Options};
use crate::auth::{AuthError, Authenticator, Credential, Kind as PrincipalKind, Principal, Resource};
use crate::cache::DocCache;
use crate::docs::{Locator, Route, RouteClass};
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
        let Rooms { authenticator, limiter, locator, cache, health, instruments, access_log } = rooms;
        instruments.token_results(AuthError::REASONS);
        Self {
            authenticator,
            limiter,
            locator,
            max_uri_bytes: options.max_uri_bytes,
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

    /// Answers a request from a client at `client`. Every outcome is an answer; what went wrong is in its status, its
    /// body and the log.
    pub async fn answer<B: http_body::Body + Unpin>(&self, request: Request<B>, client: Address) -> Response<Body> {
        let (head, body) = request.into_parts();
        let mut context = Context::new(head, client, &self.recorder);
        let has_body = !body.is_end_stream() && holds_data(body).await;
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
        host::check(context.head())?;
        self.check_target(context)?;
        check_method(context.method(), has_body)?;
        if let Some(response) = self.health.answer(context.path()) {
            context.set_health();
            return Ok(response);
        }
        let principal = self.authenticate(context).await?;
        let admitted = self.admit(context, &principal);
        // Also of one who is turned away it is written down who it was.
        context.set_principal(principal);
        admitted?;
        let Route { class, key } = self.locator.locate(context.path()).ok_or(Rejection::NoSuchPath)?;
        context.set_key(&key);
        self.documents.answer(context, class, &key).await
    }

    fn check_target(&self, context: &Context) -> Result<(), Rejection> {
        if context.target().len() > self.max_uri_bytes { Err(Rejection::UriTooLong) } else { Ok(()) }
    }

    async fn authenticate(&self, context: &mut Context) -> Result<Arc<Principal>, Rejection> {
        let class = RouteClass::of(context.path());
        context.set_route(class);
        let resource = if class == Some(RouteClass::Static) { Resource::StaticFile } else { Resource::Other };
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
            Ok(credential) => self.verify(&credential).await,
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
            // Configured subjects may be listed with the prefix that Backstage's documentation shows them with.
            PrincipalKind::External if !sender.starts_with(EXTERNAL) => {
                self.limiter.request(&format!("{EXTERNAL}{sender}"))
            }
            _ => self.limiter.request(sender),
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
