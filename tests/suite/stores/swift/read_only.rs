//! What a credential may do beside reading is found, and nothing is left of finding it.

use std::sync::Arc;

use serde_json::Value;

use super::Cloud;
use crate::read_only::checked;
use crate::support::openstack::{OpenStack, Swift};
use crate::support::{Backstage, SITE};

/// What there is to read in the imitation, so that it can be reached.
const LISTED: &str = "default/component/shop/index.html";

/// Every object that is there, with its digest and its time.
async fn held(cloud: &Cloud, token: &str) -> Value {
    let url = format!("{}/{}?format=json", cloud.server.said("/swiftUrl"), cloud.server.said("/container"));
    cloud.client.get(url).header("X-Auth-Token", token).send().await.unwrap().json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_can_do_nothing_else_and_a_writer_is_found() {
    let cloud = Cloud::start(&[]).await;
    let token = cloud.writer().await;
    let site = SITE.trim_start_matches("/static/docs/");
    for root in ["", "sites/all/"] {
        let path = format!("{}/{root}{site}/techdocs_metadata.json", cloud.server.said("/container"));
        cloud.upload(&token, &path, "{}", &[]).await;
    }
    let before = held(&cloud, &token).await;
    assert_eq!(before.as_array().unwrap().len(), 2, "{before}");
    let backstage = Backstage::start().await;
    for (user, root, storage, finding, code) in [
        ("reader", "", "requireReadOnly: enforce", "can do nothing but read", 0),
        ("reader", "sites/all", "", "can list what lies outside of the root path and read what", 0),
        ("writer", "", "", "can overwrite objects and delete objects", 0),
        ("writer", "", "requireReadOnly: enforce", "can overwrite objects and delete objects", 1),
    ] {
        let root = if root.is_empty() { String::new() } else { format!(", bucketRootPath: {root}") };
        let more = cloud.swift_url() + &root;
        let publisher = cloud.publisher(&cloud.server.ready[user], &more);
        let (verdict, exit) = checked(&backstage, &publisher, storage).await;
        assert!(verdict.contains(finding), "{user} {root}: {verdict}");
        assert_eq!(verdict.starts_with("ok "), finding == "can do nothing but read", "{verdict}");
        assert_eq!(exit, Some(code), "{verdict}");
    }
    assert_eq!(held(&cloud, &token).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn access_rules_refuse_as_if_the_token_were_no_good_and_are_told_from_that() {
    let cloud = OpenStack::start().await;
    cloud.lists(vec![LISTED.to_owned()]);
    cloud.swift(Swift::HasAccessRules);
    let backstage = Backstage::start().await;
    let (verdict, _) = checked(&backstage, &cloud.publisher(), "requireReadOnly: enforce").await;
    assert!(verdict.starts_with("ok ") && verdict.contains("can do nothing but read"), "{verdict}");
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_proves_nothing() {
    use callboard::proof::Prover;
    use callboard::storage::Means;
    let cloud = OpenStack::start().await;
    for (code, doubt) in [(429, "429"), (498, "498"), (404, "container")] {
        cloud.swift(if code == 404 { Swift::HasNoContainer } else { Swift::Answers(code) });
        let (options, trust, instruments) = crate::read_only::origin(&cloud.publisher());
        let means =
            Means { timeout: options.bounds.timeout, trust: &trust, instruments: &instruments, kept: &Arc::default() };
        let proof = Prover::new(&options, &means).unwrap().prove().await;
        assert!(!proof.is_read_only() && !proof.can_do_more(), "{code}: {proof:?}");
        assert!(proof.doubt().unwrap().contains(doubt), "{proof:?}");
    }
}
