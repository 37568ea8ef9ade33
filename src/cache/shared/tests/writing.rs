//! What becomes of writes that can't be done.

use futures_util::StreamExt;

use super::*;

async fn fill(server: &Server) {
    let _: String = server.ask(cmd("CONFIG").arg("SET").arg("maxmemory").arg("1")).await;
}

#[tokio::test]
async fn what_is_told_is_told_after_the_write() {
    let rig = Rig::start();
    let mut told = rig.server.client().get_async_pubsub().await.unwrap();
    told.subscribe(rig.shared.core.names.channel()).await.unwrap();
    let mut told = told.into_on_message();
    let body = noise(2_000_000);
    rig.shared.store(&key("a.png"), meta("a", &body), body.clone(), confirmed(1), Some(Bytes::from_static(b"stored")));
    assert_eq!(told.next().await.unwrap().get_payload_bytes(), b"stored");
    assert_eq!(rig.load("a.png").await, document("a", &body));
    rig.shared.remove(&key("a.png"), Some(Bytes::from_static(b"removed")));
    assert_eq!(told.next().await.unwrap().get_payload_bytes(), b"removed");
    assert_eq!(rig.load("a.png").await, Loaded::Nothing);
    rig.shared.tell("shop", Bytes::from_static(b"alone"));
    assert_eq!(told.next().await.unwrap().get_payload_bytes(), b"alone");
    fill(&rig.server).await;
    rig.shared.store(&key("a.png"), meta("a", &body), body, confirmed(1), Some(Bytes::from_static(b"refused")));
    assert_eq!(told.next().await.unwrap().get_payload_bytes(), b"refused");
}

#[tokio::test]
async fn a_full_redis_keeps_no_older_version() {
    let rig = Rig::start();
    for (file, new) in [("small.html", text(500)), ("large.png", noise(1_000_000))] {
        let _: String = rig.server.ask(cmd("CONFIG").arg("SET").arg("maxmemory").arg("0")).await;
        rig.store(file, "old", &text(100)).await;
        rig.store("unchanged.html", "a", &text(100)).await;
        fill(&rig.server).await;
        rig.store(file, "new", &new).await;
        assert_eq!(rig.load(file).await, Loaded::Nothing, "{file}");
        assert_eq!(rig.load("unchanged.html").await, document("a", &text(100)));
    }
    rig.counted(r#"writes_total{result="failed"} 2"#);
    let keys: Vec<String> = rig.server.ask(cmd("KEYS").arg("*")).await;
    assert_eq!(keys, [name("unchanged.html")]);
}

#[tokio::test]
async fn a_redis_that_fills_up_on_the_way_keeps_no_part_of_a_document() {
    let rig = Rig::start();
    let used = rig.server.figure("used_memory").await;
    let _: String = rig.server.ask(cmd("CONFIG").arg("SET").arg("maxmemory").arg(used + 2_000_000)).await;
    rig.store("large.png", "a", &noise(6_000_000)).await;
    let keys: Vec<String> = rig.server.ask(cmd("KEYS").arg("*")).await;
    assert_eq!(keys, [""; 0]);
    rig.counted(r#"writes_total{result="failed"} 1"#);
}

#[tokio::test]
async fn a_version_that_finds_no_place_leaves_no_older_one() {
    let rig = Rig::with(|options| options.queue.bytes = 1000);
    rig.store("a.png", "old", &noise(900)).await;
    assert!(rig.has("a.png").await);
    rig.store("a.png", "new", &noise(1100)).await;
    assert_eq!(rig.load("a.png").await, Loaded::Nothing);
    rig.counted(r#"writes_total{result="dropped"} 1"#);
    rig.counted(r#"writes_total{result="removed"} 1"#);
}

#[tokio::test]
async fn a_version_that_is_too_large_leaves_no_older_one() {
    let rig = Rig::with(|options| options.max_object_bytes = 1000);
    rig.store("a.png", "old", &noise(1000)).await;
    assert!(rig.has("a.png").await);
    rig.store("a.png", "new", &noise(1001)).await;
    assert!(!rig.has("a.png").await);
    rig.counted(r#"writes_total{result="dropped"} 1"#);
}

#[tokio::test]
async fn a_renewal_finds_a_place_where_its_body_would_not() {
    let rig = Rig::with(|options| options.queue.bytes = 1000);
    let body = noise(900);
    rig.store("a.png", "a", &body).await;
    rig.shared.renew(&key("a.png"), meta("a", &body), Some(noise(1100)), confirmed(2));
    rig.written().await;
    let record = Record { meta: meta("a", &body), body, confirmation: confirmed(2) };
    assert_eq!(rig.load("a.png").await, Loaded::Document(record));
}

#[tokio::test]
async fn a_cluster_takes_all_of_it() {
    let rig = Rig::on(Server::cluster().await, |_| ());
    let body = noise(1_000_000);
    let held = meta("a", &body);
    rig.store("a.png", "a", &body).await;
    assert_eq!(rig.load("a.png").await, document("a", &body));
    rig.shared.renew(&key("a.png"), held.clone(), None, confirmed(1));
    rig.written().await;
    let lease = rig.shared.lease(&key("a.png"), Duration::from_secs(60)).await;
    assert!(matches!(lease, Lease::Mine(_)));
    let waited = rig.shared.wait(&key("a.png"), Some(&held), |_| true, Duration::ZERO).await;
    assert_eq!(waited, Waited::Loaded(Loaded::Same(confirmed(1))));
    drop(lease);
    rig.written().await;
    let waited = rig.shared.wait(&key("a.png"), None, |_| false, Duration::ZERO).await;
    assert_eq!(waited, Waited::Free);
    rig.shared.keep_record("site", Bytes::from_static(b"17"), Duration::from_secs(60));
    rig.shared.remove(&key("a.png"), Some(Bytes::from_static(b"removed")));
    rig.written().await;
    assert_eq!(rig.shared.record("site").await.unwrap().unwrap(), "17");
    assert_eq!(rig.load("a.png").await, Loaded::Nothing);
    rig.counted(r#"writes_total{result="renewed"} 1"#);
    rig.counted(r#"writes_total{result="failed"} 0"#);
}

#[tokio::test]
async fn what_waits_is_written_also_after_the_tier_is_gone() {
    let rig = Rig::start();
    let (other, _) = tier(&rig.server, |_| ());
    for number in 0..10 {
        other.store(&key(&format!("{number}.html")), meta("a", &text(500)), text(500), confirmed(1), None);
    }
    other.tell("shop", Bytes::new());
    drop(other);
    for number in 0..10 {
        while !rig.has(&format!("{number}.html")).await {}
    }
}

#[tokio::test]
async fn without_redis_nothing_is_found_and_nothing_waits_for_ever() {
    let mut rig = Rig::start();
    rig.store("index.html", "a", &text(500)).await;
    rig.server.stop();
    assert_eq!(rig.load("index.html").await, Loaded::Unavailable);
    assert!(matches!(rig.shared.lease(&key("index.html"), Duration::from_secs(1)).await, Lease::Unavailable));
    assert_eq!(rig.shared.record("site").await, Err(NoAnswer));
    rig.store("index.html", "b", &text(500)).await;
    rig.counted(r#"load_duration_seconds_count{result="unavailable"} 1"#);
    rig.counted(r#"writes_total{result="failed"} 1"#);
}
