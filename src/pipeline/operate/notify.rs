//! Notifications of changed objects, as clouds send them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::Response;
use http::request::Parts;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Refusal;
use crate::cache::DocCache;
use crate::docs::{Locator, StorageKey};
use crate::events::{EventError, Events, MAX_BODY_BYTES, ObjectChange, Source};
use crate::pipeline::Body;
use crate::storage::Origins;
use crate::telemetry::Instruments;

/// How long a notification may take to come in.
const PATIENCE: Duration = Duration::from_secs(5);

/// Notifications that are taken in at a time: whoever sends one has shown nothing before it is read. Clouds send again
/// what found no place.
const AT_A_TIME: usize = 64;

/// When it is worth sending again.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Takes notifications in, and has the sites looked at that they are about.
#[derive(Debug)]
pub struct Notifications {
    events: Events,
    origins: Arc<Origins>,
    cache: Arc<DocCache>,
    locator: Locator,
    places: Arc<Semaphore>,
    instruments: Arc<Instruments>,
}

impl Notifications {
    /// Follows up in `cache` what `events` believes of the objects in the buckets of `origins` that `locator` finds to be
    /// documents.
    pub fn new(
        events: Events,
        origins: Arc<Origins>,
        cache: Arc<DocCache>,
        locator: Locator,
        instruments: Arc<Instruments>,
    ) -> Self {
        Self { events, origins, cache, locator, places: Arc::new(Semaphore::new(AT_A_TIME)), instruments }
    }

    /// Whether anybody is listened to there.
    pub(in crate::pipeline) fn is_expected(&self, source: Source) -> bool {
        self.events.enabled(source)
    }

    /// Judges a notification. What it tells is followed up behind the sender's back.
    pub(in crate::pipeline) async fn hear<B>(
        &self,
        source: Source,
        head: &Parts,
        body: B,
    ) -> Result<Response<Body>, Refusal>
    where
        B: http_body::Body + Unpin,
    {
        let busy = EventError::Unavailable { retry_after: RETRY_AFTER, source: None };
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Refusal::Event(busy))?;
        let slow = EventError::Malformed("The body did not come in time");
        let body = timeout(PATIENCE, read(body)).await.unwrap_or(Err(slow)).map_err(Refusal::Event)?;
        let received = self.events.receive(source, head, body).await.map_err(Refusal::Event)?;
        self.follow(received.changes, place);
        Ok(received.reply.map(Body::whole))
    }

    fn follow(&self, changes: Vec<ObjectChange>, place: OwnedSemaphorePermit) {
        let all = changes.len();
        let mut sites = HashSet::new();
        let mut ours = 0;
        for change in changes {
            let of_change = self.sites_of(&change);
            ours += usize::from(!of_change.is_empty());
            sites.extend(of_change);
        }
        self.instruments.events.changes(ours, all - ours);
        if sites.is_empty() {
            return;
        }
        let cache = Arc::clone(&self.cache);
        tokio::spawn(async move {
            for site in sites {
                cache.site_touched(&site).await;
            }
            drop(place);
        });
    }

    /// The metadata of the sites that an object belongs to, where it is a document of ours: one, unless readers may spell
    /// it in several ways.
    fn sites_of(&self, change: &ObjectChange) -> Vec<StorageKey> {
        let site_of = |seen: &str| self.locator.site_of(seen);
        let sites =
            self.origins.iter().filter_map(|origin| origin.site_of_object(&change.bucket, &change.key, site_of));
        sites.flat_map(|site| self.cache.spellings_of(site)).collect()
    }
}

/// The whole of a body, and no more than the room for events wants to see: it says what is wrong with a longer one.
async fn read(mut body: impl http_body::Body + Unpin) -> Result<Bytes, EventError> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| EventError::Malformed("The body broke off"))?;
        let Ok(mut data) = frame.into_data() else { continue };
        whole.extend_from_slice(&data.copy_to_bytes(data.remaining()));
        if whole.len() > MAX_BODY_BYTES {
            break;
        }
    }
    Ok(whole.freeze())
}
