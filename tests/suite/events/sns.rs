//! SNS: messages that another hand has signed (`tests/vectors/events/signed.json`), and moto's.

use std::convert::Infallible;

use callboard::clock::Clock;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_RSA_SHA256, date_time_ymd};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::cloud::SNS;
use super::*;
use crate::support::PATIENCE;
use crate::support::servers::Server;

const CHANGE: &str = "docs/default/component/shop/über uns.html";
const PAGE: &str = "sns.eu-central-1.amazonaws.com/SimpleNotificationService-01d088a6f77103d0fe307c0069e40ed6.pem";

struct Signed {
    scene: Scene,
    messages: Vec<Value>,
}

impl Signed {
    async fn new() -> Self {
        let vectors = vectors("signed");
        let now = humantime(vectors["now"].as_str().unwrap());
        let scene = Scene::at(now).await;
        scene.cloud.set(PAGE, Answer::Text(vectors["certificate"].as_str().unwrap().to_owned()));
        Self { scene, messages: vectors["messages"].as_array().unwrap().clone() }
    }

    /// A message of this kind, signed with version 2.
    fn message(&self, kind: &str) -> Value {
        let mut of_kind = self.messages.iter().filter(|message| message["Type"] == kind);
        of_kind.rfind(|message| message["SignatureVersion"] == "2").unwrap().clone()
    }

    async fn verdict(&self, message: &Value) -> String {
        told(&self.scene.post(Source::Sns, &[], message).await)
    }

    /// How often a certificate was asked for.
    fn fetched(&self) -> usize {
        self.scene.cloud.asked().iter().filter(|place| place.contains(".pem")).count()
    }
}

#[tokio::test]
async fn messages_of_s3_and_event_bridge_are_read_and_others_are_not() {
    let signed = Signed::new().await;
    for notification in vectors("signed")["notifications"].as_array().unwrap() {
        assert_eq!(signed.verdict(&notification["message"]).await, notification["expect"].as_str().unwrap());
    }
}

#[tokio::test]
async fn nothing_else_is_visited_on_a_signed_messages_word() {
    let signed = Signed::new().await;
    for message in vectors("signed")["confirmations"].as_array().unwrap() {
        assert_eq!(signed.verdict(message).await, "403 foreign", "{message}");
    }
    assert_eq!(signed.scene.cloud.asked(), [PAGE]);
}

#[tokio::test]
async fn a_certificate_is_looked_at_again_the_next_day() {
    let signed = Signed::new().await;
    assert_eq!(signed.verdict(&signed.message("Notification")).await, CHANGE);
    signed.scene.hand.advance(Duration::from_secs(25 * 3600));
    signed.scene.cloud.set(PAGE, Answer::Status(404));
    assert_eq!(signed.verdict(&vectors("signed")["later"]).await, "401 untrusted");
    assert_eq!(signed.fetched(), 2);
}

/// `2026-11-20T12:00:00.719Z`, of which the hour matters.
fn humantime(text: &str) -> Timestamp {
    assert!(text.starts_with("2026-11-20T12:00:00"));
    Timestamp::from_secs(1_795_176_000)
}

#[tokio::test]
async fn messages_of_either_version_and_every_kind_are_believed() {
    let signed = Signed::new().await;
    signed.scene.cloud.set(&format!("{SNS}/"), Answer::Text("<ConfirmSubscriptionResponse/>".to_owned()));
    assert_eq!(signed.messages.len(), 8);
    for message in &signed.messages {
        let expected = if message["Type"] == "Notification" { CHANGE } else { "200 handshake" };
        assert_eq!(signed.verdict(message).await, expected, "{message}");
    }
    assert_eq!(signed.fetched(), 1);
    assert!(signed.scene.counted("sns", "changes") && signed.scene.counted("sns", "handshake"));
}

