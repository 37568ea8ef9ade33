//! Readers who leave, who are slow, and whose names Callboard is to know.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use super::SHOP;
use crate::support::relay::Way;
use crate::support::scripted::{Deed, PIECE, Scripted};
use crate::support::stage::{Plan, Stage};
use crate::support::{raw, until};

/// Larger than all that sockets on the way buffer.
const FILM: usize = 128 << 20;

/// What may be on the way to one reader who does not read: what sockets buffer, which the kernel lets grow.
const ON_THE_WAY: usize = 64 << 20;

const FOLDER: &str = "default/component/shop";

fn store() -> Arc<Scripted> {
    let store = Scripted::new(Deed::Give(Bytes::from_static(b"<h1>Shop</h1>"), "page"));
    store.set(&format!("{FOLDER}/film.mp4"), Deed::Give(vec![7; FILM].into(), "film"));
    store.set(
        &format!("{FOLDER}/techdocs_metadata.json"),
        Deed::Give(Bytes::from_static(b"{\"site_name\":\"Shop\"}"), "metadata"),
    );
    store
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_are_known_by_name_and_may_leave_or_take_their_time() {
    let store = store();
    // Only the guest may read: a plugin by itself may not. Nobody gives up before the test does.
    let callboard = "  auth: { users: true, allow: ['user:development/guest'] }\n  storage: { timeout: 2m }";
    let module = Some("onBehalfOfUser: true, timeout: { minutes: 2 }");
    let publisher = "{ type: local, local: { publishDirectory: '.' } }".to_owned();
    let plan = Plan { publisher, module, callboard, store: Some(store.clone()), ..Plan::default() };
    let stage = Stage::set(plan).await;
    callboard_is_told_who_reads(&stage).await;
    a_request_ends_with_its_reader(&stage, &store).await;
    a_slow_reader_is_waited_for(&stage, &store).await;
    a_body_that_is_cut_off_does_not_end_well(&stage).await;
}

async fn callboard_is_told_who_reads(stage: &Stage) {
    assert_eq!(stage.status(&format!("{SHOP}/index.html")).await, 200);
    let with_cookie = stage.reader.get_with_cookie(&format!("{SHOP}/guide.html")).send().await.unwrap();
    assert_eq!(with_cookie.status(), StatusCode::OK);
    // This one techdocs-backend asks for by itself.
    assert_eq!(stage.status("/metadata/techdocs/default/component/shop").await, 404);
    let refused =
        stage.metric("http_server_request_duration_seconds_count", &["http_response_status_code=\"403\""]).await;
    assert!(refused >= 1.0);
}

async fn a_request_ends_with_its_reader(stage: &Stage, store: &Scripted) {
    let active = async || stage.metric("http_server_active_requests", &["GET"]).await;
    assert_eq!(active().await, 0.0);
    store.hold();
    let reading = tokio::spawn(stage.get(&format!("{SHOP}/held.html")).send());
    until(async || active().await == 1.0).await;
    reading.abort();
    // Storage has not answered yet.
    until(async || active().await == 0.0).await;
    store.gate.add_permits(tokio::sync::Semaphore::MAX_PERMITS / 2);
}

async fn a_slow_reader_is_waited_for(stage: &Stage, store: &Scripted) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    let mut socket = socket.connect(stage.address()).await.unwrap();
    let request = raw::get(&format!("/api/techdocs{SHOP}/film.mp4"), &stage.reader.token);
    socket.write_all(&request).await.unwrap();
    let mut piece = vec![0; PIECE];
    let first = socket.read(&mut piece).await.unwrap();
    assert!(String::from_utf8_lossy(&piece[..first]).starts_with("HTTP/1.1 200"));
    // Others are served meanwhile, and their number gives whoever does not wait the time to read it all.
    for _ in 0..200 {
        assert_eq!(stage.status(&format!("{SHOP}/index.html")).await, 200);
    }
    assert!(store.pieces() * PIECE < ON_THE_WAY, "{} pieces", store.pieces());
    let rest = raw::until_closed(&mut socket).await;
    let sent = String::from_utf8_lossy(&piece[..first]).find("\r\n\r\n").unwrap() + 4;
    assert_eq!(first - sent + rest.len(), FILM);
}

async fn a_body_that_is_cut_off_does_not_end_well(stage: &Stage) {
    stage.relay.set(Way::CutAfter(1 << 20));
    let film = stage.get(&format!("{SHOP}/film.mp4")).send().await.unwrap();
    assert_eq!(film.status(), StatusCode::OK);
    assert!(film.bytes().await.is_err());
    stage.relay.set(Way::Pass);
    until(async || stage.status(&format!("{SHOP}/index.html")).await == 200).await;
}
