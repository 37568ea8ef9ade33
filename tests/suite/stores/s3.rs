//! S3: moto, which checks signatures and policies.

use std::net::SocketAddr;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;

use super::contract;
use crate::support::relay::Relay;
use crate::support::servers::Server;

/// The publisher section of whoever reads through `endpoint`.
fn publisher(s3: &Server, endpoint: &str) -> String {
    format!(
        "{{ type: awsS3, awsS3: {{ bucketName: {}, bucketRootPath: {}, region: {}, endpoint: '{endpoint}', s3ForcePathStyle: true, \
         maxAttempts: 1, credentials: {{ accessKeyId: {}, secretAccessKey: '{}' }} }} }}",
        s3.said("/bucket"),
        contract::ROOT,
        s3.said("/region"),
        s3.said("/reader/accessKeyId"),
        s3.said("/reader/secretAccessKey"),
    )
}

/// Empties the bucket but for what the contract wants there.
async fn publish(s3: &Server) {
    let client = AmazonS3Builder::new()
        .with_bucket_name(s3.said("/bucket"))
        .with_region(s3.said("/region"))
        .with_endpoint(s3.said("/endpoint"))
        .with_allow_http(true)
        .with_access_key_id(s3.said("/writer/accessKeyId"))
        .with_secret_access_key(s3.said("/writer/secretAccessKey"))
        .build()
        .unwrap();
    contract::publish(&client).await;
}

#[tokio::test]
async fn s3_does_what_every_store_does() {
    let s3 = Server::s3().await;
    publish(&s3).await;
    let address: SocketAddr = s3.said("/endpoint").strip_prefix("http://").unwrap().parse().unwrap();
    let through = |relay: &Relay| publisher(&s3, &format!("http://{}", relay.address));
    let relay = Relay::to(address).await;
    let store = contract::store(&through(&relay));
    contract::holds(&*store).await;
    contract::bears_bad_networks(store, &relay, Duration::from_secs(5)).await;
    let relay = Relay::to(address).await;
    let held = contract::connections_for_many_misses(&through(&relay), &relay).await;
    assert!(held <= 80, "{held} connections: 64 places for readers, 16 for what nobody waits for");
}
