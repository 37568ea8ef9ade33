//! What is written down of a request once it is over, however it ends.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::request::Parts;
use http::{Extensions, HeaderMap, Method, StatusCode, Uri};

use crate::auth::{AuthError, Principal};
use crate::chain::chain;
use crate::docs::StorageKey;
use crate::http::cache_status::CacheOutcome;
use crate::storage::StoreError;
use crate::telemetry::{AccessLine, AccessLog, Instruments, RequestLabels, Span, TraceId, Tracing, route_template};

/// What a client that left before it was answered is written down as, after nginx's 499.
const CLIENT_LEFT: u16 = 499;

/// The same in a word, also for one that left in the middle of its answer.
const CLIENT_LEFT_WORD: &str = "client_left";

/// Writes requests down.
#[derive(Debug)]
pub(super) struct Recorder {
    books: Arc<Books>,
    tracing: Tracing,
}

#[derive(Debug)]
struct Books {
    instruments: Arc<Instruments>,
    access_log: AccessLog,
}

impl Recorder {
    pub(super) fn new(instruments: Arc<Instruments>, access_log: AccessLog) -> Self {
        Self { books: Arc::new(Books { instruments, access_log }), tracing: Tracing::off() }
    }

    /// The same, which also makes a span a request.
    pub(super) fn traced(self, tracing: Tracing) -> Self {
        Self { tracing, ..self }
    }

    /// Opens the record of a request that has just come in. In a box, since it is handed on with the answer, from room to
    /// room.
    pub(super) fn start(&self, head: Parts) -> Box<Record> {
        self.books.instruments.request_started(&head.method);
        let (span, trace_id) = self.tracing.request(&head);
        Box::new(Record {
            books: Arc::clone(&self.books),
            start: Instant::now(),
            span,
            trace_id,
            head,
            path: Box::default(),
            route: "other",
            principal: None,
            refused: None,
            key: None,
            outcome: None,
            reason: None,
            answer: None,
            bytes: 0,
        })
    }
}

/// The record of one request. Written when it is dropped: with the end of the answer's body, or wherever the request
/// was given up.
#[derive(Debug)]
pub(super) struct Record {
    books: Arc<Books>,
    start: Instant,
    pub(super) span: Span,
    pub(super) trace_id: TraceId,
    /// The request's head, until there is an answer; its method also after that.
    pub(super) head: Parts,
    /// Its path, once there is an answer and where it is to be written down.
    path: Box<str>,
    pub(super) route: &'static str,
    pub(super) principal: Option<Arc<Principal>>,
    /// Why there is no principal.
    pub(super) refused: Option<AuthError>,
    pub(super) key: Option<StorageKey>,
    pub(super) outcome: Option<CacheOutcome>,
    pub(super) reason: Option<&'static str>,
    answer: Option<Answer>,
    bytes: u64,
}

/// What was answered.
#[derive(Debug, Clone, Copy)]
struct Answer {
    status: StatusCode,
    /// Bytes of the body that are to be sent.
    length: u64,
}

impl Record {
    /// There is an answer, with a body of `length` bytes. Of the request nothing is held any longer but a copy of what is
    /// written down: the body may be on its way for minutes, and the buffer that the head lies in is wanted for the next.
    pub(super) fn answered(&mut self, status: StatusCode, length: u64) {
        if self.books.access_log.is_on() {
            self.path = self.head.uri.path().into();
        }
        self.head.uri = Uri::default();
        self.head.headers = HeaderMap::new();
        self.head.extensions = Extensions::new();
        let length = if self.head.method == Method::HEAD { 0 } else { length };
        self.answer = Some(Answer { status, length });
    }

    /// So many more bytes of the body are on their way.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// Storage failed in the middle of the body, so that the connection has to be broken off.
    pub(super) fn cut_off(&mut self, error: &StoreError) {
        self.reason = Some(error.as_str());
        let key = self.key.as_ref().map(tracing::field::display);
        let (error, trace_id) = (chain(error), self.trace_id);
        tracing::warn!(key, error, %trace_id, "storage failed in the middle of a document");
    }

    fn status(&self) -> StatusCode {
        let left = StatusCode::from_u16(CLIENT_LEFT).unwrap_or(StatusCode::BAD_REQUEST);
        self.answer.map_or(left, |answer| answer.status)
    }

    /// Tells what became of the request, as OpenTelemetry's conventions for servers have it.
    fn tell_span(&self, status: StatusCode) {
        if let Some(template) = route_template(self.route) {
            self.span.set_name(format!("{} {template}", self.head.method));
            self.span.set("http.route", template);
        }
        if self.answer.is_some() {
            self.span.set("http.response.status_code", i64::from(status.as_u16()));
        }
        if let Some(outcome) = self.outcome {
            self.span.set("callboard.cache.outcome", outcome.as_str());
        }
        match self.reason() {
            // What a client does wrong, leaving early included, is no failure of the server's.
            Some(reason) if status.is_client_error() || reason == CLIENT_LEFT_WORD => {
                self.span.set("error.type", reason);
            }
            Some(reason) => self.span.fail(reason),
            None => {}
        }
    }

    /// Who asks, and the plugin that asks for it: also where it was verified and refused all the same.
    fn caller(&self) -> (Option<&str>, Option<&str>) {
        match (&self.principal, &self.refused) {
            (Some(principal), _) => (Some(principal.subject()), principal.actor()),
            (None, Some(refused)) => (refused.subject(), refused.actor()),
            (None, None) => (None, None),
        }
    }

    /// Why the request did not end as it should have, in one word.
    fn reason(&self) -> Option<&'static str> {
        let is_whole = self.answer.is_some_and(|answer| self.bytes >= answer.length);
        self.reason.or((!is_whole).then_some(CLIENT_LEFT_WORD))
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let duration = self.start.elapsed();
        let status = self.status();
        let labels = RequestLabels { method: &self.head.method, route: self.route, status, outcome: self.outcome };
        self.books.instruments.request(labels, duration);
        if self.span.is_recorded() {
            self.tell_span(status);
        }
        if !self.books.access_log.is_on() {
            return;
        }
        let (subject, actor) = self.caller();
        self.books.access_log.write(&AccessLine {
            at: SystemTime::now(),
            method: self.head.method.as_str(),
            path: if self.answer.is_some() { &self.path } else { self.head.uri.path() },
            status: status.as_u16(),
            subject,
            actor,
            key: self.key.as_ref().map(StorageKey::as_str),
            cache: self.outcome.map(CacheOutcome::as_str),
            reason: self.reason(),
            bytes: self.bytes,
            duration,
            trace_id: self.trace_id,
        });
    }
}
