//! The Redis client, against real servers in every form, and what becomes of it when they fail.

use std::sync::Arc;
use std::time::Instant;

use callboard::redis::{Client, Failure, Heard, Options};
use callboard::telemetry::Instruments;
use callboard::trust::{self, Trust};
use redis::Pipeline;
use tokio::sync::mpsc::Receiver;

use crate::support::redis::Redis;
use crate::support::{PATIENCE, until};

fn client(options: Options) -> Client {
    counted(options).0
}

fn counted(options: Options) -> (Client, Arc<Instruments>) {
    let trust = Trust::load(&trust::Options::default()).unwrap();
    let instruments = Arc::new(Instruments::new().unwrap());
    (Client::new(options, &trust, Arc::clone(&instruments)).unwrap(), instruments)
}

fn set(key: &str, value: &str) -> Pipeline {
    redis::pipe().cmd("SET").arg(key).arg(value).ignore().to_owned()
}

async fn get(client: &Client, key: &str) -> Result<Option<String>, Failure> {
    let (value,) = client.run(redis::pipe().cmd("GET").arg(key)).await?;
    Ok(value)
}

/// Waits until a value that is written can be read again.
async fn works(client: &Client) {
    let written = format!("{:016x}", rand::random::<u64>());
    until(async || client.run::<()>(&set("callboard:works", &written)).await.is_ok()).await;
    assert_eq!(get(client, "callboard:works").await.unwrap(), Some(written));
}

async fn next(heard: &mut Receiver<Heard>) -> Heard {
    tokio::time::timeout(PATIENCE, heard.recv()).await.expect("something is heard").expect("it goes on")
}

async fn connected(heard: &mut Receiver<Heard>) {
    assert!(matches!(next(heard).await, Heard::Connected));
}

async fn lost(heard: &mut Receiver<Heard>) {
    while !matches!(next(heard).await, Heard::Lost) {}
}

/// Everything that a client must do, whatever form Redis is run in.
async fn all_is_well(redis: &Redis) {
    let (client, instruments) = counted(redis.options());
    let mut heard = client.listen("callboard:news");
    connected(&mut heard).await;
    // A write and the news of it in one go: the channel is of no slot.
    let mut pipeline = redis::pipe();
    pipeline.cmd("SET").arg("callboard:{a}:1").arg("one").ignore();
    pipeline.cmd("SET").arg("callboard:{a}:2").arg("two").ignore();
    pipeline.cmd("PUBLISH").arg("callboard:news").arg("a").ignore();
    pipeline.cmd("MGET").arg("callboard:{a}:1").arg("callboard:{a}:2");
    let (both,): (Vec<String>,) = client.run(&pipeline).await.unwrap();
    assert_eq!(both, ["one", "two"]);
    assert!(matches!(next(&mut heard).await, Heard::Message(message) if message == "a"));
    // Of every slot.
    for key in 0..50 {
        client.run::<()>(&set(&format!("callboard:{key}"), "value")).await.unwrap();
        assert_eq!(get(&client, &format!("callboard:{key}")).await.unwrap().as_deref(), Some("value"));
    }
    let mut transaction = redis::pipe();
    transaction.atomic().cmd("INCR").arg("callboard:counter").cmd("INCR").arg("callboard:counter");
    assert_eq!(client.run::<(u64, u64)>(&transaction).await.unwrap(), (1, 2));
    let text = instruments.prometheus().unwrap();
    for line in ["callboard_redis_connected 1", "callboard_redis_listening 1"] {
        assert!(text.contains(line), "{line} in:\n{text}");
    }
    redis.flush();
    assert_eq!(get(&client, "callboard:1").await.unwrap(), None);
}

#[tokio::test]
async fn one_server_is_used() {
    all_is_well(&Redis::plain()).await;
}

#[tokio::test]
async fn a_server_with_users_is_used() {
    all_is_well(&Redis::acl("callboard", "pa:ss/word")).await;
}

#[tokio::test]
async fn a_killed_server_is_found_again_and_what_was_missed_is_told() {
    let redis = Redis::plain();
    let (client, instruments) = counted(redis.options());
    let mut heard = client.listen("callboard:news");
    connected(&mut heard).await;
    works(&client).await;
    redis.kill();
    lost(&mut heard).await;
    until(async || matches!(get(&client, "a").await, Err(Failure::Resting))).await;
    let text = instruments.prometheus().unwrap();
    assert!(text.contains("callboard_redis_connected 0") && text.contains("callboard_redis_listening 0"), "{text}");
    redis.restart();
    connected(&mut heard).await;
    works(&client).await;
    client.run::<()>(redis::pipe().cmd("PUBLISH").arg("callboard:news").arg("b").ignore()).await.unwrap();
    assert!(matches!(next(&mut heard).await, Heard::Message(message) if message == "b"));
}

