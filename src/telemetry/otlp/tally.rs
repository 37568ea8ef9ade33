//! What became of what was to be exported.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The tallies of all signals; clones share them.
#[derive(Debug, Clone, Default)]
pub(in crate::telemetry) struct Tallies {
    /// Spans.
    pub(in crate::telemetry) traces: Arc<Tally>,
    /// Collections of all metrics.
    pub(in crate::telemetry) metrics: Arc<Tally>,
    /// Log records.
    pub(in crate::telemetry) logs: Arc<Tally>,
}

/// What became of one signal's items.
#[derive(Debug, Default)]
pub(in crate::telemetry) struct Tally {
    exported: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    /// Items on their way: queued, or being sent.
    waiting: AtomicU64,
    is_failing: AtomicBool,
}

impl Tallies {
    /// Each signal's name and tally.
    pub(in crate::telemetry) fn signals(&self) -> [(&'static str, &Tally); 3] {
        [("traces", &self.traces), ("metrics", &self.metrics), ("logs", &self.logs)]
    }
}

impl Tally {
    /// Each result's word and count.
    pub(in crate::telemetry) fn results(&self) -> [(&'static str, u64); 3] {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [("exported", read(&self.exported)), ("failed", read(&self.failed)), ("dropped", read(&self.dropped))]
    }

    /// Takes a place in the queue of `places`, or counts that there is none.
    pub(super) fn enter(&self, places: u64) -> bool {
        let taken = self
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| (waiting < places).then_some(waiting + 1));
        if taken.is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        taken.is_ok()
    }

    /// Counts `items` that have left the queue, and tells in the log when exports begin to fail or work again: once
    /// each, so that the log's own export can't feed on it.
    pub(super) fn left(&self, items: u64, failure: Option<&(dyn std::error::Error + 'static)>, signal: &'static str) {
        // Metrics take no places.
        let _ = self
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| Some(waiting.saturating_sub(items)));
        let count = if failure.is_some() { &self.failed } else { &self.exported };
        count.fetch_add(items, Ordering::Relaxed);
        let was_failing = self.is_failing.swap(failure.is_some(), Ordering::Relaxed);
        match failure {
            Some(error) if !was_failing => tracing::warn!(signal, error, "telemetry can't be exported"),
            None if was_failing => tracing::info!(signal, "telemetry is exported again"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_place_is_dropped_and_counted() {
        let tally = Tally::default();
        assert_eq!([tally.enter(2), tally.enter(2), tally.enter(2)], [true, true, false]);
        tally.left(2, None, "traces");
        assert!(tally.enter(2));
        tally.left(1, Some(&std::fmt::Error), "traces");
        assert_eq!(tally.results(), [("exported", 2), ("failed", 1), ("dropped", 1)]);
    }
}
