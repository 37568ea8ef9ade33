//! Spans, made with OpenTelemetry's own API rather than through `tracing`: where no receiver is configured there is
//! no tracer, and a span is a `None` that costs one branch, where `tracing` would ask every subscriber about every span
//! and build its fields.
//!
//! A request's span travels in OpenTelemetry's context, which is attached whenever the request's future runs, and the
//! tracer travels with it. A room that does something worth a span asks for a [`Span::child`] of whatever it runs
//! under, and nobody has to be handed a tracer. Work outside of any request makes no spans.

use std::fmt;
use std::pin::pin;
use std::str::FromStr;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};
use opentelemetry::context::FutureExt;
use opentelemetry::trace::{
    SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceState,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::SdkTracer;

use super::TraceId;
use super::trace_id::TraceParent;

/// Makes the spans of requests, or none.
#[derive(Debug, Clone, Default)]
pub struct Tracing(Option<SdkTracer>);

/// A span, ended when it is dropped; nothing where nobody traces.
#[derive(Debug)]
pub struct Span(Option<Context>);

/// What runs under a span, for work that outlives a borrow of it. It does not keep the span from ending.
#[derive(Debug, Clone)]
pub struct Scope(Option<Context>);

impl Tracing {
    /// No spans at all.
    pub const fn off() -> Self {
        Self(None)
    }

    pub(super) const fn with(tracer: SdkTracer) -> Self {
        Self(Some(tracer))
    }

    /// The span of a request that has just come in, below the caller's where it names one, and its trace id. There is a
    /// trace id also where there is no span: the access log tells it.
    pub fn request(&self, head: &Parts) -> (Span, TraceId) {
        let Some(tracer) = &self.0 else {
            return (Span(None), TraceId::of_request(&head.headers));
        };
        let parent = TraceParent::of_request(&head.headers).map(|parent| remote(parent, &head.headers));
        let parent = parent.map_or_else(Context::new, |parent| Context::new().with_remote_span_context(parent));
        let builder = SpanBuilder::from_name(method_word(&head.method)).with_kind(SpanKind::Server);
        let span = builder.start_with_context(tracer, &parent);
        let context = Context::new().with_value(tracer.clone()).with_span(span);
        let trace_id = TraceId::new(u128::from_be_bytes(context.span().span_context().trace_id().to_bytes()));
        let span = Span(Some(context));
        if span.is_recorded() {
            describe_request(&span, head);
        }
        (span, trace_id)
    }
}

impl Span {
    /// A span below the one that the caller runs under; nothing where that is none.
    pub fn child(kind: Kind, name: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        let current = Context::current();
        let Some(tracer) = current.get::<SdkTracer>() else {
            return Self(None);
        };
        let builder = SpanBuilder::from_name(name).with_kind(kind.into());
        let span = builder.start_with_context(tracer, &current);
        Self(Some(current.with_span(span)))
    }

    /// A span for one HTTP request that we send. Of the address neither a name, a password nor the query is told, any
    /// of which may be a secret.
    pub fn http_request(method: &Method, uri: &Uri) -> Self {
        let span = Self::child(Kind::Client, method_word(method));
        if span.is_recorded() {
            let host = uri.host().unwrap_or_default().to_owned();
            let scheme = uri.scheme_str().unwrap_or("http").to_owned();
            let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
            span.set("url.full", format!("{scheme}://{host}:{port}{}", uri.path()));
            span.set("http.request.method", method_word(method));
            span.set("server.address", host);
            span.set("server.port", i64::from(port));
        }
        span
    }

    /// What runs under this span.
    pub fn scope(&self) -> Scope {
        Scope(self.0.clone())
    }

    /// Whether anyone will see what is told here; what is costly to tell is told only then.
    pub fn is_recorded(&self) -> bool {
        self.0.as_ref().is_some_and(|context| context.span().is_recording())
    }

    /// Tells an attribute, named as OpenTelemetry's semantic conventions name it where they do.
    pub fn set(&self, name: &'static str, value: impl Into<Value>) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(KeyValue::new(name, value));
        }
    }

    /// Gives it a better name than it was started with.
    pub fn set_name(&self, name: String) {
        if let Some(context) = &self.0 {
            context.span().update_name(name);
        }
    }

    /// Marks it as failed, for a reason in one word.
    pub fn fail(&self, reason: &'static str) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(KeyValue::new("error.type", reason));
            context.span().set_status(Status::error(reason));
        }
    }

    /// Tells the answer to an HTTP request that we sent.
    pub fn answered(&self, status: StatusCode) {
        self.set("http.response.status_code", i64::from(status.as_u16()));
        if (status.is_client_error() || status.is_server_error()) && self.is_recorded() {
            self.set("error.type", status.as_str().to_owned());
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(context) = &self.0 {
            context.span().end();
        }
    }
}

