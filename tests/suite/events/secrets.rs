//! Sources that know a secret: EventBridge and Event Grid. And the samples that every cloud publishes.

use serde_json::json;

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

#[tokio::test]
async fn published_samples_tell_what_their_documentation_says() {
    let scene = Scene::at(NOW).await;
    let mut read = 0;
    for sample in vectors("published").as_array().unwrap() {
        let changes = sample["changes"].as_array().unwrap().iter();
        let changes: Vec<String> =
            changes.map(|pair| format!("{}/{}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap())).collect();
        let outcome = match sample["source"].as_str().unwrap() {
            "eventbridge" => scene.post(Source::EventBridge, &[("x-key", SECRET)], &sample["body"]).await,
            "eventgrid" => scene.post(Source::EventGrid, &[("x-callboard-secret", SECRET)], &sample["body"]).await,
            "pubsub" => pub_sub::shown_with_a_good_token(&sample["body"]).await,
            // What S3 publishes to a topic comes as a text inside of a message, which the room's own tests read.
            _ => continue,
        };
        assert_eq!(told(&outcome), changes.join(", "), "{}", sample["from"]);
        read += 1;
    }
    assert_eq!(read, 4);
}

#[tokio::test]
async fn event_bridge_shows_the_key_of_its_connection() {
    let scene = Scene::at(NOW).await;
    let event = json!({"source": "aws.s3", "detail-type": "Object Deleted",
        "detail": {"bucket": {"name": "docs"}, "object": {"key": "a b.html"}}});
    for (headers, verdict) in [
        (vec![("x-key", SECRET)], "docs/a b.html"),
        (vec![("x-key", "wrong")], "401 untrusted"),
        (vec![("x-key", "")], "401 untrusted"),
        (vec![("x-other", SECRET)], "401 unsigned"),
        (vec![], "401 unsigned"),
    ] {
        assert_eq!(told(&scene.post(Source::EventBridge, &headers, &event).await), verdict, "{headers:?}");
    }
    let key = [("x-key", SECRET)];
    let other = json!({"source": "aws.ec2", "detail-type": "EC2 Instance State-change Notification"});
    assert_eq!(told(&scene.post(Source::EventBridge, &key, &other).await), "200 nothing");
    assert_eq!(told(&scene.post(Source::EventBridge, &key, &json!({})).await), "400 malformed");
    assert_eq!(told(&scene.send(Source::EventBridge, head("POST", "/", &key), "{").await), "400 malformed");
    assert_eq!(told(&scene.send(Source::EventBridge, head("OPTIONS", "/", &key), "").await), "405 malformed");
    let long = "a".repeat(256 * 1024 + 1);
    assert_eq!(told(&scene.send(Source::EventBridge, head("POST", "/", &key), long).await), "400 malformed");
}

#[tokio::test]
async fn event_grid_shows_the_secret_in_the_query_or_a_header() {
    let scene = Scene::at(NOW).await;
    let event =
        r#"{"type": "Microsoft.Storage.BlobCreated", "subject": "/blobServices/default/containers/docs/blobs/a.html"}"#;
    for (target, headers, verdict) in [
        ("/events?code=correct%20horse", vec![], "docs/a.html"),
        ("/events?a=b&code=correct+horse", vec![], "docs/a.html"),
        ("/events", vec![("x-callboard-secret", SECRET)], "docs/a.html"),
        ("/events?code=correct", vec![], "401 untrusted"),
        ("/events?code=", vec![], "401 untrusted"),
        ("/events?code=wrong", vec![("x-callboard-secret", SECRET)], "401 untrusted"),
        ("/events?Code=correct+horse", vec![], "401 unsigned"),
        ("/events", vec![], "401 unsigned"),
    ] {
        let outcome = scene.send(Source::EventGrid, head("POST", target, &headers), event).await;
        assert_eq!(told(&outcome), verdict, "{target} {headers:?}");
    }
}

#[tokio::test]
async fn both_handshakes_of_event_grid_are_answered_to_who_knows_the_secret() {
    let scene = Scene::at(NOW).await;
    let validation = json!([{"id": "2d1781af-3a4c-4d7c-bd0c-e34b19da4e66", "topic": "/subscriptions/x", "subject": "",
        "data": {"validationCode": "512d38b6-c7b8-40c8-89fe-f46f9e9622b6", "validationUrl": "https://evil.test/"},
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "eventTime": "2022-10-28T04:23:35.1981776Z"}]);
    let secret = [("x-callboard-secret", SECRET)];
    let received = scene.post(Source::EventGrid, &secret, &validation).await.unwrap();
    assert_eq!(received.reply.body().as_ref(), br#"{"validationResponse":"512d38b6-c7b8-40c8-89fe-f46f9e9622b6"}"#);
    assert_eq!(received.reply.headers()["content-type"], "application/json");
    assert_eq!(told(&scene.post(Source::EventGrid, &[], &validation).await), "401 unsigned");

    let origin = ("webhook-request-origin", "eventgrid.azure.net");
    let options = head("OPTIONS", "/events?code=correct+horse", &[origin]);
    let received = scene.send(Source::EventGrid, options, "").await.unwrap();
    assert_eq!(received.reply.headers()["webhook-allowed-origin"], "eventgrid.azure.net");
    assert_eq!(received.reply.headers()["webhook-allowed-rate"], "*");
    let outcome = scene.send(Source::EventGrid, head("OPTIONS", "/events", &[origin]), "").await;
    assert_eq!(told(&outcome), "401 unsigned");
    let outcome = scene.send(Source::EventGrid, head("OPTIONS", "/events?code=correct+horse", &[]), "").await;
    assert_eq!(told(&outcome), "400 malformed");
    assert!(scene.counted("eventgrid", "handshake") && scene.cloud.asked().is_empty());
}

#[tokio::test]
async fn sources_that_are_not_configured_are_not_there() {
    let scene = Scene::with(NOW, Options::default()).await;
    for source in Source::ALL {
        assert!(!scene.events.enabled(source));
        let outcome = scene.post(source, &[("x-key", SECRET), ("x-callboard-secret", SECRET)], &json!({})).await;
        assert_eq!(outcome.unwrap_err().status(), 404);
    }
    let scene = Scene::at(NOW).await;
    assert!(Source::ALL.into_iter().all(|source| scene.events.enabled(source)));
}
