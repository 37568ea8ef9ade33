//! `callboard.events`.

use http::HeaderName;
use serde_json::Value as Json;

use crate::auth::JwksOptions;
use crate::config::formats::{Format, SECRET, TEXT, TEXTS};
use crate::config::reader::Reader;
use crate::config::value::Origin;
use crate::events::{EventBridgeOptions, Options, PubSubOptions, TopicArn};
use crate::secret::Secret;

/// A shorter secret could be guessed over the network some day.
const SHORTEST_SECRET: usize = 16;

const NONE: &str = "none";

pub(super) fn read(reader: &mut Reader<'_>, jwks: &JwksOptions) -> Options {
    Options {
        topics: read_topics(reader),
        event_bridge: read_event_bridge(reader),
        pub_sub: read_pub_sub(reader, jwks),
        event_grid: read_secret(reader, "callboard.events.eventGrid.secret"),
    }
}

fn read_topics(reader: &mut Reader<'_>) -> Vec<TopicArn> {
    const KEY: &str = "callboard.events.sns.topics";
    let mut topics = Vec::new();
    for text in reader.or(KEY, &TEXTS, Vec::new()) {
        match TopicArn::parse(&text) {
            Some(topic) => topics.push(topic),
            None => reader.wrong(
                KEY,
                format!("{text:?} is no ARN of a standard topic: write for example arn:aws:sns:eu-central-1:123456789012:docs"),
            ),
        }
    }
    topics
}

fn read_event_bridge(reader: &mut Reader<'_>) -> Option<EventBridgeOptions> {
    const HEADER: &str = "callboard.events.eventBridge.header";
    let header = reader.or(HEADER, &TEXT, "x-callboard-secret".to_owned());
    let name = HeaderName::from_bytes(header.as_bytes());
    if name.is_err() {
        reader.wrong(HEADER, format!("{header:?} is no name of a header: write for example x-callboard-secret"));
    }
    let secret = read_secret(reader, "callboard.events.eventBridge.secret")?;
    Some(EventBridgeOptions { header: name.ok()?, secret })
}

fn read_pub_sub(reader: &mut Reader<'_>, jwks: &JwksOptions) -> Option<PubSubOptions> {
    const AUDIENCE: &str = "callboard.events.pubSub.audience";
    const ACCOUNT: &str = "callboard.events.pubSub.serviceAccount";
    let is_none = |text: &String| text == NONE;
    let (audience, account) = (or_none(reader, AUDIENCE, &TEXT, is_none), or_none(reader, ACCOUNT, &TEXT, is_none));
    if account.as_ref().is_some_and(|account| !account.contains('@')) {
        reader.wrong(ACCOUNT, "is no mail address: write for example callboard-push@project.iam.gserviceaccount.com");
    }
    // Each alone would let in tokens that Google has issued to anybody.
    if account.is_some() && audience.is_none() {
        reader.wrong(AUDIENCE, format!("required where {ACCOUNT} is set: write what its tokens are made out to"));
    }
    if audience.is_some() && account.is_none() {
        reader.wrong(ACCOUNT, format!("required where {AUDIENCE} is set: write the push subscription's account"));
    }
    Some(PubSubOptions { audience: audience?, service_account: account?, jwks: jwks.clone() })
}

fn read_secret(reader: &mut Reader<'_>, key: &str) -> Option<Secret> {
    let secret = or_none(reader, key, &SECRET, |secret| secret.expose() == NONE.as_bytes())?;
    let bytes = secret.expose();
    if bytes.len() < SHORTEST_SECRET {
        reader.wrong(key, format!("is too short: write {SHORTEST_SECRET} characters at least"));
    }
    if !bytes.iter().all(u8::is_ascii_graphic) {
        reader
            .wrong(key, "has white space or characters outside of ASCII: write letters and digits, which fit a header");
    }
    Some(secret)
}

/// A setting without which its endpoint is not there: `none` says so.
fn or_none<T>(reader: &mut Reader<'_>, key: &str, format: &Format<T>, is_none: impl Fn(&T) -> bool) -> Option<T> {
    let value = reader.optional(key, format).filter(|value| !is_none(value));
    if value.is_none() {
        let origin = reader.origin(key).unwrap_or(Origin::Default);
        reader.effective.set(key, Json::from(NONE), origin);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{problems, resolved};

    const DOCS: &str = "techdocs: {publisher: {local: {publishDirectory: site}}}\n";

    fn events(text: &str) -> String {
        format!("{DOCS}callboard: {{events: {{{text}}}}}")
    }

    #[test]
    fn nothing_is_listened_to_by_default() {
        let options = resolved(DOCS).unwrap().resolved.events;
        assert!(options.topics.is_empty() && options.event_bridge.is_none());
        assert!(options.pub_sub.is_none() && options.event_grid.is_none());
    }

    #[test]
    fn every_source_is_read_and_no_secret_printed() {
        let configuration = resolved(&events(
            "sns: {topics: ['arn:aws:sns:eu-central-1:123456789012:docs']}, \
             eventBridge: {header: X-Key, secret: 0123456789abcdef}, eventGrid: {secret: fedcba9876543210}, \
             pubSub: {audience: 'https://docs.test/push', serviceAccount: push@p.test}",
        ))
        .unwrap();
        let options = &configuration.resolved.events;
        assert_eq!(options.topics[0].as_str(), "arn:aws:sns:eu-central-1:123456789012:docs");
        let bridge = options.event_bridge.as_ref().unwrap();
        assert_eq!((bridge.header.as_str(), bridge.secret.expose()), ("x-key", b"0123456789abcdef".as_slice()));
        assert_eq!(options.event_grid, Some(Secret::new("fedcba9876543210")));
        assert_eq!(options.pub_sub.as_ref().unwrap().service_account, "push@p.test");
        let printed = format!("{configuration:?}{}", configuration.effective.to_json(true));
        assert!(!printed.contains("0123456789") && !printed.contains("fedcba9876"), "{printed}");
    }

    #[test]
    fn what_would_let_strangers_in_or_nobody_is_told() {
        for (text, expected) in [
            ("sns: {topics: [docs]}", "sns.topics (app-config.yaml:2): \"docs\" is no ARN"),
            ("sns: {topics: ['arn:aws:sns:eu-central-1:123456789012:docs.fifo']}", "standard topic"),
            ("eventBridge: {secret: sh0rt}", "eventBridge.secret (app-config.yaml:2): is too short"),
            ("eventBridge: {header: 'a b'}", "\"a b\" is no name of a header"),
            ("eventGrid: {secret: 'has sp4ce in it, long as it is'}", "white space"),
            ("pubSub: {audience: a}", "pubSub.serviceAccount (default): required where"),
            ("pubSub: {serviceAccount: a@b}", "pubSub.audience (default): required where"),
            ("pubSub: {audience: a, serviceAccount: b}", "is no mail address"),
        ] {
            let told = problems(&events(text));
            assert_eq!(told.len(), 1, "{told:#?}");
            assert!(told[0].contains(expected), "{text}: {told:?}");
            assert!(!told[0].contains("sh0rt") && !told[0].contains("sp4ce"), "{told:?}");
        }
    }
}