#[tokio::test]
async fn whatever_is_changed_in_a_signed_message_is_found_out() {
    let signed = Signed::new().await;
    for message in &signed.messages {
        for name in ["Message", "MessageId", "Subject", "Timestamp", "Token", "SubscribeURL"] {
            if message["Type"] == "Notification" && ["Token", "SubscribeURL"].contains(&name)
                || message["Type"] != "Notification" && name == "Subject"
            {
                continue;
            }
            let mut changed = message.clone();
            changed[name] = json!(if name == "Timestamp" { "2026-11-20T12:00:00.720Z" } else { "{\"Records\":[]}" });
            assert_eq!(signed.verdict(&changed).await, "401 untrusted", "{name} of {message}");
        }
        let other = if message["SignatureVersion"] == "1" { "2" } else { "1" };
        for (name, value, verdict) in [
            ("SignatureVersion", other, "401 untrusted"),
            ("SignatureVersion", "3", "400 malformed"),
            ("Signature", "", "401 untrusted"),
            ("Signature", "!", "401 untrusted"),
            ("Type", "Something", "400 malformed"),
            ("TopicArn", "arn:aws:sns:eu-central-1:123456789012:docs2", "403 foreign"),
        ] {
            let mut changed = message.clone();
            changed[name] = json!(value);
            assert_eq!(signed.verdict(&changed).await, verdict, "{name} of {message}");
        }
    }
    let mut subscribed = signed.message("SubscriptionConfirmation");
    subscribed["Type"] = json!("UnsubscribeConfirmation");
    assert_eq!(signed.verdict(&subscribed).await, "401 untrusted");
    // Nothing was visited on the word of any of them.
    assert!(signed.scene.cloud.asked().iter().all(|place| place == PAGE));
}

#[tokio::test]
async fn messages_from_another_hour_are_stale() {
    let signed = Signed::new().await;
    let message = signed.message("Notification");
    signed.scene.hand.advance(Duration::from_secs(3600));
    assert_eq!(signed.verdict(&message).await, CHANGE);
    signed.scene.hand.advance(Duration::from_secs(1));
    assert_eq!(signed.verdict(&message).await, "403 stale");
    let mut ahead = message.clone();
    ahead["Timestamp"] = json!("2026-11-20T14:00:02Z");
    assert_eq!(signed.verdict(&ahead).await, "403 stale");
    ahead["Timestamp"] = json!("yesterday");
    assert_eq!(signed.verdict(&ahead).await, "400 malformed");
    ahead["Timestamp"] = json!("1969-12-31T23:59:59Z");
    assert_eq!(signed.verdict(&ahead).await, "400 malformed");
}

#[tokio::test]
async fn certificates_are_looked_for_nowhere_but_at_the_topics_host() {
    let signed = Signed::new().await;
    let mut message = signed.message("Notification");
    for url in [
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-01d088a6f77103d0fe307c0069e40ed6.pem",
        "https://sns.s3-eu-central-1.amazonaws.com/SimpleNotificationService-01d088a6f77103d0fe307c0069e40ed6.pem",
        "http://sns.eu-central-1.amazonaws.com/SimpleNotificationService-01d088a6f77103d0fe307c0069e40ed6.pem",
        "https://sns.eu-central-1.amazonaws.com/?Action=Publish&x=/SimpleNotificationService-0.pem",
        "https://sns.eu-central-1.amazonaws.com/other.pem",
        "https://127.0.0.1/SimpleNotificationService-0.pem",
        "file:///etc/ssl/cert.pem",
        "",
    ] {
        message["SigningCertURL"] = json!(url);
        assert_eq!(signed.verdict(&message).await, "403 foreign", "{url}");
    }
    assert!(signed.scene.cloud.asked().is_empty());
}

#[tokio::test]
async fn certificates_must_be_made_out_to_sns_and_good_now() {
    let certificate = |name: &str, until: i32| {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "anything");
        (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(until, 1, 1));
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        Answer::Text(params.self_signed(&key).unwrap().pem())
    };
    for (page, sentence) in [
        (certificate("sns.amazonaws.com", 2027), "signature does not match"),
        (certificate("sns.eu-central-1.amazonaws.com", 2027), "signature does not match"),
        (certificate("sns.eu-west-1.amazonaws.com", 2027), "not made out to SNS"),
        (certificate("evil.test", 2027), "not made out to SNS"),
        (certificate("sns.amazonaws.com", 2026), "not valid now"),
        (Answer::Text("<html>".to_owned()), "is no certificate"),
        (Answer::Text("a".repeat(64 * 1024 + 1)), "nothing at"),
        (Answer::Status(404), "nothing at"),
        (Answer::RedirectTo(format!("https://{SNS}/SimpleNotificationService-0.pem")), "nothing at"),
    ] {
        let signed = Signed::new().await;
        signed.scene.cloud.set(PAGE, page);
        let outcome = signed.scene.post(Source::Sns, &[], &signed.message("Notification")).await.unwrap_err();
        assert_eq!(outcome.status(), 401);
        assert!(outcome.public_message().contains(sentence), "{}", outcome.public_message());
        assert_eq!(signed.fetched(), 1);
    }
}

