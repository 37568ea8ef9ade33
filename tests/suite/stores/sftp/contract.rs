//! What every store has to do, as it is configured and over bad networks.

use std::net::SocketAddr;
use std::time::Duration;

use crate::stores::contract;
use crate::support::relay::Relay;
use crate::support::sshd::Sshd;

/// The publisher section of whoever reads through this port.
fn publisher(sshd: &Sshd, port: u16) -> String {
    format!(
        "{{ type: sftp, sftp: {{ host: 127.0.0.1, port: {port}, username: reader, root: /, bucketRootPath: {}, \
         hostKeys: ['{}'], credentials: {{ privateKey: {{ $file: '{}' }} }} }} }}",
        contract::ROOT,
        sshd.text("host_key.pub").trim(),
        sshd.path("user_key").display(),
    )
}

#[tokio::test]
async fn an_sftp_server_does_what_every_store_does() {
    let sshd = Sshd::start();
    for contract::Published { name, body } in contract::objects() {
        sshd.write(&format!("../{name}"), body);
    }
    let address = SocketAddr::from(([127, 0, 0, 1], sshd.port));
    let relay = Relay::to(address).await;
    let store = contract::store(&publisher(&sshd, relay.address.port()));
    contract::holds(&*store).await;
    contract::bears_bad_networks(store, &relay, Duration::from_secs(5)).await;
    let relay = Relay::to(address).await;
    let held = contract::connections_for_many_misses(&publisher(&sshd, relay.address.port()), &relay).await;
    println!("200 misses at a time through a slow network: {held} connections");
    assert!(held <= 2, "{held} connections");
}
