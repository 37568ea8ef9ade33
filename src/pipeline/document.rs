//! From a storage key to an answer: find the document, weigh the request's conditions, choose the bytes and their coding.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::header::{CONTENT_RANGE, RANGE};
use http::{HeaderValue, Method, Response, StatusCode};

use super::context::Context;
use super::head::{self, Heads, Leaving};
use super::rejection::Rejection;
use super::{Body, Options};
use crate::cache::{Content, DocCache, Entry, Found};
use crate::docs::{RouteClass, StorageKey};
use crate::http::cache_status::cache_status;
use crate::http::conditional::{self, Validators, Verdict};
use crate::http::negotiation::{Accepted, Coding};
use crate::http::{multipart, range};
use crate::storage::StoreError;
use crate::telemetry::Scope;

/// Answers with documents.
#[derive(Debug)]
pub(super) struct Documents {
    cache: Arc<DocCache>,
    heads: Heads,
}

impl Documents {
    pub(super) fn new(cache: Arc<DocCache>, options: Options) -> Self {
        Self { cache, heads: Heads::new(options) }
    }

    /// The answer to a GET or HEAD of `key`.
    pub(super) async fn answer(
        &self,
        context: &mut Context,
        class: RouteClass,
        key: &StorageKey,
    ) -> Result<Response<Body>, Rejection> {
        let found = self.find(context, key).await?;
        match self.respond(context, class, key, &found).await {
            // A large document was replaced since it was looked at; the cache has forgotten it, so look once more.
            Err(Rejection::Storage(StoreError::Changed)) => Box::pin(self.answer_anew(context, class, key)).await,
            answer => answer,
        }
    }

    async fn answer_anew(
        &self,
        context: &mut Context,
        class: RouteClass,
        key: &StorageKey,
    ) -> Result<Response<Body>, Rejection> {
        let found = self.find(context, key).await?;
        self.respond(context, class, key, &found).await
    }

    async fn find(&self, context: &mut Context, key: &StorageKey) -> Result<Found, StoreError> {
        let found = match self.cache.fresh(key) {
            Some(found) => found,
            None if asks_for_parts(context) => Box::pin(self.cache.fetch_for_parts(key)).await?,
            None => Box::pin(self.cache.fetch(key)).await?,
        };
        context.set_found(&found);
        Ok(found)
    }

    async fn respond(
        &self,
        context: &Context,
        class: RouteClass,
        key: &StorageKey,
        found: &Found,
    ) -> Result<Response<Body>, Rejection> {
        let entry = &found.entry;
        if let Content::Absent = entry.content() {
            return Err(Rejection::Absent {
                class,
                cache_status: cache_status(found.outcome, found.ttl, found.collapsed),
            });
        }
        // Metadata leaves as it lies in storage, but only where it is the JSON that it says it is.
        if class == RouteClass::Metadata && entry.broken_metadata {
            return Err(Rejection::BrokenMetadata);
        }
        let leaving = Leaving { found, coding: Coding::Identity, varies: self.cache.varies(entry) };
        let asks_for_parts = asks_for_parts(context);
        let codings = accepted(context, leaving, asks_for_parts);
        let validators =
            Validators { etag: entry.meta.etag.as_ref(), codings, last_modified: entry.meta.last_modified };
        match conditional::evaluate(context.headers(), validators) {
            Verdict::Proceed => {}
            Verdict::NotModified(known) => {
                let chosen = || self.cache.variant(key, entry, codings).map_or(Coding::Identity, |(coding, _)| coding);
                return Ok(self.not_modified(Leaving { coding: known.unwrap_or_else(chosen), ..leaving }));
            }
            Verdict::PreconditionFailed => return Err(Rejection::PreconditionFailed),
        }
        let length = entry.meta.size;
        let selection = if asks_for_parts && conditional::range_applies(context.headers(), validators) {
            range::select(context.headers(), length)
        } else {
            range::Selection::Whole
        };
        match selection {
            range::Selection::Whole => self.whole(context, key, leaving, codings).await,
            range::Selection::Unsatisfiable => Err(Rejection::RangeNotSatisfiable { length }),
            range::Selection::Parts(parts) => match parts.as_slice() {
                [part] => {
                    let body = self.part(key, entry, Some(part.clone())).await?;
                    Ok(self.single_part(leaving, part, body))
                }
                _ => self.several_parts(key, leaving, parts).await,
            },
        }
    }

    fn not_modified(&self, leaving: Leaving<'_>) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.headers_mut() = self.heads.of_whole(leaving, None);
        response
    }

    /// All of a document, in the coding that its reader would rather have than any other that there is.
    async fn whole(
        &self,
        context: &Context,
        key: &StorageKey,
        leaving: Leaving<'_>,
        codings: Accepted,
    ) -> Result<Response<Body>, Rejection> {
        let entry = &leaving.found.entry;
        let variant = self.cache.variant(key, entry, codings);
        let (coding, length) = match variant {
            Some((coding, bytes)) => (coding, bytes.len() as u64),
            None => (Coding::Identity, entry.meta.size),
        };
        let body = match variant {
            _ if !is_get(context) => Body::empty(),
            Some((_, bytes)) => Body::whole(Content::shared(bytes)),
            None => self.part(key, entry, None).await?,
        };
        let mut response = Response::new(body);
        *response.headers_mut() = self.heads.of_whole(Leaving { coding, ..leaving }, Some(length));
        Ok(response)
    }

