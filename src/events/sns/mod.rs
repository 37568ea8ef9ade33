//! S3's events by an HTTPS subscription of an SNS topic
//! (<https://docs.aws.amazon.com/sns/latest/dg/SendMessageToHttp.prepare.html>).
//!
//! 1. `message`: taken apart; its topic must be a configured one, and it must be from within the hour
//! 2. `certificate`: the one that it says to be signed with, if it is SNS's own
//! 3. the signature; from here on what it says is true
//! 4. a notification is read ([`super::s3`]), a subscription is confirmed

mod certificate;
mod message;
mod topic;

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use http::HeaderMap;

pub use self::topic::TopicArn;

use self::certificate::Certificates;
use self::message::{Kind, Message};
use super::{EventError, Outcome, fetch, s3};
use crate::clock::{Clock, Timestamp};

/// How old a message may be, and how far ahead: SNS tries for some minutes to deliver one, and whoever has overheard it
/// shall not be able to send it again for ever.
const TIMELY: Duration = Duration::from_secs(3600);

/// When SNS may try again to have a subscription confirmed.
const RETRY_AFTER: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Sns {
    topics: Vec<TopicArn>,
    certificates: Certificates,
    client: reqwest::Client,
    clock: Clock,
}

impl Sns {
    pub(super) fn new(topics: Vec<TopicArn>, clock: Clock, client: reqwest::Client) -> Self {
        let certificates = Certificates::new(client.clone(), clock.clone());
        Self { topics, certificates, client, clock }
    }

    pub(super) async fn receive(&self, headers: &HeaderMap, body: &[u8]) -> Result<Outcome, EventError> {
        if headers.contains_key("x-amz-sns-rawdelivery") {
            return Err(EventError::Unsigned(
                "Raw messages are not signed: switch raw message delivery off for the subscription",
            ));
        }
        let message: Message = serde_json::from_slice(body)
            .map_err(|_| EventError::Malformed("The body is not a message of SNS with a signature"))?;
        let kind = message.kind()?;
        let topic = self.topics.iter().find(|topic| topic.as_str() == message.topic_arn);
        let topic = topic.ok_or(EventError::Foreign("The message's topic is not in callboard.events.sns.topics"))?;
        self.timely(&message)?;
        let certificate = self.certificates.find(&message.signing_cert_url, topic).await?;
        message.verify(kind, &certificate.key)?;
        match kind {
            Kind::Notification => s3::changes(&message.text).map(Outcome::Changes),
            Kind::Subscribed => self.confirm(&message, topic).await.map(|()| Outcome::handshake()),
            Kind::Unsubscribed => {
                tracing::warn!(topic = topic.as_str(), "subscription ended: the topic tells of nothing any more");
                Ok(Outcome::handshake())
            }
        }
    }

    fn timely(&self, message: &Message) -> Result<(), EventError> {
        const MALFORMED: EventError = EventError::Malformed("The message's Timestamp is no time");
        let sent = humantime::parse_rfc3339(&message.timestamp).map_err(|_| MALFORMED)?;
        let sent = sent.duration_since(UNIX_EPOCH).map_err(|_| MALFORMED)?;
        let (sent, now) = (Timestamp::from_millis(0).plus(sent), self.clock.now());
        if now.since(sent) <= TIMELY && sent.since(now) <= TIMELY { Ok(()) } else { Err(EventError::Stale) }
    }

    /// Visits the address that confirms the subscription. It is signed, but is looked at all the same: nothing but this
    /// one action, for this topic, at its own host, is ever done on a message's word.
    async fn confirm(&self, message: &Message, topic: &TopicArn) -> Result<(), EventError> {
        let url = message.subscribe_url.as_deref().and_then(|url| topic.own_url(url));
        let url = url.filter(|url| {
            let is_only = |name: &str, value: &str| {
                let mut values = url.query_pairs().filter(|(key, _)| key == name);
                values.next().is_some_and(|(_, found)| found == value) && values.next().is_none()
            };
            url.path() == "/" && is_only("Action", "ConfirmSubscription") && is_only("TopicArn", topic.as_str())
        });
        let url =
            url.ok_or(EventError::Foreign("The message's SubscribeURL does not confirm its topic's subscription"))?;
        match fetch::get(&self.client, &url, "GET SNS ConfirmSubscription").await {
            Ok(_) => {
                tracing::info!(topic = topic.as_str(), "subscription confirmed");
                Ok(())
            }
            Err(error) => {
                let source = Arc::new(error);
                tracing::warn!(
                    topic = topic.as_str(),
                    error = crate::chain::chain(&*source),
                    "can't confirm subscription"
                );
                Err(EventError::Unavailable { retry_after: RETRY_AFTER, source: Some(source) })
            }
        }
    }
}
