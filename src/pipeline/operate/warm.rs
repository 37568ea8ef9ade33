//! Warming: the answer is a line of JSON for each step, and a last one that sums it up.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::selection::{Query, Selection, Takes};
use super::{Operations, Refusal, answer_of};
use crate::cache::{DocCache, Warmed, WhichSites};
use crate::pipeline::Body;

/// Files at a time, where the query does not say.
const CONCURRENCY: usize = 4;

/// How often there is a line: often enough for a bar that moves, and to notice that nobody reads any more.
const TICK: Duration = Duration::from_millis(200);

/// Lines that wait for a slow reader.
const LINES: usize = 8;

/// A line of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WarmLine {
    /// How far it is.
    Progress(Warmed),
    /// What was done; the last line.
    Summary(Warmed),
}

impl Operations {
    /// Warms what the query names, until it is done or nobody reads the answer any more.
    pub(in crate::pipeline) fn warm(&self, query: &str) -> Result<Response<Body>, Refusal> {
        let Query { selection, concurrency } = Query::parse(query, Takes::Concurrency)?;
        let sites = match selection {
            Selection::Entities(entities) => WhichSites::These(self.sites_of(&entities)?),
            Selection::All | Selection::Prefix(_) => WhichSites::All(self.locator.clone()),
        };
        let place = Arc::clone(&self.warmings).try_acquire_owned().map_err(|_| Refusal::Busy)?;
        let (lines, answer) = mpsc::channel(LINES);
        let cache = Arc::clone(&self.cache);
        tokio::spawn(async move {
            tokio::select! {
                () = lines.closed() => tracing::info!("warming ended before it was done: nobody waits for it any more"),
                () = tell(&cache, sites, concurrency.unwrap_or(CONCURRENCY), &lines) => {}
            }
            drop(place);
        });
        Ok(answer_of("application/x-ndjson", Body::lines(answer)))
    }
}

async fn tell(cache: &Arc<DocCache>, sites: WhichSites, concurrency: usize, lines: &mpsc::Sender<Bytes>) {
    let (told, seen) = watch::channel(Warmed::default());
    let mut work = Box::pin(cache.warm(sites, concurrency, &told));
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = &mut work => break,
            _ = tick.tick() => {
                // Where the reader is slow, the next line will do.
                let _ = lines.try_send(line(&WarmLine::Progress(seen.borrow().clone())));
            }
        }
    }
    let summary = seen.borrow().clone();
    let _ = lines.send(line(&WarmLine::Summary(summary))).await;
}

fn line(line: &WarmLine) -> Bytes {
    // Strings and numbers always make JSON.
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    text.into()
}