    fn single_part(&self, leaving: Leaving<'_>, part: &Range<u64>, body: Body) -> Response<Body> {
        let entry = &leaving.found.entry;
        let mut response = self.partial(leaving, entry.content_type.clone(), body);
        let content_range = multipart::content_range(part, entry.meta.size);
        if let Ok(value) = HeaderValue::try_from(content_range) {
            response.headers_mut().insert(CONTENT_RANGE, value);
        }
        response
    }

    async fn several_parts(
        &self,
        key: &StorageKey,
        leaving: Leaving<'_>,
        parts: Vec<Range<u64>>,
    ) -> Result<Response<Body>, Rejection> {
        let entry = &leaving.found.entry;
        let mut framed = Vec::with_capacity(parts.len());
        for part in parts {
            framed.push((multipart::part_head(entry.content_type, &part, entry.meta.size), part));
        }
        let body = match entry.content() {
            Content::Body(whole) => pieces(&Content::shared(whole), framed),
            Content::Filling(_) | Content::Large | Content::Absent => self.streamed_parts(key, entry, framed),
        };
        Ok(self.partial(leaving, multipart::CONTENT_TYPE, body))
    }

    fn partial(&self, leaving: Leaving<'_>, content_type: HeaderValue, body: Body) -> Response<Body> {
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let content = head::Content { content_type, length: response.body().left() };
        *response.headers_mut() = self.heads.of(leaving, Some(content));
        response
    }

    /// The bytes of a document, or a part of them.
    async fn part(&self, key: &StorageKey, entry: &Entry, part: Option<Range<u64>>) -> Result<Body, StoreError> {
        match entry.content() {
            Content::Body(whole) => Ok(Body::whole(match part {
                Some(part) => slice(&Content::shared(whole), &part),
                None => Content::shared(whole),
            })),
            Content::Filling(_) | Content::Large | Content::Absent => {
                let length = part.as_ref().map_or(entry.meta.size, |part| part.end - part.start);
                let object = Box::pin(self.cache.stream(key, entry, part)).await?;
                Ok(Body::stream(object.body, length))
            }
        }
    }

    /// Several parts of a large document, each opened when the one before is through.
    fn streamed_parts(&self, key: &StorageKey, entry: &Arc<Entry>, framed: Vec<(Bytes, Range<u64>)>) -> Body {
        let tail = multipart::tail();
        let framing: usize = framed.iter().map(|(head, _)| head.len()).sum();
        let contents: u64 = framed.iter().map(|(_, part)| part.end - part.start).sum();
        let length = contents + (framing + tail.len()) as u64;
        let (cache, key, entry) = (Arc::clone(&self.cache), key.clone(), Arc::clone(entry));
        // The parts after the first are opened when the journey is over.
        let scope = Scope::current();
        let parts = stream::iter(framed).then(move |(head, part)| {
            let (cache, key, entry, scope) = (Arc::clone(&cache), key.clone(), Arc::clone(&entry), scope.clone());
            async move {
                let object = scope.run(cache.stream(&key, &entry, Some(part))).await?;
                Ok::<_, StoreError>(stream::iter([Ok(head)]).chain(object.body))
            }
        });
        Body::stream(parts.try_flatten().chain(stream::iter([Ok(tail)])).boxed(), length)
    }
}

fn is_get(context: &Context) -> bool {
    context.method() == Method::GET
}

/// A range is defined for GET alone (RFC 9110 §14.2).
fn asks_for_parts(context: &Context) -> bool {
    is_get(context) && context.headers().contains_key(RANGE)
}

/// In which codings a document may leave. Parts are of its bytes as they are in storage, and of nothing else.
fn accepted(context: &Context, leaving: Leaving<'_>, asks_for_parts: bool) -> Accepted {
    if leaving.varies && !asks_for_parts { Accepted::of(context.headers()) } else { Accepted::IDENTITY }
}

/// Several parts of a document in memory, with the lines between them.
fn pieces(whole: &Bytes, framed: Vec<(Bytes, Range<u64>)>) -> Body {
    let parts = framed.into_iter().flat_map(|(head, part)| [head, slice(whole, &part)]);
    Body::pieces(parts.chain([multipart::tail()]).collect())
}

/// A part of `whole`, sharing its memory. Selected parts lie inside by construction.
fn slice(whole: &Bytes, part: &Range<u64>) -> Bytes {
    let bounds = usize::try_from(part.start).ok().zip(usize::try_from(part.end).ok());
    let part = bounds.and_then(|(start, end)| whole.get(start..end));
    part.map(|part| whole.slice_ref(part)).unwrap_or_default()
}
