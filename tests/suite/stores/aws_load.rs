//! Credentials for S3 that end, under load.

use std::sync::Arc;
use std::time::Duration;

use crate::support::aws_cloud::{AwsCloud, REGION, ROLE, service_account_token};
use crate::support::load::{Load, Page, Place};
use crate::support::service::{Home, Service};
use crate::support::until;

/// Every request asks the bucket, and old copies are served for as long as it fails.
const MORE: &str = "callboard: { cache: { freshFor: 1ms, staleIfError: 1h }, telemetry: { accessLog: false }, \
                    storage: { timeout: 5s } }\n";

/// A Callboard that shows STS the token in a file.
async fn service(cloud: &AwsCloud) -> Service {
    cloud.ask_for(None, "pod");
    let home = Home::new(&cloud.publisher(""), MORE).await;
    let token = home.write("token", &service_account_token("sts.amazonaws.com"));
    let home = home.set("AWS_REGION", REGION).set("AWS_ENDPOINT_URL_STS", cloud.url());
    let home = home.set("AWS_ROLE_ARN", ROLE).set("AWS_ROLE_SESSION_NAME", "pod");
    let service = Service::start(home.set("AWS_WEB_IDENTITY_TOKEN_FILE", token)).await;
    until(async || service.readiness().await.0 == 200).await;
    service
}

fn pages() -> Arc<[Page]> {
    (0..50).map(|number| (format!("{number}.html"), format!("<h1>{number}.html</h1>").into())).collect()
}

async fn load(service: &Service) -> Load {
    let place = Place { base: service.url(), token: service.home.backstage.token() };
    Load::start(&[place], &pages(), 8).await
}

#[tokio::test]
async fn a_credential_that_lasts_seconds_is_renewed_behind_readers_who_notice_nothing() {
    let cloud = AwsCloud::start().await;
    cloud.lasting(Duration::from_secs(5));
    let service = service(&cloud).await;
    let load = load(&service).await;
    until(async || cloud.calls("sts") >= 5).await;
    let (failures, answers) = load.stop().await;
    assert!(failures.is_empty(), "{failures:?}");
    let asked = cloud.calls("sts");
    assert!(answers > 100 && cloud.calls("s3") > 10 * asked, "{answers} answers, {asked} credentials");
    let renewals = service.metric("callboard_storage_credential_renewals_total", &["result=\"ok\""]).await;
    assert!(renewals >= 5. && service.metric("callboard_storage_credential_lifetime_seconds", &[]).await > 0.);
}

#[tokio::test]
async fn pages_outlive_sts_and_the_credential_and_readiness_tells_until_both_are_back() {
    let cloud = AwsCloud::start().await;
    cloud.lasting(Duration::from_secs(5));
    let service = service(&cloud).await;
    for (name, _) in pages().iter() {
        assert_eq!(service.status(name).await, 200);
    }
    let load = load(&service).await;
    let before = cloud.calls("sts");
    cloud.set_down("sts", true);
    // While the credential lives nobody notices, and then there are old copies.
    until(async || service.readiness().await.0 == 503).await;
    let (_, reason) = service.readiness().await;
    assert!(reason.contains("There is no credential for storage (techdocs): the web identity of"), "{reason}");
    assert!(reason.contains("503") || reason.contains("down") || reason.contains("service error"), "{reason}");
    load.goes_on(200).await;
    assert_eq!(cloud.calls("sts"), before);
    let failed = service.metric("callboard_storage_credential_renewals_total", &["result=\"failed\""]).await;
    assert!(failed >= 1.);
    cloud.set_down("sts", false);
    until(async || service.readiness().await.0 == 200).await;
    load.goes_on(200).await;
    let (failures, _) = load.stop().await;
    assert!(failures.is_empty(), "{failures:?}");
    until(async || service.status("index.html").await == 200).await;
}

#[tokio::test]
async fn a_revoked_credential_is_replaced_at_once_and_counts_as_denied() {
    let cloud = AwsCloud::start().await;
    let service = service(&cloud).await;
    for (name, _) in pages().iter() {
        assert_eq!(service.status(name).await, 200);
    }
    let load = load(&service).await;
    assert_eq!(cloud.calls("sts"), 1);
    cloud.revoke_readers();
    service.home.write("token", &service_account_token("sts.amazonaws.com"));
    until(async || cloud.calls("sts") >= 2).await;
    until(async || service.status("index.html").await == 200).await;
    load.goes_on(100).await;
    let (failures, _) = load.stop().await;
    assert!(failures.is_empty(), "{failures:?}");
    let denied = service.metric("callboard_storage_operation_duration_seconds_count", &["result=\"denied\""]).await;
    assert!(denied >= 1. && cloud.calls("sts") < 5, "{denied} {}", cloud.calls("sts"));
}

#[tokio::test]
async fn keys_that_are_rotated_in_a_profile_are_read_anew() {
    let cloud = AwsCloud::start().await;
    let (id, secret) = cloud.reader();
    let home = Home::new(&cloud.publisher(""), MORE).await.set("AWS_REGION", REGION);
    let profile =
        |id: &str, secret: &str| format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
    home.write(".aws/credentials", &profile(&id, &secret));
    let service = Service::start(home).await;
    until(async || service.readiness().await.0 == 200).await;
    for (name, _) in pages().iter() {
        assert_eq!(service.status(name).await, 200);
    }
    let load = load(&service).await;
    cloud.revoke_readers();
    // Everything is refused, and what is held is served.
    until(async || service.readiness().await.0 == 503).await;
    let (_, reason) = service.readiness().await;
    assert!(reason.contains("refuses everything") && reason.contains("InvalidAccessKeyId"), "{reason}");
    let (id, secret) = cloud.reader();
    service.home.write(".aws/credentials", &profile(&id, &secret));
    until(async || service.readiness().await.0 == 200).await;
    load.goes_on(100).await;
    let (failures, _) = load.stop().await;
    assert!(failures.is_empty(), "{failures:?}");
}
