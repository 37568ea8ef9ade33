//! What the clouds have told of changed objects.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundCounter, Meter};

/// Which cloud tells, and by which of its ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventSource {
    /// S3, by an HTTPS subscription of an SNS topic.
    Sns,
    /// S3, by an API destination of EventBridge.
    EventBridge,
    /// Google Cloud Storage, by a push subscription of Pub/Sub.
    PubSub,
    /// Azure Blob Storage, by a webhook of Event Grid.
    EventGrid,
}

impl EventSource {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 4] = [Self::Sns, Self::EventBridge, Self::PubSub, Self::EventGrid];

    /// The same word in paths, the log and the metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sns => "sns",
            Self::EventBridge => "eventbridge",
            Self::PubSub => "pubsub",
            Self::EventGrid => "eventgrid",
        }
    }

    /// The source that a path's segment names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.as_str() == word)
    }
}

/// What came of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventResult {
    /// It told of changed objects.
    Changes,
    /// It was good, but tells of nothing that matters here: a test message, another kind of event.
    Nothing,
    /// It opened or closed a subscription.
    Handshake,
    /// It could not be understood.
    Malformed,
    /// It brought no proof of where it is from.
    Unsigned,
    /// Its proof does not hold.
    Untrusted,
    /// It is from a topic, a caller or a place that is not configured.
    Foreign,
    /// It is too old, or from the future.
    Stale,
    /// What it takes to judge it could not be had.
    Unavailable,
}

impl EventResult {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 9] = [
        Self::Changes,
        Self::Nothing,
        Self::Handshake,
        Self::Malformed,
        Self::Unsigned,
        Self::Untrusted,
        Self::Foreign,
        Self::Stale,
        Self::Unavailable,
    ];

    /// The word for it in the log and the metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Changes => "changes",
            Self::Nothing => "nothing",
            Self::Handshake => "handshake",
            Self::Malformed => "malformed",
            Self::Unsigned => "unsigned",
            Self::Untrusted => "untrusted",
            Self::Foreign => "foreign",
            Self::Stale => "stale",
            Self::Unavailable => "unavailable",
        }
    }
}

/// The instruments of notifications, each series there from the start.
#[derive(Debug)]
pub struct EventInstruments {
    received: [[BoundCounter<u64>; EventResult::ALL.len()]; EventSource::ALL.len()],
    documents: BoundCounter<u64>,
    elsewhere: BoundCounter<u64>,
}

impl EventInstruments {
    pub(super) fn new(meter: &Meter) -> Self {
        let received = meter
            .u64_counter("callboard.events")
            .with_description("Notifications of changed objects that clouds have sent, by what came of them.")
            .build();
        let received = EventSource::ALL.map(|source| {
            EventResult::ALL.map(|result| {
                let labels = [KeyValue::new("source", source.as_str()), KeyValue::new("result", result.as_str())];
                let bound = received.bind(&labels);
                bound.add(0);
                bound
            })
        });
        let changes = meter
            .u64_counter("callboard.events.changes")
            .with_description(
                "Changed objects that clouds have told of: documents, or objects elsewhere, which are ignored.",
            )
            .build();
        let [documents, elsewhere] = ["document", "elsewhere"].map(|object| {
            let bound = changes.bind(&[KeyValue::new("object", object)]);
            bound.add(0);
            bound
        });
        Self { received, documents, elsewhere }
    }

    /// Counts the objects that a notification tells of.
    pub fn changes(&self, documents: usize, elsewhere: usize) {
        self.documents.add(documents as u64);
        self.elsewhere.add(elsewhere as u64);
    }

    /// Counts a notification.
    pub fn received(&self, source: EventSource, result: EventResult) {
        if let Some(counter) = self.received.get(source as usize).and_then(|results| results.get(result as usize)) {
            counter.add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Instruments;

    #[test]
    fn every_series_is_there_from_the_start() {
        let instruments = Instruments::new().unwrap();
        instruments.events.received(EventSource::EventGrid, EventResult::Unavailable);
        let text = instruments.prometheus().unwrap();
        assert!(text.contains(r#"callboard_events_total{result="unavailable",source="eventgrid"} 1"#), "{text}");
        let series = text.lines().filter(|line| line.starts_with("callboard_events_total{"));
        assert_eq!(series.count(), EventSource::ALL.len() * EventResult::ALL.len());
    }

    #[test]
    fn sources_are_found_by_their_words() {
        for source in EventSource::ALL {
            assert_eq!(EventSource::parse(source.as_str()), Some(source));
        }
        assert_eq!(EventSource::parse("SNS"), None);
    }
}