#[tokio::test]
async fn strangers_can_not_have_certificates_fetched_without_end() {
    let signed = Signed::new().await;
    let message = signed.message("Notification");
    assert_eq!(signed.verdict(&message).await, CHANGE);
    let mut bogus = message.clone();
    let mut verdicts = Vec::new();
    for number in 0..20 {
        bogus["SigningCertURL"] = json!(format!("https://{SNS}/SimpleNotificationService-{number}.pem"));
        verdicts.push(signed.verdict(&bogus).await);
    }
    assert!(verdicts.starts_with(&["401 untrusted".to_owned()]) && verdicts.ends_with(&["503 unavailable".to_owned()]));
    assert!(signed.fetched() <= 5, "{:?}", signed.scene.cloud.asked());
    assert_eq!(signed.verdict(&message).await, CHANGE);
}

#[tokio::test]
async fn an_outage_of_sns_is_no_verdict_and_is_made_up_for() {
    let signed = Signed::new().await;
    let message = signed.message("Notification");
    signed.scene.cloud.set(PAGE, Answer::Status(500));
    let outcome = signed.scene.post(Source::Sns, &[], &message).await;
    assert_eq!(told(&outcome), "503 unavailable");
    assert!(outcome.unwrap_err().retry_after().is_some());
    signed.scene.cloud.set(PAGE, Answer::Text(vectors("signed")["certificate"].as_str().unwrap().to_owned()));
    assert_eq!(signed.verdict(&message).await, CHANGE);
}

#[tokio::test]
async fn subscriptions_are_confirmed_at_their_signed_address() {
    let signed = Signed::new().await;
    let message = signed.message("SubscriptionConfirmation");
    signed.scene.cloud.set(&format!("{SNS}/"), Answer::Status(500));
    assert_eq!(signed.verdict(&message).await, "503 unavailable");
    signed.scene.cloud.set(&format!("{SNS}/"), Answer::Text(String::new()));
    assert_eq!(signed.verdict(&message).await, "200 handshake");
    let visited = format!("{SNS}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37fb");
    assert_eq!(signed.scene.cloud.asked().last(), Some(&visited));
    let count = signed.scene.cloud.asked().len();
    assert_eq!(signed.verdict(&signed.message("UnsubscribeConfirmation")).await, "200 handshake");
    assert_eq!(signed.scene.cloud.asked().len(), count, "the end of a subscription is not undone");
}

#[tokio::test]
async fn what_is_not_signed_is_told_so() {
    let signed = Signed::new().await;
    let raw = signed.scene.post(Source::Sns, &[("x-amz-sns-rawdelivery", "true")], &json!({"Records": []})).await;
    assert_eq!(told(&raw), "401 unsigned");
    assert!(raw.unwrap_err().public_message().contains("raw message delivery"));
    for body in ["", "{}", "[]", "null", "{\"Type\":1}"] {
        let outcome = signed.scene.send(Source::Sns, head("POST", "/", &[]), body).await;
        assert_eq!(told(&outcome), "400 malformed", "{body}");
    }
    let outcome = signed.scene.send(Source::Sns, head("GET", "/", &[]), "").await.unwrap_err();
    assert_eq!((outcome.status().as_u16(), outcome.allow()), (405, Some("POST")));
}

/// A real bucket's real notifications, as far as moto is real: it signs with a key and a certificate of its own.
#[tokio::test]
async fn moto_tells_of_objects_by_signed_messages() {
    let (sender, mut posted) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/events/sns", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let sender = sender.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let sender = sender.clone();
                async move {
                    let (head, body) = request.into_parts();
                    sender.send((head, body.collect().await.unwrap().to_bytes())).unwrap();
                    Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    let mut moto = Server::sns(&endpoint).await;
    assert_eq!(moto.said("/topic"), TOPIC);
    let mut now = Clock::System.now();
    let scene = Scene::at(now).await;
    scene.cloud.set(SNS, Answer::Moto(moto.ready["port"].as_u64().unwrap()));
    let key = "default/component/shop/über uns + c++.html";
    moto.tell(key).await;
    moto.tell(&format!("-{key}")).await;
    for expected in ["200 nothing".to_owned(), format!("techdocs-storage/{key}"), format!("techdocs-storage/{key}")] {
        let (head, body) = tokio::time::timeout(PATIENCE, posted.recv()).await.expect("a message").unwrap();
        // By then the message may be younger than the scene.
        scene.hand.advance(Clock::System.now().since(now));
        now = Clock::System.now();
        assert_eq!(told(&scene.send(Source::Sns, head, body).await), expected);
    }
    moto.stop().await;
}
