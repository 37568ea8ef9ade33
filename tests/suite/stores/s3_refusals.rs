//! Objects that S3 refuses: absent, or not for us?

use futures_util::future::join_all;

use crate::support::aws_cloud::AwsCloud;
use crate::support::{Callboard, SITE, Told, until};

/// A Callboard that reads the bucket with static keys, and decides by this rule.
async fn callboard(cloud: &AwsCloud, rule: &str) -> Callboard {
    let (id, secret) = cloud.reader();
    let beside = format!(", credentials: {{ accessKeyId: {id}, secretAccessKey: '{secret}' }}");
    let section = format!(
        "  cache: {{ freshFor: 1ms, staleIfError: 1h }}\n  storage: {{ s3: {{ forbiddenIsAbsent: {rule} }} }}\n"
    );
    let publisher = Some(cloud.publisher(&beside));
    let callboard = Callboard::told(Told { section: &section, publisher, in_real_time: true, ..Told::default() }).await;
    until(async || readiness(&callboard).await == 200).await;
    callboard
}

async fn readiness(callboard: &Callboard) -> u16 {
    let url = format!("http://{}/.backstage/health/v1/readiness", callboard.admin);
    reqwest::get(url).await.unwrap().status().as_u16()
}

async fn status(callboard: &Callboard, name: &str) -> u16 {
    callboard.get(&format!("{SITE}/{name}")).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn without_listing_an_object_is_absent_once_another_was_read_and_as_long_as_that_can_be() {
    let cloud = AwsCloud::start().await;
    cloud.grant(true, false);
    let callboard = callboard(&cloud, "auto").await;
    assert_eq!(status(&callboard, "absent-1.html").await, 502, "nothing has been read yet");
    assert_eq!(status(&callboard, "1.html").await, 200);
    assert_eq!(status(&callboard, "absent-2.html").await, 404);
    assert_eq!(cloud.calls("heads"), 1);
    // It may read nothing any more: that is no absence, and what is held is served.
    cloud.grant(false, false);
    assert_eq!(status(&callboard, "absent-3.html").await, 502);
    assert_eq!(status(&callboard, "1.html").await, 200);
    cloud.grant(true, false);
    assert_eq!(status(&callboard, "absent-4.html").await, 404);
}

#[tokio::test]
async fn a_page_that_is_gone_is_absent_although_it_was_the_last_that_was_read() {
    let cloud = AwsCloud::start().await;
    cloud.grant(true, false);
    let callboard = callboard(&cloud, "auto").await;
    for name in ["techdocs_metadata.json", "1.html"] {
        assert_eq!(status(&callboard, name).await, 200);
    }
    cloud.remove("1.html");
    assert_eq!(status(&callboard, "2.html").await, 200);
    until(async || status(&callboard, "1.html").await == 404).await;
}

#[tokio::test]
async fn a_storm_of_absent_pages_asks_little_beside() {
    let cloud = AwsCloud::start().await;
    cloud.grant(true, false);
    let callboard = callboard(&cloud, "auto").await;
    assert_eq!(status(&callboard, "1.html").await, 200);
    let statuses = join_all((0..200).map(|number| status_of(&callboard, number))).await;
    assert!(statuses.iter().all(|status| *status == 404), "{statuses:?}");
    assert!(cloud.calls("heads") < 150, "{} looks for 200 absent pages", cloud.calls("heads"));
}

async fn status_of(callboard: &Callboard, number: usize) -> u16 {
    status(callboard, &format!("absent-{number}.html")).await
}

#[tokio::test]
async fn where_listing_is_granted_for_a_prefix_what_is_refused_is_looked_for_in_the_listing() {
    let cloud = AwsCloud::start().await;
    cloud.hide_absence();
    let callboard = callboard(&cloud, "auto").await;
    assert_eq!(status(&callboard, "2.html").await, 200);
    assert_eq!(status(&callboard, "absent.html").await, 404);
    assert_eq!(status(&callboard, "1.htm").await, 404, "others begin with its name");
    cloud.refuse("1.html");
    assert_eq!(status(&callboard, "1.html").await, 502, "it is listed, and others can be read");
    cloud.grant(false, true);
    assert_eq!(status(&callboard, "absent-too.html").await, 502);
    assert_eq!(status(&callboard, "2.html").await, 200, "what is held is served");
}

#[tokio::test]
async fn a_credential_that_is_refused_is_never_absence_even_where_all_refusals_are() {
    for rule in ["auto", "true", "false"] {
        let cloud = AwsCloud::start().await;
        let callboard = callboard(&cloud, rule).await;
        assert_eq!(status(&callboard, "1.html").await, 200);
        cloud.revoke_readers();
        assert_eq!(status(&callboard, "2.html").await, 502, "{rule}");
        assert_eq!(status(&callboard, "1.html").await, 200, "{rule}");
        let name = "callboard_storage_operation_duration_seconds_count";
        assert!(callboard.metric(name, &["result=\"denied\""]).await >= 1., "{rule}");
    }
}

#[tokio::test]
async fn the_configuration_decides_where_it_says_so() {
    for (rule, expected) in [("true", 404), ("false", 502)] {
        let cloud = AwsCloud::start().await;
        cloud.hide_absence();
        let callboard = callboard(&cloud, rule).await;
        assert_eq!(status(&callboard, "absent.html").await, expected, "{rule}");
        assert_eq!(cloud.calls("heads"), 0, "{rule}");
    }
}