impl Scope {
    /// What the caller runs under, for work that becomes a task or a stream of its own.
    pub fn current() -> Self {
        Self(Context::map_current(|current| current.has_active_span().then(|| current.clone())))
    }

    /// Runs `work` in it.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> T {
        // Pinned first, so that both branches share one place for it.
        let work = pin!(work);
        match &self.0 {
            None => work.await,
            Some(context) => work.with_context(context.clone()).await,
        }
    }
}

/// Which side of a call a span is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Work of our own.
    Internal,
    /// We ask somebody else.
    Client,
}

impl From<Kind> for SpanKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Internal => Self::Internal,
            Kind::Client => Self::Client,
        }
    }
}

/// The longest `tracestate` that is passed on, in bytes: what everyone must be able to (§3.3.1.5). A longer one is the
/// caller's to choose, and storage would refuse the whole request for it.
const MAX_TRACE_STATE: usize = 512;

/// Passes the span that the caller runs under on to whom a request goes (W3C Trace Context §3); nothing where that is
/// none.
pub fn inject(headers: &mut HeaderMap) {
    Context::map_current(|current| {
        let span = current.span();
        let context = span.span_context();
        if !context.is_valid() {
            return;
        }
        // Hex digits always make a header's value.
        if let Ok(value) = HeaderValue::try_from(Traceparent(context).to_string()) {
            headers.insert("traceparent", value);
        }
        let state = context.trace_state().header();
        let fits = (1..=MAX_TRACE_STATE).contains(&state.len());
        if let (true, Ok(value)) = (fits, HeaderValue::try_from(state)) {
            headers.insert("tracestate", value);
        }
    });
}

struct Traceparent<'a>(&'a SpanContext);

impl fmt::Display for Traceparent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(context) = self;
        write!(f, "00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags().to_u8() & 1)
    }
}

/// The caller's span as OpenTelemetry has it. A `tracestate` that is not well-formed is left out (§3.3.1.1 allows it).
fn remote(parent: TraceParent, headers: &HeaderMap) -> SpanContext {
    let states: Vec<&str> = headers.get_all("tracestate").iter().filter_map(|value| value.to_str().ok()).collect();
    SpanContext::new(
        opentelemetry::TraceId::from(parent.trace_id.get()),
        SpanId::from(parent.span_id),
        if parent.sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED },
        true,
        TraceState::from_str(&states.join(",")).unwrap_or_default(),
    )
}

/// Among a request's extensions: it came over TLS.
#[derive(Debug, Clone, Copy)]
pub struct OverTls;

/// What the conventions want of a server's span when it starts.
fn describe_request(span: &Span, head: &Parts) {
    /// The longest text of a client's that a span repeats, in bytes.
    const MAX_TEXT: usize = 1024;
    let text = |text: &str| text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or_default().to_owned();
    span.set("http.request.method", method_word(&head.method));
    span.set("url.path", text(head.uri.path()));
    let is_over_tls = head.extensions.get::<OverTls>().is_some();
    span.set("url.scheme", if is_over_tls { "https" } else { "http" });
    span.set(
        "network.protocol.version",
        match head.version {
            Version::HTTP_10 => "1.0",
            Version::HTTP_2 => "2",
            _ => "1.1",
        },
    );
    let host = head.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
    let authority = head.uri.authority().cloned().or_else(|| host?.parse().ok());
    if let Some(authority) = authority {
        span.set("server.address", text(authority.host()));
        if let Some(port) = authority.port_u16() {
            span.set("server.port", i64::from(port));
        }
    }
    if let Some(agent) = head.headers.get(http::header::USER_AGENT).and_then(|agent| agent.to_str().ok()) {
        span.set("user_agent.original", text(agent));
    }
}

/// A method as the conventions name it: one of a closed set, whatever a client writes.
pub(super) fn method_word(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        _ => "_OTHER",
    }
}
