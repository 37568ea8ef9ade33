//! What goes in comes out, and no more is sent than must be.

use super::*;

#[tokio::test]
async fn documents_come_back_as_they_were_stored() {
    let rig = Rig::start();
    for (file, body) in [
        ("empty.html", Bytes::new()),
        ("one.html", Bytes::from_static(b"x")),
        ("index.html", text(20_000)),
        ("search_index.json", text(5_000_000)),
        ("noise.bin", noise(5_000_000)),
        ("photo.png", noise(300_000)),
    ] {
        rig.store(file, "a", &body).await;
        assert_eq!(rig.load(file).await, document("a", &body), "{file}");
        let expiry: i64 = rig.server.ask(cmd("PTTL").arg(name(file))).await;
        assert!((1..=600_000).contains(&expiry), "{file} {expiry}");
    }
    rig.counted(r#"writes_total{result="stored"} 6"#);
    rig.counted(r#"load_duration_seconds_count{result="hit"} 6"#);
    let keys: Vec<String> = rig.server.ask(cmd("KEYS").arg("*")).await;
    assert_eq!(keys.len(), 6, "{keys:?}");
}

#[tokio::test]
async fn what_one_replica_stores_another_loads() {
    let rig = Rig::start();
    let (other, _) = tier(&rig.server, |_| ());
    rig.store("index.html", "a", &text(20_000)).await;
    assert_eq!(other.load(&key("index.html"), None).await, document("a", &text(20_000)));
    assert_eq!(other.load(&key("other.html"), None).await, Loaded::Nothing);
}

#[tokio::test]
async fn a_body_that_is_held_already_is_not_sent() {
    let rig = Rig::start();
    let body = noise(1_000_000);
    rig.store("noise.bin", "a", &body).await;
    let before = rig.server.figure("total_net_output_bytes").await;
    let held = meta("a", &body);
    assert_eq!(rig.shared.load(&key("noise.bin"), Some(&held)).await, Loaded::Same(confirmed(1)));
    let sent = rig.server.figure("total_net_output_bytes").await - before;
    assert!(sent < 50_000, "{sent}");
    rig.counted(r#"load_duration_seconds_count{result="same"} 1"#);
    let old = meta("old", &body);
    assert_eq!(rig.shared.load(&key("noise.bin"), Some(&old)).await, document("a", &body));
}

#[tokio::test]
async fn a_document_is_renewed_without_its_body() {
    let rig = Rig::start();
    let body = noise(1_000_000);
    rig.store("noise.bin", "a", &body).await;
    let _: bool = rig.server.ask(cmd("PEXPIRE").arg(name("noise.bin")).arg(60_000)).await;
    let before = rig.server.figure("total_net_input_bytes").await;
    rig.shared.renew(&key("noise.bin"), meta("a", &body), Some(body.clone()), confirmed(2));
    rig.written().await;
    let sent = rig.server.figure("total_net_input_bytes").await - before;
    assert!(sent < 5_000, "{sent}");
    let expiry: i64 = rig.server.ask(cmd("PTTL").arg(name("noise.bin"))).await;
    assert!(expiry > 60_000, "{expiry}");
    let record = Record { meta: meta("a", &body), body, confirmation: confirmed(2) };
    assert_eq!(rig.load("noise.bin").await, Loaded::Document(record));
    rig.counted(r#"writes_total{result="renewed"} 1"#);
}

#[tokio::test]
async fn another_version_is_not_renewed() {
    let rig = Rig::start();
    rig.store("index.html", "new", &text(500)).await;
    rig.shared.renew(&key("index.html"), meta("old", &text(500)), Some(text(500)), confirmed(2));
    rig.written().await;
    assert_eq!(rig.load("index.html").await, document("new", &text(500)));
    rig.counted(r#"writes_total{result="outdated"} 1"#);
}

#[tokio::test]
async fn a_document_that_redis_has_lost_comes_back_with_its_confirmation() {
    let rig = Rig::start();
    rig.shared.renew(&key("index.html"), meta("a", &text(500)), None, confirmed(1));
    rig.written().await;
    assert_eq!(rig.load("index.html").await, Loaded::Nothing);
    rig.shared.renew(&key("index.html"), meta("a", &text(500)), Some(text(500)), confirmed(1));
    rig.written().await;
    assert_eq!(rig.load("index.html").await, document("a", &text(500)));
}

#[tokio::test]
async fn a_smaller_version_leaves_nothing_of_a_larger_one() {
    let rig = Rig::start();
    rig.store("a.png", "large", &noise(1_000_000)).await;
    let small = noise(1000);
    rig.store("a.png", "small", &small).await;
    let mut fields: Vec<String> = rig.server.ask(cmd("HKEYS").arg(name("a.png"))).await;
    fields.sort();
    assert_eq!(fields, ["0", "c", "i", "m"]);
    assert_eq!(rig.load("a.png").await, document("small", &small));
}

#[tokio::test]
async fn a_removed_document_is_gone() {
    let rig = Rig::start();
    rig.store("index.html", "a", &text(500)).await;
    rig.shared.remove(&key("index.html"), None);
    rig.written().await;
    assert_eq!(rig.load("index.html").await, Loaded::Nothing);
    rig.counted(r#"load_duration_seconds_count{result="miss"} 1"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_during_a_rewrite_sees_the_old_or_the_new_version() {
    let rig = Rig::start();
    let versions = [("a", noise(1_500_000)), ("b", noise(1_400_000))];
    rig.store("noise.bin", "a", &versions[0].1).await;
    let (writer, _) = tier(&rig.server, |_| ());
    let writing = tokio::spawn(async move {
        for (tag, body) in versions.iter().cycle().skip(1).take(20) {
            writer.store(&key("noise.bin"), meta(tag, body), body.clone(), confirmed(1), None);
            writer.queue.idle().await;
        }
        versions
    });
    let mut read = Vec::new();
    while !writing.is_finished() {
        read.push(rig.load("noise.bin").await);
    }
    let [(_, a), (_, b)] = writing.await.unwrap();
    let whole = read.iter().filter(|loaded| matches!(loaded, Loaded::Document(_))).count();
    assert!(whole > 0);
    for loaded in read {
        assert!(loaded == document("a", &a) || loaded == document("b", &b) || loaded == Loaded::Nothing);
    }
    // What was torn was left alone: the version that was written last is there.
    rig.written().await;
    assert_eq!(rig.load("noise.bin").await, document("a", &a));
}

#[tokio::test]
async fn records_are_kept_for_their_time() {
    let rig = Rig::start();
    assert_eq!(rig.shared.record("default/component/shop").await, Ok(None));
    rig.shared.keep_record("default/component/shop", Bytes::from_static(b"17"), Duration::from_secs(60));
    rig.written().await;
    assert_eq!(rig.shared.record("default/component/shop").await.unwrap().unwrap(), "17");
    let expiry: i64 = rig.server.ask(cmd("PTTL").arg("callboard:site:default/component/shop")).await;
    assert!((1..=60_000).contains(&expiry), "{expiry}");
}

#[tokio::test]
async fn a_record_that_is_no_good_is_not_used_and_goes() {
    let rig = Rig::start();
    rig.shared.keep_record("shop", Bytes::from_static(b"17"), Duration::from_secs(60));
    rig.written().await;
    let copy = cmd("COPY").arg("callboard:site:shop").arg("callboard:site:other").to_owned();
    let list = cmd("LPUSH").arg("callboard:site:list").arg("17").to_owned();
    for (name, plant) in [("other", copy), ("list", list)] {
        let _: bool = rig.server.ask(&plant).await;
        assert_eq!(rig.shared.record(name).await, Ok(None));
        rig.written().await;
        assert!(!rig.server.ask::<bool>(cmd("EXISTS").arg(format!("callboard:site:{name}"))).await);
    }
    rig.counted(r#"bad_values_total{reason="integrity"} 1"#);
    rig.counted(r#"bad_values_total{reason="format"} 1"#);
    rig.shared.push("", Work::DiscardRecord { name: "shop".to_owned(), judged: b"before".to_vec() }, None);
    rig.written().await;
    assert_eq!(rig.shared.record("shop").await.unwrap().unwrap(), "17");
}
