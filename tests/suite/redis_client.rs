//! The Redis client, against real servers in every form, and what becomes of it when they fail.

use std::sync::Arc;
use std::time::{Duration, Instant};

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
