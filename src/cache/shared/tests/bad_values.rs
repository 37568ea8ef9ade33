//! What others planted, moved or cut is not used, is counted, and goes.

use super::*;
use crate::cache::shared::load::Field;

/// Stores a document, has `spoil` make something else of it, and looks what comes of it.
async fn spoilt(reason: &str, command: impl FnOnce(&Sealed) -> redis::Cmd) {
    let rig = Rig::start();
    rig.store("other.png", "a", &noise(700_000)).await;
    rig.store("photo.png", "a", &noise(700_000)).await;
    let header: Vec<u8> = rig.server.ask(cmd("HGET").arg(name("photo.png")).arg(HEADER)).await;
    let confirmation: Vec<u8> = rig.server.ask(cmd("HGET").arg(name("photo.png")).arg(CONFIRMATION)).await;
    let _: redis::Value = rig.server.ask(&command(&Sealed { header, confirmation })).await;
    assert_eq!(rig.load("photo.png").await, Loaded::Nothing);
    rig.counted(&format!(r#"bad_values_total{{reason="{reason}"}} 1"#));
    rig.counted(r#"load_duration_seconds_count{result="bad"} 1"#);
    rig.written().await;
    assert!(!rig.has("photo.png").await);
    assert_eq!(rig.load("photo.png").await, Loaded::Nothing);
    rig.counted(r#"load_duration_seconds_count{result="miss"} 1"#);
}

struct Sealed {
    header: Vec<u8>,
    confirmation: Vec<u8>,
}

fn set(field: &str, value: &[u8]) -> redis::Cmd {
    cmd("HSET").arg(name("photo.png")).arg(field).arg(value).to_owned()
}

fn flipped(bytes: &[u8]) -> Vec<u8> {
    let (last, rest) = bytes.split_last().unwrap();
    [rest, &[last ^ 1]].concat()
}

#[tokio::test]
async fn a_document_from_under_another_name_is_not_used() {
    let copy = |_: &Sealed| cmd("COPY").arg(name("other.png")).arg(name("photo.png")).arg("REPLACE").to_owned();
    spoilt("integrity", copy).await;
}

#[tokio::test]
async fn a_changed_header_is_not_used() {
    spoilt("integrity", |sealed| set(HEADER, &flipped(&sealed.header))).await;
}

#[tokio::test]
async fn a_changed_confirmation_is_not_used() {
    spoilt("integrity", |sealed| set(CONFIRMATION, &flipped(&sealed.confirmation))).await;
}

#[tokio::test]
async fn a_truncated_header_is_not_used() {
    spoilt("format", |sealed| set(HEADER, &sealed.header[..20])).await;
}

#[tokio::test]
async fn another_format_is_not_used() {
    spoilt("version", |sealed| set(HEADER, &[&[0], &sealed.header[1..]].concat())).await;
}

#[tokio::test]
async fn a_piece_of_another_length_is_not_used() {
    spoilt("size", |_| set("1", b"short")).await;
}

#[tokio::test]
async fn a_piece_of_other_content_is_not_used() {
    spoilt("integrity", |_| set("2", &noise(700_000 - 2 * 256 * 1024))).await;
}

#[tokio::test]
async fn a_document_without_one_of_its_pieces_is_not_used() {
    spoilt("torn", |_| cmd("HDEL").arg(name("photo.png")).arg("1").to_owned()).await;
}

#[tokio::test]
async fn a_document_without_its_header_is_not_used() {
    spoilt("format", |_| cmd("HDEL").arg(name("photo.png")).arg(HEADER).to_owned()).await;
}

#[tokio::test]
async fn something_else_under_the_name_is_not_used() {
    spoilt("format", |_| cmd("SET").arg(name("photo.png")).arg("a string").to_owned()).await;
}

#[tokio::test]
async fn a_document_beyond_the_limit_is_not_used() {
    let rig = Rig::start();
    rig.store("photo.png", "a", &noise(5000)).await;
    let (smaller, instruments) = tier(&rig.server, |options| options.max_object_bytes = 4999);
    assert_eq!(smaller.load(&key("photo.png"), None).await, Loaded::Nothing);
    assert!(instruments.prometheus().unwrap().contains(r#"bad_values_total{reason="size"} 1"#));
}

#[tokio::test]
async fn what_another_key_has_sealed_is_not_used() {
    let keys = [None, Some(Secret::new("an integrity key")), Some(Secret::new("another"))];
    for (written, read) in [(0, 1), (1, 0), (1, 2)] {
        let rig = Rig::with(|options| options.integrity_key = keys[written].clone());
        rig.store("index.html", "a", &text(500)).await;
        assert_eq!(rig.load("index.html").await, document("a", &text(500)));
        let (other, instruments) = tier(&rig.server, |options| options.integrity_key = keys[read].clone());
        assert_eq!(other.load(&key("index.html"), None).await, Loaded::Nothing);
        assert!(instruments.prometheus().unwrap().contains(r#"bad_values_total{reason="integrity"} 1"#));
    }
}

#[tokio::test]
async fn what_was_written_after_a_bad_value_stays() {
    let rig = Rig::start();
    rig.store("index.html", "a", &text(500)).await;
    let judged: [Field; 2] = [Some(b"what was there before".to_vec()), None];
    for judged in judged {
        rig.shared.push(&name("index.html"), Work::Discard { key: key("index.html"), judged }, None);
    }
    rig.written().await;
    assert_eq!(rig.load("index.html").await, document("a", &text(500)));
}
