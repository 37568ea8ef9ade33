//! What is known of a request on its way.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, Method, Response};

use super::Body;
use super::record::{Record, Recorder};
use crate::auth::{AuthError, PeerCertificate, Principal};
use crate::cache::Found;
use crate::docs::{RouteClass, StorageKey};
use crate::limit::Address;
use crate::telemetry::{Scope, TraceId};

/// A request on its way: where it comes from, and its record, which holds its head.
#[derive(Debug)]
pub(super) struct Context {
    client: Address,
    class: Option<RouteClass>,
    record: Box<Record>,
}

impl Context {
    pub(super) fn new(head: Parts, client: Address, recorder: &Recorder) -> Self {
        Self { client, class: None, record: recorder.start(head) }
    }

    pub(super) fn head(&self) -> &Parts {
        &self.record.head
    }

    /// Where the request comes from.
    pub(super) const fn client(&self) -> Address {
        self.client
    }

    pub(super) fn method(&self) -> &Method {
        &self.record.head.method
    }

    /// The path as the client sent it, without the query.
    pub(super) fn path(&self) -> &str {
        self.record.head.uri.path()
    }

    /// What stands behind the path's question mark.
    pub(super) fn query(&self) -> &str {
        self.record.head.uri.query().unwrap_or_default()
    }

    /// Path and query as the client sent them.
    pub(super) fn target(&self) -> &str {
        self.record.head.uri.path_and_query().map_or("/", |target| target.as_str())
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.record.head.headers
    }

    /// The certificate that the connection's client has shown; the listener puts it there.
    pub(super) fn peer(&self) -> Option<&PeerCertificate> {
        self.record.head.extensions.get::<Arc<PeerCertificate>>().map(Arc::as_ref)
    }

    /// What kind of document it asks for; nothing before that was found out, or where it is none.
    pub(super) const fn class(&self) -> Option<RouteClass> {
        self.class
    }

    pub(super) fn set_route(&mut self, class: Option<RouteClass>) {
        self.class = class;
        self.record.route = class.map_or("other", RouteClass::as_str);
    }

    pub(super) fn set_operation(&mut self) {
        self.record.route = "operation";
    }

    pub(super) fn set_health(&mut self) {
        self.record.route = "health";
    }

    pub(super) fn set_principal(&mut self, principal: Arc<Principal>) {
        self.record.principal = Some(principal);
    }

    pub(super) fn set_refused(&mut self, error: &AuthError) {
        self.record.refused = Some(error.clone());
    }

    pub(super) fn set_key(&mut self, key: &StorageKey) {
        self.record.key = Some(key.clone());
    }

    pub(super) fn set_found(&mut self, found: &Found) {
        self.record.outcome = Some(found.outcome);
        if found.collapsed {
            self.record.span.set("callboard.collapsed", true);
        }
    }

    pub(super) fn set_reason(&mut self, reason: &'static str) {
        self.record.reason = Some(reason);
    }

    /// What the request's work runs in, so that it finds the request's span.
    pub(super) fn scope(&self) -> Scope {
        self.record.span.scope()
    }

    pub(super) fn trace_id(&self) -> TraceId {
        self.record.trace_id
    }

    /// Sends the record off with the response; it is written when the body is through.
    pub(super) fn record(mut self, response: Response<Body>) -> Response<Body> {
        self.record.answered(response.status(), response.body().left());
        response.map(|body| body.recorded(self.record))
    }
}
