//! Any bytes at any endpoint, from those who know the secrets too.

use proptest::prelude::*;

use super::*;

/// JSON that looks somewhat like what clouds send.
fn json_like() -> impl Strategy<Value = String> {
    let words = [
        "Type",
        "Message",
        "Records",
        "s3",
        "source",
        "aws.s3",
        "detail-type",
        "Object Created",
        "detail",
        "bucket",
        "object",
        "key",
        "name",
        "message",
        "attributes",
        "eventType",
        "type",
        "subject",
        "data",
        "validationCode",
        "Microsoft.Storage.BlobCreated",
        "Microsoft.EventGrid.SubscriptionValidationEvent",
        "/blobServices/default/containers/c/blobs/%ff",
        "Notification",
        TOPIC,
        "TopicArn",
        "%",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(words.to_vec()).prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    let key = prop::sample::select(words.to_vec()).prop_map(str::to_owned);
    let tree = leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..6).prop_map(|map| map.into_iter().collect::<Value>()),
        ]
    });
    tree.prop_map(|json| json.to_string())
}

proptest! {
    #[test]
    fn whatever_comes_is_judged(
        body in prop_oneof![prop::collection::vec(any::<u8>(), 0..300), json_like().prop_map(String::into_bytes)],
        query in "[ -~&&[^#\"<>\\\\^`{|}]]{0,20}",
        header in prop::collection::vec(0x20..0x7f_u8, 0..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        // Nothing here gets as far as the network.
        let events = Events::new(
            options(),
            Clock::System,
            reqwest::Client::new(),
            Arc::new(Instruments::new().unwrap()),
        );
        let header = String::from_utf8(header).unwrap();
        let heads = [
            vec![("x-key", SECRET), ("x-callboard-secret", SECRET)],
            vec![("x-key", &*header), ("x-callboard-secret", &*header), ("authorization", &*header)],
        ];
        for source in Source::ALL {
            for headers in &heads {
                let target = format!("/events?{}", query.replace([' ', '%'], ""));
                let head = head("POST", &target, headers);
                if let Err(error) = runtime.block_on(events.receive(source, &head, body.clone().into())) {
                    prop_assert!(error.status().is_client_error(), "{error:?}");
                    prop_assert!(!error.public_message().is_empty());
                }
            }
        }
    }
}