#[tokio::test]
async fn a_cluster_is_used() {
    all_is_well(&Redis::cluster()).await;
}

#[tokio::test]
async fn a_cluster_with_tls_and_client_certificates_is_used() {
    all_is_well(&Redis::cluster_tls()).await;
}

#[tokio::test]
async fn a_master_behind_sentinels_is_used() {
    all_is_well(&Redis::sentinel()).await;
}

#[tokio::test]
async fn a_server_with_a_certificate_of_a_private_authority_is_used() {
    all_is_well(&Redis::tls(false)).await;
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_is_shown_one() {
    let redis = Redis::tls(true);
    all_is_well(&redis).await;
    let mut options = redis.options();
    options.tls.as_mut().unwrap().identity = None;
    let failure = get(&client(options), "a").await.unwrap_err();
    assert!(matches!(failure, Failure::Unavailable(_)), "{failure:?}");
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_is_refused() {
    let redis = Redis::tls(false);
    let mut options = redis.options();
    options.tls.as_mut().unwrap().ca_file = None;
    let failure = get(&client(options), "a").await.unwrap_err();
    let Failure::Unavailable(error) = failure else { panic!("{failure:?}") };
    assert!(error.to_string().contains("certificate"), "{error}");
    // Once more with an authority that every client of the program believes.
    let trust = Trust::load(&trust::Options { ca_files: vec![redis.authority().ca()] }).unwrap();
    let mut options = redis.options();
    options.tls.as_mut().unwrap().ca_file = None;
    let client = Client::new(options, &trust, Arc::new(Instruments::new().unwrap())).unwrap();
    works(&client).await;
}

#[tokio::test]
async fn a_server_that_hangs_costs_no_more_than_the_timeout_and_soon_nothing() {
    let redis = Redis::plain();
    let client = client(redis.options_with(", readTimeout: 100ms"));
    let mut heard = client.listen("callboard:news");
    connected(&mut heard).await;
    works(&client).await;
    redis.stop();
    let failures: Vec<Failure> = [get(&client, "a").await, get(&client, "a").await, get(&client, "a").await]
        .into_iter()
        .map(Result::unwrap_err)
        .collect();
    assert!(matches!(failures[0], Failure::Timeout(_)), "{failures:?}");
    // It was left alone by then, if a heartbeat failed besides.
    until(async || matches!(get(&client, "a").await, Err(Failure::Resting))).await;
    lost(&mut heard).await;
    redis.cont();
    connected(&mut heard).await;
    works(&client).await;
}

#[tokio::test]
async fn a_login_that_is_taken_away_is_a_refusal_until_it_is_given_back() {
    let redis = Redis::acl("callboard", "first");
    let client = client(redis.options());
    let mut heard = client.listen("callboard:news");
    connected(&mut heard).await;
    works(&client).await;
    redis.set_password("second");
    lost(&mut heard).await;
    until(async || matches!(get(&client, "a").await, Err(Failure::Refused(_)))).await;
    until(async || matches!(get(&client, "a").await, Err(Failure::Resting))).await;
    redis.set_password("first");
    connected(&mut heard).await;
    works(&client).await;
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_still_read() {
    let redis = Redis::plain();
    let client = client(redis.options());
    client.run::<()>(&set("callboard:a", "value")).await.unwrap();
    let refuses_writes = async |code: &str| {
        for _ in 0..5 {
            let failure = client.run::<()>(&set("callboard:b", "value")).await.unwrap_err();
            assert!(matches!(&failure, Failure::Refused(error) if error.to_string().contains(code)), "{failure:?}");
        }
        assert_eq!(get(&client, "callboard:a").await.unwrap().as_deref(), Some("value"));
    };
    redis.config_set("maxmemory", "1");
    refuses_writes("OOM").await;
    redis.config_set("maxmemory", "0");
    works(&client).await;
    redis.config_set("min-replicas-to-write", "1");
    refuses_writes("NOREPLICAS").await;
    redis.config_set("min-replicas-to-write", "0");
    works(&client).await;
}

#[tokio::test]
async fn a_server_that_became_a_replica_is_still_read() {
    let redis = Redis::plain();
    let other = Redis::plain();
    other.command::<()>(&["SET", "callboard:a", "value"]);
    let client = client(redis.options());
    works(&client).await;
    let port = other.nodes()[0].port.to_string();
    redis.command::<()>(&["REPLICAOF", "127.0.0.1", &port]);
    until(async || matches!(get(&client, "callboard:a").await, Ok(Some(_)))).await;
    for _ in 0..5 {
        let failure = client.run::<()>(&set("callboard:b", "value")).await.unwrap_err();
        assert!(matches!(&failure, Failure::Refused(error) if error.to_string().contains("read")), "{failure:?}");
        assert_eq!(get(&client, "callboard:a").await.unwrap().as_deref(), Some("value"));
    }
    redis.command::<()>(&["REPLICAOF", "NO", "ONE"]);
    works(&client).await;
}

#[tokio::test]
async fn a_new_master_is_found_after_a_failover() {
    let redis = Redis::sentinel();
    let client = client(redis.options());
    let mut heard = client.listen("callboard:news");
    connected(&mut heard).await;
    works(&client).await;
    redis.failover();
    lost(&mut heard).await;
    works(&client).await;
    connected(&mut heard).await;
    // The old one comes back as a replica, and nobody falls for it.
    redis.restart();
    works(&client).await;
}

#[tokio::test]
async fn a_master_that_was_demoted_is_left_for_the_new_one() {
    let redis = Redis::sentinel();
    let client = client(redis.options());
    works(&client).await;
    // An orderly switch: the old master stays up, as a replica.
    redis.order_failover();
    works(&client).await;
}

#[tokio::test]
async fn a_master_that_hangs_is_left_for_the_new_one() {
    let redis = Redis::sentinel();
    let client = client(redis.options_with(", readTimeout: 200ms, connectTimeout: 500ms"));
    let mut heard = client.listen("callboard:news");
    connected(&mut heard).await;
    works(&client).await;
    redis.stop();
    redis.wait_for_failover();
    lost(&mut heard).await;
    works(&client).await;
    connected(&mut heard).await;
    redis.cont();
    works(&client).await;
}

#[tokio::test]
async fn a_cluster_with_a_node_that_hangs_works_again_when_it_goes_on() {
    let redis = Redis::cluster();
    let client = client(redis.options_with(", readTimeout: 200ms, connectTimeout: 500ms"));
    works(&client).await;
    redis.stop();
    until(async || matches!(get(&client, "a").await, Err(Failure::Resting))).await;
    redis.cont();
    works(&client).await;
    let mut heard = client.listen("callboard:news");
    connected(&mut heard).await;
}

#[tokio::test]
async fn a_cluster_that_lost_a_master_works_again_when_it_is_back() {
    let redis = Redis::cluster();
    let client = client(redis.options());
    let mut heard = client.listen("callboard:news");
    connected(&mut heard).await;
    works(&client).await;
    redis.kill();
    // Whose slot is gone is told; a cluster that misses a part serves nothing.
    until(async || {
        let mut all_fail = true;
        for key in ["a", "b", "c", "d", "e"] {
            all_fail &= get(&client, key).await.is_err();
        }
        all_fail
    })
    .await;
    redis.restart();
    works(&client).await;
    drop(heard);
}

#[tokio::test]
async fn who_does_not_keep_up_is_told_that_something_is_missing() {
    let redis = Redis::plain();
    let client = client(redis.options());
    let mut heard = client.listen("callboard:news");
    connected(&mut heard).await;
    let mut pipeline = redis::pipe();
    for number in 0..2000 {
        pipeline.cmd("PUBLISH").arg("callboard:news").arg(number).ignore();
    }
    client.run::<()>(&pipeline).await.unwrap();
    until(async || redis.subscribers("callboard:news") == 0).await;
    let mut messages = 0;
    while let Heard::Message(_) = next(&mut heard).await {
        messages += 1;
    }
    assert!((1..2000).contains(&messages), "{messages}");
    connected(&mut heard).await;
}

#[tokio::test]
async fn nothing_listens_any_more_once_nobody_hears() {
    let redis = Redis::plain();
    let client = client(redis.options());
    let mut heard = client.listen("callboard:news");
    connected(&mut heard).await;
    assert_eq!(redis.subscribers("callboard:news"), 1);
    drop(heard);
    until(async || redis.subscribers("callboard:news") == 0).await;
}

#[tokio::test]
async fn nothing_is_said_to_anybody_before_it_is_needed() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("{{ url: 'redis://{}', readTimeout: 50ms }}", listener.local_addr().unwrap());
    let client = client(crate::support::redis::redis_options(&url));
    assert!(listener.accept().is_err());
    // It takes the connection, and says nothing.
    let start = Instant::now();
    assert!(matches!(get(&client, "a").await, Err(Failure::Timeout(_))));
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    assert!(listener.accept().is_ok());
}
