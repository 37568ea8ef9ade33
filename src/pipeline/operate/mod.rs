//! What operators and clouds ask for beside documents, below `/.callboard/v1/`: purging sites, warming them, and telling
//! of changed objects.
//!
//! On the admin listener sites are purged and warmed without a credential. On the main one whoever is listed may purge,
//! and the clouds prove themselves in ways of their own.

mod notify;
mod purge;
mod refusal;
mod selection;
mod warm;

use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderValue, Method, Response};
use tokio::sync::Semaphore;

pub use notify::Notifications;
pub use purge::{Named as PurgedSites, PurgeReport};
pub use warm::WarmLine;

pub(super) use refusal::Refusal;

use super::Body;
use super::rejection::Rejection;
use crate::cache::DocCache;
use crate::docs::{EntityRef, Locator, StorageKey};
use crate::events::Source;
use crate::limit;

/// Where operations are.
const BASE: &str = "/.callboard/v1/";

/// Where sites are purged.
pub const PURGE: &str = "/.callboard/v1/purge";

/// Where sites are warmed, on the admin listener.
pub const WARM: &str = "/.callboard/v1/warm";

/// Warmings at a time; together they fetch no faster than one.
const WARMINGS: usize = 4;

/// Something to be done rather than read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Have sites confirmed by storage before they are served again.
    Purge,
    /// Fetch sites before anyone reads them.
    Warm,
    /// Hear what a cloud tells.
    Notify(Source),
}

impl Operation {
    /// The operation that a path names.
    pub fn of(path: &str) -> Option<Self> {
        match path.strip_prefix(BASE)? {
            "purge" => Some(Self::Purge),
            "warm" => Some(Self::Warm),
            name => name.strip_prefix("events/").and_then(Source::parse).map(Self::Notify),
        }
    }
}

/// Does what operators ask for.
#[derive(Debug)]
pub struct Operations {
    cache: Arc<DocCache>,
    locator: Locator,
    /// Subjects that may purge on the main listener; with `*` at the end, all that begin so.
    purgers: Vec<String>,
    /// Places for warmings.
    warmings: Arc<Semaphore>,
}

impl Operations {
    /// Operations on what `cache` holds, at the keys that `locator` finds. On the main listener those whom `purgers`
    /// lists may purge.
    pub fn new(cache: Arc<DocCache>, locator: Locator, purgers: Vec<String>) -> Self {
        Self { cache, locator, purgers, warmings: Arc::new(Semaphore::new(WARMINGS)) }
    }

    /// Answers on the admin listener; `None` where there is no such operation there.
    pub async fn answer(&self, head: &Parts) -> Option<Response<Body>> {
        let query = head.uri.query().unwrap_or_default();
        let operation = Operation::of(head.uri.path())?;
        let may = check_method(&head.method).and_then(|()| check_no_page(head));
        let answered = match (may, operation) {
            (_, Operation::Notify(_)) => return None,
            (Err(refusal), _) => Err(refusal),
            (Ok(()), Operation::Purge) => self.purge(query).await,
            (Ok(()), Operation::Warm) => self.warm(query),
        };
        Some(answered.unwrap_or_else(|refusal| {
            let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
            Rejection::Operation(refusal).answer(head.method.as_str(), target)
        }))
    }

    /// The metadata of each entity's site.
    fn sites_of(&self, entities: &[EntityRef]) -> Result<Vec<StorageKey>, Refusal> {
        let site = |entity| {
            let site = self.locator.site(entity);
            site.ok_or_else(|| Refusal::Query(format!("entity={entity} can't have a site: no URL leads to it.")))
        };
        entities.iter().map(site).collect()
    }

    /// Whether a subject may purge on the main listener.
    pub(super) fn check_purger(&self, subject: &str) -> Result<(), Refusal> {
        let is_listed = self.purgers.iter().any(|pattern| limit::matches(pattern, subject));
        if is_listed { Ok(()) } else { Err(Refusal::NotAPurger) }
    }
}

/// Whatever is done here is asked for with POST.
pub(super) fn check_method(method: &Method) -> Result<(), Refusal> {
    if method == Method::POST { Ok(()) } else { Err(Refusal::Method) }
}

/// Where no credential is asked for, a page in the operator's browser must not be able to ask for anything: browsers say
/// from which one a POST comes.
fn check_no_page(head: &Parts) -> Result<(), Refusal> {
    if head.headers.contains_key(ORIGIN) { Err(Refusal::Page) } else { Ok(()) }
}

fn answer_of(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_have_one_path_each() {
        assert_eq!((Operation::of(PURGE), Operation::of(WARM)), (Some(Operation::Purge), Some(Operation::Warm)));
        let sns = Operation::of("/.callboard/v1/events/sns");
        assert_eq!(sns, Some(Operation::Notify(Source::Sns)));
        for other in
            ["/.callboard/v1/", "/.callboard/v1/purge/", "/.callboard/v1/events/x", "/purge", "/.callboard/v2/purge"]
        {
            assert_eq!(Operation::of(other), None, "{other}");
        }
    }
}
