//! Notifications as the clouds send them: what is believed, and what is not.

mod anything;
mod cloud;
mod pub_sub;
mod secrets;
mod sns;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use callboard::auth::JwksOptions;
use callboard::clock::{Clock, Hand, Timestamp};
use callboard::events::{EventBridgeOptions, EventError, Events, Options, PubSubOptions, Received, Source, TopicArn};
use callboard::secret::Secret;
use callboard::telemetry::Instruments;
use http::request::Parts;
use http::{HeaderName, Request};
use serde_json::Value;

use self::cloud::{Answer, Cloud};

const TOPIC: &str = "arn:aws:sns:eu-central-1:123456789012:docs";
const SECRET: &str = "correct horse";
const AUDIENCE: &str = "https://docs.test/events/pubsub";
const ACCOUNT: &str = "push@docs.iam.gserviceaccount.com";

/// The room with every source configured, beside the clouds.
struct Scene {
    cloud: Cloud,
    hand: Hand,
    instruments: Arc<Instruments>,
    events: Events,
}

impl Scene {
    async fn at(now: Timestamp) -> Self {
        Self::with(now, options()).await
    }

    async fn with(now: Timestamp, options: Options) -> Self {
        let (cloud, hand) = (Cloud::start().await, Hand::at(now));
        let instruments = Arc::new(Instruments::new().unwrap());
        let events = Events::new(options, Clock::Manual(hand.clone()), cloud.client(), Arc::clone(&instruments));
        Self { cloud, hand, instruments, events }
    }

    async fn post(&self, source: Source, headers: &[(&str, &str)], body: &Value) -> Result<Received, EventError> {
        self.send(source, head("POST", "/", headers), body.to_string()).await
    }

    async fn send(&self, source: Source, head: Parts, body: impl Into<Bytes>) -> Result<Received, EventError> {
        self.events.receive(source, &head, body.into()).await
    }

    fn counted(&self, source: &str, result: &str) -> bool {
        let series = format!("callboard_events_total{{result=\"{result}\",source=\"{source}\"}} ");
        let text = self.instruments.prometheus().unwrap();
        text.lines().any(|line| line.strip_prefix(&series).is_some_and(|count| count != "0"))
    }
}

fn options() -> Options {
    Options {
        topics: vec![TopicArn::parse(TOPIC).unwrap()],
        event_bridge: Some(EventBridgeOptions {
            header: HeaderName::from_static("x-key"),
            secret: Secret::new(SECRET),
        }),
        pub_sub: Some(PubSubOptions {
            audience: AUDIENCE.to_owned(),
            service_account: ACCOUNT.to_owned(),
            jwks: JwksOptions {
                timeout: Duration::from_secs(60),
                refresh_after: Duration::from_secs(600),
                outage_grace: Duration::from_secs(3600),
            },
        }),
        event_grid: Some(Secret::new(SECRET)),
    }
}

fn head(method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
    let request = Request::builder().method(method).uri(target);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(()).unwrap().into_parts().0
}

/// What was told, in one line: changes as `bucket/key`, or the status and the word that is counted.
fn told(outcome: &Result<Received, EventError>) -> String {
    match outcome {
        Ok(received) if received.changes.is_empty() => {
            format!("{} {}", received.reply.status().as_u16(), received.result.as_str())
        }
        Ok(received) => {
            let changes = received.changes.iter().map(|change| format!("{}/{}", change.bucket, change.key));
            changes.collect::<Vec<_>>().join(", ")
        }
        Err(error) => format!("{} {}", error.status().as_u16(), error.result().as_str()),
    }
}

fn vectors(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/events").join(name).with_extension("json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}
